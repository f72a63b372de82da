// Statistics from C++ alone: every call form on views, controls, errors, quantiles, grids and splines.
#include "stillsky/stats/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "check.hpp"
#include "stillsky/core/parallel.hpp"
#include "stillsky/math/spline.hpp"
#include "stillsky/stats/clipped_stats.hpp"
#include "stillsky/stats/grid_statistics.hpp"
#include "stillsky/stats/select.hpp"

using namespace stillsky;

namespace {

constexpr int ALL = 0x1ffff;
const double NaN = std::numeric_limits<double>::quiet_NaN();

void vectors() {
    std::vector<double> ten;
    for (int i = 1; i <= 10; ++i) ten.push_back(i);
    const Statistics s = makeStatistics(ten, ALL);
    CHECK(s.getValue(MEAN) == 5.5 && s.getValue(MEDIAN) == 5.5 && s.getValue(IQRANGE) == 4.5);
    CHECK_CLOSE(s.getError(MEAN), 0.9574271077563382, 1e-14);
    CHECK_CLOSE(s.getError(VARIANCE), 3.889087296526012, 1e-14);
    CHECK_CLOSE(s.getError(MEDIAN), 1.1999569296001094, 1e-14);
    CHECK_CLOSE(s.getError(VARIANCECLIP), 3.889087296526012, 1e-13);
    CHECK(s.getValue(NPOINT) == 10 && s.getValue(NCLIPPED) == 0 && s.getValue(SUM) == 55);
    StatisticsControl compat;
    compat.setCompat(true);
    CHECK(std::isnan(makeStatistics(ten, ALL, compat).getError(VARIANCECLIP)));

    const std::vector<double> x = {1, 2, 4, 8, 16}, w = {1, 2, 3, 4, 0.5};
    const Statistics weighted = makeStatistics(x, ALL, StatisticsControl(), w);
    CHECK_CLOSE(weighted.getValue(MEAN), 57 / 10.5, 1e-14);
    CHECK_CLOSE(weighted.getError(MEAN), 2.176726384987797, 1e-14);
    CHECK_CLOSE(weighted.getValue(VARIANCE), 17.26875, 1e-12);
    CHECK(weighted.getValue(MEDIAN) == 4 && weighted.getValue(IQRANGE) == 6);

    const Statistics bad = makeStatistics(std::vector<double>{1, 2, NaN, 4, std::numeric_limits<double>::infinity(), 6}, ALL);
    CHECK(bad.getValue(NPOINT) == 4 && bad.getValue(NMASKED) == 2 && bad.getValue(MEAN) == 3.25 && bad.getValue(MEDIAN) == 3);
    CHECK(makeStatistics(std::vector<std::int32_t>{0, 0, 0, 0, 0, 1, 1, 1, 1, 1}, MEDIAN).getValue() == 0.5);
    CHECK(makeStatistics(std::vector<std::uint16_t>{3, 3, 65535}, MAX).getValue() == 65535);
}

void maskedImages() {
    MaskedImage<float> mi(6, 1);
    const float x[6] = {10, 12, 11, 13, 9, 60}, v[6] = {4, 4, 1, 9, 2.25f, 4};
    for (int i = 0; i < 6; ++i) {
        mi.image()(i, 0) = x[i];
        mi.variance()(i, 0) = v[i];
    }
    mi.mask()(2, 0) = 2;
    StatisticsControl control;
    control.setNumSigmaClip(2.5);
    control.setAndMask(2);
    control.setWeighted(true);
    control.setCalcErrorFromInputVariance(true);
    control.setMaskPropagationThreshold(1, 0.1);
    const Statistics s = makeStatistics(mi.view(), ALL, control);
    CHECK(s.getValue(NPOINT) == 5 && s.getValue(NMASKED) == 1 && (s.orMask() & 2));
    CHECK_CLOSE(s.getValue(MEANCLIP), 10.368421052631579, 1e-12);
    CHECK_CLOSE(s.getError(MEANCLIP) * s.getError(MEANCLIP), 0.9473684210526315, 1e-12);
    control.setMaskPropagationThreshold(1, 0.7);
    MaskedImage<float> const& constant = mi;
    CHECK(makeStatistics(constant.view(), ALL, control).orMask() == 0);

    CHECK(makeStatistics(mi.image().view(), NPOINT).getValue() == 6);
    StatisticsControl masked;
    masked.setAndMask(2);
    CHECK(makeStatistics(mi.image().view(), View2<const MaskPixel>(mi.mask().view()), NPOINT, masked).getValue() == 5);
    Image<float> weights(6, 1, 0.5f);
    CHECK(makeStatistics(mi.view(), SUM, StatisticsControl(), View2<const float>(weights.view())).getValue() == 57.5);
    CHECK(makeMaskStatistics(mi.mask().view(), SUM | NPOINT).getValue(SUM) == 2);
    // A view of a part: columns 1 to 3.
    CHECK(makeStatistics(mi.image().view().sub(1, 0, 3, 1), MEAN).getValue() == 12);
}

void errors() {
    const std::vector<double> x = {1, 2, 3};
    StatisticsControl off;
    off.setWeighted(false);
    CHECK_THROWS(makeStatistics(x, MEAN, off, x), DomainError);
    CHECK_THROWS(makeStatistics(std::vector<double>(), MEAN), DomainError);
    CHECK_THROWS(makeStatistics(x, MEAN, StatisticsControl(), std::vector<double>{1, 2}), ShapeError);
    CHECK_THROWS(makeStatistics(x, MEAN).getValue(MEDIAN), DomainError);
    CHECK_THROWS(makeStatistics(x, MEAN | MEDIAN).getValue(), DomainError);
    CHECK_THROWS(makeMaskStatistics(View2<const MaskPixel>(), SUM), DomainError);
    Image<MaskPixel> mask(2, 2);
    CHECK_THROWS(makeMaskStatistics(mask.view(), MEAN), DomainError);
    CHECK_THROWS(stringToStatisticsProperty("ERROR"), DomainError);
    CHECK(stringToStatisticsProperty("ERRORS") == ERRORS && statisticsPropertyName(MEANCLIP) == "MEANCLIP");
    StatisticsControl c;
    CHECK_THROWS(c.setNumIter(0), DomainError);
    CHECK_THROWS(c.setNumSigmaClip(0), DomainError);
    c.setCalcErrorMosaicMode(true);
    CHECK_THROWS(c.setCalcErrorFromInputVariance(true), DomainError);
}

void selectionIsExact() {
    std::mt19937 random(3);
    for (std::size_t n : {std::size_t(1), std::size_t(2000), std::size_t(5000), std::size_t(300001)}) {
        std::vector<float> x(n);
        std::normal_distribution<float> gauss(1000, 3);
        for (auto& value : x) value = gauss(random);
        std::vector<float> sorted = x;
        std::sort(sorted.begin(), sorted.end());
        const std::vector<std::size_t> ranks = {0, n / 7, n / 4, n / 2, n - 1};
        const std::vector<float> found = orderStatistics(x.data(), n, ranks);
        for (std::size_t i = 0; i < ranks.size(); ++i) CHECK(found[i] == sorted[ranks[i]]);
    }
    const float one = 5;
    CHECK(quantiles(&one, 1, {0.25, 0.5})[0] == 5);
    CHECK(std::isnan(quantiles(&one, 0, {0.5})[0]));
    CHECK_THROWS(quantiles(&one, 1, {1.5}), DomainError);
    CHECK_THROWS(orderStatistics(&one, 1, {1}), DomainError);
}

void clippedAndRobust() {
    Image<float> image(700, 500);
    std::mt19937 random(4);
    std::normal_distribution<float> gauss(20, 2);
    for (int y = 0; y < 500; ++y) {
        for (int x = 0; x < 700; ++x) image(x, y) = (x * 7 + y) % 50 == 0 ? 1e5f : gauss(random);
    }
    Image<float> const& constant = image;
    ClippedStats first = clippedStats(constant.view());
    CHECK_CLOSE(first.mean, 20, 0.05);
    CHECK_CLOSE(first.stdev, 1.97, 0.02);
    const double sigma = robustSigma(constant.view());
    CHECK_CLOSE(sigma, 2, 0.08);
    for (int threads : {1, 2, 7}) {
        setNumThreads(threads);
        const ClippedStats s = clippedStats(constant.view());
        CHECK(s.median == first.median && s.mean == first.mean && s.stdev == first.stdev && s.n == first.n);
        CHECK(robustSigma(constant.view()) == sigma);
    }
    setNumThreads(0);
    CHECK(clippedStats(constant.view(), View2<const MaskPixel>(), 0, 3.0, 3, 4).n < first.n / 15);
}

void gridAndSpline() {
    Image<float> image(512, 64);
    for (int y = 0; y < 64; ++y) {
        for (int x = 0; x < 512; ++x) image(x, y) = 100 + 0.5f * static_cast<float>(x) + static_cast<float>(y);
    }
    StatisticsSamples<float> samples;
    samples.image = View2<const float>(image.view());
    const GridStatistics grid = gridStatistics(samples, 6, 3, MEAN);
    CHECK(grid.x.end == (std::vector<int>{85, 171, 256, 341, 427, 512}));
    CHECK(grid.nEmpty == 0);
    Image<float> out(512, 64);
    fillFromGrid(grid.values.view(), grid.x.centre, grid.y.centre, InterpolateStyle::CUBIC_SPLINE,
                 UndersampleStyle::THROW_EXCEPTION, {0, 0}, out.view());
    for (int y = 0; y < 64; y += 9) {
        for (int x = 0; x < 512; x += 17) CHECK_CLOSE(out(x, y), image(x, y), 1e-3);
    }
    CHECK_THROWS(fillFromGrid(grid.values.view(), grid.x.centre, grid.y.centre, InterpolateStyle::AKIMA_SPLINE,
                              UndersampleStyle::THROW_EXCEPTION, {0, 0}, out.view()),
                 DomainError);
    CHECK_THROWS(gridCells(5, 6), DomainError);
    const Interpolate line({0, 2}, {1, 5}, InterpolateStyle::LINEAR);
    CHECK(line(-1) == -1 && line(1) == 3 && line(3) == 7);
}

}  // namespace

int main() {
    vectors();
    maskedImages();
    errors();
    selectionIsExact();
    clippedAndRobust();
    gridAndSpline();
    return 0;
}
