// Private to the stack room: sorting networks over rows of pixels.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace stillsky {
namespace stack_detail {

// Row `low` becomes the smaller, row `high` the larger of the two, pixel by pixel.
struct Comparator {
    std::uint16_t low, high;
};

// Comparators of Batcher's odd-even merge sort (Batcher 1968, AFIPS 32, 307; Knuth, The Art of Computer Programming 3,
// 5.2.2M) for n rows, of which only those rows need be in place afterwards for which wanted[row] is set: comparators
// that feed none of them are left out.
std::vector<Comparator> sortingNetwork(int n, std::vector<bool> const& wanted);

// Networks that put the order statistics which quartiles need in place, made when first asked for.
class NetworkCache {
public:
    // For `rows` rows in which every pixel has between nMin and `rows` samples, the rest being sorted to the end.
    std::vector<Comparator> const& get(int rows, int nMin, bool medianOnly);

private:
    std::mutex mutex_;
    std::map<std::uint64_t, std::unique_ptr<std::vector<Comparator>>> networks_;
};

}  // namespace stack_detail
}  // namespace stillsky
