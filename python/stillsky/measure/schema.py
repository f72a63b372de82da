"""Columns of the measurement tables: names, types, units, descriptions.

An empty table with these columns is the schema of an algorithm; every table made by this room, empty or not, has them.
"""

import numpy as np
from astropy import units as u

from ..detection.sources import emptySourceTable
from .further_columns import APERTURE, FURTHER

F4, F8, I4, B = np.float32, np.float64, np.int32, np.bool_

#: Plane names of PixelFlags: suffix of the column -> mask plane.
PIXEL_FLAG_PLANES = {
    "edge": "EDGE",
    "nodata": "NO_DATA",
    "interpolated": "INTRP",
    "saturated": "SAT",
    "cr": "CR",
    "bad": "BAD",
    "suspect": "SUSPECT",
}

CENTROID = (
    ("x", F8, "pix", "centroid, parent coordinates"),
    ("y", F8, "pix", "centroid, parent coordinates"),
    ("xErr", F4, "pix", "standard deviation of x"),
    ("yErr", F4, "pix", "standard deviation of y"),
    ("flag", B, None, "the centroid is not to be trusted"),
    ("flag_edge", B, None, "too close to the edge to be measured; position is the peak"),
    ("flag_near_edge", B, None, "the PSF reaches beyond the image"),
    ("flag_noSecondDerivative", B, None, "no curvature at the peak"),
    ("flag_almostNoSecondDerivative", B, None, "little curvature at the peak: the maximum is more than a pixel away"),
    ("flag_notAtMaximum", B, None, "the start is not at a maximum of the smoothed image"),
    ("flag_resetToPeak", B, None, "left its footprint or went too far; position is the peak"),
    ("flag_badError", B, None, "the error is not a number"),
    ("flag_masked", B, None, "missing pixels were replaced by the fitted PSF"),
)

PSF_FLUX = (
    ("instFlux", F8, "flux", "flux of the PSF fitted at the centroid"),
    ("instFluxErr", F8, "flux", "standard deviation of instFlux"),
    ("area", F4, "pix", "effective area of the PSF, (sum P)^2 / sum P^2"),
    ("chi2", F4, None, "sum of squared residuals over variance"),
    ("npixels", I4, "pix", "number of pixels used"),
    ("flag", B, None, "the flux is not to be trusted"),
    ("flag_noGoodPixels", B, None, "no good pixel under the PSF"),
    ("flag_edge", B, None, "the PSF reaches beyond the image; the fit uses the rest"),
    ("flag_masked", B, None, "missing pixels under the PSF were left out"),
)

SHAPE = (
    ("xx", F8, "pix2", "adaptive second moment"),
    ("yy", F8, "pix2", "adaptive second moment"),
    ("xy", F8, "pix2", "adaptive second moment"),
    ("xxErr", F4, "pix2", "standard deviation of xx"),
    ("yyErr", F4, "pix2", "standard deviation of yy"),
    ("xyErr", F4, "pix2", "standard deviation of xy"),
    ("x", F8, "pix", "weighted centroid, parent coordinates"),
    ("y", F8, "pix", "weighted centroid, parent coordinates"),
    ("instFlux", F8, "flux", "flux of the elliptical Gaussian"),
    ("instFluxErr", F8, "flux", "standard deviation of instFlux"),
    ("instFlux_xx_Cov", F4, "flux pix2", "covariance of instFlux and xx"),
    ("instFlux_yy_Cov", F4, "flux pix2", "covariance of instFlux and yy"),
    ("instFlux_xy_Cov", F4, "flux pix2", "covariance of instFlux and xy"),
    ("psf_xx", F8, "pix2", "adaptive second moment of the PSF"),
    ("psf_yy", F8, "pix2", "adaptive second moment of the PSF"),
    ("psf_xy", F8, "pix2", "adaptive second moment of the PSF"),
    ("flag", B, None, "the shape is not to be trusted"),
    ("flag_unweightedBad", B, None, "neither weighted nor plain moments exist"),
    ("flag_unweighted", B, None, "plain moments, because the weighted ones do not converge"),
    ("flag_shift", B, None, "the weighted centroid is far from the centroid"),
    ("flag_maxIter", B, None, "too many iterations"),
    ("flag_psf", B, None, "the PSF's moments could not be measured"),
    ("flag_masked", B, None, "missing pixels were replaced by the fitted Gaussian"),
)

GAUSSIAN_FLUX = (
    ("instFlux", F8, "flux", "flux of the elliptical Gaussian of the adaptive moments"),
    ("instFluxErr", F8, "flux", "standard deviation of instFlux"),
    ("flag", B, None, "the flux is not to be trusted"),
    ("flag_masked", B, None, "missing pixels were left out"),
)

EXTENDEDNESS = (
    (
        "value",
        F8,
        None,
        "1 - exp(-(T - T_P)^2/(2 T_P)), T = xx + yy of source and PSF: 0 as small as the PSF, 1 much larger",
    ),
    ("flag", B, None, "the shape of source or PSF is not to be trusted"),
)

SKY_COORD = (
    ("coord_ra", F8, "rad", "right ascension of the centroid"),
    ("coord_dec", F8, "rad", "declination of the centroid"),
    ("coord_raErr", F4, "rad", "standard deviation of coord_ra (of the coordinate, not of the arc)"),
    ("coord_decErr", F4, "rad", "standard deviation of coord_dec"),
    ("coord_ra_dec_Cov", F4, "rad2", "covariance of coord_ra and coord_dec"),
)


def pixelFlagColumns(extraPlanes=()):
    """Columns of PixelFlags with the standard and some more planes."""
    columns = [
        ("flag", B, None, "no finite centroid"),
        ("flag_offimage", B, None, "the centroid is not on the image"),
    ]
    for suffix, plane in {**PIXEL_FLAG_PLANES, **{p.lower(): p for p in extraPlanes}}.items():
        columns += [
            (f"flag_{suffix}", B, None, f"{plane} in the footprint"),
            (f"flag_{suffix}Center", B, None, f"{plane} on one of the 3x3 central pixels"),
            (f"flag_{suffix}CenterAll", B, None, f"{plane} on all of the 3x3 central pixels"),
        ]
    return tuple(columns)


#: Algorithm -> prefix of its columns.
PREFIXES = {
    "base_SdssCentroid": "base_SdssCentroid_",
    "base_PsfFlux": "base_PsfFlux_",
    "base_PixelFlags": "base_PixelFlags_",
    "base_SdssShape": "base_SdssShape_",
    "base_GaussianFlux": "base_GaussianFlux_",
    "base_SkyCoord": "",
    "base_ClassificationSizeExtendedness": "base_ClassificationSizeExtendedness_",
    **{name: prefix for name, (prefix, _) in FURTHER.items()},
}


def aperturePrefix(radius):
    """Prefix of the columns of one circular aperture: ``base_CircularApertureFlux_12_0_`` for 12.0 pixels."""
    return "base_CircularApertureFlux_" + str(round(float(radius), 3)).replace(".", "_") + "_"


def emptyTable(algorithm, length=0, fluxUnit="count", extraPlanes=(), radii=()):
    """Table of one algorithm filled with NaN, 0 and False.

    Parameters
    ----------
    algorithm : str
        Such as "base_PsfFlux".
    length : int
        Rows; 0 gives the schema.
    fluxUnit : str or `astropy.units.Unit`
        Unit of the image's pixels.
    extraPlanes : sequence of str
        Further planes of base_PixelFlags.
    radii : sequence of float
        Radii of base_CircularApertureFlux, pixels.
    """
    columns = {
        **{name: columns for name, (_, columns) in FURTHER.items()},
        "base_CircularApertureFlux": [(aperturePrefix(r) + name, *rest) for r in radii for name, *rest in APERTURE],
        "base_SdssCentroid": CENTROID,
        "base_PsfFlux": PSF_FLUX,
        "base_PixelFlags": pixelFlagColumns(extraPlanes),
        "base_SdssShape": SHAPE,
        "base_GaussianFlux": GAUSSIAN_FLUX,
        "base_SkyCoord": SKY_COORD,
        "base_ClassificationSizeExtendedness": EXTENDEDNESS,
    }[algorithm]
    flux = u.Unit(fluxUnit)
    units = {"flux": flux, "flux pix2": flux * u.pix**2, "calib": u.nJy / flux}
    return emptySourceTable(
        [(PREFIXES.get(algorithm, "") + name, dtype, units.get(unit, unit), doc) for name, dtype, unit, doc in columns],
        length,
    )
