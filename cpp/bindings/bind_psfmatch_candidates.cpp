#include <pybind11/native_enum.h>

#include <memory>

#include "psfmatch_common.hpp"
#include "psfmatch_settings.hpp"
#include "stillsky/psfmatch/kernel_candidate.hpp"
#include "stillsky/psfmatch/kernel_pca.hpp"
#include "stillsky/psfmatch/visitors.hpp"

namespace stillsky {
namespace {

using InputArray = py::array_t<double, py::array::c_style | py::array::forcecast>;
using Released = py::call_guard<py::gil_scoped_release>;
using Switch = KernelCandidate::CandidateSwitch;

// From the enumeration or its number; an unknown number is refused by the candidate.
Switch switchOf(int which) { return static_cast<Switch>(which); }

DenseMatrix optionalMatrix(py::object const& h) {
    return h.is_none() ? DenseMatrix() : matrixOf(h.cast<InputArray>(), "hMat");
}

// A stillsky.image.MaskedImage holding copies of the planes, image converted to the pixel type T.
template <typename T, typename U>
py::object maskedImageTo(MaskedImage<U> const& from) {
    py::array_t<T> image({from.height(), from.width()});
    std::copy_n(from.image().view().data, image.size(), image.mutable_data());
    py::module_ module = py::module_::import("stillsky.image");
    py::object xy0 = py::make_tuple(from.xy0().x, from.xy0().y);
    return module.attr("MaskedImage")(
            module.attr("Image")(image, xy0),
            module.attr("Mask")(arrayOf<const MaskPixel>(from.mask().view()), xy0),
            module.attr("Image")(arrayOf<const VariancePixel>(from.variance().view()), xy0));
}

py::object difference(KernelCandidate const& candidate, MaskedImage<double> const& image) {
    return candidate.isDouble() ? maskedImageTo<double>(image) : maskedImageTo<float>(image);
}

py::object stampTo(std::variant<MaskedImage<float>, MaskedImage<double>> const& stamp) {
    if (auto const* image = std::get_if<MaskedImage<float>>(&stamp)) return maskedImageTo<float>(*image);
    return maskedImageTo<double>(std::get<MaskedImage<double>>(stamp));
}

// Both stamps must have the same pixel type; `rating` None: from the science stamp's core.
std::shared_ptr<KernelCandidate> makeCandidate(double x, double y, py::object const& templateStamp,
                                               py::object const& scienceStamp, py::object const& settings,
                                               py::object const& rating) {
    py::object schema = py::none();
    if (py::hasattr(scienceStamp, "mask") && py::hasattr(scienceStamp.attr("mask"), "schema")) {
        schema = scienceStamp.attr("mask").attr("schema");
    }
    const PsfMatchSettings s = settingsOf(settings, schema);
    std::shared_ptr<KernelCandidate> out;
    withMaskedView(templateStamp, "template", [&](auto const& t) {
        withMaskedView(scienceStamp, "science", [&](auto const& science) {
            if constexpr (std::is_same_v<decltype(t), decltype(science)>) {
                out = rating.is_none() ? std::make_shared<KernelCandidate>(x, y, t, science, s)
                                       : std::make_shared<KernelCandidate>(x, y, rating.cast<double>(), t, science, s);
            } else {
                throw py::type_error("KernelCandidate: template and science stamps must have the same pixel type");
            }
        });
    });
    return out;
}

// One candidate per position whose stamp, 2 half + 1 pixels wide around the pixel (ix, iy), lies inside the cells'
// region; returns how many do not. The region must lie inside both images.
int insertCandidates(SpatialCellSet& cellSet, py::object const& convolved, py::object const& reference,
                     std::vector<double> const& x, std::vector<double> const& y, std::vector<int> const& ix,
                     std::vector<int> const& iy, std::vector<double> const& ratings, int half,
                     PsfMatchSettings const& settings) {
    const std::size_t n = x.size();
    if (y.size() != n || ix.size() != n || iy.size() != n || ratings.size() != n) {
        throw ShapeError("insertCandidates: positions, pixels and ratings differ in number");
    }
    int nOutside = 0;
    withMaskedView(convolved, "convolved", [&](auto const& t) {
        withMaskedView(reference, "reference", [&](auto const& s) {
            if constexpr (std::is_same_v<decltype(t), decltype(s)>) {
                for (std::size_t k = 0; k < n; ++k) {
                    const Box2I box({ix[k] - half, iy[k] - half}, {2 * half + 1, 2 * half + 1});
                    if (!cellSet.bbox().contains(box)) {
                        ++nOutside;
                        continue;
                    }
                    cellSet.insertCandidate(std::make_shared<KernelCandidate>(x[k], y[k], ratings[k], t.sub(box),
                                                                              s.sub(box), settings));
                }
            } else {
                throw py::type_error("insertCandidates: both images must have the same pixel type");
            }
        });
    });
    return nOutside;
}

// Keeps a Python object alive from C++; released under the GIL.
std::shared_ptr<void> keepPython(py::object const& object) {
    if (object.is_none()) return nullptr;
    return std::shared_ptr<void>(static_cast<void*>(py::object(object).release().ptr()), [](void* p) {
        if (!Py_IsInitialized()) return;
        py::gil_scoped_acquire gil;
        Py_DECREF(static_cast<PyObject*>(p));
    });
}

void bindCandidate(py::module_& m) {
    m.def("insertCandidates", [](SpatialCellSet& cellSet, py::object const& convolved, py::object const& reference,
                                 std::vector<double> const& x, std::vector<double> const& y,
                                 std::vector<int> const& ix, std::vector<int> const& iy,
                                 std::vector<double> const& ratings, int half, py::object const& settings) {
        return insertCandidates(cellSet, convolved, reference, x, y, ix, iy, ratings, half, settingsOf(settings));
    }, py::arg("cellSet"), py::arg("convolved"), py::arg("reference"), py::arg("x"), py::arg("y"), py::arg("ix"),
       py::arg("iy"), py::arg("ratings"), py::arg("half"), py::arg("settings"));
    py::class_<KernelCandidate, SpatialCellImageCandidate, py::smart_holder> candidate(
            m, "KernelCandidate",
            "A star on both images: stamps of equal size from which a matching kernel is fitted.\n\n"
            "Parameters\n----------\nx, y : float\n    Centre, parent coordinates.\n"
            "template, science : MaskedImage\n    Stamps; copied.\nsettings : PsfMatchSettings, mapping or configuration\n"
            "rating : float, optional\n    Default: mean signal-to-noise per pixel of the science stamp's core.");
    candidate
            .def(py::init(&makeCandidate), py::arg("x"), py::arg("y"), py::arg("template"), py::arg("science"),
                 py::arg("settings"), py::arg("rating") = py::none())
            .def_property("rating", &KernelCandidate::getCandidateRating, &KernelCandidate::setRating)
            .def_property(
                    "source",
                    [](KernelCandidate const& self) -> py::object {
                        if (!self.source()) return py::none();
                        return py::reinterpret_borrow<py::object>(static_cast<PyObject*>(self.source().get()));
                    },
                    [](KernelCandidate& self, py::object const& source) { self.setSource(keepPython(source)); })
            .def("getSource",
                 [](KernelCandidate const& self) -> py::object {
                     if (!self.source()) return py::none();
                     return py::reinterpret_borrow<py::object>(static_cast<PyObject*>(self.source().get()));
                 })
            .def_property_readonly("settings", &KernelCandidate::settings)
            .def("build",
                 [](KernelCandidate& self, KernelList const& bases, py::object const& h) {
                     const DenseMatrix hMat = optionalMatrix(h);
                     py::gil_scoped_release release;
                     self.build(bases, hMat);
                 },
                 py::arg("basisList"), py::arg("hMat") = py::none())
            .def("isInitialized", &KernelCandidate::isInitialized)
            .def("clearPca", &KernelCandidate::clearPca)
            .def("getKernelSolution", [](KernelCandidate const& self, int which) { return self.getKernelSolution(switchOf(which)); },
                 py::arg("candidateSwitch"))
            .def("getKernel", [](KernelCandidate const& self, int which) { return self.getKernel(switchOf(which)); },
                 py::arg("candidateSwitch"))
            .def("getBackground", [](KernelCandidate const& self, int which) { return self.getBackground(switchOf(which)); },
                 py::arg("candidateSwitch"))
            .def("getKsum", [](KernelCandidate const& self, int which) { return self.getKsum(switchOf(which)); },
                 py::arg("candidateSwitch"))
            .def("getKernelImage",
                 [](KernelCandidate const& self, int which) { return arrayOf<const double>(self.getKernelImage(switchOf(which)).view()); },
                 py::arg("candidateSwitch"))
            .def("getImage", [](KernelCandidate const& self) { return arrayOf<const double>(self.getImage().view()); })
            .def("getDifferenceImage",
                 [](KernelCandidate const& self, int which) { return difference(self, self.getDifferenceImage(switchOf(which))); },
                 py::arg("candidateSwitch"))
            .def("getDifferenceImage",
                 [](KernelCandidate const& self, std::shared_ptr<Kernel> const& kernel, double background) {
                     return difference(self, self.getDifferenceImage(*kernel, background));
                 },
                 py::arg("kernel"), py::arg("background"))
            .def("getTemplateMaskedImage", [](KernelCandidate const& self) { return stampTo(self.templateStamp()); })
            .def("getScienceMaskedImage", [](KernelCandidate const& self) { return stampTo(self.scienceStamp()); })
            .def_property_readonly("rejection", [](KernelCandidate const& self) { return rejectionName(self.rejection()); },
                                   "Why the candidate is BAD; 'none' while it is not.")
            .def_property_readonly("rejectionText", &KernelCandidate::rejectionText);
    py::native_enum<Switch>(candidate, "CandidateSwitch", "enum.IntEnum")
            .value("ORIG", KernelCandidate::ORIG)
            .value("PCA", KernelCandidate::PCA)
            .value("RECENT", KernelCandidate::RECENT)
            .export_values()
            .finalize();
}

void bindSingleAndSum(py::module_& m) {
    py::class_<BuildSingleKernelVisitor, CandidateVisitor, py::smart_holder>(
            m, "BuildSingleKernelVisitor", "Fits a kernel to every candidate and judges it by its own residual.")
            .def(py::init([](KernelList const& bases, py::object const& settings, py::object const& h) {
                     return std::make_shared<BuildSingleKernelVisitor>(bases, settingsOf(settings), optionalMatrix(h));
                 }),
                 py::arg("basisList"), py::arg("settings"), py::arg("hMat") = py::none())
            .def("prepare", &BuildSingleKernelVisitor::prepare, py::arg("candidates"), Released(),
                 "Fit a list of candidates in parallel; the next visit takes the decisions.")
            .def_property_readonly("nRejected", &BuildSingleKernelVisitor::nRejected)
            .def_property_readonly("nProcessed", &BuildSingleKernelVisitor::nProcessed)
            .def("getNRejected", &BuildSingleKernelVisitor::nRejected)
            .def("getNProcessed", &BuildSingleKernelVisitor::nProcessed)
            .def_property_readonly("useRegularization", &BuildSingleKernelVisitor::useRegularization)
            .def_property("skipBuilt", &BuildSingleKernelVisitor::skipBuilt, &BuildSingleKernelVisitor::setSkipBuilt)
            .def("setSkipBuilt", &BuildSingleKernelVisitor::setSkipBuilt, py::arg("skipBuilt"))
            .def_property_readonly("useCoreStats", &BuildSingleKernelVisitor::useCoreStats)
            .def_property_readonly("coreRadius", &BuildSingleKernelVisitor::coreRadius)
            .def_property_readonly("settings", &BuildSingleKernelVisitor::settings)
            .def_property_readonly("propertySet", &BuildSingleKernelVisitor::settings);

    auto setMode = [](KernelSumVisitor& self, int mode) {
        if (mode != 0 && mode != 1) throw DomainError("KernelSumVisitor.mode: wanted AGGREGATE or REJECT");
        self.setMode(static_cast<KernelSumVisitor::Mode>(mode));
    };
    py::class_<KernelSumVisitor, CandidateVisitor, py::smart_holder> sum(
            m, "KernelSumVisitor", "Clipped mean and spread of the kernel sums; rejects outliers.");
    sum.def(py::init([](py::object const& settings) { return std::make_shared<KernelSumVisitor>(settingsOf(settings)); }),
            py::arg("settings"))
            .def("resetKernelSum", &KernelSumVisitor::resetKernelSum)
            .def_property("mode", &KernelSumVisitor::mode, setMode)
            .def("setMode", setMode, py::arg("mode"))
            .def("processKsumDistribution", &KernelSumVisitor::processKsumDistribution)
            .def_property_readonly("nRejected", &KernelSumVisitor::nRejected)
            .def_property_readonly("kSumMean", &KernelSumVisitor::kSumMean)
            .def_property_readonly("kSumStd", &KernelSumVisitor::kSumStd)
            .def_property_readonly("kSumNpts", &KernelSumVisitor::kSumNpts)
            .def_property_readonly("dkSumMax", &KernelSumVisitor::dkSumMax)
            .def("getNRejected", &KernelSumVisitor::nRejected)
            .def("getkSumMean", &KernelSumVisitor::kSumMean)
            .def("getkSumStd", &KernelSumVisitor::kSumStd)
            .def("getkSumNpts", &KernelSumVisitor::kSumNpts)
            .def("getdkSumMax", &KernelSumVisitor::dkSumMax);
    py::native_enum<KernelSumVisitor::Mode>(sum, "Mode", "enum.IntEnum")
            .value("AGGREGATE", KernelSumVisitor::AGGREGATE)
            .value("REJECT", KernelSumVisitor::REJECT)
            .export_values()
            .finalize();
}

void bindPca(py::module_& m) {
    py::class_<KernelPca, py::smart_holder>(m, "KernelPca", "Principal components of images of equal size.")
            .def(py::init<>())
            .def(
                    "addImage",
                    [](KernelPca& self, py::object const& image, double flux) {
                        const InputArray pixels = planeOf(image);
                        if (pixels.ndim() != 2) throw ShapeError("KernelPca.addImage: wanted a 2-D array");
                        Image<double> copy(static_cast<int>(pixels.shape(1)), static_cast<int>(pixels.shape(0)));
                        std::copy_n(pixels.data(), pixels.size(), copy.view().data);
                        self.addImage(std::move(copy), flux);
                    },
                    py::arg("image"), py::arg("flux") = 1.0)
            .def_property_readonly("nImages", &KernelPca::nImages)
            .def("analyze", &KernelPca::analyze, Released())
            .def("mean", [](KernelPca const& self) { return arrayOf<const double>(self.mean().view()); })
            .def_property_readonly("eigenValues", &KernelPca::eigenValues)
            .def("getEigenValues", &KernelPca::eigenValues)
            .def_property_readonly("images",
                                   [](KernelPca const& self) {
                                       py::list out;
                                       for (auto const& i : self.images()) out.append(arrayOf<const double>(i.view()));
                                       return out;
                                   })
            .def_property_readonly("eigenImages", [](KernelPca const& self) {
                py::list out;
                for (auto const& i : self.eigenImages()) out.append(arrayOf<const double>(i.view()));
                return out;
            });
    py::class_<KernelPcaVisitor, CandidateVisitor, py::smart_holder>(
            m, "KernelPcaVisitor", "Collects the candidates' kernels, each divided by its sum.")
            .def(py::init<std::shared_ptr<KernelPca>>(), py::arg("imagePca"))
            .def("subtractMean", &KernelPcaVisitor::subtractMean)
            .def("returnMean", [](KernelPcaVisitor const& self) { return arrayOf<const double>(self.returnMean().view()); })
            .def("getEigenKernels", &KernelPcaVisitor::getEigenKernels);
}

void bindSpatialVisitors(py::module_& m) {
    py::class_<BuildSpatialKernelVisitor, CandidateVisitor, py::smart_holder>(
            m, "BuildSpatialKernelVisitor", "Collects the candidates' equations and solves for the spatial kernel.")
            .def(py::init([](KernelList const& bases, py::object const& region, py::object const& settings, bool perPixel) {
                     return std::make_shared<BuildSpatialKernelVisitor>(bases, boxOf(region), settingsOf(settings), perPixel);
                 }),
                 py::arg("basisList"), py::arg("regionBBox"), py::arg("settings"), py::arg("perPixel") = false)
            .def_property_readonly("nCandidates", &BuildSpatialKernelVisitor::getNCandidates)
            .def("getNCandidates", &BuildSpatialKernelVisitor::getNCandidates)
            .def("solveLinearEquation", &BuildSpatialKernelVisitor::solveLinearEquation, Released())
            .def("getKernelSolution", &BuildSpatialKernelVisitor::getKernelSolution)
            .def("getSolutionPair", &BuildSpatialKernelVisitor::getSolutionPair);

    py::class_<AssessSpatialKernelVisitor, CandidateVisitor, py::smart_holder>(
            m, "AssessSpatialKernelVisitor", "Judges candidates by the residual that the spatial model leaves.")
            .def(py::init([](std::shared_ptr<Kernel> const& kernel, std::shared_ptr<Function2> const& background,
                             py::object const& settings) {
                     return std::make_shared<AssessSpatialKernelVisitor>(kernel, background, settingsOf(settings));
                 }),
                 py::arg("spatialKernel"), py::arg("spatialBackground"), py::arg("settings"))
            .def("prepare", &AssessSpatialKernelVisitor::prepare, py::arg("candidates"), Released())
            .def_property_readonly("nGood", &AssessSpatialKernelVisitor::nGood)
            .def_property_readonly("nRejected", &AssessSpatialKernelVisitor::nRejected)
            .def_property_readonly("nProcessed", &AssessSpatialKernelVisitor::nProcessed)
            .def("getNGood", &AssessSpatialKernelVisitor::nGood)
            .def("getNRejected", &AssessSpatialKernelVisitor::nRejected)
            .def("getNProcessed", &AssessSpatialKernelVisitor::nProcessed);
}

}  // namespace

void bindPsfmatchCandidates(py::module_& m) {
    bindCandidate(m);
    bindSingleAndSum(m);
    bindPca(m);
    bindSpatialVisitors(m);
}

}  // namespace stillsky
