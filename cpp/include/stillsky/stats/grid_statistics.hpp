// One statistic in every cell of a grid laid over a masked image.
#pragma once

#include <vector>

#include "stillsky/stats/statistics.hpp"

namespace stillsky {

// Cells along one axis of `size` pixels: cell i ends at min(((i + 1) size + n/2)/n, size) and begins where the one before
// ended; its centre is begin + (length - 1)/2, as a local pixel coordinate.
struct GridCells {
    std::vector<int> begin, end;
    std::vector<double> centre;
};
GridCells gridCells(int size, int n);

// property in each of nx x ny cells; values(i, j) and variances(i, j) are row j, column i. Cells without a usable pixel are
// NaN. `variances` holds the squared error of the value. T: float, double. DomainError unless 1 <= nx <= width and
// 1 <= ny <= height and property is one of those that have a value per cell. Threaded over cells.
// rowStep > 1 uses every rowStep-th row of each cell only: faster, and noisier by sqrt(rowStep).
struct GridStatistics {
    Image<double> values, variances;
    GridCells x, y;
    int nEmpty = 0;  // cells without a usable pixel
};
template <typename T>
GridStatistics gridStatistics(StatisticsSamples<T> const& samples, int nx, int ny, StatisticsProperty property,
                              StatisticsControl const& control = StatisticsControl(), int rowStep = 1);

// Median of every size x size window of a grid, NaN left out (NaN where a window has nothing else; of an even number the
// mean of the middle two): (width - size + 1) x (height - size + 1) values. DomainError unless 1 <= size <= both
// dimensions. Threaded over rows.
Image<double> windowMedians(View2<const double> grid, int size);

}  // namespace stillsky
