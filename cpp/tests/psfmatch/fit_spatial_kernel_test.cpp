// Two images matched without Python: cells, candidates, spatial fit, residual. Also a yardstick for profilers: with an
// argument the fit is repeated that many times.
#include "stillsky/psfmatch/fit_spatial_kernel.hpp"

#include <cmath>
#include <cstdlib>
#include <random>

#include "check.hpp"
#include "stillsky/core/parallel.hpp"
#include "stillsky/psfmatch/basis.hpp"

using namespace stillsky;

namespace {

constexpr int kSize = 620, kStep = 41, kHalf = 21;

void addStar(MaskedImage<float>& image, double x, double y, double flux, double sigma) {
    const int cx = positionToIndex(x), cy = positionToIndex(y);
    for (int j = cy - 20; j <= cy + 20; ++j) {
        for (int i = cx - 20; i <= cx + 20; ++i) {
            const double r2 = (i - x) * (i - x) + (j - y) * (j - y);
            image.image()(i, j) += static_cast<float>(flux / (6.283185307 * sigma * sigma) * std::exp(-0.5 * r2 / (sigma * sigma)));
        }
    }
}

void addNoise(MaskedImage<float>& image, double sigma, unsigned seed) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal(0.0f, static_cast<float>(sigma));
    for (int k = 0; k < image.width() * image.height(); ++k) {
        image.image().view().data[k] += normal(generator);
        image.variance().view().data[k] = static_cast<float>(sigma * sigma);
    }
}

struct Scene {
    MaskedImage<float> reference{kSize, kSize}, science{kSize, kSize};
    std::vector<Point2D> stars;

    Scene() {
        std::mt19937 generator(1);
        std::uniform_real_distribution<double> uniform(-0.5, 0.5);
        for (int j = 0; j < 14; ++j) {
            for (int i = 0; i < 14; ++i) {
                const double x = 40 + kStep * i + uniform(generator), y = 40 + kStep * j + uniform(generator);
                const double flux = 2e4 * std::pow(10.0, 0.5 + uniform(generator));
                stars.push_back({x, y});
                addStar(reference, x, y, flux, 1.5);
                addStar(science, x, y, 1.2 * flux, 2.0 + 0.2 * x / kSize);
            }
        }
        addNoise(reference, 3.0, 2);
        addNoise(science, 6.0, 3);
        for (int k = 0; k < kSize * kSize; ++k) science.image().view().data[k] += 12.5f;
    }

    SpatialCellSet cells(PsfMatchSettings const& settings) const {
        SpatialCellSet set(Box2I({0, 0}, {kSize, kSize}), 128);
        for (Point2D const& p : stars) {
            const Box2I box = Box2I({positionToIndex(p.x) - kHalf, positionToIndex(p.y) - kHalf}, {2 * kHalf + 1, 2 * kHalf + 1})
                                      .clippedTo(reference.bbox());
            if (box.width() != 2 * kHalf + 1 || box.height() != 2 * kHalf + 1) continue;
            set.insertCandidate(std::make_shared<KernelCandidate>(p.x, p.y, reference.view().sub(box),
                                                                  science.view().sub(box), settings));
        }
        return set;
    }
};

}  // namespace

int main(int argc, char** argv) {
    const Scene scene;
    PsfMatchSettings settings;
    settings.fitForBackground = true;
    settings.spatialKernelOrder = 1;
    settings.nStarPerCell = -1;
    settings.perPixelSpatialTerms = std::getenv("STAMP_CONSTANT") == nullptr;
    const KernelList bases = makeAlardLuptonBasisList(10, 3, {0.7, 1.5, 3.0}, {4, 2, 2});
    for (int i = 1; i < (argc > 1 ? std::atoi(argv[1]) : 1); ++i) {
        SpatialCellSet cells = scene.cells(settings);
        fitSpatialKernel(cells, bases, settings);
    }
    SpatialCellSet cells = scene.cells(settings);
    const SpatialKernelFit fit = fitSpatialKernel(cells, bases, settings);
    CHECK(fit.nUsed > 180);
    CHECK(fit.kernel->isSpatiallyVarying());
    CHECK_CLOSE(fit.kernelSum, 1.2, 4 * fit.kernelSumError);
    CHECK_CLOSE((*fit.background)(300, 300), 12.5, 0.2);
    CHECK_CLOSE(fit.kernel->sumAt(10, 600), fit.kernelSum, 1e-9);
    for (CandidateReport const& c : fit.candidates) {
        if (c.usedInFit) CHECK(c.looRms > 0.8 && c.looRms < 1.25);
    }
    // The same bits for another number of threads.
    setNumThreads(1);
    SpatialCellSet again = scene.cells(settings);
    CHECK(fitSpatialKernel(again, bases, settings).solution->getA() == fit.solution->getA());
    SpatialCellSet empty(Box2I({0, 0}, {100, 100}), 50);
    CHECK_THROWS(fitSpatialKernel(empty, bases, settings), NoKernelCandidatesError);
    return 0;
}
