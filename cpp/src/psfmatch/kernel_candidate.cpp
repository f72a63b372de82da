#include "stillsky/psfmatch/kernel_candidate.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "fit_pixels.hpp"
#include "simd8.hpp"
#include "stamp_loops.hpp"
#include "stillsky/core/errors.hpp"

namespace stillsky {
namespace {

using std::size_t;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

template <typename T>
void requireStamps(MaskedView<const T> const& a, MaskedView<const T> const& b) {
    if (a.width() != b.width() || a.height() != b.height()) {
        throw ShapeError("KernelCandidate: template and science stamps must have equal dimensions, got " +
                         std::to_string(a.width()) + "x" + std::to_string(a.height()) + " and " +
                         std::to_string(b.width()) + "x" + std::to_string(b.height()));
    }
    if (a.image.empty()) throw ShapeError("KernelCandidate: the stamps are empty");
}

// Pixels of either type as doubles, row by row.
std::vector<double> pixelsOf(std::variant<MaskedImage<float>, MaskedImage<double>> const& stamp) {
    return std::visit(
            [](auto const& image) {
                auto const view = image.image().view();
                return std::vector<double>(view.data, view.data + view.size());
            },
            stamp);
}

View2<const MaskPixel> maskOf(std::variant<MaskedImage<float>, MaskedImage<double>> const& stamp) {
    return std::visit([](auto const& image) { return image.mask().view(); }, stamp);
}

View2<const VariancePixel> varianceOf(std::variant<MaskedImage<float>, MaskedImage<double>> const& stamp) {
    return std::visit([](auto const& image) { return image.variance().view(); }, stamp);
}

// Median of the finite values; NaN when there are none.
double finiteMedian(std::vector<double> values) {
    values.erase(std::remove_if(values.begin(), values.end(), [](double v) { return !std::isfinite(v); }), values.end());
    if (values.empty()) return kNaN;
    const size_t middle = values.size() / 2;
    std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(middle), values.end());
    const double upper = values[middle];
    if (values.size() % 2 == 1) return upper;
    return 0.5 * (upper + *std::max_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(middle)));
}

// Rows of `values` with zeros behind them, for the vector loops.
AlignedVector<double> paddedRows(std::vector<double> const& values, int width, int height, std::ptrdiff_t stride) {
    AlignedVector<double> out(static_cast<size_t>(stride * height), 0.0);
    for (int y = 0; y < height; ++y) {
        std::copy_n(&values[static_cast<size_t>(y) * static_cast<size_t>(width)], width, &out[static_cast<size_t>(y * stride)]);
    }
    return out;
}

STILLSKY_SIMD
void subtractRow(double const* STILLSKY_RESTRICT science, double const* STILLSKY_RESTRICT matched, double background,
                 VariancePixel const* STILLSKY_RESTRICT scienceVariance, double const* STILLSKY_RESTRICT matchedVariance,
                 double* STILLSKY_RESTRICT image, VariancePixel* STILLSKY_RESTRICT variance, int n) {
    for (int k = 0; k < n; ++k) image[k] = science[k] - matched[k] - background;
    for (int k = 0; k < n; ++k) {
        variance[k] = static_cast<VariancePixel>(static_cast<double>(scienceVariance[k]) + matchedVariance[k]);
    }
}

// OR of the mask over the kernel's pixels that are not exactly zero.
MaskPixel maskUnderKernel(View2<const MaskPixel> mask, double const* kernel, int kw, int kh, int x0, int y0) {
    MaskPixel bits = 0;
    for (int j = 0; j < kh; ++j) {
        for (int i = 0; i < kw; ++i) {
            if (kernel[j * kw + i] != 0.0) bits |= mask(x0 + i, y0 + j);
        }
    }
    return bits;
}

}  // namespace

const char* rejectionName(Rejection rejection) {
    static const char* const names[kNumRejections] = {"none",         "construction", "masked",        "build",
                                                      "condition",    "statistics",   "residualMean",  "residualStd",
                                                      "kernelSum",    "spatialResidual", "unbuilt"};
    return names[static_cast<int>(rejection)];
}

KernelCandidate::Diagnostics::Diagnostics()
        : singleMean(kNaN), singleRms(kNaN), spatialMean(kNaN), spatialRms(kNaN), looMean(kNaN), looRms(kNaN),
          looChi2(kNaN), kernelSumError(kNaN), nPixels(0), usedInFit(false) {}

template <typename T>
KernelCandidate::KernelCandidate(double xCenter, double yCenter, MaskedView<const T> const& templateStamp,
                                 MaskedView<const T> const& scienceStamp, PsfMatchSettings const& settings)
        : KernelCandidate(xCenter, yCenter, 0.0, templateStamp, scienceStamp, settings) {
    try {
        ImageStatistics statistics(settings.badMask);
        statistics.apply(scienceStamp, settings.candidateCoreRadius);
        rating_ = statistics.mean();
    } catch (NumericalError const& error) {
        reject(Rejection::CONSTRUCTION, error.what());
        rating_ = 0.0;
    }
}

template <typename T>
KernelCandidate::KernelCandidate(double xCenter, double yCenter, double rating,
                                 MaskedView<const T> const& templateStamp, MaskedView<const T> const& scienceStamp,
                                 PsfMatchSettings const& settings)
        : SpatialCellImageCandidate(xCenter, yCenter),
          template_((requireStamps(templateStamp, scienceStamp), MaskedImage<T>(templateStamp))),
          science_(MaskedImage<T>(scienceStamp)),
          settings_(settings),
          rating_(rating) {
    settings_.validate();
}

KernelCandidate::~KernelCandidate() = default;

int KernelCandidate::stampWidth() const { return maskOf(science_).width; }
int KernelCandidate::stampHeight() const { return maskOf(science_).height; }

Box2I KernelCandidate::stampBBox() const {
    return std::visit([](auto const& image) { return image.bbox(); }, science_);
}

void KernelCandidate::reject(Rejection rejection, std::string text) {
    setStatus(CandidateStatus::BAD);
    rejection_ = rejection;
    rejectionText_ = std::move(text);
}

struct KernelCandidate::Prepared {
    PreparedStamp stamp;
};

// Variances, weights and bad pixels as the settings want them. `residualVariance`: that of the difference image of an
// earlier fit, in place of var_S + var_T.
KernelCandidate::Prepared KernelCandidate::prepare(BasisConvolver const& bases,
                                                   std::vector<double> const* residualVariance) const {
    const int w = stampWidth(), h = stampHeight();
    const size_t n = static_cast<size_t>(w) * static_cast<size_t>(h);
    StampInput input;
    input.width = w;
    input.height = h;
    input.stamp = pixelsOf(template_);
    input.science = pixelsOf(science_);
    VariancePixel const* varT = varianceOf(template_).data;
    VariancePixel const* varS = varianceOf(science_).data;
    MaskPixel const* maskT = maskOf(template_).data;
    MaskPixel const* maskS = maskOf(science_).data;
    std::vector<double> variance(n);
    const auto squared = static_cast<VariancePixel>(settings_.fluxScale * settings_.fluxScale);
    for (size_t k = 0; k < n; ++k) variance[k] = static_cast<double>(varS[k] + squared * varT[k]);
    if (residualVariance) variance = *residualVariance;
    if (settings_.maskWeights) {
        input.badTemplate.resize(n);
        input.badScience.resize(n);
        bool anyTemplate = false;
        for (size_t k = 0; k < n; ++k) {
            input.badTemplate[k] = (maskT[k] & settings_.badFitMask) != 0 || !std::isfinite(input.stamp[k]) ||
                                   !std::isfinite(varT[k]);
            input.badScience[k] = (maskS[k] & settings_.badFitMask) != 0 || !std::isfinite(input.science[k]) ||
                                  !std::isfinite(varS[k]);
            anyTemplate = anyTemplate || input.badTemplate[k];
        }
        if (!anyTemplate) input.badTemplate.clear();
    }
    // Constant weights are not the inverse variances: honest errors need the true ones.
    if (settings_.calculateKernelUncertainty || (settings_.constantVarianceWeighting && !settings_.compat)) {
        input.trueVariance = variance;
    }
    if (settings_.constantVarianceWeighting) {
        const double median = finiteMedian(variance);
        std::fill(variance.begin(), variance.end(), median > 0.0 ? median : 1.0);
    } else {
        for (size_t k = 0; k < n; ++k) {
            const bool counts = input.badScience.empty() || !input.badScience[k];
            if (counts && variance[k] < 0.0) throw NumericalError("kernel fit: a variance of the stamp is negative");
            if (counts && variance[k] == 0.0) throw NumericalError("kernel fit: a variance of the stamp is zero");
        }
    }
    input.variance = std::move(variance);
    if (settings_.correctTemplateNoise) {
        input.templateVariance.resize(n);
        bool any = false;
        for (size_t k = 0; k < n; ++k) {
            const double v = std::isfinite(varT[k]) && varT[k] > 0.0f ? static_cast<double>(varT[k]) : 0.0;
            input.templateVariance[k] = v;
            any = any || v > 0.0;
        }
        if (!any) input.templateVariance.clear();
    }
    const Box2I box = stampBBox();
    input.xFirst = box.minX();
    input.yFirst = box.minY();
    Prepared out{prepareStamp(bases, input)};
    if (settings_.maskWeights && !(out.stamp.goodFraction >= settings_.minGoodFraction && out.stamp.pixels->nPixels > 0)) {
        throw NoDataError("KernelCandidate: only " + std::to_string(out.stamp.goodFraction) +
                          " of the fitted pixels are good, wanted " + std::to_string(settings_.minGoodFraction));
    }
    return out;
}

void KernelCandidate::solveOnce(std::shared_ptr<BasisConvolver const> const& bases, DenseMatrix const& h,
                                std::vector<double> const* residualVariance,
                                std::shared_ptr<StaticKernelSolution>& out) const {
    const Prepared prepared = prepare(*bases, residualVariance);
    if (h.empty()) {
        out = std::make_shared<StaticKernelSolution>(bases, settings_.fitForBackground);
    } else {
        out = std::make_shared<RegularizedKernelSolution>(bases, settings_.fitForBackground, h, settings_);
    }
    out->build(prepared.stamp.pixels, prepared.stamp.stamp);
    if (settings_.checkConditionNumber && h.empty()) {
        const double condition = out->getConditionNumber(settings_.conditionNumberType);
        if (condition > settings_.maxConditionNumber) return;  // left unsolved
    }
    out->solve();
}

void KernelCandidate::build(KernelList const& bases, DenseMatrix const& h) {
    build(std::make_shared<BasisConvolver const>(bases), h);
}

void KernelCandidate::build(std::shared_ptr<BasisConvolver const> const& bases, DenseMatrix const& h) {
    std::shared_ptr<StaticKernelSolution> solution;
    solveOnce(bases, h, nullptr, solution);
    bool tooLarge = !solution->isSolved();
    if (!tooLarge && settings_.checkConditionNumber && !h.empty()) {
        // The regularised matrix is what is solved; the plain one is what the reference looks at.
        auto const& regularized = static_cast<RegularizedKernelSolution const&>(*solution);
        tooLarge = conditionNumber(regularized.getM(!settings_.compat), settings_.conditionNumberType) >
                   settings_.maxConditionNumber;
    }
    if (tooLarge) {
        reject(Rejection::CONDITION, "condition number above " + std::to_string(settings_.maxConditionNumber));
        if (settings_.compat) initialized_ = true;
        return;
    }
    if (settings_.iterateSingleKernel && !settings_.constantVarianceWeighting) {
        const Image<double> kernel = solution->makeKernelImage();
        const std::vector<double> variance = differenceVariance(kernel.view().data, bases->width(), bases->height());
        solveOnce(bases, h, &variance, solution);
    }
    (orig_ ? pca_ : orig_) = solution;
    initialized_ = true;
}

std::shared_ptr<StampMoments const> KernelCandidate::buildMoments(BasisConvolver const& bases, int kernelOrder,
                                                                  int backgroundOrder, int expansionDegree) const {
    const Prepared prepared = prepare(bases, nullptr);
    const int k = std::min(kernelOrder, expansionDegree), g = std::min(backgroundOrder, expansionDegree);
    auto out = std::make_shared<StampMoments>(threadBuilder().buildMoments(
            bases, *prepared.stamp.pixels, settings_.fitForBackground, xCenter(), yCenter(), 2 * k, g + std::max(k, g)));
    out->expansionDegree = expansionDegree;
    return out;
}

std::shared_ptr<StaticKernelSolution> const& KernelCandidate::getKernelSolution(CandidateSwitch which) const {
    auto const& solution = which == ORIG || (which == RECENT && !pca_) ? orig_ : pca_;
    if (which != ORIG && which != PCA && which != RECENT) {
        throw DomainError("KernelCandidate: wanted ORIG, PCA or RECENT, got " + std::to_string(static_cast<int>(which)));
    }
    if (!solution) throw StillskyError("KernelCandidate: there is no such kernel solution yet");
    return solution;
}

std::shared_ptr<LinearCombinationKernel> KernelCandidate::getKernel(CandidateSwitch which) const {
    return getKernelSolution(which)->getKernel();
}
double KernelCandidate::getBackground(CandidateSwitch which) const { return getKernelSolution(which)->getBackground(); }
double KernelCandidate::getKsum(CandidateSwitch which) const { return getKernelSolution(which)->getKsum(); }
Image<double> KernelCandidate::getKernelImage(CandidateSwitch which) const {
    return getKernelSolution(which)->makeKernelImage();
}

MaskedImage<double> KernelCandidate::getDifferenceImage(CandidateSwitch which) const {
    auto const& solution = getKernelSolution(which);
    const Image<double> kernel = solution->makeKernelImage();
    return differenceImage(kernel.view().data, kernel.width(), kernel.height(), solution->getBackground());
}

MaskedImage<double> KernelCandidate::getDifferenceImage(Kernel const& kernel, double background) const {
    const Image<double> pixels = kernel.imageAt(xCenter(), yCenter());
    return differenceImage(pixels.view().data, pixels.width(), pixels.height(), background);
}

// Rows of padded(good width) variances of the convolved template, without the stamp's border.
AlignedVector<double> KernelCandidate::matchedVariance(double const* kernel, int kw, int kh) const {
    const int w = stampWidth(), h = stampHeight(), gw = w - kw + 1, gh = h - kh + 1;
    const int length = simd::padded(gw);
    const std::ptrdiff_t stride = simd::padded(length + kw - 1);
    AlignedVector<double> out(static_cast<size_t>(length) * static_cast<size_t>(gh));
    std::vector<double> squared(static_cast<size_t>(kw) * static_cast<size_t>(kh));
    for (size_t k = 0; k < squared.size(); ++k) squared[k] = kernel[k] * kernel[k];
    const View2<const VariancePixel> varT = varianceOf(template_);
    const std::vector<double> varianceT(varT.data, varT.data + varT.size());
    stamp_loops::correlate(paddedRows(varianceT, w, h, stride).data(), stride, squared.data(), kw, kw, kh, out.data(),
                           length, gw, gh);
    return out;
}

std::vector<double> KernelCandidate::differenceVariance(double const* kernel, int kw, int kh) const {
    const int w = stampWidth(), h = stampHeight(), gw = w - kw + 1, gh = h - kh + 1;
    if (gw < 1 || gh < 1) throw ShapeError("KernelCandidate: the stamp is smaller than the kernel");
    const AlignedVector<double> matched = matchedVariance(kernel, kw, kh);
    const View2<const VariancePixel> varS = varianceOf(science_);
    std::vector<double> out(static_cast<size_t>(w) * static_cast<size_t>(h), static_cast<double>(noDataVariancePixel()));
    for (int gy = 0; gy < gh; ++gy) {
        const size_t to = static_cast<size_t>(gy + (kh - 1) / 2) * static_cast<size_t>(w) + static_cast<size_t>((kw - 1) / 2);
        double const* row = &matched[static_cast<size_t>(gy) * static_cast<size_t>(simd::padded(gw))];
        for (int gx = 0; gx < gw; ++gx) {
            const size_t k = to + static_cast<size_t>(gx);
            // Rounded as the difference image's variance plane is.
            out[k] = static_cast<double>(static_cast<VariancePixel>(static_cast<double>(varS.data[k]) + row[gx]));
        }
    }
    return out;
}

MaskedImage<double> KernelCandidate::differenceImage(double const* kernel, int kw, int kh, double background) const {
    const int w = stampWidth(), h = stampHeight(), gw = w - kw + 1, gh = h - kh + 1;
    if (gw < 1 || gh < 1) throw ShapeError("KernelCandidate: the stamp is smaller than the kernel");
    const int length = simd::padded(gw);
    const std::ptrdiff_t stride = simd::padded(length + kw - 1);
    std::vector<double> image(static_cast<size_t>(length) * static_cast<size_t>(gh));
    stamp_loops::correlate(paddedRows(pixelsOf(template_), w, h, stride).data(), stride, kernel, kw, kw, kh,
                           image.data(), length, gw, gh);
    const AlignedVector<double> variance = matchedVariance(kernel, kw, kh);
    const View2<const VariancePixel> varS = varianceOf(science_);
    const View2<const MaskPixel> maskT = maskOf(template_), maskS = maskOf(science_);
    const bool masked = std::any_of(maskT.data, maskT.data + maskT.size(), [](MaskPixel m) { return m != 0; });
    const std::vector<double> science = pixelsOf(science_);
    MaskedImage<double> out(stampBBox());
    const auto outImage = out.image().view();
    const auto outMask = out.mask().view();
    const auto outVariance = out.variance().view();
    std::fill_n(outImage.data, outImage.size(), kNaN);
    std::fill_n(outVariance.data, outVariance.size(), noDataVariancePixel());
    for (long long k = 0; k < outMask.size(); ++k) outMask.data[k] = maskS.data[k] | mask_planes::NO_DATA;
    const int cx = (kw - 1) / 2, cy = (kh - 1) / 2;
    for (int gy = 0; gy < gh; ++gy) {
        const size_t from = static_cast<size_t>(gy + cy) * static_cast<size_t>(w) + static_cast<size_t>(cx);
        subtractRow(&science[from], &image[static_cast<size_t>(gy) * static_cast<size_t>(length)], background,
                    varS.data + from, &variance[static_cast<size_t>(gy) * static_cast<size_t>(length)],
                    outImage.data + from, outVariance.data + from, gw);
        for (int gx = 0; gx < gw; ++gx) {
            const size_t k = from + static_cast<size_t>(gx);
            outMask.data[k] = maskS.data[k] | (masked ? maskUnderKernel(maskT, kernel, kw, kh, gx, gy) : 0);
            // What weighed nothing in the fit does not count in its statistics either.
            if (settings_.maskWeights && !std::isfinite(outImage.data[k])) outMask.data[k] |= mask_planes::NO_DATA;
        }
    }
    return out;
}

#define STILLSKY_CANDIDATE(T)                                                                                  \
    template KernelCandidate::KernelCandidate(double, double, MaskedView<const T> const&,                      \
                                              MaskedView<const T> const&, PsfMatchSettings const&);            \
    template KernelCandidate::KernelCandidate(double, double, double, MaskedView<const T> const&,              \
                                              MaskedView<const T> const&, PsfMatchSettings const&);
STILLSKY_CANDIDATE(float)
STILLSKY_CANDIDATE(double)
#undef STILLSKY_CANDIDATE

}  // namespace stillsky
