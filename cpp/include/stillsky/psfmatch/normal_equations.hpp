// The normal equations of the kernel fit on one stamp.
#pragma once

#include <limits>
#include <memory>
#include <vector>

#include "stillsky/core/view.hpp"
#include "stillsky/math/matrix.hpp"
#include "stillsky/psfmatch/basis_convolver.hpp"

namespace stillsky {

// M a = b with M = C^T W C, b = C^T W y: C has one column per basis function and, when the background is fitted, a
// last column of ones; y is the science stamp on the good region, W = diag(weight). Alard & Lupton 1998 (ApJ 503,
// 325), eq. 4.
struct NormalEquations {
    DenseMatrix m;            // P x P, both triangles
    std::vector<double> b;    // P
    double yy = 0.0;          // y^T W y
    // What the template's pixel noise adds to m on average, sum_x w(x) sum_u B_i(u) B_j(u) v(x+u): the noise enters
    // quadratically because it is in the regressors, and biases the kernel (its sum included) towards zero. Empty when
    // not asked for; the background's row and column are 0.
    DenseMatrix noise;
    // C^T W V W C with V the pixel variances, for the covariance of the solution with weights that are not 1/V; empty
    // when not asked for.
    DenseMatrix scatter;
    int nPixels = 0;  // pixels with positive weight

    int size() const { return m.rows(); }
    // y^T W y - 2 a^T b + a^T m a: the weighted sum of squared residuals of any coefficients, without pixels.
    double chi2(std::vector<double> const& a) const;
};

// m minus its noise, safely. Along each eigenvector of the pencil (noise, m), with nu the noise's share of m: where
// nu <= 1/2 all of the noise is removed; beyond, only 1 - nu, so that directions in which there is nothing but noise
// stay as least squares has them, instead of being amplified without bound. The result is positive definite. It is
// m - noise exactly when signal dominates everywhere; m itself when noise is empty or m is not positive definite.
// (196 stars of S/N 10-30 on 1024^2: kernel sum 0.969 without correction, 0.995 +- 0.005 with it, and half the error of
// the matched image; full removal everywhere would raise sum k^2 threefold.)
DenseMatrix withoutNoise(DenseMatrix const& m, DenseMatrix const& noise);

// The same sums weighted by powers of position inside the stamp, for spatial terms that vary from pixel to pixel:
// moment k has the weights w(x) s^a t^b with (s, t) = ((x - xCenter)/scale, (y - yCenter)/scale) and (a, b) the k-th
// term in the order of polynomial.hpp.
struct StampMoments {
    double xCenter = 0.0, yCenter = 0.0, scale = 1.0;  // parent coordinates, pixels
    int kernelDegree = 0;      // moments of m among kernel columns, and of noise, are complete to this degree
    int backgroundDegree = 0;  // those in the background's row and column, and of b, to this one
    int expansionDegree = std::numeric_limits<int>::max();  // spatial terms are expanded to this degree in a stamp
    std::vector<DenseMatrix> m;       // one per term of max(kernelDegree, backgroundDegree)
    std::vector<std::vector<double>> b;
    std::vector<DenseMatrix> noise;   // empty, or one per term of kernelDegree
    int nPixels = 0;
    double yy = 0.0;
};

// A stamp ready to be fitted. Column layout as BasisConvolver has it.
struct FitPixels {
    View2<const double> stamp;              // template
    std::vector<double> y;                  // science, column layout, 0 in the padding
    std::vector<double> weight;             // column layout, 0 in the padding and on pixels that do not count
    std::vector<double> templateVariance;   // of the whole stamp, row by row; empty: no noise correction
    std::vector<double> variance;           // column layout; empty: no scatter matrix
    int nPixels = 0;
    double xFirst = 0.0, yFirst = 0.0;      // parent coordinates of the first pixel of the good region
    // Range of the stamp's good pixels; NaN when there are none.
    double stampMin = std::numeric_limits<double>::quiet_NaN(), stampMax = std::numeric_limits<double>::quiet_NaN();
};

// Sums over the pixels of one stamp; keeps its work space, so one object per thread.
class NormalEquationsBuilder {
public:
    NormalEquations build(BasisConvolver const& bases, FitPixels const& pixels, bool background);
    // kernelDegree and backgroundDegree as in StampMoments; the scale is half the good region's width.
    StampMoments buildMoments(BasisConvolver const& bases, FitPixels const& pixels, bool background, double xCenter,
                              double yCenter, int kernelDegree, int backgroundDegree);
    // Least squares by QR of sqrt(W) C, for what the normal equations cannot solve. Uses the columns of the last call.
    std::vector<double> solveByQr(BasisConvolver const& bases, FitPixels const& pixels, bool background);

private:
    void fillColumns(BasisConvolver const& bases, FitPixels const& pixels, bool background);
    DenseMatrix gram(double const* weight, int p);
    std::ptrdiff_t noiseStride(BasisConvolver const& bases) const;
    void padVariance(BasisConvolver const& bases, FitPixels const& pixels);
    DenseMatrix noiseMatrix(BasisConvolver const& bases, double const* weight, int p);

    BasisConvolver::Scratch scratch_;
    AlignedVector<double> columns_, weighted_, momentWeight_, padded_, shared_, flat_, basisWeighted_;
    std::ptrdiff_t stride_ = 0;
    int rowLength_ = 0, goodWidth_ = 0, goodHeight_ = 0;
};

}  // namespace stillsky
