// A C++ program without Python. It makes two images of the same stars with different seeing, fits the matching kernel,
// convolves, subtracts and prints the residual; then two flat fields, and prints variance and covariance of their
// difference; then it stacks twenty masked images with cosmic rays. Exits with 0 when the difference of stars is as quiet
// as its variance says, the flats give what was put in and the stack is clean and as deep as twenty images are.
#include <cmath>
#include <cstdint>
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
#include <stillsky/ptc/covariance.hpp>
#include <stillsky/ptc/moments.hpp>
#include <stillsky/stack/statistics_stack.hpp>

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

// A flat of Gaussian noise of which a tenth has moved to the pixel above: the covariance at lag (0, 1) is 0.09 of the
// noise's variance.
stillsky::Image<float> makeFlat(double level, double gain, unsigned seed) {
    stillsky::Image<float> out(size, size);
    std::mt19937_64 generator(seed);
    std::normal_distribution<double> noise(0.0, std::sqrt(level / gain));
    double row[size] = {};
    for (int y = 0; y < size; ++y) {
        for (int x = 0; x < size; ++x) {
            const double n = noise(generator);
            out(x, y) = static_cast<float>(level + 0.9 * n + 0.1 * row[x]);
            row[x] = n;
        }
    }
    return out;
}

// Mean, half variance and half covariance of a pair of flats with a bad column.
bool measureFlats() {
    constexpr double level = 20000.0, gain = 2.0;
    const stillsky::Image<float> flat1 = makeFlat(level, gain, 3), flat2 = makeFlat(1.02 * level, gain, 4);
    std::vector<std::uint8_t> usable(size * size, 1);
    for (int y = 0; y < size; ++y) usable[static_cast<std::size_t>(y * size + 100)] = 0;
    const stillsky::View2<const std::uint8_t> mask(usable.data(), size, size);

    const auto first = stillsky::clippedPixelMoments<float>(flat1.view(), mask);
    const auto second = stillsky::clippedPixelMoments<float>(flat2.view(), mask);
    stillsky::Image<double> difference(size, size);
    stillsky::differenceOfFlats<float>(flat1.view(), flat2.view(), first.mean, second.mean, difference.view());
    const stillsky::Image<double>& pixels = difference;
    const auto clipped = stillsky::clippedPixelMoments<double>(pixels.view(), mask);
    const double halfWidth = 5.5 * std::sqrt(clipped.variance);
    std::vector<std::uint8_t> weight(size * size);
    const long long n = stillsky::clipWeights<double>(pixels.view(), mask, clipped.mean - halfWidth, clipped.mean + halfWidth,
                                                      stillsky::View2<std::uint8_t>(weight.data(), size, size));
    const stillsky::CovarianceEstimator estimator(8);
    const auto cov = estimator.covariances<double>(pixels.view(), stillsky::View2<const std::uint8_t>(weight.data(), size, size));
    const double variance = 0.5 * cov(0, 0), c01 = 0.5 * cov(0, 1);
    std::printf("flats: mean %.1f, %lld pixels, variance %.1f, C01 %.1f\n", 0.5 * (first.mean + second.mean), n, variance, c01);
    const double noise = level / gain;  // 1.02 of it in the second flat, which matching of fluxes nearly undoes
    return std::fabs(variance / noise - 0.82 * 1.01) < 0.02 && std::fabs(c01 / noise - 0.09 * 1.01) < 0.01;
}

// Clipped mean of twenty masked images, each with cosmic rays and a bad column of its own.
bool stackImages() {
    constexpr int nImages = 20, width = 256, height = 128;
    std::vector<stillsky::MaskedImage<float>> images;
    std::mt19937_64 generator(11);
    std::normal_distribution<float> noise(100.0f, 6.0f);
    for (int i = 0; i < nImages; ++i) {
        images.emplace_back(width, height);
        for (int y = 0; y < height; ++y) {
            for (int x = 0; x < width; ++x) {
                images[i].image()(x, y) = noise(generator) + (generator() % 100 == 0 ? 500.0f : 0.0f);
                images[i].variance()(x, y) = 36.0f;
                if (x == 10 * i) images[i].mask()(x, y) = stillsky::mask_planes::BAD;
            }
        }
    }
    std::vector<stillsky::MaskedView<const float>> views;
    for (stillsky::MaskedImage<float> const& image : images) views.push_back(image.view());
    stillsky::StatisticsControl control;
    control.setAndMask(stillsky::mask_planes::BAD);
    control.setCalcErrorFromInputVariance(true);
    constexpr stillsky::MaskPixel clipped = 1 << 11;
    const auto coadd = stillsky::statisticsStack(views, stillsky::MEANCLIP, control, std::vector<double>(nImages, 1.0), clipped,
                                                 stillsky::mask_planes::BAD);
    double sum2 = 0.0, variance = 0.0;
    int nClipped = 0;
    for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
            sum2 += (coadd.image()(x, y) - 100.0) * (coadd.image()(x, y) - 100.0);
            variance += coadd.variance()(x, y);
            nClipped += (coadd.mask()(x, y) & clipped) != 0;
        }
    }
    const double n = width * height;
    std::printf("stack of %d: rms %.3f, claimed %.3f, %.1f %% of pixels clipped\n", nImages, std::sqrt(sum2 / n),
                std::sqrt(variance / n), 100.0 * nClipped / n);
    return std::fabs(std::sqrt(sum2 / variance) - 1.0) < 0.05 && std::fabs(variance / n - 36.0 / nImages) < 0.1 && nClipped > 0.1 * n;
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
    const bool goodFlats = measureFlats();
    const bool goodStack = stackImages();
    const bool good = goodFlats && goodStack && std::fabs(fit.kernelSum - 1.0) < 0.01 && std::fabs(mean) < 0.05 && std::fabs(rms - 1.0) < 0.03;
    std::printf("%s\n", good ? "good" : "BAD");
    return good ? 0 : 1;
}
