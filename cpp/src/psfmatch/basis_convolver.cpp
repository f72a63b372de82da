#include "stillsky/psfmatch/basis_convolver.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "simd8.hpp"
#include "stamp_loops.hpp"
#include "stillsky/core/errors.hpp"

namespace stillsky {
namespace {

double largest(double const* p, int n) {
    double m = 0.0;
    for (int i = 0; i < n; ++i) m = std::max(m, std::fabs(p[i]));
    return m;
}

// Row and column vectors of a matrix of rank one, normalised so that the element of largest magnitude of each is 1;
// the matrix is scale * column (x) row. Read off the row and column through the largest element.
void factorise(std::vector<double> const& a, int w, int h, std::vector<double>& row, std::vector<double>& column,
               double& scale) {
    int best = 0;
    for (int k = 1; k < w * h; ++k) {
        if (std::fabs(a[static_cast<std::size_t>(k)]) > std::fabs(a[static_cast<std::size_t>(best)])) best = k;
    }
    const int by = best / w, bx = best % w;
    scale = a[static_cast<std::size_t>(best)];
    row.resize(static_cast<std::size_t>(w));
    column.resize(static_cast<std::size_t>(h));
    for (int x = 0; x < w; ++x) row[static_cast<std::size_t>(x)] = a[static_cast<std::size_t>(by * w + x)] / scale;
    for (int y = 0; y < h; ++y) column[static_cast<std::size_t>(y)] = a[static_cast<std::size_t>(y * w + bx)] / scale;
}

double worstError(double const* b, double const* first, int w, int h, std::vector<double> const& row,
                  std::vector<double> const& column, double scale, double subtract) {
    double worst = 0.0;
    for (int y = 0; y < h; ++y) {
        for (int x = 0; x < w; ++x) {
            const double model = scale * column[static_cast<std::size_t>(y)] * row[static_cast<std::size_t>(x)] -
                                 subtract * first[y * w + x];
            worst = std::max(worst, std::fabs(b[y * w + x] - model));
        }
    }
    return worst;
}

// The c for which B + c B_first has rank one, B_first having rank one. Every 2x2 minor of the sum is linear in c
// because those of B_first vanish: least squares over all minors through one pivot element.
double rankOneOffset(double const* b, double const* first, int w, int h, int px, int py) {
    double numerator = 0.0, denominator = 0.0;
    const double bp = b[py * w + px], zp = first[py * w + px];
    for (int y = 0; y < h; ++y) {
        for (int x = 0; x < w; ++x) {
            const double constant = bp * b[y * w + x] - b[py * w + x] * b[y * w + px];
            const double slope = bp * first[y * w + x] + zp * b[y * w + x] - b[py * w + x] * first[y * w + px] -
                                 first[py * w + x] * b[y * w + px];
            numerator -= constant * slope;
            denominator += slope * slope;
        }
    }
    return denominator > 0.0 ? numerator / denominator : 0.0;
}

}  // namespace

BasisConvolver::BasisConvolver(KernelList const& bases) : bases_(bases) {
    if (bases.empty()) throw DomainError("BasisConvolver: the basis list is empty");
    width_ = bases[0]->width();
    height_ = bases[0]->height();
    const std::size_t n = static_cast<std::size_t>(pixelStride());
    pixels_.resize(n * bases.size());
    allDelta_ = true;
    for (std::size_t i = 0; i < bases.size(); ++i) {
        if (bases[i]->width() != width_ || bases[i]->height() != height_) {
            throw DomainError("BasisConvolver: basis function " + std::to_string(i) + " differs in size");
        }
        if (bases[i]->isSpatiallyVarying()) {
            throw DomainError("BasisConvolver: basis function " + std::to_string(i) + " varies over the image");
        }
        sums_.push_back(bases[i]->computeImage(View2<double>(&pixels_[i * n], width_, height_), false));
        allDelta_ = allDelta_ && std::dynamic_pointer_cast<DeltaFunctionKernel>(bases[i]) != nullptr;
    }
    forms_.resize(bases.size());
    for (int i = 0; i < nBases(); ++i) findForm(i);
}

int BasisConvolver::nSeparable() const {
    return static_cast<int>(
            std::count_if(forms_.begin(), forms_.end(), [](Form const& f) { return f.kind == Kind::SEPARABLE; }));
}

void BasisConvolver::findForm(int i) {
    Form& form = forms_[static_cast<std::size_t>(i)];
    if (auto delta = std::dynamic_pointer_cast<DeltaFunctionKernel>(bases_[static_cast<std::size_t>(i)])) {
        form.kind = Kind::DELTA;
        form.pixel = delta->pixel();
        return;
    }
    if (findSeparable(i, form)) {
        form.kind = Kind::SEPARABLE;
        if (i == 0) firstSeparable_ = true;
    }
}

bool BasisConvolver::findSeparable(int i, Form& form) {
    const int n = width_ * height_;
    double const* b = pixels(i);
    double const* first = pixels(0);
    const double peak = largest(b, n);
    if (!(peak > 0.0) || !std::isfinite(peak)) return false;
    std::vector<double> row, column, sum(b, b + n);
    factorise(sum, width_, height_, row, column, form.scale);
    form.subtract = 0.0;
    bool found = worstError(b, first, width_, height_, row, column, form.scale, 0.0) <= 1e-13 * peak;
    if (!found && i > 0 && firstSeparable_) {
        const int pivot = static_cast<int>(std::max_element(first, first + n,
                                                            [](double p, double q) { return std::fabs(p) < std::fabs(q); }) -
                                           first);
        form.subtract = rankOneOffset(b, first, width_, height_, pivot % width_, pivot / width_);
        for (int k = 0; k < n; ++k) sum[static_cast<std::size_t>(k)] = b[k] + form.subtract * first[k];
        factorise(sum, width_, height_, row, column, form.scale);
        found = worstError(b, first, width_, height_, row, column, form.scale, form.subtract) <= 1e-13 * peak;
    }
    if (!found) return false;
    form.rowFilter = rowFilterIndex(row);
    form.columnFilter = column;
    return true;
}

int BasisConvolver::rowFilterIndex(std::vector<double> const& filter) {
    for (int k = 0; k < nRowFilters(); ++k) {
        double difference = 0.0;
        for (int x = 0; x < width_; ++x) {
            difference = std::max(difference, std::fabs(filter[static_cast<std::size_t>(x)] -
                                                        rowFilters_[static_cast<std::size_t>(k * width_ + x)]));
        }
        if (difference < 1e-14) return k;
    }
    rowFilters_.insert(rowFilters_.end(), filter.begin(), filter.end());
    return nRowFilters() - 1;
}

void BasisConvolver::convolve(View2<const double> stamp, double* columns, std::ptrdiff_t stride,
                              Scratch& scratch) const {
    const int gw = goodWidth(stamp.width), gh = goodHeight(stamp.height);
    if (gw < 1 || gh < 1) {
        throw ShapeError("BasisConvolver: a stamp of " + std::to_string(stamp.width) + "x" +
                         std::to_string(stamp.height) + " is smaller than the kernel, " + std::to_string(width_) + "x" +
                         std::to_string(height_));
    }
    const int length = rowLength(stamp.width);
    // Rows long enough for whole vectors at the last tap; zeros behind the stamp keep the padding finite.
    const std::ptrdiff_t inputStride = simd::padded(length + width_ - 1);
    scratch.input.assign(static_cast<std::size_t>(inputStride * stamp.height), 0.0);
    for (int y = 0; y < stamp.height; ++y) {
        std::copy_n(stamp.row(y), stamp.width, &scratch.input[static_cast<std::size_t>(y * inputStride)]);
    }
    double const* input = scratch.input.data();
    const std::size_t plane = static_cast<std::size_t>(length) * static_cast<std::size_t>(stamp.height);
    scratch.rows.resize(plane * static_cast<std::size_t>(nRowFilters()));
    stamp_loops::correlateRows(input, inputStride, rowFilters_.data(), width_, nRowFilters(), scratch.rows.data(), length,
                               static_cast<std::ptrdiff_t>(plane), gw, stamp.height);
    const int n = length * gh;
    for (int i = 0; i < nBases(); ++i) {
        Form const& form = forms_[static_cast<std::size_t>(i)];
        double* out = columns + i * stride;
        if (form.kind == Kind::SEPARABLE) {
            stamp_loops::correlateColumns(&scratch.rows[static_cast<std::size_t>(form.rowFilter) * plane], length,
                                          form.columnFilter.data(), height_, out, length, gw, gh);
            stamp_loops::scaleAndSubtract(out, form.scale, columns, form.subtract, n);
        } else if (form.kind == Kind::DELTA) {
            convolveDelta(form, input, inputStride, out, length, gh);
        } else {
            stamp_loops::correlate(input, inputStride, pixels(i), width_, width_, height_, out, length, gw, gh);
        }
    }
}

void BasisConvolver::convolveDelta(Form const& form, double const* input, std::ptrdiff_t inputStride, double* out,
                                   int rowLength, int goodHeight) const {
    for (int y = 0; y < goodHeight; ++y) {
        std::copy_n(input + (y + form.pixel.y) * inputStride + form.pixel.x, rowLength, out + y * rowLength);
    }
}

void BasisConvolver::combine(double const* coefficients, double* kernel) const {
    const int n = width_ * height_;
    std::fill_n(kernel, n, 0.0);
    for (int i = 0; i < nBases(); ++i) {
        double const* b = pixels(i);
        const double c = coefficients[i];
        for (int k = 0; k < n; ++k) kernel[k] += c * b[k];
    }
}

}  // namespace stillsky
