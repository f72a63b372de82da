// The fit of a spatially varying kernel to many stamps: K(x, y) = sum_i a_i(x, y) B_i with polynomial a_i, plus a
// polynomial background (Alard 2000, A&AS 144, 363; Becker et al. 2012, MNRAS 425, 1341, section 3).
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "stillsky/geom/box.hpp"
#include "stillsky/math/polynomial.hpp"
#include "stillsky/psfmatch/kernel_solution.hpp"

namespace stillsky {

// Which unknown stands where: [a_0 | a_1 | ... | background], each block with the terms of its polynomial.
struct SpatialLayout {
    std::vector<int> orders;   // of every column of the stamps' design matrices: the bases, then the background
    std::vector<int> offsets;  // of every column's block; one more element: the number of unknowns
    int nBases = 0;
    bool background = false;

    int nColumns() const { return static_cast<int>(orders.size()); }
    int nTerms() const { return offsets.back(); }
    int nTermsOf(int column) const {
        return offsets[static_cast<std::size_t>(column) + 1] - offsets[static_cast<std::size_t>(column)];
    }
    int maxOrder() const;
    int maxKernelOrder() const;
    int backgroundOrder() const { return background ? orders.back() : 0; }
};

// Add stamps, solve, read the kernel. Constraints are summed in the order in which they were added, so the result does
// not depend on the number of threads.
class SpatialKernelSolution : public KernelSolution {
public:
    // `region` (parent coordinates) defines the Chebyshev coordinates; it is of no consequence for an unscaled
    // polynomial. The settings give orders, model, background and constant first term.
    SpatialKernelSolution(std::shared_ptr<BasisConvolver const> bases, Box2I const& region,
                          PsfMatchSettings const& settings);
    SpatialKernelSolution(KernelList const& bases, Box2I const& region, PsfMatchSettings const& settings);
    ~SpatialKernelSolution() override;

    // One stamp's normal equations, its coefficients taken as constant over the stamp, at (x, y). ShapeError when the
    // sizes are not those of the bases plus background.
    void addConstraint(double x, double y, DenseMatrix const& q, std::vector<double> const& w);
    void addConstraint(double x, double y, std::shared_ptr<NormalEquations const> equations);
    // The same with spatial terms evaluated at every pixel. The moments' degrees must reach twice the kernel order,
    // and the sum of kernel and background order and twice the background order. `equations` of the same stamp, when
    // given, provide the scatter matrix for the covariance.
    void addConstraint(std::shared_ptr<StampMoments const> moments,
                       std::shared_ptr<NormalEquations const> equations = nullptr);
    int nConstraints() const { return static_cast<int>(constraints_.size()); }

    // Sum the constraints, remove the template noise (withoutNoise), solve. StillskyError without constraints;
    // NumericalError with the index and the condition number when the solution is not finite.
    void solve() override;
    DenseMatrix getM() const override;

    // Degree to which spatial terms must be expanded inside a stamp (kernel's half-widths excluded) so that what is left
    // out is negligible: the full order for small images, less where stamps are small parts of the image.
    int expansionDegree(int stampWidth, int stampHeight) const;
    SpatialLayout const& layout() const { return layout_; }
    Box2I const& region() const { return region_; }
    BasisConvolver const& basis() const { return *bases_; }

    // All of the following: StillskyError before solve().
    std::shared_ptr<LinearCombinationKernel> getKernel() const;
    // PolynomialFunction2 or Chebyshev1Function2; order 0 with value 0 when no background is fitted.
    Function2Ptr getBackground() const;
    std::pair<std::shared_ptr<LinearCombinationKernel>, Function2Ptr> getSolutionPair() const;
    Image<double> makeKernelImage(Point2D position) const;
    // Kernel sum at the centre of the region.
    double getKsum() const;
    double kernelSumAt(double x, double y) const;
    // One coefficient per basis, and the background's value when it is fitted.
    std::vector<double> coefficientsAt(double x, double y) const;
    // Covariance of all unknowns, in the coordinates of the fit (scaled ones for a scaled polynomial): inverse of M, or
    // the sandwich with the stamps' scatter matrices when every constraint has one.
    DenseMatrix getCovariance() const;
    double kernelSumErrorAt(double x, double y) const;

    // Coefficients at (x, y) of the solution without one stamp, from that stamp's own equations: with S = D A^-1 D^T
    // (D maps the unknowns to the stamp's coefficients) they are (1 - S Q)^-1 (D a - S W), by the Woodbury identity.
    // Exact for stamp-constant terms, an approximation (that of constant terms over one stamp) otherwise. NaN when the
    // stamp alone fixes an unknown. Cost O(n^2 + P^3).
    std::vector<double> leaveOneOut(double x, double y, NormalEquations const& equations) const;

private:
    // The equations at a position, or the moments (then the equations serve the covariance alone).
    struct Constraint {
        double x = 0.0, y = 0.0;
        std::shared_ptr<NormalEquations const> equations;
        std::shared_ptr<StampMoments const> moments;
    };
    void accumulate() const;
    std::vector<double> terms(double x, double y) const;
    std::vector<double> outputParameters(int column) const;
    void requireFinite(std::vector<double> const& a) const;
    Function2Ptr makeFunction(std::vector<double> const& parameters) const;
    DenseMatrix const& inverse() const;

    std::shared_ptr<BasisConvolver const> bases_;
    Box2I region_;
    bool polynomial_, scaled_;
    SpatialLayout layout_;
    std::unique_ptr<BasePolynomialFunction2> model_;  // the functions of the fit, of the highest order
    std::vector<Constraint> constraints_;
    mutable bool summed_ = false;
    mutable DenseMatrix rawM_, noise_, scatter_, inverse_;
    mutable std::vector<double> rawB_;
};

}  // namespace stillsky
