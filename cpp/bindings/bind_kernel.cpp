#include <pybind11/stl.h>

#include "bindings.hpp"
#include "geom_cast.hpp"
#include "numpy_view.hpp"
#include "stillsky/kernel/kernel.hpp"

namespace stillsky {

void bindConvolve(py::module_& m);

namespace {

using DoubleArray = py::array_t<double, py::array::c_style | py::array::forcecast>;

View2<const double> pixelsOf(DoubleArray const& array) {
    if (array.ndim() != 2) {
        throw ShapeError("image: wanted a 2-D array, got " + std::to_string(array.ndim()) + " dimensions");
    }
    return View2<const double>(array.data(), static_cast<int>(array.shape(1)), static_cast<int>(array.shape(0)));
}

// Into a float64 array directly, into any other floating type through a copy.
double computeImage(Kernel const& kernel, py::object const& image, bool doNormalize, double x, double y) {
    const bool isImage = py::hasattr(image, "array");
    py::array array = isImage ? image.attr("array").cast<py::array>() : image.cast<py::array>();
    double sum;
    if (py::isinstance<py::array_t<double>>(array)) {
        sum = kernel.computeImage(viewOf<double>(array, "image"), doNormalize, x, y);
    } else {
        py::array_t<double> pixels(std::vector<py::ssize_t>(array.shape(), array.shape() + array.ndim()));
        sum = kernel.computeImage(viewOf<double>(pixels, "image"), doNormalize, x, y);
        array[py::ellipsis()] = pixels;
    }
    if (isImage) {
        image.attr("xy0") = py::make_tuple(-(kernel.center().x + (static_cast<int>(array.shape(1)) - kernel.width()) / 2),
                                           -(kernel.center().y + (static_cast<int>(array.shape(0)) - kernel.height()) / 2));
    }
    return sum;
}

py::list parametersOf(Kernel const& kernel) {
    py::list out;
    if (kernel.isSpatiallyVarying()) return out;
    for (double p : kernel.kernelParameters()) out.append(p);
    return out;
}

void bindBase(py::module_& m) {
    py::class_<Kernel, KernelPtr>(m, "Kernel", "Base of all kernels. Applying a kernel is correlation, without reflection.")
            .def_property_readonly("width", &Kernel::width)
            .def_property_readonly("height", &Kernel::height)
            .def_property_readonly("dimensions", [](Kernel const& k) { return py::make_tuple(k.width(), k.height()); })
            .def_property_readonly("center", [](Kernel const& k) { return py::make_tuple(k.center().x, k.center().y); },
                                   "Pixel ((width-1)//2, (height-1)//2).")
            .def_property_readonly("bbox", [](Kernel const& k) { return box2ITo(k.bbox()); })
            .def("getBBox", [](Kernel const& k) { return box2ITo(k.bbox()); })
            .def("getWidth", &Kernel::width)
            .def("getHeight", &Kernel::height)
            .def("getCtr", [](Kernel const& k) { return py::make_tuple(k.center().x, k.center().y); })
            .def("growBBox", [](Kernel const& k, py::object const& b) { return box2ITo(k.growBBox(box2IFrom(b))); },
                 py::arg("bbox"))
            .def("shrinkBBox", [](Kernel const& k, py::object const& b) { return box2ITo(k.shrinkBBox(box2IFrom(b))); },
                 py::arg("bbox"), "The pixels whose whole footprint lies in the box.")
            .def("clone", &Kernel::clone, "A deep copy.")
            .def("__copy__", &Kernel::clone)
            .def("__deepcopy__", [](Kernel const& k, py::dict) { return k.clone(); }, py::arg("memo"))
            .def("resized", &Kernel::resized, py::arg("width"), py::arg("height"))
            .def("computeImage", &computeImage, py::arg("image"), py::arg("doNormalize"), py::arg("x") = 0.0,
                 py::arg("y") = 0.0,
                 "Write the kernel at parent position (x, y) into an array or Image of its size; return its sum.")
            .def("imageAt", [](Kernel const& k, double x, double y, bool doNormalize) {
                     return arrayOf<double>(k.imageAt(x, y, doNormalize).view());
                 }, py::arg("x") = 0.0, py::arg("y") = 0.0, py::arg("doNormalize") = false,
                 "The kernel at parent position (x, y) as a new float64 array [row, column].")
            .def_property_readonly("isSpatiallyVarying", &Kernel::isSpatiallyVarying)
            .def_property_readonly("nKernelParameters", &Kernel::nKernelParameters)
            .def_property_readonly("nSpatialParameters", &Kernel::nSpatialParameters)
            .def("getNKernelParameters", &Kernel::nKernelParameters)
            .def("getNSpatialParameters", &Kernel::nSpatialParameters)
            .def_property("kernelParameters", [](Kernel const& k) { return k.kernelParameters(); },
                          &Kernel::setKernelParameters,
                          "Kernel parameters; those at position (0, 0) when the kernel varies.")
            .def("kernelParametersAt", &Kernel::kernelParameters, py::arg("x"), py::arg("y"))
            .def("getKernelParameters", &Kernel::kernelParameters, py::arg("x") = 0.0, py::arg("y") = 0.0)
            .def("setKernelParameters", &Kernel::setKernelParameters, py::arg("parameters"))
            .def_property("spatialParameters", &Kernel::spatialParameters, &Kernel::setSpatialParameters)
            .def("getSpatialParameters", &Kernel::spatialParameters)
            .def("setSpatialParameters", &Kernel::setSpatialParameters, py::arg("parameters"))
            .def("getSpatialFunction", &Kernel::spatialFunction, py::arg("i"), "A copy.")
            .def_property_readonly("spatialFunctions", [](Kernel const& k) {
                std::vector<Function2Ptr> out;
                for (auto const& f : k.spatialFunctions()) out.push_back(f->clone());
                return out;
            }, "Copies of the spatial functions; empty when the kernel does not vary.")
            .def("__eq__", [](Kernel const& a, py::object const& b) {
                return py::isinstance<Kernel>(b) && a.equals(b.cast<Kernel const&>());
            })
            .def("__repr__", &Kernel::str)
            .attr("__hash__") = py::none();
}

void bindSimple(py::module_& m) {
    py::class_<FixedKernel, Kernel, std::shared_ptr<FixedKernel>>(m, "FixedKernel", "Pixels as given.")
            .def(py::init([](Kernel const& kernel, py::object const& position) {
                     return std::make_shared<FixedKernel>(kernel, pointFrom<double>(position, "position"));
                 }), py::arg("kernel"), py::arg("position"), "Snapshot of a kernel at a parent position.")
            .def(py::init([](py::object const& image) {
                     const bool isImage = py::hasattr(image, "array");
                     return std::make_shared<FixedKernel>(
                             pixelsOf(DoubleArray(isImage ? py::object(image.attr("array")) : image)));
                 }), py::arg("image"), "From an array [row, column] or an Image; the pixels are copied.")
            .def_property_readonly("array", [](FixedKernel const& k) { return arrayOf<const double>(k.image().view()); },
                                   "A copy of the pixels.")
            .def_property_readonly("sum", &FixedKernel::sum)
            .def("getSum", &FixedKernel::sum)
            .def(py::pickle([](FixedKernel const& k) { return py::make_tuple(arrayOf<const double>(k.image().view())); },
                            [](py::tuple const& t) {
                                return std::make_shared<FixedKernel>(pixelsOf(t[0].cast<DoubleArray>()));
                            }));
    py::class_<DeltaFunctionKernel, Kernel, std::shared_ptr<DeltaFunctionKernel>>(
            m, "DeltaFunctionKernel", "1 at one pixel: applying it shifts the image.")
            .def(py::init([](int width, int height, py::object const& pixel) {
                     return std::make_shared<DeltaFunctionKernel>(width, height, pointFrom<int>(pixel, "pixel"));
                 }), py::arg("width"), py::arg("height"), py::arg("pixel"))
            .def_property_readonly("pixel", [](DeltaFunctionKernel const& k) {
                return py::make_tuple(k.pixel().x, k.pixel().y);
            })
            .def("getPixel", [](DeltaFunctionKernel const& k) { return py::make_tuple(k.pixel().x, k.pixel().y); })
            .def(py::pickle([](DeltaFunctionKernel const& k) {
                                return py::make_tuple(k.width(), k.height(), k.pixel().x, k.pixel().y);
                            },
                            [](py::tuple const& t) {
                                return std::make_shared<DeltaFunctionKernel>(
                                        t[0].cast<int>(), t[1].cast<int>(), Point2I{t[2].cast<int>(), t[3].cast<int>()});
                            }));
    py::class_<AnalyticKernel, Kernel, std::shared_ptr<AnalyticKernel>>(
            m, "AnalyticKernel", "A Function2 sampled at the pixel centres.")
            .def(py::init<int, int, Function2 const&, std::vector<Function2Ptr> const&>(), py::arg("width"),
                 py::arg("height"), py::arg("function"), py::arg("spatialFunctions") = std::vector<Function2Ptr>())
            .def(py::init([](int w, int h, Function2 const& f, Function2 const& spatial) {
                     return std::make_shared<AnalyticKernel>(
                             w, h, f, std::vector<Function2Ptr>(static_cast<std::size_t>(f.nParameters()), spatial.clone()));
                 }), py::arg("width"), py::arg("height"), py::arg("function"), py::arg("spatialFunction"))
            .def_property_readonly("kernelFunction", &AnalyticKernel::kernelFunction, "A copy.")
            .def("getKernelFunction", &AnalyticKernel::kernelFunction)
            .def(py::pickle([](AnalyticKernel const& k) {
                                return py::make_tuple(k.width(), k.height(), k.kernelFunction(), k.spatialFunctions());
                            },
                            [](py::tuple const& t) {
                                return std::make_shared<AnalyticKernel>(t[0].cast<int>(), t[1].cast<int>(),
                                                                        t[2].cast<Function2 const&>(),
                                                                        t[3].cast<std::vector<Function2Ptr>>());
                            }));
    py::class_<SeparableKernel, Kernel, std::shared_ptr<SeparableKernel>>(m, "SeparableKernel", "fx(x) fy(y).")
            .def(py::init<int, int, Function1 const&, Function1 const&, std::vector<Function2Ptr> const&>(),
                 py::arg("width"), py::arg("height"), py::arg("functionX"), py::arg("functionY"),
                 py::arg("spatialFunctions") = std::vector<Function2Ptr>())
            .def_property_readonly("functionX", &SeparableKernel::functionX)
            .def_property_readonly("functionY", &SeparableKernel::functionY)
            .def("computeVectors", [](SeparableKernel const& k, bool doNormalize, double x, double y) {
                     std::vector<double> vx, vy;
                     const double sum = k.computeVectors(vx, vy, doNormalize, x, y);
                     return py::make_tuple(vx, vy, sum);
                 }, py::arg("doNormalize"), py::arg("x") = 0.0, py::arg("y") = 0.0, "(vectorX, vectorY, sum).")
            .def(py::pickle([](SeparableKernel const& k) {
                                return py::make_tuple(k.width(), k.height(), k.functionX(), k.functionY(),
                                                      k.spatialFunctions());
                            },
                            [](py::tuple const& t) {
                                return std::make_shared<SeparableKernel>(
                                        t[0].cast<int>(), t[1].cast<int>(), t[2].cast<Function1 const&>(),
                                        t[3].cast<Function1 const&>(), t[4].cast<std::vector<Function2Ptr>>());
                            }));
}

void bindLinearCombination(py::module_& m) {
    using LC = LinearCombinationKernel;
    py::class_<LC, Kernel, std::shared_ptr<LC>>(m, "LinearCombinationKernel",
                                                "sum_i p_i B_i, with p_i numbers or functions of the position.")
            .def(py::init<KernelList const&, std::vector<double> const&>(), py::arg("bases"), py::arg("parameters"))
            .def(py::init<KernelList const&, Function2 const&>(), py::arg("bases"), py::arg("spatialFunction"))
            .def(py::init<KernelList const&, std::vector<Function2Ptr> const&>(), py::arg("bases"),
                 py::arg("spatialFunctions"))
            .def_property_readonly("nBasisKernels", &LC::nBasisKernels)
            .def_property_readonly("kernelList", &LC::kernelList, "Copies of the basis kernels.")
            .def_property_readonly("kernelSumList", &LC::kernelSumList)
            .def_property_readonly("isDeltaFunctionBasis", &LC::isDeltaFunctionBasis)
            .def("getNBasisKernels", &LC::nBasisKernels)
            .def("getKernelList", &LC::kernelList)
            .def("getKernelSumList", &LC::kernelSumList)
            .def("basisArray", [](LC const& k) {
                     py::array_t<double> out({k.nBasisKernels(), k.height(), k.width()});
                     std::copy_n(k.basisImage(0).data, out.size(), out.mutable_data());
                     return out;
                 }, "Pixels of all basis kernels, [basis, row, column].")
            .def("sumAt", &LC::sumAt, py::arg("x") = 0.0, py::arg("y") = 0.0, "Kernel sum at a parent position.")
            .def("refactor", &LC::refactor,
                 "The same kernel with one basis per spatial parameter, or None when that is impossible.")
            .def(py::pickle([](LC const& k) {
                                return py::make_tuple(k.kernelList(), parametersOf(k), k.spatialFunctions());
                            },
                            [](py::tuple const& t) {
                                const auto bases = t[0].cast<KernelList>();
                                const auto functions = t[2].cast<std::vector<Function2Ptr>>();
                                if (!functions.empty()) return std::make_shared<LC>(bases, functions);
                                return std::make_shared<LC>(bases, t[1].cast<std::vector<double>>());
                            }));
}

}  // namespace

void bindKernel(py::module_& m) {
    bindBase(m);
    bindSimple(m);
    bindLinearCombination(m);
    bindConvolve(m);
}

}  // namespace stillsky
