// dipoleFit: two PSFs of opposite sign fitted to a difference image and the two images it came from.
#pragma once

#include <vector>

#include "stillsky/measure/measure_input.hpp"
#include "stillsky/spans/span_set.hpp"

namespace stillsky {

struct DipoleFitControl {
    double relWeight = 0.5;       // weight of residuals of the direct images relative to the difference's
    double tolerance = 1e-7;      // relative change of chi-square, and step in pixels, that end the iteration
    int maxEvaluations = 250;
    int fitBackground = 1;        // 0: none; 1: planes of the direct images from outside the footprint; 2: fitted jointly
    int backgroundOrder = 1;      // order of those planes, 0 to 2, terms 1, x, y, x^2, xy, y^2
    bool separateFluxes = true;   // lobes have fluxes of their own
    double minFlux = 0.1;         // least flux of a lobe
    // By how much the variance of a PSF-weighted sum of the template exceeds that of independent pixels: a template that
    // was convolved to match has correlated noise. Errors know it, weights do not.
    double referenceNoise = 1.0;
    // Rubin's fit: every pixel of the footprint's box counts alike, the covariance is scaled by the reduced chi-square,
    // planes are fitted once and without rejection, and the median of the box is subtracted after them.
    bool reference = false;
};

// What is known of each source before the fit; positions are local.
struct DipoleStart {
    double posX, posY, negX, negY;  // lobes
    double maxShift;                // greatest distance of either coordinate from its start, pixels; nor do they leave the box
    double edge;                    // EDGE is set when a lobe is nearer than this to the image's border, pixels
};

struct DipoleFitResult {
    double posX, posY, negX, negY, posFlux, negFlux;  // local pixels; both fluxes positive
    double posXErr, posYErr, negXErr, negYErr, posFluxErr, negFluxErr;
    double xCov, yCov, fluxCov;        // covariances between the lobes of x, of y, of the fluxes
    double chi2;                       // sum of (d - model)^2/variance over all images, without relWeight (`reference`: with)
    double chi2Difference;             // the same on the difference alone
    double chi2Single;                 // on the difference, of the best single PSF of either sign
    double posNoise, negNoise;         // sqrt(sum of variance) over the box, science and template
    int nData, nParameters, nEvaluations;
    int flagBits;
};

namespace dipole_flags {
constexpr int FAILED = 1;         // numbers other than the starts are NaN
constexpr int EDGE = 2;
constexpr int NO_DATA = 4;        // fewer good pixels than parameters
constexpr int NOT_CONVERGED = 8;  // maxEvaluations reached; the best values are kept
constexpr int SINGULAR = 16;      // no error bars
constexpr int AT_BOUND = 32;      // a position or flux ended at its bound
}  // namespace dipole_flags

// Images fitted: the difference, and the direct images where `science` and `reference` are not null; all of equal size.
// A direct image that is missing while the other is there is made of it and the difference, pixel by pixel.
template <typename T>
struct DipoleImages {
    MeasureInput<T> const* difference = nullptr;
    MeasureInput<T> const* science = nullptr;
    MeasureInput<T> const* reference = nullptr;  // the matched template
};

// B-spline coefficients (order 5) of unit-sum PSF images of each of the three images, one for all sources or one each;
// odd sizes, centred on the middle element.
struct DipolePsfs {
    StampStack difference, science, reference;
};

// Model: positive image f+ P(r - r+), negative image f- P(r - r-), difference their difference, each with the PSF of its
// own image; weights 1/variance, times relWeight^2 for the direct images; bad pixels have weight 0. The fluxes and
// backgrounds are linear: they are solved for at every trial of the four coordinates (variable projection, Golub &
// Pereyra 1973, SIAM J. Numer. Anal. 10, 413, in Kaufman's form), which follow Levenberg-Marquardt steps with the
// analytic Jacobian of the spline. Pixels: the bounding box of the footprint, clipped to the image and to maxShift around
// the starts.
// Errors: inverse of the normal matrix between the covariance of the data, in which the noise of the difference is that
// of the science image minus that of the template; not rescaled by chi-square.
// ShapeError for sizes that do not fit. Sources run in parallel; about 0.3 ms each for 30 x 30 pixels.
template <typename T>
std::vector<DipoleFitResult> dipoleFit(DipoleImages<T> const& images, DipolePsfs const& psfs,
                                       std::vector<DipoleStart> const& starts, std::vector<SpanSet> const& footprints,
                                       DipoleFitControl const& control);

}  // namespace stillsky
