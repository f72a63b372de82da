#include "stillsky/psfmatch/settings.hpp"

#include <initializer_list>

#include "stillsky/core/errors.hpp"

namespace stillsky {
namespace {

void requireOneOf(const char* field, std::string const& value, std::initializer_list<const char*> allowed) {
    std::string list;
    for (const char* a : allowed) {
        if (value == a) return;
        list += (list.empty() ? "" : ", ") + std::string(a);
    }
    throw DomainError(std::string("PsfMatchSettings.") + field + ": wanted one of " + list + ", got \"" + value + "\"");
}

// NaN is refused too.
void requireAtLeast(const char* field, double value, double least) {
    if (!(value >= least)) {
        throw DomainError(std::string("PsfMatchSettings.") + field + ": wanted a value >= " + std::to_string(least) +
                          ", got " + std::to_string(value));
    }
}

// No image supports the 1326 terms of order 50, and the terms of a mistyped order must not fill the memory.
constexpr int largestOrder = 50;

void requireOrder(const char* field, int value) {
    requireAtLeast(field, value, 0);
    if (value > largestOrder) {
        throw DomainError(std::string("PsfMatchSettings.") + field + ": wanted a value <= " +
                          std::to_string(largestOrder) + ", got " + std::to_string(value));
    }
}

}  // namespace

PsfMatchSettings PsfMatchSettings::compatible() {
    PsfMatchSettings s;
    s.compat = true;
    s.perPixelSpatialTerms = s.correctTemplateNoise = s.maskWeights = s.adaptiveKernelSumClipping = false;
    s.lowerSpatialOrders = s.scaledPolynomials = s.buildReplacements = false;
    return s;
}

void PsfMatchSettings::validate() const {
    requireOneOf("kernelBasisSet", kernelBasisSet, {"alard-lupton", "delta-function"});
    requireOneOf("spatialModelType", spatialModelType, {"chebyshev1", "polynomial"});
    requireOneOf("lambdaType", lambdaType, {"absolute", "relative", "minimizeBiasedRisk", "minimizeUnbiasedRisk"});
    requireOneOf("lambdaStepType", lambdaStepType, {"log", "linear"});
    requireOrder("spatialKernelOrder", spatialKernelOrder);
    requireOrder("spatialBgOrder", spatialBgOrder);
    requireOrder("spatialPhotometricOrder", spatialPhotometricOrder);
    if (!(fluxScale > 1e-15 && fluxScale < 1e15)) {
        throw DomainError("PsfMatchSettings.fluxScale: wanted a number between 1e-15 and 1e15, got " + std::to_string(fluxScale));
    }
    requireAtLeast("maxSpatialIterations", maxSpatialIterations, 1);
    requireAtLeast("numPrincipalComponents", numPrincipalComponents, 1);
    requireAtLeast("candidateResidualMeanMax", candidateResidualMeanMax, 0);
    requireAtLeast("candidateResidualStdMax", candidateResidualStdMax, 0);
    requireAtLeast("candidateCoreRadius", candidateCoreRadius, 1);
    requireAtLeast("maxKsumSigma", maxKsumSigma, 0);
    requireAtLeast("maxConditionNumber", maxConditionNumber, 0);
    requireAtLeast("maxSpatialConditionNumber", maxSpatialConditionNumber, 0);
    requireAtLeast("minGoodFraction", minGoodFraction, 0);
    if (lambdaType != "absolute" && lambdaType != "relative") {
        requireAtLeast("lambdaMax", lambdaMax, lambdaMin);
        if (!(lambdaStep > 0)) throw DomainError("PsfMatchSettings.lambdaStep: wanted a positive step");
    }
}

}  // namespace stillsky
