"""Exposure: a masked image with everything that is known about it."""

import copy as copyModule
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from ..errors import DomainError, ShapeError, StillskyError
from ..geom import Box2D, Box2I, Extent2I, Point2I
from .image import Image
from .mask import Mask
from .masked_image import MaskedImage

__all__ = ["Exposure", "ExposureInfo", "makeExposure"]


# What is asked of a component: anything that can do it serves.
_TYPES = {
    "wcs": ("stillsky.wcs.SkyWcs (SkyWcs(astropyWcs, xy0) makes one)", ("pixelToSky", "skyToPixel")),
    "psf": ("stillsky.psf.Psf (KernelPsf(array) makes one of an image)", ("computeKernelImage", "computeImage")),
    "photoCalib": ("stillsky.photom.PhotoCalib", ("localCalibration",)),
    "filter": ("stillsky.meta.FilterLabel", ("band", "physical")),
    "visitInfo": ("stillsky.meta.VisitInfo", ("exposureTime",)),
    "validPolygon": ("stillsky.geom.Polygon", ("contains", "shifted")),
}


@dataclass
class ExposureInfo:
    """What is known about an exposure besides its pixels; None where unknown.

    The components are immutable and shared between an exposure and its sub-images, but for ``metadata``.

    Attributes
    ----------
    id : `int`
    wcs : `stillsky.wcs.SkyWcs`
    psf : `stillsky.psf.Psf`
    photoCalib : `stillsky.photom.PhotoCalib`
    filter : `stillsky.meta.FilterLabel`
    visitInfo : `stillsky.meta.VisitInfo`
    detector : detector record
    validPolygon : `stillsky.geom.Polygon`
    coaddInputs : `stillsky.image.CoaddInputs`
    apCorrMap, transmissionCurve, summaryStats : carried
    metadata : `stillsky.meta.Header`
    provenance : `list` [`str`]
        Where the planes came from and what was assumed, in sentences.
    """

    id: int | None = None
    wcs: Any = None
    psf: Any = None
    photoCalib: Any = None
    filter: Any = None
    visitInfo: Any = None
    detector: Any = None
    validPolygon: Any = None
    apCorrMap: Any = None
    coaddInputs: Any = None
    transmissionCurve: Any = None
    summaryStats: Any = None
    metadata: Any = None
    provenance: list = field(default_factory=list)

    def __setattr__(self, name, value):
        kind, needed = _TYPES.get(name, (None, ()))
        if value is not None and not all(hasattr(value, method) for method in needed):
            raise TypeError(f"{name}: wanted a {kind} or None, got {type(value).__name__}")
        object.__setattr__(self, name, value)

    def _twin(self):
        """Another record of the same components, which were checked when they were set."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin

    @property
    def components(self):
        """Names of the components that are present."""
        return [
            f.name
            for f in fields(self)
            if f.name not in ("metadata", "provenance") and getattr(self, f.name) is not None
        ]


class Exposure:
    """A `MaskedImage` with an `ExposureInfo`.

    Parameters
    ----------
    maskedImage : `MaskedImage`, `Image` or `numpy.ndarray`
        Shared.
    info : `ExposureInfo`, optional
    **components
        Fields of `ExposureInfo`, replacing those of ``info``.
    """

    def __init__(self, maskedImage, info=None, **components):
        self._maskedImage = maskedImage if isinstance(maskedImage, MaskedImage) else MaskedImage(maskedImage)
        if info is None:
            self._info = ExposureInfo(**components)
        else:
            self._info = replace(info, **components) if components else info._twin()
        if self._info.metadata is None or isinstance(self._info.metadata, dict):
            from ..meta import Header

            self._info.metadata = Header(self._info.metadata or {})

    info = property(lambda self: self._info, doc="All that is known beside the pixels.")

    def _plane(name):
        def get(self):
            return getattr(self._maskedImage, name)

        def set(self, value):
            setattr(self._maskedImage, name, value)

        return property(get, set, doc="The plane, shared; assigning copies values in place.")

    image = _plane("image")
    mask = _plane("mask")
    variance = _plane("variance")
    del _plane

    bbox = property(lambda self: self._maskedImage.bbox, doc="Pixels, in parent coordinates.")
    width = property(lambda self: self._maskedImage.width, doc="Columns.")
    height = property(lambda self: self._maskedImage.height, doc="Rows.")
    dimensions = property(lambda self: self._maskedImage.dimensions, doc="(width, height).")

    @property
    def maskedImage(self):
        """The pixels; assigning copies them in place."""
        return self._maskedImage

    @maskedImage.setter
    def maskedImage(self, other):
        if other is not self._maskedImage:  # so that ``exposure.maskedImage -= x`` copies nothing
            self._maskedImage.assign(other)

    @property
    def xy0(self):
        """Parent coordinates of the first pixel. Setting them keeps the pixels' sky positions: the WCS and the valid
        polygon are shifted."""
        return self._maskedImage.xy0

    @xy0.setter
    def xy0(self, value):
        new = Point2I(value)
        offset = Extent2I(new.x - self.xy0.x, new.y - self.xy0.y)
        self._maskedImage.xy0 = new
        for name in ("wcs", "validPolygon"):
            if getattr(self, name) is not None:
                setattr(self, name, getattr(self, name).shifted(offset))

    def __getitem__(self, key):
        """Sub-image that shares the pixels and the components."""
        part = self._maskedImage[key]
        return Exposure(part, self._info) if isinstance(part, MaskedImage) else part

    def __setitem__(self, key, value):
        self._maskedImage[key] = value.maskedImage if isinstance(value, Exposure) else value

    def copy(self):
        """Deep copy of pixels and metadata; the immutable components are shared."""
        return Exposure(self._maskedImage.copy(), self._copiedInfo())

    def filled(self, value=0.0, planes=None):
        """Copy with ``value`` in place of image pixels that are masked or not finite; see `MaskedImage.filled`."""
        return Exposure(self._maskedImage.filled(value, planes), self._copiedInfo())

    def _copiedInfo(self):
        return replace(
            self._info, metadata=copyModule.deepcopy(self._info.metadata), provenance=list(self._info.provenance)
        )

    def convert(self, dtype):
        """Copy with another image pixel type (float32 or float64)."""
        return Exposure(self._maskedImage.convert(dtype), self._copiedInfo())

    def cutout(self, center, size=None):
        """Deep copy of a box, or of a size around a centre; pixels beyond the image are NO_DATA.

        Parameters
        ----------
        center : `Box2I`, (x, y) in parent pixels, or `astropy.coordinates.SkyCoord`
        size : (width, height)

        Raises
        ------
        DomainError
            The centre is not on the image, or the size not positive.
        StillskyError
            A sky position without a WCS.
        """
        box = center if isinstance(center, Box2I) else self._boxAround(center, size)
        result = MaskedImage.zeros(box, self.image.dtype, self.mask.schema)
        real = np.issubdtype(self.image.dtype, np.floating)
        result.set((np.nan if real else 0, 1 << result.mask.addPlane("NO_DATA"), np.inf))
        common = box.clipped(self.bbox)
        if not common.isEmpty:
            result[common] = self._maskedImage[common]
        return Exposure(result, self._copiedInfo())

    def _boxAround(self, center, size):
        if not hasattr(center, "icrs"):
            x, y = center
        else:
            if self.wcs is None:
                raise StillskyError("cutout: a sky position needs a WCS, and the exposure has none")
            x, y = (float(v) for v in self.wcs.skyToPixel(center.icrs.ra.rad, center.icrs.dec.rad))
        w, h = size
        if not (w > 0 and h > 0):
            raise DomainError(f"cutout: wanted a positive size, got {w}x{h}")
        if not Box2D(self.bbox).contains((x, y)):
            raise DomainError(f"cutout: centre ({x:.2f}, {y:.2f}) is outside {self.bbox}")
        return Box2I.centered((x, y), (w, h))

    def containsSky(self, ra, dec=None, padding=0):
        """Whether sky positions (ICRS radians, arrays welcome, or one `astropy.coordinates.SkyCoord`) fall on the image
        grown by ``padding`` pixels."""
        if self.wcs is None:
            raise StillskyError("containsSky: the exposure has no WCS")
        if dec is None:
            ra, dec = ra.icrs.ra.rad, ra.icrs.dec.rad
        x, y = self.wcs.skyToPixel(ra, dec)
        return Box2D(self.bbox).dilated(padding).contains((x, y))

    @property
    def convexPolygon(self):
        """Sky positions of the four corners of the image area: (ra, dec) arrays in radians, or None without WCS."""
        if self.wcs is None:
            return None
        corners = Box2D(self.bbox).corners
        return self.wcs.pixelToSky([c.x for c in corners], [c.y for c in corners])

    def __eq__(self, other):
        if not isinstance(other, Exposure):
            return NotImplemented
        return self._maskedImage == other._maskedImage and self._info == other._info

    __hash__ = None  # pixels can change

    def __deepcopy__(self, memo):
        return self.copy()

    def writeFits(self, path, **options):
        """See `stillsky.fits.writeExposure`."""
        from ..fits import writeExposure

        writeExposure(self, path, **options)

    @classmethod
    def readFits(cls, path, **options):
        """See `stillsky.fits.readExposure`."""
        from ..fits import readExposure

        return readExposure(path, **options)[0]

    def __repr__(self):
        parts = ", ".join(self._info.components) or "no components"
        return f"Exposure({self.width}x{self.height} {self.image.dtype}, xy0=({self.xy0.x}, {self.xy0.y}); {parts})"

    def __reduce__(self):
        return Exposure, (self._maskedImage, self._info)

    def _repr_html_(self):
        from .html import exposureTable

        return exposureTable(self)


def _component(name):
    def get(self):
        return getattr(self._info, name)

    def set(self, value):
        if name == "metadata" and value is None:
            from ..meta import Header

            value = Header()
        setattr(self._info, name, value)

    return property(get, set, doc=f"The component ``{name}`` of `ExposureInfo`; None removes it.")


for _field in fields(ExposureInfo):
    if _field.name != "provenance":
        setattr(Exposure, _field.name, _component(_field.name))


def makeExposure(array, *, variance=None, mask=None, psf=None, wcs=None, xy0=(0, 0), **components):
    """An exposure from plain arrays.

    Parameters
    ----------
    array : array_like, (height, width)
        Any numbers in any byte order and layout; becomes float32, NaN where a masked array is masked. A C-contiguous native writeable float32 array is
        shared.
    variance : array_like or `float`, optional
        Default: measured from the scatter of the sky, as for a file without noise (provenance says so).
    mask : array_like, optional
        Integers with the standard planes' bits, or booleans that mean BAD. NaN pixels become NO_DATA in either case.
    psf : `stillsky.psf.Psf` or array_like, optional
        An array is a PSF image that holds everywhere.
    wcs : `stillsky.wcs.SkyWcs` or `astropy.wcs.WCS`, optional
        An astropy WCS describes the array as it is, its first pixel being ``xy0``.
    xy0 : (x, y)
    **components
        Other fields of `ExposureInfo`.

    Returns
    -------
    exposure : `Exposure`
    """
    pixels = _floatArray(array)
    image = Image(pixels, xy0)
    bits = np.zeros(pixels.shape, np.int32) if mask is None else _maskArray(mask)
    if bits.shape != pixels.shape:
        raise ShapeError(f"mask: wanted shape {pixels.shape}, got {bits.shape}")
    maskPlane = Mask(bits, xy0, getattr(mask, "schema", None))
    noData = ~np.isfinite(pixels)
    provenance = list(components.pop("provenance", []))
    if variance is None:
        variance, sentence = _empiricalVariance(pixels, maskPlane)
        provenance.append(sentence)
    variancePlane = np.full(pixels.shape, variance, np.float32) if np.ndim(variance) == 0 else _floatArray(variance)
    if noData.any():
        maskPlane = maskPlane.copy()  # the caller's mask stays as it was
        maskPlane.array[noData] |= 1 << maskPlane.addPlane("NO_DATA")
    if psf is not None and not hasattr(psf, "computeKernelImage"):
        from ..psf import KernelPsf

        psf = KernelPsf(np.asarray(psf, float))
    if wcs is not None and not hasattr(wcs, "pixelToSky"):
        from ..wcs import SkyWcs

        wcs = SkyWcs(wcs, xy0)
    return Exposure(
        MaskedImage(image, maskPlane, Image(variancePlane, xy0)), psf=psf, wcs=wcs, provenance=provenance, **components
    )


def _floatArray(values):
    if isinstance(values, Image):
        values = values.array
    if isinstance(values, np.ma.MaskedArray):
        values = values.astype(np.float32).filled(np.nan)
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise DomainError(f"wanted numbers, got dtype {array.dtype}")
    with np.errstate(over="ignore"):  # beyond float32 is infinite, and therefore NO_DATA
        return np.require(array, np.float32, ["C_CONTIGUOUS", "WRITEABLE", "ALIGNED"])


def _maskArray(values):
    if isinstance(values, Mask):
        values = values.array
    array = np.asarray(values)
    if array.dtype == bool:
        return array
    return np.require(Mask._accept(array), np.int32, ["C_CONTIGUOUS", "WRITEABLE", "ALIGNED"])


def _empiricalVariance(pixels, mask):
    """Constant variance from the clipped scatter of the pixels."""
    values = pixels[np.isfinite(pixels) & (mask.array == 0)]
    if not values.size:
        return 0.0, "variance: none given and no usable pixel to measure it"
    for _ in range(5):
        middle = np.median(values)
        sigma = 1.482602 * np.median(np.abs(values - middle))
        kept = values[np.abs(values - middle) <= 3 * sigma]
        if not kept.size or kept.size == values.size:
            break
        values = kept
    return float(sigma) ** 2, f"variance: none given; constant, from the scatter of the sky ({sigma:.4g})"
