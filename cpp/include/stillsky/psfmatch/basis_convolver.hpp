// Convolution of a stamp with every function of a basis: the design matrix of the kernel fit.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "stillsky/core/aligned.hpp"
#include "stillsky/core/view.hpp"
#include "stillsky/kernel/kernel.hpp"

namespace stillsky {

// Prepared once for a basis list, then used for any number of stamps by any number of threads.
//
// A function that is an outer product of two vectors, possibly minus a multiple of the first function of the list (as
// all Alard-Lupton functions are, also when reordered or rescaled), costs two passes of 1-D filters; row filters that
// several functions share are applied once. Delta functions are copied, all others are convolved directly. The form
// is found from the pixels themselves and used only where it reproduces them to 1e-13 of the function's peak.
class BasisConvolver {
public:
    // Work space of one thread; grows as needed.
    struct Scratch {
        AlignedVector<double> input, rows;
    };

    // DomainError for an empty list, functions that differ in size, or one that varies over the image.
    explicit BasisConvolver(KernelList const& bases);

    KernelList const& bases() const { return bases_; }
    int nBases() const { return static_cast<int>(bases_.size()); }
    int width() const { return width_; }
    int height() const { return height_; }
    Point2I center() const { return {(width_ - 1) / 2, (height_ - 1) / 2}; }
    // Pixels of function i, row by row, and their sum. The functions follow each other at pixelStride(), a multiple of
    // 8, with zeros between.
    double const* pixels(int i) const { return pixels_.data() + i * pixelStride(); }
    std::ptrdiff_t pixelStride() const { return (width_ * height_ + 7) / 8 * 8; }
    double sum(int i) const { return sums_[static_cast<std::size_t>(i)]; }
    int nSeparable() const;
    int nRowFilters() const { return static_cast<int>(rowFilters_.size()) / width_; }
    bool isDeltaFunctionBasis() const { return allDelta_; }

    // Layout of a column: rows of the good region (stamp size + 1 - kernel size), each padded to rowLength(...)
    // elements, a multiple of 8. What stands in the padding is finite when the stamp is, and has no meaning.
    int goodWidth(int stampWidth) const { return stampWidth - width_ + 1; }
    int goodHeight(int stampHeight) const { return stampHeight - height_ + 1; }
    int rowLength(int stampWidth) const { return (goodWidth(stampWidth) + 7) / 8 * 8; }
    int columnLength(int stampWidth, int stampHeight) const {
        return rowLength(stampWidth) * goodHeight(stampHeight);
    }

    // Column i of the design matrix, C_i = B_i (x) stamp by correlation, at columns + i * stride. ShapeError when the
    // stamp is smaller than the kernel. `stride` is at least columnLength.
    void convolve(View2<const double> stamp, double* columns, std::ptrdiff_t stride, Scratch& scratch) const;

    // kernel[k] = sum_i coefficients[i] B_i[k], width*height pixels.
    void combine(double const* coefficients, double* kernel) const;

private:
    enum class Kind { SEPARABLE, DELTA, DIRECT };
    struct Form {
        Kind kind = Kind::DIRECT;
        int rowFilter = -1;
        std::vector<double> columnFilter;
        double scale = 1.0, subtract = 0.0;  // B = scale * column (x) row - subtract * B_first
        Point2I pixel;                       // of a delta function
    };

    void findForm(int i);
    bool findSeparable(int i, Form& form);
    int rowFilterIndex(std::vector<double> const& filter);
    void convolveDelta(Form const& form, double const* input, std::ptrdiff_t inputStride, double* out, int rowLength,
                       int goodHeight) const;

    KernelList bases_;
    int width_ = 0, height_ = 0;
    AlignedVector<double> pixels_;
    std::vector<double> sums_;
    std::vector<Form> forms_;
    std::vector<double> rowFilters_;  // one after the other, width taps each
    bool firstSeparable_ = false, allDelta_ = false;
};

}  // namespace stillsky
