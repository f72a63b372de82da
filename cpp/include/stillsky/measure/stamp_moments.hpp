// Adaptive moments of noiseless stamps, such as those of a PSF.
#pragma once

namespace stillsky {

enum class StampMomentsStatus { OK = 0, NO_FLUX = 1, NOT_POSITIVE = 2, NO_CONVERGENCE = 3 };

struct StampMoments {
    double xx, yy, xy;  // square pixels; for a Gaussian its covariance
    double x, y;        // centroid, in the frame of x0, y0
    StampMomentsStatus status;
};

struct StampMomentsControl {
    int maxIter = 100;
    double tolerance = 1e-5;  // of the size (relative) and the ellipticity; the centroid must move less than 1e-5 pixel
};

// Moments with a Gaussian weight that is matched to the object (Bernstein & Jarvis 2002, AJ 123, 583). `stamps` are n
// images of height rows of width pixels, one after the other; x0, y0 are the coordinates of the first pixel of each and
// (startX, startY) the first guess of the centre. NaN in a stamp gives NO_FLUX. Threaded over stamps. Cost about 3 ns
// per pixel and iteration, of which there are 5 to 10; relative accuracy of the sums 1e-12.
void stampMoments(double const* stamps, int n, int width, int height, double x0, double y0, double startX, double startY,
                  StampMomentsControl const& control, StampMoments* out);

}  // namespace stillsky
