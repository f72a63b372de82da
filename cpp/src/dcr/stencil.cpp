#include "stencil.hpp"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <utility>

namespace stillsky {
namespace dcr {
namespace {

using TapMap = std::map<std::pair<int, int>, double>;

std::vector<Tap> listOf(TapMap const& map) {
    std::vector<Tap> taps;
    for (auto const& item : map) {
        if (item.second != 0) taps.push_back({item.first.first, item.first.second, static_cast<float>(item.second)});
    }
    return taps;
}

}  // namespace

Stencil::Stencil(ShiftLists const& shifts, int order, int width, int height) : x1(width), y1(height) {
    for (auto const& ofModel : shifts) {
        if (ofModel.empty()) throw ShapeError("shifts: wanted at least one for each subfilter");
        TapMap merged;
        std::vector<SingleShift> list;
        for (PixelShift const& shift : ofModel) {
            SingleShift one{splineTaps(shift.dy, order, height), splineTaps(shift.dx, order, width),
                            1.0 / static_cast<double>(ofModel.size())};
            for (int j = 0; j < one.y.n; ++j) {
                for (int i = 0; i < one.x.n; ++i) {
                    merged[{one.y.first + j, one.x.first + i}] += one.factor * one.y.weight[j] * one.x.weight[i];
                }
            }
            x0 = std::max(x0, one.x.begin);
            x1 = std::min(x1, one.x.end);
            y0 = std::max(y0, one.y.begin);
            y1 = std::min(y1, one.y.end);
            list.push_back(one);
        }
        taps.push_back(listOf(merged));
        singles.push_back(std::move(list));
        for (Tap const& tap : taps.back()) reach = std::max({reach, std::abs(tap.oy), std::abs(tap.ox)});
    }
}

std::vector<std::vector<std::vector<Tap>>> normalKernels(std::vector<DcrVisit> const& visits,
                                                         std::vector<Stencil> const& forward,
                                                         std::vector<Stencil> const& backward) {
    const std::size_t n = forward.front().taps.size();
    std::vector<std::vector<std::vector<Tap>>> out(n, std::vector<std::vector<Tap>>(n));
    for (std::size_t k = 0; k < n; ++k) {
        for (std::size_t l = 0; l < n; ++l) {
            TapMap merged;
            for (std::size_t i = 0; i < visits.size(); ++i) {
                for (Tap const& back : backward[i].taps[k]) {
                    for (Tap const& to : forward[i].taps[l]) {
                        merged[{to.oy - back.oy, to.ox - back.ox}] +=
                                visits[i].weight * static_cast<double>(back.weight) * static_cast<double>(to.weight);
                    }
                }
            }
            out[k][l] = listOf(merged);
        }
    }
    return out;
}

std::vector<TapGroup> tapGroups(std::vector<std::vector<std::vector<Tap>>> const& kernels, int most) {
    std::vector<TapGroup> groups;
    const int n = static_cast<int>(kernels.size());
    for (int first = 0; first < n; first += most) {
        TapGroup group;
        group.first = first;
        group.count = std::min(most, n - first);
        for (std::size_t l = 0; l < kernels.size(); ++l) {
            std::map<std::pair<int, int>, std::vector<float>> merged;
            for (int k = 0; k < group.count; ++k) {
                for (Tap const& tap : kernels[static_cast<std::size_t>(first + k)][l]) {
                    auto& weights = merged[{tap.oy, tap.ox}];
                    weights.resize(static_cast<std::size_t>(group.count), 0.0f);
                    weights[static_cast<std::size_t>(k)] = tap.weight;
                }
            }
            for (auto const& item : merged) {
                group.taps.push_back({l, item.first.first, item.first.second});
                group.weights.insert(group.weights.end(), item.second.begin(), item.second.end());
            }
        }
        groups.push_back(std::move(group));
    }
    return groups;
}

}  // namespace dcr
}  // namespace stillsky
