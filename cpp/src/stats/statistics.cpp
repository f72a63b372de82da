#include "stillsky/stats/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "moments.hpp"
#include "samples.hpp"
#include "stillsky/stats/select.hpp"
#include "stream.hpp"

namespace stillsky {
namespace {

constexpr double NaN = std::numeric_limits<double>::quiet_NaN();
constexpr double INF = std::numeric_limits<double>::infinity();
constexpr int CLIPPED = MEANCLIP | STDEVCLIP | VARIANCECLIP | NCLIPPED;
constexpr int MOMENTS = MEAN | STDEV | VARIANCE | MIN | MAX | SUM | MEANSQUARE;

struct NamedProperty {
    const char* name;
    StatisticsProperty property;
};

constexpr NamedProperty NAMES[] = {
        {"NOTHING", NOTHING},   {"ERRORS", ERRORS},       {"NPOINT", NPOINT},         {"MEAN", MEAN},
        {"STDEV", STDEV},       {"VARIANCE", VARIANCE},   {"MEDIAN", MEDIAN},         {"IQRANGE", IQRANGE},
        {"MEANCLIP", MEANCLIP}, {"STDEVCLIP", STDEVCLIP}, {"VARIANCECLIP", VARIANCECLIP}, {"MIN", MIN},
        {"MAX", MAX},           {"SUM", SUM},             {"MEANSQUARE", MEANSQUARE}, {"ORMASK", ORMASK},
        {"NCLIPPED", NCLIPPED}, {"NMASKED", NMASKED}};

int bitNumber(int property) {
    for (int b = 0; b < 17; ++b) {
        if (property == (1 << b)) return b;
    }
    return -1;
}

}  // namespace

StatisticsProperty stringToStatisticsProperty(std::string const& name) {
    for (auto const& p : NAMES) {
        if (name == p.name) return p.property;
    }
    std::string known;
    for (auto const& p : NAMES) known += std::string(known.empty() ? "" : ", ") + p.name;
    throw DomainError("statistics property: wanted one of " + known + ", got '" + name + "'");
}

std::string statisticsPropertyName(StatisticsProperty property) {
    for (auto const& p : NAMES) {
        if (property == p.property) return p.name;
    }
    throw DomainError("statistics property: wanted a single property, got " + std::to_string(static_cast<int>(property)));
}

void StatisticsControl::setNumSigmaClip(double n) {
    if (!(n > 0)) throw DomainError("numSigmaClip: wanted a number > 0, got " + std::to_string(n));
    numSigmaClip_ = n;
}

void StatisticsControl::setNumIter(int n) {
    if (n < 1) throw DomainError("numIter: wanted a number >= 1, got " + std::to_string(n));
    numIter_ = n;
}

void StatisticsControl::setCalcErrorFromInputVariance(bool on) {
    if (on && calcErrorMosaicMode_) throw DomainError("calcErrorFromInputVariance: not together with calcErrorMosaicMode");
    calcErrorFromInputVariance_ = on;
}

void StatisticsControl::setCalcErrorMosaicMode(bool on) {
    if (on && calcErrorFromInputVariance_) {
        throw DomainError("calcErrorMosaicMode: not together with calcErrorFromInputVariance");
    }
    calcErrorMosaicMode_ = on;
}

double StatisticsControl::maskPropagationThreshold(int bit) const {
    if (bit < 0 || bit > 30) throw DomainError("maskPropagationThreshold: wanted a bit in 0..30, got " + std::to_string(bit));
    return static_cast<std::size_t>(bit) < thresholds_.size() ? thresholds_[static_cast<std::size_t>(bit)] : 1.0;
}

void StatisticsControl::setMaskPropagationThreshold(int bit, double threshold) {
    if (bit < 0 || bit > 30) throw DomainError("maskPropagationThreshold: wanted a bit in 0..30, got " + std::to_string(bit));
    if (!(threshold >= 0)) {
        throw DomainError("maskPropagationThreshold: wanted a threshold >= 0, got " + std::to_string(threshold));
    }
    if (thresholds_.size() <= static_cast<std::size_t>(bit)) thresholds_.resize(static_cast<std::size_t>(bit) + 1, 1.0);
    thresholds_[static_cast<std::size_t>(bit)] = threshold;
}

std::pair<double, double> Statistics::getResult(StatisticsProperty property) const {
    int wanted = property;
    if (wanted == NOTHING) {
        wanted = flags_ & ~ERRORS;
        if (bitNumber(wanted) < 0) {
            throw DomainError("Statistics: without a property, exactly one must have been requested; flags are " +
                              std::to_string(flags_));
        }
    }
    const int bit = bitNumber(wanted);
    if (bit < 1) throw DomainError("Statistics: wanted a single property, got " + std::to_string(wanted));
    if (!(flags_ & wanted)) {
        throw DomainError("Statistics: " + statisticsPropertyName(static_cast<StatisticsProperty>(wanted)) +
                          " was not requested");
    }
    return {value_[bit], error_[bit]};
}

using stats_detail::ErrorSource;
using stats_detail::Gathered;
using stats_detail::GatherOptions;
using stats_detail::PixelStream;
using stats_detail::Sums;
using stats_detail::Weighting;

namespace {

// What StatisticsBuilder asks of its samples, whether gathered or streamed.
template <typename T>
std::vector<double> quantilesOf(Gathered<T> const& g, std::vector<double> const& fractions) {
    return quantiles(g.x.get(), g.n, fractions);
}
template <typename T>
std::vector<double> quantilesOf(PixelStream<T> const& s, std::vector<double> const& fractions) {
    return s.quantiles(fractions);
}
template <typename T>
Sums sumOver(PixelStream<T> const& s, double centre, double half) {
    return s.sums(centre, half);
}
template <typename T>
double crudeCentre(Gathered<T> const& g) {
    return static_cast<double>(g.x.get()[0]);
}
template <typename T>
double crudeCentre(PixelStream<T> const& s) {
    return s.crudeCentre();
}
template <typename T>
std::size_t countNaN(Gathered<T> const& g) {
    std::size_t n = 0;
    if constexpr (std::is_floating_point<T>::value) {
        for (std::size_t i = 0; i < g.n; ++i) n += std::isnan(g.x.get()[i]);
    }
    return n;
}
template <typename T>
std::size_t countNaN(PixelStream<T> const&) {
    return 0;  // a stream leaves them out
}
template <typename T>
std::vector<double> const& rejectedOf(Gathered<T> const& g) {
    return g.rejected;
}
template <typename T>
std::vector<double> rejectedOf(PixelStream<T> const&) {
    return {};
}
template <typename T>
bool keepsMask(Gathered<T> const& g) {
    return !g.m.empty();
}
template <typename T>
bool keepsMask(PixelStream<T> const&) {
    return false;
}

}  // namespace

// Turns samples into a Statistics.
class StatisticsBuilder {
public:
    StatisticsBuilder(int flags, StatisticsControl const& control) : flags_(flags), control_(control), out_(flags) {}

    template <typename Samples>
    Statistics build(Samples const& g) {
        double nPoint = static_cast<double>(g.n);
        const std::size_t nNaN = control_.nanSafe() ? 0 : countNaN(g);
        const bool hasNaN = nNaN > 0;
        if (control_.compat()) nPoint -= static_cast<double>(nNaN);
        const bool clip = flags_ & CLIPPED;
        double median = NaN, iqr = NaN;
        if ((clip || (flags_ & (MEDIAN | IQRANGE))) && !hasNaN && g.n > 0) {
            const std::vector<double> q = clip || (flags_ & IQRANGE) ? quantilesOf(g, {0.25, 0.5, 0.75}) : quantilesOf(g, {0.5});
            median = q[q.size() / 2];
            if (q.size() == 3) iqr = q[2] - q[0];
        }
        Sums all;
        const bool needAll = clip || (flags_ & MOMENTS) || ((flags_ & ERRORS) && (flags_ & MEDIAN)) || !rejectedOf(g).empty();
        if (needAll && g.n > 0) all = sumAll(g, median);
        if (hasNaN) all = poisoned(all);
        Sums kept = all;
        if (clip) kept = clipRounds(g, all, nPoint, median, iqr, hasNaN);
        setCounts(nPoint, static_cast<double>(g.total), kept.n, clip);
        setPlain(all, nPoint);
        setQuantiles(all, nPoint, median, iqr);
        setMoments(kept, kept.n, MEANCLIP, STDEVCLIP, VARIANCECLIP, control_.compat());
        setOrMask(g, all, kept, clip);
        return out_;
    }

    Statistics buildForMask(MaskPixel bits, long long n) {
        set(NPOINT, static_cast<double>(n), 0);
        set(SUM, bits, 0);
        set(ORMASK, bits, 0);
        out_.orMask_ = bits;
        out_.nUsed_ = n;
        return out_;
    }

private:
    // All samples, about a centre near enough to the mean that nothing cancels.
    template <typename Samples>
    Sums sumAll(Samples const& g, double median) const {
        const double start = std::isfinite(median) ? median : crudeCentre(g);
        const Sums sum = sumOver(g, std::isfinite(start) ? start : 0.0, INF);
        return stats_detail::isFarFromCentre(sum.w, sum.x, sum.x2) ? sumOver(g, sum.mean(), INF) : sum;
    }

    static Sums poisoned(Sums sum) {
        sum.x = sum.x2 = sum.min = sum.max = sum.v = sum.v1 = sum.v2 = NaN;
        return sum;
    }

    static Sums nothing() {
        Sums sum;
        sum.centre = sum.x = sum.x2 = NaN;
        return sum;
    }

    template <typename Samples>
    Sums clipRounds(Samples const& g, Sums const& all, double nPoint, double median, double iqr, bool hasNaN) const {
        if (g.n == 0 || hasNaN) return nothing();
        double centre = median, half = control_.numSigmaClip() * IQ_TO_STDEV * iqr;
        Sums kept = all;
        for (int round = 0; round < control_.numIter(); ++round) {
            if (round > 0) {
                centre = kept.mean();
                if (nPoint > 1) half = control_.numSigmaClip() * std::sqrt(kept.variance());
            }
            if (std::isnan(centre) || std::isnan(half)) return nothing();
            Sums next = sumOver(g, centre, half);
            if (!control_.compat() && next.n == 0) return kept;
            kept = next;
            if (!control_.compat() && kept.n <= 2) return kept;
        }
        return kept;
    }

    void set(StatisticsProperty property, double value, double error) {
        if (!(flags_ & property)) return;
        const int bit = bitNumber(property);
        out_.value_[bit] = value;
        out_.error_[bit] = flags_ & ERRORS ? error : NaN;
    }

    void setCounts(double n, double total, double nKept, bool clip) {
        set(NPOINT, n, 0);
        set(NMASKED, total - n, 0);
        set(NCLIPPED, n - nKept, 0);
        out_.nUsed_ = static_cast<long long>(clip ? nKept : n);
    }

    ErrorSource errorSource() const {
        if (control_.calcErrorFromInputVariance()) return ErrorSource::INPUT_VARIANCE;
        return control_.calcErrorMosaicMode() ? ErrorSource::MOSAIC : ErrorSource::SCATTER;
    }

    void setMoments(Sums const& s, double n, StatisticsProperty meanFlag, StatisticsProperty stdevFlag,
                    StatisticsProperty varianceFlag, bool noVarianceError) {
        const bool some = s.n > 0;
        const double variance = some ? s.variance() : NaN;
        const double v = control_.calcErrorMosaicMode() ? s.v1 : s.v2;
        const double squared = stats_detail::squaredErrorOfMean(errorSource(), variance, s.w, s.w2, v);
        set(meanFlag, some ? s.mean() : NaN, some ? std::sqrt(squared) : NaN);
        set(varianceFlag, variance, noVarianceError ? NaN : stats_detail::errorOfVariance(variance, n));
        set(stdevFlag, std::sqrt(variance), stats_detail::errorOfStdev(variance, n, control_.compat()));
    }

    void setPlain(Sums const& s, double n) {
        setMoments(s, n, MEAN, STDEV, VARIANCE, false);
        const bool some = s.n > 0;
        set(SUM, some ? s.x + s.w * s.centre : 0.0, 0);
        set(MIN, some ? s.min : NaN, 0);
        set(MAX, some ? s.max : NaN, 0);
        const double mean = some ? s.mean() : NaN, variance = some ? s.variance() : NaN;
        set(MEANSQUARE, stats_detail::meanSquareOf(mean, variance, n, control_.compat()),
            stats_detail::errorOfMeanSquare(mean, variance, n, control_.compat()));
    }

    void setQuantiles(Sums const& s, double n, double median, double iqr) {
        const ErrorSource source = control_.compat() ? ErrorSource::SCATTER : errorSource();
        const double squared = s.n > 0 ? stats_detail::squaredErrorOfMedian(source, s.variance(), n, s.v) : NaN;
        set(MEDIAN, median, std::sqrt(squared));
        set(IQRANGE, iqr, control_.compat() ? NaN : stats_detail::errorOfIqRange(iqr, n));
    }

    template <typename Samples>
    void setOrMask(Samples const& g, Sums const& all, Sums const& kept, bool clip) {
        out_.orMask_ = clip && control_.orMaskClipped() && !control_.compat() && keepsMask(g) ? kept.orMask : g.orMask;
        const std::vector<double> rejected = rejectedOf(g);
        for (std::size_t b = 0; b < rejected.size(); ++b) {
            const double share = rejected[b] / (all.w + rejected[b]);
            if (share > control_.maskPropagationThresholds()[b]) out_.orMask_ |= MaskPixel(1) << b;
        }
        set(ORMASK, out_.orMask_, 0);
    }

    int flags_;
    StatisticsControl const& control_;
    Statistics out_;
};

template <typename T>
Statistics computeStatistics(StatisticsSamples<T> const& s, int flags, StatisticsControl const& control) {
    const bool given = s.weights.data != nullptr || s.weights64.data != nullptr;
    if (given && control.weighted() == false) throw DomainError("weights: given although control.weighted is False");
    if (flags & ~0x1ffff) throw DomainError("flags: unknown property bits in " + std::to_string(flags));
    GatherOptions options;
    if (given) options.weighting = Weighting::GIVEN;
    else if (control.weighted().value_or(false)) options.weighting = Weighting::INVERSE_VARIANCE;
    const bool needsVariance = control.calcErrorFromInputVariance() || control.calcErrorMosaicMode();
    if ((options.weighting == Weighting::INVERSE_VARIANCE || (needsVariance && (flags & ERRORS))) &&
        s.variance.data == nullptr) {
        throw DomainError("variance: wanted for these weights or errors, but none was given");
    }
    options.keepVariance = needsVariance && (flags & ERRORS);
    options.keepMask = !s.mask.empty() && (flags & CLIPPED) && (flags & ORMASK) && control.orMaskClipped() && !control.compat();
    if constexpr (std::is_floating_point<T>::value) {
        const bool plain = options.weighting == Weighting::NONE && !options.keepVariance && !options.keepMask;
        if (plain && control.nanSafe() && !control.compat() && control.maskPropagationThresholds().empty() &&
            s.image.size() >= stats_detail::STREAM_PIXELS) {
            stats_detail::checkPlanes(s);
            return StatisticsBuilder(flags, control).build(PixelStream<T>(s, control.andMask()));
        }
    }
    return StatisticsBuilder(flags, control).build(stats_detail::gather(s, control, options));
}

Statistics makeMaskStatistics(View2<const MaskPixel> mask, int flags, StatisticsControl const& control) {
    if (flags & ~(NPOINT | SUM | ORMASK | ERRORS)) {
        throw DomainError("flags: statistics of a mask are NPOINT, SUM and ORMASK only");
    }
    if (mask.empty()) throw DomainError("mask: wanted at least one pixel, got none");
    MaskPixel bits = 0;
    for (int y = 0; y < mask.height; ++y) {
        for (int x = 0; x < mask.width; ++x) bits |= mask(x, y);
    }
    return StatisticsBuilder(flags, control).buildForMask(bits, mask.size());
}

#define STILLSKY_INSTANTIATE(T) \
    template Statistics computeStatistics<T>(StatisticsSamples<T> const&, int, StatisticsControl const&);
STILLSKY_INSTANTIATE(float)
STILLSKY_INSTANTIATE(double)
STILLSKY_INSTANTIATE(std::int32_t)
STILLSKY_INSTANTIATE(std::uint16_t)
#undef STILLSKY_INSTANTIATE

}  // namespace stillsky
