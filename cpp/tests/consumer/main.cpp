// A C++ program without Python: make two images of the same stars with different seeing, fit the matching kernel,
// convolve, subtract, print the residual. Exits with 0 when the difference is as quiet as its variance says.
#include <cmath>
#include <cstdio>
#include <memory>
#include <random>
#include <vector>

#include <stillsky/core/config.hpp>
#include <stillsky/image/image.hpp>
#include <stillsky/image/mask_planes.hpp>
#include <stillsky/kernel/convolve.hpp>
#include <stillsky/psfmatch/basis.hpp>
#include <stillsky/psfmatch/fit_spatial_kernel.hpp>
#include <stillsky/psfmatch/kernel_candidate.hpp>
#include <stillsky/psfmatch/spatial_cell.hpp>

namespace {

constexpr int size = 512;
constexpr int kernelSize = 21;

struct Star {
    double x, y, flux;
};

// Gaussian stars whose width grows from one side of the image to the other, on a sky of known noise.
stillsky::MaskedImage<float> makeImage(std::vector<Star> const& stars, double sigma, double gradient, double sky,
                                       double skySigma, unsigned seed) {
    stillsky::MaskedImage<float> out(size, size);
    std::mt19937_64 generator(seed);
    std::normal_distribution<double> noise;
    for (Star const& star : stars) {
        const double width = sigma * (1.0 + gradient * (star.x / size - 0.5));
        for (int y = 0; y < size; ++y) {
            for (int x = 0; x < size; ++x) {
                const double r2 = (x - star.x) * (x - star.x) + (y - star.y) * (y - star.y);
                if (r2 > 900.0) continue;
                out.image()(x, y) +=
                        static_cast<float>(star.flux / (6.283185307 * width * width) * std::exp(-0.5 * r2 / (width * width)));
            }
        }
    }
    for (int y = 0; y < size; ++y) {
        for (int x = 0; x < size; ++x) {
            const double variance = skySigma * skySigma + std::fmax(out.image()(x, y), 0.0f) / 2.0;
            out.variance()(x, y) = static_cast<float>(variance);
            out.image()(x, y) += static_cast<float>(sky + std::sqrt(variance) * noise(generator));
        }
    }
    return out;
}

}  // namespace

int main() {
    std::printf("stillsky %s (%s)\n", stillsky::version(), stillsky::simdTargets());

    std::vector<Star> stars;
    std::mt19937_64 generator(7);
    std::uniform_real_distribution<double> place(40.0, size - 40.0), magnitude(3.7, 4.9);
    for (int i = 0; i < 90; ++i) stars.push_back({place(generator), place(generator), std::pow(10.0, magnitude(generator))});
    auto templateImage = makeImage(stars, 1.5, 0.04, 0.0, 3.0, 1);
    auto science = makeImage(stars, 1.9, 0.10, 5.0, 6.0, 2);
    science.mask()(200, 200) |= stillsky::mask_planes::BAD;

    stillsky::PsfMatchSettings settings;
    settings.fitForBackground = true;
    settings.spatialKernelOrder = 1;
    settings.constantVarianceWeighting = false;

    stillsky::SpatialCellSet cells(templateImage.bbox(), 128);
    for (Star const& star : stars) {
        const stillsky::Point2I centre{stillsky::positionToIndex(star.x), stillsky::positionToIndex(star.y)};
        const stillsky::Box2I stamp({centre.x - kernelSize, centre.y - kernelSize}, {2 * kernelSize + 1, 2 * kernelSize + 1});
        if (!templateImage.bbox().contains(stamp)) continue;
        const stillsky::MaskedView<const float> t = templateImage.view(), s = science.view();
        cells.insertCandidate(std::make_shared<stillsky::KernelCandidate>(star.x, star.y, star.flux, t.sub(stamp),
                                                                          s.sub(stamp), settings));
    }
    const auto bases = stillsky::makeAlardLuptonBasisList(kernelSize / 2, 3, {0.7, 1.4, 2.8}, {4, 2, 2});
    const auto fit = stillsky::fitSpatialKernel(cells, bases, settings);
    std::printf("%d of %d stars, kernel sum %.5f, condition number %.3g\n", fit.nUsed, fit.nTotal, fit.kernelSum,
                fit.conditionNumber);

    stillsky::MaskedImage<float> matched(templateImage.bbox());
    stillsky::ConvolutionControl control;
    control.doNormalize = false;
    const stillsky::MaskedImage<float>& source = templateImage;
    stillsky::convolve<float>(matched.view(), source.view(), *fit.kernel, control);

    double sum = 0.0, sum2 = 0.0;
    int n = 0;
    for (int y = 0; y < size; ++y) {
        for (int x = 0; x < size; ++x) {
            if ((matched.mask()(x, y) | science.mask()(x, y)) != 0) continue;
            const double d = science.image()(x, y) - matched.image()(x, y) - (*fit.background)(x, y);
            const double chi = d / std::sqrt(science.variance()(x, y) + matched.variance()(x, y));
            sum += chi;
            sum2 += chi * chi;
            ++n;
        }
    }
    const double mean = sum / n, rms = std::sqrt(sum2 / n - mean * mean);
    std::printf("residual of %d pixels: mean %.4f sigma, rms %.4f sigma\n", n, mean, rms);
    const bool good = std::fabs(fit.kernelSum - 1.0) < 0.01 && std::fabs(mean) < 0.05 && std::fabs(rms - 1.0) < 0.03;
    std::printf("%s\n", good ? "good" : "BAD");
    return good ? 0 : 1;
}
