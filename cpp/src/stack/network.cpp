#include "network.hpp"

#include <algorithm>

namespace stillsky {
namespace stack_detail {

std::vector<Comparator> sortingNetwork(int n, std::vector<bool> const& wanted) {
    std::vector<Comparator> all;
    for (int p = 1; p < n; p *= 2) {
        for (int k = p; k >= 1; k /= 2) {
            for (int j = k % p; j + k < n; j += 2 * k) {
                for (int i = 0; i < std::min(k, n - j - k); ++i) {
                    if ((i + j) / (2 * p) == (i + j + k) / (2 * p)) {
                        all.push_back({static_cast<std::uint16_t>(i + j), static_cast<std::uint16_t>(i + j + k)});
                    }
                }
            }
        }
    }
    // Backwards: a comparator lives if one of its rows is needed later; then both are needed before it.
    std::vector<bool> needed = wanted;
    std::vector<Comparator> live;
    for (auto c = all.rbegin(); c != all.rend(); ++c) {
        if (!needed[c->low] && !needed[c->high]) continue;
        needed[c->low] = needed[c->high] = true;
        live.push_back(*c);
    }
    std::reverse(live.begin(), live.end());
    return live;
}

std::vector<Comparator> const& NetworkCache::get(int rows, int nMin, bool medianOnly) {
    // Four levels of how many samples may be missing, so that few networks are made.
    const int steps[] = {rows, rows - rows / 16 - 1, rows - rows / 4 - 1, 1};
    int level = 0;
    while (level < 3 && nMin < steps[level]) ++level;
    const std::uint64_t key = (static_cast<std::uint64_t>(rows) * 4 + static_cast<std::uint64_t>(level)) * 2 + (medianOnly ? 1 : 0);
    std::lock_guard<std::mutex> lock(mutex_);
    auto& network = networks_[key];
    if (!network) {
        std::vector<bool> wanted(static_cast<std::size_t>(rows), false);
        for (int count = std::max(1, steps[level]); count <= rows; ++count) {
            for (int quarter = medianOnly ? 2 : 1; quarter <= (medianOnly ? 2 : 3); ++quarter) {
                const int rank = quarter * (count - 1) / 4;
                wanted[static_cast<std::size_t>(rank)] = true;
                wanted[static_cast<std::size_t>(std::min(rank + 1, rows - 1))] = true;
            }
        }
        network = std::make_unique<std::vector<Comparator>>(sortingNetwork(rows, wanted));
    }
    return *network;
}

}  // namespace stack_detail
}  // namespace stillsky
