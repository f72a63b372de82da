"""Raw files of simulated flats, laid out as cameras do: an extension per amplifier, or all amplifiers in one frame."""

import os

import numpy as np

from ..errors import DomainError

__all__ = ["LAYOUTS", "ampsOfFrame", "flatFileNames", "rawHdus", "writeFlatFiles"]

LAYOUTS = ("extensions", "frame", "plain")
_PRESCAN, _OVERSCAN = 8, 48
_ROW_DRIFT = 0.4  # adu, scatter of the bias level from row to row


def rawHdus(ramp, i, layout="extensions"):
    """Raw frame of one exposure.

    Parameters
    ----------
    ramp : `FlatRamp`
    i : `int`
        Number of the exposure; a number from ``len(ramp)`` on gives a bias frame.
    layout : {"extensions", "frame", "plain"}
        "extensions": an image extension per amplifier in readout order, prescan first and overscan last, with DATASEC,
        BIASSEC and DETSEC (reversed where the amplifier reads that way). "frame": one image with the amplifiers side by
        side and cards DATASECA, BIASSECA, DETSECA, ... "plain": one image without overscan or sections.

    Returns
    -------
    hdus : `list` of astropy HDUs
        Integers: uint16, or int32 where they do not fit. Rounding adds 1/12 adu^2 to the variance.

    Raises
    ------
    DomainError
        If the layout is unknown, or "frame" is asked for more than 26 amplifiers.
    """
    from astropy.io import fits

    if layout not in LAYOUTS:
        raise DomainError(f"layout: wanted one of {', '.join(LAYOUTS)}, given {layout!r}")
    isBias = i >= len(ramp)
    images = [np.zeros(ramp.shape, np.float32) for _ in ramp.amplifiers] if isBias else ramp.arrays(i)
    streams = [np.random.default_rng([ramp.seed, 5, a, i]) for a in range(len(images))]
    cards = fits.Header(list(ramp.cards(i).items()))
    if layout == "plain":
        frame = np.zeros(ramp.detector.bbox.shape, np.float32)
        for image, truth, place, rng in zip(images, ramp.amplifiers, ramp.places, streams):
            if isBias:
                image += _readNoise(rng, image.shape, truth)
            full = image >= truth.fullWell
            frame[place.bbox.slices()] = np.where(full, _saturation(truth), image + np.float32(truth.offset))
        return [fits.PrimaryHDU(_digitised([frame])[0], cards)]
    raws = [_rawAmplifier(*every, isBias) for every in zip(images, ramp.amplifiers, ramp.places, streams)]
    raws = _digitised(raws)
    return _extensions(fits, ramp, raws, cards) if layout == "extensions" else _frame(fits, ramp, raws, cards)


def _readNoise(rng, shape, truth):
    sigma = np.sqrt(truth.noiseMatrix[0, 0]) / truth.gain
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(sigma)


def _rawAmplifier(image, truth, place, rng, isBias):
    """Prescan, science pixels and overscan in readout order, adu; ``image`` is in the detector's orientation."""
    height, width = image.shape
    raw = _readNoise(rng, (height, _PRESCAN + width + _OVERSCAN), truth)
    if not isBias:  # the image has its own read noise
        raw[:, _PRESCAN : _PRESCAN + width] = image[:: -1 if place.flipY else 1, :: -1 if place.flipX else 1]
    full = raw >= truth.fullWell  # the converter's end: neither noise nor drift is added to it
    raw += np.float32(truth.offset) + rng.normal(0.0, _ROW_DRIFT, (height, 1)).astype(np.float32)
    return np.minimum(np.where(full, np.inf, raw), _saturation(truth))


def _saturation(truth):
    """Raw value that full pixels have, and no pixel exceeds, adu."""
    return np.float32(np.floor(truth.offset + truth.fullWell))


def _digitised(frames):
    high = max(frame.max() for frame in frames)
    low = min(frame.min() for frame in frames)
    dtype = np.uint16 if low >= -0.5 and high < 65535 else np.int32
    return [np.rint(frame).astype(dtype) for frame in frames]


def _section(x0, x1, y0, y1, flipX=False, flipY=False):
    """FITS section of 0-based half-open ranges: 1-based, inclusive, reversed where flipped."""
    x = (x1, x0 + 1) if flipX else (x0 + 1, x1)
    y = (y1, y0 + 1) if flipY else (y0 + 1, y1)
    return f"[{x[0]}:{x[1]},{y[0]}:{y[1]}]"


def _boxSection(box, flipX=False, flipY=False):
    return _section(box.minX, box.maxX + 1, box.minY, box.maxY + 1, flipX, flipY)


def _extensions(fits, ramp, raws, cards):
    cards["DETSIZE"] = _boxSection(ramp.detector.bbox)
    hdus = [fits.PrimaryHDU(header=cards)]
    for raw, truth, place in zip(raws, ramp.amplifiers, ramp.places):
        height, width = ramp.shape
        hdu = fits.ImageHDU(raw, name=truth.name)
        hdu.header["EXTNAME"] = truth.name  # astropy writes capitals only
        hdu.header["CCDSUM"] = "1 1"
        hdu.header["DATASEC"] = _section(_PRESCAN, _PRESCAN + width, 0, height)
        hdu.header["BIASSEC"] = _section(_PRESCAN + width, _PRESCAN + width + _OVERSCAN, 0, height)
        hdu.header["DETSEC"] = _boxSection(place.bbox, place.flipX, place.flipY)
        if np.isfinite(truth.fullWell):
            hdu.header["SATURATE"] = float(_saturation(truth))
        hdus.append(hdu)
    return hdus


def _frameBoxes(ramp):
    """For each amplifier (x0, x1, y0, y1) of tile, science pixels and overscan in the frame of layout "frame"."""
    height, width = ramp.shape
    tile = _PRESCAN + width + _OVERSCAN
    boxes = []
    for place in ramp.places:
        x0, y0 = place.bbox.minX // width * tile, place.bbox.minY
        data, bias = (_PRESCAN, _PRESCAN + width), (_PRESCAN + width, tile)
        if place.flipX:
            data, bias = ((tile - high, tile - low) for low, high in (data, bias))
        y = (y0, y0 + height)
        boxes.append(((x0, x0 + tile, *y), (x0 + data[0], x0 + data[1], *y), (x0 + bias[0], x0 + bias[1], *y)))
    return boxes


def _frame(fits, ramp, raws, cards):
    if len(raws) > 26:
        raise DomainError(f"layout 'frame': wanted at most 26 amplifiers, given {len(raws)}")
    boxes = _frameBoxes(ramp)
    shape = max(tile[3] for tile, _, _ in boxes), max(tile[1] for tile, _, _ in boxes)
    frame = np.zeros(shape, raws[0].dtype)
    for letter, raw, truth, place, (tile, data, bias) in zip(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ", raws, ramp.amplifiers, ramp.places, boxes
    ):
        frame[tile[2] : tile[3], tile[0] : tile[1]] = raw[:: -1 if place.flipY else 1, :: -1 if place.flipX else 1]
        cards[f"AMPNAM{letter}"] = truth.name
        cards[f"DATASEC{letter}"] = _section(*data)
        cards[f"BIASSEC{letter}"] = _section(*bias)
        cards[f"DETSEC{letter}"] = _boxSection(place.bbox)
        if np.isfinite(truth.fullWell):
            cards[f"SATURAT{letter}"] = float(_saturation(truth))
    return [fits.PrimaryHDU(frame, cards)]


def ampsOfFrame(ramp, layout="frame"):
    """The amplifier regions as the ``--amps`` file wants them.

    Parameters
    ----------
    ramp : `FlatRamp`
    layout : {"frame", "plain"}

    Returns
    -------
    amps : `dict` [`str`, `dict`]
        Name to ``data`` and, for "frame", ``bias``: [x0, x1, y0, y1], 0-based, half-open; and ``saturation``, raw adu,
        if the amplifier has a full well.
    """
    if layout == "frame":
        entries = [{"data": list(data), "bias": list(bias)} for _, data, bias in _frameBoxes(ramp)]
    else:
        boxes = [place.bbox for place in ramp.places]
        entries = [{"data": [b.minX, b.maxX + 1, b.minY, b.maxY + 1]} for b in boxes]
    for entry, truth in zip(entries, ramp.amplifiers):
        if np.isfinite(truth.fullWell):
            entry["saturation"] = float(_saturation(truth))
    return {truth.name: entry for truth, entry in zip(ramp.amplifiers, entries)}


def writeFlatFiles(ramp, prefix, layout="extensions", *, nBias=0, overwrite=False, rename=str):
    """Write the raw files of a ramp.

    Parameters
    ----------
    ramp : `FlatRamp`
    prefix : `str`
        Files are PREFIXflat0000.fits, ..., PREFIXbias0000.fits, ... and PREFIXtruth.ecsv; for the layouts "frame" and
        "plain" also PREFIXamps.yaml.
    layout : {"extensions", "frame", "plain"}
    nBias : `int`
        Number of bias frames.
    overwrite : `bool`
    rename : callable, optional
        Gives the name to write to from the name of the file.

    Returns
    -------
    names : `list` [`str`]
        Files, flats first.
    """
    from ..fits.files import writeHdus

    names = flatFileNames(ramp, prefix, layout, nBias)
    nFrames = len(ramp) + nBias
    for i, name in enumerate(names[:nFrames]):
        writeHdus(rawHdus(ramp, i, layout), rename(name), overwrite)
    rest = names[nFrames:]
    if layout != "extensions":
        import yaml

        with open(rename(rest.pop(0)), "w", encoding="utf-8") as stream:
            yaml.safe_dump(ampsOfFrame(ramp, layout), stream, sort_keys=False, default_flow_style=None)
    ramp.truthTable().write(rename(rest[0]), format="ascii.ecsv", overwrite=overwrite)
    return names


def flatFileNames(ramp, prefix, layout="extensions", nBias=0):
    """Names that `writeFlatFiles` gives its files (`list` [`str`])."""
    prefix = os.fspath(prefix)
    names = [f"{prefix}flat{i:04d}.fits" for i in range(len(ramp))]
    names += [f"{prefix}bias{i:04d}.fits" for i in range(nBias)]
    return names + ([] if layout == "extensions" else [f"{prefix}amps.yaml"]) + [f"{prefix}truth.ecsv"]
