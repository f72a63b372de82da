#include "stillsky/measure/blend_fit.hpp"

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

struct Place {
    double x, y, flux;
};

// Model of unit flux and its derivatives by the centre, on a box of pixels of its own.
struct Source {
    double x, y, startX, startY, flux = 0;
    Box2I box;
    Doubles value, byX, byY;
};

template <typename T>
class Blend {
public:
    Blend(MeasureInput<T> const& input, View2<const double> psf, double const* x, double const* y, BlendGroup const& group,
          BlendFitControl const& control)
            : input_(input), psf_(psf), group_(group), control_(control), n_(group.end - group.begin) {
        // Light of each source counts on the pixels of its neighbours, too.
        const int reach = static_cast<int>(std::ceil(2 * group.radius));
        for (int i = 0; i < n_; ++i) {
            Source s;
            s.x = s.startX = x[group.begin + i];
            s.y = s.startY = y[group.begin + i];
            usable_ = usable_ && std::fabs(s.x) < 1e9 && std::fabs(s.y) < 1e9;
            if (!usable_) break;
            const int left = static_cast<int>(std::floor(s.x + 0.5)) - reach, low = static_cast<int>(std::floor(s.y + 0.5)) - reach;
            s.box = Box2I({left, low}, {2 * reach + 1, 2 * reach + 1});
            s.value.resize(static_cast<size_t>(2 * reach + 1) * static_cast<size_t>(2 * reach + 1));
            s.byX.resize(s.value.size());
            s.byY.resize(s.value.size());
            sources_.push_back(std::move(s));
        }
        for (int j = 0; usable_ && j < psf.height; ++j) {
            for (int i = 0; i < psf.width; ++i) usable_ = usable_ && std::isfinite(psf(i, j));
        }
    }

    void run(BlendFitResult* out) {
        if (usable_) readPixels();
        bool fixed = !(group_.maxShift > 0), converged = true;
        bool ok = usable_ && static_cast<int>(data_.size()) > (fixed ? 1 : 3) * n_;
        if (ok) ok = solveFluxes();
        if (ok && !fixed) {
            converged = iterate();
            if (!wellDetermined()) {
                // Two that ran into one another, or none: what the starts say.
                for (Source& s : sources_) s.x = s.startX, s.y = s.startY;
                ok = solveFluxes();
                fixed = true;
                for (int i = 0; i < n_; ++i) out[i].flagBits |= blend_flags::FIXED;
            }
        }
        for (int i = 0; i < n_; ++i) {
            BlendFitResult& r = out[i];
            if (!ok) {
                r.flagBits |= blend_flags::FAILED;
                continue;
            }
            Source const& s = sources_[static_cast<size_t>(i)];
            r.x = s.x, r.y = s.y, r.flux = s.flux;
            if (!converged) r.flagBits |= blend_flags::NOT_CONVERGED;
            if (!fixed && std::max(std::fabs(s.x - s.startX), std::fabs(s.y - s.startY)) >= group_.maxShift) {
                r.flagBits |= blend_flags::AT_BOUND;
            }
        }
        if (ok) errorsOf(fixed, out);
    }

private:
    // Good pixels of the discs around the starts.
    void readPixels() {
        int left = input_.image.width, right = -1, low = input_.image.height, high = -1;
        for (Source const& s : sources_) {
            left = std::min(left, s.box.minX()), right = std::max(right, s.box.maxX());
            low = std::min(low, s.box.minY()), high = std::max(high, s.box.maxY());
        }
        right = std::min(right, input_.image.width - 1), high = std::min(high, input_.image.height - 1);
        const double r2 = group_.radius * group_.radius;
        for (int y = std::max(0, low); y <= high; ++y) {
            for (int x = std::max(0, left); x <= right; ++x) {
                bool inside = false;
                for (Source const& s : sources_) {
                    const double dx = x - s.startX, dy = y - s.startY;
                    inside = inside || dx * dx + dy * dy <= r2;
                }
                double value, variance;
                if (!inside || !input_.pixel(x, y, value, variance)) continue;
                data_.push_back(value);
                variance_.push_back(variance);
                px_.push_back(x);
                py_.push_back(y);
            }
        }
        residual_.resize(data_.size());
        columns_.resize(data_.size() * static_cast<size_t>(3 * n_));
    }

    // Columns of the design at the current positions: per pixel x, y, f of every source, with unit flux.
    void evaluate() {
        const size_t width = static_cast<size_t>(3 * n_);
        std::fill(columns_.begin(), columns_.end(), 0.0);
        for (size_t i = 0; i < sources_.size(); ++i) {
            Source& s = sources_[i];
            psf_spline::evaluate(psf_, s.x, s.y, s.box.minX(), s.box.minY(), s.box.width(), s.box.height(), s.value.data(),
                                 s.byX.data(), s.byY.data(), work_);
            for (size_t k = 0; k < data_.size(); ++k) {
                const int u = px_[k] - s.box.minX(), v = py_[k] - s.box.minY();
                if (u < 0 || v < 0 || u >= s.box.width() || v >= s.box.height()) continue;
                const size_t at = static_cast<size_t>(v) * static_cast<size_t>(s.box.width()) + static_cast<size_t>(u);
                double* c = &columns_[k * width + 3 * i];
                c[0] = s.byX[at], c[1] = s.byY[at], c[2] = s.value[at];
            }
        }
    }

    // Sum of squared residuals at the current values.
    double residuals() {
        const size_t width = static_cast<size_t>(3 * n_);
        double sum = 0;
        for (size_t k = 0; k < data_.size(); ++k) {
            double r = data_[k];
            for (size_t i = 0; i < sources_.size(); ++i) r -= sources_[i].flux * columns_[k * width + 3 * i + 2];
            residual_[k] = r;
            sum += r * r;
        }
        return sum;
    }

    // Derivative of the model by parameter p at pixel k.
    double derivative(size_t k, int p, bool fixed) const {
        const size_t width = static_cast<size_t>(3 * n_);
        if (fixed) return columns_[k * width + static_cast<size_t>(3 * p + 2)];
        const double scale = p % 3 == 2 ? 1.0 : sources_[static_cast<size_t>(p / 3)].flux;
        return scale * columns_[k * width + static_cast<size_t>(p)];
    }

    // J^T W J, W the weights of the pixels or 1; and J^T r.
    DenseMatrix normal(bool fixed, Doubles const* weights, Doubles* side) const {
        const int n = fixed ? n_ : 3 * n_;
        DenseMatrix a(n, n);
        if (side) side->assign(static_cast<size_t>(n), 0.0);
        Doubles row(static_cast<size_t>(n));
        for (size_t k = 0; k < data_.size(); ++k) {
            for (int p = 0; p < n; ++p) row[static_cast<size_t>(p)] = derivative(k, p, fixed);
            const double w = weights ? (*weights)[k] : 1.0;
            for (int p = 0; p < n; ++p) {
                const double c = row[static_cast<size_t>(p)];
                if (c == 0.0) continue;
                if (side) (*side)[static_cast<size_t>(p)] += c * residual_[k];
                for (int q = 0; q <= p; ++q) a(p, q) += w * c * row[static_cast<size_t>(q)];
            }
        }
        for (int p = 0; p < n; ++p) {
            for (int q = 0; q < p; ++q) a(q, p) = a(p, q);
        }
        return a;
    }

    // Fluxes at the current positions; false when they cannot be told apart.
    bool solveFluxes() {
        for (Source& s : sources_) s.flux = 0;
        evaluate();
        residuals();
        Doubles side;
        const SymmetricSolver solver(normal(true, nullptr, &side));
        const Doubles found = solver.solve(side);
        for (size_t i = 0; i < sources_.size(); ++i) sources_[i].flux = found[i];
        square_ = residuals();
        return solver.nFixed() == 0 && solver.nDropped() == 0;
    }

    bool iterate() {
        double damping = 1e-3;
        for (int round = 0; round < control_.maxIterations; ++round) {
            Doubles side;
            const DenseMatrix a = normal(false, nullptr, &side);
            bool better = false;
            double moved = 0;
            std::vector<Place> old;
            for (Source const& s : sources_) old.push_back({s.x, s.y, s.flux});
            for (int attempt = 0; attempt < 8 && !better; ++attempt, damping *= 10) {
                DenseMatrix damped = a;
                for (int p = 0; p < 3 * n_; ++p) damped(p, p) *= 1 + damping;
                const Doubles step = SymmetricSolver(damped).solve(side);
                moved = move(old, step);
                evaluate();
                const double square = residuals();
                better = square <= square_;
                if (better) square_ = square;
            }
            if (!better) {
                for (size_t i = 0; i < sources_.size(); ++i) {
                    sources_[i].x = old[i].x, sources_[i].y = old[i].y, sources_[i].flux = old[i].flux;
                }
                evaluate();
                residuals();
                return true;  // no step helps: the minimum, to rounding
            }
            damping = std::max(1e-9, damping * 1e-2);
            if (moved < control_.tolerance) return true;
        }
        return false;
    }

    // A step from old values within the bounds; the greatest change of a position.
    double move(std::vector<Place> const& old, Doubles const& step) {
        double moved = 0;
        for (size_t i = 0; i < sources_.size(); ++i) {
            Source& s = sources_[i];
            const auto bounded = [&](double from, double start, double by) {
                by = std::min(1.5, std::max(-1.5, by));
                return std::min(start + group_.maxShift, std::max(start - group_.maxShift, from + by));
            };
            s.x = bounded(old[i].x, s.startX, step[3 * i]);
            s.y = bounded(old[i].y, s.startY, step[3 * i + 1]);
            s.flux = old[i].flux + step[3 * i + 2];
            moved = std::max({moved, std::fabs(s.x - old[i].x), std::fabs(s.y - old[i].y)});
        }
        return moved;
    }

    bool wellDetermined() const {
        const SymmetricSolver solver(normal(false, nullptr, nullptr));
        return solver.nFixed() == 0 && solver.nDropped() == 0;
    }

    void errorsOf(bool fixed, BlendFitResult* out) const {
        const SymmetricSolver solver(normal(fixed, nullptr, nullptr));
        const DenseMatrix inverse = solver.inverse(), noise = normal(fixed, &variance_, nullptr);
        const int n = fixed ? n_ : 3 * n_;
        DenseMatrix half(n, n);
        for (int p = 0; p < n; ++p) {
            for (int q = 0; q < n; ++q) {
                double sum = 0;
                for (int s = 0; s < n; ++s) sum += inverse(p, s) * noise(s, q);
                half(p, q) = sum;
            }
        }
        const auto covariance = [&](int p, int q) {
            double sum = 0;
            for (int s = 0; s < n; ++s) sum += half(p, s) * inverse(s, q);
            return sum;
        };
        double chi2 = 0;
        for (size_t k = 0; k < data_.size(); ++k) chi2 += residual_[k] * residual_[k] / variance_[k];
        const auto flux = [&](int i) { return fixed ? i : 3 * i + 2; };
        for (int i = 0; i < n_; ++i) {
            out[i].fluxErr = std::sqrt(std::max(0.0, covariance(flux(i), flux(i))));
            out[i].fluxCov = i + 1 < n_ ? covariance(flux(i), flux(i + 1)) : 0.0;
            if (!fixed) {
                out[i].xErr = std::sqrt(std::max(0.0, covariance(3 * i, 3 * i)));
                out[i].yErr = std::sqrt(std::max(0.0, covariance(3 * i + 1, 3 * i + 1)));
            }
            out[i].chi2 = chi2;
            out[i].nPixels = static_cast<int>(data_.size());
        }
    }

    MeasureInput<T> const& input_;
    View2<const double> psf_;
    BlendGroup const& group_;
    BlendFitControl const& control_;
    int n_;
    bool usable_ = true;
    double square_ = 0;
    std::vector<Source> sources_;
    std::vector<int> px_, py_;
    Doubles data_, variance_, residual_, columns_;
    psf_spline::Workspace work_;
};

}  // namespace

template <typename T>
std::vector<BlendFitResult> blendFit(MeasureInput<T> const& input, StampStack const& psfs, std::vector<double> const& x,
                                     std::vector<double> const& y, std::vector<BlendGroup> const& groups,
                                     BlendFitControl const& control) {
    if (x.size() != y.size()) throw ShapeError("blendFit: x and y differ in length");
    if (psfs.n != 1 && static_cast<size_t>(psfs.n) != groups.size()) {
        throw ShapeError("blendFit: wanted one PSF for all groups or one for each");
    }
    for (BlendGroup const& g : groups) {
        if (g.begin < 0 || g.end <= g.begin || static_cast<size_t>(g.end) > x.size()) {
            throw ShapeError("blendFit: wanted groups of at least one of the sources");
        }
        if (!(g.radius > 0 && g.radius < 1000)) throw DomainError("blendFit: radius: wanted more than 0 and less than 1000");
    }
    std::vector<BlendFitResult> out(x.size());
    for (size_t i = 0; i < out.size(); ++i) {
        out[i] = {x[i], y[i], NOT_A_NUMBER, NOT_A_NUMBER, NOT_A_NUMBER, NOT_A_NUMBER, 0.0, NOT_A_NUMBER, 0, 0};
    }
    parallelFor(static_cast<int>(groups.size()), [&](int block) {
        BlendGroup const& g = groups[static_cast<size_t>(block)];
        Blend<T>(input, psfs[static_cast<size_t>(block)], x.data(), y.data(), g, control).run(&out[static_cast<size_t>(g.begin)]);
    });
    return out;
}

template std::vector<BlendFitResult> blendFit<float>(MeasureInput<float> const&, StampStack const&, Doubles const&,
                                                     Doubles const&, std::vector<BlendGroup> const&,
                                                     BlendFitControl const&);
template std::vector<BlendFitResult> blendFit<double>(MeasureInput<double> const&, StampStack const&, Doubles const&,
                                                      Doubles const&, std::vector<BlendGroup> const&,
                                                      BlendFitControl const&);

}  // namespace stillsky
