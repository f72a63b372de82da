// Private to the stack room: blocks of rows of planes that lie in files.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "stillsky/stack/statistics_stack.hpp"

namespace stillsky {
namespace stack_detail {

// Rows of one image in a file that are worked on at a time, of all images together about this many bytes: little enough to
// stay in the cache between reading and stacking, and in reads long enough to be worth the call.
constexpr std::size_t BLOCK_BYTES = std::size_t(10) << 20;
int rowsOfBlock(std::size_t nImages, int width);

// Memory for blocks, lent to one thread at a time and used again.
class BlockBuffers {
public:
    explicit BlockBuffers(std::size_t bytes) : bytes_(bytes) {}
    std::unique_ptr<char[]> take();
    void give(std::unique_ptr<char[]> buffer);

private:
    std::size_t bytes_;
    std::mutex mutex_;
    std::vector<std::unique_ptr<char[]>> free_;
};
// Bytes that a block of so many rows needs.
std::size_t blockBytes(std::size_t nImages, int width, int rows);

// Pixels x .. x+count-1 of row y of the three planes, also into the next rows where there is nothing between, to places of
// their own. RowReadError with `index` where reading fails.
void readRun(RowFile const& file, int x, int y, int count, char* image, char* mask, char* variance, std::size_t index);

// Inputs of rows [y0, y1): those in files are read into the buffer, the others are views. RowReadError where reading fails.
std::vector<StackInput<float>> readBlock(std::vector<StackInput<float>> const& inputs, int y0, int y1, char* buffer);

}  // namespace stack_detail
}  // namespace stillsky
