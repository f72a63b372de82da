// Fractional shifts of small images.
#pragma once

namespace stillsky {

// Move the content of each of n stamps by (dx[i], dy[i]) pixels, each within [-1, 1], with Lanczos-5 taps normalised to
// sum 1; light beyond the edge counts as zero. `in` and `out` hold n images of height rows of width pixels, one after
// the other, and do not overlap; `stride` is the distance between stamps of `in` in elements: 0 uses one image n times.
// DomainError for a longer shift or NaN. Threaded over stamps. Cost about 3 ns per pixel.
void shiftStamps(double const* in, long long stride, int n, int width, int height, double const* dx, double const* dy,
                 double* out);

}  // namespace stillsky
