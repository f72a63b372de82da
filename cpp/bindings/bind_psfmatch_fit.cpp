#include "psfmatch_common.hpp"
#include "psfmatch_settings.hpp"
#include "stillsky/psfmatch/fit_spatial_kernel.hpp"

namespace stillsky {
namespace {

using InputArray = py::array_t<double, py::array::c_style | py::array::forcecast>;

py::list historyOf(SpatialKernelFit const& fit) {
    py::list out;
    for (FitHistoryEntry const& e : fit.history) {
        py::dict d;
        d["stage"] = e.stage;
        d["iteration"] = e.iteration;
        d["nRejected"] = e.nRejected;
        d["nUsed"] = e.nUsed;
        if (e.stage == "spatial") d["nGood"] = e.nGood;
        if (e.stage == "kernelSum") {
            d["kSumMean"] = e.kSumMean;
            d["kSumStd"] = e.kSumStd;
            d["dkSumMax"] = e.dkSumMax;
        }
        out.append(d);
    }
    return out;
}

py::dict rejectedOf(SpatialKernelFit const& fit) {
    py::dict out;
    for (int i = 1; i < kNumRejections; ++i) {
        out[rejectionName(static_cast<Rejection>(i))] = fit.rejected[static_cast<std::size_t>(i)];
    }
    return out;
}

py::list candidatesOf(SpatialKernelFit const& fit) {
    py::list out;
    for (CandidateReport const& c : fit.candidates) {
        py::dict d;
        d["id"] = c.id;
        d["x"] = c.x;
        d["y"] = c.y;
        d["rating"] = c.rating;
        d["status"] = c.status;
        d["rejection"] = rejectionName(c.rejection);
        d["rejectionText"] = c.rejectionText;
        d["usedInFit"] = c.usedInFit;
        d["kernelSum"] = c.kernelSum;
        d["kernelSumError"] = c.kernelSumError;
        d["background"] = c.background;
        d["chi2"] = c.chi2;
        d["singleMean"] = c.singleMean;
        d["singleRms"] = c.singleRms;
        d["spatialMean"] = c.spatialMean;
        d["spatialRms"] = c.spatialRms;
        d["looMean"] = c.looMean;
        d["looRms"] = c.looRms;
        d["looChi2"] = c.looChi2;
        out.append(d);
    }
    return out;
}

SpatialKernelFit fit(SpatialCellSet& cellSet, KernelList const& bases, py::object const& settings,
                     py::object const& h) {
    const PsfMatchSettings s = settingsOf(settings);
    const DenseMatrix hMat = h.is_none() ? DenseMatrix() : matrixOf(h.cast<InputArray>(), "hMat");
    py::gil_scoped_release release;
    return fitSpatialKernel(cellSet, bases, s, hMat);
}

}  // namespace

void bindPsfmatchFit(py::module_& m) {
    py::register_local_exception_translator([](std::exception_ptr p) {
        try {
            if (p) std::rethrow_exception(p);
        } catch (NoKernelCandidatesError const& e) {
            py::set_error(py::module_::import("stillsky.psfmatch.errors").attr("NoKernelCandidatesError"), e.what());
        }
    });
    py::class_<SpatialKernelFit>(m, "SpatialKernelFit", "Result of fitSpatialKernel.")
            .def_readonly("solution", &SpatialKernelFit::solution)
            .def_readonly("kernel", &SpatialKernelFit::kernel)
            .def_readonly("background", &SpatialKernelFit::background)
            .def_readonly("basisList", &SpatialKernelFit::bases)
            .def_readonly("kernelSum", &SpatialKernelFit::kernelSum, "At the centre of the region.")
            .def_readonly("kernelSumError", &SpatialKernelFit::kernelSumError)
            .def_readonly("conditionNumber", &SpatialKernelFit::conditionNumber)
            .def_readonly("spatialKernelOrderUsed", &SpatialKernelFit::spatialKernelOrderUsed)
            .def_readonly("spatialBgOrderUsed", &SpatialKernelFit::spatialBgOrderUsed)
            .def_readonly("perPixel", &SpatialKernelFit::perPixel)
            .def_readonly("nIterations", &SpatialKernelFit::nIterations)
            .def_readonly("converged", &SpatialKernelFit::converged)
            .def_readonly("nUsed", &SpatialKernelFit::nUsed)
            .def_readonly("nTotal", &SpatialKernelFit::nTotal)
            .def_readonly("nGood", &SpatialKernelFit::nGood)
            .def_readonly("nBad", &SpatialKernelFit::nBad)
            .def_readonly("nUnknown", &SpatialKernelFit::nUnknown)
            .def_property_readonly("rejected", &rejectedOf, "Number of candidates by reason of rejection.")
            .def_property_readonly("history", &historyOf, "What every step of the loop did: list of dict.")
            .def_property_readonly("candidates", &candidatesOf,
                                   "All candidates in cell order: list of dict. Residuals in sigma; loo*: with the "
                                   "spatial kernel fitted without that candidate.")
            .def_readonly("warnings", &SpatialKernelFit::warnings);
    m.def("fitSpatialKernel", &fit, py::arg("cellSet"), py::arg("basisList"), py::arg("settings"),
          py::arg("hMat") = py::none(),
          "Fit a spatially varying kernel to the candidates of a cell set, rejecting those that do not fit.\n\n"
          "Parameters\n----------\ncellSet : SpatialCellSet\n    Holds KernelCandidates; their status changes.\n"
          "basisList : list of Kernel\nsettings : PsfMatchSettings, mapping or configuration\n"
          "hMat : array, optional\n    Regularisation matrix.\n\n"
          "Returns\n-------\nSpatialKernelFit\n\n"
          "Raises\n------\nNoKernelCandidatesError\n    Nothing is left to fit.");
    m.def(
            "createPcaBasis",
            [](SpatialCellSet& cellSet, py::object const& settings) {
                const PsfMatchSettings s = settingsOf(settings);
                PcaBasis pca;
                {
                    py::gil_scoped_release release;
                    pca = createPcaBasis(cellSet, s);
                }
                return py::make_tuple(pca.nRejected, pca.bases);
            },
            py::arg("cellSet"), py::arg("settings"),
            "Principal components of the candidates' kernels: (number rejected by the refit, basis list).");
}

}  // namespace stillsky
