// Stacks from C++ alone: call forms, errors, agreement with makeStatistics for every property, the running mean, threads.
#include "stillsky/stack/statistics_stack.hpp"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "check.hpp"
#include "stillsky/core/parallel.hpp"
#include "stillsky/stack/mean_stack.hpp"

using namespace stillsky;

namespace {

constexpr int WIDTH = 150, HEIGHT = 6;

// Noise with outliers, masked and NaN samples.
template <typename T>
std::vector<MaskedImage<T>> scene(int n) {
    std::mt19937 random(5);
    std::normal_distribution<double> noise(100, 5);
    std::uniform_real_distribution<double> uniform(0, 1);
    std::vector<MaskedImage<T>> images;
    for (int i = 0; i < n; ++i) {
        images.emplace_back(Box2I({30, -2}, {WIDTH, HEIGHT}));
        for (int y = 0; y < HEIGHT; ++y) {
            for (int x = 0; x < WIDTH; ++x) {
                auto& pixel = images.back().image()(x, y);
                pixel = static_cast<T>(noise(random));
                if (uniform(random) < 0.05) pixel += static_cast<T>(100);
                if (uniform(random) < 0.02) pixel = std::numeric_limits<T>::quiet_NaN();
                images.back().mask()(x, y) = uniform(random) < 0.1 ? 3 : uniform(random) < 0.3 ? 32 : 0;
                images.back().variance()(x, y) = static_cast<float>(15 + 20 * uniform(random));
            }
        }
    }
    return images;
}

template <typename T>
std::vector<MaskedView<const T>> viewsOf(std::vector<MaskedImage<T>> const& images) {
    std::vector<MaskedView<const T>> views;
    for (auto const& image : images) views.push_back(image.view());
    return views;
}

bool same(double a, double b, double tolerance) { return std::isnan(a) ? std::isnan(b) : std::fabs(a - b) <= tolerance * std::fabs(b); }

// Every pixel equals makeStatistics of its column.
template <typename T>
void agreesWithMakeStatistics(int n, bool weighted, double tolerance) {
    const auto images = scene<T>(n);
    StatisticsControl control;
    control.setAndMask(1);
    control.setNumSigmaClip(2.5);
    std::vector<double> weights;
    for (int i = 0; weighted && i < n; ++i) weights.push_back(0.5 + 0.1 * i);
    for (int property : {NPOINT, MEAN, STDEV, VARIANCE, MEDIAN, IQRANGE, MEANCLIP, STDEVCLIP, VARIANCECLIP, MIN, MAX, SUM,
                         MEANSQUARE, ORMASK, NCLIPPED, NMASKED}) {
        const MaskedImage<T> stacked = statisticsStack(viewsOf(images), property, control, weights);
        CHECK(stacked.xy0() == (Point2I{30, -2}));
        for (int y = 0; y < HEIGHT; ++y) {
            for (int x = 0; x < WIDTH; x += 7) {
                Image<T> column(n, 1);
                Image<MaskPixel> mask(n, 1);
                for (int i = 0; i < n; ++i) {
                    column(i, 0) = images[static_cast<std::size_t>(i)].image()(x, y);
                    mask(i, 0) = images[static_cast<std::size_t>(i)].mask()(x, y);
                }
                StatisticsSamples<T> samples;
                samples.image = View2<const T>(column.view());
                samples.mask = View2<const MaskPixel>(mask.view());
                if (weighted) samples.weights64 = View2<const double>(weights.data(), n, 1);
                const Statistics s = computeStatistics(samples, property | ERRORS | ORMASK | NPOINT, control);
                const auto wanted = s.getResult(static_cast<StatisticsProperty>(property));
                CHECK(same(stacked.image()(x, y), wanted.first, tolerance));
                CHECK(same(stacked.variance()(x, y), wanted.second * wanted.second, 1e-6));
                if (s.getValue(NPOINT) > 0) CHECK(stacked.mask()(x, y) == s.orMask());
            }
        }
    }
}

void callForms() {
    const auto images = scene<float>(5);
    const auto views = viewsOf(images);
    StackOptions options;
    options.weights = {1, 2, 3, 4, 5};
    options.maskMap = {{1, 64}};
    StatisticsControl control;
    control.setAndMask(1);
    MaskedImage<float> into(WIDTH, HEIGHT);
    statisticsStack(into.view(), views, MEAN, control, options);
    const MaskedImage<float> made = statisticsStack(views, MEAN, control, options);
    for (int y = 0; y < HEIGHT; ++y) {
        for (int x = 0; x < WIDTH; ++x) CHECK(same(into.image()(x, y), made.image()(x, y), 0) && into.mask()(x, y) == made.mask()(x, y));
    }
    CHECK((statisticsStack(std::vector<std::vector<double>>{{1, 5}, {3, 7}, {5, 0}}, MEDIAN) == std::vector<double>{3, 5}));
    std::vector<View2<const float>> plain;
    for (auto const& image : images) plain.push_back(image.image().view());
    CHECK(statisticsStack(plain, MAX).width() == WIDTH);

    StatisticsSamples<float> one;
    one.image = plain[0];
    one.mask = images[0].mask().view();
    const MaskedImage<float> rows = statisticsStack(one, MEAN, 'x', control, {30, -2});
    CHECK(rows.width() == 1 && rows.height() == HEIGHT && rows.xy0() == (Point2I{30, -2}));
    CHECK(statisticsStack(one, MEAN, 'y', control).width() == WIDTH);
    CHECK_THROWS(statisticsStack(one, MEAN, 'z', control), DomainError);
    CHECK_THROWS(statisticsStack(views, MEAN | MEDIAN), DomainError);
    CHECK_THROWS(statisticsStack(views, MEAN, control, std::vector<double>{1, 2}), DomainError);
    CHECK_THROWS(statisticsStack(std::vector<MaskedView<const float>>(), MEAN), ShapeError);
}

void runningMeanIsTheMeanStack() {
    const auto images = scene<float>(9);
    StatisticsControl control;
    control.setAndMask(1);
    control.setCalcErrorFromInputVariance(true);
    control.setMaskPropagationThreshold(1, 0.1);
    StackOptions options;
    MeanStack<float> running(WIDTH, HEIGHT, control);
    for (auto const& image : images) {
        options.weights.push_back(1.0 + 0.1 * static_cast<double>(options.weights.size()));
        StackInput<float> input;
        input.image = image.image().view();
        input.mask = image.mask().view();
        input.variance = image.variance().view();
        running.add(input, options.weights.back());
    }
    MaskedImage<float> mean(WIDTH, HEIGHT);
    StackOutput<float> out;
    out.image = mean.image().view();
    out.mask = mean.mask().view();
    out.variance = mean.variance().view();
    running.fill(out);
    for (int threads : {1, 3}) {
        setNumThreads(threads);
        const MaskedImage<float> direct = statisticsStack(viewsOf(images), MEAN, control, options);
        for (int y = 0; y < HEIGHT; ++y) {
            for (int x = 0; x < WIDTH; ++x) {
                CHECK(same(mean.image()(x, y), direct.image()(x, y), 0) && same(mean.variance()(x, y), direct.variance()(x, y), 0));
                CHECK(mean.mask()(x, y) == direct.mask()(x, y));
            }
        }
    }
    setNumThreads(0);
}

}  // namespace

int main() {
    agreesWithMakeStatistics<float>(12, false, 1e-6);
    agreesWithMakeStatistics<float>(33, true, 1e-6);
    agreesWithMakeStatistics<double>(8, true, 1e-12);
    callForms();
    runningMeanIsTheMeanStack();
    return 0;
}
