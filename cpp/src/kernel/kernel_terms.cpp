#include <algorithm>
#include <cmath>

#include "convolve_detail.hpp"
#include "stillsky/math/polynomial.hpp"

namespace stillsky {
namespace {

void addConstantTerm(Kernel const& kernel, KernelTerms& out) {
    out.terms.emplace_back(static_cast<std::size_t>(out.width) * out.height);
    out.sums.push_back(kernel.computeImage(View2<double>(out.terms[0].data(), out.width, out.height), false));
}

// False when a spatial function is no polynomial.
bool addPolynomialTerms(LinearCombinationKernel const& kernel, KernelTerms& out) {
    std::vector<BasePolynomialFunction2 const*> functions;
    for (auto const& f : kernel.spatialFunctions()) {
        functions.push_back(dynamic_cast<BasePolynomialFunction2 const*>(f.get()));
        if (!functions.back()) return false;
        out.order = std::max(out.order, functions.back()->order());
    }
    const std::size_t n = static_cast<std::size_t>(out.width) * out.height;
    const auto nTerms = static_cast<std::size_t>(polynomialSize(out.order));
    out.terms.assign(nTerms, std::vector<double>(n, 0.0));
    out.sums.assign(nTerms, 0.0);
    for (std::size_t i = 0; i < functions.size(); ++i) {
        const std::vector<double> c = toChebyshev(*functions[i], out.box, out.order);
        double const* pixels = kernel.basisImage(static_cast<int>(i)).data;
        for (std::size_t p = 0; p < nTerms; ++p) {
            if (c[p] == 0.0) continue;
            out.sums[p] += c[p] * kernel.kernelSumList()[i];
            for (std::size_t q = 0; q < n; ++q) out.terms[p][q] += c[p] * pixels[q];
        }
    }
    return true;
}

void dropNegligibleTaps(KernelTerms& out) {
    const std::size_t n = static_cast<std::size_t>(out.width) * out.height;
    // |T_a T_b| <= 1 over the box, so this bounds the tap everywhere.
    std::vector<double> bound(n, 0.0);
    for (auto const& term : out.terms) {
        for (std::size_t q = 0; q < n; ++q) bound[q] += std::fabs(term[q]);
    }
    double largest = 0.0;
    for (double b : bound) largest = std::max(largest, std::isnan(b) ? 0.0 : b);
    out.support.assign(n, 0);
    for (std::size_t q = 0; q < n; ++q) {
        if (!(bound[q] <= largest * detail::NEGLIGIBLE)) {
            out.support[q] = 1;
        } else {
            for (auto& term : out.terms) term[q] = 0.0;
        }
    }
}

}  // namespace

KernelTerms kernelTerms(Kernel const& kernel, Box2I const& box) {
    KernelTerms out;
    out.width = kernel.width();
    out.height = kernel.height();
    out.box = Box2D(kernel.shrinkBBox(box));
    if (!kernel.isSpatiallyVarying()) {
        addConstantTerm(kernel, out);
    } else {
        auto const* combination = dynamic_cast<LinearCombinationKernel const*>(&kernel);
        if (!combination || !addPolynomialTerms(*combination, out)) return KernelTerms();
    }
    dropNegligibleTaps(out);
    return out;
}

namespace detail {

Support findSupport(std::vector<unsigned char> const& nonZero, int width, int height) {
    Support s;
    int x1 = -1, y1 = -1;
    s.x0 = width;
    s.y0 = height;
    for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
            if (!nonZero[static_cast<std::size_t>(x + y * width)]) continue;
            s.taps.push_back({x, y});
            s.x0 = std::min(s.x0, x);
            s.y0 = std::min(s.y0, y);
            x1 = std::max(x1, x);
            y1 = std::max(y1, y);
        }
    }
    if (s.taps.empty()) {
        s.x0 = s.y0 = 0;
        return s;
    }
    s.width = x1 - s.x0 + 1;
    s.height = y1 - s.y0 + 1;
    s.full = static_cast<long long>(s.taps.size()) == static_cast<long long>(s.width) * s.height;
    return s;
}

}  // namespace detail
}  // namespace stillsky
