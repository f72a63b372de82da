"""Reading raw flats: amplifier regions, overscan and bias subtraction, assembly to one trimmed detector image."""

import logging
import math
import os
from collections.abc import Mapping

import numpy as np

from ..errors import DomainError, MismatchError
from ..fits.files import openFits, readingErrors, splitExtension
from ..fits.foreign_visit import foreignVisitInfo
from ..fits.layout import pixelShape, readPixels
from ..fits.native import findPlane, isNative, mergedHeader
from ..geom import Box2I
from .amp_layout import checkPlaces, placesFromHeaders, placesFromRegions
from .sections import Section, readAmpRegions

__all__ = ["DetectorLayout", "OverscanResult", "averageBias", "findLayout", "measureOverscan", "readFlat"]

_log = logging.getLogger(__name__)

_CLIP = 4.0  # sigma of the overscan pixels kept for the read noise
_CLIP_FACTOR = 0.99947  # sigma of a Gaussian cut there over the whole one
_MAX_SPREAD = 4.0  # detector sections that span more than this times their own area belong to several sensors
_OVERSCAN_MODES = ("row", "constant", "none")


class OverscanResult:
    """What an overscan region tells.

    Attributes
    ----------
    rows : `numpy.ndarray` (height,) of `float64`
        Level to subtract from each science row, adu.
    level : `float`
        Median level, adu.
    noise : `float`
        Read noise, adu: standard deviation about the row means, of the pixels within 4 sigma of the row medians, corrected
        for that cut; NaN without at least two columns.
    rowVariance : `float`
        Variance that subtracting the levels adds to every pixel, in common for the pixels of a row, adu^2: that of the
        median of the overscan pixels of a row, see `medianVariance`; 0 for one level for all, NaN with the noise.
    """

    __slots__ = ("level", "noise", "rowVariance", "rows")

    def __init__(self, rows, level, noise, rowVariance=0.0):
        self.rows, self.level, self.noise, self.rowVariance = rows, level, noise, rowVariance


def medianVariance(n):
    """Variance of the median of n unit Gaussians, to 1 percent from n = 3 on; pi/(2 n) for large n.

    The offsets of n, 0.5 for odd and 1.35 for even n (whose median is the mean of two), fit the exact order statistics.
    """
    return 0.5 * math.pi / (n + (0.5 if n % 2 else 1.35)) if n > 2 else 1.0 / max(n, 1)


def measureOverscan(pixels, first=0, height=None, mode="row"):
    """Level of each row and read noise from overscan pixels.

    Parameters
    ----------
    pixels : `numpy.ndarray` (rows, columns)
        Overscan, adu. Non-finite pixels are ignored.
    first : `int`
        Science row that the first overscan row belongs to; negative or beyond where the regions are offset.
    height : `int`, optional
        Number of science rows; by default that of ``pixels``.
    mode : {"row", "constant"}
        "row": the median of each row; rows without overscan get the median of all rows. "constant": that for all rows.

    Returns
    -------
    result : `OverscanResult`

    Raises
    ------
    DomainError
        If the mode is another.
    """
    if mode not in ("row", "constant"):
        raise DomainError(f"overscan mode: wanted 'row' or 'constant', given {mode!r}")
    pixels = np.asarray(pixels, dtype=np.float64)
    height = len(pixels) if height is None else int(height)
    medians = _rowMedians(pixels)
    good = np.isfinite(medians)
    level = float(np.median(medians[good])) if good.any() else math.nan
    rows = np.full(height, level)
    if mode == "row":
        source = np.arange(len(medians)) + first
        use = good & (source >= 0) & (source < height)
        rows[source[use]] = medians[use]
    noise, rowVariance = _overscanNoise(pixels, medians), 0.0
    if mode == "row" and good.any():
        columns = int(np.median(np.isfinite(pixels[good]).sum(axis=1)))
        rowVariance = noise**2 * medianVariance(columns)
    return OverscanResult(rows, level, noise, rowVariance)


def _rowMedians(pixels):
    finite = np.isfinite(pixels)
    if finite.all() and pixels.size:
        return np.median(pixels, axis=1)
    medians = np.full(len(pixels), math.nan)
    some = finite.any(axis=1)
    medians[some] = np.nanmedian(np.where(finite, pixels, math.nan)[some], axis=1)
    return medians


def _overscanNoise(pixels, medians):
    """Standard deviation about the means of the rows, of the pixels within 4 sigma of the row medians."""
    residuals = pixels - medians[:, None]
    keep = np.isfinite(residuals)
    residuals = np.where(keep, residuals, 0.0)
    for _ in range(5):
        count = keep.sum()
        if count == 0:
            return math.nan
        sigma = math.sqrt(np.sum(residuals**2, where=keep) / count)
        keep &= np.abs(residuals) <= _CLIP * sigma
        if keep.sum() == count:
            break
    number = keep.sum(axis=1)
    freedom = np.sum(number[number > 0] - 1)
    if freedom < 1:
        return math.nan
    sums = np.sum(residuals, axis=1, where=keep)
    total = np.sum(residuals**2, where=keep) - np.sum(sums[number > 0] ** 2 / number[number > 0])
    return math.sqrt(max(total, 0.0) / freedom) / _CLIP_FACTOR


class DetectorLayout:
    """How the amplifiers of a file make up a detector.

    Parameters
    ----------
    places : sequence of `AmpPlace`
    header : mapping, optional
        Cards that name the detector.
    overscan : {"row", "constant", "none"}
        What is subtracted: the median of each overscan row, one level per amplifier, or nothing.

    Attributes
    ----------
    places : `tuple` [`AmpPlace`]
    detector : `stillsky.meta.Detector`
        Trimmed, from (0, 0) on, in the orientation of the detector sections. Amplifiers outside the frame have the place
        that the detector sections give them, or a single pixel beside the others; without data (NaN) in either case.
    sideBySide : `bool`
        The file does not tell where its amplifiers lie: they are put next to each other.

    Raises
    ------
    MismatchError
        If two amplifiers share a name, or none lies inside the frame.
    """

    def __init__(self, places, header=None, overscan="row"):
        if overscan not in _OVERSCAN_MODES:
            raise DomainError(f"overscan: wanted one of {', '.join(_OVERSCAN_MODES)}, given {overscan!r}")
        checkPlaces(places)
        self.places, self.overscan = tuple(places), overscan
        targets = _targetsOf(self.places)
        self.sideBySide = targets is None
        self._targets = _inARow(self.places) if targets is None else targets
        self.detector = self._makeDetector({} if header is None else header)

    @property
    def hasOverscan(self):
        """Whether a pedestal is taken from the overscan of every usable amplifier."""
        return self.overscan != "none" and all(p.bias is not None for p in self.places if not p.problem)

    @property
    def rawBox(self):
        """Box of the raw frame whose pixels are, in their order, those of the detector; None if there is no such."""
        usable = [(p, t) for p, t in zip(self.places, self._targets) if not p.problem]
        shifts = {tuple(p.data.box.min - t.box.min) for p, t in usable}
        moved = any(_flips(p, t) != (False, False) for p, t in usable)
        if moved or len(shifts) != 1 or len({p.ext for p, _ in usable}) != 1:
            return None
        box = self.detector.bbox.shifted(next(iter(shifts)))
        return box if len(usable) == len(self.places) else None

    @property
    def badAmps(self):
        """Names of the amplifiers that lie outside the frame, with the reason (`dict` [`str`, `str`])."""
        return {p.name: p.problem for p in self.places if p.problem}

    def describe(self):
        """One sentence."""
        n, usable = len(self.places), [p for p in self.places if not p.problem]
        box = self.detector.bbox
        if not any(p.bias for p in usable):
            pedestal = "no overscan"
        elif self.overscan == "none":
            pedestal = "overscan not subtracted"
        else:
            pedestal = (
                "row median of the overscan subtracted" if self.overscan == "row" else "overscan level subtracted"
            )
        where = " side by side" if self.sideBySide and n > 1 else ""
        left = f"; outside the frame: {', '.join(self.badAmps)}" if self.badAmps else ""
        return f"{n} amplifier{'s' * (n > 1)}{where}, {box.width}x{box.height} px, {pedestal}{left}"

    def read(self, hdus, ext=None, saturation=None):
        """Assemble one exposure.

        Parameters
        ----------
        hdus : `astropy.io.fits.HDUList`
            Opened by `stillsky.fits.files.openFits`; of the same layout.
        ext : `int` or `str`, optional
            Extension in the place of the one that the layout of a single frame was found in.
        saturation : `float` or mapping of amplifier name to `float`, optional
            Raw value (adu) from which on pixels are saturated; by default that of each amplifier's header.

        Returns
        -------
        pixels : `numpy.ndarray` (height, width) of `float32`
            adu, overscan subtracted; NaN outside amplifiers and in those outside the frame.
        saturated : `numpy.ndarray` of `bool` or None
            None when no level is known.
        cards : `dict`
            Overscan level and read noise (adu) of each amplifier that has an overscan, and the variance (adu^2) that
            subtracting medians of rows has added, by the keys in which the extraction looks for them.

        Raises
        ------
        MismatchError
            If an amplifier that lay inside the frame does not any more.
        """
        box = self.detector.bbox
        pixels = np.full(box.shape, np.nan, np.float32)
        levels = self._saturationLevels(saturation)
        saturated = np.zeros(box.shape, bool) if any(math.isfinite(v) for v in levels) else None
        cards = {}
        for place, target, level in zip(self.places, self._targets, levels):
            if place.problem:
                continue
            raw, overscan = self._readAmplifier(hdus, place, ext)
            where = target.box.slices(box.min)
            step = tuple(slice(None, None, -1 if flip else 1) for flip in reversed(_flips(place, target)))
            if saturated is not None and math.isfinite(level):
                saturated[where] = (raw >= level)[step]
            if overscan is not None:
                if self.overscan != "none":
                    raw -= overscan.rows[:, None].astype(np.float32)
                _recordOverscan(cards, place.name, overscan, self.overscan != "none")
            pixels[where] = raw[step]
        return pixels, saturated, cards

    def _saturationLevels(self, given):
        if given is None:
            return [p.saturation for p in self.places]
        return [given.get(p.name, math.nan) if isinstance(given, Mapping) else given for p in self.places]

    def _readAmplifier(self, hdus, place, ext):
        single = len({p.ext for p in self.places}) == 1
        hdu = hdus[place.ext if ext is None or not single else ext]
        height, width = pixelShape(hdu)
        for part in (place.data.box, place.bias):
            if part is not None and not Box2I((0, 0), (width, height)).contains(part):
                raise MismatchError(f"amplifier {place.name}: {part} is outside this frame of {width} x {height} px")
        data = place.data.box
        raw = readPixels(hdu, np.float32, data.slices())
        if place.bias is None:
            return raw, None
        pixels = readPixels(hdu, np.float32, place.bias.slices())
        first = place.bias.minY - data.minY
        beside = first < data.height and place.bias.maxY >= data.minY
        mode = "constant" if self.overscan == "constant" or not beside else "row"
        return raw, measureOverscan(pixels, first, data.height, mode)

    def _makeDetector(self, header):
        from ..meta import Amplifier, Detector

        amps = []
        for place, target in zip(self.places, self._targets):
            flipX, flipY = _flips(place, target)
            amps.append(
                Amplifier(
                    place.name,
                    target.box,
                    rawDataBBox=place.data.box,
                    rawOverscanBBox=place.bias,
                    gain=place.gain,
                    readNoise=place.readNoise,
                    saturation=place.saturation,
                    readoutCorner=("U" if flipY else "L") + ("R" if flipX else "L"),
                    flipX=flipX,
                    flipY=flipY,
                )
            )
        number = next((header.get(k) for k in ("CCDNUM", "DETECTOR", "CCDID") if _isInteger(header.get(k))), 0)
        name = next((str(header[k]).strip() for k in ("DETNAME", "CCDNAME", "DETECTOR") if header.get(k)), "")
        return Detector(number, name, amps, serial=str(header.get("DETSER") or header.get("CCDSER") or "").strip())


def _isInteger(value):
    return isinstance(value, int) and not isinstance(value, bool)


def _flips(place, target):
    return place.data.flipX != target.flipX, place.data.flipY != target.flipY


def _targetsOf(places):
    """Places in the detector, from its corner (0, 0) on; None if the file does not give them or they overlap."""
    targets = [p.target for p in places]
    if len(places) == 1 and targets[0] is None:
        targets = [places[0].data]
    if any(t is None for t in targets):
        return None
    inFrame = all(t.box == p.data.box and p.ext == places[0].ext for p, t in zip(places, targets))
    if inFrame:
        targets = _problemsAside(places, targets)
    boxes = [t.box for t in targets]
    if any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i]):
        _log.warning("the sections of the amplifiers overlap: the amplifiers are put side by side")
        return None
    whole = _around(boxes)
    if not inFrame and whole.area > _MAX_SPREAD * sum(box.area for box in boxes):
        return None
    return [Section(t.box.shifted((-whole.minX, -whole.minY)), t.flipX, t.flipY) for t in targets]


def _around(boxes):
    whole = Box2I()
    for box in boxes:
        whole = whole.including(box)
    return whole


def _problemsAside(places, targets):
    """Amplifiers outside the frame get a pixel of their own beside it: present and empty, at no cost."""
    whole = _around([t.box for p, t in zip(places, targets) if not p.problem])
    aside = iter(range(whole.maxX + 1, whole.maxX + 1 + len(places)))
    return [Section(Box2I((next(aside), whole.minY), (1, 1))) if p.problem else t for p, t in zip(places, targets)]


def _inARow(places):
    targets, x = [], 0
    for place in places:
        size = tuple(place.data.box.dimensions)
        targets.append(Section(Box2I((x, 0), size), place.data.flipX, place.data.flipY))
        x += size[0]
    return targets


def _recordOverscan(cards, name, overscan, subtracted):
    from .headers import OVERSCAN_MEDIAN, READ_NOISE, ROW_VARIANCE

    for key, value in ((READ_NOISE, overscan.noise), (OVERSCAN_MEDIAN, overscan.level)):
        if math.isfinite(value):
            cards[key.format(name)] = value
    if subtracted and overscan.rowVariance > 0:
        cards[ROW_VARIANCE.format(name)] = overscan.rowVariance


def findLayout(hdus, amps=None, *, ext=None, overscan="row"):
    """Amplifier layout of an open file.

    Parameters
    ----------
    hdus : `astropy.io.fits.HDUList`
    amps : `str`, `os.PathLike` or mapping, optional
        The user's amplifiers, see `stillsky.ptc.sections.readAmpRegions`. Without them the headers decide: an amplifier
        per extension with DATASEC, BIASSEC or DETSEC; one per DATASECA, DATASECB, ... of a single frame; else the whole
        frame (without BIASSEC) is one amplifier, "frame".
    ext : `int` or `str`, optional
        Only this extension.
    overscan : {"row", "constant", "none"}
        See `DetectorLayout`.

    Returns
    -------
    layout : `DetectorLayout`

    Raises
    ------
    FitsLayoutError
        If there is no image, or the user's file is not as it should be.
    MismatchError
        If no amplifier lies inside the frame. One of many that does not is left without pixels, with a warning.
    """
    if amps is not None:
        places = placesFromRegions(hdus, readAmpRegions(amps), ext)
    else:
        places = placesFromHeaders(hdus, ext)
    return DetectorLayout(places, mergedHeader(hdus, hdus[places[0].ext]), overscan)


def averageBias(paths, layout):
    """Mean of bias frames, overscan subtracted like the flats.

    Parameters
    ----------
    paths : sequence of `str`
        FILE or FILE[EXT]. One is in memory at a time.
    layout : `DetectorLayout`

    Returns
    -------
    bias : `numpy.ndarray` (height, width) of `float32`
        adu, in the frame of the detector; NaN where no frame has a finite pixel.

    Raises
    ------
    DomainError
        If no file is given.
    """
    if not len(paths):
        raise DomainError("bias: wanted at least one file, given none")
    total = np.zeros(layout.detector.bbox.shape)
    count = np.zeros(total.shape, np.int32)
    for path in paths:
        file, ext = splitExtension(path)
        with openFits(file) as hdus, readingErrors(file):
            pixels = layout.read(hdus, ext)[0]
        finite = np.isfinite(pixels)
        np.add(total, pixels, out=total, where=finite)
        count += finite
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0).astype(np.float32)


def readFlat(path, *, amps=None, bias=None, layout=None, saturation=None, overscan="row"):
    """Read a raw flat as the extraction wants it.

    Parameters
    ----------
    path : `str` or `os.PathLike`
        FILE or FILE[EXT].
    amps : `str`, `os.PathLike` or mapping, optional
        See `findLayout`.
    bias : `numpy.ndarray`, `str`, or sequence of `str`, optional
        Bias of the detector frame, or bias files of the same layout, which are averaged.
    layout : `DetectorLayout`, optional
        Spares finding it again for every file.
    saturation : `float`, optional
        Raw adu; by default that of the headers.
    overscan : {"row", "constant", "none"}
        See `DetectorLayout`.

    Returns
    -------
    exposure : `stillsky.image.Exposure`
        Trimmed and assembled, adu, pedestal subtracted; planes SAT and NO_DATA; with detector, visit information and the
        read noise and level of each overscan in its metadata. Variance zero.

    Raises
    ------
    OSError, FitsLayoutError
        If the file is missing or unreadable.
    MismatchError
        If no amplifier lies inside the frame, or the bias has another size.
    """
    from ..image import Exposure, Image, Mask, MaskedImage
    from ..meta import Header

    file, ext = splitExtension(path)
    planes = None
    with openFits(file) as hdus, readingErrors(file):
        if ext is None and isNative(hdus):
            ext, planes = hdus.index(findPlane(hdus, "IMAGE", path=file)), _storedMask(file)
        if layout is None:
            layout = findLayout(hdus, amps, ext=ext, overscan=overscan)
        cards = mergedHeader(hdus, hdus[layout.places[0].ext])
        pixels, saturated, overscanCards = layout.read(hdus, ext, saturation)
        metadata, visitInfo = Header.fromFits(cards), foreignVisitInfo(cards)
    metadata.combine(overscanCards)
    if bias is not None:
        pixels -= _biasArray(bias, layout)
    mask = Mask(np.zeros(pixels.shape, np.int32))
    if planes is not None and layout.rawBox is not None:
        mask = Mask(planes.array[layout.rawBox.slices()].copy(), schema=planes.schema)
    mask.array[~np.isfinite(pixels)] |= mask.bitmask(["NO_DATA"])
    if saturated is not None:
        mask.array[saturated] |= mask.bitmask(["SAT"])
    image = Image(pixels)
    return Exposure(
        MaskedImage(image, mask), detector=layout.detector, visitInfo=visitInfo, metadata=metadata,
        provenance=[f"{os.path.basename(file)}: {layout.describe()}"],
    )  # fmt: skip


def _storedMask(file):
    """Mask of a file that stillsky or the LSST stack wrote."""
    from ..fits import readExposure

    return readExposure(file)[0].mask


def _biasArray(bias, layout):
    if not isinstance(bias, np.ndarray):
        bias = averageBias([bias] if isinstance(bias, (str, os.PathLike)) else list(bias), layout)
    if bias.shape != layout.detector.bbox.shape:
        (height, width), given = layout.detector.bbox.shape, bias.shape
        raise MismatchError(f"bias: wanted {width} x {height} px like the trimmed flat, given {given[1]} x {given[0]}")
    return bias.astype(np.float32, copy=False)
