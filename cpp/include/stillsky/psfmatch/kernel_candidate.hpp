// A star (or any object) seen on both images: the stamps from which a matching kernel is fitted.
#pragma once

#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "stillsky/core/aligned.hpp"
#include "stillsky/psfmatch/image_statistics.hpp"
#include "stillsky/psfmatch/kernel_solution.hpp"
#include "stillsky/psfmatch/spatial_cell.hpp"

namespace stillsky {

// Why a candidate is BAD.
enum class Rejection {
    NONE = 0,
    CONSTRUCTION,   // non-finite pixels in its core: it has no rating
    MASKED,         // too few good pixels
    BUILD,          // the fit failed
    CONDITION,      // condition number above the limit
    STATISTICS,     // no residual statistics
    RESIDUAL_MEAN,  // of its own kernel
    RESIDUAL_STD,
    KERNEL_SUM,        // outlier among the kernel sums
    SPATIAL_RESIDUAL,  // of the spatial kernel
    UNBUILT            // asked for a solution it does not have
};
constexpr int kNumRejections = 11;
const char* rejectionName(Rejection rejection);

class KernelCandidate : public SpatialCellImageCandidate {
public:
    enum CandidateSwitch { ORIG = 0, PCA = 1, RECENT = 2 };

    // Copies the stamps. The rating is the mean signal-to-noise per pixel of the science stamp's core; when that
    // cannot be had the candidate is born BAD with rating 0. Centre in parent coordinates. ShapeError when the stamps
    // differ in size or are empty.
    template <typename T>
    KernelCandidate(double xCenter, double yCenter, MaskedView<const T> const& templateStamp,
                    MaskedView<const T> const& scienceStamp, PsfMatchSettings const& settings);
    // With a rating of its own, the instrumental PSF flux as a rule.
    template <typename T>
    KernelCandidate(double xCenter, double yCenter, double rating, MaskedView<const T> const& templateStamp,
                    MaskedView<const T> const& scienceStamp, PsfMatchSettings const& settings);
    ~KernelCandidate() override;

    double getCandidateRating() const override { return rating_; }
    void setRating(double rating) { rating_ = rating; }
    // Whatever record the candidate was made from; not looked at here.
    std::shared_ptr<void> const& source() const { return source_; }
    void setSource(std::shared_ptr<void> source) { source_ = std::move(source); }

    PsfMatchSettings const& settings() const { return settings_; }
    int stampWidth() const;
    int stampHeight() const;
    Box2I stampBBox() const;
    bool isDouble() const { return std::holds_alternative<MaskedImage<double>>(template_); }
    std::variant<MaskedImage<float>, MaskedImage<double>> const& templateStamp() const { return template_; }
    std::variant<MaskedImage<float>, MaskedImage<double>> const& scienceStamp() const { return science_; }

    // Fit a kernel. The first build fills the ORIG solution, later ones the PCA solution. `h` empty: no
    // regularisation. Exceptions (ShapeError, NumericalError, NoDataError) leave the candidate as it was. When the
    // condition number is checked and too large the candidate turns BAD, without solution and without exception.
    void build(KernelList const& bases, DenseMatrix const& h = DenseMatrix());
    void build(std::shared_ptr<BasisConvolver const> const& bases, DenseMatrix const& h = DenseMatrix());
    bool isInitialized() const { return initialized_; }
    // Forget the PCA solution: its basis is no longer in use.
    void clearPca() { pca_.reset(); }
    // Normal equations with spatial terms at every pixel, for a kernel and a background of the given orders; see
    // StampMoments. Terms are expanded to `expansionDegree` inside the stamp. Thread-safe.
    std::shared_ptr<StampMoments const> buildMoments(BasisConvolver const& bases, int kernelOrder, int backgroundOrder,
                                                     int expansionDegree = std::numeric_limits<int>::max()) const;

    // All of the following: StillskyError when there is no such solution.
    std::shared_ptr<StaticKernelSolution> const& getKernelSolution(CandidateSwitch which) const;
    std::shared_ptr<LinearCombinationKernel> getKernel(CandidateSwitch which) const;
    double getBackground(CandidateSwitch which) const;
    double getKsum(CandidateSwitch which) const;
    Image<double> getKernelImage(CandidateSwitch which) const;
    Image<double> getImage() const { return getKernelImage(ORIG); }
    // science - (K (x) template + background), with variance var_S + sum k^2 var_T and masks ORed over the kernel's
    // non-zero pixels. Pixels within the kernel's half-width of the border: image NaN, mask NO_DATA, variance inf.
    MaskedImage<double> getDifferenceImage(CandidateSwitch which) const;
    MaskedImage<double> getDifferenceImage(Kernel const& kernel, double background) const;
    // With kernel pixels given, width x height of them, row by row.
    MaskedImage<double> differenceImage(double const* kernel, int width, int height, double background) const;

    Rejection rejection() const { return rejection_; }
    std::string const& rejectionText() const { return rejectionText_; }
    // BAD, and why.
    void reject(Rejection rejection, std::string text = {});

    // Residual statistics of the last fits; NaN before.
    struct Diagnostics {
        double singleMean, singleRms, spatialMean, spatialRms, looMean, looRms, looChi2, kernelSumError;
        int nPixels;
        bool usedInFit;
        Diagnostics();
    };
    Diagnostics diagnostics;

private:
    struct Prepared;
    AlignedVector<double> matchedVariance(double const* kernel, int width, int height) const;
    // Variance plane of differenceImage alone.
    std::vector<double> differenceVariance(double const* kernel, int width, int height) const;
    Prepared prepare(BasisConvolver const& bases, std::vector<double> const* residualVariance) const;
    void solveOnce(std::shared_ptr<BasisConvolver const> const& bases, DenseMatrix const& h,
                   std::vector<double> const* residualVariance, std::shared_ptr<StaticKernelSolution>& out) const;

    std::variant<MaskedImage<float>, MaskedImage<double>> template_, science_;
    PsfMatchSettings settings_;
    std::shared_ptr<void> source_;
    std::shared_ptr<StaticKernelSolution> orig_, pca_;
    double rating_ = 0.0;
    bool initialized_ = false;
    Rejection rejection_ = Rejection::NONE;
    std::string rejectionText_;
};

}  // namespace stillsky
