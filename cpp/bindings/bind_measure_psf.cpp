// Measuring: what the empirical PSF is made from.
#include "bindings.hpp"
#include "numpy_view.hpp"
#include "stillsky/measure/psf_pixels.hpp"
#include "stillsky/measure/stamp_mix.hpp"
#include "stillsky/measure/stamp_moments.hpp"
#include "stillsky/measure/star_stamps.hpp"

namespace stillsky {
namespace {

using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;
using Bytes = py::array_t<bool, py::array::c_style | py::array::forcecast>;

// (n, side, side) from pixels one after the other.
py::array_t<double> cubeOf(std::vector<double> const& values, int side) {
    const py::ssize_t area = static_cast<py::ssize_t>(side) * side;
    return py::array_t<double>({static_cast<py::ssize_t>(values.size()) / area, py::ssize_t(side), py::ssize_t(side)},
                               values.data());
}

template <typename T>
py::tuple stampsOf(py::array const& image, py::array const& mask, py::array const& variance, MaskPixel badBits,
                   StarPositions const& stars, int half) {
    const auto view = maskedViewOf<const T>(image, mask, variance);
    StarStamps stamps;
    {
        py::gil_scoped_release release;
        stamps = centredStamps<T>(view, badBits, stars, half);
    }
    return py::make_tuple(cubeOf(stamps.pixels, stamps.side), cubeOf(stamps.weights, stamps.side),
                          py::array_t<int>(static_cast<py::ssize_t>(stamps.star.size()), stamps.star.data()));
}

py::tuple fitOf(Doubles const& stamps, Doubles const& weights, Doubles const& terms, Bytes const& core, int rounds) {
    if (stamps.ndim() != 3 || weights.ndim() != 3 || terms.ndim() != 2 || weights.size() != stamps.size() ||
        terms.shape(0) != stamps.shape(0) || core.size() != stamps.shape(1) * stamps.shape(2)) {
        throw ShapeError("fitPsfPixels: wanted stamps and weights (n, h, w), terms (n, nTerms) and a core (h, w)");
    }
    PsfPixelInput in;
    in.nStars = static_cast<int>(stamps.shape(0));
    in.nPixels = static_cast<int>(core.size());
    in.nTerms = static_cast<int>(terms.shape(1));
    in.stamps = stamps.data();
    in.weights = weights.data();
    in.terms = terms.data();
    in.core = reinterpret_cast<unsigned char const*>(core.data());
    PsfPixelFit fit;
    {
        py::gil_scoped_release release;
        fit = fitPsfPixels(in, rounds);
    }
    py::array_t<double> coefficients({terms.shape(1), stamps.shape(1), stamps.shape(2)}, fit.coefficients.data());
    py::array_t<bool> keep(stamps.shape(0));
    std::copy(fit.keep.begin(), fit.keep.end(), keep.mutable_data());
    return py::make_tuple(coefficients, keep);
}

// (n, height, width): sums of stamps (m, height, width) with weights (n, terms).
py::array_t<double> mixOf(Doubles const& stamps, py::array_t<int, py::array::c_style | py::array::forcecast> const& index,
                          Doubles const& weights, bool normalise) {
    if (stamps.ndim() != 3 || index.ndim() != 2 || weights.ndim() != 2 || index.shape(0) != weights.shape(0) ||
        index.shape(1) != weights.shape(1)) {
        throw ShapeError("mixStamps: wanted stamps (m, height, width), index (n, terms) and weights (n, terms)");
    }
    const int m = static_cast<int>(stamps.shape(0)), n = static_cast<int>(index.shape(0));
    const int terms = static_cast<int>(index.shape(1)), area = static_cast<int>(stamps.shape(1) * stamps.shape(2));
    if (std::any_of(index.data(), index.data() + index.size(), [m](int k) { return k < 0 || k >= m; })) {
        throw OutOfBoundsError("mixStamps: an index is not one of the stamps");
    }
    py::array_t<double> out({py::ssize_t(n), stamps.shape(1), stamps.shape(2)});
    double const *from = stamps.data(), *factors = weights.data();
    int const* which = index.data();
    double* to = out.mutable_data();
    {
        py::gil_scoped_release release;
        mixStamps(from, area, which, factors, n, terms, normalise, to);
    }
    return out;
}

// ((n, 5) array xx, yy, xy, x, y; (n,) status) of stamps (n, height, width).
py::tuple momentsOf(Doubles const& stamps, std::pair<double, double> xy0, std::pair<double, double> center, int maxIter,
                    double tolerance) {
    if (stamps.ndim() != 3) throw ShapeError("stampMoments: wanted stamps (n, height, width)");
    const int n = static_cast<int>(stamps.shape(0));
    const int height = static_cast<int>(stamps.shape(1)), width = static_cast<int>(stamps.shape(2));
    StampMomentsControl control;
    control.maxIter = maxIter;
    control.tolerance = tolerance;
    std::vector<StampMoments> found(static_cast<std::size_t>(n));
    double const* pixels = stamps.data();
    {
        py::gil_scoped_release release;
        stampMoments(pixels, n, width, height, xy0.first, xy0.second, center.first, center.second, control, found.data());
    }
    py::array_t<double> values({n, 5});
    py::array_t<int> status(n);
    for (int i = 0; i < n; ++i) {
        StampMoments const& f = found[static_cast<std::size_t>(i)];
        const double row[] = {f.xx, f.yy, f.xy, f.x, f.y};
        std::copy_n(row, 5, values.mutable_data(i, 0));
        status.mutable_at(i) = static_cast<int>(f.status);
    }
    return py::make_tuple(values, status);
}

}  // namespace

void bindMeasurePsf(py::module_& m) {
    m.def("centredStamps", [](py::array const& image, py::array const& mask, py::array const& variance,
                              MaskPixel badBits, std::vector<double> x, std::vector<double> y,
                              std::vector<int> firstNeighbour, std::vector<double> neighbourX,
                              std::vector<double> neighbourY, int half) {
        const StarPositions stars{std::move(x), std::move(y), std::move(firstNeighbour), std::move(neighbourX),
                                  std::move(neighbourY)};
        return py::isinstance<py::array_t<double>>(image) ? stampsOf<double>(image, mask, variance, badBits, stars, half)
                                                          : stampsOf<float>(image, mask, variance, badBits, stars, half);
    }, py::arg("image"), py::arg("mask"), py::arg("variance"), py::arg("badBits"), py::arg("x"), py::arg("y"),
       py::arg("firstNeighbour"), py::arg("neighbourX"), py::arg("neighbourY"), py::arg("half"));
    m.def("fitPsfPixels", &fitOf, py::arg("stamps"), py::arg("weights"), py::arg("terms"), py::arg("core"),
          py::arg("rounds"));
    m.def("mixStamps", &mixOf, py::arg("stamps"), py::arg("index"), py::arg("weights"), py::arg("normalise"));
    m.def("stampMoments", &momentsOf, py::arg("stamps"), py::arg("xy0"), py::arg("center"), py::arg("maxIter"),
          py::arg("tolerance"));
}

}  // namespace stillsky
