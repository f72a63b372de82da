// DenseMatrix: a dense matrix of doubles that owns its elements; the currency of the linear algebra in the public
// headers, where no Eigen type may appear.
#pragma once

#include <cstddef>
#include <vector>

namespace stillsky {

// rows x cols elements, row by row: element (i, j) is data()[i * cols + j]. Indices are not checked.
class DenseMatrix {
public:
    DenseMatrix() = default;
    DenseMatrix(int rows, int cols, double fill = 0.0)
            : rows_(rows), cols_(cols), data_(static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols), fill) {}

    int rows() const { return rows_; }
    int cols() const { return cols_; }
    bool empty() const { return data_.empty(); }
    double* data() { return data_.data(); }
    double const* data() const { return data_.data(); }
    double* row(int i) { return data_.data() + static_cast<std::size_t>(i) * static_cast<std::size_t>(cols_); }
    double const* row(int i) const {
        return data_.data() + static_cast<std::size_t>(i) * static_cast<std::size_t>(cols_);
    }
    double& operator()(int i, int j) { return row(i)[j]; }
    double operator()(int i, int j) const { return row(i)[j]; }

    // Copy the upper triangle into the lower one (square matrices).
    void mirrorUpper() {
        for (int i = 1; i < rows_; ++i) {
            for (int j = 0; j < i; ++j) (*this)(i, j) = (*this)(j, i);
        }
    }

private:
    int rows_ = 0, cols_ = 0;
    std::vector<double> data_;
};

}  // namespace stillsky
