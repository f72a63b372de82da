// One-dimensional interpolation kernels for warping: nearest, bilinear, lanczosN.
#pragma once

#include <string>
#include <vector>

namespace stillsky {

// The 2-D kernel is the outer product of two of these. For a position q the anchor is n = floor(q), the fraction
// f = q - n lies in [0, 1), and tap i of `taps()` sits on pixel n - center() + i.
//
//   nearest   2 taps: f < 0.5: (1, 0), else (0, 1)
//   bilinear  2 taps: 1 - f, f
//   lanczosN  2N taps: L(x) = sinc(x) sinc(x/N), x = i - (N - 1) - f, sinc(x) = sin(pi x)/(pi x)
//             (Duchon 1979, J. Appl. Meteor. 18, 1016; Turkowski 1990, Graphics Gems)
class WarpingKernel {
public:
    enum class Kind { Nearest, Bilinear, Lanczos };

    // `name` is "nearest", "bilinear" or "lanczosN" with 1 <= N <= 99; anything else is a DomainError.
    explicit WarpingKernel(std::string const& name);

    std::string const& name() const { return name_; }
    Kind kind() const { return kind_; }
    int order() const { return order_; }  // N of lanczosN, else 0
    int taps() const { return kind_ == Kind::Lanczos ? 2 * order_ : 2; }
    int center() const { return kind_ == Kind::Lanczos ? order_ - 1 : 0; }

    // The taps() weights for a fraction 0 <= f <= 1 (1 is meant for tables: all weight on the next pixel). They are
    // not normalised: their sum differs from 1 by up to 2 % for lanczos2. Weights below 1e-12 of the largest are
    // exact zeros, so at f = 0 a single tap is left.
    void weights(double f, double* out) const;
    std::vector<double> weights(double f) const;
    // The same without rounding to exact zeros: at f = 0 the far taps are 1e-17, as in Rubin's code.
    void rawWeights(double f, double* out) const;

    // The taps that count for a fraction f: [first, last], inclusive. At f = 0 only the central one.
    void support(double f, int& first, int& last) const;

private:
    std::string name_;
    Kind kind_ = Kind::Bilinear;
    int order_ = 0;
};

}  // namespace stillsky
