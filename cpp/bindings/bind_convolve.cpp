#include <tuple>

#include <pybind11/stl.h>

#include <string>

#include "bindings.hpp"
#include "numpy_view.hpp"
#include "stillsky/kernel/convolve.hpp"

namespace stillsky {
namespace {

template <typename T>
void convolveMaskedArrays(py::array const& outImage, py::array const& outMask, py::array const& outVariance,
                          py::array const& image, py::array const& mask, py::array const& variance,
                          Kernel const& kernel, ConvolutionControl const& control, std::pair<int, int> const& xy0) {
    const auto out = maskedViewOf<T>(outImage, outMask, outVariance);
    const auto in = maskedViewOf<const T>(image, mask, variance, pointOf(xy0));
    py::gil_scoped_release release;
    convolve<T>(out, in, kernel, control);
}

template <typename T>
void convolveImageArray(py::array const& outImage, py::array const& image, Kernel const& kernel,
                        ConvolutionControl const& control, std::pair<int, int> const& xy0) {
    const auto out = viewOf<T>(outImage, "outImage");
    const auto in = viewOf<const T>(image, "image");
    py::gil_scoped_release release;
    convolve<T>(out, in, kernel, control, pointOf(xy0));
}

bool isDouble(py::array const& array) { return py::isinstance<py::array_t<double>>(array); }

void convolveArrays(py::array const& outImage, py::object const& outMask, py::object const& outVariance,
                    py::array const& image, py::object const& mask, py::object const& variance, Kernel const& kernel,
                    ConvolutionControl const& control, std::pair<int, int> const& xy0) {
    const int given = !outMask.is_none() + !outVariance.is_none() + !mask.is_none() + !variance.is_none();
    if (given == 0) {
        isDouble(image) ? convolveImageArray<double>(outImage, image, kernel, control, xy0)
                        : convolveImageArray<float>(outImage, image, kernel, control, xy0);
        return;
    }
    if (given != 4) throw ShapeError("convolveArrays: give mask and variance, of input and output, or none of them");
    const auto om = outMask.cast<py::array>(), ov = outVariance.cast<py::array>();
    const auto im = mask.cast<py::array>(), iv = variance.cast<py::array>();
    isDouble(image) ? convolveMaskedArrays<double>(outImage, om, ov, image, im, iv, kernel, control, xy0)
                    : convolveMaskedArrays<float>(outImage, om, ov, image, im, iv, kernel, control, xy0);
}

py::object termsOf(Kernel const& kernel, int width, int height, std::pair<int, int> const& xy0) {
    const KernelTerms terms = kernelTerms(kernel, Box2I(pointOf(xy0), {width, height}));
    if (terms.terms.empty()) return py::none();
    py::array_t<double> pixels({static_cast<int>(terms.terms.size()), terms.height, terms.width});
    for (std::size_t p = 0; p < terms.terms.size(); ++p) {
        std::copy(terms.terms[p].begin(), terms.terms[p].end(), pixels.mutable_data(static_cast<int>(p), 0, 0));
    }
    py::array_t<bool> support({terms.height, terms.width});
    std::copy(terms.support.begin(), terms.support.end(), support.mutable_data());
    return py::make_tuple(terms.order, pixels, terms.sums, support,
                          py::make_tuple(terms.box.minX, terms.box.minY, terms.box.maxX, terms.box.maxY));
}

using Arrays = std::tuple<py::array, py::array, py::array>;  // image, mask, variance

template <typename T>
void subtractModelArrays(Arrays const& outArrays, Arrays const& modelArrays, py::array const& image,
                         py::array const& mask, py::array const& variance, py::object const& background, bool invert,
                         std::pair<int, int> const& xy0) {
    const auto out = std::apply([](auto const&... plane) { return maskedViewOf<T>(plane...); }, outArrays);
    const auto model = std::apply([](auto const&... plane) { return maskedViewOf<const T>(plane...); }, modelArrays);
    const auto science = maskedViewOf<const T>(image, mask, variance, pointOf(xy0));
    Function2 const* function = py::isinstance<Function2>(background) ? background.cast<Function2 const*>() : nullptr;
    const double constant = function || background.is_none() ? 0.0 : background.cast<double>();
    py::gil_scoped_release release;
    subtractModel<T>(out, model, science, function, constant, invert);
}

template <typename T>
void scaledPlusArrays(py::array const& out, double c1, py::array const& in1, double c2, py::array const& in2) {
    const auto o = viewOf<T>(out, "out");
    const auto a = viewOf<const T>(in1, "in1"), b = viewOf<const T>(in2, "in2");
    py::gil_scoped_release release;
    scaledPlus<T>(o, c1, a, c2, b);
}

void bindControl(py::module_& m) {
    py::class_<ConvolutionControl>(m, "ConvolutionControl",
                                   "How to convolve. `model`: 'exact', or 'reference' to interpolate a varying kernel "
                                   "between nodes at most maxInterpolationDistance pixels apart.")
            .def(py::init([](bool doNormalize, bool doCopyEdge, int distance, std::string const& model,
                             MaskPixel noDataBit, MaskPixel edgeBit) {
                     if (model != "exact" && model != "reference") {
                         throw DomainError("model: wanted 'exact' or 'reference', got '" + model + "'");
                     }
                     if (distance < 0) {
                         throw DomainError("maxInterpolationDistance: wanted >= 0, got " + std::to_string(distance));
                     }
                     ConvolutionControl c;
                     c.doNormalize = doNormalize;
                     c.doCopyEdge = doCopyEdge;
                     c.maxInterpolationDistance = distance;
                     c.interpolateKernel = model == "reference";
                     c.noDataBit = noDataBit;
                     c.edgeBit = edgeBit;
                     return c;
                 }),
                 py::arg("doNormalize") = true, py::arg("doCopyEdge") = false,
                 py::arg("maxInterpolationDistance") = 10, py::arg("model") = "exact",
                 py::arg("noDataBit") = mask_planes::NO_DATA, py::arg("edgeBit") = mask_planes::EDGE)
            .def_readwrite("doNormalize", &ConvolutionControl::doNormalize)
            .def_readwrite("doCopyEdge", &ConvolutionControl::doCopyEdge)
            .def_readwrite("maxInterpolationDistance", &ConvolutionControl::maxInterpolationDistance)
            .def_property_readonly("model", [](ConvolutionControl const& c) {
                return c.interpolateKernel ? "reference" : "exact";
            })
            .def_readwrite("noDataBit", &ConvolutionControl::noDataBit)
            .def_readwrite("edgeBit", &ConvolutionControl::edgeBit);
}

}  // namespace

void bindConvolve(py::module_& m) {
    bindControl(m);
    m.def("convolveArrays", &convolveArrays, py::arg("outImage"), py::arg("outMask"), py::arg("outVariance"),
          py::arg("image"), py::arg("mask"), py::arg("variance"), py::arg("kernel"),
          py::arg("control") = ConvolutionControl(), py::arg("xy0") = std::pair<int, int>(0, 0));
    m.def("convolveMaskArray", [](py::array const& out, py::array const& in, Kernel const& kernel,
                                  ConvolutionControl const& control, std::pair<int, int> const& xy0) {
        const auto o = viewOf<MaskPixel>(out, "out");
        const auto i = viewOf<const MaskPixel>(in, "mask");
        py::gil_scoped_release release;
        convolveMask(o, i, kernel, control, pointOf(xy0));
    }, py::arg("out"), py::arg("mask"), py::arg("kernel"), py::arg("control") = ConvolutionControl(),
       py::arg("xy0") = std::pair<int, int>(0, 0));
    m.def("kernelTerms", &termsOf, py::arg("kernel"), py::arg("width"), py::arg("height"),
          py::arg("xy0") = std::pair<int, int>(0, 0));
    m.def("subregionLengths", &subregionLengths, py::arg("n"), py::arg("distance"));
    m.def("subtractModelArrays", [](Arrays const& out, Arrays const& model, py::array const& si, py::array const& sm,
                                    py::array const& sv, py::object const& background, bool invert,
                                    std::pair<int, int> const& xy0) {
        isDouble(si) ? subtractModelArrays<double>(out, model, si, sm, sv, background, invert, xy0)
                     : subtractModelArrays<float>(out, model, si, sm, sv, background, invert, xy0);
    }, py::arg("out"), py::arg("model"), py::arg("image"), py::arg("mask"), py::arg("variance"),
       py::arg("background"), py::arg("invert"), py::arg("xy0"));
    m.def("scaledPlusArrays", [](py::array const& out, double c1, py::array const& a, double c2, py::array const& b) {
        isDouble(out) ? scaledPlusArrays<double>(out, c1, a, c2, b) : scaledPlusArrays<float>(out, c1, a, c2, b);
    }, py::arg("out"), py::arg("c1"), py::arg("in1"), py::arg("c2"), py::arg("in2"));
}

}  // namespace stillsky
