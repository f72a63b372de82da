#include "fit_pixels.hpp"

#include <algorithm>
#include <cmath>

#include "stillsky/core/errors.hpp"

namespace stillsky {
namespace {

using std::size_t;

// flags[y][x] set when any of the kw x kh pixels of `bad` from (x, y) on is set; by sums over rectangles.
std::vector<unsigned char> grownByFootprint(std::vector<unsigned char> const& bad, int w, int h, int kw, int kh) {
    std::vector<int> sums(static_cast<size_t>(w + 1) * static_cast<size_t>(h + 1), 0);
    auto at = [&](int x, int y) -> int& { return sums[static_cast<size_t>(y) * static_cast<size_t>(w + 1) + static_cast<size_t>(x)]; };
    for (int y = 0; y < h; ++y) {
        for (int x = 0; x < w; ++x) {
            at(x + 1, y + 1) = at(x, y + 1) + at(x + 1, y) - at(x, y) +
                               (bad[static_cast<size_t>(y) * static_cast<size_t>(w) + static_cast<size_t>(x)] ? 1 : 0);
        }
    }
    const int gw = w - kw + 1, gh = h - kh + 1;
    std::vector<unsigned char> out(static_cast<size_t>(gw) * static_cast<size_t>(gh));
    for (int y = 0; y < gh; ++y) {
        for (int x = 0; x < gw; ++x) {
            const int n = at(x + kw, y + kh) - at(x, y + kh) - at(x + kw, y) + at(x, y);
            out[static_cast<size_t>(y) * static_cast<size_t>(gw) + static_cast<size_t>(x)] = n > 0;
        }
    }
    return out;
}

}  // namespace

NormalEquationsBuilder& threadBuilder() {
    thread_local NormalEquationsBuilder builder;
    return builder;
}

PreparedStamp prepareStamp(BasisConvolver const& bases, StampInput const& input) {
    const int gw = bases.goodWidth(input.width), gh = bases.goodHeight(input.height);
    if (gw < 1 || gh < 1) {
        throw ShapeError("kernel fit: a stamp of " + std::to_string(input.width) + "x" + std::to_string(input.height) +
                         " is smaller than the kernel, " + std::to_string(bases.width()) + "x" +
                         std::to_string(bases.height()));
    }
    const int length = bases.rowLength(input.width);
    const Point2I centre = bases.center();
    auto stamp = std::make_shared<std::vector<double>>(input.stamp);
    auto pixels = std::make_shared<FitPixels>();
    std::vector<unsigned char> grown;
    if (!input.badTemplate.empty()) {
        for (size_t k = 0; k < stamp->size(); ++k) {
            if (input.badTemplate[k]) (*stamp)[k] = 0.0;
        }
        grown = grownByFootprint(input.badTemplate, input.width, input.height, bases.width(), bases.height());
    }
    for (size_t k = 0; k < stamp->size(); ++k) {
        if (!input.badTemplate.empty() && input.badTemplate[k]) continue;
        pixels->stampMin = std::fmin(pixels->stampMin, (*stamp)[k]);
        pixels->stampMax = std::fmax(pixels->stampMax, (*stamp)[k]);
    }
    pixels->stamp = View2<const double>(stamp->data(), input.width, input.height);
    const size_t n = static_cast<size_t>(length) * static_cast<size_t>(gh);
    pixels->y.assign(n, 0.0);
    pixels->weight.assign(n, 0.0);
    if (!input.trueVariance.empty()) pixels->variance.assign(n, 0.0);
    for (int y = 0; y < gh; ++y) {
        for (int x = 0; x < gw; ++x) {
            const size_t to = static_cast<size_t>(y) * static_cast<size_t>(length) + static_cast<size_t>(x);
            const size_t from = static_cast<size_t>(y + centre.y) * static_cast<size_t>(input.width) +
                                static_cast<size_t>(x + centre.x);
            const bool bad = (!grown.empty() && grown[static_cast<size_t>(y) * static_cast<size_t>(gw) + static_cast<size_t>(x)]) ||
                             (!input.badScience.empty() && input.badScience[from]);
            if (bad) continue;
            pixels->y[to] = input.science[from];
            pixels->weight[to] = 1.0 / input.variance[from];
            if (!input.trueVariance.empty()) pixels->variance[to] = input.trueVariance[from];
            ++pixels->nPixels;
        }
    }
    pixels->templateVariance = input.templateVariance;
    pixels->xFirst = input.xFirst + centre.x;
    pixels->yFirst = input.yFirst + centre.y;
    PreparedStamp out;
    out.goodFraction = static_cast<double>(pixels->nPixels) / (static_cast<double>(gw) * gh);
    out.pixels = pixels;
    out.stamp = stamp;
    return out;
}

}  // namespace stillsky
