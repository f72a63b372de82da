// Smooth NumPy arrays with stillsky's convolution: another package's extension that uses the C++ library.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <stillsky/core/config.hpp>
#include <stillsky/kernel/convolve.hpp>
#include <stillsky/math/gaussian.hpp>

namespace py = pybind11;
using Array = py::array_t<float, py::array::c_style>;

namespace {

Array smooth(Array const& image, int size, double sigma) {
    const int height = static_cast<int>(image.shape(0)), width = static_cast<int>(image.shape(1));
    Array out({height, width});
    const stillsky::AnalyticKernel kernel(size, size, stillsky::GaussianFunction2(sigma, sigma, 0.0));
    const stillsky::View2<float> to(out.mutable_data(), width, height);
    const stillsky::View2<const float> from(image.data(), width, height);
    py::gil_scoped_release release;
    stillsky::convolve(to, from, kernel);
    return out;
}

}  // namespace

PYBIND11_MODULE(extension_example, module) {
    module.attr("stillskyVersion") = stillsky::version();
    module.def("smooth", &smooth, py::arg("image").noconvert(), py::arg("size"), py::arg("sigma"));
}
