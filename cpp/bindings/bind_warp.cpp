#include "bindings.hpp"
#include "numpy_view.hpp"
#include "stillsky/warp/shift_stamps.hpp"
#include "stillsky/warp/warp.hpp"

namespace stillsky {
namespace {

using Control = WarpingControl;
using XY = std::pair<int, int>;

std::string modelName(Control const& c) { return c.model == Control::Model::Reference ? "reference" : "stillsky"; }

Control::Model modelOf(std::string const& name) {
    if (name == "stillsky") return Control::Model::Stillsky;
    if (name == "reference") return Control::Model::Reference;
    throw DomainError("WarpingControl: model must be \"stillsky\" or \"reference\", got \"" + name + "\"");
}

py::tuple stateOf(Control const& c) {
    return py::make_tuple(c.warpingKernelName(), c.maskWarpingKernelName(), c.cacheSize(), c.interpLength(),
                          c.growFullMask, modelName(c), c.scaleByArea, c.noDataMask, c.interpolatedMask);
}

Control makeControl(std::string const& kernel, std::string const& maskKernel, int cacheSize, int interpLength,
                    MaskPixel growFullMask, std::string const& model, bool scaleByArea, MaskPixel noDataMask,
                    MaskPixel interpolatedMask) {
    Control c(kernel, maskKernel, cacheSize, interpLength, growFullMask, modelOf(model));
    c.scaleByArea = scaleByArea;
    c.noDataMask = noDataMask;
    c.interpolatedMask = interpolatedMask;
    return c;
}

template <typename T>
long long warpMasked(py::array const& image, py::array const& mask, py::array const& variance, XY xy0,
                     py::array const& srcImage, py::array const& srcMask, py::array const& srcVariance, XY srcXY0,
                     InverseMapping const& mapping, Control const& control, double padImage, MaskPixel padMask,
                     double padVariance) {
    const auto dest = maskedViewOf<T>(image, mask, variance, pointOf(xy0));
    const auto src = maskedViewOf<const T>(srcImage, srcMask, srcVariance, pointOf(srcXY0));
    PadPixel<T> pad;
    pad.image = static_cast<T>(padImage);
    pad.mask = padMask;
    pad.variance = static_cast<VariancePixel>(padVariance);
    py::gil_scoped_release release;
    return warpMaskedImage<T>(dest, src, mapping, control, pad);
}

template <typename T>
long long warpPlain(py::array const& image, XY xy0, py::array const& srcImage, XY srcXY0,
                    InverseMapping const& mapping, Control const& control, double pad) {
    const auto dest = viewOf<T>(image, "dest");
    const auto src = viewOf<const T>(srcImage, "src");
    py::gil_scoped_release release;
    return warpImage<T>(dest, pointOf(xy0), src, pointOf(srcXY0), mapping, control, static_cast<T>(pad));
}

void bindControl(py::module_& m) {
    py::class_<WarpingKernel>(m, "WarpingKernel", "One-dimensional interpolation kernel: nearest, bilinear, lanczosN.")
            .def(py::init<std::string const&>(), py::arg("name"))
            .def_property_readonly("name", &WarpingKernel::name)
            .def_property_readonly("taps", &WarpingKernel::taps)
            .def_property_readonly("center", &WarpingKernel::center)
            .def(
                    "weights",
                    [](WarpingKernel const& k, double f) {
                        py::array_t<double> out(k.taps());
                        k.weights(f, out.mutable_data());
                        return out;
                    },
                    py::arg("fraction"), "The weights for a fraction in [0, 1]; their sum is not normalised.");

    py::class_<Control>(m, "WarpingControl", R"(Options of a warp.

Parameters
----------
warpingKernelName : `str`
    "nearest", "bilinear" or "lanczosN".
maskWarpingKernelName : `str`
    A kernel that fits inside the first and decides how far the mask spreads; "" uses the first.
cacheSize : `int`
    Number of tabulated offsets per pixel, interpolated linearly, at most 4096; 0 computes the weights. Float32
    pixels always use 4096, where the error is below float rounding.
interpLength : `int`
    Spacing of the grid of computed source positions, in pixels; between nodes they are interpolated linearly.
    0 computes every position.
growFullMask : `int`
    Bits that spread by the whole image kernel although a mask kernel is set.
model : `str`
    "stillsky", or "reference" for Rubin's numbers: area factor from left differences, masks spread by weights of
    1e-17, kernel cache at bin centres, NaN poisoning all pixels within reach.
scaleByArea : `bool`
    Multiply by the ratio of pixel areas, which conserves surface brightness.
noDataMask, interpolatedMask : `int`
    Bits set where too little, or not all, of the kernel met finite pixels.

Raises
------
stillsky.DomainError
    Unknown kernel, a mask kernel that does not fit, a negative number.)")
            .def(py::init(&makeControl), py::arg("warpingKernelName") = "lanczos3",
                 py::arg("maskWarpingKernelName") = "", py::arg("cacheSize") = 0, py::arg("interpLength") = 0,
                 py::arg("growFullMask") = 0, py::arg("model") = "stillsky", py::arg("scaleByArea") = true,
                 py::arg("noDataMask") = mask_planes::NO_DATA, py::arg("interpolatedMask") = mask_planes::INTRP)
            .def_property("warpingKernelName", &Control::warpingKernelName, &Control::setWarpingKernelName)
            .def_property("maskWarpingKernelName", &Control::maskWarpingKernelName, &Control::setMaskWarpingKernelName)
            .def_property("cacheSize", &Control::cacheSize, &Control::setCacheSize)
            .def_property("interpLength", &Control::interpLength, &Control::setInterpLength)
            .def_property(
                    "model", &modelName, [](Control& c, std::string const& name) { c.model = modelOf(name); })
            .def_readwrite("growFullMask", &Control::growFullMask)
            .def_readwrite("scaleByArea", &Control::scaleByArea)
            .def_readwrite("noDataMask", &Control::noDataMask)
            .def_readwrite("interpolatedMask", &Control::interpolatedMask)
            .def_property_readonly("warpingKernel", &Control::warpingKernel)
            .def("copy", [](Control const& c) { return c; })
            .def("__eq__", [](Control const& a, Control const& b) { return a == b; }, py::is_operator())
            .def("__repr__",
                 [](Control const& c) {
                     return "WarpingControl(\"" + c.warpingKernelName() + "\", \"" + c.maskWarpingKernelName() +
                            "\", cacheSize=" + std::to_string(c.cacheSize()) +
                            ", interpLength=" + std::to_string(c.interpLength()) +
                            ", growFullMask=" + std::to_string(c.growFullMask) + ", model=\"" + modelName(c) + "\")";
                 })
            .def(py::pickle(&stateOf, [](py::tuple const& t) {
                return makeControl(t[0].cast<std::string>(), t[1].cast<std::string>(), t[2].cast<int>(),
                                   t[3].cast<int>(), t[4].cast<MaskPixel>(), t[5].cast<std::string>(),
                                   t[6].cast<bool>(), t[7].cast<MaskPixel>(), t[8].cast<MaskPixel>());
            }));
}

void bindMappings(py::module_& m) {
    py::class_<InverseMapping>(m, "InverseMapping", "Destination position -> source position, parent coordinates.")
            .def(
                    "row",
                    [](InverseMapping const& mapping, double y, double x0, int n) {
                        py::array_t<double> qx(n), qy(n);
                        mapping.row(y, x0, n, qx.mutable_data(), qy.mutable_data());
                        return py::make_tuple(qx, qy);
                    },
                    py::arg("y"), py::arg("x0"), py::arg("n"), "Source positions of the pixels (x0 + i, y), i < n.");
    py::class_<AffineMapping, InverseMapping>(m, "AffineMapping",
                                              "qx = xx x + xy y + tx, qy = yx x + yy y + ty (destination to source).")
            .def(py::init<double, double, double, double, double, double>(), py::arg("xx") = 1.0, py::arg("xy") = 0.0,
                 py::arg("yx") = 0.0, py::arg("yy") = 1.0, py::arg("tx") = 0.0, py::arg("ty") = 0.0)
            .def("inverted", &AffineMapping::inverted)
            .def_property_readonly("coefficients", [](AffineMapping const& a) {
                return py::make_tuple(a.xx, a.xy, a.yx, a.yy, a.tx, a.ty);
            });
    py::class_<GridMapping, InverseMapping>(m, "GridMapping",
                                            "Source positions at nodes (x0 + i step, y0 + j step), linear between them.")
            .def(py::init([](double x0, double y0, double step, py::array const& qx, py::array const& qy) {
                     return GridMapping(x0, y0, step, viewOf<const double>(qx, "qx"), viewOf<const double>(qy, "qy"));
                 }),
                 py::arg("x0"), py::arg("y0"), py::arg("step"), py::arg("qx"), py::arg("qy"))
            .def_property_readonly("step", &GridMapping::step);
}

using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;

// (n, height, width) from as many stamps, or from one that serves all.
py::array_t<double> shiftedStamps(Doubles const& stamps, Doubles const& dx, Doubles const& dy) {
    if (stamps.ndim() != 3 || dx.ndim() != 1 || dy.ndim() != 1 || dx.size() != dy.size() ||
        (stamps.shape(0) != dx.size() && stamps.shape(0) != 1)) {
        throw ShapeError("shiftStamps: wanted stamps (n, height, width) or (1, height, width), dx (n,) and dy (n,)");
    }
    const int n = static_cast<int>(dx.size());
    const int height = static_cast<int>(stamps.shape(1)), width = static_cast<int>(stamps.shape(2));
    py::array_t<double> out({n, height, width});
    const long long stride = stamps.shape(0) == 1 ? 0 : static_cast<long long>(width) * height;
    double const *from = stamps.data(), *x = dx.data(), *y = dy.data();
    double* to = out.mutable_data();
    {
        py::gil_scoped_release release;
        shiftStamps(from, stride, n, width, height, x, y, to);
    }
    return out;
}

}  // namespace

void bindWarp(py::module_& m) {
    bindControl(m);
    bindMappings(m);
    m.def("shiftStamps", &shiftedStamps, py::arg("stamps"), py::arg("dx"), py::arg("dy"));
    m.def("warpMaskedArrays",
          [](py::array const& image, py::array const& mask, py::array const& variance, XY xy0,
             py::array const& srcImage, py::array const& srcMask, py::array const& srcVariance, XY srcXY0,
             InverseMapping const& mapping, Control const& control, double padImage, MaskPixel padMask,
             double padVariance) {
              auto* call = py::isinstance<py::array_t<double>>(image) ? &warpMasked<double> : &warpMasked<float>;
              return call(image, mask, variance, xy0, srcImage, srcMask, srcVariance, srcXY0, mapping, control,
                          padImage, padMask, padVariance);
          });
    m.def("warpArray",
          [](py::array const& image, XY xy0, py::array const& srcImage, XY srcXY0, InverseMapping const& mapping,
             Control const& control, double pad) {
              auto* call = py::isinstance<py::array_t<double>>(image) ? &warpPlain<double> : &warpPlain<float>;
              return call(image, xy0, srcImage, srcXY0, mapping, control, pad);
          });
}

}  // namespace stillsky
