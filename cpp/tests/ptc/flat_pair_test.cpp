// Usable pixels, gain ratio and row means of a tiny pair of flats, from C++ alone.
#include "stillsky/ptc/flat_pair.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "check.hpp"
#include "stillsky/core/errors.hpp"

using namespace stillsky;

int main() {
    constexpr float nan = std::numeric_limits<float>::quiet_NaN();
    const std::vector<float> first = {1, 3, nan, 5, 6, 7}, second = {3, 1, 2, 5, nan, 9};
    const std::vector<std::int32_t> mask = {0, 1, 2, 4, 0, 0};
    std::vector<std::uint8_t> use(6);
    const View2<const float> a(first.data(), 3, 2), b(second.data(), 3, 2);
    const View2<std::uint8_t> out(use.data(), 3, 2);
    CHECK(usablePixels(a, View2<const std::int32_t>(mask.data(), 3, 2), 4, out) == 4);
    CHECK((use == std::vector<std::uint8_t>{1, 1, 0, 0, 1, 1}));
    CHECK(usablePixels(b, View2<const std::int32_t>(), 4, out) == 5);

    use = {1, 1, 0, 1, 0, 1};
    const View2<const std::uint8_t> weight(use.data(), 3, 2);
    CHECK_CLOSE(flatPairRatio(a, b, weight, 1.0, 1.0), (1.0 + 1.0 + 0.0 + 0.25) / 4, 1e-15);
    CHECK_CLOSE(flatPairRatio(a, b, weight, 2.0, 1.0), (1.0 / 5 + 25.0 / 7 + 25.0 / 15 + 25.0 / 23) / 4, 1e-15);

    const std::vector<double> image(first.begin(), first.end());
    const std::vector<double> means = rowMeans(View2<const double>(image.data(), 3, 2), weight);
    CHECK(means.size() == 2);
    CHECK_CLOSE(means[0], 2.0, 0.0);
    CHECK_CLOSE(means[1], 6.0, 0.0);
    CHECK_THROWS(flatPairRatio(a, View2<const float>(second.data(), 2, 3), weight, 1.0, 1.0), ShapeError);
    return 0;
}
