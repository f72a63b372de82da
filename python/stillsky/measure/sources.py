"""Measure detected sources: all algorithms, one table."""

from dataclasses import dataclass, field

import numpy as np
from astropy.table import hstack

from .. import errors
from ..detection import FootprintSet, sourceTable
from ..detection.sources import emptySourceTable
from . import algorithms, apertures, dipoles, legacy_dipoles, local_calibration, trails
from .psf_stamps import PsfShapes
from .schema import aperturePrefix, emptyTable

#: Algorithms in the order in which they run. The first gives the positions of the others.
PLUGINS = (
    "base_SdssCentroid",
    "base_SkyCoord",
    "base_SdssShape",
    "base_PixelFlags",
    "base_PsfFlux",
    "base_GaussianFlux",
)
#: Measured only when asked for.
FURTHER_PLUGINS = (
    "base_ClassificationSizeExtendedness",
    "base_CircularApertureFlux",
    "base_PeakLikelihoodFlux",
    "base_LocalBackground",
    "base_LocalPhotoCalib",
    "base_LocalWcs",
    "ext_trailedSources_Naive",
    "base_NaiveCentroid",
    "base_PeakCentroid",
    "ip_diffim_NaiveDipoleCentroid",
    "ip_diffim_NaiveDipoleFlux",
    "ip_diffim_PsfDipoleFlux",
    "ip_diffim_ClassificationDipole",
    "ip_diffim_DipoleFit",
)
#: Every plugin in the order in which they run: the dipole fit moves the positions before the rest is measured.
_KNOWN = (PLUGINS[0], "ip_diffim_DipoleFit", *PLUGINS[1:], *FURTHER_PLUGINS[:-1])
_METHODS = {"ext_trailedSources_Naive": "trails"}
#: Measurements at the peaks or over the footprint, which the centroid does not concern.
_OWN_PLACES = ("base_NaiveCentroid", "base_PeakCentroid", *FURTHER_PLUGINS[-5:-1])


def measurementSchema(plugins=PLUGINS, extraPlanes=(), fluxUnit="count", apertureRadii=(12.0,)):
    """The empty table that `measureSources` would return: names, dtypes, units, descriptions, slots."""
    names = _pluginNames(plugins)
    parts = [emptySourceTable(), *(emptyTable(name, 0, fluxUnit, extraPlanes, apertureRadii) for name in names)]
    return _joined(parts, names)


def measureSources(
    exposure,
    sources,
    plugins=None,
    *,
    isNegative=False,
    ids=None,
    psf=None,
    wcs=None,
    badPlanes=None,
    extraPlanes=(),
    maxDistToPeak=-1.0,
    apertureRadii=(12.0,),
    science=None,
    template=None,
    dipoleConfig=None,
    centroids=None,
    dipoleErrors=(1.0, 0.0),
    model="default",
):
    """Measure sources on an exposure.

    Parameters
    ----------
    exposure : Exposure or MaskedImage
        Background subtracted; nothing is changed.
    sources : `FootprintSet`, sequence of `Footprint`, `DetectionResult`, table with peakX and peakY, or array (n, 2)
        What to measure: footprints, which start at their first peaks, or positions x, y (parent coordinates). A
        detection result gives negative sources first, and knows which they are.
    plugins : sequence of str, optional
        Names with or without "base_", of `PLUGINS` and `FURTHER_PLUGINS`; default: all of `PLUGINS`. A default SkyCoord
        stays NaN without a WCS. Without SdssCentroid the positions given are used.
    isNegative : bool or sequence of bool
        Sources that are minima.
    ids : sequence of int, optional
        Default 1, 2, ...
    psf, wcs : optional
        Instead of the exposure's.
    badPlanes, model
        As in the algorithms: which planes are left out; "reference" gives Rubin's numbers.
    extraPlanes : sequence of str
        Further planes of PixelFlags.
    maxDistToPeak : float
        Farthest a centroid may be from its peak, pixels; negative: no limit.
    apertureRadii : sequence of float
        Radii of CircularApertureFlux, pixels.
    science, template, dipoleConfig
        For ip_diffim_DipoleFit: see `fitDipoles`. Its positions become those of the followers.
    dipoleErrors : (float, float)
        ``templateNoise`` and ``modelError`` of `fitDipoles`.
    centroids : array (n, 4), optional
        x, y and their errors where they are known better than SdssCentroid would have them, NaN elsewhere.

    Returns
    -------
    table : `astropy.table.Table`
        One row per source with all columns, also when empty; `meta` has ``slots`` and ``plugins``. A flagged centroid
        sets the general flag of every algorithm that uses it.

    Raises
    ------
    InvalidPsfError
        No PSF, where an algorithm needs one.
    StillskyError
        SkyCoord asked for and no WCS.
    DomainError
        Unknown plugin.
    """
    names = _pluginNames(PLUGINS if plugins is None else plugins)
    footprints, base, x, y = _startOf(sources, ids, isNegative)
    _requireOnImage(getattr(exposure, "maskedImage", exposure), footprints)
    run = _Run(
        exposure=exposure, footprints=footprints, negative=np.asarray(base["is_negative"]), x=x, y=y, psf=psf, wcs=wcs,
        needWcs=plugins is not None, extraPlanes=extraPlanes, maxDistToPeak=maxDistToPeak,
        apertureRadii=apertureRadii, known=centroids, dipole=(science, template, dipoleConfig),
        dipoleErrors=dipoleErrors, common={"badPlanes": badPlanes, "model": model},
    )  # fmt: skip
    parts = [base]
    for name in names:
        part = run.parts[name] = getattr(
            run, _METHODS.get(name, name.removeprefix("base_").removeprefix("ip_diffim_"))
        )()
        if name not in ("base_SdssCentroid", "ip_diffim_DipoleFit", *_OWN_PLACES):
            run.flagFollowers(part)
        parts.append(part)
    return _joined(parts, names)


@dataclass
class _Run:
    """State of one call of `measureSources`; a method per plugin. Positions start at the peaks."""

    exposure: object
    footprints: object
    negative: np.ndarray
    x: np.ndarray
    y: np.ndarray
    psf: object
    wcs: object
    needWcs: bool
    extraPlanes: tuple
    maxDistToPeak: float
    apertureRadii: tuple
    dipole: tuple
    common: dict
    known: np.ndarray = None
    dipoleErrors: tuple = (1.0, 0.0)
    xErr: np.ndarray = None
    yErr: np.ndarray = None
    shapesOfPsf: object = None
    parts: dict = field(default_factory=dict)

    def __post_init__(self):
        self.peaks = (self.x.copy(), self.y.copy())
        self.centroidFlag = np.zeros(len(self.x), bool)

    @property
    def at(self):
        return self.exposure, self.x, self.y

    def flagFollowers(self, part):
        """A flagged centroid flags what was measured there."""
        for column in part.colnames:
            if column.endswith("_flag"):
                part[column][:] |= self.centroidFlag

    def shape(self):
        """Moments, measured once even where they are no columns of the table."""
        if "base_SdssShape" not in self.parts:
            self.parts["base_SdssShape"] = self.SdssShape()
        return self.parts["base_SdssShape"]

    def SdssCentroid(self):
        part = algorithms.sdssCentroid(
            *self.at, footprints=self.footprints, isNegative=self.negative, psf=self.psf,
            maxDistToPeak=self.maxDistToPeak, **self.common,
        )  # fmt: skip
        if self.known is not None:
            better = np.isfinite(self.known).all(axis=1)
            for name, values in zip(("x", "y", "xErr", "yErr"), np.asarray(self.known, float).T, strict=True):
                part["base_SdssCentroid_" + name][better] = values[better]
            for name in part.colnames:
                if "_flag" in name:
                    part[name][better] = False
        self.moveTo(part, "base_SdssCentroid_")
        return part

    def moveTo(self, part, prefix):
        self.x, self.y, self.xErr, self.yErr = (np.array(part[prefix + c], float) for c in ("x", "y", "xErr", "yErr"))
        self.centroidFlag = np.array(part[prefix + "flag"])
        self.shapesOfPsf = None

    def DipoleFit(self):
        self.requireFootprints("ip_diffim_DipoleFit")
        science, template, config = self.dipole
        part = dipoles.fitDipoles(
            self.exposure, self.footprints, science, template, centroids=self.parts.get("base_SdssCentroid"),
            config=config, psf=self.psf, isNegative=self.negative,
            model="reference" if self.common["model"] == "reference" else None,
            templateNoise=self.dipoleErrors[0], modelError=self.dipoleErrors[1],
        )  # fmt: skip
        # A failed fit leaves the source where its centroid is, as good or bad as that was.
        dipole = np.array(part[dipoles.PREFIX + "classification"])
        flag = self.centroidFlag & ~dipole
        self.moveTo(part, dipoles.PREFIX)
        self.centroidFlag = flag
        return part

    def requireFootprints(self, name):
        if self.footprints is None:
            raise errors.DomainError(f"measureSources: {name} needs footprints, got positions")

    def NaiveDipoleCentroid(self):
        self.requireFootprints("ip_diffim_NaiveDipoleCentroid")
        return legacy_dipoles.naiveDipoleCentroid(self.exposure, self.footprints)

    def NaiveDipoleFlux(self):
        self.requireFootprints("ip_diffim_NaiveDipoleFlux")
        return legacy_dipoles.naiveDipoleFlux(self.exposure, self.footprints, badPlanes=self.legacyPlanes)

    def PsfDipoleFlux(self):
        self.requireFootprints("ip_diffim_PsfDipoleFlux")
        return legacy_dipoles.psfDipoleFlux(self.exposure, self.footprints, psf=self.psf, badPlanes=self.legacyPlanes)

    def ClassificationDipole(self):
        fluxes = self.parts.get("ip_diffim_NaiveDipoleFlux")
        return legacy_dipoles.classificationDipole(self.NaiveDipoleFlux() if fluxes is None else fluxes)

    @property
    def legacyPlanes(self):
        if self.common["badPlanes"] is not None:
            return self.common["badPlanes"]
        return () if self.common["model"] == "reference" else algorithms.BAD_PLANES

    def SkyCoord(self):
        known = self.wcs is not None or getattr(self.exposure, "wcs", None) is not None
        if known or self.needWcs:
            return algorithms.skyCoord(*self.at, self.xErr, self.yErr, wcs=self.wcs)
        return emptyTable("base_SkyCoord", len(self.x))

    def psfShapes(self):
        """Kernels and moments of the PSF at the positions, evaluated once for all that need them; None without a PSF."""
        psf = getattr(self.exposure, "psf", None) if self.psf is None else self.psf
        if self.shapesOfPsf is None and psf is not None:
            self.shapesOfPsf = PsfShapes(psf, self.x, self.y)
        return self.shapesOfPsf

    def SdssShape(self):
        return algorithms.sdssShape(
            *self.at, isNegative=self.negative, psf=self.psf, psfShapes=self.psfShapes(), **self.common
        )

    def PixelFlags(self):
        return algorithms.pixelFlags(*self.at, footprints=self.footprints, extraPlanes=self.extraPlanes)

    def PsfFlux(self):
        return algorithms.psfFlux(*self.at, psf=self.psf, **self.common)

    def GaussianFlux(self):
        shape = self.shape()
        moments = (shape[f"base_SdssShape_{c}"] for c in ("xx", "yy", "xy"))
        part = algorithms.gaussianFlux(*self.at, *moments, **self.common)
        if self.common["model"] == "default":
            part["base_GaussianFlux_flag"][:] |= shape["base_SdssShape_flag"]
        return part

    def ClassificationSizeExtendedness(self):
        return algorithms.sizeExtendedness(self.shape())

    def CircularApertureFlux(self):
        return apertures.circularApertureFlux(*self.at, self.apertureRadii, **self.common)

    def PeakLikelihoodFlux(self):
        return apertures.peakLikelihoodFlux(
            *self.at, psf=self.psf, psfShapes=self.psfShapes(), model=self.common["model"]
        )

    def LocalBackground(self):
        return apertures.localBackground(*self.at, psf=self.psf)

    def NaiveCentroid(self):
        return apertures.naiveCentroid(self.exposure, *self.peaks)

    def PeakCentroid(self):
        part = emptyTable("base_PeakCentroid", len(self.x))
        part["base_PeakCentroid_x"][:], part["base_PeakCentroid_y"][:] = self.peaks
        part["base_PeakCentroid_flag"][:] = ~np.isfinite(np.sum(self.peaks, axis=0))
        return part

    def LocalPhotoCalib(self):
        return local_calibration.localPhotoCalib(*self.at)

    def LocalWcs(self):
        return local_calibration.localWcs(*self.at, wcs=self.wcs)

    def trails(self):
        fallback = None
        if "base_CircularApertureFlux" in self.parts and len(self.apertureRadii):
            part, prefix = self.parts["base_CircularApertureFlux"], aperturePrefix(self.apertureRadii[-1])
            fallback = np.where(part[prefix + "flag"], np.nan, part[prefix + "instFlux"])
        return trails.trailedSources(
            *self.at,
            self.shape(),
            self.xErr,
            self.yErr,
            psf=self.psf,
            psfShapes=self.psfShapes(),
            wcs=self.wcs,
            apertureFlux=fallback,
            **self.common,
        )


def _pluginNames(plugins):
    short = {name.split("_", 1)[1].removeprefix("diffim_"): name for name in _KNOWN}
    wanted = {name if name in _KNOWN else short.get(name, f"base_{name.removeprefix('base_')}") for name in plugins}
    unknown = wanted - set(_KNOWN)
    if unknown:
        raise errors.DomainError(f"plugins: wanted some of {', '.join(_KNOWN)}, got {', '.join(sorted(unknown))}")
    return [name for name in _KNOWN if name in wanted]


def _joined(parts, names):
    table = hstack(parts, join_type="exact", metadata_conflicts="silent")
    table.meta["plugins"] = list(names)
    table.meta["slots"] = {
        slot: name
        for slot, name in (
            ("slot_Centroid", "base_SdssCentroid"),
            ("slot_Shape", "base_SdssShape"),
            ("slot_PsfFlux", "base_PsfFlux"),
        )
        if name in names
    }
    if "ip_diffim_DipoleFit" in names:
        table.meta["slots"]["slot_Centroid"] = "ip_diffim_DipoleFit"
    return table


def _startOf(sources, ids, isNegative):
    """(footprints or None, table of the first columns, x, y)."""
    if hasattr(sources, "positive") and hasattr(sources, "negative"):
        isNegative = np.arange(len(sources.positive) + len(sources.negative)) < len(sources.negative)
        sources = FootprintSet([*sources.negative, *sources.positive], sources.positive.region)
    if isinstance(sources, (list, tuple)) and sources and hasattr(sources[0], "spans"):
        sources = FootprintSet(sources, sources[0].region)
    if isinstance(sources, FootprintSet):
        base = sourceTable(sources, ids, isNegative)
        # A footprint without peaks starts at its centroid.
        x, y = (np.array(base[c]) for c in ("peakX", "peakY"))
        for i in np.flatnonzero(sources.nPeaks == 0):
            x[i], y[i] = sources[i].centroid
        return sources, base, x, y
    if hasattr(sources, "colnames"):
        positions = np.column_stack([sources["peakX"], sources["peakY"]]).astype(float)
    else:
        positions = np.asarray(sources, float).reshape(-1, 2) if len(sources) == 0 else np.asarray(sources, float)
    if positions.ndim != 2 or positions.shape[1] != 2:
        raise errors.ShapeError(f"sources: wanted footprints or positions of shape (n, 2), got shape {positions.shape}")
    base = emptySourceTable(length=len(positions))
    base["id"][:] = np.arange(1, len(base) + 1) if ids is None else np.asarray(ids, np.int64)
    base["is_negative"][:] = isNegative
    base["peakX"][:], base["peakY"][:] = positions.T
    return None, base, positions[:, 0].copy(), positions[:, 1].copy()


def _requireOnImage(masked, footprints):
    if footprints is not None and len(footprints) and not masked.bbox.overlaps(footprints.spans.bbox):
        raise errors.OutOfBoundsError(
            f"measureSources: footprints in {footprints.spans.bbox} do not touch the exposure, {masked.bbox}"
        )
