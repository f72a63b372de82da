#include "stillsky/measure/dipole_fit.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "psf_spline.hpp"
#include "stillsky/core/errors.hpp"
#include "stillsky/core/parallel.hpp"
#include "stillsky/geom/box.hpp"
#include "stillsky/math/matrix.hpp"
#include "stillsky/math/solve.hpp"

namespace stillsky {
namespace {

using std::size_t;
using Doubles = std::vector<double>;
constexpr double NOT_A_NUMBER = std::numeric_limits<double>::quiet_NaN();
constexpr int RIM = 3;             // pixels around the box that the planes are fitted to
constexpr int CLIP_ROUNDS = 3;     // of the planes
constexpr double CLIP_SIGMA = 3;
constexpr double POSITION_SCALE = 1e-9;  // least diagonal of the normal matrix relative to its largest

enum Which { DIFFERENCE = 0, SCIENCE = 1, REFERENCE = 2, IMAGES = 3 };
// How the lobes enter each image.
constexpr double POSITIVE_SIGN[IMAGES] = {1, 1, 0};
constexpr double NEGATIVE_SIGN[IMAGES] = {-1, 0, 1};

int termsOf(int order) { return (order + 1) * (order + 2) / 2; }

// Polynomial terms 1, x, y, x^2, xy, y^2 at offsets from the box's centre.
void polynomial(int order, double x, double y, double* out) {
    out[0] = 1;
    if (order > 0) {
        out[1] = x;
        out[2] = y;
    }
    if (order > 1) {
        out[3] = x * x;
        out[4] = x * y;
        out[5] = y * y;
    }
}

// Value, variance and quality of a pixel in each image; a missing direct image is made of the other two.
template <typename T>
struct Pixels {
    double value[IMAGES] = {}, variance[IMAGES] = {1, 1, 1};
    bool good[IMAGES] = {};

    void read(DipoleImages<T> const& images, int x, int y) {
        MeasureInput<T> const* inputs[IMAGES] = {images.difference, images.science, images.reference};
        for (int k = 0; k < IMAGES; ++k) good[k] = inputs[k] && inputs[k]->pixel(x, y, value[k], variance[k]);
        if (!images.science && images.reference) make(SCIENCE, REFERENCE, 1.0);
        if (!images.reference && images.science) make(REFERENCE, SCIENCE, -1.0);
    }

private:
    void make(int which, int other, double sign) {
        good[which] = good[other] && good[DIFFERENCE];
        value[which] = value[other] + sign * value[DIFFERENCE];
        // What the difference has more than the other, were it their plain difference.
        variance[which] = std::max(variance[DIFFERENCE] - variance[other], 0.1 * variance[DIFFERENCE]);
    }
};

// One source: its pixels, the model and the iteration.
template <typename T>
class Dipole {
public:
    Dipole(DipoleImages<T> const& images, View2<const double> const* psfs, DipoleStart const& start,
           SpanSet const& footprint, DipoleFitControl const& control)
            : images_(images), psfs_(psfs), start_(start), footprint_(footprint), control_(control) {
        const Box2I image({0, 0}, {images.difference->image.width, images.difference->image.height});
        box_ = footprint.bbox().clippedTo(image);
        if (lobesKnown() && !control.reference) box_ = box_.clippedTo(aroundLobes());
        direct_ = images.science || images.reference;
        nImages_ = direct_ ? IMAGES : 1;
        nFluxes_ = control.separateFluxes ? 2 : 1;
        nTerms_ = direct_ && control.fitBackground == 2 ? termsOf(control.backgroundOrder) : 0;
        nLinear_ = nFluxes_ + 2 * nTerms_;
        nParameters_ = 4 + nLinear_;
    }

    DipoleFitResult run() {
        DipoleFitResult r{start_.posX, start_.posY, start_.negX, start_.negY, NOT_A_NUMBER, NOT_A_NUMBER, NOT_A_NUMBER,
                          NOT_A_NUMBER, NOT_A_NUMBER, NOT_A_NUMBER, NOT_A_NUMBER, NOT_A_NUMBER, NOT_A_NUMBER,
                          NOT_A_NUMBER, NOT_A_NUMBER, NOT_A_NUMBER, NOT_A_NUMBER, NOT_A_NUMBER, NOT_A_NUMBER,
                          NOT_A_NUMBER, 0, nParameters_, 0, 0};
        if (!usable()) {
            r.flagBits |= dipole_flags::FAILED | dipole_flags::NO_DATA;
            return r;
        }
        readPixels(r);
        if (r.nData <= nParameters_) {
            r.flagBits |= dipole_flags::FAILED | dipole_flags::NO_DATA;
            return r;
        }
        setBounds();
        const bool planes = direct_ && control_.fitBackground == 1;
        if (planes) subtractPlanes(false);
        iterate(r);
        if (planes && !control_.reference) {
            // Once more, without the light of the source in the rim.
            subtractPlanes(true);
            iterate(r);
        }
        finish(r);
        return r;
    }

private:
    size_t count() const { return static_cast<size_t>(box_.width()) * static_cast<size_t>(box_.height()); }

    bool lobesKnown() const {
        for (double v : {start_.posX, start_.posY, start_.negX, start_.negY}) {
            if (!(std::fabs(v) < 1e9)) return false;
        }
        return start_.maxShift > 0 && start_.maxShift < 1e9;
    }

    // As far as the lobes can go: the footprint of a dipole is smaller, one that others joined is not.
    Box2I aroundLobes() const {
        const double m = start_.maxShift;
        const int x0 = static_cast<int>(std::floor(std::min(start_.posX, start_.negX) - m));
        const int y0 = static_cast<int>(std::floor(std::min(start_.posY, start_.negY) - m));
        const int x1 = static_cast<int>(std::ceil(std::max(start_.posX, start_.negX) + m));
        const int y1 = static_cast<int>(std::ceil(std::max(start_.posY, start_.negY) + m));
        return Box2I({x0, y0}, {x1 - x0 + 1, y1 - y0 + 1});
    }

    bool usable() const {
        if (!lobesKnown()) return false;
        for (int k = 0; k < nImages_; ++k) {
            for (int j = 0; j < psfs_[k].height; ++j) {
                for (int i = 0; i < psfs_[k].width; ++i) {
                    if (!std::isfinite(psfs_[k](i, j))) return false;
                }
            }
        }
        return box_.width() > 0 && box_.height() > 0;
    }

    void readPixels(DipoleFitResult& r) {
        const size_t n = count();
        double noise[IMAGES] = {};
        for (int k = 0; k < nImages_; ++k) {
            data_[k].assign(n, 0.0);
            raw_[k].assign(n, 0.0);
            weight_[k].assign(n, 0.0);
            for (auto* plane : {&posModel_[k], &posX_[k], &posY_[k], &negModel_[k], &negX_[k], &negY_[k]}) plane->resize(n);
        }
        Pixels<T> pixel;
        size_t at = 0;
        for (int y = box_.minY(); y <= box_.maxY(); ++y) {
            for (int x = box_.minX(); x <= box_.maxX(); ++x, ++at) {
                pixel.read(images_, x, y);
                for (int k = 0; k < nImages_; ++k) {
                    if (!pixel.good[k]) continue;
                    raw_[k][at] = data_[k][at] = pixel.value[k];
                    weight_[k][at] = control_.reference ? 1.0 : 1.0 / pixel.variance[k];
                    noise[k] += pixel.variance[k];
                    ++r.nData;
                }
            }
        }
        r.posNoise = std::sqrt(noise[direct_ ? SCIENCE : DIFFERENCE]);
        r.negNoise = std::sqrt(noise[direct_ ? REFERENCE : DIFFERENCE]);
    }

    // Within maxShift of the start and inside the box: outside of it the pixels say nothing about a flux.
    void setBounds() {
        const double first[4] = {start_.posX, start_.posY, start_.negX, start_.negY};
        const double least[2] = {box_.minX() - 0.5, box_.minY() - 0.5}, most[2] = {box_.maxX() + 0.5, box_.maxY() + 0.5};
        for (int p = 0; p < 4; ++p) {
            low_[p] = std::max(least[p % 2], first[p] - start_.maxShift);
            high_[p] = std::max(low_[p], std::min(most[p % 2], first[p] + start_.maxShift));
            at_[p] = std::min(high_[p], std::max(low_[p], first[p]));
        }
    }

    // Plane of one direct image from the pixels around the box and outside the footprint.
    void subtractPlanes(bool withoutSource) {
        const Box2I image({0, 0}, {images_.difference->image.width, images_.difference->image.height});
        const Box2I rim = box_.dilatedBy(RIM).clippedTo(image);
        const double middleX = 0.5 * (box_.minX() + box_.maxX()), middleY = 0.5 * (box_.minY() + box_.maxY());
        const int p = termsOf(control_.backgroundOrder);
        const size_t width = static_cast<size_t>(rim.width()), n = width * static_cast<size_t>(rim.height());
        std::vector<char> inside(n, 0);
        const SpanSet within = footprint_.clipped(rim);
        for (Span s : within.spans()) {
            for (int x = s.x0; x <= s.x1; ++x) {
                inside[static_cast<size_t>(s.y - rim.minY()) * width + static_cast<size_t>(x - rim.minX())] = 1;
            }
        }
        for (int k = SCIENCE; k <= REFERENCE; ++k) {
            Doubles model(n, 0.0), values, columns;
            if (withoutSource) {
                Doubles dx(n), dy(n);
                const bool positive = k == SCIENCE;
                psf_spline::evaluate(psfs_[k], at_[positive ? 0 : 2], at_[positive ? 1 : 3], rim.minX(), rim.minY(),
                                     rim.width(), rim.height(), model.data(), dx.data(), dy.data(), work_);
                for (double& m : model) m *= positive ? linear_[0] : negativeFlux();
            }
            gatherRim(rim, inside, model, k, middleX, middleY, values, columns);
            const Doubles plane = clippedFit(columns, values, p, control_.reference ? 0 : CLIP_ROUNDS);
            size_t at = 0;
            for (int y = box_.minY(); y <= box_.maxY(); ++y) {
                for (int x = box_.minX(); x <= box_.maxX(); ++x, ++at) {
                    double terms[6], level = 0;
                    polynomial(control_.backgroundOrder, x - middleX, y - middleY, terms);
                    for (int t = 0; t < p; ++t) level += plane[static_cast<size_t>(t)] * terms[t];
                    data_[k][at] = raw_[k][at] - level;
                }
            }
            if (control_.reference) subtractMedian(k);
        }
    }

    // What Rubin's code takes off after the plane: in a box full of light it is too much.
    void subtractMedian(int k) {
        Doubles good;
        for (size_t i = 0; i < count(); ++i) {
            if (weight_[k][i] > 0) good.push_back(data_[k][i]);
        }
        if (good.empty()) return;
        const auto middle = good.begin() + static_cast<std::ptrdiff_t>(good.size() / 2);
        std::nth_element(good.begin(), middle, good.end());
        double median = *middle;
        if (good.size() % 2 == 0) median = 0.5 * (median + *std::max_element(good.begin(), middle));
        for (double& v : data_[k]) v -= median;
    }

    void gatherRim(Box2I const& rim, std::vector<char> const& inside, Doubles const& model, int k, double middleX,
                   double middleY, Doubles& values, Doubles& columns) const {
        Pixels<T> pixel;
        size_t at = 0;
        for (int y = rim.minY(); y <= rim.maxY(); ++y) {
            for (int x = rim.minX(); x <= rim.maxX(); ++x, ++at) {
                if (inside[at]) continue;
                pixel.read(images_, x, y);
                if (!pixel.good[k]) continue;
                double terms[6];
                polynomial(control_.backgroundOrder, x - middleX, y - middleY, terms);
                columns.insert(columns.end(), terms, terms + termsOf(control_.backgroundOrder));
                values.push_back(pixel.value[k] - model[at]);
            }
        }
    }

    // Least squares with rejection; zeros when there are too few pixels.
    static Doubles clippedFit(Doubles const& columns, Doubles const& values, int p, int rounds) {
        const size_t np = static_cast<size_t>(p), n = values.size();
        Doubles solution(np, 0.0);
        std::vector<char> keep(n, 1);
        for (int round = 0; round <= rounds; ++round) {
            DenseMatrix m(p, p);
            Doubles b(np, 0.0);
            size_t used = 0;
            for (size_t i = 0; i < n; ++i) {
                if (!keep[i]) continue;
                ++used;
                for (size_t a = 0; a < np; ++a) {
                    b[a] += columns[i * np + a] * values[i];
                    for (size_t c = 0; c < np; ++c) {
                        m(static_cast<int>(a), static_cast<int>(c)) += columns[i * np + a] * columns[i * np + c];
                    }
                }
            }
            if (used < 3 * np) return round ? solution : Doubles(np, 0.0);
            solution = SymmetricSolver(m).solve(b);
            double square = 0;
            Doubles residual(n);
            for (size_t i = 0; i < n; ++i) {
                residual[i] = values[i];
                for (size_t a = 0; a < np; ++a) residual[i] -= columns[i * np + a] * solution[a];
                if (keep[i]) square += residual[i] * residual[i];
            }
            const double limit = CLIP_SIGMA * std::sqrt(square / static_cast<double>(used));
            bool changed = false;
            for (size_t i = 0; i < n; ++i) {
                const char now = std::fabs(residual[i]) <= limit ? 1 : 0;
                changed = changed || now != keep[i];
                keep[i] = now;
            }
            if (!changed) break;
        }
        return solution;
    }

    double imageWeight(int k) const { return k == DIFFERENCE ? 1.0 : control_.relWeight * control_.relWeight; }
    double negativeFlux() const { return control_.separateFluxes ? linear_[1] : linear_[0]; }

    // PSFs at both lobes in every image.
    void evaluatePsfs() {
        for (int k = 0; k < nImages_; ++k) {
            int same = k;
            for (int other = 0; other < k; ++other) {
                if (psfs_[other].data == psfs_[k].data && psfs_[other].width == psfs_[k].width) same = std::min(same, other);
            }
            if (same != k) {
                posModel_[k] = posModel_[same], posX_[k] = posX_[same], posY_[k] = posY_[same];
                negModel_[k] = negModel_[same], negX_[k] = negX_[same], negY_[k] = negY_[same];
                continue;
            }
            psf_spline::evaluate(psfs_[k], at_[0], at_[1], box_.minX(), box_.minY(), box_.width(), box_.height(),
                                 posModel_[k].data(), posX_[k].data(), posY_[k].data(), work_);
            psf_spline::evaluate(psfs_[k], at_[2], at_[3], box_.minX(), box_.minY(), box_.width(), box_.height(),
                                 negModel_[k].data(), negX_[k].data(), negY_[k].data(), work_);
        }
    }

    // Derivatives of the model of image k by all parameters at a pixel: x+, y+, x-, y-, fluxes, backgrounds.
    void columnsAt(int k, size_t i, double const* terms, double* out) const {
        const double plus = POSITIVE_SIGN[k], minus = NEGATIVE_SIGN[k];
        const double fp = linear_[0], fn = negativeFlux();
        out[0] = plus * fp * posX_[k][i];
        out[1] = plus * fp * posY_[k][i];
        out[2] = minus * fn * negX_[k][i];
        out[3] = minus * fn * negY_[k][i];
        const double p = plus * posModel_[k][i], m = minus * negModel_[k][i];
        if (nFluxes_ == 2) {
            out[4] = p;
            out[5] = m;
        } else {
            out[4] = p + m;
        }
        double* background = out + 4 + nFluxes_;
        for (int t = 0; t < nTerms_; ++t) {
            background[t] = plus * terms[t];
            background[nTerms_ + t] = minus * terms[t];
        }
    }

    // Calls body(image, pixel index, columns) for every good pixel.
    template <typename Body>
    void eachPixel(Body const& body) const {
        double terms[6] = {}, columns[4 + 2 + 12];
        const double middleX = 0.5 * (box_.minX() + box_.maxX()), middleY = 0.5 * (box_.minY() + box_.maxY());
        size_t i = 0;
        for (int y = box_.minY(); y <= box_.maxY(); ++y) {
            for (int x = box_.minX(); x <= box_.maxX(); ++x, ++i) {
                if (nTerms_) polynomial(control_.backgroundOrder, x - middleX, y - middleY, terms);
                for (int k = 0; k < nImages_; ++k) {
                    if (weight_[k][i] == 0.0) continue;
                    columnsAt(k, i, terms, columns);
                    body(k, i, columns);
                }
            }
        }
    }

    // Normal equations of all parameters about the current values; the right side is for the data themselves in the
    // linear parameters, so that one sum serves the linear solution and the step.
    void normalEquations(DenseMatrix& a, Doubles& dataSide, double& dataSquare) const {
        a = DenseMatrix(nParameters_, nParameters_);
        dataSide.assign(static_cast<size_t>(nParameters_), 0.0);
        dataSquare = 0;
        const int n = nParameters_;
        double sum[18][18] = {}, right[18] = {};
        eachPixel([&](int k, size_t i, double const* columns) {
            const double w = weight_[k][i] * imageWeight(k), wd = w * data_[k][i];
            dataSquare += wd * data_[k][i];
            for (int p = 0; p < n; ++p) {
                // Half of the columns of a direct image are zero.
                if (columns[p] == 0.0) continue;
                right[p] += wd * columns[p];
                const double wc = w * columns[p];
                for (int q = 0; q <= p; ++q) sum[p][q] += wc * columns[q];
            }
        });
        for (int p = 0; p < n; ++p) {
            dataSide[static_cast<size_t>(p)] = right[p];
            for (int q = 0; q <= p; ++q) a(p, q) = sum[p][q];
        }
        for (int p = 0; p < nParameters_; ++p) {
            for (int q = 0; q < p; ++q) a(q, p) = a(p, q);
        }
    }

    // Linear parameters at the current positions, and chi-square with all weights. Position columns scale with the
    // fluxes, so the matrix is built with unit fluxes first.
    double solveLinear(DenseMatrix& a, Doubles& side) {
        linear_.assign(static_cast<size_t>(nLinear_), 0.0);
        linear_[0] = 1.0;
        if (nFluxes_ == 2) linear_[1] = 1.0;
        double square;
        normalEquations(a, side, square);
        std::vector<int> free;
        for (int p = 0; p < nLinear_; ++p) free.push_back(p);
        Doubles solution(static_cast<size_t>(nLinear_), 0.0);
        for (int round = 0; round <= nFluxes_; ++round) {
            const int n = static_cast<int>(free.size());
            DenseMatrix m(n, n);
            Doubles b(free.size());
            for (int p = 0; p < n; ++p) {
                const int fp = free[static_cast<size_t>(p)];
                b[static_cast<size_t>(p)] = side[static_cast<size_t>(4 + fp)];
                for (int q = 0; q < nLinear_; ++q) {
                    const auto found = std::find(free.begin(), free.end(), q);
                    if (found == free.end()) {
                        b[static_cast<size_t>(p)] -= a(4 + fp, 4 + q) * solution[static_cast<size_t>(q)];
                    } else {
                        m(p, static_cast<int>(found - free.begin())) = a(4 + fp, 4 + q);
                    }
                }
            }
            if (n > 0) {
                const Doubles part = SymmetricSolver(m).solve(b);
                for (size_t p = 0; p < free.size(); ++p) solution[static_cast<size_t>(free[p])] = part[p];
            }
            // A flux below its bound is held there.
            int worst = -1;
            for (int p = 0; p < nFluxes_; ++p) {
                const double f = solution[static_cast<size_t>(p)];
                const bool isFree = std::find(free.begin(), free.end(), p) != free.end();
                if (isFree && f < control_.minFlux && (worst < 0 || f < solution[static_cast<size_t>(worst)])) worst = p;
            }
            if (worst < 0) break;
            solution[static_cast<size_t>(worst)] = control_.minFlux;
            free.erase(std::find(free.begin(), free.end(), worst));
            fluxAtBound_ = true;
        }
        linear_ = solution;
        double chi2 = square;
        for (int p = 0; p < nLinear_; ++p) {
            chi2 -= 2 * solution[static_cast<size_t>(p)] * side[static_cast<size_t>(4 + p)];
            for (int q = 0; q < nLinear_; ++q) {
                chi2 += solution[static_cast<size_t>(p)] * a(4 + p, 4 + q) * solution[static_cast<size_t>(q)];
            }
        }
        rescale(a, side);
        return std::max(0.0, chi2);
    }

    // From unit fluxes to the current ones, and from the data to the residuals.
    void rescale(DenseMatrix& a, Doubles& side) const {
        for (int p = 0; p < nParameters_; ++p) {
            for (int q = 0; q < nLinear_; ++q) {
                side[static_cast<size_t>(p)] -= a(p, 4 + q) * linear_[static_cast<size_t>(q)];
            }
        }
        const double scale[4] = {linear_[0], linear_[0], negativeFlux(), negativeFlux()};
        for (int p = 0; p < nParameters_; ++p) {
            const double sp = p < 4 ? scale[p] : 1.0;
            side[static_cast<size_t>(p)] *= sp;
            for (int q = 0; q < nParameters_; ++q) a(p, q) *= sp * (q < 4 ? scale[q] : 1.0);
        }
    }

    void iterate(DipoleFitResult& r) {
        DenseMatrix a(1, 1), trialMatrix(1, 1);
        Doubles side, trialSide;
        evaluatePsfs();
        double chi2 = solveLinear(a, side), damping = 1e-3;
        int evaluations = 1;
        bool converged = false;
        while (!converged && evaluations < control_.maxEvaluations) {
            const Doubles step = dampedStep(a, side, damping);
            double old[4], moved = 0;
            const Doubles oldLinear = linear_;
            std::copy(at_, at_ + 4, old);
            for (int p = 0; p < 4; ++p) {
                at_[p] = std::min(high_[p], std::max(low_[p], old[p] + step[static_cast<size_t>(p)]));
                moved = std::max(moved, std::fabs(at_[p] - old[p]));
            }
            evaluatePsfs();
            const double trial = solveLinear(trialMatrix, trialSide);
            ++evaluations;
            if (trial <= chi2) {
                converged = chi2 - trial <= control_.tolerance * chi2 && moved < 1e-3;
                converged = converged || moved < control_.tolerance;
                chi2 = trial;
                a = trialMatrix;
                side = trialSide;
                damping = std::max(1e-9, damping * 0.1);
                continue;
            }
            std::copy(old, old + 4, at_);
            linear_ = oldLinear;
            converged = moved < control_.tolerance || damping > 1e9;
            damping *= 10;
        }
        r.nEvaluations += evaluations;
        if (!converged) r.flagBits |= dipole_flags::NOT_CONVERGED;
        evaluatePsfs();
        fluxAtBound_ = false;
        solveLinear(a, side);
        normal_ = a;
    }

    Doubles dampedStep(DenseMatrix const& a, Doubles const& side, double damping) const {
        DenseMatrix m = a;
        double largest = 0;
        for (int p = 0; p < 4; ++p) largest = std::max(largest, a(p, p));
        for (int p = 0; p < 4; ++p) m(p, p) += damping * a(p, p) + POSITION_SCALE * largest + 1e-30;
        return SymmetricSolver(m).solve(side);
    }

    void finish(DipoleFitResult& r) {
        r.posX = at_[0], r.posY = at_[1], r.negX = at_[2], r.negY = at_[3];
        r.posFlux = linear_[0], r.negFlux = negativeFlux();
        chiSquares(r);
        errorsOf(r);
        for (int p = 0; p < 4; ++p) {
            if (at_[p] <= low_[p] || at_[p] >= high_[p]) r.flagBits |= dipole_flags::AT_BOUND;
        }
        if (fluxAtBound_) r.flagBits |= dipole_flags::AT_BOUND;
        const double width = images_.difference->image.width, height = images_.difference->image.height;
        for (int lobe = 0; lobe < 4; lobe += 2) {
            const double x = at_[lobe], y = at_[lobe + 1], e = start_.edge;
            if (x - e < -0.5 || y - e < -0.5 || x + e > width - 0.5 || y + e > height - 0.5) r.flagBits |= dipole_flags::EDGE;
        }
        r.chi2Single = std::min(singleChi2(at_[0], at_[1]), singleChi2(at_[2], at_[3]));
    }

    void chiSquares(DipoleFitResult& r) const {
        r.chi2 = r.chi2Difference = 0;
        eachPixel([&](int k, size_t i, double const* columns) {
            double d = data_[k][i];
            for (int p = 0; p < nLinear_; ++p) d -= columns[4 + p] * linear_[static_cast<size_t>(p)];
            r.chi2 += d * d * weight_[k][i] * (control_.reference ? imageWeight(k) : 1.0);
            if (k == DIFFERENCE) r.chi2Difference += d * d * weight_[k][i];
        });
    }

    // A^-1 B A^-1 with B = sum over pixels of J' W C W J, C the covariance of the three images at the pixel.
    // `reference`: the inverse of the normal matrix times the reduced chi-square.
    void errorsOf(DipoleFitResult& r) const {
        const SymmetricSolver solver(normal_);
        if (control_.reference) {
            DenseMatrix scaled = normal_;
            for (int p = 0; p < nParameters_; ++p) {
                for (int q = 0; q < nParameters_; ++q) scaled(p, q) *= r.chi2 / (r.nData - nParameters_);
            }
            storeErrors(solver, scaled, r);
            return;
        }
        DenseMatrix b(nParameters_, nParameters_);
        double terms[6] = {}, columns[IMAGES][18] = {};
        const double middleX = 0.5 * (box_.minX() + box_.maxX()), middleY = 0.5 * (box_.minY() + box_.maxY());
        size_t i = 0;
        for (int y = box_.minY(); y <= box_.maxY(); ++y) {
            for (int x = box_.minX(); x <= box_.maxX(); ++x, ++i) {
                if (nTerms_) polynomial(control_.backgroundOrder, x - middleX, y - middleY, terms);
                double w[IMAGES] = {}, v[IMAGES] = {};
                for (int k = 0; k < nImages_; ++k) {
                    columnsAt(k, i, terms, columns[k]);
                    w[k] = weight_[k][i] * imageWeight(k);
                    v[k] = weight_[k][i] > 0 ? 1 / weight_[k][i] : 0.0;
                }
                v[REFERENCE] *= control_.referenceNoise;
                double c[IMAGES][IMAGES] = {};
                for (int k = 0; k < IMAGES; ++k) c[k][k] = v[k];
                if (direct_ && v[SCIENCE] + v[REFERENCE] > 0) {
                    const double s = std::min(1.0, std::sqrt(v[DIFFERENCE] / (v[SCIENCE] + v[REFERENCE])));
                    c[DIFFERENCE][SCIENCE] = c[SCIENCE][DIFFERENCE] = s * v[SCIENCE];
                    c[DIFFERENCE][REFERENCE] = c[REFERENCE][DIFFERENCE] = -s * v[REFERENCE];
                }
                for (int k = 0; k < nImages_; ++k) {
                    for (int l = 0; l < nImages_; ++l) {
                        const double f = w[k] * c[k][l] * w[l];
                        if (f == 0.0) continue;
                        for (int p = 0; p < nParameters_; ++p) {
                            for (int q = 0; q < nParameters_; ++q) b(p, q) += f * columns[k][p] * columns[l][q];
                        }
                    }
                }
            }
        }
        storeErrors(solver, b, r);
    }

    void storeErrors(SymmetricSolver const& solver, DenseMatrix const& b, DipoleFitResult& r) const {
        const DenseMatrix inverse = solver.inverse();
        const auto covariance = [&](int p, int q) {
            double sum = 0;
            for (int s = 0; s < nParameters_; ++s) {
                for (int t = 0; t < nParameters_; ++t) sum += inverse(p, s) * b(s, t) * inverse(t, q);
            }
            return sum;
        };
        double errors[6];
        for (int p = 0; p < 6; ++p) {
            const int own = std::min(p, nFluxes_ + 3);
            errors[p] = std::sqrt(std::max(0.0, covariance(own, own)));
        }
        r.posXErr = errors[0], r.posYErr = errors[1], r.negXErr = errors[2], r.negYErr = errors[3];
        r.posFluxErr = errors[4], r.negFluxErr = errors[5];
        r.xCov = covariance(0, 2), r.yCov = covariance(1, 3), r.fluxCov = covariance(4, nFluxes_ + 3);
        bool bad = solver.nDropped() > 0 || solver.nFixed() > 0;
        for (double e : errors) bad = bad || !(e > 0 && std::isfinite(e));
        if (bad) r.flagBits |= dipole_flags::SINGULAR;
    }

    // Chi-square of the difference with one PSF of free flux and position, by Gauss-Newton steps of at most a pixel.
    double singleChi2(double x, double y) {
        const size_t n = count();
        Doubles model(n), byX(n), byY(n);
        double best = std::numeric_limits<double>::infinity();
        for (int round = 0; round < 12; ++round) {
            psf_spline::evaluate(psfs_[DIFFERENCE], x, y, box_.minX(), box_.minY(), box_.width(), box_.height(),
                                 model.data(), byX.data(), byY.data(), work_);
            double mm = 0, md = 0, dd = 0, xx = 0, yy = 0, xy = 0, xm = 0, ym = 0, xd = 0, yd = 0;
            for (size_t i = 0; i < n; ++i) {
                const double w = weight_[DIFFERENCE][i], d = data_[DIFFERENCE][i];
                mm += w * model[i] * model[i], md += w * model[i] * d, dd += w * d * d;
                xx += w * byX[i] * byX[i], yy += w * byY[i] * byY[i], xy += w * byX[i] * byY[i];
                xm += w * byX[i] * model[i], ym += w * byY[i] * model[i];
                xd += w * byX[i] * d, yd += w * byY[i] * d;
            }
            if (!(mm > 0)) return std::min(best, dd);
            const double f = md / mm, chi2 = dd - f * md;
            if (chi2 >= best * (1 - 1e-6)) return std::min(best, chi2);
            best = chi2;
            // Positions with the flux projected out.
            const double a = xx - xm * xm / mm, b = yy - ym * ym / mm, c = xy - xm * ym / mm, det = a * b - c * c;
            const double gx = xd - f * xm, gy = yd - f * ym;
            if (!(det > 1e-12 * xx * yy) || f == 0.0) return best;
            x += std::min(1.0, std::max(-1.0, (b * gx - c * gy) / (det * f)));
            y += std::min(1.0, std::max(-1.0, (a * gy - c * gx) / (det * f)));
        }
        return best;
    }

    DipoleImages<T> const& images_;
    View2<const double> const* psfs_;
    DipoleStart const& start_;
    SpanSet const& footprint_;
    DipoleFitControl const& control_;
    Box2I box_;
    bool direct_ = false, fluxAtBound_ = false;
    int nImages_ = 1, nFluxes_ = 2, nTerms_ = 0, nLinear_ = 2, nParameters_ = 6;
    double at_[4] = {}, low_[4] = {}, high_[4] = {};
    Doubles linear_;
    Doubles data_[IMAGES], raw_[IMAGES], weight_[IMAGES];
    Doubles posModel_[IMAGES], posX_[IMAGES], posY_[IMAGES], negModel_[IMAGES], negX_[IMAGES], negY_[IMAGES];
    DenseMatrix normal_{1, 1};
    psf_spline::Workspace work_;
};

}  // namespace

template <typename T>
std::vector<DipoleFitResult> dipoleFit(DipoleImages<T> const& images, DipolePsfs const& psfs,
                                       std::vector<DipoleStart> const& starts, std::vector<SpanSet> const& footprints,
                                       DipoleFitControl const& control) {
    const size_t n = starts.size();
    if (!images.difference) throw ShapeError("dipoleFit: wanted a difference image");
    for (MeasureInput<T> const* other : {images.science, images.reference}) {
        if (other && (other->image.width != images.difference->image.width ||
                      other->image.height != images.difference->image.height)) {
            throw ShapeError("dipoleFit: science, template and difference image differ in size");
        }
    }
    if (footprints.size() != n) throw ShapeError("dipoleFit: wanted one footprint per source");
    for (StampStack const* stack : {&psfs.difference, &psfs.science, &psfs.reference}) {
        if (stack->n != 1 && static_cast<size_t>(stack->n) != n) {
            throw ShapeError("dipoleFit: wanted one PSF for all sources or one for each");
        }
    }
    if (control.fitBackground < 0 || control.fitBackground > 2 || control.backgroundOrder < 0 ||
        control.backgroundOrder > 2) {
        throw DomainError("dipoleFit: fitBackground and backgroundOrder: wanted 0, 1 or 2");
    }
    std::vector<DipoleFitResult> out(n);
    parallelFor(static_cast<int>(n), [&](int block) {
        const size_t i = static_cast<size_t>(block);
        const View2<const double> stamps[IMAGES] = {psfs.difference[i], psfs.science[i], psfs.reference[i]};
        out[i] = Dipole<T>(images, stamps, starts[i], footprints[i], control).run();
    });
    return out;
}

template std::vector<DipoleFitResult> dipoleFit<float>(DipoleImages<float> const&, DipolePsfs const&,
                                                       std::vector<DipoleStart> const&, std::vector<SpanSet> const&,
                                                       DipoleFitControl const&);
template std::vector<DipoleFitResult> dipoleFit<double>(DipoleImages<double> const&, DipolePsfs const&,
                                                        std::vector<DipoleStart> const&, std::vector<SpanSet> const&,
                                                        DipoleFitControl const&);

}  // namespace stillsky
