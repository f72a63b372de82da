#include "stillsky/math/gaussian.hpp"

#include <cmath>

#include "stillsky/core/errors.hpp"

namespace stillsky {
namespace {

constexpr double TWO_PI = 6.28318530717958647692;

double positive(double value, const char* name) {
    if (!(value > 0)) throw DomainError(std::string(name) + ": wanted > 0, got " + std::to_string(value));
    return value;
}

}  // namespace

GaussianFunction1::GaussianFunction1(double sigma) : Function1({positive(sigma, "sigma")}) {}

double GaussianFunction1::operator()(double x) const {
    const double s = parameters_[0], u = x / s;
    return std::exp(-0.5 * u * u) / (std::sqrt(TWO_PI) * s);
}

std::shared_ptr<Function1> GaussianFunction1::clone() const { return std::make_shared<GaussianFunction1>(*this); }
std::string GaussianFunction1::str() const { return describe("GaussianFunction1"); }

PolynomialFunction1::PolynomialFunction1(std::vector<double> parameters) : Function1(std::move(parameters)) {
    if (nParameters() == 0) throw DomainError("parameters: a polynomial needs at least one");
}

double PolynomialFunction1::operator()(double x) const {
    double value = 0.0;
    for (std::size_t i = parameters_.size(); i-- > 0;) value = value * x + parameters_[i];
    return value;
}

std::shared_ptr<Function1> PolynomialFunction1::clone() const { return std::make_shared<PolynomialFunction1>(*this); }
std::string PolynomialFunction1::str() const { return describe("PolynomialFunction1"); }

GaussianFunction2::GaussianFunction2(double sigma1, double sigma2, double angle)
        : Function2({positive(sigma1, "sigma1"), positive(sigma2, "sigma2"), angle}) {}

double GaussianFunction2::operator()(double x, double y) const {
    const double s1 = parameters_[0], s2 = parameters_[1], c = std::cos(parameters_[2]), s = std::sin(parameters_[2]);
    const double p1 = (c * x + s * y) / s1, p2 = (c * y - s * x) / s2;
    return std::exp(-0.5 * (p1 * p1 + p2 * p2)) / (TWO_PI * s1 * s2);
}

std::shared_ptr<Function2> GaussianFunction2::clone() const { return std::make_shared<GaussianFunction2>(*this); }
std::string GaussianFunction2::str() const { return describe("GaussianFunction2"); }

DoubleGaussianFunction2::DoubleGaussianFunction2(double sigma1, double sigma2, double ampl2)
        : Function2({positive(sigma1, "sigma1"), ampl2 == 0.0 ? sigma2 : positive(sigma2, "sigma2"), ampl2}) {}

double DoubleGaussianFunction2::operator()(double x, double y) const {
    const double s1 = parameters_[0], s2 = parameters_[1], b = parameters_[2], r2 = x * x + y * y;
    // Both terms share the factor 1/(2 pi s1^2): the wing's peak is b times the core's.
    double value = std::exp(-0.5 * r2 / (s1 * s1));
    double integral = s1 * s1;
    if (b != 0.0) {
        value += b * std::exp(-0.5 * r2 / (s2 * s2));
        integral += b * s2 * s2;
    }
    return value / (TWO_PI * integral);
}

std::shared_ptr<Function2> DoubleGaussianFunction2::clone() const {
    return std::make_shared<DoubleGaussianFunction2>(*this);
}
std::string DoubleGaussianFunction2::str() const { return describe("DoubleGaussianFunction2"); }

}  // namespace stillsky
