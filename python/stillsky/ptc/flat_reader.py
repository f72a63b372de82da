"""Reading flats for the job: layout, pedestal, mask and saturation are decided once, then files are read one at a time."""

import math
import os

import numpy as np

from ..errors import MismatchError
from ..fits.files import openFits, splitExtension
from ..fits.layout import pixelShape, readPixels
from ..fits.noise import saturationOf
from ..image import Exposure, Image, Mask, MaskedImage, MaskSchema
from ..meta import Header, VisitInfo
from .bad_pixels import findBadPixels
from .handles import ExposureHandle
from .headers import READ_NOISE
from .moments import clippedMoments
from .padding import PaddingDetector

__all__ = ["FlatReader", "RowFrame"]

_SAMPLE_ROWS = 200
_PLATEAU_PIXELS = 4
_BRIGHTEST = 6  # files that are tried for one that is not saturated


def firstImage(hdus, ext=None):
    """The extension that was asked for, else the first image."""
    if ext is not None:
        return hdus[ext]
    return next(h for h in hdus if getattr(h, "is_image", False) and len(h.shape) >= 2)


class RowFrame:
    """A frame on disk that gives rows: ``frame[10:20]`` is a float32 array of raw values.

    Parameters
    ----------
    path : `str`
        File.
    ext : `int` or `str`, optional
        Extension; by default the first image.
    box : `Box2I`, optional
        Part of the frame.
    """

    def __init__(self, path, ext=None, box=None):
        self.path, self._ext = os.fspath(path), ext
        with openFits(self.path) as hdus:
            height, width = pixelShape(firstImage(hdus, ext))
        self._columns = slice(0, width) if box is None else slice(box.minX, box.maxX + 1)
        self._y0, end = (0, height) if box is None else (box.minY, box.maxY + 1)
        self.shape = (end - self._y0, self._columns.stop - self._columns.start)

    def __getitem__(self, rows):
        start, stop, _ = rows.indices(self.shape[0])
        with openFits(self.path) as hdus:
            where = slice(self._y0 + start, self._y0 + stop), self._columns
            return readPixels(firstImage(hdus, self._ext), np.float32, where)

    def readRows(self, rows):
        """Single rows, (n, width) float32: the file is opened once."""
        with openFits(self.path) as hdus:
            image = firstImage(hdus, self._ext)
            parts = [(slice(self._y0 + row, self._y0 + row + 1), self._columns) for row in rows]
            return np.concatenate([readPixels(image, np.float32, where) for where in parts])


class FlatReader:
    """Reads flats of one sensor; everything but the pixels is decided on construction.

    Parameters
    ----------
    flats : sequence of `FlatFile`
        All of one layout.
    config : `PhotonTransferJobConfig`
    amps : `str`, optional
        YAML file of amplifiers.
    bias : sequence of `str`
        Bias frames; several are averaged.
    mask : `str`, optional
        FILE[EXT]; not 0: the pixel is BAD.
    region : `Box2I`, optional
        Part of the frame to use; amplifiers are cut to it.

    Attributes
    ----------
    detector : `Detector`
    boxes : `dict` [`str`, `Box2I`]
        Where each amplifier is measured, in the frame of the exposures that are read.
    padding : `PixelPadding`
    saturations : `dict` [`str`, `float`]
        Raw values of each amplifier from here on are flagged SAT; empty if no level is known.
    pedestalKnown : `bool`
        Whether overscan or bias is subtracted.
    decisions : `list` [`str`]
    saturatedFraction : `dict` [`str`, `float`]
        Of the pixels of each file that was read.
    """

    def __init__(self, flats, config, *, amps=None, bias=(), mask=None, region=None):
        self.decisions, self.saturatedFraction = [], {}
        self._config, self._first = config, flats[0]
        self.layout = self._makeLayout(amps)
        self.detector = self.layout.detector
        self.boxes = self._boxesIn(region)
        self._bad = self._readMask(mask)
        self._biasNames = list(bias)
        self._bias = self._readBias(bias)
        self._noise = self._noiseOfBias(bias)
        self.padding, plateau = self._lookAtValues(flats)
        self.saturations = self._chooseSaturation(plateau)
        if config.findBadPixels:
            self._findBadPixels(flats)
        self.pedestalKnown = self._bias is not None or self.layout.hasOverscan or config.pedestalSubtracted
        if not self.layout.hasOverscan and not self._noise:
            self.decisions.append(
                "read noise: not known beforehand; the gains of single pairs are not corrected for it"
            )

    ampNames = property(lambda self: list(self.boxes), doc="Names of the amplifiers.")

    # ------------------------------------------------------------------ decisions

    def _makeLayout(self, amps):
        from .amplifiers import findLayout

        overscan = "row" if self._config.subtractOverscan else "none"
        with openFits(self._first.path) as hdus:
            layout = findLayout(hdus, amps, ext=self._first.ext, overscan=overscan)
        self.decisions.append(f"amplifiers: {layout.describe()}")
        return layout

    def _boxesIn(self, region):
        boxes = {amp.name: amp.bbox for amp in self.detector}
        if region is None:
            return boxes
        if not self.detector.bbox.contains(region):
            raise MismatchError(
                "the region reaches out of the frame",
                found=f"{region} in {self.detector.bbox}",
                remedy="--region X0:X1,Y0:Y1 is 0-based and half open, in trimmed pixels",
            )
        cut = {name: box.clipped(region) for name, box in boxes.items() if box.overlaps(region)}
        self.decisions.append(f"region: {region.width}x{region.height} px, {len(cut)} amplifiers")
        return cut

    def _readMask(self, name):
        """Boolean plane of the trimmed frame, or None."""
        if name is None:
            return None
        path, ext = splitExtension(name)
        with openFits(path) as hdus:
            hdu = firstImage(hdus, ext)
            shape = pixelShape(hdu)
            wanted = (self.detector.bbox.height, self.detector.bbox.width)
            if shape != wanted:
                raise MismatchError(
                    "the mask has not the size of the frame",
                    found=f"{path}: {shape[1]}x{shape[0]}, wanted {wanted[1]}x{wanted[0]} (without overscan)",
                    remedy="give a mask of the trimmed frame with --mask FILE[EXT]",
                )
            bad = readPixels(hdu, np.float64) != 0
        self.decisions.append(f"mask: {os.path.basename(path)}, {bad.mean():.2%} of the pixels bad")
        return bad

    def _readBias(self, names):
        """Mean of the bias frames, trimmed float32, or None."""
        if not names:
            return None
        from .amplifiers import averageBias

        bias = averageBias(names, self.layout)
        many = f"mean of {len(names)} frames" if len(names) > 1 else os.path.basename(splitExtension(names[0])[0])
        self.decisions.append(f"bias: {many}, median {np.nanmedian(bias):.6g} adu")
        return bias

    def _noiseOfBias(self, names):
        """Read noise of each amplifier (adu) from the difference of the first two bias frames; empty with fewer."""
        if len(names) < 2:
            return {}
        frames = [self._pixels(*splitExtension(name), bias=False) for name in names[:2]]
        difference = frames[0][0] - frames[1][0]
        good = (frames[0][1] | frames[1][1]) == 0
        noise = {}
        for name, box in self.boxes.items():
            where = box.slices()
            moments = clippedMoments(difference[where], good[where], 5.0, 3)
            noise[name] = math.sqrt(moments.variance / 2.0) if moments.variance > 0 else math.nan
        return noise

    def _lookAtValues(self, flats):
        """Padding of the values, and the level at which they pile up, from some rows of the darkest and brightest file."""
        detector, plateau = PaddingDetector(), None
        chosen = {f.path: f for f in (flats[0], flats[len(flats) // 2], flats[-1])}.values()
        for flat in chosen:
            with openFits(flat.path) as hdus:
                hdu = firstImage(hdus, flat.ext)
                height, width = pixelShape(hdu)
                step = max(1, height // _SAMPLE_ROWS)
                rows = [readPixels(hdu, np.float64, (slice(r, r + 1), slice(0, width))) for r in range(0, height, step)]
            values = np.concatenate(rows)
            detector.add(values)
            plateau = _plateauOf(values) or plateau
        padding = detector.padding
        if padding.padded:
            self.decisions.append(f"padding: {padding}; the converter has {padding.nativeBits} bits or more")
        return padding, plateau

    def _chooseSaturation(self, plateau):
        """Level of each amplifier: the option, its own header, the file's header, or where values pile up or end."""
        level, source = self._commonSaturation(plateau)
        own = {} if self._config.saturation is not None else self._ownSaturations()
        if level is None and not own:
            return {}
        levels = {p.name: own.get(p.name, level) for p in self.layout.places}
        levels = {name: value for name, value in levels.items() if value is not None}
        if len(set(own.values())) > 1:
            others = f"; {level:g} adu ({source}) for the rest" if len(own) < len(levels) else ""
            low, high = min(own.values()), max(own.values())
            self.decisions.append(f"saturation: {low:g} to {high:g} adu (headers of {len(own)} amplifiers){others}")
        else:
            value = next(iter(levels.values()))
            self.decisions.append(f"saturation: {value:g} adu ({source if value == level else 'header'})")
        return levels

    def _ownSaturations(self):
        """Levels that the cards of single amplifiers give, unless the file cannot hold them."""
        with openFits(self._first.path) as hdus:
            largest = _largestValue(firstImage(hdus, self._first.ext).header)
        own = {p.name: p.saturation for p in self.layout.places if math.isfinite(p.saturation) and p.saturation > 0}
        return {name: level for name, level in own.items() if largest is None or level <= largest}

    def _commonSaturation(self, plateau):
        """One level for all and where it is from; None when nothing tells."""
        if self._config.saturation is not None:
            return self._config.saturation, "option"
        with openFits(self._first.path) as hdus:
            hdu = firstImage(hdus, self._first.ext)
            found = saturationOf(hdu.header) or saturationOf(hdus[0].header)
            largest = _largestValue(hdu.header)
        if found is not None and (largest is None or found[0] <= largest):
            return found[0], f"header {found[1]}"
        if plateau is not None:
            return plateau, "values pile up there"
        if largest is not None:
            # of padded values the largest possible one has the constant low bits
            largest -= self.padding.divisor - 1
        return largest, "largest value of the file's type"

    def _findBadPixels(self, flats):
        """Add the pixels that do not respond to light to the bad ones, from the flat of most light that is not saturated."""
        bySignal = sorted(flats, key=lambda f: -f.exposureTime if np.isfinite(f.exposureTime) else 0.0)
        bySignal = [*bySignal[: _BRIGHTEST - 1], bySignal[len(bySignal) // 2]]
        for flat in bySignal:
            pixels, mask, _ = self._pixels(flat.path, flat.ext)
            good = mask == 0
            if np.mean(mask & MaskSchema.standard().bitmask(["SAT"]) != 0) < 0.01:
                break
        else:
            return
        bad = findBadPixels(pixels, good, self.boxes.values())
        if bad.any():
            self._bad = bad if self._bad is None else self._bad | bad
            self.decisions.append(
                f"bad pixels: {np.count_nonzero(bad)} ({bad.mean():.2%}) respond less than half or more than 1.5 times as "
                f"their neighbours in {flat.name}"
            )

    @property
    def saturation(self):
        """The lowest level of all amplifiers, raw adu; None if no level is known."""
        return min(self.saturations.values(), default=None)

    def facts(self):
        """What the summary says about the frames."""
        return {
            "layout": self.layout.describe(),
            "bias": self._bias is not None,
            "overscan": self.layout.hasOverscan,
            "saturation": self.saturation,
            "divisor": self.padding.divisor,
            "nativeBits": self.padding.nativeBits,
        }

    # ------------------------------------------------------------------ pixels

    def handle(self, flat):
        """A handle that reads the flat when it is wanted, and knows its exposure time before."""
        return ExposureHandle(lambda: self.read(flat), visitInfo=self._visitInfo(flat), detector=self.detector)

    @staticmethod
    def _visitInfo(flat):
        from astropy.time import Time

        date = Time(flat.start, format="mjd", scale="tai") if np.isfinite(flat.start) else None
        return VisitInfo(exposureTime=flat.exposureTime, date=date, observationType=flat.kind or "flat")

    def read(self, flat):
        """Trimmed exposure in adu without pedestal; masked planes SAT, BAD and NO_DATA.

        Memory: image, mask and the raw pixels of one file; the variance plane is empty.
        """
        pixels, mask, header = self._pixels(flat.path, flat.ext)
        self.saturatedFraction[flat.path] = float(np.mean((mask & MaskSchema.standard().bitmask(["SAT"])) != 0))
        image = Image(pixels)
        planes = MaskedImage(image, Mask(mask))
        return Exposure(
            planes, detector=self.detector, visitInfo=self._visitInfo(flat), metadata=Header(header)
        )  # fmt: skip

    def _pixels(self, path, ext, bias=True):
        """Pixels (float32), mask (int32) and cards of a file."""
        with openFits(path) as hdus:
            pixels, saturated, header = self.layout.read(hdus, ext, getattr(self, "saturations", None) or None)
        if bias and self._bias is not None:
            pixels -= self._bias
        for name, noise in getattr(self, "_noise", {}).items():
            header.setdefault(READ_NOISE.format(name), noise)
        bits = MaskSchema.standard()
        mask = np.zeros(pixels.shape, np.int32)
        if saturated is not None:
            mask[saturated] |= bits.bitmask(["SAT"])
        if getattr(self, "_bad", None) is not None:
            mask[self._bad] |= bits.bitmask(["BAD"])
        mask[~np.isfinite(pixels)] |= bits.bitmask(["NO_DATA"])
        return pixels, mask, header

    # ------------------------------------------------------------------ per-pixel mode

    def levels(self, flats):
        """Frames of each exposure time, as `RowFrame`: what `pixelMaps` takes."""
        from .pairing import timesMatch

        groups = {}
        for flat in flats:
            time = flat.exposureTime
            key = next((k for k in groups if timesMatch(time, k)), time) if np.isfinite(time) else None
            if key is not None:
                groups.setdefault(key, []).append(RowFrame(flat.path, flat.ext, self.layout.rawBox))
        return [groups[key] for key in sorted(groups)]

    def zeroLevel(self):
        """Bias frames as `RowFrame`; empty without."""
        return [RowFrame(*splitExtension(name), self.layout.rawBox) for name in self._biasNames]

    def biasRows(self):
        """Bias of the frame, or None."""
        return self._bias

    def badPixels(self):
        """Boolean plane of bad pixels, or None."""
        return self._bad


def _plateauOf(values):
    """The largest value when it is all ones in binary and several pixels have it: a 12- or 14-bit converter at its end."""
    top = values[np.isfinite(values)].max(initial=0.0)
    if top < 255 or top != int(top) or int(top) & (int(top) + 1):
        return None
    return float(top) if np.sum(values == top) >= _PLATEAU_PIXELS else None


def _largestValue(header):
    """Largest value that an integer image can hold; None for real pixels."""
    bits = header.get("BITPIX", -32)
    if bits not in (8, 16, 32):
        return None
    stored = 255 if bits == 8 else 2 ** (bits - 1) - 1
    value = stored * float(header.get("BSCALE", 1.0)) + float(header.get("BZERO", 0.0))
    # 32-bit files hold converters of fewer bits: their own largest value says nothing
    return value if bits <= 16 else None
