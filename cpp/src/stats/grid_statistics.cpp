#include "stillsky/stats/grid_statistics.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "stillsky/core/parallel.hpp"

namespace stillsky {

GridCells gridCells(int size, int n) {
    if (n < 1 || n > size) {
        throw DomainError("gridCells: wanted 1 to " + std::to_string(size) + " cells, got " + std::to_string(n));
    }
    GridCells cells;
    int begin = 0;
    for (int i = 0; i < n; ++i) {
        const long long at = ((i + 1LL) * size + n / 2) / n;
        const int end = static_cast<int>(std::min<long long>(at, size));
        cells.begin.push_back(begin);
        cells.end.push_back(end);
        cells.centre.push_back(begin + 0.5 * (end - begin) - 0.5);
        begin = end;
    }
    return cells;
}

template <typename T>
GridStatistics gridStatistics(StatisticsSamples<T> const& s, int nx, int ny, StatisticsProperty property,
                              StatisticsControl const& control, int rowStep) {
    GridStatistics out;
    if (s.image.empty()) throw DomainError("gridStatistics: image has no pixels");
    if (rowStep < 1) throw DomainError("gridStatistics: rowStep: wanted a number >= 1, got " + std::to_string(rowStep));
    out.x = gridCells(s.image.width, nx);
    out.y = gridCells(s.image.height, ny);
    out.values = Image<double>(nx, ny);
    out.variances = Image<double>(nx, ny);
    std::vector<char> empty(static_cast<std::size_t>(nx) * static_cast<std::size_t>(ny));
    parallelFor(nx * ny, [&](int cell) {
        const std::size_t i = static_cast<std::size_t>(cell % nx), j = static_cast<std::size_t>(cell / nx);
        const int x0 = out.x.begin[i], y0 = out.y.begin[j], w = out.x.end[i] - x0, h = out.y.end[j] - y0;
        auto sub = [&](auto const& view) {
            if (view.data == nullptr) return view;
            auto part = view.sub(x0, y0, w, h);
            part.height = (h + rowStep - 1) / rowStep;
            part.stride *= rowStep;
            return part;
        };
        StatisticsSamples<T> part;
        part.image = sub(s.image);
        part.mask = sub(s.mask);
        part.variance = sub(s.variance);
        part.weights = sub(s.weights);
        part.weights64 = sub(s.weights64);
        const Statistics stats = computeStatistics(part, property | NPOINT | ERRORS, control);
        const std::pair<double, double> result = stats.getResult(property);
        out.values(static_cast<int>(i), static_cast<int>(j)) = result.first;
        out.variances(static_cast<int>(i), static_cast<int>(j)) = result.second * result.second;
        empty[static_cast<std::size_t>(cell)] = stats.getValue(NPOINT) == 0;
    });
    out.nEmpty = static_cast<int>(std::count(empty.begin(), empty.end(), char(1)));
    return out;
}

Image<double> windowMedians(View2<const double> grid, int size) {
    if (size < 1 || size > grid.width || size > grid.height) {
        throw DomainError("windowMedians: wanted windows of 1 to " + std::to_string(std::min(grid.width, grid.height)) +
                          " cells, got " + std::to_string(size));
    }
    Image<double> out(grid.width - size + 1, grid.height - size + 1);
    View2<double> to = out.view();
    parallelFor(to.height, [&](int y) {
        std::vector<double> values;
        values.reserve(static_cast<std::size_t>(size) * static_cast<std::size_t>(size));
        for (int x = 0; x < to.width; ++x) {
            values.clear();
            for (int j = 0; j < size; ++j) {
                for (int i = 0; i < size; ++i) {
                    const double v = grid(x + i, y + j);
                    if (!std::isnan(v)) values.push_back(v);
                }
            }
            to(x, y) = std::numeric_limits<double>::quiet_NaN();
            if (values.empty()) continue;
            const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
            std::nth_element(values.begin(), middle, values.end());
            to(x, y) = values.size() % 2 ? *middle : 0.5 * (*middle + *std::max_element(values.begin(), middle));
        }
    });
    return out;
}

template GridStatistics gridStatistics<float>(StatisticsSamples<float> const&, int, int, StatisticsProperty,
                                              StatisticsControl const&, int);
template GridStatistics gridStatistics<double>(StatisticsSamples<double> const&, int, int, StatisticsProperty,
                                               StatisticsControl const&, int);

}  // namespace stillsky
