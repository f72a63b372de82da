// Runs of bad pixels, their kriging weights, and the replacement line by line.
#include "stillsky/image/interpolate.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "stillsky/core/config.hpp"
#include "stillsky/core/parallel.hpp"

namespace stillsky {
namespace {

constexpr int LONGEST = 32;  // run with weights of its own
constexpr int TAPER = 6;     // pixels interpolated next to the data in a long run at an end
constexpr int STRIP = 64;    // lines per block

using Weights = std::array<double, 4>;

// Weights of one pixel of a run: ordinary kriging, solved by elimination with pivots (at most 5 unknowns).
Weights krige(int length, int t, int pattern) {
    const double places[4] = {-2.0, -1.0, static_cast<double>(length), length + 1.0};
    const int bit[4] = {1 << 1, 1 << 0, 1 << 2, 1 << 3};  // order of the anchors along the line
    int used[4];
    int n = 0;
    for (int a = 0; a < 4; ++a) {
        if (pattern & bit[a]) used[n++] = a;
    }
    double m[5][6] = {};
    for (int i = 0; i < n; ++i) {
        for (int j = 0; j < n; ++j) {
            const double d = places[used[i]] - places[used[j]];
            m[i][j] = std::exp(-0.25 * d * d);
        }
        const double d = places[used[i]] - t;
        m[i][n] = m[n][i] = 1.0;
        m[i][n + 1] = std::exp(-0.25 * d * d);
    }
    m[n][n + 1] = 1.0;
    const int size = n + 1;
    for (int k = 0; k < size; ++k) {
        int best = k;
        for (int i = k + 1; i < size; ++i) {
            if (std::fabs(m[i][k]) > std::fabs(m[best][k])) best = i;
        }
        std::swap_ranges(m[k], m[k] + 6, m[best]);
        for (int i = 0; i < size; ++i) {
            if (i == k) continue;
            const double f = m[i][k] / m[k][k];
            for (int j = k; j <= size; ++j) m[i][j] -= f * m[k][j];
        }
    }
    Weights w{};
    for (int i = 0; i < n; ++i) w[static_cast<std::size_t>(used[i])] = m[i][size] / m[i][i];
    return w;
}

// All weights of runs up to LONGEST: [pattern][length][t].
class Table {
public:
    Table() {
        for (int pattern = 1; pattern < 16; ++pattern) {
            auto& entries = entries_[static_cast<std::size_t>(pattern)];
            for (int length = 1; length <= LONGEST; ++length) {
                for (int t = 0; t < length; ++t) entries.push_back(krige(length, t, pattern));
            }
        }
    }
    Weights const& at(int length, int t, int pattern) const {
        if (length > LONGEST) {
            if (t >= LONGEST / 2) t = std::max(LONGEST / 2, LONGEST - (length - t));
            length = LONGEST;
        }
        return entries_[static_cast<std::size_t>(pattern)][static_cast<std::size_t>(length * (length - 1) / 2 + t)];
    }

private:
    std::array<std::vector<Weights>, 16> entries_;
};

Table const& table() {
    static const Table made;
    return made;
}

struct Run {
    int first, last;
    bool operator==(Run const& o) const { return first == o.first && last == o.last; }
};
using Runs = std::vector<Run>;

STILLSKY_SIMD bool anyBad(const MaskPixel* STILLSKY_RESTRICT row, int n, MaskPixel bits) {
    MaskPixel all = 0;
    for (int x = 0; x < n; ++x) all |= row[x];
    return (all & bits) != 0;
}

// Runs of one row.
void findRow(const MaskPixel* row, int n, MaskPixel bits, Runs& runs) {
    runs.clear();
    constexpr int CHUNK = 64;
    int open = -1;
    for (int start = 0; start < n; start += CHUNK) {
        const int stop = std::min(n, start + CHUNK);
        if (!anyBad(row + start, stop - start, bits)) {
            if (open >= 0) runs.push_back({open, start - 1});
            open = -1;
            continue;
        }
        for (int x = start; x < stop; ++x) {
            if (row[x] & bits) {
                if (open < 0) open = x;
            } else if (open >= 0) {
                runs.push_back({open, x - 1});
                open = -1;
            }
        }
    }
    if (open >= 0) runs.push_back({open, n - 1});
}

// Runs of the lines [from, to), one list per line.
std::vector<Runs> findLines(View2<const MaskPixel> bad, MaskPixel bits, bool columns, int from, int to) {
    std::vector<Runs> lines(static_cast<std::size_t>(to - from));
    if (!columns) {
        for (int y = from; y < to; ++y) findRow(bad.row(y), bad.width, bits, lines[static_cast<std::size_t>(y - from)]);
        return lines;
    }
    std::vector<int> open(lines.size(), -1);
    int openCount = 0;
    for (int y = 0; y < bad.height; ++y) {
        const MaskPixel* row = bad.row(y) + from;
        if (openCount == 0 && !anyBad(row, to - from, bits)) continue;
        for (std::size_t i = 0; i < lines.size(); ++i) {
            if (row[i] & bits) {
                if (open[i] < 0) {
                    open[i] = y;
                    ++openCount;
                }
            } else if (open[i] >= 0) {
                lines[i].push_back({open[i], y - 1});
                open[i] = -1;
                --openCount;
            }
        }
    }
    for (std::size_t i = 0; i < lines.size(); ++i) {
        if (open[i] >= 0) lines[i].push_back({open[i], bad.height - 1});
    }
    return lines;
}

// One line of a plane: `step` elements between its pixels.
template <typename T>
struct Line {
    T* data;
    std::ptrdiff_t step;
    T& operator[](int i) const { return data[i * step]; }
};

template <typename T>
Line<T> lineOf(View2<T> view, bool columns, int i) {
    return columns ? Line<T>{view.data + i, view.stride} : Line<T>{view.row(i), 1};
}

// Which of the four pixels around a run are anchors: inside, good and finite.
template <typename T>
int patternOf(Line<T> values, Line<const MaskPixel> bad, MaskPixel bits, int n, int first, int last) {
    const int places[4] = {first - 1, first - 2, last + 1, last + 2};
    int pattern = 0;
    for (int a = 0; a < 4; ++a) {
        const int p = places[a];
        if (p >= 0 && p < n && !(bad[p] & bits) && std::isfinite(values[p])) pattern |= 1 << a;
    }
    return pattern;
}

bool isTapered(Run const& run, int n, bool fallbackAtEdge) {
    return fallbackAtEdge && (run.first == 0 || run.last == n - 1) && run.last - run.first >= TAPER;
}

template <typename T>
class LineFiller {
public:
    LineFiller(MaskedView<T> image, View2<const MaskPixel> bad, MaskPixel bits, MaskPixel setBits,
               InterpolationControl const& control, int i)
            : values_(lineOf(image.image, control.alongColumns, i)),
              variances_(lineOf(image.variance, control.alongColumns, i)),
              mask_(lineOf(image.mask, control.alongColumns, i)),
              bad_(lineOf(bad, control.alongColumns, i)),
              n_(control.alongColumns ? bad.height : bad.width),
              bits_(bits),
              setBits_(setBits),
              control_(control) {}

    void fill(Runs const& runs) {
        // Patterns first: the mask bits that are set may be those that mean bad.
        patterns_.clear();
        for (Run const& run : runs) patterns_.push_back(patternOf<T>(values_, bad_, bits_, n_, run.first, run.last));
        for (std::size_t k = 0; k < runs.size(); ++k) fillRun(runs[k], patterns_[k]);
        for (Run const& run : runs) {
            for (int x = run.first; x <= run.last; ++x) mask_[x] |= setBits_;
        }
    }

private:
    Line<T> values_;
    Line<VariancePixel> variances_;
    Line<MaskPixel> mask_;
    Line<const MaskPixel> bad_;
    int n_;
    MaskPixel bits_, setBits_;
    InterpolationControl const& control_;
    std::vector<int> patterns_;

    void fillRun(Run run, int pattern) {
        if (pattern == 0) {
            fallback(run.first, run.last);
        } else if (!isTapered(run, n_, control_.fallbackAtEdge)) {
            interpolate(run, pattern);
        } else if (run.first == 0) {
            // the outer pixels, then a run of 6 between them and the data
            fallback(0, run.last - TAPER);
            interpolate({run.last - TAPER + 1, run.last}, pattern | (run.last - TAPER >= 1 ? 3 : 1));
        } else {
            fallback(run.first + TAPER, run.last);
            interpolate({run.first, run.first + TAPER - 1}, pattern | (run.last - run.first - TAPER >= 1 ? 12 : 4));
        }
    }

    void fallback(int first, int last) {
        const float variance = control_.variance == InterpolatedVariance::REFERENCE
                                       ? static_cast<float>(control_.fallback)
                                       : std::numeric_limits<float>::infinity();
        for (int x = first; x <= last; ++x) {
            values_[x] = static_cast<T>(control_.fallback);
            variances_[x] = variance;
        }
    }

    void interpolate(Run run, int pattern) {
        const int length = run.last - run.first + 1;
        const int places[4] = {run.first - 2, run.first - 1, run.last + 1, run.last + 2};
        const int bit[4] = {2, 1, 4, 8};
        double value[4] = {}, variance[4] = {};
        for (int a = 0; a < 4; ++a) {
            if (pattern & bit[a]) {
                value[a] = values_[places[a]];
                variance[a] = variances_[places[a]];
            }
        }
        for (int t = 0; t < length; ++t) {
            Weights const& w = table().at(length, t, pattern);
            values_[run.first + t] =
                    static_cast<T>(w[0] * value[0] + w[1] * value[1] + w[2] * value[2] + w[3] * value[3]);
            variances_[run.first + t] = varianceOf(w, variance);
        }
    }

    float varianceOf(Weights const& w, const double (&v)[4]) const {
        if (control_.variance == InterpolatedVariance::INFINITE) return std::numeric_limits<float>::infinity();
        if (control_.variance == InterpolatedVariance::REFERENCE) {
            return static_cast<float>(w[0] * v[0] + w[1] * v[1] + w[2] * v[2] + w[3] * v[3]);
        }
        const double sum = w[0] * w[0] * v[0] + w[1] * w[1] * v[1] + w[2] * w[2] * v[2] + w[3] * w[3] * v[3];
        return sum >= 0 ? static_cast<float>(sum) : std::numeric_limits<float>::infinity();
    }
};

void checkSizes(int width, int height, View2<const MaskPixel> bad) {
    if (bad.width != width || bad.height != height) {
        throw ShapeError("interpolation: image " + std::to_string(width) + "x" + std::to_string(height) +
                         " and mask of bad pixels " + std::to_string(bad.width) + "x" + std::to_string(bad.height) +
                         " differ in size");
    }
}

int stripsOf(View2<const MaskPixel> bad, bool columns) {
    const int lines = columns ? bad.width : bad.height;
    return bad.empty() ? 0 : (lines + STRIP - 1) / STRIP;
}

// Runs of `line` that the line before has not: where a box begins.
long long newRuns(Runs const& line, Runs const& before) {
    long long count = 0;
    std::size_t k = 0;
    for (Run const& run : line) {
        while (k < before.size() && before[k].first < run.first) ++k;
        if (k == before.size() || !(before[k] == run)) ++count;
    }
    return count;
}

}  // namespace

void interpolationWeights(int length, int t, int before, int behind, double weights[4]) {
    if (length < 1 || t < 0 || t >= length) {
        throw DomainError("interpolationWeights: wanted 0 <= t < length, got t " + std::to_string(t) + ", length " +
                          std::to_string(length));
    }
    if (before < 0 || before > 3 || behind < 0 || behind > 3 || before + behind == 0) {
        throw DomainError("interpolationWeights: wanted patterns of anchors 0 to 3, not both 0, got " +
                          std::to_string(before) + " and " + std::to_string(behind));
    }
    Weights const& w = table().at(length, t, before | behind << 2);
    std::copy(w.begin(), w.end(), weights);
}

template <typename T>
InterpolationCount countInterpolation(View2<const T> image, View2<const MaskPixel> bad, MaskPixel bits,
                                      InterpolationControl const& control) {
    checkSizes(image.width, image.height, bad);
    const bool columns = control.alongColumns;
    const int lines = columns ? bad.width : bad.height;
    const int n = columns ? bad.height : bad.width;
    const int strips = stripsOf(bad, columns);
    std::vector<InterpolationCount> counts(static_cast<std::size_t>(strips));
    parallelFor(strips, [&](int s) {
        const int from = s * STRIP;
        const int to = std::min(lines, from + STRIP);
        const int lead = from > 0 ? 1 : 0;  // the line before, to which boxes may belong
        const std::vector<Runs> found = findLines(bad, bits, columns, from - lead, to);
        InterpolationCount& count = counts[static_cast<std::size_t>(s)];
        const Runs none;
        for (std::size_t i = static_cast<std::size_t>(lead); i < found.size(); ++i) {
            count.boxes += newRuns(found[i], i > 0 ? found[i - 1] : none);
            const int line = from - lead + static_cast<int>(i);
            for (Run const& run : found[i]) {
                count.pixels += run.last - run.first + 1;
                count.needsFallback =
                        count.needsFallback || isTapered(run, n, control.fallbackAtEdge) ||
                        patternOf<const T>(lineOf(image, columns, line), lineOf(bad, columns, line), bits, n, run.first,
                                           run.last) == 0;
            }
        }
    });
    InterpolationCount total;
    for (InterpolationCount const& count : counts) {
        total.pixels += count.pixels;
        total.boxes += count.boxes;
        total.needsFallback = total.needsFallback || count.needsFallback;
    }
    return total;
}

template <typename T>
void interpolateBadPixels(MaskedView<T> image, View2<const MaskPixel> bad, MaskPixel bits, MaskPixel setBits,
                          InterpolationControl const& control) {
    checkSizes(image.image.width, image.image.height, bad);
    const int lines = control.alongColumns ? bad.width : bad.height;
    parallelFor(stripsOf(bad, control.alongColumns), [&](int s) {
        const int from = s * STRIP;
        const int to = std::min(lines, from + STRIP);
        const std::vector<Runs> found = findLines(bad, bits, control.alongColumns, from, to);
        for (int i = from; i < to; ++i) {
            Runs const& runs = found[static_cast<std::size_t>(i - from)];
            if (!runs.empty()) LineFiller<T>(image, bad, bits, setBits, control, i).fill(runs);
        }
    });
}

template InterpolationCount countInterpolation(View2<const float>, View2<const MaskPixel>, MaskPixel,
                                               InterpolationControl const&);
template InterpolationCount countInterpolation(View2<const double>, View2<const MaskPixel>, MaskPixel,
                                               InterpolationControl const&);
template void interpolateBadPixels(MaskedView<float>, View2<const MaskPixel>, MaskPixel, MaskPixel,
                                   InterpolationControl const&);
template void interpolateBadPixels(MaskedView<double>, View2<const MaskPixel>, MaskPixel, MaskPixel,
                                   InterpolationControl const&);

}  // namespace stillsky
