#include <pybind11/native_enum.h>
#include <pybind11/trampoline_self_life_support.h>

#include "psfmatch_common.hpp"
#include "stillsky/psfmatch/image_statistics.hpp"
#include "stillsky/psfmatch/spatial_cell.hpp"

namespace stillsky {
namespace {

// Python subclasses define the rating; their objects live as long as a cell holds them.
class PyCandidate : public SpatialCellCandidate, public py::trampoline_self_life_support {
public:
    using SpatialCellCandidate::SpatialCellCandidate;
    double getCandidateRating() const override {
        PYBIND11_OVERRIDE_PURE(double, SpatialCellCandidate, getCandidateRating, );
    }
};

class PyImageCandidate : public SpatialCellImageCandidate, public py::trampoline_self_life_support {
public:
    using SpatialCellImageCandidate::SpatialCellImageCandidate;
    double getCandidateRating() const override {
        PYBIND11_OVERRIDE_PURE(double, SpatialCellImageCandidate, getCandidateRating, );
    }
};

class PyVisitor : public CandidateVisitor, public py::trampoline_self_life_support {
public:
    using CandidateVisitor::CandidateVisitor;
    void reset() override { PYBIND11_OVERRIDE(void, CandidateVisitor, reset, ); }
    void processCandidate(std::shared_ptr<SpatialCellCandidate> const& candidate) override {
        PYBIND11_OVERRIDE_PURE(void, CandidateVisitor, processCandidate, candidate);
    }
};

// Index as Python counts: negative from the end.
std::shared_ptr<SpatialCellCandidate> candidateAt(SpatialCell const& cell, int index) {
    const CandidateList active = cell.activeCandidates();
    const int n = static_cast<int>(active.size());
    if (index < -n || index >= n) {
        throw OutOfBoundsError("SpatialCell: index " + std::to_string(index) + " of " + std::to_string(n) +
                               " candidates");
    }
    return active[static_cast<std::size_t>(index < 0 ? index + n : index)];
}

// A Python iterator that skips candidates which turn BAD during the loop.
struct CellLoop {
    std::shared_ptr<SpatialCell> cell;
    SpatialCellCandidateIterator at;
    std::shared_ptr<SpatialCellCandidate> next() {
        if (at == cell->end(cell->ignoreBad())) throw py::stop_iteration();
        std::shared_ptr<SpatialCellCandidate> current = *at;
        ++at;
        return current;
    }
};

void bindCandidateClasses(py::module_& m) {
    py::native_enum<CandidateStatus>(m, "CandidateStatus", "enum.IntEnum")
            .value("BAD", CandidateStatus::BAD)
            .value("GOOD", CandidateStatus::GOOD)
            .value("UNKNOWN", CandidateStatus::UNKNOWN)
            .finalize();
    auto setStatus = [](SpatialCellCandidate& self, int status) { self.setStatus(status); };
    py::class_<SpatialCellCandidate, PyCandidate, py::smart_holder> candidate(
            m, "SpatialCellCandidate",
            "An object at (xCenter, yCenter), parent coordinates, that a cell can hold.\n\n"
            "Subclass it and define ``getCandidateRating()``: larger is better.");
    candidate.def(py::init<double, double>(), py::arg("xCenter"), py::arg("yCenter"))
            .def_property_readonly("xCenter", &SpatialCellCandidate::xCenter)
            .def_property_readonly("yCenter", &SpatialCellCandidate::yCenter)
            .def("getXCenter", &SpatialCellCandidate::xCenter)
            .def("getYCenter", &SpatialCellCandidate::yCenter)
            .def_property_readonly("id", &SpatialCellCandidate::id)
            .def("getId", &SpatialCellCandidate::id)
            .def_property("status", &SpatialCellCandidate::status, setStatus,
                          "BAD, GOOD or UNKNOWN (CandidateStatus); any other number is a DomainError.")
            .def("getStatus", &SpatialCellCandidate::status)
            .def("setStatus", setStatus, py::arg("status"))
            .def("isBad", &SpatialCellCandidate::isBad)
            .def("getCandidateRating", &SpatialCellCandidate::getCandidateRating)
            .def("__str__", &SpatialCellCandidate::str);
    for (const char* name : {"BAD", "GOOD", "UNKNOWN"}) candidate.attr(name) = m.attr("CandidateStatus").attr(name);

    py::class_<SpatialCellImageCandidate, SpatialCellCandidate, PyImageCandidate, py::smart_holder>(
            m, "SpatialCellImageCandidate", "A candidate with an image and a chi2 (the largest double until set).")
            .def(py::init<double, double>(), py::arg("xCenter"), py::arg("yCenter"))
            .def_property("chi2", &SpatialCellImageCandidate::chi2, &SpatialCellImageCandidate::setChi2)
            .def("getChi2", &SpatialCellImageCandidate::chi2)
            .def("setChi2", &SpatialCellImageCandidate::setChi2, py::arg("chi2"))
            .def_static("getWidth", &SpatialCellImageCandidate::width)
            .def_static("getHeight", &SpatialCellImageCandidate::height)
            .def_static("setWidth", &SpatialCellImageCandidate::setWidth, py::arg("width"))
            .def_static("setHeight", &SpatialCellImageCandidate::setHeight, py::arg("height"));

    py::class_<CandidateVisitor, PyVisitor, py::smart_holder>(
            m, "CandidateVisitor",
            "What is done with each candidate: subclass it and define ``processCandidate(candidate)``, and\n"
            "``reset()`` if something must be cleared at the start of each visit.")
            .def(py::init<>())
            .def("reset", &CandidateVisitor::reset)
            .def("processCandidate", &CandidateVisitor::processCandidate, py::arg("candidate"),
                 py::call_guard<py::gil_scoped_release>());
}

void bindCellClasses(py::module_& m) {
    py::class_<SpatialCellCandidateIterator>(m, "SpatialCellCandidateIterator",
                                             "Position in a cell; dereferencing the end is a NotFoundError.")
            .def("__deref__", [](SpatialCellCandidateIterator const& self) { return *self; })
            .def("deref", [](SpatialCellCandidateIterator const& self) { return *self; })
            .def("__incr__", [](SpatialCellCandidateIterator& self) { ++self; })
            .def("advance", [](SpatialCellCandidateIterator& self) { ++self; })
            .def("__eq__", [](SpatialCellCandidateIterator const& a, SpatialCellCandidateIterator const& b) { return a == b; })
            .def("__ne__", [](SpatialCellCandidateIterator const& a, SpatialCellCandidateIterator const& b) { return a != b; })
            .def("__sub__", [](SpatialCellCandidateIterator const& a, SpatialCellCandidateIterator const& b) { return a - b; });
    py::class_<CellLoop>(m, "_SpatialCellLoop")
            .def("__iter__", [](CellLoop& self) -> CellLoop& { return self; })
            .def("__next__", &CellLoop::next);

    py::class_<SpatialCell, py::smart_holder>(m, "SpatialCell",
                                              "A box of the image and its candidates in descending rating.")
            .def(py::init([](std::string const& label, py::object const& bbox, CandidateList const& candidates) {
                     return std::make_shared<SpatialCell>(label, boxOf(bbox), candidates);
                 }),
                 py::arg("label"), py::arg("bbox"), py::arg("candidates") = CandidateList())
            .def_property_readonly("label", &SpatialCell::label)
            .def("getLabel", &SpatialCell::label)
            .def_property_readonly("bbox", [](SpatialCell const& self) { return boxToPython(self.bbox()); })
            .def("getBBox", [](SpatialCell const& self) { return boxToPython(self.bbox()); })
            .def_property("ignoreBad", &SpatialCell::ignoreBad, &SpatialCell::setIgnoreBad)
            .def("getIgnoreBad", &SpatialCell::ignoreBad)
            .def("setIgnoreBad", &SpatialCell::setIgnoreBad, py::arg("ignoreBad"))
            .def("size", &SpatialCell::size)
            .def("__len__", &SpatialCell::size)
            .def("empty", &SpatialCell::empty)
            .def("__bool__", [](SpatialCell const&) { return true; })
            .def("insertCandidate", &SpatialCell::insertCandidate, py::arg("candidate"))
            .def("removeCandidate", &SpatialCell::removeCandidate, py::arg("candidate"))
            .def("sortCandidates", &SpatialCell::sortCandidates)
            .def("getCandidateById", &SpatialCell::getCandidateById, py::arg("id"), py::arg("noThrow") = false)
            .def_property_readonly("candidates", &SpatialCell::allCandidates, "All candidates, BAD ones too.")
            .def("activeCandidates", &SpatialCell::activeCandidates, py::arg("nMax") = -1,
                 "The first nMax candidates that are not BAD (all when nMax <= 0).")
            .def("begin", [](SpatialCell const& self) { return self.begin(); }, py::keep_alive<0, 1>())
            .def("begin", [](SpatialCell const& self, bool ignoreBad) { return self.begin(ignoreBad); },
                 py::arg("ignoreBad"), py::keep_alive<0, 1>())
            .def("end", [](SpatialCell const& self) { return self.end(); }, py::keep_alive<0, 1>())
            .def("end", [](SpatialCell const& self, bool ignoreBad) { return self.end(ignoreBad); },
                 py::arg("ignoreBad"), py::keep_alive<0, 1>())
            .def("__iter__", [](std::shared_ptr<SpatialCell> const& self) { return CellLoop{self, self->begin()}; })
            .def("__getitem__", &candidateAt, py::arg("index"))
            .def("visitCandidates", &SpatialCell::visitCandidates, py::arg("visitor"), py::arg("nMaxPerCell") = -1,
                 py::arg("ignoreExceptions") = false, py::arg("reset") = true, py::call_guard<py::gil_scoped_release>())
            .def("visitAllCandidates", &SpatialCell::visitAllCandidates, py::arg("visitor"),
                 py::arg("ignoreExceptions") = false, py::arg("reset") = true, py::call_guard<py::gil_scoped_release>())
            .def("__str__", &SpatialCell::str);

    py::class_<SpatialCellSet, py::smart_holder>(
            m, "SpatialCellSet",
            "The grid of cells over a region.\n\nParameters\n----------\nregion : Box2I\nxSize, ySize : int\n"
            "    Size of a cell, pixels; ySize 0 means xSize.")
            .def(py::init([](py::object const& region, int xSize, int ySize) {
                     return std::make_shared<SpatialCellSet>(boxOf(region), xSize, ySize);
                 }),
                 py::arg("region"), py::arg("xSize"), py::arg("ySize") = 0)
            .def_property_readonly("bbox", [](SpatialCellSet const& self) { return boxToPython(self.bbox()); })
            .def("getBBox", [](SpatialCellSet const& self) { return boxToPython(self.bbox()); })
            .def_property_readonly("cells", &SpatialCellSet::cells)
            .def("getCellList", &SpatialCellSet::cells)
            .def("__len__", [](SpatialCellSet const& self) { return self.cells().size(); })
            .def("__iter__", [](SpatialCellSet const& self) { return py::iter(py::cast(self.cells())); })
            .def("insertCandidate", &SpatialCellSet::insertCandidate, py::arg("candidate"))
            .def("sortCandidates", &SpatialCellSet::sortCandidates)
            .def("getCandidateById", &SpatialCellSet::getCandidateById, py::arg("id"), py::arg("noThrow") = false)
            .def("setIgnoreBad", &SpatialCellSet::setIgnoreBad, py::arg("ignoreBad"))
            .def("allCandidates", &SpatialCellSet::allCandidates)
            .def("activeCandidates", &SpatialCellSet::activeCandidates, py::arg("nMaxPerCell") = -1)
            .def("visitCandidates", &SpatialCellSet::visitCandidates, py::arg("visitor"), py::arg("nMaxPerCell") = -1,
                 py::arg("ignoreExceptions") = false, py::call_guard<py::gil_scoped_release>())
            .def("visitAllCandidates", &SpatialCellSet::visitAllCandidates, py::arg("visitor"),
                 py::arg("ignoreExceptions") = false, py::call_guard<py::gil_scoped_release>())
            .def("__str__", &SpatialCellSet::str);
}

void bindStatistics(py::module_& m) {
    py::class_<ImageStatistics>(m, "_ImageStatistics")
            .def(py::init<MaskPixel>(), py::arg("badMask") = 0)
            .def_property("badMask", &ImageStatistics::badMask, &ImageStatistics::setBadMask)
            .def("reset", &ImageStatistics::reset)
            .def(
                    "apply",
                    [](ImageStatistics& self, py::object const& image, int core) {
                        withMaskedView(image, "image", [&](auto const& view) { self.apply(view, core); });
                    },
                    py::arg("image"), py::arg("core") = -1)
            .def_property_readonly("nPixels", &ImageStatistics::nPixels)
            .def_property_readonly("mean", &ImageStatistics::mean)
            .def_property_readonly("variance", &ImageStatistics::variance)
            .def_property_readonly("rms", &ImageStatistics::rms);
    m.def(
            "clippedMoments",
            [](std::vector<double> const& values, double nSigma, int nPasses) {
                const ClippedMoments c = clippedMoments(values, nSigma, nPasses);
                return py::make_tuple(c.mean, c.standardDeviation, c.n);
            },
            py::arg("values"), py::arg("nSigma") = 3.0, py::arg("nPasses") = 3,
            "Clipped mean, unbiased standard deviation, and number of finite values before clipping.");
}

}  // namespace

void bindPsfmatchCells(py::module_& m) {
    bindCandidateClasses(m);
    bindCellClasses(m);
    bindStatistics(m);
}

}  // namespace stillsky
