#include "psfmatch_settings.hpp"

#include <pybind11/stl.h>

#include "psfmatch_common.hpp"
#include "stillsky/core/errors.hpp"

namespace stillsky {
namespace {

// A field of a Python value's own type: no number from a string, no truth value from a number.
template <typename T>
bool hasType(py::handle value) {
    if constexpr (std::is_same_v<T, bool>) return py::isinstance<py::bool_>(value);
    if constexpr (std::is_same_v<T, int>) return PyIndex_Check(value.ptr()) && !py::isinstance<py::bool_>(value);
    if constexpr (std::is_same_v<T, double>) return PyNumber_Check(value.ptr()) && !py::isinstance<py::bool_>(value) && !py::isinstance<py::str>(value);
    if constexpr (std::is_same_v<T, std::string>) return py::isinstance<py::str>(value);
    return py::isinstance<py::sequence>(value) && !py::isinstance<py::str>(value);
}

class Reader {
public:
    explicit Reader(py::dict const& fields) : fields_(fields) {}

    bool has(const char* name) const { return fields_.contains(name); }

    template <typename T>
    void required(const char* name, T& out) const {
        if (!has(name)) throw py::key_error(std::string("PsfMatchSettings: the field ") + name + " is missing");
        optional(name, out);
    }

    template <typename T>
    void optional(const char* name, T& out) const {
        if (!has(name)) return;
        const py::object value = fields_[name];
        if (!hasType<T>(value)) fail(name, value);
        try {
            out = value.cast<T>();
        } catch (py::cast_error const&) {
            fail(name, value);
        }
    }

private:
    [[noreturn]] static void fail(const char* name, py::handle value) {
        throw py::type_error(std::string("PsfMatchSettings: the field ") + name + " cannot be " +
                             std::string(py::repr(value)));
    }
    py::dict const& fields_;
};

MaskPixel standardBits(std::vector<std::string> const& names) {
    static const std::map<std::string, MaskPixel> bits = {
            {"BAD", mask_planes::BAD}, {"SAT", mask_planes::SAT}, {"INTRP", mask_planes::INTRP},
            {"CR", mask_planes::CR}, {"EDGE", mask_planes::EDGE}, {"DETECTED", mask_planes::DETECTED},
            {"DETECTED_NEGATIVE", mask_planes::DETECTED_NEGATIVE}, {"SUSPECT", mask_planes::SUSPECT},
            {"NO_DATA", mask_planes::NO_DATA}, {"VIGNETTED", mask_planes::VIGNETTED}, {"STREAK", mask_planes::STREAK}};
    MaskPixel out = 0;
    for (auto const& name : names) {
        auto found = bits.find(name);
        if (found != bits.end()) out |= found->second;
    }
    return out;
}

MaskPixel bitsOf(std::vector<std::string> const& names, py::handle schema) {
    if (schema.is_none()) return standardBits(names);
    return schema.attr("bitmask")(names, py::arg("ignoreMissing") = true).cast<MaskPixel>();
}

ConditionNumberType conditionTypeOf(std::string const& name) {
    if (name == "EIGENVALUE") return ConditionNumberType::EIGENVALUE;
    if (name == "SVD") return ConditionNumberType::SVD;
    // The documented error of an unknown type.
    throw py::type_error("PsfMatchSettings: conditionNumberType must be SVD or EIGENVALUE, got \"" + name + "\"");
}

void readRequired(Reader const& r, PsfMatchSettings& s, std::string& conditionType) {
    r.required("fitForBackground", s.fitForBackground);
    r.required("kernelBasisSet", s.kernelBasisSet);
    r.required("spatialModelType", s.spatialModelType);
    r.required("spatialKernelOrder", s.spatialKernelOrder);
    r.required("spatialBgOrder", s.spatialBgOrder);
    r.required("nStarPerCell", s.nStarPerCell);
    r.required("maxSpatialIterations", s.maxSpatialIterations);
    r.required("usePcaForSpatialKernel", s.usePcaForSpatialKernel);
    r.required("subtractMeanForPca", s.subtractMeanForPca);
    r.required("numPrincipalComponents", s.numPrincipalComponents);
    r.required("singleKernelClipping", s.singleKernelClipping);
    r.required("kernelSumClipping", s.kernelSumClipping);
    r.required("spatialKernelClipping", s.spatialKernelClipping);
    r.required("candidateResidualMeanMax", s.candidateResidualMeanMax);
    r.required("candidateResidualStdMax", s.candidateResidualStdMax);
    r.required("useCoreStats", s.useCoreStats);
    r.required("candidateCoreRadius", s.candidateCoreRadius);
    r.required("maxKsumSigma", s.maxKsumSigma);
    r.required("checkConditionNumber", s.checkConditionNumber);
    r.required("maxConditionNumber", s.maxConditionNumber);
    r.required("conditionNumberType", conditionType);
    r.required("maxSpatialConditionNumber", s.maxSpatialConditionNumber);
    r.required("iterateSingleKernel", s.iterateSingleKernel);
    r.required("constantVarianceWeighting", s.constantVarianceWeighting);
    r.required("calculateKernelUncertainty", s.calculateKernelUncertainty);
    r.required("badMaskPlanes", s.badMaskPlanes);
}

void readOptional(Reader const& r, PsfMatchSettings& s) {
    r.optional("useRegularization", s.useRegularization);
    r.optional("lambdaType", s.lambdaType);
    r.optional("lambdaValue", s.lambdaValue);
    r.optional("lambdaScaling", s.lambdaScaling);
    r.optional("lambdaStepType", s.lambdaStepType);
    r.optional("lambdaMin", s.lambdaMin);
    r.optional("lambdaMax", s.lambdaMax);
    r.optional("lambdaStep", s.lambdaStep);
}

void readImprovements(Reader const& r, PsfMatchSettings& s) {
    r.optional("spatialPhotometricOrder", s.spatialPhotometricOrder);
    r.optional("perPixelSpatialTerms", s.perPixelSpatialTerms);
    r.optional("correctTemplateNoise", s.correctTemplateNoise);
    r.optional("maskWeights", s.maskWeights);
    r.optional("minGoodFraction", s.minGoodFraction);
    r.optional("adaptiveKernelSumClipping", s.adaptiveKernelSumClipping);
    r.optional("lowerSpatialOrders", s.lowerSpatialOrders);
    r.optional("candidatesPerTerm", s.candidatesPerTerm);
    r.optional("scaledPolynomials", s.scaledPolynomials);
    r.optional("buildReplacements", s.buildReplacements);
}

}  // namespace

PsfMatchSettings settingsOf(py::handle object, py::handle maskSchema) {
    if (py::isinstance<PsfMatchSettings>(object)) return object.cast<PsfMatchSettings>();
    py::dict fields;
    if (py::hasattr(object, "toDict")) {
        fields = object.attr("toDict")();
    } else if (py::hasattr(object, "keys")) {
        fields = py::dict(py::reinterpret_borrow<py::object>(object));
    } else {
        throw py::type_error("settings: wanted a PsfMatchSettings, a mapping or a configuration, got " +
                             std::string(py::str(py::type::handle_of(object))));
    }
    const Reader reader(fields);
    bool compat = false;
    reader.optional("compat", compat);
    PsfMatchSettings s = compat ? PsfMatchSettings::compatible() : PsfMatchSettings();
    std::string conditionType = "EIGENVALUE";
    readRequired(reader, s, conditionType);
    readOptional(reader, s);
    // A configuration always holds all fields: with compat their values say nothing. A mapping holds what was meant.
    if (!compat || !py::hasattr(object, "toDict")) readImprovements(reader, s);
    s.conditionNumberType = conditionTypeOf(conditionType);
    s.badMask = bitsOf(s.badMaskPlanes, maskSchema);
    std::vector<std::string> fitPlanes = {"BAD", "SAT", "NO_DATA", "EDGE"};
    reader.optional("badFitMaskPlanes", fitPlanes);
    s.badFitMask = bitsOf(fitPlanes, maskSchema);
    s.validate();
    return s;
}

void bindPsfmatchSettings(py::module_& m) {
    py::class_<PsfMatchSettings>(
            m, "PsfMatchSettings",
            "What the kernel fit can be told.\n\n"
            "Parameters\n----------\nfields : mapping or configuration, optional\n"
            "    The configuration's fields by name; a missing one is a KeyError, one of a wrong type a TypeError, a\n"
            "    value that is not allowed a DomainError. Without it: all defaults.\n"
            "maskSchema : optional\n    Gives the bits of the bad mask planes; standard bits without it.")
            .def(py::init<>())
            .def(py::init([](py::object const& fields, py::object const& schema) { return settingsOf(fields, schema); }),
                 py::arg("fields"), py::arg("maskSchema") = py::none())
            .def_static("compatible", &PsfMatchSettings::compatible,
                        "Defaults with every improvement on the common practice switched off.")
            .def("validate", &PsfMatchSettings::validate)
#define STILLSKY_FIELD(name) .def_readwrite(#name, &PsfMatchSettings::name)
            STILLSKY_FIELD(fitForBackground) STILLSKY_FIELD(kernelBasisSet) STILLSKY_FIELD(spatialModelType)
            STILLSKY_FIELD(spatialKernelOrder) STILLSKY_FIELD(spatialBgOrder) STILLSKY_FIELD(spatialPhotometricOrder)
            STILLSKY_FIELD(nStarPerCell) STILLSKY_FIELD(maxSpatialIterations) STILLSKY_FIELD(usePcaForSpatialKernel)
            STILLSKY_FIELD(subtractMeanForPca) STILLSKY_FIELD(numPrincipalComponents)
            STILLSKY_FIELD(singleKernelClipping) STILLSKY_FIELD(kernelSumClipping)
            STILLSKY_FIELD(spatialKernelClipping) STILLSKY_FIELD(candidateResidualMeanMax)
            STILLSKY_FIELD(candidateResidualStdMax) STILLSKY_FIELD(useCoreStats) STILLSKY_FIELD(candidateCoreRadius)
            STILLSKY_FIELD(maxKsumSigma) STILLSKY_FIELD(checkConditionNumber) STILLSKY_FIELD(maxConditionNumber)
            STILLSKY_FIELD(conditionNumberType) STILLSKY_FIELD(maxSpatialConditionNumber)
            STILLSKY_FIELD(iterateSingleKernel) STILLSKY_FIELD(constantVarianceWeighting)
            STILLSKY_FIELD(calculateKernelUncertainty) STILLSKY_FIELD(badMaskPlanes) STILLSKY_FIELD(badMask)
            STILLSKY_FIELD(badFitMask) STILLSKY_FIELD(useRegularization) STILLSKY_FIELD(lambdaType)
            STILLSKY_FIELD(lambdaValue) STILLSKY_FIELD(lambdaScaling) STILLSKY_FIELD(lambdaStepType)
            STILLSKY_FIELD(lambdaMin) STILLSKY_FIELD(lambdaMax) STILLSKY_FIELD(lambdaStep)
            STILLSKY_FIELD(perPixelSpatialTerms) STILLSKY_FIELD(correctTemplateNoise) STILLSKY_FIELD(maskWeights)
            STILLSKY_FIELD(minGoodFraction) STILLSKY_FIELD(adaptiveKernelSumClipping)
            STILLSKY_FIELD(lowerSpatialOrders) STILLSKY_FIELD(candidatesPerTerm) STILLSKY_FIELD(scaledPolynomials)
            STILLSKY_FIELD(buildReplacements) STILLSKY_FIELD(compat) STILLSKY_FIELD(fluxScale);
#undef STILLSKY_FIELD
}

}  // namespace stillsky
