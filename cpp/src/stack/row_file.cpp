#include "row_file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#define STILLSKY_HAS_PREAD 1
#else
#define STILLSKY_HAS_PREAD 0
#endif

namespace stillsky {
namespace stack_detail {
namespace {

constexpr std::size_t LINE = 64;  // of the cache, bytes: each plane begins one line further into a page than the one before
constexpr int PLANES = 3;

std::size_t planeBytes(int width, int rows) {
    const std::size_t bytes = static_cast<std::size_t>(width) * static_cast<std::size_t>(rows) * 4;
    return (bytes + 4095) / 4096 * 4096;
}

void readBytes(int descriptor, char* to, std::size_t n, std::int64_t offset, std::size_t index) {
#if STILLSKY_HAS_PREAD
    while (n > 0) {
        const ssize_t got = ::pread(descriptor, to, n, static_cast<off_t>(offset));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) throw RowReadError(index, errno, std::strerror(errno));
        if (got == 0) throw RowReadError(index, EIO, "the file ends before its pixels");
        to += got;
        n -= static_cast<std::size_t>(got);
        offset += got;
    }
#else
    (void)descriptor, (void)to, (void)n, (void)offset;
    throw RowReadError(index, ENOSYS, "files are not read here");
#endif
}

// Rows [y0, y1) of a plane, one after the other.
void readPlane(RowFile const& file, std::int64_t offset, int width, int y0, int y1, char* to, std::size_t index) {
    const std::size_t row = static_cast<std::size_t>(width) * 4;
    if (file.rowBytes == static_cast<std::int64_t>(row)) {
        readBytes(file.descriptor, to, row * static_cast<std::size_t>(y1 - y0), offset + y0 * file.rowBytes, index);
        return;
    }
    for (int y = y0; y < y1; ++y, to += row) readBytes(file.descriptor, to, row, offset + y * file.rowBytes, index);
}

template <typename V>
View2<const V> rowsOf(View2<const V> const& plane, int y0, int y1) {
    return plane.data ? plane.sub(0, y0, plane.width, y1 - y0) : plane;
}

}  // namespace

int rowsOfBlock(std::size_t nImages, int width) {
    const std::size_t row = std::max<std::size_t>(1, nImages * static_cast<std::size_t>(std::max(width, 1)) * 4 * PLANES);
    return static_cast<int>(std::clamp<std::size_t>(BLOCK_BYTES / row, 1, 16));
}

std::unique_ptr<char[]> BlockBuffers::take() {
    {
        std::lock_guard<std::mutex> lock(mutex_);
        if (!free_.empty()) {
            auto buffer = std::move(free_.back());
            free_.pop_back();
            return buffer;
        }
    }
    return std::unique_ptr<char[]>(new char[bytes_]);
}

void BlockBuffers::give(std::unique_ptr<char[]> buffer) {
    std::lock_guard<std::mutex> lock(mutex_);
    free_.push_back(std::move(buffer));
}

std::size_t blockBytes(std::size_t nImages, int width, int rows) {
    return nImages * PLANES * (planeBytes(width, rows) + LINE) + LINE;
}

void readRun(RowFile const& file, int x, int y, int count, char* image, char* mask, char* variance, std::size_t index) {
    const std::int64_t first = y * file.rowBytes + std::int64_t(4) * x;
    const std::size_t bytes = static_cast<std::size_t>(count) * 4;
    readBytes(file.descriptor, image, bytes, file.image + first, index);
    readBytes(file.descriptor, mask, bytes, file.mask + first, index);
    readBytes(file.descriptor, variance, bytes, file.variance + first, index);
}

std::vector<StackInput<float>> readBlock(std::vector<StackInput<float>> const& inputs, int y0, int y1, char* buffer) {
    std::vector<StackInput<float>> block(inputs);
    const int width = inputs[0].image.width, rows = y1 - y0;
    char* at = buffer + (LINE - reinterpret_cast<std::uintptr_t>(buffer) % LINE) % LINE;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
        StackInput<float>& in = block[i];
        if (in.file.descriptor < 0) {
            in.image = rowsOf(inputs[i].image, y0, y1);
            in.mask = rowsOf(inputs[i].mask, y0, y1);
            in.variance = rowsOf(inputs[i].variance, y0, y1);
            continue;
        }
        char* places[PLANES];
        const std::int64_t offsets[PLANES] = {in.file.image, in.file.mask, in.file.variance};
        for (int p = 0; p < PLANES; ++p) {
            places[p] = at;
            readPlane(in.file, offsets[p], width, y0, y1, at, i);
            at += planeBytes(width, rows) + LINE;
        }
        in.image = View2<const float>(reinterpret_cast<const float*>(places[0]), width, rows);
        in.mask = View2<const MaskPixel>(reinterpret_cast<const MaskPixel*>(places[1]), width, rows);
        in.variance = View2<const VariancePixel>(reinterpret_cast<const VariancePixel*>(places[2]), width, rows);
    }
    return block;
}

}  // namespace stack_detail
}  // namespace stillsky
