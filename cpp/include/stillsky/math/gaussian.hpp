// Gaussian models of one and two variables, point-sampled (never integrated over a pixel).
#pragma once

#include "stillsky/math/function.hpp"

namespace stillsky {

// exp(-x^2/2 sigma^2) / (sqrt(2 pi) sigma). Parameter: sigma, pixels. DomainError unless sigma > 0.
class GaussianFunction1 : public Function1 {
public:
    explicit GaussianFunction1(double sigma);
    double operator()(double x) const override;
    std::shared_ptr<Function1> clone() const override;
    std::string str() const override;
};

// sum_i p_i x^i.
class PolynomialFunction1 : public Function1 {
public:
    // DomainError when there is no parameter.
    explicit PolynomialFunction1(std::vector<double> parameters);
    double operator()(double x) const override;
    bool isLinearCombination() const override { return true; }
    std::shared_ptr<Function1> clone() const override;
    std::string str() const override;
};

// Elliptical Gaussian of unit integral: 1/(2 pi s1 s2) exp(-p1^2/2 s1^2 - p2^2/2 s2^2) with
// p1 = x cos(angle) + y sin(angle), p2 = -x sin(angle) + y cos(angle).
// Parameters: sigma1, sigma2 (pixels), angle (radians, from the x axis towards y).
class GaussianFunction2 : public Function2 {
public:
    // DomainError unless both sigmas are positive.
    GaussianFunction2(double sigma1, double sigma2, double angle = 0.0);
    double operator()(double x, double y) const override;
    std::shared_ptr<Function2> clone() const override;
    std::string str() const override;
};

// Core plus wing, both round, of unit integral when ampl2 counts the ratio of the *peaks*:
// (G(r; sigma1) + ampl2 (sigma2/sigma1)^2 G(r; sigma2)) / (1 + ampl2 (sigma2/sigma1)^2), G of unit integral.
// Parameters: sigma1, sigma2 (pixels), ampl2.
class DoubleGaussianFunction2 : public Function2 {
public:
    // DomainError unless sigma1 > 0 and (sigma2 > 0 or ampl2 == 0).
    explicit DoubleGaussianFunction2(double sigma1, double sigma2 = 0.0, double ampl2 = 0.0);
    double operator()(double x, double y) const override;
    std::shared_ptr<Function2> clone() const override;
    std::string str() const override;
};

}  // namespace stillsky
