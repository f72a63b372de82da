"""The whole job on files: scan, pair, measure two exposures at a time, fit, say what could not be measured."""

import logging
import math
import os
from dataclasses import dataclass, field

import numpy as np

from ..errors import MismatchError, NoDataError, NumericalError, StillskyError
from ..fits.file_lists import findFiles
from ..job_log import JobLog
from .flat_files import pairFlats, scanFlat
from .padding import PixelPadding
from .pair_notes import PairNotes, gainsOfBoxes, listed
from .summary import summarize

__all__ = ["PhotonTransferJob", "PtcResult", "measurePhotonTransfer"]

_log = logging.getLogger(__name__)


@dataclass
class PtcResult:
    """What a job found.

    Attributes
    ----------
    dataset : `PhotonTransferCurveDataset`
        Fitted curve with all measured pairs.
    table : `astropy.table.Table`
        One row per amplifier, see `summarize`.
    pairing : `FlatPairing`
    padding : `PixelPadding`
    maps : `PixelMaps` or None
    decisions, cannot : `list` [`str`]
        What was decided on the way; what these flats cannot tell.
    warnings : `list` [(`str`, `str`)]
        Code and sentence.
    metadata, limits : `dict`
        Figures of the sensor; limits of the report.
    title : `str`
        Name for people.
    """

    dataset: object
    table: object
    pairing: object
    padding: PixelPadding = PixelPadding()
    maps: object = None
    decisions: list = field(default_factory=list)
    cannot: list = field(default_factory=list)
    warnings: list = field(default_factory=list)
    metadata: dict = field(default_factory=dict)
    limits: dict = field(default_factory=dict)
    title: str = "flats"

    def writeTables(self, prefix):
        """Write ``prefix.ptc.fits``, ``prefix.ptc.ecsv`` and, with maps, ``prefix.maps.fits``."""
        self.dataset.writeFits(f"{prefix}.ptc.fits")
        self.table.write(f"{prefix}.ptc.ecsv", format="ascii.ecsv", overwrite=True)
        if self.maps is not None:
            self.maps.write(f"{prefix}.maps.fits")

    def __str__(self):
        figures = self.metadata
        return (
            f"photon transfer of {self.title}: {figures['amplifiers']} amplifiers, {figures['pairs']} pairs, "
            f"gain {figures['gain']:.4g} electron/adu, noise {figures['noise']:.3g} electron"
        )


class PhotonTransferJob(JobLog):
    """One run over files; the steps are ``scan`` and ``measure``.

    Parameters
    ----------
    config : `PhotonTransferJobConfig`, optional
    amps : `str`, optional
        YAML file of amplifiers.
    bias : sequence of `str`
        Bias frames; several are averaged.
    mask : `str`, optional
        FILE[EXT]; not 0: the pixel is BAD.
    ext, region
        Extension of all files; box of the frame to use.
    perPixel : `bool`
        Also gain and noise of every pixel.
    say : callable
        Takes a sentence.
    warn : callable
        Takes a code and a sentence.
    progress : callable, optional
        ``progress(iterable, desc=..., total=...)``.
    """

    def __init__(self, config=None, *, amps=None, bias=(), mask=None, ext=None, region=None, perPixel=False, say=None,
                 warn=None, progress=None):  # fmt: skip
        super().__init__(_log, say, warn)
        if config is None:
            from .job_config import PhotonTransferJobConfig

            config = PhotonTransferJobConfig()
        self.config = config
        self.amps, self.bias, self.mask = amps, tuple(bias), mask
        self.ext, self.region, self.perPixel = ext, region, perPixel
        self.progress = progress
        self.cannot = []
        self.flats, self.pairing, self.reader, self._pedestal = [], None, None, None

    # ---------------------------------------------------------------- scanning

    def scan(self, names):
        """Find the files, read their headers, pair them, and decide where the amplifiers are.

        Raises
        ------
        OSError, FitsLayoutError
            A file that was named cannot be read.
        NoDataError
            No flats are left.
        MismatchError
            The flats are of different sensors or layouts.
        """
        self._names = [os.fspath(name) for name in names]
        biases = self._collect()
        if not self.flats:
            raise NoDataError(
                "no flat fields found", found=", ".join(self._names), remedy="name FITS files of flats, or their folder"
            )
        self._sameSensor()
        config = self.config
        # a key that was asked for pairs the files, or nothing does
        by = "key" if config.pairBy == "auto" and config.pairKey else config.pairBy
        self.pairing = pairFlats(
            self.flats, by, timeTolerance=config.extract.timeTolerance, levelTolerance=config.levelTolerance
        )
        from .flat_reader import FlatReader

        self.reader = FlatReader(
            self.flats, config, amps=self.amps, bias=self.bias or biases, mask=self.mask, region=self.region
        )
        if self.perPixel and self.reader.layout.rawBox is None:
            raise MismatchError(
                "gain and noise per pixel need the pixels of the detector as they are in one image",
                found=self.reader.layout.describe(),
                remedy="leave --per-pixel, or pick one amplifier with --ext",
            )
        self._announce()

    def _collect(self):
        """Sort the files into flats and others; names of bias frames that came with a folder."""
        biases, odd = [], []
        for name, named in findFiles(self._names):
            try:
                flat = scanFlat(name, ext=self.ext, key=self.config.pairKey)
            except (OSError, StillskyError) as error:
                if named:
                    raise
                self.warn("W-FILE", f"left out: {error}")
                continue
            if flat.kind == "bias":
                biases.append(name)
            elif flat.kind == "flat" or flat.kind == "" or (named and flat.kind == "other"):
                self.flats.append(flat)
            else:
                odd.append(flat)
        for kind in sorted({flat.kind for flat in odd}):
            names = [flat.name for flat in odd if flat.kind == kind]
            self.say(f"left out by their headers ({kind}): {listed(names)}")
        return biases

    def _sameSensor(self):
        """Refuse files of several cameras or layouts: their levels would be one curve."""
        for what, values in (
            ("instruments", {f.instrument for f in self.flats if f.instrument}),
            ("sizes", {f.shape for f in self.flats}),
            ("numbers of images", {f.images for f in self.flats}),
        ):
            if len(values) > 1:
                shown = sorted(f"{v[1]}x{v[0]}" if isinstance(v, tuple) else str(v) for v in values)
                raise MismatchError(
                    f"the flats are not of one sensor: different {what}",
                    found=", ".join(shown),
                    remedy="run once per sensor; --ext picks an extension",
                )

    def describeInputs(self):
        """What the summary says about the inputs."""
        first = self.flats[0]
        return {
            "flats": len(self.flats),
            "folder": os.path.dirname(os.path.abspath(first.path)),
            "instrument": first.instrument,
            "width": first.shape[1],
            "height": first.shape[0],
            "images": first.images,
            "pairedBy": self.pairing.by,
            "pairs": [[a.path, b.path] for a, b in self.pairing.pairs],
            "alone": [[flat.path, why] for flat, why in self.pairing.alone],
            "amplifiers": list(self.reader.ampNames),
            **self.reader.facts(),
        }

    def _announce(self):
        first, pairing = self.flats[0], self.pairing
        camera = f", {first.instrument}" if first.instrument else ""
        images = f"{first.images} images of " if first.images > 1 else ""
        self._say(f"inputs: {len(self.flats)} flats, {images}{first.shape[1]}x{first.shape[0]} px{camera}")
        for sentence in self.reader.decisions:
            self.say(sentence)
        how = {
            "time": "equal exposure times", "key": f"equal {self.config.pairKey}", "name": "file names",
            "order": "order of the files", "level": "similar levels",
        }[pairing.by]  # fmt: skip
        self.say(f"pairs: {len(pairing.pairs)} by {how}, {len(pairing.alone)} files without a partner")
        if pairing.alone:
            sentence = "; ".join(f"{flat.name} ({why})" for flat, why in pairing.alone[:6])
            rest = f" and {len(pairing.alone) - 6} more" if len(pairing.alone) > 6 else ""
            self.warn("W-UNPAIRED", f"without a partner: {sentence}{rest}")
        if pairing.by == "level" and pairing.pairs:
            self.warn(
                "W-UNEQUAL",
                "no two flats have equal exposure times; pairs are those of similar level, brought to a common mean",
            )

    # ---------------------------------------------------------------- measuring

    def measure(self):
        """Measure all pairs and fit.

        Returns
        -------
        result : `PtcResult`

        Raises
        ------
        NoDataError
            Fewer than ``minPairs`` pairs, or no amplifier has a gain; the message says what was measured nevertheless.
        """
        with self.timed("measure"):
            extracted = self._extract()
        partials = [pair.dataset for pair in extracted.pairs]
        if not self.reader.pedestalKnown:
            self._findPedestal(partials)
        self._noteSinglePairs(partials)
        self._requirePairs(partials)
        with self.timed("fit"):
            solved = self._solve(partials)
        dataset = solved.dataset
        limits = {k: getattr(self.config.limits, k) for k in ("gainScatter", "noise", "chi2Dof")}
        table = summarize(
            solved, pedestal=self.reader.pedestalKnown, divisor=self.reader.padding.divisor, limits=limits
        )
        maps = self._measureMaps() if self.perPixel else None
        self._noteFigures(dataset, table, maps)
        self._judge(dataset, table)
        return PtcResult(
            dataset, table, self.pairing, self.reader.padding, maps, self.decisions, self.cannot, self.warnings,
            self.metadata, limits, self._title(),
        )  # fmt: skip

    def _title(self):
        first = self.flats[0]
        return os.path.basename(os.path.dirname(os.path.abspath(first.path))) + (
            f" ({first.instrument})" if first.instrument else ""
        )

    def _extract(self):
        from .extract import FlatPairExtractor

        groups, ids = {}, []
        for k, pair in enumerate(self.pairing.pairs):
            members = [(self.reader.handle(flat), 2 * k + i + 1) for i, flat in enumerate(pair)]
            groups[float(k)] = members
            ids += [i for _, i in members]
        if not groups:
            return _Nothing()
        log = PairNotes()
        extractor = FlatPairExtractor(self.config.extract, amplifiers=self.reader.boxes, log=log)
        bar = iter(self.progress(range(len(groups)), desc="pairs", total=len(groups))) if self.progress else None

        def step(done, total):
            if bar is not None:
                next(bar, None)

        try:
            return extractor.extract(groups, ids, step)
        finally:
            if bar is not None:
                next(bar, None)  # ends the bar
            self._sayWhatPairsLack(log)

    def _findPedestal(self, partials):
        """Without overscan and bias: the level at zero exposure time or, failing that, at zero variance."""
        from .pedestal import pedestalFromTimes, pedestalFromVariances, subtractPedestal

        names = self.reader.ampNames
        found, where = {amp: pedestalFromTimes(partials, amp) for amp in names}, "zero exposure time"
        if not any(found.values()):
            found, where = {amp: pedestalFromVariances(partials, amp) for amp in names}, "zero variance"
        found = {amp: pedestal for amp, pedestal in found.items() if pedestal is not None}
        if not found:
            return
        values, errors = (np.array([p[i] for p in found.values()]) for i in (0, 1))
        known = f"{np.median(values):.4g} +- {np.median(errors):.2g} adu at {where}"
        if np.all(np.abs(values) < 3.0 * errors):
            self.reader.pedestalKnown = True
            self.say(f"pedestal: none, the levels extrapolate to {known}")
            return
        for amp, pedestal in found.items():
            subtractPedestal(partials, amp, pedestal.value)
        self._pedestal = where
        self.say(f"pedestal: the levels extrapolate to {known}, which is subtracted")

    def _sayWhatPairsLack(self, log):
        """Saturated pairs by name; everything else that the measurement said of pairs."""
        fraction = self.reader.saturatedFraction
        saturated = [
            k for k, pair in enumerate(self.pairing.pairs, 1) if max(fraction.get(f.path, 0.0) for f in pair) > 0.5
        ]
        if saturated:
            names = [f"{a.name}, {b.name}" for a, b in (self.pairing.pairs[k - 1] for k in saturated)]
            self.warn("W-SATURATED", f"pairs of which most pixels are saturated: {listed(names)}")
        for sentence in log.sentences(skip=set(saturated)):
            self.warn("W-PAIR", sentence)

    def _noteSinglePairs(self, partials):
        """The gains of single pairs: what is known even when no curve can be fitted."""
        gains = [g for p in partials for amp in p.ampNames if math.isfinite(g := float(p.gainList[amp][0]))]
        middle = float(np.median(gains)) if gains else math.nan
        spread = 1.4826 * float(np.median(np.abs(np.array(gains) - middle))) if len(gains) > 1 else math.nan
        self.metadata |= {
            "flats": len(self.flats), "pairs": len(partials), "unpaired": len(self.pairing.alone),
            "amplifiers": len(self.reader.ampNames), "singlePairGain": middle, "singlePairGainScatter": spread,
            "divisor": self.reader.padding.divisor,
        }  # fmt: skip

    def _requirePairs(self, partials):
        if len(partials) >= self.config.minPairs:
            return
        gain = self.metadata["singlePairGain"]
        times = sorted({f.exposureTime for f in self.flats if math.isfinite(f.exposureTime)})
        found = [f"{len(self.flats)} flats with exposure times {listed([f'{t:g} s' for t in times])}"] if times else []
        if self.pairing.by == "key" and all(f.value is None for f in self.flats):
            found.append(f"header key {self.config.pairKey} in none of them")
        found.append(f"{len(partials)} pairs; need {self.config.minPairs}")
        if partials:
            found.append(self._whatAPairTells(partials[0], gain))
        raise NoDataError(
            "too few flat pairs for a photon transfer curve",
            found="; ".join(found),
            remedy="take two flats per exposure time at several times, or pair otherwise with --pair-by",
        )

    def _whatAPairTells(self, partial, gain):
        first, second = self.pairing.pairs[0]
        amp = partial.ampNames[0]
        unequal = abs(float(partial.rawDeltas[amp][0])) / max(float(partial.rawMeans[amp][0]), 1e-30)
        gains, noiseKnown = gainsOfBoxes(self.reader.read(first), self.reader.read(second), self.reader.boxes)
        value = f"{gain:.4g}"
        if len(gains) > 3:
            gain = float(np.median(gains))
            self.metadata["singlePairGain"] = gain
            value = f"{gain:.4g} +- {1.2533 * np.std(gains, ddof=1) / math.sqrt(len(gains)):.2g}"
        if not math.isfinite(gain):
            return "its two flats give no gain: see the warnings"
        native = f" = {gain * self.reader.padding.divisor:.4g} per native unit" if self.reader.padding.padded else ""
        pedestal = "" if self.reader.pedestalKnown else " (too high by the share of the pedestal in the mean)"
        pedestal += "" if noiseKnown else " (too low by the share of the read noise in the variance)"
        return (
            f"measurable: the gain from {first.name} and {second.name}, whose levels differ by {unequal:.1%}: "
            f"{value} e/adu{native}{pedestal}; not measurable: read noise, full well, a00"
        )

    def _solve(self, partials):
        from .solve import solveWithDetails

        return solveWithDetails(partials, self.config.solve)

    def _measureMaps(self):
        from .pixel_maps import pixelMaps

        levels = self.reader.levels(self.flats)
        # bands of raw rows have their overscan elsewhere: it is not subtracted here, so that a pedestal is left
        raw = self.reader.layout.hasOverscan
        if raw:
            self.cannot.append(
                "read noise per pixel: overscan is not subtracted from single pixels; give frames without"
            )
        config = self.config.pixelMaps
        with self.timed("pixels"):
            maps = pixelMaps(
                levels,
                zero=self.reader.zeroLevel(),
                bias=None if raw else self.reader.biasRows(),
                mask=self.reader.badPixels(),
                saturation=self.reader.saturation,
                minLevels=config.minLevels,
                minFrames=config.minFrames,
                memory=config.memory << 20,
                pedestalKnown=self.reader.pedestalKnown and not raw,
                progress=self.progress,
            )
        figures = maps.summary()
        self.say(
            f"pixels: gain {figures['gainMedian']:.4g} e/adu, scatter {figures['gainScatter']:.2g} "
            f"(error of a pixel {figures['gainErrMedian']:.2g}); noise {figures['noiseMedian']:.3g} e; "
            f"{figures['gainMissing']:.2%} of the pixels without a gain; {figures['noisyFraction']:.2%} too noisy"
        )
        return maps

    def _noteFigures(self, dataset, table, maps):
        def median(name):
            values = np.asarray(table[name], float)
            values = values[np.isfinite(values)]
            return float(np.median(values)) if values.size else math.nan

        gains = np.asarray(table["gain"], float)
        good = np.isfinite(gains)
        middle = median("gain")
        self.metadata |= {
            "goodAmplifiers": int(good.sum()), "gain": middle, "noise": median("noise"), "a00": median("a00"),
            "gainScatter": float(np.max(np.abs(gains[good] / middle - 1.0))) if good.any() else math.nan,
            "fullWell": median("fullWell"), "turnoff": median("ptcTurnoff"), "chi2Dof": median("chi2Dof"),
            "gainNative": middle * self.reader.padding.divisor,
            "pixelGain": maps.summary()["gainMedian"] if maps is not None else math.nan,
            "pixelNoise": maps.summary()["noiseMedian"] if maps is not None else math.nan,
            "badAmps": list(dataset.badAmps), "ptcFitType": dataset.ptcFitType,
        }  # fmt: skip

    def _judge(self, dataset, table):
        """Say what the curve cannot tell; refuse when no amplifier has a gain."""
        flags = [str(row["flags"]).split() for row in table]
        if self.metadata["goodAmplifiers"] == 0:
            kinds = sorted({flag for row in flags for flag in row if flag in ("NO_PAIRS", "FEW_PAIRS", "BAD")})
            gain = self.metadata["singlePairGain"]
            found = f"{self.metadata['pairs']} pairs, {len(table)} amplifiers: {', '.join(kinds)}"
            if math.isfinite(gain):
                found += f"; single pairs give {gain:.4g} e/adu"
            error = NumericalError if kinds == ["BAD"] else NoDataError
            raise error(
                "no amplifier has a photon transfer curve",
                found=found,
                remedy="more levels below saturation; check masks and saturation, see --dry-run -v",
            )
        few = [row["ampName"] for row, f in zip(table, flags) if {"NO_PAIRS", "FEW_PAIRS", "BAD"} & set(f)]
        if few:
            self.warn("W-AMP", f"amplifiers without a result: {listed(few)}")
        if not self.reader.pedestalKnown:
            self.cannot.append("read noise: the pedestal of the frames is not known (--bias, or an overscan)")
            if self._pedestal:
                sentence = (
                    "the pedestal was extrapolated to zero exposure time: the noise is only as good as the shutter"
                )
            else:
                sentence = "neither overscan nor bias was subtracted: noise and a00 are wrong if there is a pedestal"
            self.warn("W-PEDESTAL", sentence)
        if all("NO_TURNOFF" in f for f in flags if not {"NO_PAIRS", "FEW_PAIRS", "BAD"} & set(f)):
            self.cannot.append("full well: the variance does not turn off within the data, the figure is a lower limit")
        if self.reader.padding.padded:
            native = self.metadata["gainNative"]
            self.say(
                f"gain: {self.metadata['gain']:.6g} e/adu of the file, {native:.6g} e per native unit "
                f"({self.reader.padding.divisor} adu)"
            )


class _Nothing:
    """An extraction of no pairs."""

    pairs = ()


def measurePhotonTransfer(flats, *, config=None, **options):
    """Photon transfer curve of a sensor from files of flats.

    Parameters
    ----------
    flats : `str` or sequence of `str`
        Folder, or files.
    config : `PhotonTransferJobConfig`, optional
    **options
        See `PhotonTransferJob`.

    Returns
    -------
    result : `PtcResult`
    """
    job = PhotonTransferJob(config, **options)
    job.scan([flats] if isinstance(flats, (str, os.PathLike)) else flats)
    return job.measure()
