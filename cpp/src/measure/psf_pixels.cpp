#include "stillsky/measure/psf_pixels.hpp"

#include <algorithm>
#include <cmath>

#include "stillsky/core/errors.hpp"
#include "stillsky/core/parallel.hpp"
#include "stillsky/math/matrix.hpp"
#include "stillsky/math/solve.hpp"

namespace stillsky {
namespace {

using std::size_t;
constexpr int PIXELS = 64;  // pixels solved together: their sums stay in the cache while the stars pass by
constexpr int STARS = 8;    // stars per parallel block
constexpr int LANES = 8;    // partial sums of a star's pixels

// model[k] = sum_t terms[t] coefficients[t][k]
STILLSKY_INLINE void evaluate(double const* terms, int nTerms, double const* coefficients, std::ptrdiff_t stride,
                              double* STILLSKY_RESTRICT model, int n) {
    for (int k = 0; k < n; ++k) model[k] = 0.0;
    for (int t = 0; t < nTerms; ++t) {
        double const* STILLSKY_RESTRICT c = coefficients + t * stride;
        for (int k = 0; k < n; ++k) model[k] += terms[t] * c[k];
    }
}
STILLSKY_SIMD void evaluateModel(double const* terms, int nTerms, double const* coefficients, std::ptrdiff_t stride,
                                 double* model, int n) {
    evaluate(terms, nTerms, coefficients, stride, model, n);
}

// Unit-flux pixels of one star and their weights: inverse variances with 1 % of the model added to the noise.
STILLSKY_SIMD void scaleStar(double const* STILLSKY_RESTRICT stamp, double const* STILLSKY_RESTRICT weight,
                             double const* STILLSKY_RESTRICT model, double flux, double sky,
                             double* STILLSKY_RESTRICT scaled, double* STILLSKY_RESTRICT w, int n) {
    for (int k = 0; k < n; ++k) {
        const double own = 0.01 * model[k], used = weight[k] > 0.0 ? 1.0 : 0.0;
        scaled[k] = (stamp[k] - sky) / flux;
        w[k] = used / (1.0 / ((weight[k] + (1.0 - used)) * flux * flux) + own * own + 1e-14);
    }
}

// matrix[(i, j)][k] += w[k] t_i t_j for i <= j, right[i][k] += w[k] scaled[k] t_i
STILLSKY_SIMD void addStar(double const* STILLSKY_RESTRICT terms, int nTerms, double const* STILLSKY_RESTRICT scaled,
                           double const* STILLSKY_RESTRICT w, double* STILLSKY_RESTRICT matrix,
                           double* STILLSKY_RESTRICT right, int n) {
    for (int i = 0, pair = 0; i < nTerms; ++i) {
        for (int j = i; j < nTerms; ++j, ++pair) {
            const double t = terms[i] * terms[j];
            for (int k = 0; k < n; ++k) matrix[pair * PIXELS + k] += t * w[k];
        }
        for (int k = 0; k < n; ++k) right[i * PIXELS + k] += terms[i] * (w[k] * scaled[k]);
    }
}

struct StarSums {
    double mm = 0, m1 = 0, ms = 0, s1 = 0, w1 = 0;
};

// Weighted sums over the pixels of a star, in LANES interleaved parts.
STILLSKY_SIMD void sumStar(double const* STILLSKY_RESTRICT w, double const* STILLSKY_RESTRICT model,
                           double const* STILLSKY_RESTRICT stamp, int n, StarSums* out) {
    double mm[LANES] = {}, m1[LANES] = {}, ms[LANES] = {}, s1[LANES] = {}, w1[LANES] = {};
    for (int k = 0; k < n; k += LANES) {
        const int m = n - k < LANES ? n - k : LANES;
        for (int l = 0; l < m; ++l) {
            const double wm = w[k + l] * model[k + l];
            mm[l] += wm * model[k + l];
            m1[l] += wm;
            ms[l] += wm * stamp[k + l];
            s1[l] += w[k + l] * stamp[k + l];
            w1[l] += w[k + l];
        }
    }
    for (int l = 0; l < LANES; ++l) {
        out->mm += mm[l];
        out->m1 += m1[l];
        out->ms += ms[l];
        out->s1 += s1[l];
        out->w1 += w1[l];
    }
}

// Squared residuals in units of the noise, 2 % of the model added to it; pixels beyond 5 sigma lose their weight.
STILLSKY_SIMD void clipStar(double const* STILLSKY_RESTRICT stamp, double const* STILLSKY_RESTRICT model, double flux,
                            double sky, double* STILLSKY_RESTRICT weight, double* STILLSKY_RESTRICT residual, int n) {
    for (int k = 0; k < n; ++k) {
        const double used = weight[k] > 0.0 ? 1.0 : 0.0, own = 0.02 * flux * model[k];
        const double d = stamp[k] - sky - flux * model[k];
        residual[k] = used * d * d / (1.0 / (weight[k] + (1.0 - used)) + own * own + 1e-30);
        weight[k] = residual[k] > 25.0 ? 0.0 : weight[k];
    }
}

double medianOf(std::vector<double> values) {
    const size_t n = values.size(), middle = n / 2;
    std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(middle), values.end());
    const double upper = values[middle];
    if (n % 2 == 1) return upper;
    return 0.5 * (upper + *std::max_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(middle)));
}

class Fitter {
public:
    explicit Fitter(PsfPixelInput const& in)
            : in_(in), n_(static_cast<size_t>(in.nStars)), p_(static_cast<size_t>(in.nPixels)),
              nt_(static_cast<size_t>(in.nTerms)), weights_(in.weights, in.weights + n_ * p_), flux_(n_), sky_(n_, 0.0),
              chi_(n_, 0.0), keep_(n_), coefficients_(nt_ * p_) {
        for (size_t k = 0; k < p_; ++k) nCore_ += in_.core[k] != 0;
    }

    PsfPixelFit run(int rounds) {
        firstFluxes();
        for (int iteration = 0; iteration < rounds + 2; ++iteration) {
            fitPixels(iteration == 0);
            fitStars(iteration < rounds);
            for (size_t s = 0; s < n_; ++s) keep_[s] = keep_[s] && flux_[s] > 0.0;
            if (iteration < rounds) rejectStars();
        }
        double sum = 0.0;
        for (size_t k = 0; k < p_; ++k) sum += coefficients_[k];
        for (double& c : coefficients_) c /= sum;
        return {std::move(coefficients_), std::move(keep_)};
    }

private:
    double const* stamp(size_t s) const { return in_.stamps + s * p_; }
    double const* terms(size_t s) const { return in_.terms + s * nt_; }

    void firstFluxes() {
        for (size_t s = 0; s < n_; ++s) {
            double sum = 0.0;
            for (size_t k = 0; k < p_; ++k) sum += in_.core[k] && weights_[s * p_ + k] > 0.0 ? stamp(s)[k] : 0.0;
            flux_[s] = sum;
            keep_[s] = sum > 0.0;
        }
    }

    // Mean magnitude of the unit-flux pixels: stands for the model while there is none.
    void meanStamp(size_t first, int n, double* mean) const {
        std::fill_n(mean, n, 0.0);
        for (size_t s = 0; s < n_; ++s) {
            const double flux = keep_[s] ? flux_[s] : 1.0;
            for (int k = 0; k < n; ++k) mean[k] += std::fabs((stamp(s)[first + static_cast<size_t>(k)] - sky_[s]) / flux);
        }
        for (int k = 0; k < n; ++k) mean[k] /= static_cast<double>(n_);
    }

    void fitPixels(bool first) {
        const std::vector<double> old = coefficients_;
        parallelFor((in_.nPixels + PIXELS - 1) / PIXELS, [&](int block) {
            const size_t k0 = static_cast<size_t>(block) * PIXELS;
            const int n = std::min(PIXELS, in_.nPixels - block * PIXELS);
            std::vector<double> matrix(PIXELS * nt_ * (nt_ + 1) / 2, 0.0), right(PIXELS * nt_, 0.0);
            double model[PIXELS], scaled[PIXELS], w[PIXELS];
            if (first) meanStamp(k0, n, model);
            for (size_t s = 0; s < n_; ++s) {
                if (!keep_[s]) continue;
                if (!first) evaluateModel(terms(s), in_.nTerms, &old[k0], in_.nPixels, model, n);
                scaleStar(stamp(s) + k0, &weights_[s * p_ + k0], model, flux_[s], sky_[s], scaled, w, n);
                addStar(terms(s), in_.nTerms, scaled, w, matrix.data(), right.data(), n);
            }
            for (int k = 0; k < n; ++k) solvePixel(matrix.data() + k, right.data() + k, k0 + static_cast<size_t>(k));
        });
    }

    void solvePixel(double const* matrix, double const* right, size_t k) {
        DenseMatrix m(in_.nTerms, in_.nTerms);
        std::vector<double> b(nt_);
        double trace = 0.0;
        for (int i = 0, pair = 0; i < in_.nTerms; ++i) {
            for (int j = i; j < in_.nTerms; ++j, ++pair) m(i, j) = m(j, i) = matrix[pair * PIXELS];
            b[static_cast<size_t>(i)] = right[i * PIXELS];
            trace += m(i, i);
        }
        // A pixel that no star sees falls back on zero.
        for (int i = 0; i < in_.nTerms; ++i) m(i, i) += 1e-9 * trace + (trace == 0.0 ? 1.0 : 0.0);
        const std::vector<double> solution = solveGeneral(m, b);
        for (size_t t = 0; t < nt_; ++t) coefficients_[t * p_ + k] = solution[t];
    }

    // Flux and sky of every star; the sky takes up faint unresolved neighbours.
    void fitStars(bool clip) {
        parallelFor((in_.nStars + STARS - 1) / STARS, [&](int block) {
            std::vector<double> model(p_), residual(p_);
            const size_t end = std::min(n_, static_cast<size_t>(block + 1) * STARS);
            for (size_t s = static_cast<size_t>(block) * STARS; s < end; ++s) {
                double* w = &weights_[s * p_];
                evaluateModel(terms(s), in_.nTerms, coefficients_.data(), in_.nPixels, model.data(), in_.nPixels);
                StarSums sum;
                sumStar(w, model.data(), stamp(s), in_.nPixels, &sum);
                const double determinant = sum.mm * sum.w1 - sum.m1 * sum.m1;
                sky_[s] = 0.0;
                if (determinant > 1e-12 * sum.mm * sum.w1) {
                    flux_[s] = (sum.ms * sum.w1 - sum.s1 * sum.m1) / determinant;
                    sky_[s] = (sum.mm * sum.s1 - sum.m1 * sum.ms) / determinant;
                }
                if (!clip) continue;
                clipStar(stamp(s), model.data(), flux_[s], sky_[s], w, residual.data(), in_.nPixels);
                chi_[s] = 0.0;
                for (size_t k = 0; k < p_; ++k) chi_[s] += in_.core[k] ? residual[k] : 0.0;
                chi_[s] /= nCore_;
            }
        });
    }

    void rejectStars() {
        std::vector<double> kept;
        for (size_t s = 0; s < n_; ++s) {
            if (keep_[s]) kept.push_back(chi_[s]);
        }
        if (kept.empty()) return;
        const double median = medianOf(kept);
        std::vector<double> deviation = kept;
        for (double& d : deviation) d = std::fabs(d - median);
        const double limit = median + 5 * 1.4826 * medianOf(deviation) + 0.5;
        const auto left = std::count_if(kept.begin(), kept.end(), [&](double chi) { return chi < limit; });
        if (left < std::max(3, in_.nTerms)) return;
        for (size_t s = 0; s < n_; ++s) keep_[s] = keep_[s] && chi_[s] < limit;
    }

    PsfPixelInput const& in_;
    size_t n_, p_, nt_;
    std::vector<double> weights_, flux_, sky_, chi_;
    std::vector<unsigned char> keep_;
    std::vector<double> coefficients_;
    double nCore_ = 0.0;
};

}  // namespace

PsfPixelFit fitPsfPixels(PsfPixelInput const& input, int rounds) {
    if (input.nStars < 1 || input.nPixels < 1 || input.nTerms < 1) {
        throw ShapeError("fitPsfPixels: wanted stars, pixels and terms, got none");
    }
    if (rounds < 0) throw DomainError("fitPsfPixels: rounds: wanted a number >= 0");
    return Fitter(input).run(rounds);
}

}  // namespace stillsky
