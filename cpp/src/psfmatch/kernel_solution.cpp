#include "stillsky/psfmatch/kernel_solution.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "fit_pixels.hpp"
#include "stillsky/core/errors.hpp"

namespace stillsky {
namespace {

using std::size_t;

std::atomic<int> lastSolutionId{0};

template <typename T>
std::vector<double> valuesOf(View2<const T> view) {
    std::vector<double> out;
    out.reserve(static_cast<size_t>(view.size()));
    for (int y = 0; y < view.height; ++y) out.insert(out.end(), view.row(y), view.row(y) + view.width);
    return out;
}

void requirePositive(std::vector<double> const& variance) {
    const double least = *std::min_element(variance.begin(), variance.end());
    if (least < 0.0) throw NumericalError("kernel fit: a variance of the stamp is negative");
    if (least == 0.0) throw NumericalError("kernel fit: a variance of the stamp is zero");
}

template <typename T>
StampInput inputOf(View2<const T> templateImage, View2<const T> scienceImage, View2<const VariancePixel> variance) {
    if (templateImage.width != scienceImage.width || templateImage.height != scienceImage.height ||
        variance.width != templateImage.width || variance.height != templateImage.height) {
        throw ShapeError("kernel fit: template, science and variance stamps must have equal dimensions");
    }
    if (templateImage.empty()) throw ShapeError("kernel fit: the stamp is empty");
    StampInput input;
    input.width = templateImage.width;
    input.height = templateImage.height;
    input.stamp = valuesOf(templateImage);
    input.science = valuesOf(scienceImage);
    input.variance = valuesOf(variance);
    requirePositive(input.variance);
    return input;
}

std::vector<unsigned char> flagsOf(View2<const MaskPixel> mask, StampInput const& input, MaskPixel bad) {
    if (mask.width != input.width || mask.height != input.height) {
        throw ShapeError("kernel fit: the mask's dimensions differ from those of the stamp");
    }
    std::vector<unsigned char> out;
    out.reserve(static_cast<size_t>(mask.size()));
    for (int y = 0; y < mask.height; ++y) {
        for (int x = 0; x < mask.width; ++x) out.push_back((mask(x, y) & bad) != 0);
    }
    return out;
}

void requireEnough(PreparedStamp const& stamp, int nUnknowns) {
    if (stamp.pixels->nPixels < nUnknowns) {
        throw NoDataError("kernel fit: " + std::to_string(stamp.pixels->nPixels) + " good pixels for " +
                          std::to_string(nUnknowns) + " unknowns");
    }
}

// A kernel turns a constant into a constant: such a stamp tells neither the kernel's shape nor, beside a background, its
// sum, and one of zeros tells nothing at all. Rounding and the removal of the template noise would make numbers of it.
void requireStructure(FitPixels const& pixels, int nBases, bool background) {
    const double size = std::fmax(std::fabs(pixels.stampMin), std::fabs(pixels.stampMax));
    const bool constant = pixels.stampMax - pixels.stampMin <= 1e-6 * size;
    if (!constant || (size > 0.0 && nBases == 1 && !background)) return;
    throw NumericalError("kernel fit: the template stamp is constant (" + std::to_string(pixels.stampMin) +
                         "), so that no kernel is determined" + (background ? " beside a background" : ""));
}

}  // namespace

KernelSolution::KernelSolution(bool fitForBackground) : id_(++lastSolutionId), fitForBackground_(fitForBackground) {}

KernelSolution::KernelSolution(DenseMatrix m, std::vector<double> b, bool fitForBackground)
        : KernelSolution(fitForBackground) {
    setSystem(std::move(m), std::move(b));
}

KernelSolution::~KernelSolution() = default;

void KernelSolution::setSystem(DenseMatrix m, std::vector<double> b) {
    if (m.rows() != m.cols() || m.rows() != static_cast<int>(b.size())) {
        throw ShapeError("KernelSolution: M must be square and as large as b");
    }
    m_ = std::move(m);
    b_ = std::move(b);
    a_.clear();
    solvedBy_ = SolvedBy::NONE;
}

void KernelSolution::setSolution(std::vector<double> a, SolvedBy by, int nDropped) {
    for (size_t i = 0; i < a.size(); ++i) {
        if (!std::isfinite(a[i])) {
            throw NumericalError("KernelSolution: coefficient " + std::to_string(i) + " is not finite");
        }
    }
    a_ = std::move(a);
    solvedBy_ = by;
    nDropped_ = nDropped;
}

void KernelSolution::solve() {
    if (m_.empty()) throw StillskyError("KernelSolution::solve: there is no system of equations yet");
    const SymmetricSolver solver(m_);
    setSolution(solver.solve(b_), solver.solvedBy(), solver.nDropped());
}

void KernelSolution::solve(DenseMatrix const& m, std::vector<double> const& b) {
    setSystem(m, b);
    KernelSolution::solve();
}

double KernelSolution::getConditionNumber(ConditionNumberType type) const {
    return getConditionNumber(getM(), type);
}

double KernelSolution::getConditionNumber(DenseMatrix const& m, ConditionNumberType type) {
    return conditionNumber(m, type);
}

DenseMatrix KernelSolution::getM() const {
    if (m_.empty()) throw StillskyError("KernelSolution: there is no system of equations yet");
    return m_;
}

std::vector<double> const& KernelSolution::getB() const {
    if (m_.empty()) throw StillskyError("KernelSolution: there is no system of equations yet");
    return b_;
}

std::vector<double> const& KernelSolution::getA() const {
    if (a_.empty()) throw StillskyError("KernelSolution: not solved yet");
    return a_;
}

StaticKernelSolution::StaticKernelSolution(KernelList const& bases, bool fitForBackground)
        : StaticKernelSolution(std::make_shared<BasisConvolver>(bases), fitForBackground) {}

StaticKernelSolution::StaticKernelSolution(std::shared_ptr<BasisConvolver const> bases, bool fitForBackground)
        : KernelSolution(fitForBackground), bases_(std::move(bases)) {}

StaticKernelSolution::~StaticKernelSolution() = default;

template <typename T>
void StaticKernelSolution::build(View2<const T> templateImage, View2<const T> scienceImage,
                                 View2<const VariancePixel> variance) {
    const PreparedStamp stamp = prepareStamp(*bases_, inputOf(templateImage, scienceImage, variance));
    build(stamp.pixels, stamp.stamp);
}

void StaticKernelSolution::build(std::shared_ptr<FitPixels const> pixels,
                                 std::shared_ptr<std::vector<double> const> stampPixels) {
    requireStructure(*pixels, bases_->nBases(), fitForBackground());
    pixels_ = std::move(pixels);
    stampPixels_ = std::move(stampPixels);
    equations_ = std::make_shared<NormalEquations>(threadBuilder().build(*bases_, *pixels_, fitForBackground()));
    setSystem(correctedM(), equations_->b);
}

DenseMatrix StaticKernelSolution::correctedM() const { return withoutNoise(equations_->m, equations_->noise); }

bool StaticKernelSolution::mayUseQr() const {
    if (!pixels_ || pixels_->nPixels < static_cast<int>(b_.size())) return false;
    DenseMatrix const& noise = equations_->noise;
    const size_t n = static_cast<size_t>(noise.rows()) * static_cast<size_t>(noise.cols());
    return std::all_of(noise.data(), noise.data() + n, [](double v) { return v == 0.0; });
}

void StaticKernelSolution::solve() {
    if (m_.empty()) throw StillskyError("StaticKernelSolution::solve: build() has not been called");
    const SymmetricSolver solver(m_);
    if (solver.solvedBy() != SolvedBy::CHOLESKY_LLT && mayUseQr()) {
        setSolution(threadBuilder().solveByQr(*bases_, *pixels_, fitForBackground()), SolvedBy::QR, solver.nDropped());
    } else {
        setSolution(solver.solve(b_), solver.solvedBy(), solver.nDropped());
    }
    pixels_.reset();
    stampPixels_.reset();
}

std::shared_ptr<LinearCombinationKernel> StaticKernelSolution::getKernel() const {
    std::vector<double> const& a = getA();
    return std::make_shared<LinearCombinationKernel>(
            bases_->bases(), std::vector<double>(a.begin(), a.begin() + bases_->nBases()));
}

Image<double> StaticKernelSolution::makeKernelImage() const {
    Image<double> out(Box2I({-bases_->center().x, -bases_->center().y}, {bases_->width(), bases_->height()}));
    bases_->combine(getA().data(), out.view().data);
    return out;
}

double StaticKernelSolution::getBackground() const {
    std::vector<double> const& a = getA();
    return fitForBackground() ? a.back() : 0.0;
}

double StaticKernelSolution::getKsum() const {
    std::vector<double> const& a = getA();
    double sum = 0.0;
    for (int i = 0; i < bases_->nBases(); ++i) sum += a[static_cast<size_t>(i)] * bases_->sum(i);
    return sum;
}

std::pair<std::shared_ptr<LinearCombinationKernel>, double> StaticKernelSolution::getSolutionPair() const {
    return {getKernel(), getBackground()};
}

DenseMatrix StaticKernelSolution::getCovariance() const {
    getA();
    const DenseMatrix inverse = SymmetricSolver(getM()).inverse();
    if (!equations_ || equations_->scatter.empty()) return inverse;
    const int n = inverse.rows();
    DenseMatrix half(n, n), out(n, n);
    for (int i = 0; i < n; ++i) {
        for (int k = 0; k < n; ++k) {
            for (int j = 0; j < n; ++j) half(i, j) += inverse(i, k) * equations_->scatter(k, j);
        }
    }
    for (int i = 0; i < n; ++i) {
        for (int k = 0; k < n; ++k) {
            for (int j = 0; j < n; ++j) out(i, j) += half(i, k) * inverse(k, j);
        }
    }
    return out;
}

double StaticKernelSolution::getKsumError() const {
    std::vector<double> sums(b_.size(), 0.0);
    for (int i = 0; i < bases_->nBases(); ++i) sums[static_cast<size_t>(i)] = bases_->sum(i);
    const std::vector<double> x = SymmetricSolver(getM()).solve(sums);
    double variance = 0.0;
    if (!equations_ || equations_->scatter.empty()) {
        for (size_t i = 0; i < x.size(); ++i) variance += x[i] * sums[i];
    } else {
        for (int i = 0; i < static_cast<int>(x.size()); ++i) {
            for (int j = 0; j < static_cast<int>(x.size()); ++j) {
                variance += x[static_cast<size_t>(i)] * equations_->scatter(i, j) * x[static_cast<size_t>(j)];
            }
        }
    }
    return std::sqrt(std::max(variance, 0.0));
}

template <typename T>
void MaskedKernelSolution::build(View2<const T> templateImage, View2<const T> scienceImage,
                                 View2<const VariancePixel> variance, View2<const MaskPixel> templateMask,
                                 View2<const MaskPixel> scienceMask, MaskPixel badMask) {
    StampInput input = inputOf(templateImage, scienceImage, variance);
    input.badTemplate = flagsOf(templateMask, input, badMask);
    input.badScience = flagsOf(scienceMask, input, badMask);
    const PreparedStamp stamp = prepareStamp(*bases_, input);
    requireEnough(stamp, bases_->nBases() + (fitForBackground() ? 1 : 0));
    StaticKernelSolution::build(stamp.pixels, stamp.stamp);
}

template <typename T>
void MaskedKernelSolution::buildWithMask(View2<const T> templateImage, View2<const T> scienceImage,
                                         View2<const VariancePixel> variance, View2<const MaskPixel> mask,
                                         MaskPixel badMask) {
    build(templateImage, scienceImage, variance, mask, mask, badMask);
}

template <typename T>
void MaskedKernelSolution::buildOrig(View2<const T> templateImage, View2<const T> scienceImage,
                                     View2<const VariancePixel> variance, View2<const MaskPixel> mask,
                                     MaskPixel badMask) {
    StampInput input = inputOf(templateImage, scienceImage, variance);
    input.badScience = flagsOf(mask, input, badMask);
    const PreparedStamp stamp = prepareStamp(*bases_, input);
    requireEnough(stamp, bases_->nBases() + (fitForBackground() ? 1 : 0));
    StaticKernelSolution::build(stamp.pixels, stamp.stamp);
}

template <typename T>
void MaskedKernelSolution::buildSingleMaskOrig(View2<const T> templateImage, View2<const T> scienceImage,
                                               View2<const VariancePixel> variance, Box2I const& box) {
    StampInput input = inputOf(templateImage, scienceImage, variance);
    input.badScience.assign(input.science.size(), 0);
    const Box2I inside = box.clippedTo(Box2I({0, 0}, {input.width, input.height}));
    for (int y = inside.minY(); !inside.isEmpty() && y <= inside.maxY(); ++y) {
        for (int x = inside.minX(); x <= inside.maxX(); ++x) {
            input.badScience[static_cast<size_t>(y) * static_cast<size_t>(input.width) + static_cast<size_t>(x)] = 1;
        }
    }
    const PreparedStamp stamp = prepareStamp(*bases_, input);
    requireEnough(stamp, bases_->nBases() + (fitForBackground() ? 1 : 0));
    StaticKernelSolution::build(stamp.pixels, stamp.stamp);
}

template void StaticKernelSolution::build(View2<const float>, View2<const float>, View2<const VariancePixel>);
template void StaticKernelSolution::build(View2<const double>, View2<const double>, View2<const VariancePixel>);
#define STILLSKY_MASKED(T)                                                                                     \
    template void MaskedKernelSolution::build(View2<const T>, View2<const T>, View2<const VariancePixel>,       \
                                              View2<const MaskPixel>, View2<const MaskPixel>, MaskPixel);      \
    template void MaskedKernelSolution::buildWithMask(View2<const T>, View2<const T>, View2<const VariancePixel>, \
                                                      View2<const MaskPixel>, MaskPixel);                      \
    template void MaskedKernelSolution::buildOrig(View2<const T>, View2<const T>, View2<const VariancePixel>,   \
                                                  View2<const MaskPixel>, MaskPixel);                          \
    template void MaskedKernelSolution::buildSingleMaskOrig(View2<const T>, View2<const T>,                     \
                                                            View2<const VariancePixel>, Box2I const&);
STILLSKY_MASKED(float)
STILLSKY_MASKED(double)
#undef STILLSKY_MASKED

}  // namespace stillsky
