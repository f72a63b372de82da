"""Columns of a table of difference-image sources: names, types, units, descriptions, in a fixed order.

Every table has all of them, whether or not a measurement ran: what was not measured is NaN (floats), 0 (integers) or
False, and an algorithm that did not run has its ``_flag`` True.
"""

import functools

import numpy as np
from astropy import units as u
from astropy.table import Table

from ..measure import FURTHER_PLUGINS, PLUGINS, measurementSchema
from .candidate_columns import CANDIDATE_COLUMNS

__all__ = ["EXTRA_PLANES", "SCHEMA_VERSION", "SOURCE_PLUGINS", "completed", "sourceColumns", "sourceSchema"]

SCHEMA_VERSION = 1
F4, F8, I4, I8, B = np.float32, np.float64, np.int32, np.int64, np.bool_

#: Planes of PixelFlags beyond the standard ones.
EXTRA_PLANES = ("STREAK", "INJECTED", "INJECTED_TEMPLATE", "HIGH_VARIANCE", "SAT_TEMPLATE", "SPIKE")

IDENTITY = (
    ("id", I8, None, "unique id"),
    ("parent", I8, None, "0, or id of the parent record"),
    ("coord_ra", F8, "rad", "right ascension of the centroid"),
    ("coord_dec", F8, "rad", "declination of the centroid"),
    ("coord_raErr", F4, "rad", "standard deviation of coord_ra (of the coordinate, not of the arc)"),
    ("coord_decErr", F4, "rad", "standard deviation of coord_dec"),
    ("coord_ra_dec_Cov", F4, "rad2", "covariance of coord_ra and coord_dec"),
    ("is_negative", B, None, "only a negative detection contributes"),
    ("merge_footprint_positive", B, None, "a positive detection contributes"),
    ("merge_footprint_negative", B, None, "a negative detection contributes"),
    ("sky_source", B, None, "an empty position, measured like a source"),
    ("glint_trail", B, None, "one of several sources on a straight line"),
    ("reliability", F4, None, "left to a later classifier"),
    ("reliabilityVersion", "U7", None, "of that classifier"),
    ("deblend_nChild", I4, None, "children of the record; 0: parents of deblended sources are not kept"),
    ("deblend_parentNChild", I4, None, "sources of the blend that it is one of; 0: alone"),
    ("detect_isPrimary", B, None, "a source to count: no parent and no sky source"),
    ("detect_isDeblendedSource", B, None, "isolated, or one of a blend measured without the light of its neighbours"),
    ("detect_fromBlend", B, None, "its light overlaps with that of neighbours, with which it was fitted together"),
    ("detect_isIsolated", B, None, "one peak, and no neighbour fitted with it"),
    ("motionScore", F4, None, "chi squared, 2 degrees of freedom, of a displaced source: large for misplaced stars"),
    ("refMatchId", I8, None, "id of the reference object at this place; 0: none"),
    ("srcMatchId", I8, None, "id of the source of the science image at this place; 0: none"),
    ("nPeaks", I4, None, "peaks in the footprint"),
    ("footprintArea", I4, "pix", "pixels in the footprint"),
    ("peakX", F8, "pix", "first peak, x, parent coordinates"),
    ("peakY", F8, "pix", "first peak, y, parent coordinates"),
    ("peakValue", F8, None, "value of the detection image at the first peak"),
    ("detectSignificance", F4, None, "first peak: abs(value) over standard deviation of the detection image"),
    ("significance_positive", F4, None, "largest significance of the positive peaks; NaN: none"),
    ("significance_negative", F4, None, "largest significance of the negative peaks; NaN: none"),
)


PSF_FLUX_MORE = (
    ("apCorr", F8, None, "aperture correction applied"),
    ("apCorrErr", F8, None, "its standard deviation"),
    ("flag_apCorr", B, None, "no aperture correction"),
)

LIKELIHOOD = (
    ("instFlux", F8, "flux", "flux from the value of a likelihood image"),
    ("instFluxErr", F8, "flux", "standard deviation of instFlux"),
    ("flag", B, None, "the flux is not to be trusted"),
    *PSF_FLUX_MORE,
)

APERTURE = (
    ("instFlux", F8, "flux", "sum in a circle of 12 pixels"),
    ("instFluxErr", F8, "flux", "standard deviation of instFlux"),
    ("flag", B, None, "the flux is not to be trusted"),
    ("flag_apertureTruncated", B, None, "the circle reaches beyond the image"),
)

CALIBRATION = (
    ("base_LocalPhotoCalib", F8, "nJy / ct", "calibration at the centroid"),
    ("base_LocalPhotoCalibErr", F8, "nJy / ct", "its standard deviation"),
    ("base_LocalPhotoCalib_flag", B, None, "the exposure has no calibration"),
    *(
        (f"base_LocalWcs_CDMatrix_{i}_{j}", F8, "rad / pix", "linear part of the WCS at the centroid")
        for i in (1, 2)
        for j in (1, 2)
    ),
    ("base_LocalWcs_flag", B, None, "the exposure has no WCS"),
)

_TRAIL_VALUES = (
    ("x0", "pix", "end of the trail"),
    ("y0", "pix", "end of the trail"),
    ("x1", "pix", "other end of the trail"),
    ("y1", "pix", "other end of the trail"),
    ("flux", "flux", "flux of the trail"),
    ("length", "pix", "length of the trail"),
    ("angle", "rad", "direction of the trail from +x to +y"),
)
_TRAIL_FLAGS = (
    "noFlux noConverge noSigma edge off_image nan suspect_long_trail shape".split()
)  # fmt: skip
TRAIL = (
    ("ra", F8, "deg", "right ascension of the trail's centre"),
    ("dec", F8, "deg", "declination of the trail's centre"),
    *(
        row
        for name, unit, doc in _TRAIL_VALUES
        for row in ((name, F8, unit, doc), (f"{name}Err", F8, unit, f"standard deviation of {name}"))
    ),
    ("flag", B, None, "the trail is not to be trusted"),
    *((f"flag_{name}", B, None, f"trail: {name.replace('_', ' ')}") for name in _TRAIL_FLAGS),
)

FORCED = (
    ("instFlux", F8, "flux", "PSF flux at the position of the source"),
    ("instFluxErr", F8, "flux", "standard deviation of instFlux"),
    ("area", F4, "pix", "effective area of the PSF"),
    ("flag", B, None, "the flux is not to be trusted"),
    ("flag_edge", B, None, "the PSF reaches beyond the image"),
    ("flag_noGoodPixels", B, None, "no good pixel under the PSF"),
)

SCORE = (
    ("score", F8, None, "score image at the centroid"),
    ("scoreSignificance", F4, None, "the same over its standard deviation"),
)

#: Algorithms of the measurement room that a table of difference-image sources has.
SOURCE_PLUGINS = tuple(
    name
    for name in (
        *PLUGINS,
        "base_ClassificationSizeExtendedness",
        "base_PeakLikelihoodFlux",
        "base_CircularApertureFlux",
        "base_LocalPhotoCalib",
        "base_LocalWcs",
        "ext_trailedSources_Naive",
    )
    if name in (*PLUGINS, *FURTHER_PLUGINS)
)

#: Prefix -> columns of algorithms that may or may not have run.
BLOCKS = {
    "base_PsfFlux_": PSF_FLUX_MORE,
    "base_GaussianFlux_": PSF_FLUX_MORE,
    "base_PeakLikelihoodFlux_": LIKELIHOOD,
    "base_CircularApertureFlux_12_0_": APERTURE,
    "": CALIBRATION,
    "ext_trailedSources_Naive_": TRAIL,
    "ip_diffim_forced_PsfFlux_": FORCED,
    "ip_diffim_forced_template_PsfFlux_": FORCED,
}


def sourceSchema(fluxUnit="count"):
    """The empty table of sources: all columns with dtypes, units and descriptions."""
    return completed(Table(), fluxUnit)


def completed(table, fluxUnit="count"):
    """A table with all columns of the schema in their order, then those that only the given table has.

    Parameters
    ----------
    table : `astropy.table.Table`
        What was measured; its columns are taken over, converted to the type of the schema.
    fluxUnit : str or unit
        Unit of the pixels.

    Returns
    -------
    table : `astropy.table.Table`
    """
    length, columns, given = len(table), [], set(table.colnames)
    for name, dtype, unit, doc in _columns(u.Unit(fluxUnit)):
        if name in given:
            column = table[name]
            values = np.asarray(column).astype(dtype, copy=False)
            unit, doc = (unit if column.unit is None else column.unit), column.description or doc
        else:
            values = _blank(name, dtype, length)
        columns.append(Table.Column(values, name, unit=unit, description=doc, copy=False))
    known = _names(u.Unit(fluxUnit))
    columns += [table[name] for name in table.colnames if name not in known]
    return Table(columns, meta=dict(table.meta), copy=False)


def sourceColumns():
    """Names of all columns of the schema."""
    return _names(u.Unit("count"))


@functools.lru_cache(maxsize=8)
def _names(flux):
    return frozenset(row[0] for row in _columns(flux))


@functools.lru_cache(maxsize=8)
def _columns(flux):
    """All (name, dtype, unit, description), the measured algorithms first; of several with one name the first."""
    rows = {}
    for row in _allColumns(flux):
        rows.setdefault(row[0], row)
    return tuple(rows.values())


def _allColumns(flux):
    units = {"flux": flux}
    yield from IDENTITY
    measured = measurementSchema((*SOURCE_PLUGINS, "ip_diffim_DipoleFit"), EXTRA_PLANES, flux)
    known = {row[0] for row in IDENTITY}
    for name in measured.colnames:
        if name not in known:
            column = measured[name]
            yield name, column.dtype, column.unit, column.description
    for prefix, rows in BLOCKS.items():
        for name, dtype, unit, doc in rows:
            yield prefix + name, dtype, units.get(unit, unit), doc
    yield from SCORE
    for name, dtype, unit, doc in CANDIDATE_COLUMNS:
        yield name, dtype, units.get(unit, unit), doc


def _blank(name, dtype, length):
    """What an unmeasured column holds: NaN, 0 or False, and True for the flag of an algorithm."""
    if np.dtype(dtype).kind == "f":
        return np.full(length, np.nan, dtype)
    values = np.zeros(length, dtype)
    if name.endswith("_flag") and name != "candidate_flag":
        values[:] = True  # not measured
    return values
