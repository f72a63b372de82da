// Measuring: findPeaks, adaptiveMoments. Planes that may be None are empty views.
#include "bindings.hpp"
#include "numpy_view.hpp"
#include "stillsky/measure/adaptive_moments.hpp"
#include "stillsky/measure/find_peaks.hpp"
#include "stillsky/measure/gaussian_smooth.hpp"

namespace stillsky {
namespace {

template <typename T>
View2<const T> optionalView(py::object const& array, const char* name) {
    if (array.is_none()) return View2<const T>();
    return viewOf<const T>(py::reinterpret_borrow<py::array>(array), name);
}

using Positions = py::array_t<double, py::array::c_style | py::array::forcecast>;

std::vector<double> listOf(Positions const& values) {
    return std::vector<double>(values.data(), values.data() + values.size());
}

template <typename Row>
py::array_t<Row> tableOf(std::vector<Row> const& rows) {
    py::array_t<Row> out(static_cast<py::ssize_t>(rows.size()));
    std::copy(rows.begin(), rows.end(), out.mutable_data());
    return out;
}

template <typename T>
py::array findPeaksOf(py::array const& image, py::object const& variance, py::object const& mask,
                      PeakFinderControl const& control) {
    const View2<const T> imageView = viewOf<const T>(image, "image");
    const View2<const VariancePixel> varianceView = optionalView<VariancePixel>(variance, "variance");
    const View2<const MaskPixel> maskView = optionalView<MaskPixel>(mask, "mask");
    std::vector<FoundPeak> peaks;
    {
        py::gil_scoped_release release;
        peaks = findPeaks<T>(imageView, varianceView, maskView, control);
    }
    return tableOf(peaks);
}

template <typename T>
py::array adaptiveMomentsOf(py::array const& image, py::object const& variance, py::object const& mask,
                            std::vector<double> const& x, std::vector<double> const& y,
                            AdaptiveMomentsControl const& control) {
    const View2<const T> imageView = viewOf<const T>(image, "image");
    const View2<const VariancePixel> varianceView = optionalView<VariancePixel>(variance, "variance");
    const View2<const MaskPixel> maskView = optionalView<MaskPixel>(mask, "mask");
    std::vector<AdaptiveMoments> moments;
    {
        py::gil_scoped_release release;
        moments = adaptiveMoments<T>(imageView, varianceView, maskView, x, y, control);
    }
    return tableOf(moments);
}

template <typename T>
py::tuple smoothOf(py::array const& image, py::object const& variance, py::object const& mask, MaskPixel badBits,
                   double sigma, int width) {
    const View2<const T> imageView = viewOf<const T>(image, "image");
    const View2<const VariancePixel> varianceView = optionalView<VariancePixel>(variance, "variance");
    const View2<const MaskPixel> maskView = optionalView<MaskPixel>(mask, "mask");
    py::array_t<float> outImage({imageView.height, imageView.width}), outVariance({imageView.height, imageView.width});
    const View2<float> outImageView = viewOf<float>(outImage, "outImage");
    const View2<float> outVarianceView = viewOf<float>(outVariance, "outVariance");
    {
        py::gil_scoped_release release;
        smoothGaussian<T>(imageView, varianceView, maskView, badBits, sigma, width, outImageView, outVarianceView);
    }
    return py::make_tuple(outImage, outVariance);
}

bool isDouble(py::array const& image) { return py::isinstance<py::array_t<double>>(image); }

void bindFindPeaks(py::module_& m) {
    PYBIND11_NUMPY_DTYPE(FoundPeak, ix, iy, x, y, significance, value);
    m.def(
            "findPeaks",
            [](py::array const& image, py::object const& variance, py::object const& mask, MaskPixel badBits,
               double sigmaPsf, double threshold, double nSigmaForKernel, bool positive, bool negative, int border,
               bool allowBadCenter, int maxPeaks) {
                PeakFinderControl control;
                control.sigmaPsf = sigmaPsf;
                control.threshold = threshold;
                control.nSigmaForKernel = nSigmaForKernel;
                control.badBits = badBits;
                control.positive = positive;
                control.negative = negative;
                control.border = border;
                control.allowBadCenter = allowBadCenter;
                control.maxPeaks = maxPeaks;
                return isDouble(image) ? findPeaksOf<double>(image, variance, mask, control)
                                       : findPeaksOf<float>(image, variance, mask, control);
            },
            py::arg("image"), py::arg("variance"), py::arg("mask"), py::kw_only(), py::arg("badBits"),
            py::arg("sigmaPsf"), py::arg("threshold"), py::arg("nSigmaForKernel"), py::arg("positive"),
            py::arg("negative"), py::arg("border"), py::arg("allowBadCenter"), py::arg("maxPeaks"));
    m.def("smoothGaussian", [](py::array const& image, py::object const& variance, py::object const& mask,
                               MaskPixel badBits, double sigma, int width) {
        return isDouble(image) ? smoothOf<double>(image, variance, mask, badBits, sigma, width)
                               : smoothOf<float>(image, variance, mask, badBits, sigma, width);
    });
    m.def("gaussianKernelWidth", &gaussianKernelWidth, py::arg("sigma"), py::arg("nSigmaForKernel"));
}

void bindAdaptiveMoments(py::module_& m) {
    PYBIND11_NUMPY_DTYPE(AdaptiveMoments, x, y, xx, yy, xy, flux, fluxErr, xErr, yErr, xxErr, yyErr, xyErr, flagBits,
                         nIter);
    m.def(
            "adaptiveMoments",
            [](py::array const& image, py::object const& variance, py::object const& mask,
               Positions const& x, Positions const& y, MaskPixel badBits, double guessSigma, int maxIter,
               double tolerance, double maxShift, double maxSigma, bool negative, bool fixedCenter) {
                AdaptiveMomentsControl control;
                control.badBits = badBits;
                control.guessSigma = guessSigma;
                control.maxIter = maxIter;
                control.tolerance = tolerance;
                control.maxShift = maxShift;
                control.maxSigma = maxSigma;
                control.negative = negative;
                control.fixedCenter = fixedCenter;
                return isDouble(image) ? adaptiveMomentsOf<double>(image, variance, mask, listOf(x), listOf(y), control)
                                       : adaptiveMomentsOf<float>(image, variance, mask, listOf(x), listOf(y), control);
            },
            py::arg("image"), py::arg("variance"), py::arg("mask"), py::arg("x"), py::arg("y"), py::kw_only(),
            py::arg("badBits"), py::arg("guessSigma"), py::arg("maxIter"), py::arg("tolerance"), py::arg("maxShift"),
            py::arg("maxSigma"), py::arg("negative"), py::arg("fixedCenter"));
}

}  // namespace

void bindMeasureSources(py::module_& m);  // bind_measure_sources.cpp
void bindMeasurePsf(py::module_& m);      // bind_measure_psf.cpp
void bindMeasureApertures(py::module_& m);  // bind_measure_apertures.cpp
void bindMeasureDipoles(py::module_& m);    // bind_measure_dipoles.cpp
void bindMeasureBlends(py::module_& m);     // bind_measure_blends.cpp

void bindMeasure(py::module_& m) {
    bindFindPeaks(m);
    bindAdaptiveMoments(m);
    bindMeasureSources(m);
    bindMeasurePsf(m);
    bindMeasureApertures(m);
    bindMeasureDipoles(m);
    bindMeasureBlends(m);
}

}  // namespace stillsky
