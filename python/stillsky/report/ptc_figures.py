"""The picture of a photon transfer calibration: curves, what neighbours share, and every amplifier's figures."""

import numpy as np

__all__ = ["ptcOverviewFigure"]

_BLUE, _ORANGE, _GREEN, _PURPLE, _GREY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a8a8a"


def ptcOverviewFigure(dataset, table):
    """Curve, departure from Poisson noise and residuals; neighbour covariances or a_ij; figures of the amplifiers.

    Parameters
    ----------
    dataset : `stillsky.ptc.PhotonTransferCurveDataset`
        Fitted.
    table : `astropy.table.Table`
        What ``stillsky.ptc.summarize`` made of it.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        15 x 9 inches.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15.0, 9.0), layout="constrained")
    panels = figure.subplots(2, 3)
    amps = [amp for amp in dataset.ampNames if amp not in dataset.badAmps and np.isfinite(dataset.gain[amp])]
    _drawCurve(panels[0, 0], dataset, amps)
    _drawNormalized(panels[0, 1], dataset, amps)
    _drawResiduals(panels[1, 0], dataset, amps)
    _drawCovariances(panels[1, 1], dataset, amps)
    if str(dataset.ptcFitType).startswith("FULL") and amps:
        _drawMatrix(panels[0, 2], dataset, amps)
    else:
        _drawGainLists(panels[0, 2], dataset, amps)
    _drawAmplifiers(panels[1, 2], table)
    for axes in panels.flat:
        axes.tick_params(labelsize=8)
        axes.title.set_fontsize(11)
    return figure


def _colours(n):
    from matplotlib import colormaps

    return colormaps["viridis"](np.linspace(0.0, 0.9, max(n, 1)))


def _points(dataset, amp):
    """Means, variances and use of the measured pairs of an amplifier, by rising mean."""
    mean, variance = (np.asarray(v[amp], float) for v in (dataset.rawMeans, dataset.rawVars))
    good = np.isfinite(mean) & np.isfinite(variance) & (mean > 0)
    order = np.flatnonzero(good)[np.argsort(mean[good])]
    return mean[order], variance[order], np.asarray(dataset.expIdMask[amp], bool)[order], order


def _model(dataset, amp, means):
    """Variance of the fitted curve at some means; empty where the model cannot be evaluated."""
    values = np.asarray(dataset.evalPtcModel(np.asarray(means, float))[amp], float)
    return values[:, 0, 0] if values.ndim == 3 else values


def _drawCurve(axes, dataset, amps):
    for amp, colour in zip(amps, _colours(len(amps))):
        mean, variance, used, _ = _points(dataset, amp)
        axes.plot(mean[used], variance[used], "o", ms=3.5, color=colour, alpha=0.8)
        axes.plot(mean[~used], variance[~used], "x", ms=4.5, color=_ORANGE)
        if used.any():
            grid = np.linspace(0.0, mean[used].max() * 1.02, 120)[1:]
            axes.plot(grid, _model(dataset, amp, grid), "-", lw=1.0, color=colour)
            axes.plot(grid, grid / dataset.gain[amp], ":", lw=0.8, color=_GREY)
    axes.set(
        xlabel="mean [adu]", ylabel=r"variance [adu$^2$]", title="photon transfer curve", xlim=(0, None), ylim=(0, None)
    )
    _legend(
        axes, [("o", "k", "pair"), ("x", _ORANGE, "left out"), ("-", "k", "fit"), (":", _GREY, "Poisson")], "upper left"
    )


def _legend(axes, entries, place):
    from matplotlib.lines import Line2D

    lines = [
        Line2D([], [], color=c, marker=s if s in "ox" else "", ls=s if s not in "ox" else "", ms=4, label=t)
        for s, c, t in entries
    ]
    axes.legend(handles=lines, frameon=False, fontsize=8, loc=place)


def _drawNormalized(axes, dataset, amps):
    """Variance times gain over mean: 1 for Poisson light."""
    for amp, colour in zip(amps, _colours(len(amps))):
        mean, variance, used, _ = _points(dataset, amp)
        gain = dataset.gain[amp]
        axes.plot(mean[used] * gain, variance[used] * gain / mean[used], "o", ms=3.5, color=colour, alpha=0.8)
        if used.any():
            grid = np.geomspace(max(mean[used].min(), 1e-3 * mean[used].max()), mean[used].max(), 120)
            axes.plot(grid * gain, _model(dataset, amp, grid) * gain / grid, "-", lw=1.0, color=colour)
    axes.axhline(1.0, color=_GREY, ls=":", lw=0.8)
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, 0.0), min(high, 1.6))
    axes.set_xscale("log")
    axes.set(xlabel="mean [electron]", ylabel="variance x gain / mean", title="departure from Poisson noise")


def _drawResiduals(axes, dataset, amps):
    largest, least, drawn = 0.0, np.inf, False
    for amp, colour in zip(amps, _colours(len(amps))):
        mean, variance, used, _ = _points(dataset, amp)
        residual = 100.0 * (variance / _model(dataset, amp, mean) - 1.0) if mean.size else mean
        axes.plot(mean[used], residual[used], "o", ms=3.5, color=colour, alpha=0.8)
        axes.plot(mean[~used], np.clip(residual[~used], -99, 99), "x", ms=4.5, color=_ORANGE)
        if mean.size:
            least, drawn = min(least, float(mean.min())), True
        if used.any():
            largest = max(largest, float(np.abs(residual[used]).max()))
    axes.axhline(0.0, color=_GREY, ls=":", lw=0.8)
    limit = 1.25 * largest if largest > 0 else 1.0
    axes.set_ylim(-limit, limit)
    axes.set(xlabel="mean [adu]", ylabel="data / fit - 1 [%]", title="residuals of the fit")
    if drawn and least > 0:
        axes.set_xscale("log")  # the levels are


def _drawCovariances(axes, dataset, amps):
    """Covariance with near neighbours over the mean, averaged over amplifiers."""
    side = dataset.covMatrixSide
    lags = [(1, 0, _BLUE, "o"), (0, 1, _ORANGE, "s"), (1, 1, _GREEN, "^")]
    for i, j, colour, marker in lags if side > 1 else ():
        x, y = [], []
        for amp in amps:
            mean, _, used, order = _points(dataset, amp)
            gain = dataset.gain[amp]
            cov = np.asarray(dataset.covariances[amp], float)[order][used][:, i, j]
            x.append(mean[used] * gain)
            y.append(cov * gain / mean[used])
        x, y = (np.concatenate(v) if v else np.zeros(0) for v in (x, y))
        good = np.isfinite(y)
        centre, value, error = _binned(x[good], y[good])
        axes.errorbar(
            centre, 1e3 * value, 1e3 * error, fmt=marker, ms=4, lw=1, color=colour, label=f"lag ({i}, {j})", capsize=0
        )
    axes.axhline(0.0, color=_GREY, ls=":", lw=0.8)
    axes.set(xlabel="mean [electron]", ylabel=r"covariance x gain / mean [10$^{-3}$]", title="covariance of neighbours")
    if side > 1 and amps:
        axes.legend(frameon=False, fontsize=8, loc="upper left")


def _binned(x, y, n=12):
    """Means of y in at most n groups of equal numbers of points by rising x, and their standard errors."""
    order = np.argsort(x)
    groups = [g for g in np.array_split(order, min(n, max(len(order) // 2, 1))) if len(g)]
    centre = np.array([x[g].mean() for g in groups])
    value = np.array([y[g].mean() for g in groups])
    error = np.array([y[g].std(ddof=1) / np.sqrt(len(g)) if len(g) > 1 else 0.0 for g in groups])
    return centre, value, error


def _drawMatrix(axes, dataset, amps):
    """a_ij averaged over amplifiers."""
    from matplotlib.colors import SymLogNorm

    a = 1e6 * np.nanmean([dataset.aMatrix[amp] for amp in amps], axis=0)
    top = float(np.nanmax(np.abs(a))) or 1.0
    norm = SymLogNorm(linthresh=0.01 * top, vmin=-top, vmax=top)
    shown = axes.imshow(a.T, origin="lower", cmap="RdBu_r", norm=norm)
    side = min(a.shape[0], 4)
    for i in range(side):
        for j in range(side):
            dark = abs(a[i, j]) > 0.3 * top
            axes.text(i, j, f"{a[i, j]:.2g}", ha="center", va="center", fontsize=7, color="white" if dark else "black")
    axes.set(xlabel="i (serial)", ylabel="j (parallel)", title=r"$a_{ij}$ [10$^{-6}$ / electron], mean of amplifiers")
    axes.figure.colorbar(shown, ax=axes, pad=0.02).ax.tick_params(labelsize=7)


def _drawGainLists(axes, dataset, amps):
    """Gain of every single pair against the mean."""
    for amp, colour in zip(amps, _colours(len(amps))):
        mean, _, used, order = _points(dataset, amp)
        single = np.asarray(dataset.gainList[amp], float)[order]
        axes.plot(mean[used], single[used], "o", ms=3.5, color=colour, alpha=0.8)
        axes.axhline(dataset.gain[amp], color=colour, lw=0.8)
    axes.set(
        xlabel="mean [adu]", ylabel="gain [electron/adu]", title="gain of single pairs; lines: fit", xlim=(0, None)
    )


def _drawAmplifiers(axes, table):
    """Gain and noise of every amplifier with their errors."""
    x = np.arange(len(table))
    axes.errorbar(x - 0.08, table["gain"], table["gainErr"], fmt="o", ms=4.5, color=_BLUE, capsize=2)
    axes.set_ylabel("gain [electron/adu]", color=_BLUE)
    other = axes.twinx()
    other.errorbar(x + 0.08, table["noise"], table["noiseErr"], fmt="s", ms=4, color=_ORANGE, capsize=2)
    other.set_ylabel("noise [electron]", color=_ORANGE)
    other.tick_params(labelsize=8)
    names = [str(name) for name in table["ampName"]]
    step = max(1, len(names) // 16)
    axes.set_xticks(x[::step], names[::step], rotation=60 if max(map(len, names), default=0) > 3 else 0)
    axes.set_xlim(-0.6, len(table) - 0.4)
    axes.set_title("amplifiers")
