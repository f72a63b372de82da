"""Converters to and from the types of lsst.images, where that package is installed (Python 3.12 and newer).

Storage classes name them, so a task that wants a `stillsky.image.Exposure` reads datasets that were stored as VisitImage or
MaskedImageV2, and ``butler.get(ref, storageClass="StillskyLsstMaskedImage")`` gives a `lsst.images.MaskedImage`.

Pixels are shared where types agree; masks are converted, as lsst.images keeps several bytes per pixel. Pixel coordinates are the
same: parent, 0-based. Names of mask planes are those of each side (SAT and SATURATED, INTRP and INTERPOLATED, ...).
"""

import numpy as np

from ..errors import MaskSchemaError, MismatchError

__all__ = [
    "exposureFrom",
    "imageFrom",
    "imageTo",
    "maskFrom",
    "maskTo",
    "maskedImageFrom",
    "maskedImageTo",
    "psfFrom",
    "wcsFrom",
    "wcsTo",
]

#: Names of mask planes here, of those that lsst.images calls otherwise.
_PLANES = {
    "SATURATED": "SAT",
    "INTERPOLATED": "INTRP",
    "COSMIC_RAY": "CR",
    "DETECTION_EDGE": "EDGE",
    "UNMASKED_NAN": "UNMASKEDNAN",
}
_NAMES = {ours: theirs for theirs, ours in _PLANES.items()}
_MAX_PLANES = 31
_PSF_NODES = 5  # per axis: Rubin's models vary with low-order polynomials over a detector
_WCS_TOLERANCE = 0.01  # pixels that a fitted SIP polynomial may be off


def imageFrom(image):
    """`stillsky.image.Image` of a `lsst.images.Image`; shares its pixels."""
    from ..image import Image

    return Image(image.array, xy0=_origin(image))


def imageTo(image, *, unit=None, projection=None):
    """`lsst.images.Image` of a `stillsky.image.Image`; shares its pixels."""
    import lsst.images

    return lsst.images.Image(image.array, yx0=_yx0(image), unit=unit, sky_projection=projection)


def maskFrom(mask):
    """`stillsky.image.Mask` of a `lsst.images.Mask`; planes are numbered anew in their order.

    Raises
    ------
    MaskSchemaError
        More planes than 31.
    """
    from ..image import Mask, MaskSchema

    planes = [plane for plane in mask.schema if plane is not None]
    if len(planes) > _MAX_PLANES:
        raise MaskSchemaError(f"mask: wanted at most {_MAX_PLANES} planes, given {len(planes)}")
    schema = MaskSchema({_PLANES.get(p.name, p.name): (bit, p.description) for bit, p in enumerate(planes)})
    array = np.zeros(mask.array.shape[:2], np.int32)
    for bit, plane in enumerate(planes):
        array |= np.where(mask.get(plane.name), np.int32(1 << bit), np.int32(0))
    return Mask(array, xy0=_origin(mask), schema=schema)


def maskTo(mask, *, projection=None):
    """`lsst.images.Mask` of a `stillsky.image.Mask`."""
    import lsst.images

    names = sorted(mask.schema, key=mask.schema.__getitem__)
    schema = lsst.images.MaskSchema(
        [lsst.images.MaskPlane(_NAMES.get(name, name), mask.schema.doc(name)) for name in names]
    )
    made = lsst.images.Mask(0, schema=schema, bbox=_box(mask), sky_projection=projection)
    for name in names:
        made.set(_NAMES.get(name, name), (mask.array & np.int32(1 << mask.schema[name])) != 0)
    return made


def maskedImageFrom(masked):
    """`stillsky.image.MaskedImage` of a `lsst.images.MaskedImage`, or of what derives from it."""
    from ..image import MaskedImage

    return MaskedImage(imageFrom(masked.image), maskFrom(masked.mask), imageFrom(masked.variance))


def maskedImageTo(masked):
    """`lsst.images.MaskedImage` of a `stillsky.image.MaskedImage` or `stillsky.image.Exposure`.

    An exposure gives its WCS as projection and its BUNIT as unit; its other components have no place there.
    """
    import lsst.images

    wcs = getattr(masked, "wcs", None)
    projection = None if wcs is None else wcsTo(wcs, masked.bbox)
    unit = _unit(getattr(masked, "metadata", None))
    return lsst.images.MaskedImage(
        imageTo(masked.image, unit=unit, projection=projection),
        mask=maskTo(masked.mask, projection=projection),
        variance=imageTo(masked.variance, unit=None if unit is None else unit**2, projection=projection),
    )


def exposureFrom(masked):
    """`stillsky.image.Exposure` of a `lsst.images.MaskedImage`, VisitImage, DifferenceImage.

    Beside the pixels it has what the object has of: WCS, PSF (sampled at 5 x 5 positions), filter, calibration (a unit of nJy),
    identifier, time and length of the exposure.

    Raises
    ------
    MismatchError
        The WCS is not that of a FITS header, nor within 0.01 pixels of one.
    """
    from ..image import Exposure
    from ..meta import FilterLabel
    from ..photom import PhotoCalib

    exposure = Exposure(maskedImageFrom(masked))
    if masked.sky_projection is not None:
        exposure.wcs = wcsFrom(masked.sky_projection, masked.bbox)
    if masked.unit is not None:
        exposure.metadata["BUNIT"] = masked.unit.to_string()
        if exposure.metadata["BUNIT"] == "nJy":
            exposure.photoCalib = PhotoCalib(1.0)
    if getattr(masked, "psf", None) is not None:
        exposure.psf = psfFrom(masked.psf, masked.bbox)
    info = getattr(masked, "obs_info", None)
    if getattr(masked, "band", None) is not None:
        exposure.filter = FilterLabel(masked.band, getattr(info, "physical_filter", None))
    if info is not None:
        exposure.info.visitInfo = _visitInfo(info)
    return exposure


def wcsFrom(projection, bbox):
    """`stillsky.wcs.SkyWcs` of a `lsst.images.SkyProjection`: its FITS form, else a SIP fit to it within a box."""
    from ..wcs import SkyWcs

    origin = (int(bbox.x.start), int(bbox.y.start))
    found = projection.as_fits_wcs(bbox, allow_approximation=True)
    return SkyWcs(found, origin) if found is not None else _fittedWcs(projection, bbox, origin)


def _fittedWcs(projection, bbox, origin):
    from astropy.wcs.utils import fit_wcs_from_points

    from ..wcs import SkyWcs

    x, y = (
        axis.ravel()
        for axis in np.meshgrid(
            *(np.linspace(span.start, span.stop - 1, 25) for span in (bbox.x, bbox.y)), indexing="xy"
        )
    )
    sky = projection.pixel_to_sky(x=x, y=y)
    made = SkyWcs(fit_wcs_from_points((x - origin[0], y - origin[1]), sky, sip_degree=4), origin)
    xFound, yFound = made.skyToPixel(sky.icrs.ra.rad, sky.icrs.dec.rad)
    worst = float(np.max(np.hypot(xFound - x, yFound - y)))
    if not worst < _WCS_TOLERANCE:
        raise MismatchError(
            f"WCS: wanted one that a FITS header can hold within {_WCS_TOLERANCE} pixels, given one that is off by {worst:.3g}"
        )
    return made


def wcsTo(wcs, bbox):
    """`lsst.images.SkyProjection` of a `stillsky.wcs.SkyWcs`, for the pixels of a box."""
    import astropy.units
    import lsst.images

    frame = lsst.images.GeneralFrame(unit=astropy.units.pix)
    return lsst.images.SkyProjection.from_fits_wcs(
        wcs.localWcs((bbox.minX, bbox.minY)), frame, x0=bbox.minX, y0=bbox.minY
    )


def psfFrom(psf, bbox):
    """`stillsky.psf.ImageGridPsf` of a `lsst.images.psfs.PointSpreadFunction`, sampled within a box and the PSF's bounds."""
    from ..psf import ImageGridPsf

    inner = bbox.intersection(psf.bounds.bbox)
    nodes = [np.unique(np.linspace(span.start, span.stop - 1, _PSF_NODES)) for span in (inner.x, inner.y)]
    stamps = [[psf.compute_kernel_image(x=float(x), y=float(y)).array for x in nodes[0]] for y in nodes[1]]
    return ImageGridPsf(np.asarray(stamps, np.float64), *nodes)


def _visitInfo(info):
    """What the standard record of an observation says of identity and time."""
    from ..meta import VisitInfo

    known = {"id": info.visit_id if info.visit_id is not None else info.exposure_id}
    if info.exposure_time is not None:
        known["exposureTime"] = float(info.exposure_time.to_value("s"))
    if info.datetime_begin is not None and info.datetime_end is not None:
        known["date"] = (info.datetime_begin + 0.5 * (info.datetime_end - info.datetime_begin)).tai
    if info.boresight_airmass is not None:
        known["boresightAirmass"] = float(info.boresight_airmass)
    for name, value in (("instrumentLabel", info.instrument), ("object", info.object)):
        if value is not None:
            known[name] = str(value)
    return VisitInfo(**known)


def _origin(thing):
    return int(thing.bbox.x.start), int(thing.bbox.y.start)


def _yx0(thing):
    return thing.bbox.minY, thing.bbox.minX


def _box(thing):
    import lsst.images

    return lsst.images.Box.from_shape(thing.array.shape, start=_yx0(thing))


def _unit(metadata):
    """Unit of BUNIT; None for no card, or a unit that nobody else knows ("adu / pixel / night")."""
    import astropy.units

    text = None if metadata is None else metadata.get("BUNIT")
    return None if text is None else astropy.units.Unit(str(text), parse_strict="silent")
