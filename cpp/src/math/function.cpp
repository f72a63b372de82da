#include "stillsky/math/function.hpp"

#include <sstream>
#include <typeinfo>

#include "stillsky/core/errors.hpp"

namespace stillsky {
namespace {

void checkIndex(int i, int n) {
    if (i < 0 || i >= n) {
        throw OutOfBoundsError("function parameter " + std::to_string(i) + " does not exist: the function has " +
                               std::to_string(n));
    }
}

}  // namespace

double ParametricFunction::parameter(int i) const {
    checkIndex(i, nParameters());
    return parameters_[static_cast<std::size_t>(i)];
}

void ParametricFunction::setParameter(int i, double value) {
    checkIndex(i, nParameters());
    parameters_[static_cast<std::size_t>(i)] = value;
}

void ParametricFunction::setParameters(std::vector<double> const& parameters) {
    if (parameters.size() != parameters_.size()) {
        throw DomainError("parameters: wanted " + std::to_string(parameters_.size()) + " numbers, got " +
                          std::to_string(parameters.size()));
    }
    parameters_ = parameters;
}

std::string ParametricFunction::describe(std::string const& name) const {
    std::ostringstream os;
    os.precision(17);
    os << name << "([";
    for (std::size_t i = 0; i < parameters_.size(); ++i) os << (i ? ", " : "") << parameters_[i];
    os << "])";
    return os.str();
}

bool Function2::equals(Function2 const& other, bool compareParameters) const {
    return typeid(*this) == typeid(other) && nParameters() == other.nParameters() &&
           (!compareParameters || parameters_ == other.parameters_);
}

}  // namespace stillsky
