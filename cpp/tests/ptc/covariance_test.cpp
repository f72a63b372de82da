// Flat covariances from C++ alone: exact sums against a plain loop, threads, offsets, quadrants, errors, moments.
#include "stillsky/ptc/covariance.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "check.hpp"
#include "stillsky/core/parallel.hpp"
#include "stillsky/ptc/moments.hpp"

using namespace stillsky;

namespace {

const double NaN = std::numeric_limits<double>::quiet_NaN();

struct Scene {
    int width, height;
    std::vector<float> image;
    std::vector<std::uint8_t> weight;

    Scene(int w, int h, double bad, unsigned seed) : width(w), height(h) {
        std::mt19937 generator(seed);
        std::uniform_real_distribution<double> uniform;
        for (int i = 0; i < w * h; ++i) {
            image.push_back(static_cast<float>(std::floor(100 * uniform(generator))));
            weight.push_back(uniform(generator) >= bad);
            if (!weight.back()) image.back() = static_cast<float>(NaN);
        }
    }
    View2<const float> pixels() const { return View2<const float>(image.data(), width, height); }
    View2<const std::uint8_t> weights() const { return View2<const std::uint8_t>(weight.data(), width, height); }
};

// All sums of integers are exact, so the order of summation does not matter.
void checkSums(Scene const& s, CovarianceSums const& sums) {
    for (int dx = 0; dx <= sums.maxLag; ++dx) {
        for (int dy = -sums.maxLag; dy <= sums.maxLag; ++dy) {
            std::int64_t n = 0;
            double first = 0, second = 0, product = 0;
            for (int y = std::max(0, -dy); y < s.height - std::max(0, dy); ++y) {
                for (int x = 0; x < s.width - dx; ++x) {
                    const std::size_t p = static_cast<std::size_t>(y * s.width + x);
                    const std::size_t q = static_cast<std::size_t>((y + dy) * s.width + x + dx);
                    if (!s.weight[p] || !s.weight[q]) continue;
                    ++n;
                    const double a = s.image[p] - sums.offset, b = s.image[q] - sums.offset;
                    first += a;
                    second += b;
                    product += a * b;
                }
            }
            const std::size_t i = sums.index(dx, dy);
            CHECK(sums.count[i] == n && sums.sumFirst[i] == first && sums.sumSecond[i] == second && sums.sumProduct[i] == product);
        }
    }
}

void exactSums() {
    struct Case {
        int width, height, maxLag;
        double bad;
    };
    for (Case c : {Case{13, 9, 3, 0.2}, Case{1, 1, 0, 0.0}, Case{5, 200, 4, 0.05}, Case{300, 60, 8, 0.01}, Case{257, 90, 10, 0.6},
                   Case{70, 80, 33, 0.1}, Case{41000, 3, 2, 0.01}}) {
        const Scene s(c.width, c.height, c.bad, 3);
        const CovarianceEstimator estimator(c.maxLag);
        checkSums(s, estimator.sums(s.pixels(), s.weights(), 0.0));
        checkSums(s, estimator.sums(s.pixels(), s.weights(), 50.0));
    }
}

void viewsOfLargerArrays() {
    const Scene s(120, 80, 0.05, 4);
    Scene part(50, 30, 0.0, 1);
    for (int y = 0; y < 30; ++y) {
        for (int x = 0; x < 50; ++x) {
            const std::size_t to = static_cast<std::size_t>(y * 50 + x), from = static_cast<std::size_t>((y + 7) * 120 + x + 11);
            part.image[to] = s.image[from];
            part.weight[to] = s.weight[from];
        }
    }
    checkSums(part, CovarianceEstimator(5).sums(s.pixels().sub(11, 7, 50, 30), s.weights().sub(11, 7, 50, 30), 0.0));
}

void threadsAndOffsets() {
    const Scene s(509, 400, 0.01, 5);
    const CovarianceEstimator estimator(8);
    setNumThreads(1);
    const CovarianceSums one = estimator.sums(s.pixels(), s.weights());
    setNumThreads(3);
    const CovarianceSums three = estimator.sums(s.pixels(), s.weights());
    setNumThreads(0);
    CHECK(one.sumFirst == three.sumFirst && one.sumSecond == three.sumSecond && one.sumProduct == three.sumProduct);
    CHECK(one.count == three.count && one.offset == three.offset && std::fabs(one.offset - 49.5) < 1);
    const CovarianceSums moved = one.withOffset(0.0);
    CHECK_CLOSE(moved.covariance(2, -3), one.covariance(2, -3), 1e-9);
    CovarianceSums twice = one;
    twice += moved;
    const std::size_t i = one.index(2, -3);
    CHECK(twice.offset == one.offset && twice.count[i] == 2 * one.count[i]);
    CHECK_CLOSE(twice.sumProduct[i], 2 * one.sumProduct[i], 1e-12 * one.sumProduct[one.index(0, 0)]);
    CHECK_THROWS(twice += CovarianceSums(7), ShapeError);
}

void quadrants() {
    const Scene s(90, 70, 0.4, 6);
    CovarianceEstimator estimator(4);
    const CovarianceSums sums = estimator.sums(s.pixels(), s.weights());
    const LagCovariances equal = estimator.covariances(s.pixels(), s.weights());
    CHECK_CLOSE(equal(2, 1), 0.5 * (sums.covariance(2, 1) + sums.covariance(2, -1)), 1e-12);
    const std::int64_t up = sums.count[sums.index(2, 1)], down = sums.count[sums.index(2, -1)];
    CHECK(equal.npix[equal.index(2, 1)] == up + down && equal.npix[equal.index(0, 3)] == sums.count[sums.index(0, 3)]);
    const LagCovariances weighted = averageQuadrants(sums, Quadrants::WEIGHTED);
    CHECK_CLOSE(weighted(2, 1),
                (sums.covariance(2, 1) * static_cast<double>(up) + sums.covariance(2, -1) * static_cast<double>(down)) /
                        static_cast<double>(up + down), 1e-12);
    estimator.minPairsPerLag = 1000000;
    const LagCovariances none = estimator.covariances(s.pixels(), s.weights());
    CHECK(std::isnan(none(0, 0)) && none.npix[0] == 0);
}

void errors() {
    Scene s(20, 10, 0.0, 7);
    CHECK_THROWS(CovarianceEstimator(-1), DomainError);
    CHECK_THROWS(CovarianceEstimator(10).sums(s.pixels(), s.weights()), DomainError);
    CHECK_THROWS(CovarianceEstimator(3).sums(s.pixels(), s.weights().sub(0, 0, 19, 10)), ShapeError);
    CHECK_THROWS(CovarianceEstimator(0).sums(View2<const float>(), View2<const std::uint8_t>()), ShapeError);
    CHECK_THROWS(CovarianceEstimator(3).sums(s.pixels(), s.weights(), NaN), DomainError);
    CHECK_THROWS(averageQuadrants(CovarianceSums(2)), DomainError);
    CHECK_THROWS(averageQuadrants(CovarianceSums(2), Quadrants::EQUAL, 0), DomainError);
    s.image[33] = std::numeric_limits<float>::infinity();
    CovarianceEstimator estimator(3);
    CHECK_THROWS(estimator.sums(s.pixels(), s.weights()), DomainError);
    estimator.ignoreNonFinite = true;
    const CovarianceSums ignored = estimator.sums(s.pixels(), s.weights(), 0.0);
    s.weight[33] = 0;
    checkSums(s, ignored);
    s.weight[40] = 2;
    CHECK_THROWS(estimator.sums(s.pixels(), s.weights()), DomainError);
}

void moments() {
    std::vector<double> x;
    for (int i = 1; i <= 100; ++i) x.push_back(i);
    x.push_back(10000);
    x.push_back(NaN);
    const ClippedPixelMoments m = clippedPixelMoments(View2<const double>(x.data(), 17, 6));
    CHECK(m.count == 101 && m.kept == 100 && m.median == 51 && m.quartile1 == 26 && m.quartile3 == 76);
    CHECK_CLOSE(m.mean, 50.5, 1e-12);
    CHECK_CLOSE(m.variance, 841.6666666666667, 1e-10);
    const View2<const double> view(x.data(), 17, 6);
    CHECK_THROWS(clippedPixelMoments(view, View2<const std::uint8_t>(), 0.0), DomainError);
    CHECK_THROWS(clippedPixelMoments(view, View2<const std::uint8_t>(), 5.0, 0), DomainError);
    CHECK(clippedPixelMoments(View2<const float>()).count == 0);

    const Scene a(60, 50, 0.02, 8), b(60, 50, 0.02, 9);
    std::vector<double> difference(3000);
    std::vector<std::uint8_t> good(3000);
    View2<double> out(difference.data(), 60, 50);
    differenceOfFlats(a.pixels(), b.pixels(), 40.0, 60.0, out);
    for (int i = 0; i < 3000; ++i) {
        const std::size_t k = static_cast<std::size_t>(i);
        const double wanted = (60.0 * a.image[k] - 40.0 * b.image[k]) / 50.0;
        CHECK(std::isnan(wanted) == std::isnan(difference[k]));
        if (!std::isnan(wanted)) CHECK_CLOSE(difference[k], wanted, 1e-12);
    }
    const long long n = clipWeights(View2<const double>(out), a.weights(), -20.0, 30.0, View2<std::uint8_t>(good.data(), 60, 50));
    long long counted = 0;
    for (std::size_t i = 0; i < 3000; ++i) {
        CHECK(good[i] == (a.weight[i] && difference[i] >= -20 && difference[i] <= 30));
        counted += good[i];
    }
    CHECK(n == counted && n > 500);
    CHECK_THROWS(differenceOfFlats(a.pixels(), b.pixels(), 5.0, -5.0, out), DomainError);
    CHECK_THROWS(differenceOfFlats(a.pixels(), b.pixels().sub(0, 0, 50, 50), 5.0, 5.0, out), ShapeError);
}

}  // namespace

int main() {
    exactSums();
    viewsOfLargerArrays();
    threadsAndOffsets();
    quadrants();
    errors();
    moments();
    return 0;
}
