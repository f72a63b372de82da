#include "stillsky/warp/warping_kernel.hpp"

#include <algorithm>
#include <cmath>

#include "stillsky/core/errors.hpp"

namespace stillsky {
namespace {

constexpr double PI = 3.14159265358979323846;

double sinc(double x) {
    const double t = PI * x;
    return std::fabs(t) <= 1e-5 ? 1.0 : std::sin(t) / t;
}

}  // namespace

WarpingKernel::WarpingKernel(std::string const& name) : name_(name) {
    const std::string prefix = "lanczos";
    if (name == "bilinear") {
        kind_ = Kind::Bilinear;
    } else if (name == "nearest") {
        kind_ = Kind::Nearest;
    } else {
        const std::string digits = name.compare(0, prefix.size(), prefix) == 0 ? name.substr(prefix.size()) : "";
        const bool number = !digits.empty() && digits.size() <= 2 &&
                            digits.find_first_not_of("0123456789") == std::string::npos && std::stoi(digits) > 0;
        if (!number) {
            throw DomainError("warping kernel: wanted \"nearest\", \"bilinear\" or \"lanczosN\" with N from 1 to 99, "
                              "got \"" + name + "\"");
        }
        kind_ = Kind::Lanczos;
        order_ = std::stoi(digits);
    }
}

void WarpingKernel::rawWeights(double f, double* out) const {
    if (kind_ == Kind::Nearest) {
        out[0] = f < 0.5 ? 1.0 : 0.0;
        out[1] = 1.0 - out[0];
    } else if (kind_ == Kind::Bilinear) {
        out[0] = 1.0 - f;
        out[1] = f;
    } else {
        for (int i = 0; i < 2 * order_; ++i) {
            const double x = i - (order_ - 1) - f;
            out[i] = sinc(x) * sinc(x / order_);
        }
    }
}

void WarpingKernel::weights(double f, double* out) const {
    rawWeights(f, out);
    double largest = 0;
    for (int i = 0; i < taps(); ++i) largest = std::max(largest, std::fabs(out[i]));
    for (int i = 0; i < taps(); ++i) {
        if (std::fabs(out[i]) < 1e-12 * largest) out[i] = 0.0;
    }
}

std::vector<double> WarpingKernel::weights(double f) const {
    std::vector<double> out(taps());
    weights(f, out.data());
    return out;
}

void WarpingKernel::support(double f, int& first, int& last) const {
    first = 0;
    last = taps() - 1;
    if (kind_ == Kind::Nearest) {
        first = last = f < 0.5 ? 0 : 1;
    } else if (f == 0.0) {
        first = last = center();
    }
}

}  // namespace stillsky
