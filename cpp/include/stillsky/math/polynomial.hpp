// Two-dimensional polynomials, linear in their parameters: plain powers and Chebyshev polynomials of the first kind.
//
// Terms are ordered by total degree d = 0..order and, within a degree, by increasing power b of y:
//   index  0    1    2    3    4    5    6 ...
//   (a,b)  0,0  1,0  0,1  2,0  1,1  0,2  3,0 ...          a = power of x; index = d(d+1)/2 + b, d = a + b
#pragma once

#include <vector>

#include "stillsky/geom/box.hpp"
#include "stillsky/math/function.hpp"

namespace stillsky {

// Number of terms (order+1)(order+2)/2. DomainError when order is negative.
int polynomialSize(int order);
// The order that has exactly n terms. DomainError when there is none.
int polynomialOrder(int n);
// Place of the term with powers (a, b).
constexpr int polynomialIndex(int a, int b) { return (a + b) * (a + b + 1) / 2 + b; }

struct PolynomialTerm {
    int a, b;  // powers (or Chebyshev degrees) of x and y
};
// All terms of an order, in index order.
std::vector<PolynomialTerm> polynomialTerms(int order);

// Base of the polynomials. Term (a, b) is the product of a function of x alone and one of y alone.
class BasePolynomialFunction2 : public Function2 {
public:
    int order() const { return order_; }
    bool isLinearCombination() const override { return true; }

    // Value of every term at (x, y), which is the derivative of the function by its parameters. `out` has room for
    // nParameters() numbers. Cost: O(nParameters).
    void basisValues(double x, double y, double* out) const;
    std::vector<double> basisValues(double x, double y) const;
    // The factors: order()+1 functions of x, or of y.
    virtual void factorsX(double x, double* out) const = 0;
    virtual void factorsY(double y, double* out) const = 0;

    double operator()(double x, double y) const override;
    bool equals(Function2 const& other, bool compareParameters = true) const override;

protected:
    explicit BasePolynomialFunction2(int order);
    explicit BasePolynomialFunction2(std::vector<double> parameters);

private:
    int order_;
};

// sum_i p_i x^a y^b on raw coordinates, without scaling. All parameters are 0 at first.
class PolynomialFunction2 : public BasePolynomialFunction2 {
public:
    // DomainError when order is negative.
    explicit PolynomialFunction2(int order) : BasePolynomialFunction2(order) {}
    // DomainError when no order has that many terms.
    explicit PolynomialFunction2(std::vector<double> parameters) : BasePolynomialFunction2(std::move(parameters)) {}

    void factorsX(double x, double* out) const override;
    void factorsY(double y, double* out) const override;
    std::shared_ptr<Function2> clone() const override;
    std::string str() const override;
};

// sum_i p_i T_a(x') T_b(y'), with x' and y' running from -1 to 1 over `box`, edge to edge. Outside the box the
// polynomial extrapolates. For a region of pixels the box is the half-pixel-extended one: Box2D(Box2I).
class Chebyshev1Function2 : public BasePolynomialFunction2 {
public:
    // DomainError when order is negative or the box has no area.
    Chebyshev1Function2(int order, Box2D const& box);
    Chebyshev1Function2(std::vector<double> parameters, Box2D const& box);

    Box2D const& box() const { return box_; }
    // The same function without the terms above `order`. DomainError when order exceeds the present one.
    Chebyshev1Function2 truncate(int order) const;

    void factorsX(double x, double* out) const override;
    void factorsY(double y, double* out) const override;
    std::shared_ptr<Function2> clone() const override;
    bool equals(Function2 const& other, bool compareParameters = true) const override;
    std::string str() const override;

private:
    void setScale();
    Box2D box_;
    double scaleX_ = 1, scaleY_ = 1;
};

// T_0(t) .. T_order(t) by the recurrence T_{n+1} = 2 t T_n - T_{n-1}.
void chebyshevValues(double t, int order, double* out);

// Chebyshev coefficients over `box` of a polynomial of at most `order` (index order as above): the same function,
// exactly, whatever its own coordinates. DomainError when the function has a higher order.
std::vector<double> toChebyshev(BasePolynomialFunction2 const& function, Box2D const& box, int order);

}  // namespace stillsky
