"""The model of a patch of sky in subfilters (coadds and DCR, section 6.3)."""

import numpy as np

from .. import _core
from ..errors import DomainError, NoDataError, OutOfBoundsError, ShapeError, StillskyError
from ..image import Exposure, Image, Mask, MaskedImage
from ..meta import FilterLabel
from . import regularize
from .apply import prefilter, splitShifts
from .shifts import calculateDcr

__all__ = ["DcrModel", "ModelHandle", "shiftNoiseFactor"]

_DEFAULT_ORDER = 3
_MAX_SHIFT = 32  # pixels; beyond, the noise factor of shifts is that of shifts so long


class ModelHandle:
    """An exposure behind the interface of a deferred dataset.

    Parameters
    ----------
    exposure : `stillsky.image.Exposure`
    dataId : mapping, optional
    """

    def __init__(self, exposure, dataId=None):
        self._exposure = exposure
        self.dataId = {} if dataId is None else dataId

    def get(self, component=None, parameters=None):
        """The exposure, the ``bbox`` of ``parameters`` of it, or one component."""
        box = (parameters or {}).get("bbox")
        exposure = self._exposure if box is None else self._exposure[box]
        return exposure if component is None else getattr(exposure, component)


class DcrModel:
    """Images of a patch in N subfilters, bluest first, which add up to the image in the band.

    Parameters
    ----------
    modelImages : sequence of `numpy.ndarray`, `stillsky.image.Image` or None
        Of one box. None: a subfilter that is missing; what needs all of them raises.
    effectiveWavelength, bandwidth : `float`, optional
        nm.
    filterLabel : `stillsky.meta.FilterLabel`, optional
    psf : `stillsky.psf.Psf`, optional
    bbox : `stillsky.geom.Box2I`, optional
        Default: that of the first image that has one.
    wcs : `stillsky.wcs.SkyWcs`, optional
    mask : `stillsky.image.Mask`, optional
    variance : `stillsky.image.Image`, optional
        Of one subfilter.
    photoCalib : `stillsky.photom.PhotoCalib`, optional
    bandLimits : (`float`, `float`), optional
        nm; where the band is not symmetric about the effective wavelength.
    throughput : `stillsky.meta.TransmissionCurve`, optional
        Of the band; without it all wavelengths of a subfilter count alike.
    model : {"default", "reference"}
        Refraction and handling of split pairs; "reference" are those of Rubin's pipelines.

    Attributes
    ----------
    order : {1, 3}
        Of the splines of the solution, with which its templates are best made; 3 where it is not known.
    modelImages : `list` of `numpy.ndarray`
        float32, (height, width).
    effectiveWavelength, bandwidth, filter, psf, bbox, wcs, mask, variance, photoCalib, bandLimits, throughput

    Raises
    ------
    ShapeError
        Images of another size than the box.
    """

    def __init__(
        self, modelImages, effectiveWavelength=None, bandwidth=None, filterLabel=None, psf=None, bbox=None, wcs=None,
        mask=None, variance=None, photoCalib=None, *, bandLimits=None, throughput=None, model="default",
    ):  # fmt: skip
        if bbox is None:
            bbox = next((image.bbox for image in modelImages if hasattr(image, "bbox")), None)
        if bbox is None and mask is not None:
            bbox = mask.bbox
        if bbox is None:
            raise DomainError("bbox: wanted the box of the model images")
        self.bbox = bbox
        self.modelImages = [None if image is None else self._accept(image) for image in modelImages]
        if not self.modelImages:
            raise DomainError("modelImages: wanted at least one subfilter")
        self.effectiveWavelength, self.bandwidth = effectiveWavelength, bandwidth
        self.filter, self.psf, self.wcs, self.mask, self.variance = filterLabel, psf, wcs, mask, variance
        self.photoCalib, self.bandLimits, self.throughput, self.model = photoCalib, bandLimits, throughput, model
        self.order = _DEFAULT_ORDER

    def _accept(self, image):
        box = getattr(image, "bbox", self.bbox)
        array = np.asarray(getattr(image, "array", image))
        if box != self.bbox or array.shape != self.bbox.shape:
            raise ShapeError(f"model image: wanted the box {self.bbox}, given {box} with {array.shape} pixels")
        return np.require(array, np.float32, ["C_CONTIGUOUS", "WRITEABLE", "ALIGNED"])

    # ------------------------------------------------------------------ construction

    @classmethod
    def fromImage(
        cls, maskedImage, dcrNumSubfilters, effectiveWavelength, bandwidth, wcs=None, filterLabel=None, psf=None,
        photoCalib=None, *, bandLimits=None, throughput=None, model="default",
    ):  # fmt: skip
        """Equal subfilters that add up to an image.

        Parameters
        ----------
        maskedImage : `stillsky.image.MaskedImage`
            NaN pixels become 0.
        dcrNumSubfilters : `int`
        effectiveWavelength, bandwidth : `float`
            nm.
        wcs, filterLabel, psf, photoCalib, bandLimits, throughput, model
            As of the class.

        Returns
        -------
        model : `DcrModel`
            Its variance is that of the image over the number of subfilters.
        """
        n = int(dcrNumSubfilters)
        if n < 1:
            raise DomainError(f"dcrNumSubfilters: wanted at least 1, given {dcrNumSubfilters}")
        share = np.nan_to_num(maskedImage.image.array.astype(np.float32), posinf=0, neginf=0) / np.float32(n)
        variance = Image(maskedImage.variance.array / np.float32(n), maskedImage.xy0)
        return cls(
            [share.copy() for _ in range(n)], effectiveWavelength, bandwidth, filterLabel, psf, maskedImage.bbox, wcs,
            maskedImage.mask.copy(), variance, photoCalib, bandLimits=bandLimits, throughput=throughput, model=model,
        )  # fmt: skip

    @classmethod
    def fromQuantum(
        cls, availableCoaddRefs, effectiveWavelength, bandwidth, numSubfilters=None, *, bandLimits=None, model="default"
    ):
        """Read the coadds of the subfilters.

        Parameters
        ----------
        availableCoaddRefs : iterable of handles
            With ``dataId["subfilter"]`` and ``get()``.
        effectiveWavelength, bandwidth : `float`
            nm.
        numSubfilters : `int`, optional
            Default: the number of handles.

        Returns
        -------
        model : `DcrModel`
            Subfilters without a handle are None; the other components are those of the first handle. If it was solved with
            a throughput (card ``DCRCURVE``), its transmission curve and its band count.

        Raises
        ------
        NoDataError
            No handle.
        OutOfBoundsError
            A subfilter outside the range.
        """
        handles = list(availableCoaddRefs)
        if not handles:
            raise NoDataError("DcrModel: no coadd of any subfilter is given")
        n = len(handles) if numSubfilters is None else int(numSubfilters)
        images, first = [None] * n, None
        for handle in handles:
            k = int(handle.dataId["subfilter"])
            if not 0 <= k < n:
                raise OutOfBoundsError(f"subfilter: wanted 0 to {n - 1}, given {k}")
            exposure = handle.get()
            first = exposure if first is None else first
            images[k] = exposure.image
        made = cls(
            images, effectiveWavelength, bandwidth, first.filter, first.psf, first.bbox, first.wcs, first.mask,
            first.variance, first.photoCalib, bandLimits=bandLimits, model=model,
        )  # fmt: skip
        cards = first.metadata if first.metadata is not None else {}
        made.order = int(cards.get("DCRORDER") or _DEFAULT_ORDER)
        if cards.get("DCRCURVE"):
            made.throughput, made.effectiveWavelength = first.info.transmissionCurve, float(cards["DCREFFWL"])
            if cards.get("DCRLMIN") is not None:
                made.bandLimits = float(cards["DCRLMIN"]), float(cards["DCRLMAX"])
            made.bandwidth = float(cards["DCRWIDTH"])
        return made

    @classmethod
    def fromExposures(cls, exposures, effectiveWavelength, bandwidth, *, bandLimits=None, model="default"):
        """The model of coadds in memory, bluest first (a convenience over `fromQuantum`)."""
        handles = [ModelHandle(exposure, {"subfilter": k}) for k, exposure in enumerate(exposures)]
        return cls.fromQuantum(handles, effectiveWavelength, bandwidth, bandLimits=bandLimits, model=model)

    # ------------------------------------------------------------------ sequence of subfilters

    @property
    def dcrNumSubfilters(self):
        """Number of subfilters."""
        return len(self.modelImages)

    def __len__(self):
        return len(self.modelImages)

    def _index(self, subfilter):
        if abs(subfilter) >= len(self):
            raise OutOfBoundsError(f"subfilter: wanted an index within +-{len(self) - 1}, given {subfilter}")
        return subfilter

    def __getitem__(self, subfilter):
        return self.modelImages[self._index(subfilter)]

    def __setitem__(self, subfilter, image):
        self.modelImages[self._index(subfilter)] = self._accept(image)

    def __iter__(self):
        return iter(self.modelImages)

    def _complete(self):
        """All images; StillskyError where one is missing."""
        missing = [k for k, image in enumerate(self.modelImages) if image is None]
        if missing:
            raise StillskyError(
                f"DcrModel: no coadd of subfilter {', '.join(map(str, missing))} of {len(self)} is available",
                remedy="give the coadds of all subfilters",
            )
        return self.modelImages

    def getReferenceImage(self, bbox=None):
        """Mean over the subfilters, as an array (height, width).

        Parameters
        ----------
        bbox : `stillsky.geom.Box2I`, optional
            Part of the model's box.
        """
        part = self._part(bbox)
        return regularize._mean([image[part] for image in self._complete()])

    def _part(self, bbox):
        if bbox is None:
            return slice(None), slice(None)
        if not self.bbox.contains(bbox):
            raise ShapeError(f"bbox: wanted a box inside {self.bbox}, given {bbox}")
        return bbox.slices(self.bbox.min)

    def assign(self, dcrSubModel, bbox=None):
        """Copy a part of every subfilter from another model.

        Parameters
        ----------
        dcrSubModel : `DcrModel`
        bbox : `stillsky.geom.Box2I`, optional
            Inside both; default: the box of ``dcrSubModel``.

        Raises
        ------
        ShapeError
            (a ValueError) Another number of subfilters, or a box outside.
        """
        if len(dcrSubModel) != len(self):
            raise ShapeError(f"assign: wanted {len(self)} subfilters, given {len(dcrSubModel)}")
        box = dcrSubModel.bbox if bbox is None else bbox
        to, source = self._part(box), dcrSubModel._part(box)
        for mine, other in zip(self._complete(), dcrSubModel._complete(), strict=True):
            mine[to] = other[source]

    # ------------------------------------------------------------------ templates

    def shifts(self, visitInfo, splitSubfilters=False, bbox=None):
        """Shifts of the subfilters in pixels of the model for a visit; see `calculateDcr`."""
        if self.effectiveWavelength is None or (self.bandwidth is None and self.bandLimits is None):
            raise DomainError(
                "DcrModel: effectiveWavelength and bandwidth are needed to match a visit",
                found=f"effectiveWavelength {self.effectiveWavelength}, bandwidth {self.bandwidth}",
            )
        return calculateDcr(
            visitInfo, self.wcs, self.effectiveWavelength, self.bandwidth, len(self), splitSubfilters=splitSubfilters,
            bbox=self.bbox if bbox is None else bbox, bandLimits=self.bandLimits, throughput=self._curve, model=self.model,
        )  # fmt: skip

    @property
    def _curve(self):
        """Wavelengths and values of the throughput, or None."""
        return None if self.throughput is None else (self.throughput.wavelengths, self.throughput.throughput)

    def buildMatchedTemplate(
        self, exposure=None, order=3, visitInfo=None, bbox=None, mask=None, splitSubfilters=True, splitThreshold=0.0,
        amplifyModel=1.0,
    ):  # fmt: skip
        """Image of the model as a visit sees it.

        Parameters
        ----------
        exposure : `stillsky.image.Exposure`, optional
            Its visitInfo counts, and its box where ``bbox`` is not given. Its WCS does not: shifts are in the model's
            pixels.
        order : {1, 3}
            Of the splines.
        visitInfo : `stillsky.meta.VisitInfo`, optional
            In place of an exposure.
        bbox : `stillsky.geom.Box2I`, optional
            Clipped to the model's. Default: all of the model.
        mask : `stillsky.image.Mask`, optional
            Not used; of the interface.
        splitSubfilters : `bool`
            Average over two wavelengths in each subfilter.
        splitThreshold : `float`
            Pixels; see `stillsky.dcr.applyDcr`.
        amplifyModel : `float`
            Amplify the differences of the subfilters from their mean.

        Returns
        -------
        template : `numpy.ndarray`
            float32, (height, width) of the box; the sum over the subfilters.

        Raises
        ------
        DomainError
            (a ValueError) Neither exposure nor visitInfo, or no effective wavelength or bandwidth.
        """
        if exposure is None and visitInfo is None:
            raise DomainError("buildMatchedTemplate: wanted an exposure or a visitInfo, given neither")
        info = exposure.visitInfo if visitInfo is None else visitInfo
        if info is None:
            raise DomainError("buildMatchedTemplate: the exposure has no visitInfo")
        box = self.bbox if bbox is None else bbox.clipped(self.bbox)
        if box.isEmpty:
            raise ShapeError(f"bbox: wanted one that overlaps {self.bbox}, given {bbox}")
        shifts = self.shifts(info, splitSubfilters, box)
        images = regularize.amplified([image[self._part(box)] for image in self._complete()], amplifyModel)
        return matchedTemplate(images, shifts, order, splitSubfilters, splitThreshold, self.model)

    def buildMatchedExposure(self, exposure=None, visitInfo=None, bbox=None, mask=None, *, order=3):
        """Exposure of the model as a visit sees it: a template at the airmass and direction of that visit.

        Parameters
        ----------
        exposure, visitInfo, bbox
            As for `buildMatchedTemplate`.
        mask : `stillsky.image.Mask`, optional
            Default: the model's.
        order : {1, 3}

        Returns
        -------
        template : `stillsky.image.Exposure`
            With WCS, PSF, filter and photoCalib of the model, the visitInfo matched, and the variance of the band, that
            is, N times the subfilters'.

        Raises
        ------
        StillskyError
            (a RuntimeError) The model has no photoCalib.
        DomainError
            As `buildMatchedTemplate`.
        """
        if self.photoCalib is None:
            raise StillskyError(
                "DcrModel: no photometric calibration: the matched template would have no unit",
                remedy="give photoCalib to the model",
            )
        box = self.bbox if bbox is None else bbox.clipped(self.bbox)
        array = self.buildMatchedTemplate(exposure, order=order, visitInfo=visitInfo, bbox=box, mask=mask)
        part = self._part(box)
        bits = self.mask if mask is None else mask
        if bits is not None:
            bits = Mask(bits.array[box.slices(bits.bbox.min)].copy(), box.min, bits.schema)
        variance = None
        if self.variance is not None:
            variance = Image(self.variance.array[part] * np.float32(len(self)), box.min)
        info = exposure.visitInfo if visitInfo is None else visitInfo
        label = self.filter
        if isinstance(label, str):
            label = FilterLabel(band=label)
        return Exposure(
            MaskedImage(Image(array, box.min), bits, variance), wcs=self.wcs, psf=self.psf, filter=label,
            photoCalib=self.photoCalib, visitInfo=info,
        )  # fmt: skip

    def buildMatchedExposureHandle(self, exposure=None, visitInfo=None, bbox=None, mask=None):
        """`buildMatchedExposure` behind the interface of a deferred dataset.

        Returns
        -------
        handle : `ModelHandle`
            ``get(component=None, parameters=None)``.
        """
        if exposure is None and visitInfo is None:
            raise DomainError("buildMatchedExposureHandle: wanted an exposure or a visitInfo, given neither")
        return ModelHandle(self.buildMatchedExposure(exposure, visitInfo, bbox, mask))

    # ------------------------------------------------------------------ regularisation

    def conditionDcrModel(self, modelImages, bbox, gain=1.0):
        """Mix new images with the model, in place: ``(gain * new + old) / (1 + gain)``.

        Parameters
        ----------
        modelImages : sequence of `numpy.ndarray`
            Of the box; changed.
        bbox : `stillsky.geom.Box2I`
        gain : `float`
        """
        part = self._part(bbox)
        for new, old in zip(modelImages, self._complete(), strict=True):
            new *= np.float32(gain)
            new += old[part]
            new /= np.float32(1 + gain)

    def regularizeModelIter(self, subfilter, newModel, bbox, regularizationFactor, regularizationWidth=2):
        """Bring a new image back to within a factor of the model's, in place.

        Parameters
        ----------
        subfilter : `int`
        newModel : `numpy.ndarray`
            Of the box; changed.
        bbox : `stillsky.geom.Box2I`
        regularizationFactor : `float`
        regularizationWidth : `int`
            Excursions smaller than a diamond of this width stay.
        """
        array = getattr(newModel, "array", newModel)
        regularize.clampIteration(array, self[subfilter][self._part(bbox)], regularizationFactor, regularizationWidth)

    def calculateNoiseCutoff(
        self, image, statsCtrl=None, bufferSize=0, convergenceMaskPlanes="DETECTED", mask=None, bbox=None
    ):
        """Standard deviation of the background of an image.

        Parameters
        ----------
        image : `numpy.ndarray` or `stillsky.image.Image`
        statsCtrl : `stillsky.stats.StatisticsControl`, optional
            Its ``andMask`` says which bits are bad.
        bufferSize : `int`
            Pixels left out at each edge.
        convergenceMaskPlanes : `str` or sequence of `str`
            Planes of sources.
        mask : `stillsky.image.Mask`, optional
            Default: the model's.
        bbox : `stillsky.geom.Box2I`, optional
            Box of the image.
        """
        box = self.bbox if bbox is None else bbox
        mask = self.mask if mask is None else mask
        planes = [convergenceMaskPlanes] if isinstance(convergenceMaskPlanes, str) else list(convergenceMaskPlanes)
        bits = mask.bitmask(planes, ignoreMissing=True) | int(getattr(statsCtrl, "andMask", 0) or 0)
        excluded = (mask.array[box.slices(mask.bbox.min)] & bits) != 0
        return regularize.noiseCutoff(np.asarray(getattr(image, "array", image)), excluded, bufferSize)

    def regularizeModelFreq(
        self, modelImages, bbox, statsCtrl=None, regularizationFactor=2.0, regularizationWidth=2, mask=None,
        convergenceMaskPlanes="DETECTED", *, amplification=1.0, model=None,
    ):  # fmt: skip
        """Bring the colours of new images back to within a factor, in place.

        Parameters
        ----------
        modelImages : sequence of `numpy.ndarray`
            Of the box; changed.
        bbox : `stillsky.geom.Box2I`
        statsCtrl, mask, convergenceMaskPlanes
            As for `calculateNoiseCutoff`.
        regularizationFactor : `float`
            Largest ratio between subfilters.
        regularizationWidth : `int`
            Pixels.
        amplification : `float`
            See `stillsky.dcr.regularize.clampIteration`; of the default model.
        model : {"default", "reference"}, optional
            Default: the model's. "reference" is Rubin's scheme, which adds flux to the wings of sources.
        """
        box = self.bbox if bbox is None else bbox
        arrays = [getattr(image, "array", image) for image in modelImages]
        noise = self.calculateNoiseCutoff(arrays[0], statsCtrl, 5, convergenceMaskPlanes, mask, box)
        if (model or self.model) == "reference":
            reference = self.getReferenceImage(box)
            regularize.referenceClampColors(arrays, reference, noise, regularizationFactor, regularizationWidth)
        else:
            regularize.clampColors(arrays, noise, regularizationFactor, regularizationWidth, amplification)

    def applyImageThresholds(self, image, highThreshold=None, lowThreshold=None, regularizationWidth=2):
        """See `stillsky.dcr.regularize.applyImageThresholds`."""
        regularize.applyImageThresholds(image, highThreshold, lowThreshold, regularizationWidth)

    def __repr__(self):
        return f"DcrModel({len(self)} subfilters, {self.bbox}, {self.effectiveWavelength} +- {self.bandwidth}/2 nm)"


def matchedTemplate(images, shifts, order=1, splitSubfilters=False, splitThreshold=0.0, model="default"):
    """Sum of subfilter images, each shifted.

    Parameters
    ----------
    images : sequence of `numpy.ndarray`
        float32, equal in shape.
    shifts : sequence of (dy, dx), or of pairs of them with ``splitSubfilters``
    order : {1, 3}
    splitSubfilters, splitThreshold, model
        As for `stillsky.dcr.applyDcr`.

    Returns
    -------
    template : `numpy.ndarray`
        float32.
    """
    lists = [splitShifts(s, splitThreshold, model) if splitSubfilters else [tuple(s)] for s in shifts]
    coefficients = [
        prefilter(image, order) if order > 1 else np.require(image, np.float32, ["C_CONTIGUOUS", "ALIGNED"])
        for image in images
    ]
    out = np.empty(coefficients[0].shape, np.float32)
    _core.dcrTemplate([c.astype(np.float32, copy=False) for c in coefficients], int(order), lists, out)
    return out


def shiftNoiseFactor(shifts, order=1):
    """Variance of white noise after the shifts of a template, over that before: the sum of the squared weights.

    Of blank sky the subfilters are one share each, so that a template is their common image, averaged over the shifts.

    Parameters
    ----------
    shifts : sequence of pairs of (dy, dx)
        Of `DcrModel.shifts` with ``splitSubfilters``.
    order : {1, 3}

    Returns
    -------
    factor : `float`
        1 for whole pixels; 0.25 for one shift by half a pixel on both axes with order 1.
    """
    pairs = np.clip(np.asarray(shifts, float), -_MAX_SHIFT, _MAX_SHIFT)
    middle = int(np.ceil(np.abs(pairs).max(initial=0.0))) + 12  # and the reach of the prefilter
    unit = np.zeros((2 * middle + 1, 2 * middle + 1), np.float32)
    unit[middle, middle] = 1.0 / len(pairs)
    moved = matchedTemplate([unit] * len(pairs), [tuple(map(tuple, p)) for p in pairs], order, True)
    return float(np.sum(np.square(moved, dtype=np.float64)))
