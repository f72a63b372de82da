// The compiled DCR loops from C++ alone, where sanitizers see them: every operator against its exact adjoint,
// <A x, y> = <x, A^T y>, for orders 1 and 3, at edges and on images of one pixel, row or column; masks as bits; errors.
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "check.hpp"
#include "stillsky/core/errors.hpp"
#include "stillsky/core/parallel.hpp"
#include "stillsky/dcr/dcr_pass.hpp"
#include "stillsky/dcr/descent.hpp"
#include "stillsky/dcr/regularize.hpp"
#include "stillsky/dcr/smooth.hpp"
#include "stillsky/dcr/spline_shift.hpp"
#include "stillsky/image/image.hpp"

using namespace stillsky;

namespace {

std::mt19937 generator(7);

template <typename T>
Image<T> randomImage(int width, int height) {
    std::normal_distribution<double> noise(0, 1);
    Image<T> image(width, height);
    for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) image(x, y) = static_cast<T>(noise(generator));
    }
    return image;
}

template <typename T>
Image<T> copyOf(Image<T> const& in) {
    Image<T> out(in.width(), in.height());
    for (int y = 0; y < in.height(); ++y) {
        for (int x = 0; x < in.width(); ++x) out(x, y) = in(x, y);
    }
    return out;
}

template <typename T>
View2<const T> constView(Image<T> const& image) {
    return View2<const T>(image.view());
}

template <typename T>
double dot(Image<T> const& a, Image<T> const& b) {
    double sum = 0;
    for (int y = 0; y < a.height(); ++y) {
        for (int x = 0; x < a.width(); ++x) sum += static_cast<double>(a(x, y)) * static_cast<double>(b(x, y));
    }
    return sum;
}

// Rounding of a sum of products: a few units in the last place of T times the norms, whatever cancels.
template <typename T>
double rounding(Image<T> const& a, Image<T> const& b) {
    return 32 * static_cast<double>(std::numeric_limits<T>::epsilon()) * std::sqrt(dot(a, a) * dot(b, b));
}

template <typename T>
void checkAdjoint(Image<T> const& forward, Image<T> const& y, Image<T> const& x, Image<T> const& backward) {
    CHECK_CLOSE(dot(forward, y), dot(x, backward), rounding(x, y) + rounding(forward, y) + rounding(x, backward));
}

// One, few and many pixels; widths on both sides of the vector lengths.
const std::vector<Extent2I> SIZES = {{1, 1}, {2, 1}, {1, 2}, {1, 9}, {9, 1}, {3, 3}, {17, 5}, {33, 34}, {131, 67}};
// Whole and half pixels, both signs, on the edge, beyond every image of SIZES.
const std::vector<PixelShift> SHIFTS = {{0, 0}, {1, -2}, {0.5, 0.5}, {-0.3, 1.7}, {2.25, -0.75}, {-4, 8}, {1e-9, -1e-9}, {200, -300}};

template <typename T>
void shiftsAreAdjoint(int order) {
    for (Extent2I size : SIZES) {
        const Image<T> x = randomImage<T>(size.x, size.y), y = randomImage<T>(size.x, size.y);
        for (PixelShift shift : SHIFTS) {
            Image<T> forward(size.x, size.y), backward(size.x, size.y);
            shiftSpline(constView(x), shift, order, forward.view());
            shiftSplineAdjoint(constView(y), shift, order, backward.view());
            checkAdjoint(forward, y, x, backward);

            // Prefilter and shift in one: the adjoints in the reverse order.
            Image<T> coefficients = copyOf(x);
            prefilterSpline(coefficients.view(), order);
            shiftSpline(constView(coefficients), shift, order, forward.view(), 0.5);
            shiftSplineAdjoint(constView(y), shift, order, backward.view(), 0.5);
            prefilterSpline(backward.view(), order, true);
            checkAdjoint(forward, y, x, backward);

            // Accumulating adds to what is there.
            Image<T> sum = copyOf(forward);
            shiftSpline(constView(coefficients), shift, order, sum.view(), 0.5, true);
            for (int i = 0; i < size.x; ++i) CHECK_CLOSE(sum(i, 0), 2 * forward(i, 0), 1e-5);
        }
    }
}

// No shift, or one of whole pixels, gives the pixels back; outside is 0.
template <typename T>
void wholeShiftsMovePixels(int order) {
    const Image<T> x = randomImage<T>(21, 19);
    Image<T> coefficients = copyOf(x), out(21, 19);
    prefilterSpline(coefficients.view(), order);
    shiftSpline(constView(coefficients), {3, -2}, order, out.view());
    for (int j = 0; j < 19; ++j) {
        for (int i = 0; i < 21; ++i) {
            const double wanted = j - 3 >= 0 && i + 2 < 21 ? static_cast<double>(x(i + 2, j - 3)) : 0.0;
            CHECK_CLOSE(out(i, j), wanted, 16 * static_cast<double>(std::numeric_limits<T>::epsilon()));
        }
    }
}

void smoothingIsAdjoint() {
    for (Extent2I size : SIZES) {
        const Image<float> x = randomImage<float>(size.x, size.y), y = randomImage<float>(size.x, size.y);
        const Image<float> u = randomImage<float>(size.x, size.y), v = randomImage<float>(size.x, size.y);
        Image<float> forward(size.x, size.y), backward(size.x, size.y);
        smoothWeighted(constView(x), 1.2, constView(u), constView(v), forward.view());
        smoothWeighted(constView(y), 1.2, constView(v), constView(u), backward.view());
        checkAdjoint(forward, y, x, backward);
    }
}

// A mask with one bit a pixel; padding bits are set, and must not matter.
struct Bits {
    Bits(int width, int height, double badFraction) : bytes((width + 7) / 8, height) {
        std::uniform_real_distribution<double> uniform(0, 1);
        for (int y = 0; y < height; ++y) {
            for (int x = 0; x < bytes.width(); ++x) bytes(x, y) = 0xff;
            for (int x = 0; x < width; ++x) {
                if (uniform(generator) < badFraction) bytes(x / 8, y) = static_cast<std::uint8_t>(bytes(x / 8, y) & ~(1 << x % 8));
            }
        }
    }
    bool at(int x, int y) const { return bytes(x / 8, y) >> x % 8 & 1; }
    Image<std::uint8_t> bytes;
};

constexpr int SUBFILTERS = 3;

struct Scene {
    std::vector<Image<float>> images;
    std::vector<Bits> good;
    std::vector<DcrVisit> visits;
};

Scene scene(int width, int height, double badFraction) {
    Scene scene;
    const int n = 4;
    for (int i = 0; i < n; ++i) {
        scene.images.push_back(randomImage<float>(width, height));
        scene.good.emplace_back(width, height, badFraction);
        for (int y = 0; y < height; ++y) {
            for (int x = 0; x < width; ++x) {
                // What is not good does not matter, NaN neither.
                if (!scene.good.back().at(x, y)) scene.images.back()(x, y) = std::numeric_limits<float>::quiet_NaN();
            }
        }
    }
    for (int i = 0; i < n; ++i) {
        DcrVisit visit;
        visit.image = constView(scene.images[static_cast<std::size_t>(i)]);
        visit.good = constView(scene.good[static_cast<std::size_t>(i)].bytes);
        visit.weight = 0.5 + 0.25 * i;
        for (int k = 0; k < SUBFILTERS; ++k) {
            const double s = (k - 1) * (0.4 + 0.3 * i);
            visit.forward.push_back({{s, -0.6 * s}, {1.1 * s, -0.5 * s}});
        }
        visit.backward = visit.forward;
        scene.visits.push_back(visit);
    }
    return scene;
}

std::vector<Image<float>> randomModels(int width, int height) {
    std::vector<Image<float>> models;
    for (int k = 0; k < SUBFILTERS; ++k) models.push_back(randomImage<float>(width, height));
    return models;
}

std::vector<View2<const float>> views(std::vector<Image<float>> const& images) {
    std::vector<View2<const float>> out;
    for (auto const& image : images) out.push_back(constView(image));
    return out;
}

std::vector<Image<float>> pass(std::vector<Image<float>> const& models, int order, Scene const& scene, DcrPassValue value,
                               bool normal = false) {
    std::vector<Image<float>> out;
    std::vector<View2<float>> outViews;
    for (auto const& model : models) out.emplace_back(model.width(), model.height());
    for (auto& image : out) outViews.push_back(image.view());
    dcrPass(views(models), order, scene.visits, value, View2<const float>(), outViews, 0, models[0].height(), normal);
    return out;
}

double dot(std::vector<Image<float>> const& a, std::vector<Image<float>> const& b) {
    double sum = 0;
    for (std::size_t k = 0; k < a.size(); ++k) sum += dot(a[k], b[k]);
    return sum;
}

// sum_i w_i <good_i image_i, template_i(m)> = <m, sum_i w_i B_i^T good_i image_i>, and B^T W B is symmetric.
void passesAreAdjoint(int width, int height, int order, double badFraction) {
    const Scene s = scene(width, height, badFraction);
    const auto m = randomModels(width, height), other = randomModels(width, height);
    const auto rightHandSide = pass(m, order, s, DcrPassValue::IMAGE);
    double sum = 0;
    for (std::size_t i = 0; i < s.visits.size(); ++i) {
        Image<float> seen(width, height);
        dcrTemplate(views(m), order, s.visits[i].forward, seen.view());
        for (int y = 0; y < height; ++y) {
            for (int x = 0; x < width; ++x) {
                if (s.good[i].at(x, y)) sum += s.visits[i].weight * static_cast<double>(seen(x, y)) * static_cast<double>(s.images[i](x, y));
            }
        }
    }
    const double size = std::sqrt(dot(m, m) * dot(rightHandSide, rightHandSide));
    CHECK_CLOSE(dot(m, rightHandSide), sum, 1e-5 * size);

    const auto a = pass(m, order, s, DcrPassValue::MODEL), b = pass(other, order, s, DcrPassValue::MODEL);
    CHECK_CLOSE(dot(a, other), dot(m, b), 1e-5 * std::sqrt(dot(a, a) * dot(other, other)));
    CHECK(dot(a, m) >= 0);

    // residual = image - model, whatever the path.
    const auto residual = pass(m, order, s, DcrPassValue::RESIDUAL);
    for (bool normal : {false, true}) {
        if (normal && order != 1) continue;
        const auto model = pass(m, order, s, DcrPassValue::MODEL, normal);
        for (std::size_t k = 0; k < m.size(); ++k) {
            for (int y = 0; y < height; ++y) {
                for (int x = 0; x < width; ++x) CHECK_CLOSE(residual[k](x, y), rightHandSide[k](x, y) - model[k](x, y), 2e-4);
            }
        }
    }
}

// Nothing good: nothing comes back, NaN images or not.
void nothingGoodGivesNothing() {
    const Scene s = scene(40, 70, 2);
    const auto m = randomModels(40, 70);
    for (auto value : {DcrPassValue::RESIDUAL, DcrPassValue::MODEL, DcrPassValue::IMAGE, DcrPassValue::COVERAGE}) {
        const auto out = pass(m, 1, s, value);
        CHECK(dot(out, out) == 0);
    }
}

// Two steps of conjugate gradients' vectors against sums pixel by pixel.
void descentIsWhatItSays() {
    constexpr int W = 37, H = 21, N = 3;
    const auto r0 = randomModels(W, H), p = randomModels(W, H), m0 = randomModels(W, H), moves = randomModels(W, H);
    auto models = randomModels(W, H), residual = randomModels(W, H), direction = randomModels(W, H), mixed = randomModels(W, H);
    Image<float> diagonal(W, H);
    for (int y = 0; y < H; ++y) {
        for (int x = 0; x < W; ++x) diagonal(x, y) = 1 + 0.1f * static_cast<float>(x);
    }
    const auto viewsOf = [](std::vector<Image<float>>& planes) {
        DcrPlanes out;
        for (auto& plane : planes) out.push_back(plane.view());
        return out;
    };
    const auto constant = [](std::vector<Image<float>> const& planes) {
        ConstDcrPlanes out;
        for (auto const& plane : planes) out.push_back(constView(plane));
        return out;
    };
    for (int k = 0; k < N; ++k) {
        for (int y = 0; y < H; ++y) {
            for (int x = 0; x < W; ++x) {
                models[k](x, y) = m0[k](x, y);
                residual[k](x, y) = r0[k](x, y);
                direction[k](x, y) = std::nanf("");
            }
        }
    }
    const std::vector<float> mixing{0.9f, -0.1f, -0.1f, -0.1f, 0.9f, -0.1f, -0.1f, -0.1f, 0.9f};  // 1 - 0.3 J / 3
    const DescentPrior prior{constView(diagonal), 0.5f, mixing};
    const double square = descentDirection(viewsOf(direction), constant(residual), prior, 0, viewsOf(mixed));
    const double after = descentStep(viewsOf(models), viewsOf(residual), constant(moves), constant(p), constant(direction),
                                     prior, 0.25);
    double wantedSquare = 0, wantedAfter = 0, wantedDot = 0;
    for (int y = 0; y < H; ++y) {
        for (int x = 0; x < W; ++x) {
            double meanD = 0, meanP = 0;
            for (int k = 0; k < N; ++k) {
                meanD += r0[k](x, y) / (diagonal(x, y) + 0.5) / N;
                meanP += p[k](x, y) / double(N);
            }
            for (int k = 0; k < N; ++k) {
                const double d = r0[k](x, y) / (diagonal(x, y) + 0.5);
                const double r = r0[k](x, y) - 0.25 * (p[k](x, y) - 0.3 * meanP + 0.5 * d);
                CHECK_CLOSE(mixed[k](x, y), d - 0.3 * meanD, 1e-6);
                CHECK_CLOSE(residual[k](x, y), r, 1e-6);
                CHECK_CLOSE(models[k](x, y), m0[k](x, y) + 0.25 * moves[k](x, y), 1e-6);
                wantedSquare += d * d;
                wantedAfter += r * r / (diagonal(x, y) + 0.5);
                wantedDot += double(p[k](x, y)) * m0[k](x, y);
            }
        }
    }
    CHECK_CLOSE(square, wantedSquare, 1e-4);
    CHECK_CLOSE(after, wantedAfter, 1e-4);
    CHECK_CLOSE(planesDot(constant(p), constant(m0)), wantedDot, 1e-4);
    CHECK_THROWS(planesDot(constant(p), {}), ShapeError);
    CHECK_THROWS(planesDot(constant(p), constant(randomModels(W, H + 1))), ShapeError);
    CHECK_THROWS(descentDirection(viewsOf(direction), constant(residual), {constView(diagonal).sub(0, 0, 3, 3), 1, {}}, 0, {}),
                 ShapeError);
    CHECK_THROWS(descentDirection(viewsOf(direction), constant(residual), {constView(diagonal), 1, {1.0f}}, 0, {}), ShapeError);
}

// Against loops that say what is meant.
void regularisationsAreWhatTheySay() {
    constexpr int W = 45, H = 31;
    // A square of five keeps the diamond of thirteen pixels; what is smaller goes; bits do not see each other.
    Image<std::uint8_t> flags(W, H);
    for (int y = 0; y < H; ++y) {
        for (int x = 0; x < W; ++x) {
            flags(x, y) = static_cast<std::uint8_t>((std::abs(x - 10) <= 2 && std::abs(y - 10) <= 2 ? 1 : 0) |
                                                    (std::abs(x - 30) <= 1 && std::abs(y - 10) <= 1 ? 1 : 0) |
                                                    (std::abs(x - 12) <= 2 && std::abs(y - 20) <= 2 ? 2 : 0) |
                                                    (x <= 3 && y >= H - 4 ? 1 : 0));
        }
    }
    openDiamond(flags.view(), 2);
    for (int y = 0; y < H; ++y) {
        for (int x = 0; x < W; ++x) {
            const int first = std::abs(x - 10) + std::abs(y - 10) <= 2, second = std::abs(x - 12) + std::abs(y - 20) <= 2;
            CHECK(flags(x, y) == first + 2 * second);
        }
    }
    // Limits of every pixel, steps 0.
    const Image<float> old = randomImage<float>(W, H), start = randomImage<float>(W, H);
    Image<float> image = copyOf(start);
    clampChange(image.view(), constView(old), {1.3f, 0.7f, 1.3f}, 0);
    double sum = 0, square = 0, n = 0;
    Image<std::uint8_t> excluded(W, H);
    for (int y = 0; y < H; ++y) {
        for (int x = 0; x < W; ++x) {
            const double o = static_cast<double>(old(x, y)), size = std::fabs(o);
            CHECK_CLOSE(image(x, y), std::max(std::min(static_cast<double>(start(x, y)), 1.3 * size), o - 0.3 * size), 1e-6);
            excluded(x, y) = static_cast<std::uint8_t>((x + y) % 3 == 0);
            if ((x + y) % 3 == 0 || x < 2 || y < 2 || x >= W - 2 || y >= H - 2 || (x == 20 && y == 15)) continue;
            sum += static_cast<double>(start(x, y));
            square += static_cast<double>(start(x, y)) * static_cast<double>(start(x, y));
            n += 1;
        }
    }
    image = copyOf(start);
    image(20, 15) = std::nanf("");
    CHECK_CLOSE(backgroundScatter(constView(image), constView(excluded), 2), std::sqrt(square / n - sum * sum / n / n), 1e-6);
    CHECK(std::isnan(backgroundScatter(constView(image), constView(excluded), 16)));
    // The worst of three images comes back to its limit, and the sum stays.
    Image<float> a(1, 1), b(1, 1), c(1, 1);
    a(0, 0) = 1;
    b(0, 0) = 4;
    c(0, 0) = 10;
    const Image<float> smoothA = copyOf(a), smoothB = copyOf(b), smoothC = copyOf(c);
    clampRatios({a.view(), b.view(), c.view()}, {constView(smoothA), constView(smoothB), constView(smoothC)}, 1.5f, 0.1f, 0);
    CHECK_CLOSE(c(0, 0), 7.5, 1e-6);  // half of what was above the mean of 5
    CHECK_CLOSE(a(0, 0), 3, 1e-6);
    CHECK_CLOSE(a(0, 0) + b(0, 0) + c(0, 0), 15, 1e-6);
    CHECK_THROWS(openDiamond(flags.view(), -1), DomainError);
    CHECK_THROWS(clampChange(a.view(), constView(old), {}, 1), ShapeError);
    CHECK_THROWS(clampRatios({a.view()}, {}, 2, 0.5f, 0), ShapeError);
    CHECK_THROWS(backgroundScatter(constView(old), constView(flags).sub(0, 0, 3, 3), 0), ShapeError);
}

void errors() {
    Image<float> a(4, 4), b(5, 4);
    CHECK_THROWS(shiftSpline(constView(a), {0, 0}, 1, b.view()), ShapeError);
    CHECK_THROWS(shiftSpline(constView(a), {0, 0}, 2, a.view()), DomainError);
    CHECK_THROWS(shiftSplineAdjoint(constView(a), {std::nan(""), 0}, 1, a.view()), DomainError);
    CHECK_THROWS(prefilterSpline(a.view(), 5), DomainError);
    CHECK_THROWS(smoothWeighted(constView(a), 0, {}, {}, a.view()), DomainError);
    CHECK_THROWS(dcrTemplate({constView(a)}, 1, {}, a.view()), ShapeError);
    const Scene s = scene(13, 7, 0);
    CHECK_THROWS(dcrPass({}, 1, s.visits, DcrPassValue::IMAGE, View2<const float>(), {}, 0, 7), StillskyError);
    CHECK_THROWS(pass(randomModels(13, 8), 1, s, DcrPassValue::MODEL), ShapeError);
}

}  // namespace

int main() {
    for (int order : {1, 3}) {
        shiftsAreAdjoint<float>(order);
        shiftsAreAdjoint<double>(order);
        wholeShiftsMovePixels<float>(order);
        wholeShiftsMovePixels<double>(order);
        // One pixel, less and more than a tile, many bad pixels and few.
        passesAreAdjoint(1, 1, order, 0);
        passesAreAdjoint(1, 1, order, 2);
        passesAreAdjoint(13, 7, order, 0.3);
        passesAreAdjoint(90, 70, order, 0.02);
        passesAreAdjoint(DCR_TILE_WIDTH + 21, DCR_TILE_HEIGHT + 5, order, 0.003);
    }
    smoothingIsAdjoint();
    nothingGoodGivesNothing();
    descentIsWhatItSays();
    regularisationsAreWhatTheySay();
    errors();
    return 0;
}
