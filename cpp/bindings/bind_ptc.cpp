#include <optional>

#include "bindings.hpp"
#include "numpy_view.hpp"
#include "stillsky/ptc/covariance.hpp"
#include "stillsky/ptc/flat_pair.hpp"
#include "stillsky/ptc/moments.hpp"

namespace stillsky {
namespace {

using Weights = std::optional<py::array>;

View2<const std::uint8_t> weightView(Weights const& weight) {
    return weight ? viewOf<const std::uint8_t>(*weight, "weight") : View2<const std::uint8_t>();
}

// Calls f(T()) with the pixel type of the array.
template <typename F>
auto withRealPixels(py::array const& image, F const& f) {
    if (py::isinstance<py::array_t<double>>(image)) return f(double());
    return f(float());  // viewOf refuses anything else
}

template <typename T>
py::array_t<T> arrayOfLags(std::vector<T> const& values, int rows) {
    const py::ssize_t columns = static_cast<py::ssize_t>(values.size()) / rows;
    py::array_t<T> out({static_cast<py::ssize_t>(rows), columns});
    std::copy(values.begin(), values.end(), out.mutable_data());
    return out;
}

template <typename T>
std::vector<T> lagsOf(py::array_t<T, py::array::c_style | py::array::forcecast> const& array) {
    return std::vector<T>(array.data(), array.data() + array.size());
}

py::tuple pyCovarianceSums(py::array const& image, py::array const& weight, int maxLag, std::optional<double> offset,
                           bool ignoreNonFinite) {
    CovarianceEstimator estimator(maxLag);
    estimator.ignoreNonFinite = ignoreNonFinite;
    const CovarianceSums s = withRealPixels(image, [&](auto zero) {
        const auto pixels = viewOf<const decltype(zero)>(image, "image");
        const auto weights = viewOf<const std::uint8_t>(weight, "weight");
        py::gil_scoped_release release;
        return estimator.sums(pixels, weights, offset);
    });
    const int rows = maxLag + 1;
    return py::make_tuple(arrayOfLags(s.count, rows), arrayOfLags(s.sumFirst, rows), arrayOfLags(s.sumSecond, rows),
                          arrayOfLags(s.sumProduct, rows), s.offset);
}

py::tuple pyAverageQuadrants(py::array_t<std::int64_t, py::array::c_style | py::array::forcecast> const& count,
                             py::array_t<double, py::array::c_style | py::array::forcecast> const& sumFirst,
                             py::array_t<double, py::array::c_style | py::array::forcecast> const& sumSecond,
                             py::array_t<double, py::array::c_style | py::array::forcecast> const& sumProduct,
                             bool weighted, std::int64_t minPairsPerLag) {
    const int maxLag = static_cast<int>(count.shape(0)) - 1;
    CovarianceSums sums(maxLag);
    if (count.size() != static_cast<py::ssize_t>(sums.count.size()) || sumFirst.size() != count.size() ||
        sumSecond.size() != count.size() || sumProduct.size() != count.size()) {
        throw ShapeError("CovarianceSums: wanted four arrays of (maxLag + 1, 2 maxLag + 1)");
    }
    sums.count = lagsOf(count);
    sums.sumFirst = lagsOf(sumFirst);
    sums.sumSecond = lagsOf(sumSecond);
    sums.sumProduct = lagsOf(sumProduct);
    const LagCovariances c = averageQuadrants(sums, weighted ? Quadrants::WEIGHTED : Quadrants::EQUAL, minPairsPerLag);
    return py::make_tuple(arrayOfLags(c.cov, maxLag + 1), arrayOfLags(c.npix, maxLag + 1));
}

py::tuple pyClippedPixelMoments(py::array const& image, Weights const& weight, double nSigma, int nIter) {
    const ClippedPixelMoments m = withRealPixels(image, [&](auto zero) {
        const auto pixels = viewOf<const decltype(zero)>(image, "image");
        const auto weights = weightView(weight);
        py::gil_scoped_release release;
        return clippedPixelMoments(pixels, weights, nSigma, nIter);
    });
    return py::make_tuple(m.mean, m.variance, m.median, m.count, m.kept, m.plainMean, m.quartile1, m.quartile3);
}

void pyDifferenceOfFlats(py::array const& image1, py::array const& image2, double mean1, double mean2, py::array const& out) {
    withRealPixels(image1, [&](auto zero) {
        using T = decltype(zero);
        const auto a = viewOf<const T>(image1, "image1"), b = viewOf<const T>(image2, "image2");
        const auto to = viewOf<double>(out, "out");
        py::gil_scoped_release release;
        differenceOfFlats(a, b, mean1, mean2, to);
        return 0;
    });
}

long long pyClipWeights(py::array const& image, Weights const& weight, double lower, double upper, py::array const& out) {
    return withRealPixels(image, [&](auto zero) {
        const auto pixels = viewOf<const decltype(zero)>(image, "image");
        const auto weights = weightView(weight);
        const auto to = viewOf<std::uint8_t>(out, "out");
        py::gil_scoped_release release;
        return clipWeights(pixels, weights, lower, upper, to);
    });
}

long long pyUsablePixels(py::array const& image, std::optional<py::array> const& mask, std::int32_t bits,
                         py::array const& out) {
    return withRealPixels(image, [&](auto zero) {
        const auto pixels = viewOf<const decltype(zero)>(image, "image");
        const auto bitsOf = mask ? viewOf<const std::int32_t>(*mask, "mask") : View2<const std::int32_t>();
        const auto to = viewOf<std::uint8_t>(out, "out");
        py::gil_scoped_release release;
        return usablePixels(pixels, bitsOf, bits, to);
    });
}

double pyFlatPairRatio(py::array const& image1, py::array const& image2, py::array const& weight, double scale1,
                       double scale2) {
    return withRealPixels(image1, [&](auto zero) {
        using T = decltype(zero);
        const auto a = viewOf<const T>(image1, "image1"), b = viewOf<const T>(image2, "image2");
        const auto weights = viewOf<const std::uint8_t>(weight, "weight");
        py::gil_scoped_release release;
        return flatPairRatio(a, b, weights, scale1, scale2);
    });
}

py::array_t<double> pyRowMeans(py::array const& image, py::array const& weight) {
    std::vector<double> means;
    {
        const auto pixels = viewOf<const double>(image, "image");
        const auto weights = viewOf<const std::uint8_t>(weight, "weight");
        py::gil_scoped_release release;
        means = rowMeans(pixels, weights);
    }
    return py::array_t<double>(static_cast<py::ssize_t>(means.size()), means.data());
}

}  // namespace

void bindPtc(py::module_& m) {
    m.def("covarianceSums", &pyCovarianceSums, py::arg("image"), py::arg("weight"), py::arg("maxLag"), py::arg("offset"),
          py::arg("ignoreNonFinite"));
    m.def("averageQuadrants", &pyAverageQuadrants, py::arg("count"), py::arg("sumFirst"), py::arg("sumSecond"),
          py::arg("sumProduct"), py::arg("weighted"), py::arg("minPairsPerLag"));
    m.def("clippedPixelMoments", &pyClippedPixelMoments, py::arg("image"), py::arg("weight"), py::arg("nSigma"),
          py::arg("nIter"));
    m.def("differenceOfFlats", &pyDifferenceOfFlats, py::arg("image1"), py::arg("image2"), py::arg("mean1"),
          py::arg("mean2"), py::arg("out"));
    m.def("clipWeights", &pyClipWeights, py::arg("image"), py::arg("weight"), py::arg("lower"), py::arg("upper"),
          py::arg("out"));
    m.def("usablePixels", &pyUsablePixels, py::arg("image"), py::arg("mask"), py::arg("bits"), py::arg("out"));
    m.def("flatPairRatio", &pyFlatPairRatio, py::arg("image1"), py::arg("image2"), py::arg("weight"), py::arg("scale1"),
          py::arg("scale2"));
    m.def("rowMeans", &pyRowMeans, py::arg("image"), py::arg("weight"));
}

}  // namespace stillsky
