// One pass over all visits of a coadd with differential chromatic refraction: model of each visit from the subfilter
// images, its residual, the residuals brought back to the subfilters, and the convergence metric, tile by tile.
// DMTN-037, Eqs. 8-11 (doi 10.5281/zenodo.1492936).
#pragma once

#include <cstdint>
#include <vector>

#include "stillsky/core/view.hpp"
#include "stillsky/dcr/spline_shift.hpp"

namespace stillsky {

// How one visit sees the subfilters. Pixel (x, y) of every view is the same place on the sky.
struct DcrVisit {
    // Rows imageRow0 .. of the patch. Values of pixels that are not good do not matter, NaN neither.
    View2<const float> image;
    // One bit a pixel, pixel x of a row in bit x % 8 of byte x / 8; same rows as image. 1: the pixel counts.
    View2<const std::uint8_t> good;
    // The same for the pixels of the metric (only good ones are used); empty: no metric.
    View2<const std::uint8_t> score;
    int imageRow0 = 0;
    double weight = 1;
    // [subfilter][wavelength]: template = sum over subfilters of the mean over wavelengths of the shifted model.
    std::vector<std::vector<PixelShift>> forward;
    // [subfilter][wavelength]: what brings residuals back is the adjoint of the mean over these shifts.
    std::vector<std::vector<PixelShift>> backward;
};

// What a pass brings back to the subfilters: acc_k = sum over visits of weight * B_k^T (good * VALUE).
enum class DcrPassValue {
    RESIDUAL,  // image - template
    MODEL,     // template: with equal forward and backward shifts the matrix of the weighted normal equations
    IMAGE,     // image: their right-hand side
    COVERAGE   // 1
};

// Sums of the metric over the pixels of score, of one visit in one tile.
struct DcrMetricSums {
    double difference = 0;  // sum |image - template| S
    double total = 0;       // sum |image + template| S / 2
    double square = 0;      // sum (image - template)^2 over good pixels of score
    long long count = 0;
};

// Tiles are fixed: the tile (i, j) begins at pixel (i * DCR_TILE_WIDTH, j * DCR_TILE_HEIGHT) of the patch.
constexpr int DCR_TILE_WIDTH = 512;
constexpr int DCR_TILE_HEIGHT = 64;

struct DcrPassResult {
    int tilesX = 0, tilesY = 0;          // tiles of the rows asked for
    std::vector<DcrMetricSums> metric;   // [visit][tileY][tileX]
};

// Run one pass over rows rowBegin .. rowEnd - 1 (rowBegin a multiple of DCR_TILE_HEIGHT; rowEnd too, or the height).
//
// models        N images (coefficients of prefilterSpline for order 3) of the whole patch, equal in size
// visits        their images must hold every row that the shifts reach from the rows asked for: see dcrHalo
// significance  S of the metric, patch-sized; may be empty when no visit has a score
// accumulators  N images of the patch; only the rows asked for are written, all of them. Empty list: metric alone.
//               For order 3 apply prefilterSpline(adjoint) when all rows are done.
// normal        with MODEL and order 1: tiles with few bad pixels take the N^2 kernels sum_i w_i B_k^T B_l, whose cost does not
//               depend on the number of visits, and then what bad pixels brought back is taken away, one by one
//
// ShapeError: sizes that do not fit, missing rows. DomainError: order, fewer than one subfilter, row limits.
// Results are bit-identical for any number of threads and any cut into rows; GIL-free; float32 pixels, metric in double.
// Cost, order 1, N = 3: template with two wavelengths a subfilter 2-4 ns a pixel and visit, all of it 4-8 ns, one core.
// Memory: 3 MB a thread.
DcrPassResult dcrPass(std::vector<View2<const float>> const& models, int order, std::vector<DcrVisit> const& visits,
                      DcrPassValue value, View2<const float> significance, std::vector<View2<float>> const& accumulators,
                      int rowBegin, int rowEnd, bool normal = false);

// Rows beyond those asked for that the images of the visits must hold (where the patch has them).
int dcrHalo(std::vector<DcrVisit> const& visits, int order);

// out = sum over subfilters of the mean over wavelengths of the shifted model; float32, rows in parallel.
void dcrTemplate(std::vector<View2<const float>> const& models, int order,
                 std::vector<std::vector<PixelShift>> const& shifts, View2<float> out);

}  // namespace stillsky
