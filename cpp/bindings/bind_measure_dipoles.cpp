// Measuring: dipoles.
#include "bindings.hpp"
#include "measure_views.hpp"
#include "stillsky/measure/dipole_fit.hpp"

namespace stillsky {
using namespace measure_views;
namespace {

// (image, variance, mask, badBits) of one exposure, or None.
template <typename T>
std::vector<MeasureInput<T>> inputOf(py::object const& planes) {
    std::vector<MeasureInput<T>> out;
    if (planes.is_none()) return out;
    const auto parts = planes.cast<py::tuple>();
    out.emplace_back(viewOf<const T>(py::reinterpret_borrow<py::array>(parts[0]), "image"),
                     optionalView<VariancePixel>(parts[1], "variance"), optionalView<MaskPixel>(parts[2], "mask"),
                     parts[3].cast<MaskPixel>());
    return out;
}

template <typename T>
std::vector<DipoleFitResult> dipoleFitOf(py::object const& difference, py::object const& science,
                                         py::object const& reference, DipolePsfs const& psfs,
                                         std::vector<DipoleStart> const& starts, std::vector<SpanSet> const& footprints,
                                         DipoleFitControl const& control) {
    const auto d = inputOf<T>(difference), s = inputOf<T>(science), r = inputOf<T>(reference);
    DipoleImages<T> images;
    images.difference = d.empty() ? nullptr : d.data();
    images.science = s.empty() ? nullptr : s.data();
    images.reference = r.empty() ? nullptr : r.data();
    py::gil_scoped_release release;
    return dipoleFit(images, psfs, starts, footprints, control);
}

std::vector<DipoleStart> startsOf(Array<double> const& rows) {
    if (rows.ndim() != 2 || rows.shape(1) != 6) throw ShapeError("starts: wanted an array of shape (n, 6)");
    std::vector<DipoleStart> out;
    for (py::ssize_t i = 0; i < rows.shape(0); ++i) {
        double const* v = rows.data(i, 0);
        out.push_back({v[0], v[1], v[2], v[3], v[4], v[5]});
    }
    return out;
}

}  // namespace

void bindMeasureDipoles(py::module_& m) {
    PYBIND11_NUMPY_DTYPE(DipoleFitResult, posX, posY, negX, negY, posFlux, negFlux, posXErr, posYErr, negXErr, negYErr,
                         posFluxErr, negFluxErr, xCov, yCov, fluxCov, chi2, chi2Difference, chi2Single, posNoise,
                         negNoise, nData, nParameters, nEvaluations, flagBits);
    m.def("dipoleFit", [](py::object const& difference, py::object const& science, py::object const& reference,
                          Array<double> const& psfDifference, Array<double> const& psfScience,
                          Array<double> const& psfReference, Array<double> const& starts, py::object const& footprints,
                          double relWeight, double tolerance, int maxEvaluations, int fitBackground, int backgroundOrder,
                          bool separateFluxes, bool asReference, double referenceNoise) {
        DipoleFitControl control;
        control.relWeight = relWeight;
        control.tolerance = tolerance;
        control.maxEvaluations = maxEvaluations;
        control.fitBackground = fitBackground;
        control.backgroundOrder = backgroundOrder;
        control.separateFluxes = separateFluxes;
        control.reference = asReference;
        control.referenceNoise = referenceNoise;
        const DipolePsfs psfs{stackOf(psfDifference), stackOf(psfScience), stackOf(psfReference)};
        const auto first = startsOf(starts);
        const auto regions = footprintsOf(footprints);
        const auto image = difference.cast<py::tuple>()[0];
        return tableOf(py::isinstance<py::array_t<double>>(image)
                               ? dipoleFitOf<double>(difference, science, reference, psfs, first, regions, control)
                               : dipoleFitOf<float>(difference, science, reference, psfs, first, regions, control));
    });
}

}  // namespace stillsky
