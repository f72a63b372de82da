// What the kernel fit can be told. Field names are those of the configuration classes.
#pragma once

#include <string>
#include <vector>

#include "stillsky/image/mask_planes.hpp"
#include "stillsky/math/solve.hpp"

namespace stillsky {

struct PsfMatchSettings {
    // --- model
    bool fitForBackground = false;
    std::string kernelBasisSet = "alard-lupton";   // or "delta-function"
    std::string spatialModelType = "chebyshev1";   // or "polynomial"
    int spatialKernelOrder = 2;
    int spatialBgOrder = 1;
    int spatialPhotometricOrder = 0;  // of the first function's coefficient, that is of the flux scale
    // --- candidates and iteration
    int nStarPerCell = 5;          // active candidates per cell; <= 0: all
    int maxSpatialIterations = 3;  // 1..5
    bool usePcaForSpatialKernel = false;
    bool subtractMeanForPca = true;
    int numPrincipalComponents = 5;  // the mean counts as one
    bool singleKernelClipping = true;
    bool kernelSumClipping = true;
    bool spatialKernelClipping = true;
    double candidateResidualMeanMax = 0.25;  // sigma
    double candidateResidualStdMax = 1.5;    // sigma
    bool useCoreStats = false;
    int candidateCoreRadius = 3;  // pixels
    double maxKsumSigma = 3.0;
    bool checkConditionNumber = false;
    double maxConditionNumber = 5e7;
    ConditionNumberType conditionNumberType = ConditionNumberType::EIGENVALUE;
    double maxSpatialConditionNumber = 1e10;
    bool iterateSingleKernel = false;
    bool constantVarianceWeighting = true;
    bool calculateKernelUncertainty = false;
    // About the kernel sum: what the template's noise counts for beside the science image's in weights and errors.
    double fluxScale = 1.0;
    // --- masks: planes that exclude pixels from residual statistics, and (badFitMask) from the fit
    std::vector<std::string> badMaskPlanes = {"NO_DATA", "EDGE", "SAT"};
    MaskPixel badMask = mask_planes::NO_DATA | mask_planes::EDGE | mask_planes::SAT;
    MaskPixel badFitMask = mask_planes::BAD | mask_planes::SAT | mask_planes::NO_DATA | mask_planes::EDGE;
    // --- regularisation of delta-function kernels
    bool useRegularization = false;
    std::string lambdaType = "absolute";  // relative, minimizeBiasedRisk, minimizeUnbiasedRisk
    double lambdaValue = 0.2;
    double lambdaScaling = 1e-4;
    std::string lambdaStepType = "log";  // or "linear"
    double lambdaMin = -1.0, lambdaMax = 2.0, lambdaStep = 0.1;  // exponents when log
    // --- improvements on the common practice; compatible() switches all of them off
    bool perPixelSpatialTerms = true;     // final fit: spatial terms at every pixel, not at the stamp's centre
    bool correctTemplateNoise = true;     // remove the template noise's expectation from the normal equations
    bool maskWeights = true;              // masked and non-finite pixels weigh nothing in the fit
    double minGoodFraction = 0.5;         // of the fitted pixels of a stamp, with maskWeights
    bool adaptiveKernelSumClipping = true;  // threshold grows with the number of candidates, never below rounding
    bool lowerSpatialOrders = true;         // until there are candidatesPerTerm of them per spatial term
    int candidatesPerTerm = 2;
    bool scaledPolynomials = true;          // "polynomial" is fitted in scaled coordinates and converted
    bool buildReplacements = true;          // stars that enter with the last fit are built before it
    bool compat = false;

    // The reference's behaviour for all of the last group, and one set of mask planes for all.
    static PsfMatchSettings compatible();
    // DomainError for a value outside its allowed set, naming the field.
    void validate() const;
    // The first coefficient does not vary like the others.
    bool constantFirstTerm() const { return kernelBasisSet == "alard-lupton" || usePcaForSpatialKernel; }
};

}  // namespace stillsky
