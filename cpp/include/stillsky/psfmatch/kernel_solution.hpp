// Solutions of the kernel fit for one stamp: plain, with masked pixels, regularised. The model is
// S = K (x) T + background with K = sum_i a_i B_i (Alard & Lupton 1998, ApJ 503, 325, eq. 3), linear in a.
// Distinct objects may be built in different threads.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "stillsky/geom/box.hpp"
#include "stillsky/image/image.hpp"
#include "stillsky/kernel/kernel.hpp"
#include "stillsky/math/solve.hpp"
#include "stillsky/psfmatch/normal_equations.hpp"
#include "stillsky/psfmatch/settings.hpp"

namespace stillsky {

// A linear system M a = b and its solution.
class KernelSolution {
public:
    using KernelSolvedBy = SolvedBy;
    explicit KernelSolution(bool fitForBackground = false);
    KernelSolution(DenseMatrix m, std::vector<double> b, bool fitForBackground);
    virtual ~KernelSolution();

    // By the ladder of SymmetricSolver. StillskyError when there is no system yet; NumericalError, naming the index,
    // when a coefficient is not finite.
    virtual void solve();
    void solve(DenseMatrix const& m, std::vector<double> const& b);

    bool isSolved() const { return !a_.empty(); }
    SolvedBy getSolvedBy() const { return solvedBy_; }
    int nDropped() const { return nDropped_; }  // eigenvalues left out
    // Of the matrix that is solved. StillskyError when there is none.
    double getConditionNumber(ConditionNumberType type) const;
    static double getConditionNumber(DenseMatrix const& m, ConditionNumberType type);
    virtual DenseMatrix getM() const;
    std::vector<double> const& getB() const;
    // The coefficients. StillskyError before solve().
    std::vector<double> const& getA() const;
    int getId() const { return id_; }  // unique in the process
    bool fitForBackground() const { return fitForBackground_; }

protected:
    void setSystem(DenseMatrix m, std::vector<double> b);
    void setSolution(std::vector<double> a, SolvedBy by, int nDropped);
    DenseMatrix m_;
    std::vector<double> b_, a_;

private:
    int id_;
    bool fitForBackground_;
    SolvedBy solvedBy_ = SolvedBy::NONE;
    int nDropped_ = 0;
};

// The fit of one stamp by a basis.
class StaticKernelSolution : public KernelSolution {
public:
    StaticKernelSolution(KernelList const& bases, bool fitForBackground);
    StaticKernelSolution(std::shared_ptr<BasisConvolver const> bases, bool fitForBackground);
    ~StaticKernelSolution() override;

    // Template, science and variance of equal size; all pixels count. ShapeError when sizes differ or the stamp is
    // smaller than the kernel; NumericalError when the smallest variance of the stamp is negative or zero, or the
    // template is constant (to 1e-6) and more than its scale is to be fitted.
    template <typename T>
    void build(View2<const T> templateImage, View2<const T> scienceImage, View2<const VariancePixel> variance);
    // From prepared pixels. They are kept until solve().
    void build(std::shared_ptr<FitPixels const> pixels, std::shared_ptr<std::vector<double> const> stampPixels);
    // The ladder; where Cholesky fails on a system that has neither noise correction nor regularisation, QR of the
    // weighted design matrix, whose condition number is the square root.
    void solve() override;
    using KernelSolution::solve;

    BasisConvolver const& basis() const { return *bases_; }
    std::shared_ptr<BasisConvolver const> basisConvolver() const { return bases_; }
    // The sums behind M and b; shared, never changed after build().
    std::shared_ptr<NormalEquations const> equations() const { return equations_; }

    // All of the following: StillskyError before solve().
    std::shared_ptr<LinearCombinationKernel> getKernel() const;
    Image<double> makeKernelImage() const;
    double getBackground() const;
    double getKsum() const;
    std::pair<std::shared_ptr<LinearCombinationKernel>, double> getSolutionPair() const;
    // Covariance of the coefficients: M^-1, or the sandwich M^-1 scatter M^-1 when the fit's weights are not the
    // inverse variances.
    DenseMatrix getCovariance() const;
    double getKsumError() const;

protected:
    // The system before regularisation: equations without the noise's expectation.
    DenseMatrix correctedM() const;
    virtual bool mayUseQr() const;

    std::shared_ptr<BasisConvolver const> bases_;
    std::shared_ptr<NormalEquations const> equations_;
    std::shared_ptr<FitPixels const> pixels_;
    std::shared_ptr<std::vector<double> const> stampPixels_;
};

// A fit that leaves out pixels.
class MaskedKernelSolution : public StaticKernelSolution {
public:
    using StaticKernelSolution::StaticKernelSolution;

    // Bad pixels are those with any bit of `badMask`: on the template grown by the kernel's footprint, on the science
    // image as they are. NoDataError when fewer pixels than unknowns remain.
    template <typename T>
    void build(View2<const T> templateImage, View2<const T> scienceImage, View2<const VariancePixel> variance,
               View2<const MaskPixel> templateMask, View2<const MaskPixel> scienceMask, MaskPixel badMask);
    // One mask for both images, grown by half the kernel's width in every direction.
    template <typename T>
    void buildWithMask(View2<const T> templateImage, View2<const T> scienceImage, View2<const VariancePixel> variance,
                       View2<const MaskPixel> mask, MaskPixel badMask);
    // One mask, not grown.
    template <typename T>
    void buildOrig(View2<const T> templateImage, View2<const T> scienceImage, View2<const VariancePixel> variance,
                   View2<const MaskPixel> mask, MaskPixel badMask);
    // The good region outside `box` (local coordinates of the stamp).
    template <typename T>
    void buildSingleMaskOrig(View2<const T> templateImage, View2<const T> scienceImage,
                             View2<const VariancePixel> variance, Box2I const& box);
};

// (M + lambda H) a = b, Becker et al. 2012 (MNRAS 425, 1341), eq. 10; lambda by the settings' lambdaType.
class RegularizedKernelSolution : public StaticKernelSolution {
public:
    // DomainError when H is not square or of another size than M will be, or the lambda settings are wrong.
    RegularizedKernelSolution(std::shared_ptr<BasisConvolver const> bases, bool fitForBackground, DenseMatrix h,
                              PsfMatchSettings const& settings);
    RegularizedKernelSolution(KernelList const& bases, bool fitForBackground, DenseMatrix h,
                              PsfMatchSettings const& settings);

    void solve() override;
    using KernelSolution::solve;
    double getLambda() const { return lambda_; }
    // True when the risk was least at an end of the grid of lambdas: the grid should be extended.
    bool lambdaAtGridEnd() const { return atGridEnd_; }
    // Lambda of least risk on the settings' grid; eigenvalues of M below e_max/maxCondition do not count (maxCondition
    // infinite: all positive ones do).
    double estimateRisk(double maxCondition);
    // The risk at one lambda.
    double risk(double lambda, double maxCondition) const;
    std::vector<double> lambdaGrid() const;
    DenseMatrix getM() const override { return getM(true); }
    DenseMatrix getM(bool includeHmat) const;

private:
    double chooseLambda();
    bool mayUseQr() const override { return false; }
    DenseMatrix h_;
    PsfMatchSettings settings_;
    double lambda_ = 0.0;
    bool atGridEnd_ = false;
};

}  // namespace stillsky
