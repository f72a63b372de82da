#include "stillsky/math/polynomial.hpp"

#include <cmath>
#include <sstream>

#include "stillsky/core/errors.hpp"

namespace stillsky {
namespace {

constexpr double PI = 3.14159265358979323846;

void powers(double t, int order, double* out) {
    out[0] = 1.0;
    for (int n = 1; n <= order; ++n) out[n] = out[n - 1] * t;
}

// Node i of the n Chebyshev nodes (zeros of T_n) in (-1, 1).
double node(int i, int n) { return std::cos(PI * (i + 0.5) / n); }

}  // namespace

int polynomialSize(int order) {
    if (order < 0) throw DomainError("order: wanted >= 0, got " + std::to_string(order));
    return (order + 1) * (order + 2) / 2;
}

int polynomialOrder(int n) {
    int order = 0;
    while (order < 1000 && polynomialSize(order) < n) ++order;
    if (n < 1 || polynomialSize(order) != n) {
        throw DomainError("parameters: no polynomial in x and y has " + std::to_string(n) +
                          " terms (1, 3, 6, 10, 15, ... are possible)");
    }
    return order;
}

std::vector<PolynomialTerm> polynomialTerms(int order) {
    std::vector<PolynomialTerm> terms;
    terms.reserve(static_cast<std::size_t>(polynomialSize(order)));
    for (int d = 0; d <= order; ++d) {
        for (int b = 0; b <= d; ++b) terms.push_back({d - b, b});
    }
    return terms;
}

void chebyshevValues(double t, int order, double* out) {
    out[0] = 1.0;
    if (order > 0) out[1] = t;
    for (int n = 2; n <= order; ++n) out[n] = 2.0 * t * out[n - 1] - out[n - 2];
}

BasePolynomialFunction2::BasePolynomialFunction2(int order)
        : Function2(std::vector<double>(static_cast<std::size_t>(polynomialSize(order)), 0.0)), order_(order) {}

BasePolynomialFunction2::BasePolynomialFunction2(std::vector<double> parameters)
        : Function2(std::move(parameters)), order_(polynomialOrder(nParameters())) {}

void BasePolynomialFunction2::basisValues(double x, double y, double* out) const {
    // Orders above 15 are legal but rare: only they pay for memory from the heap.
    double small[32];
    std::vector<double> large;
    double* fx = small;
    if (order_ > 15) {
        large.resize(2 * static_cast<std::size_t>(order_ + 1));
        fx = large.data();
    }
    double* fy = fx + order_ + 1;
    factorsX(x, fx);
    factorsY(y, fy);
    int i = 0;
    for (int d = 0; d <= order_; ++d) {
        for (int b = 0; b <= d; ++b) out[i++] = fx[d - b] * fy[b];
    }
}

std::vector<double> BasePolynomialFunction2::basisValues(double x, double y) const {
    std::vector<double> out(parameters_.size());
    basisValues(x, y, out.data());
    return out;
}

double BasePolynomialFunction2::operator()(double x, double y) const {
    double small[136];
    std::vector<double> large;
    double* terms = small;
    if (order_ > 15) {
        large.resize(parameters_.size());
        terms = large.data();
    }
    basisValues(x, y, terms);
    double sum = 0.0;
    for (std::size_t i = 0; i < parameters_.size(); ++i) sum += parameters_[i] * terms[i];
    return sum;
}

bool BasePolynomialFunction2::equals(Function2 const& other, bool compareParameters) const {
    return Function2::equals(other, compareParameters);  // the number of parameters fixes the order
}

void PolynomialFunction2::factorsX(double x, double* out) const { powers(x, order(), out); }
void PolynomialFunction2::factorsY(double y, double* out) const { powers(y, order(), out); }
std::shared_ptr<Function2> PolynomialFunction2::clone() const { return std::make_shared<PolynomialFunction2>(*this); }
std::string PolynomialFunction2::str() const { return describe("PolynomialFunction2"); }

Chebyshev1Function2::Chebyshev1Function2(int order, Box2D const& box) : BasePolynomialFunction2(order), box_(box) {
    setScale();
}

Chebyshev1Function2::Chebyshev1Function2(std::vector<double> parameters, Box2D const& box)
        : BasePolynomialFunction2(std::move(parameters)), box_(box) {
    setScale();
}

void Chebyshev1Function2::setScale() {
    if (!(box_.width() > 0) || !(box_.height() > 0)) {
        throw DomainError("box: wanted positive width and height, got " + std::to_string(box_.width()) + " x " +
                          std::to_string(box_.height()));
    }
    scaleX_ = 2.0 / box_.width();
    scaleY_ = 2.0 / box_.height();
}

Chebyshev1Function2 Chebyshev1Function2::truncate(int newOrder) const {
    if (newOrder > order()) {
        throw DomainError("order: wanted at most the present order " + std::to_string(order()) + ", got " +
                          std::to_string(newOrder));
    }
    const int n = polynomialSize(newOrder);
    return Chebyshev1Function2(std::vector<double>(parameters_.begin(), parameters_.begin() + n), box_);
}

void Chebyshev1Function2::factorsX(double x, double* out) const {
    chebyshevValues((x - 0.5 * (box_.minX + box_.maxX)) * scaleX_, order(), out);
}

void Chebyshev1Function2::factorsY(double y, double* out) const {
    chebyshevValues((y - 0.5 * (box_.minY + box_.maxY)) * scaleY_, order(), out);
}

std::shared_ptr<Function2> Chebyshev1Function2::clone() const { return std::make_shared<Chebyshev1Function2>(*this); }

bool Chebyshev1Function2::equals(Function2 const& other, bool compareParameters) const {
    auto const* cheb = dynamic_cast<Chebyshev1Function2 const*>(&other);
    return cheb && cheb->box_ == box_ && BasePolynomialFunction2::equals(other, compareParameters);
}

std::string Chebyshev1Function2::str() const {
    std::ostringstream os;
    os.precision(17);
    os << describe("Chebyshev1Function2") << " over [" << box_.minX << ", " << box_.maxX << "] x [" << box_.minY
       << ", " << box_.maxY << "]";
    return os.str();
}

std::vector<double> toChebyshev(BasePolynomialFunction2 const& function, Box2D const& box, int order) {
    if (function.order() > order) {
        throw DomainError("order: the function has order " + std::to_string(function.order()) + ", more than " +
                          std::to_string(order));
    }
    // Discrete orthogonality on the n = order+1 Chebyshev nodes: c_a = (2 - [a=0])/n sum_i f(t_i) T_a(t_i).
    const int n = order + 1;
    std::vector<double> t(static_cast<std::size_t>(n * n));  // t[i*n + a] = T_a(node i)
    for (int i = 0; i < n; ++i) chebyshevValues(node(i, n), order, &t[static_cast<std::size_t>(i * n)]);
    const Point2D mid = box.center();
    std::vector<double> out(static_cast<std::size_t>(polynomialSize(order)), 0.0);
    for (int j = 0; j < n; ++j) {
        for (int i = 0; i < n; ++i) {
            const double f = function(mid.x + 0.5 * box.width() * node(i, n), mid.y + 0.5 * box.height() * node(j, n));
            for (int d = 0; d <= order; ++d) {
                for (int b = 0; b <= d; ++b) {
                    const int a = d - b;
                    const double weight = (a ? 2.0 : 1.0) * (b ? 2.0 : 1.0) / (n * n);
                    out[static_cast<std::size_t>(polynomialIndex(a, b))] +=
                            weight * f * t[static_cast<std::size_t>(i * n + a)] * t[static_cast<std::size_t>(j * n + b)];
                }
            }
        }
    }
    return out;
}

}  // namespace stillsky
