// Gaussian smoothing between two weight planes: the square root of the prior covariance of a DCR model, and its adjoint.
#pragma once

#include "stillsky/core/view.hpp"

namespace stillsky {

// out = after * G(before * in), with G the convolution with a Gaussian of that sigma (pixels), sampled out to 4 sigma and
// normalised to sum 1, beyond the edges 0. G is symmetric, so that exchanging the weights gives the adjoint.
//
// before, after  planes of the size of in, or empty views for 1
//
// Every value must be finite. ShapeError: sizes that differ. DomainError: sigma not in (0, 64].
// in and out must not overlap. Threaded over rows, bit-identical for any number of threads; float32.
// Cost: 1.5 ns a pixel at sigma 1.2, one thread with AVX-512. Memory: 64 rows a thread.
void smoothWeighted(View2<const float> in, double sigma, View2<const float> before, View2<const float> after,
                    View2<float> out);

}  // namespace stillsky
