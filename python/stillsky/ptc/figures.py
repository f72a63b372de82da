"""Figures of a photon transfer dataset. Each function returns a matplotlib Figure and touches no global state."""

from types import SimpleNamespace

import numpy as np

from .models import evalExpApproximation, evalFullCovariance, evalPolynomial

__all__ = ["FIGURES", "figurePages", "makeFigures", "writePdf", "writePngs"]

_FULL = ("FULLCOVARIANCE", "FULLCOVARIANCE_NO_B")
_DEFAULTS = SimpleNamespace(signalElectronsRelativeA=75000.0, plotNormalizedCovariancesNumberOfBins=10, dpi=100.0)
_BLUE, _ORANGE, _GREY, _RED = "#1f5fa8", "#d9730d", "#8a949e", "#b3261e"
_PER_PAGE = 16


def _figure(width, height, **kwargs):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", **kwargs)
    FigureCanvasAgg(figure)
    return figure


def _title(dataset, text):
    names = [dataset.metadata.get(key) for key in ("INSTRUME", "DET_NAME")]
    where = " ".join(str(name) for name in names if name)
    return f"{text}  ·  {where}" if where else text


def _message(dataset, title, message):
    figure = _figure(7, 2.5)
    figure.suptitle(_title(dataset, title))
    figure.text(0.5, 0.45, message, ha="center", va="center", color=_GREY)
    return figure


def _isFull(dataset):
    return dataset.ptcFitType in _FULL


def _model(dataset, amp, mu, withB=True):
    """Model covariances [n, rf, rf] of the full types, from a, b, noise and gain as stored."""
    a = dataset.aMatrix[amp]
    c = a * np.nan_to_num(dataset.bMatrix[amp]) if withB and dataset.ptcFitType == "FULLCOVARIANCE" else 0.0 * a
    return evalFullCovariance(mu, a, c, dataset.noiseMatrix[amp], dataset.gain[amp])


def _modelVariance(dataset, amp, mu):
    if _isFull(dataset):
        return _model(dataset, amp, mu)[:, 0, 0]
    evaluate = evalPolynomial if dataset.ptcFitType == "POLYNOMIAL" else evalExpApproximation
    return evaluate(mu, *dataset.ptcFitPars[amp])


def _good(dataset):
    """Amplifiers with a fit."""
    return [amp for amp in dataset.getGoodAmps() if np.isfinite(dataset.gain[amp])]


def _used(dataset, amp):
    return dataset.expIdMask[amp] & np.isfinite(dataset.rawMeans[amp]) & np.isfinite(dataset.rawVars[amp])


def _sigmas(dataset, amp, i=0, j=0):
    """Standard errors of a lag, adu^2; NaN where unknown."""
    weights = dataset.covariancesSqrtWeights[amp][:, i, j]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((weights > 0) & (weights < 1e100), 1.0 / weights, np.nan)


def _lag(dataset, i, j):
    return min(dataset.covMatrixSide, dataset.covMatrixSideFullCovFit) > max(i, j)


def _span(mu):
    return np.linspace(0.0, 1.02 * float(np.max(mu)), 200)


def _grid(dataset, amps, title, draw, xlabel, ylabel, logarithmic=False):
    """One panel per amplifier."""
    if not amps:
        return _message(dataset, title, "no amplifier has a fit")
    columns = int(np.ceil(np.sqrt(len(amps))))
    rows = int(np.ceil(len(amps) / columns))
    figure = _figure(max(3.3 * columns, 6.5), max(2.6 * rows + 0.6, 4.5))
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for index, axes in enumerate(panels.flat):
        if index >= len(amps):
            axes.set_visible(False)
            continue
        axes.tick_params(labelsize=8)
        if not logarithmic:
            axes.ticklabel_format(axis="both", style="sci", scilimits=(-3, 5), useMathText=True)
        draw(axes, amps[index])
        axes.set_title(amps[index], fontsize=9, loc="left", fontweight="bold")
        if index + columns >= len(amps):
            axes.tick_params(labelbottom=True)
    figure.suptitle(_title(dataset, title))
    figure.supxlabel(xlabel, fontsize=10)
    figure.supylabel(ylabel, fontsize=10)
    return figure


def _drawCurve(dataset, amp, axes, logarithmic):
    mu, var, used = dataset.rawMeans[amp], dataset.rawVars[amp], _used(dataset, amp)
    rejected = ~used & np.isfinite(mu) & np.isfinite(var)
    axes.plot(mu[rejected], var[rejected], "x", color=_RED, ms=4, label="rejected")
    axes.plot(mu[used], var[used], "o", color=_BLUE, ms=2.8, alpha=0.7)
    if amp in dataset.badAmps or not np.isfinite(dataset.gain[amp]):
        axes.text(0.5, 0.5, "no fit", transform=axes.transAxes, ha="center", color=_RED)
        return
    top = float(np.max(mu[used]))
    low = max(float(np.min(mu[used])), 1e-3 * top if not logarithmic else 1e-6)
    x = np.geomspace(low, 1.02 * top, 300) if logarithmic else np.linspace(0, 1.02 * top, 300)
    axes.plot(x, _modelVariance(dataset, amp, x), "-", color=_ORANGE, lw=1.2)
    if logarithmic:
        axes.set_xscale("log")
        axes.set_yscale("log")
    axes.axvline(dataset.ptcTurnoff[amp], color=_GREY, lw=0.8, ls=":")
    low, high = (0.97, 0.04) if logarithmic else (0.97, 0.05)
    axes.text(
        low, high, _legend(dataset, amp), transform=axes.transAxes, ha="right", va="bottom", fontsize=7, linespacing=1.3
    )


def _legend(dataset, amp):
    pars = dataset.ptcFitPars[amp]
    lines = []
    if dataset.ptcFitType != "POLYNOMIAL":
        a00 = dataset.aMatrix[amp][0, 0] if _isFull(dataset) else pars[0]
        lines.append(f"$a_{{00}}$ = {1e6 * a00:.3f}" + r"$\times10^{-6}$ /e")
    lines.append(f"gain = {_pm(dataset.gain[amp], dataset.gainErr[amp])} e/adu")
    lines.append(f"noise = {_pm(dataset.noise[amp], dataset.noiseErr[amp])} e")
    chi2 = dataset.ptcFitChiSq[amp]
    if np.isfinite(chi2):
        lines.append(rf"$\chi^2$/dof = {chi2:.3g}")
    lines.append(f"turn-off = {dataset.ptcTurnoff[amp]:.0f} adu")
    return "\n".join(lines)


def _pm(value, error):
    """A value and its error with two digits of the error."""
    if not (np.isfinite(error) and error > 0):
        return f"{value:.4g}"
    digits = min(max(0, 1 - int(np.floor(np.log10(error)))), 6)
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def varMeanFigure(dataset, config, amps):
    """Variance against mean with the model."""
    return _grid(
        dataset, amps, "Photon transfer curve", lambda axes, amp: _drawCurve(dataset, amp, axes, False),
        "mean (adu)", "variance (adu$^2$)",
    )  # fmt: skip


def varMeanLogFigure(dataset, config, amps):
    """The same on logarithmic axes, which show the noise floor."""
    return _grid(
        dataset, amps, "Photon transfer curve, logarithmic",
        lambda axes, amp: _drawCurve(dataset, amp, axes, True), "mean (adu)", "variance (adu$^2$)", logarithmic=True,
    )  # fmt: skip


def _colours(n):
    from matplotlib import colormaps

    return colormaps["viridis"](np.linspace(0.05, 0.9, max(n, 1)))


def normalizedVarFigure(dataset, config, amps):
    """Variance over mean, amplifiers set apart: the brighter-fatter effect bends it."""
    title = "Variance over mean"
    amps = _good(dataset)
    if not amps:
        return _message(dataset, title, "no amplifier has a fit")
    figure = _figure(8.5, 6.5)
    axes = figure.subplots()
    # rejected faint pairs and the noise at low levels would set the scale of everything
    step = 0.01
    for k, (amp, colour) in enumerate(zip(amps, _colours(len(amps)))):
        used, mu = _used(dataset, amp), dataset.rawMeans[amp]
        shown = used & (mu > 0.02 * np.max(mu[used]))
        unit = dataset.gain[amp]
        axes.plot(mu[shown] * unit, dataset.rawVars[amp][shown] / mu[shown] * unit + k * step, ".", color=colour, ms=4)
        x = np.linspace(0.02, 1.02, 200) * np.max(mu[used])
        y = _modelVariance(dataset, amp, x) / x * unit + k * step
        axes.plot(x * unit, y, "-", color=colour, lw=0.9)
        axes.annotate(
            amp, (x[-1] * unit, y[-1]), xytext=(4, 0), textcoords="offset points", fontsize=7, va="center", color=colour
        )
    axes.set_xlabel("mean (electron)")
    axes.set_ylabel(f"gain × variance / mean  (+ {step} per amplifier)")
    axes.margins(x=0.08)
    figure.suptitle(_title(dataset, title))
    return figure


def _covarianceFigure(dataset, amps, i, j):
    name = f"$C_{{{i}{j}}}$"
    title = f"Covariance {name} of the {'serial' if i else 'parallel'} neighbour"
    if not _isFull(dataset) or not _lag(dataset, i, j):
        return _message(dataset, title, "needs a full covariance fit with this lag")

    def draw(axes, amp):
        used, mu = _used(dataset, amp), dataset.rawMeans[amp]
        axes.errorbar(
            mu[used], dataset.covariances[amp][used, i, j], yerr=_sigmas(dataset, amp, i, j)[used], fmt="o", ms=2.5, lw=0.5,
            color=_BLUE, alpha=0.7,
        )  # fmt: skip
        x = _span(mu[used])
        axes.plot(x, _model(dataset, amp, x)[:, i, j], "-", color=_ORANGE, lw=1.3, zorder=5)
        axes.axhline(0, color=_GREY, lw=0.6)

    return _grid(
        dataset, [amp for amp in amps if amp in _good(dataset)], title, draw, "mean (adu)", f"{name} (adu$^2$)"
    )


def cov01Figure(dataset, config, amps):
    """Covariance with the parallel neighbour against mean."""
    return _covarianceFigure(dataset, amps, 0, 1)


def cov10Figure(dataset, config, amps):
    """Covariance with the serial neighbour against mean."""
    return _covarianceFigure(dataset, amps, 1, 0)


def _binned(x, y, weights, nBins):
    """Weighted means in equal bins of x, and their scatter over the square root of the number."""
    edges = np.linspace(np.min(x), np.max(x) * (1 + 1e-9), nBins + 1)
    index = np.clip(np.digitize(x, edges) - 1, 0, nBins - 1)
    rows = []
    for k in range(nBins):
        inside = (index == k) & (weights > 0)
        if inside.any():
            w = weights[inside] ** 2
            mean = np.sum(w * y[inside]) / w.sum()
            scatter = np.sqrt(np.sum(w * (y[inside] - mean) ** 2) / w.sum() / max(inside.sum() - 1, 1))
            rows.append(
                (np.sum(w * x[inside]) / w.sum(), mean, scatter if inside.sum() > 1 else 1 / weights[inside][0])
            )
    return np.array(rows).reshape(-1, 3).T


def varResidualsFigure(dataset, config, amps):
    """Residuals of the variance to the full model, a parabola and the model with b = 0."""
    title = "Residuals of the variance"
    if not _isFull(dataset):
        return _message(dataset, title, "needs a full covariance fit")

    def draw(axes, amp):
        used = _used(dataset, amp)
        mu, data = dataset.rawMeans[amp][used], dataset.covariances[amp][used, 0, 0]
        sigma = _sigmas(dataset, amp)[used]
        weights = np.nan_to_num(1 / sigma)
        parabola = _parabola(mu, data, weights)
        models = [("full model", _model(dataset, amp, mu)[:, 0, 0], _BLUE), ("parabola", parabola, _GREY)]
        if dataset.ptcFitType == "FULLCOVARIANCE":
            models.append(("b = 0", _model(dataset, amp, mu, withB=False)[:, 0, 0], _ORANGE))
        for name, model, colour in reversed(models):
            residual = 100 * (data - model) / model
            chi2 = np.sum(((data - model) * weights) ** 2) / max(np.count_nonzero(weights), 1)
            x, y, e = _binned(mu, residual, np.nan_to_num(model / sigma), 14)
            axes.errorbar(x, y, yerr=e, fmt="o-", ms=3, lw=1, color=colour, label=rf"{name}: $\chi^2/n$ {chi2:.3g}")
        axes.axhline(0, color="k", lw=0.6)
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], labels[::-1], fontsize=6.5, frameon=False)
        axes.margins(y=0.3)

    return _grid(
        dataset, [a for a in amps if a in _good(dataset)], title, draw, "mean (adu)", "(data − model) / model (%)"
    )


def _parabola(mu, data, weights):
    scale = np.max(mu)
    basis = np.vander(mu / scale, 3)
    solution = np.linalg.lstsq(basis * weights[:, None], data * weights, rcond=None)[0]
    return basis @ solution


def _normalizedFigure(dataset, config, i, j):
    name = f"$C_{{{i}{j}}}$"
    title = f"{name} over mean"
    amps = _good(dataset)
    if not _isFull(dataset) or not _lag(dataset, i, j) or not amps:
        return _message(dataset, title, "needs a full covariance fit with this lag")
    figure = _figure(8.5, 7.5)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    columns = [[], [], [], []]
    for amp in amps:
        used = _used(dataset, amp)
        mu, unit = dataset.rawMeans[amp][used], dataset.gain[amp]
        # noise is not part of what is shown
        floor = dataset.noiseMatrix[amp][i, j] / unit**2
        y = (dataset.covariances[amp][used, i, j] - floor) / mu * unit
        model = (_model(dataset, amp, mu)[:, i, j] - floor) / mu * unit
        weights = np.nan_to_num(mu / (_sigmas(dataset, amp, i, j)[used] * unit))
        for column, values in zip(columns, (mu * unit, y, weights, y - model)):
            column.append(values)
        x = np.linspace(1e-3, 1.02, 100) * np.max(mu)
        upper.plot(
            x * unit, (_model(dataset, amp, x)[:, i, j] - floor) / x * unit, "-", color=_ORANGE, lw=0.5, alpha=0.5
        )
    x, y, weights, residual = (np.concatenate(column) for column in columns)
    nBins = config.plotNormalizedCovariancesNumberOfBins
    shown = weights > np.percentile(weights, 10)
    upper.plot(x[shown], y[shown], ".", color=_GREY, ms=2, alpha=0.35, label="pairs")
    bx, by, be = _binned(x, y, weights, nBins)
    upper.errorbar(bx, by, yerr=be, fmt="o", color=_BLUE, ms=5, label=f"mean of {len(amps)} amplifiers", zorder=5)
    upper.plot([], [], "-", color=_ORANGE, label="model of each amplifier")
    spread = np.percentile(y[shown], [2, 98]) if shown.any() else (0, 1)
    low, high = min(spread[0], by.min()), max(spread[1], by.max())
    upper.set_ylim(low - 0.15 * (high - low), high + 0.15 * (high - low))
    upper.axhline(0, color=_GREY, lw=0.6)
    upper.legend(frameon=False, fontsize=9, loc="upper left")
    upper.set_ylabel(f"gain × {name} / mean")
    bx, by, be = _binned(x, residual, weights, nBins)
    lower.errorbar(bx, by, yerr=be, fmt="o", color=_BLUE, ms=4)
    lower.axhline(0, color="k", lw=0.6)
    lower.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2), useMathText=True)
    lower.set_ylabel("data − model")
    lower.set_xlabel("mean (electron)")
    figure.suptitle(_title(dataset, title))
    return figure


def normalizedCov01Figure(dataset, config, amps):
    """C01 over mean, binned over amplifiers."""
    return _normalizedFigure(dataset, config, 0, 1)


def normalizedCov10Figure(dataset, config, amps):
    """C10 over mean, binned over amplifiers."""
    return _normalizedFigure(dataset, config, 1, 0)


def _stacks(dataset):
    amps = _good(dataset)
    return np.array([dataset.aMatrix[amp] for amp in amps]), np.array([dataset.bMatrix[amp] for amp in amps])


def _meanOfB(a, b):
    """Mean b over amplifiers and its error: the ratio of the means of c = a b and a, as single ratios scatter without bound."""
    c, mean = a * np.nan_to_num(b), a.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = c.mean(axis=0) / mean
        error = (c - value * a).std(axis=0) / np.sqrt(len(a)) / np.abs(mean)
    return value, error


def aAndBMatricesFigure(dataset, config, amps):
    """|a_ij| (logarithmic colours) and b_ij, averages over amplifiers, i along x."""
    title = "Matrices a and b"
    if not _isFull(dataset) or not _good(dataset):
        return _message(dataset, title, "needs a full covariance fit")
    from matplotlib.colors import LogNorm

    a, b = _stacks(dataset)
    b, bErr = (1e6 * values[:3, :3] for values in _meanOfB(a, b))
    a = a.mean(axis=0)
    withB = dataset.ptcFitType == "FULLCOVARIANCE"
    figure = _figure(11.5 if withB else 6.5, 5.4)
    left, *right = np.atleast_1d(figure.subplots(1, 2 if withB else 1))
    size = np.abs(a)
    top = size.max()
    image = left.imshow(
        size.T, origin="lower", norm=LogNorm(max(size[size > 0].min(), 1e-4 * top), top), cmap="viridis"
    )
    figure.colorbar(image, ax=left, shrink=0.85, label="$|a_{ij}|$ (1/electron)")
    for i, j in np.argwhere(a < 0):
        left.text(i, j, "−", ha="center", va="center", color="w", fontsize=11, fontweight="bold")
    left.set_title("$|a_{ij}|$;  − marks negative elements", fontsize=10)
    if withB:
        significant = np.abs(b) > 2 * bErr if len(_good(dataset)) > 1 else np.ones(b.shape, dtype=bool)
        limit = np.max(np.abs(b[significant & np.isfinite(b)]), initial=0.0) or 1.0
        right[0].set_facecolor("#f1f3f5")
        image = right[0].imshow(
            np.where(significant, b, np.nan).T, origin="lower", cmap="RdBu_r", vmin=-limit, vmax=limit
        )
        figure.colorbar(image, ax=right[0], shrink=0.85, label="$b_{ij}$ (10$^{-6}$/electron)")
        for i, j in np.ndindex(b.shape):
            dark = significant[i, j] and abs(b[i, j]) > 0.6 * limit
            text = f"{b[i, j]:.2f}\n± {bErr[i, j]:.2f}" if len(_good(dataset)) > 1 else f"{b[i, j]:.2f}"
            right[0].text(i, j, text, ha="center", va="center", fontsize=9.5, color="w" if dark else "k")
        right[0].set_title("$b_{ij}$;  grey: less than two standard errors from zero", fontsize=10)
    for axes in (left, *right):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel("i (serial lag, pixels)")
        axes.set_ylabel("j (parallel lag, pixels)")
    figure.suptitle(_title(dataset, f"{title}, mean of {len(_good(dataset))} amplifiers"))
    return figure


def aAndBDistanceFigure(dataset, config, amps):
    """a and b against the distance of the lag."""
    title = "a and b against distance"
    if not _isFull(dataset) or not _good(dataset):
        return _message(dataset, title, "needs a full covariance fit")
    a, b = _stacks(dataset)
    withB = dataset.ptcFitType == "FULLCOVARIANCE"
    figure = _figure(8.5, 8.5 if withB else 5)
    panels = np.atleast_1d(figure.subplots(2 if withB else 1, 1, sharex=True))
    i, j = np.mgrid[: a.shape[1], : a.shape[2]]
    distance = np.hypot(i, j)
    aErr = a.std(axis=0) / np.sqrt(len(a))
    bMean, bErr = (1e6 * values for values in _meanOfB(a, b))
    pairs = ((a.mean(axis=0), aErr), (bMean, bErr))
    for axes, (mean, error), name in zip(panels, pairs, ("$a_{ij}$ (1/electron)", "$b_{ij}$ (10$^{-6}$/electron)")):
        for mask, label, colour in (
            (i >= j, "$i \\geq j$ (serial side)", _BLUE),
            (i < j, "$i < j$ (parallel side)", _ORANGE),
        ):
            mask = mask & (distance > 0)
            axes.errorbar(
                distance[mask], mean[mask], yerr=error[mask], fmt="o", ms=4, lw=0.8, color=colour, label=label
            )
        axes.axhline(0, color=_GREY, lw=0.6)
        axes.set_ylabel(name)
    threshold = max(3 * np.median(aErr), 1e-2 * np.max(np.abs(a.mean(axis=0)[distance > 0]), initial=0.0), 1e-12)
    panels[0].set_yscale("symlog", linthresh=threshold)
    panels[0].set_title(f"$a_{{00}}$ = {a[:, 0, 0].mean():.3e} /electron (not shown)", fontsize=10)
    if withB and distance.max() > 0:
        near = bMean[(distance > 0) & (distance < 3)]
        if near.size and np.any(near):
            limit = 3 * np.max(np.abs(near))
            panels[1].set_ylim(-limit, limit)
            panels[1].set_title(
                "b = c/a is undetermined where a vanishes; far lags may lie outside", fontsize=9, color=_GREY
            )
    panels[0].legend(frameon=False, fontsize=9)
    panels[-1].set_xlabel("distance $\\sqrt{i^2+j^2}$ (pixels)")
    figure.suptitle(_title(dataset, title))
    return figure


def aCumulativeSumFigure(dataset, config, amps):
    """Sum of a_ij over all signed lags within a square: charge conservation takes it to zero."""
    title = "Cumulative sum of a"
    if not _isFull(dataset) or not _good(dataset):
        return _message(dataset, title, "needs a full covariance fit")
    figure = _figure(8, 5.2)
    axes = figure.subplots()
    a, _ = _stacks(dataset)
    i, j = np.mgrid[: a.shape[1], : a.shape[2]]
    weighted = a * np.where(i > 0, 2.0, 1.0) * np.where(j > 0, 2.0, 1.0)
    n = np.arange(1, a.shape[1] + 1)
    sums = np.array([[row[:k, :k].sum() / row[0, 0] for k in n] for row in weighted])
    axes.plot(n, sums.T, "-", color=_GREY, lw=0.6, alpha=0.6)
    axes.errorbar(
        n,
        sums.mean(axis=0),
        yerr=sums.std(axis=0) / np.sqrt(len(sums)),
        fmt="o-",
        color=_BLUE,
        label="mean of amplifiers",
    )
    axes.plot([], [], "-", color=_GREY, lw=0.6, label="each amplifier")
    axes.axhline(0, color="k", lw=0.8)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("n")
    axes.set_ylabel("$\\sum_{|i|<n,|j|<n} a_{ij}\\ /\\ a_{00}$")
    axes.legend(frameon=False)
    figure.suptitle(_title(dataset, f"{title}: zero if all displaced charge is accounted for"))
    return figure


def _firstOrder(dataset, amp, signal, withB):
    """C_ij / (C_00 mu) at a level in electron, without the noise, 1/electron."""
    a = dataset.aMatrix[amp]
    c = evalFullCovariance(signal, a, a * np.nan_to_num(dataset.bMatrix[amp]) if withB else 0 * a, 0 * a, 1.0)[0]
    return c / (c[0, 0] * signal)


def aRelativeBiasFigure(dataset, config, amps):
    """How far C_ij / (C_00 mu) at a chosen level is from a_ij: what a first-order measurement would get wrong."""
    title = "Bias of first-order coefficients"
    if not _isFull(dataset) or not _good(dataset):
        return _message(dataset, title, "needs a full covariance fit")
    signal = config.signalElectronsRelativeA
    figure = _figure(8.5, 5.4)
    axes = figure.subplots()
    variants = [(True, "with b", _BLUE, 0.0)] if dataset.ptcFitType == "FULLCOVARIANCE" else []
    variants.append((False, "b = 0", _ORANGE, 0.05))
    a, _ = _stacks(dataset)
    i, j = np.mgrid[: a.shape[1], : a.shape[2]]
    mean, error = a.mean(axis=0), a.std(axis=0) / np.sqrt(len(a))
    # ratios to nothing say nothing
    strong = (np.abs(mean) > 5e-3 * np.abs(mean[0, 0])) & (np.abs(mean) > 5.0 * error)
    strong[0, 0] = False
    for withB, label, colour, shift in variants:
        normalized = np.array([_firstOrder(dataset, amp, signal, withB) for amp in _good(dataset)])
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = normalized.mean(axis=0) / mean
            scatter = (normalized - ratio * a).std(axis=0) / np.sqrt(len(a)) / np.abs(mean)
        axes.errorbar(
            np.hypot(i, j)[strong] + shift,
            ratio[strong] - 1.0,
            yerr=scatter[strong],
            fmt="o",
            ms=5,
            color=colour,
            label=label,
        )
    axes.axhline(0, color="k", lw=0.6)
    axes.set_xlabel("distance $\\sqrt{i^2+j^2}$ (pixels)")
    axes.set_ylabel("$C_{ij} / (C_{00}\\, \\mu\\, a_{ij}) - 1$")
    axes.set_title(f"at {signal:.0f} electron; lags with significant $a_{{ij}}$", fontsize=10)
    if strong.any():
        axes.legend(frameon=False)
    figure.suptitle(_title(dataset, title))
    return figure


def summaryFigure(dataset, config, amps):
    """Gain, noise, turn-off and a_00 per amplifier with their errors."""
    names = dataset.ampNames
    figure = _figure(max(7.0, 0.42 * len(names) + 3), 9.5)
    panels = figure.subplots(4, 1, sharex=True)
    x = np.arange(len(names))
    a00 = [1e6 * (dataset.ptcFitPars[a][0] if dataset.ptcFitType != "POLYNOMIAL" else np.nan) for a in names]
    if _isFull(dataset):
        a00 = [1e6 * dataset.aMatrix[amp][0, 0] for amp in names]
    a00Err = [1e6 * dataset.ptcFitParsError[amp][0] for amp in names]
    turnoff = np.array([dataset.ptcTurnoff[amp] for amp in names])
    rows = [
        ("gain (e/adu)", [dataset.gain[a] for a in names], [dataset.gainErr[a] for a in names]),
        ("noise (e)", [dataset.noise[a] for a in names], [dataset.noiseErr[a] for a in names]),
        ("turn-off (ke)", turnoff * [dataset.gain[a] for a in names] / 1e3,
         np.array([dataset.ptcTurnoffSamplingError[a] * dataset.gain[a] for a in names]) / 1e3),
        ("$a_{00}$ (10$^{-6}$/e)", a00, a00Err),
    ]  # fmt: skip
    for axes, (label, values, errors) in zip(panels, rows):
        values, errors = np.array(values, dtype=float), np.nan_to_num(np.array(errors, dtype=float))
        finite = np.isfinite(values)
        axes.errorbar(x[finite], values[finite], yerr=errors[finite], fmt="o", ms=5, capsize=2, lw=1, color=_BLUE)
        if finite.any():
            axes.axhline(np.median(values[finite]), color=_GREY, lw=0.8, ls="--")
        for k in np.flatnonzero(~finite):
            axes.axvspan(k - 0.4, k + 0.4, color=_RED, alpha=0.12, lw=0)
        axes.set_ylabel(label)
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.grid(axis="y", lw=0.3)
    overscan = np.array([np.nanmedian(v) if np.isfinite(v := dataset.noiseList[a]).any() else np.nan for a in names])
    overscan = overscan * np.array([dataset.gain[a] for a in names])
    if np.isfinite(overscan).any():
        panels[1].plot(x, overscan, "_", color=_ORANGE, ms=12, mew=2, label="from the overscan")
        panels[1].legend(frameon=False, fontsize=8)
    panels[-1].set_xticks(x, names, rotation=90 if len(names) > 8 else 0, fontsize=8)
    panels[-1].set_xlim(-0.6, len(names) - 0.4)
    bad = f"; red: no fit ({len(dataset.badAmps)})" if dataset.badAmps else ""
    figure.suptitle(_title(dataset, f"Amplifiers ({dataset.ptcFitType}){bad}"))
    return figure


# Name of the figure -> function, and whether it has a panel per amplifier. Names are those of the task's outputs.
FIGURES = {
    "ptcSummary": (summaryFigure, False),
    "ptcVarMean": (varMeanFigure, True),
    "ptcVarMeanLog": (varMeanLogFigure, True),
    "ptcNormalizedVar": (normalizedVarFigure, False),
    "ptcCov01Mean": (cov01Figure, True),
    "ptcCov10Mean": (cov10Figure, True),
    "ptcVarResiduals": (varResidualsFigure, True),
    "ptcNormalizedCov01": (normalizedCov01Figure, False),
    "ptcNormalizedCov10": (normalizedCov10Figure, False),
    "ptcAandBMatrices": (aAndBMatricesFigure, False),
    "ptcAandBDistance": (aAndBDistanceFigure, False),
    "ptcACumulativeSum": (aCumulativeSumFigure, False),
    "ptcARelativeBias": (aRelativeBiasFigure, False),
}
_VARIANCE_ONLY = ("ptcSummary", "ptcVarMean", "ptcVarMeanLog", "ptcNormalizedVar")


def makeFigures(dataset, config=None, names=None):
    """Draw the figures of a dataset.

    Parameters
    ----------
    dataset : `PhotonTransferCurveDataset`
        Fitted, of any type.
    config : object, optional
        With the fields of `PlotPhotonTransferCurveAlgorithmConfig`.
    names : iterable of `str`, optional
        Keys of `FIGURES`; default all. Without a full covariance fit, those of covariances only say so.

    Returns
    -------
    figures : `dict` [`str`, `matplotlib.figure.Figure`]
    """
    config = _DEFAULTS if config is None else config
    return {name: FIGURES[name][0](dataset, config, dataset.ampNames) for name in (FIGURES if names is None else names)}


def figurePages(dataset, config=None):
    """The figures worth printing, one by one, at most 16 amplifiers to a page.

    Yields
    ------
    name : `str`
    figure : `matplotlib.figure.Figure`
    """
    config = _DEFAULTS if config is None else config
    for name, (draw, perAmp) in FIGURES.items():
        if not _isFull(dataset) and name not in _VARIANCE_ONLY:
            continue
        for first in range(0, len(dataset.ampNames), _PER_PAGE) if perAmp else (0,):
            yield (
                name,
                draw(dataset, config, dataset.ampNames[first : first + _PER_PAGE] if perAmp else dataset.ampNames),
            )


def writePdf(dataset, path, config=None, *, overwrite=False):
    """Write all figures as one multi-page PDF; complete or not at all.

    Parameters
    ----------
    dataset : `PhotonTransferCurveDataset`
    path : `str` or `os.PathLike`
    config : object, optional
    overwrite : `bool`
    """
    from matplotlib.backends.backend_pdf import PdfPages

    with _atomic(path, overwrite) as temporary, PdfPages(temporary, metadata={"Creator": "stillsky"}) as pdf:
        for _, figure in figurePages(dataset, config):
            pdf.savefig(figure)
            figure.clear()


def writePngs(dataset, prefix, config=None, *, overwrite=False):
    """Write each figure as ``PREFIX.NAME.png`` (``PREFIX.NAME.2.png`` for further pages).

    Returns
    -------
    paths : `list` [`str`]
    """
    config = _DEFAULTS if config is None else config
    paths, pages = [], {}
    for name, figure in figurePages(dataset, config):
        pages[name] = pages.get(name, 0) + 1
        path = f"{prefix}.{name}.png" if pages[name] == 1 else f"{prefix}.{name}.{pages[name]}.png"
        with _atomic(path, overwrite) as temporary:
            dpi = getattr(config, "dpi", 100.0)
            figure.savefig(temporary, format="png", dpi=dpi, metadata={"Software": "stillsky"})
        figure.clear()
        paths.append(path)
    return paths


def _atomic(path, overwrite):
    from ..fits.files import atomicOutput

    return atomicOutput(path, overwrite=overwrite)
