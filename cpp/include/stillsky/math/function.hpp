// Functions of one and two real variables with a vector of parameters: the models of kernels and of their variation.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace stillsky {

// Common part of Function1 and Function2. Evaluation is const and keeps no scratch: one object may be used by any
// number of threads as long as nobody sets parameters meanwhile.
class ParametricFunction {
public:
    virtual ~ParametricFunction() = default;

    int nParameters() const { return static_cast<int>(parameters_.size()); }
    std::vector<double> const& parameters() const { return parameters_; }
    // OutOfBoundsError when i is not in [0, nParameters).
    double parameter(int i) const;
    void setParameter(int i, double value);
    // DomainError for a wrong length.
    void setParameters(std::vector<double> const& parameters);

    // True when the value is a linear function of the parameters (polynomials).
    virtual bool isLinearCombination() const { return false; }
    // Class name and parameters, one line.
    virtual std::string str() const = 0;

protected:
    explicit ParametricFunction(std::vector<double> parameters) : parameters_(std::move(parameters)) {}
    ParametricFunction(ParametricFunction const&) = default;
    ParametricFunction& operator=(ParametricFunction const&) = default;
    std::string describe(std::string const& name) const;

    std::vector<double> parameters_;
};

class Function1 : public ParametricFunction {
public:
    virtual double operator()(double x) const = 0;
    // A deep copy.
    virtual std::shared_ptr<Function1> clone() const = 0;

protected:
    using ParametricFunction::ParametricFunction;
};

class Function2 : public ParametricFunction {
public:
    virtual double operator()(double x, double y) const = 0;
    // A deep copy.
    virtual std::shared_ptr<Function2> clone() const = 0;
    // Same class, same fixed settings (order, box) and, unless told otherwise, same parameters.
    virtual bool equals(Function2 const& other, bool compareParameters = true) const;

protected:
    using ParametricFunction::ParametricFunction;
};

using Function1Ptr = std::shared_ptr<Function1>;
using Function2Ptr = std::shared_ptr<Function2>;

}  // namespace stillsky
