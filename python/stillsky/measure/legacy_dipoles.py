"""The older dipole measurements: lobes by the sign of pixels, two PSFs on the difference alone, and what is drawn from them."""

from dataclasses import dataclass

import numpy as np

from .. import _core, errors
from .algorithms import BAD_PLANES, _packedFootprints, _pixels, _psfOf, _unitOf
from .apertures import naiveCentroid
from .dipoles import PREFIX, lobePeaks, splineStack
from .psf_stamps import PsfKernels, chunks
from .schema import emptyTable

CENTROID, FLUX = "ip_diffim_NaiveDipoleCentroid_", "ip_diffim_NaiveDipoleFlux_"
PSF_FLUX, CLASS = "ip_diffim_PsfDipoleFlux_", "ip_diffim_ClassificationDipole_"
#: Positions of lobes have no bound but the footprint's box.
_NO_LIMIT = 1e6


def naiveDipoleCentroid(exposure, footprints):
    """First moments of the 3x3 pixels around the strongest peak of each sign, and the middle between them.

    Parameters
    ----------
    exposure : Exposure or MaskedImage
        The difference.
    footprints : `FootprintSet`
        With peaks.

    Returns
    -------
    table : `astropy.table.Table`
        Columns ``ip_diffim_NaiveDipoleCentroid_*``. A lobe without a peak is NaN with its flag; the middle then is that of
        the other lobe, flagged.
    """
    table = emptyTable("ip_diffim_NaiveDipoleCentroid", len(footprints))
    starts, has = lobePeaks(footprints)
    for k, lobe in enumerate(("pos", "neg")):
        rows = np.flatnonzero(has[:, k])
        table[f"{CENTROID}{lobe}_flag"][:] = ~has[:, k]
        if len(rows):
            found = naiveCentroid(exposure, *starts[rows, 2 * k : 2 * k + 2].T)
            for name in ("x", "y", "flag"):
                table[f"{CENTROID}{lobe}_{name}"][rows] = found[f"base_NaiveCentroid_{name}"]
    for name in "xy":
        lobes = np.stack([table[f"{CENTROID}{lobe}_{name}"] for lobe in ("pos", "neg")])
        n = np.isfinite(lobes).sum(axis=0)
        table[CENTROID + name][:] = np.where(n > 0, np.nansum(lobes, axis=0) / np.maximum(n, 1), np.nan)
    table[CENTROID + "flag"][:] = table[CENTROID + "pos_flag"] | table[CENTROID + "neg_flag"]
    return table


def naiveDipoleFlux(exposure, footprints, *, badPlanes=BAD_PLANES):
    """Sums over the positive and over the negative pixels of each footprint.

    Parameters
    ----------
    exposure : Exposure or MaskedImage
        The difference.
    footprints : `FootprintSet`
    badPlanes : sequence of str
        Pixels left out.

    Returns
    -------
    table : `astropy.table.Table`
        Columns ``ip_diffim_NaiveDipoleFlux_*``; the negative flux is negative. A sign without a pixel is 0 with its flag.
        Noise alone adds to both sums: for a footprint of n pixels about 0.4 sigma n.
    """
    pixels = _pixels(exposure, badPlanes, "default")
    table = emptyTable("ip_diffim_NaiveDipoleFlux", len(footprints), _unitOf(exposure))
    if len(footprints) == 0:
        return table
    owner, y, x = _pixelsOf(footprints, pixels)
    value, variance = pixels.image[y, x].astype(float), pixels.variance[y, x].astype(float)
    good = (pixels.mask[y, x] & pixels.bits) == 0
    good &= np.isfinite(value) & np.isfinite(variance) & (variance > 0)
    for lobe, sign in (("pos", 1), ("neg", -1)):
        own = good & (sign * value > 0)
        count, total, noise = (
            np.bincount(owner[own], weights, len(footprints)) for weights in (None, value[own], variance[own])
        )
        table[f"{FLUX}{lobe}_instFlux"][:] = total
        table[f"{FLUX}{lobe}_instFluxErr"][:] = np.sqrt(noise)
        table[f"{FLUX}n{lobe}"][:] = count
        table[f"{FLUX}{lobe}_flag"][:] = count == 0
    table[FLUX + "flag"][:] = table[FLUX + "pos_flag"] | table[FLUX + "neg_flag"]
    return table


def _pixelsOf(footprints, pixels):
    """(footprint, row, column) of every pixel of every footprint that lies on the image; local."""
    spans, offsets = _packedFootprints(footprints, len(footprints), pixels)
    height, width = pixels.image.shape
    owner = np.repeat(np.arange(len(footprints)), np.diff(offsets))
    y, x0, x1 = spans[:, 0], np.maximum(spans[:, 1], 0), np.minimum(spans[:, 2], width - 1)
    lengths = np.where((y >= 0) & (y < height), np.maximum(x1 - x0 + 1, 0), 0)
    start = np.cumsum(lengths) - lengths
    x = np.arange(lengths.sum()) + np.repeat(x0 - start, lengths)
    return np.repeat(owner, lengths), np.repeat(y, lengths), x


def psfDipoleFlux(exposure, footprints, *, psf=None, badPlanes=BAD_PLANES, maxPixels=10000, maxCalls=100000):
    """Two PSFs of opposite sign fitted to the bounding boxes of footprints on the difference alone.

    Parameters
    ----------
    exposure : Exposure or MaskedImage
        The difference.
    footprints : `FootprintSet`
        Fitted are those with peaks of both signs; the rest stays NaN, unflagged.
    psf : Psf, optional
        Default: that of the exposure.
    badPlanes : sequence of str
        Pixels left out; () uses all.
    maxPixels : int
        Greatest side of a box; larger ones are flagged.
    maxCalls : int
        Greatest number of evaluations.

    Returns
    -------
    table : `astropy.table.Table`
        Columns ``ip_diffim_PsfDipoleFlux_*``; the negative flux is negative. Lobes closer than the PSF's width have fluxes
        and a separation that only their product fixes: `fitDipoles` is for these.
    """
    table = emptyTable("ip_diffim_PsfDipoleFlux", len(footprints), _unitOf(exposure))
    starts, has = lobePeaks(footprints)
    boxes = [footprints[int(i)].bbox for i in np.flatnonzero(has.all(axis=1))]
    small = np.array([max(b.width, b.height) <= maxPixels for b in boxes], bool)
    rows = np.flatnonzero(has.all(axis=1))
    for name in ("flag", "pos_flag", "neg_flag"):
        table[PSF_FLUX + name][rows[~small]] = True
    rows = rows[small]
    if len(rows) == 0:
        return table
    pixels = _pixels(exposure, badPlanes, "default")
    psf = _psfOf(exposure, psf)
    for part in chunks(len(rows)):
        found = _fit(pixels, footprints, rows[part], starts[rows[part]], psf, maxCalls)
        _storeFit(table, rows[part], found, pixels)
    return table


def _fit(pixels, footprints, rows, starts, psf, maxCalls):
    stack = splineStack(PsfKernels(psf, *(0.5 * (starts[:, :2] + starts[:, 2:])).T))
    spans, offsets = _packedFootprints(footprints, len(footprints), pixels)
    own = np.concatenate([spans[offsets[i] : offsets[i + 1]] for i in rows])
    ends = np.concatenate([[0], np.cumsum(offsets[rows + 1] - offsets[rows])])
    local = starts - np.tile([pixels.x0, pixels.y0], 2)
    limits = np.column_stack([local, np.full(len(rows), _NO_LIMIT), np.zeros(len(rows))])
    return _core.dipoleFit(
        pixels.planes,
        None,
        None,
        stack,
        stack,
        stack,
        limits,
        (own, ends),
        0.0,
        1e-9,
        int(maxCalls),
        0,
        0,
        True,
        False,
        1.0,
    )


def _storeFit(table, rows, found, pixels):
    failed = (found["flagBits"] & 1 != 0) | (found["flagBits"] & 16 != 0)
    for name in ("flag", "pos_flag", "neg_flag"):
        table[PSF_FLUX + name][rows] = failed
    rows, found = rows[found["flagBits"] & 1 == 0], found[found["flagBits"] & 1 == 0]
    for lobe, sign in (("pos", 1), ("neg", -1)):
        for name, origin in (("X", pixels.x0), ("Y", pixels.y0)):
            table[f"{PSF_FLUX}{lobe}_centroid_{name.lower()}"][rows] = found[lobe + name] + origin
            table[f"{PSF_FLUX}{lobe}_centroid_{name.lower()}Err"][rows] = found[lobe + name + "Err"]
        table[f"{PSF_FLUX}{lobe}_instFlux"][rows] = sign * found[lobe + "Flux"]
        table[f"{PSF_FLUX}{lobe}_instFluxErr"][rows] = found[lobe + "FluxErr"]
    for name in "xy":
        upper = name.upper()
        table[PSF_FLUX + name][rows] = 0.5 * sum(
            table[f"{PSF_FLUX}{lobe}_centroid_{name}"][rows] for lobe in ("pos", "neg")
        )
        variance = found[f"pos{upper}Err"] ** 2 + found[f"neg{upper}Err"] ** 2 + 2 * found[f"{name}Cov"]
        table[PSF_FLUX + name + "Err"][rows] = 0.5 * np.sqrt(np.maximum(variance, 0))
    table[PSF_FLUX + "chi2dof"][rows] = found["chi2"] / np.maximum(found["nData"] - found["nParameters"], 1)


def classificationDipole(fluxes, *, minSn=50**0.5, maxFluxRatio=0.65):
    """1 for a dipole: signal-to-noise ratio of the naive lobes above `minSn`, neither with more than its share of the flux.

    Parameters
    ----------
    fluxes : `astropy.table.Table`
        As `naiveDipoleFlux` returns it.
    minSn, maxFluxRatio : float

    Returns
    -------
    table : `astropy.table.Table`
        Columns ``ip_diffim_ClassificationDipole_value`` (0 or 1) and ``_flag`` (fluxes flagged; value 0).
    """
    table = emptyTable("ip_diffim_ClassificationDipole", len(fluxes))
    bad = np.asarray(fluxes[FLUX + "flag"], bool)
    ratio, share = _ratios(fluxes, FLUX)
    table[CLASS + "value"][:] = ~bad & (ratio > minSn) & (share < maxFluxRatio)
    table[CLASS + "flag"][:] = bad
    return table


def _ratios(table, prefix):
    """(signal-to-noise ratio of both lobes together, share of the stronger lobe in the flux)."""
    flux, error = (
        np.abs([np.asarray(table[f"{prefix}{lobe}_{name}"], float) for lobe in ("pos", "neg")])
        for name in ("instFlux", "instFluxErr")
    )
    with np.errstate(all="ignore"):
        return np.hypot(*(flux / error)), flux.max(axis=0) / flux.sum(axis=0)


@dataclass
class SourceFlagChecker:
    """Whether none of some flags is set.

    Parameters
    ----------
    badFlags : sequence of str
        Columns; one that a table does not have is a NotFoundError.
    """

    badFlags: tuple = ()

    def __call__(self, sources):
        """True for a good row, an array of bool for a table."""
        names = list(self.badFlags)
        missing = [name for name in names if name not in sources.colnames]
        if missing:
            raise errors.NotFoundError(f"SourceFlagChecker: no column {', '.join(missing)}")
        flags = [np.asarray(sources[name], bool) for name in names]
        good = ~np.any(flags, axis=0) if flags else np.ones(np.shape(sources[sources.colnames[0]]), bool)
        return good if good.ndim else bool(good)


@dataclass
class DipoleAnalysis:
    """Figures of the dipoles of a table, by the columns of one of the fits.

    Parameters
    ----------
    prefix : str
        "ip_diffim_DipoleFit_" (default) or "ip_diffim_PsfDipoleFlux_".
    """

    prefix: str = PREFIX

    def _lobe(self, sources, lobe):
        middle = "centroid_" if f"{self.prefix}{lobe}_centroid_x" in sources.colnames else ""
        return np.array([np.asarray(sources[f"{self.prefix}{lobe}_{middle}{c}"], float) for c in "xy"])

    def getSn(self, sources):
        """Signal-to-noise ratio of both lobes together."""
        return _ratios(sources, self.prefix)[0]

    def getCentroid(self, sources):
        """(x, y) of the middle of the lobes, pixels."""
        return 0.5 * (self._lobe(sources, "pos") + self._lobe(sources, "neg"))

    def getOrientation(self, sources):
        """Direction from the negative to the positive lobe, radians from +x towards +y."""
        dx, dy = self._lobe(sources, "pos") - self._lobe(sources, "neg")
        return np.arctan2(dy, dx)

    def __call__(self, sources):
        """(signal-to-noise ratio, (x, y), orientation)."""
        return self.getSn(sources), self.getCentroid(sources), self.getOrientation(sources)
