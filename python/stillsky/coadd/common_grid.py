"""The pixel grid of a coadd of plain files, and putting an exposure on it."""

from dataclasses import dataclass

import numpy as np

from ..diffim.inputs import wholePixels
from ..errors import DomainError, InvalidPsfError, MismatchError
from ..geom import AffineTransform, Box2I
from ..image import Exposure
from ..psf import WarpedPsf
from ..warp import Warper, alignedWithin, computeDestBBox
from ..wcs import SkyWcs, makeTanWcs, pairTransform

__all__ = ["FieldsDifferError", "Grid", "commonGrid", "describedAs", "onSameGrid", "otherFields", "placeOf", "toGrid"]

#: Pixels at the corners within which two grids are one: resampling would only add noise.
ALIGNED_WITHIN = 0.02
#: A common grid of more pixels than this many times those of all inputs holds mostly nothing.
_LARGEST_SPREAD = 30.0


#: Pixels of one common grid differ in size by less than this factor from their median.
_LARGEST_RATIO = 4.0


class FieldsDifferError(MismatchError):
    """Frames lie too far from each other for one grid, or nobody knows where they lie, or their pixels are of another kind.

    Attributes
    ----------
    odd : `list`
        Frames off the largest group of those that go together; empty where leaving them out is no way.
    kept : object or None
        One of those that stay.
    """

    odd, kept = (), None

    def of(self, frame):
        """Why a frame is left out, a `MismatchError`."""
        words = f"no overlap with the others: it is at {placeOf(frame)}, they are near {placeOf(self.kept)}"
        return MismatchError(words, found=self.found, remedy=self.remedy)


class _NoPlaceError(FieldsDifferError):
    def of(self, frame):
        sizes = [f"{f.bbox.width}x{f.bbox.height}" for f in (frame, self.kept)]
        words = f"no WCS, and of {sizes[0]} px where others have {sizes[1]}"
        if frame.wcs is not None:
            words = f"most others have no WCS, and {sizes[1]} px where this has {sizes[0]}"
        elif sizes[0] == sizes[1]:
            words = "no WCS, and the others are not on one grid"
        return MismatchError(words, found=self.found, remedy=self.remedy)


class _ScalesDifferError(FieldsDifferError):
    def of(self, frame):
        words = f"its pixels are of {_arcsec(frame):.3g} arcsec, those of the others of {_arcsec(self.kept):.3g}"
        return MismatchError(words, found=self.found, remedy=self.remedy)


@dataclass(frozen=True)
class Grid:
    """Pixels of a coadd.

    Attributes
    ----------
    bbox : `stillsky.geom.Box2I`
        Parent box.
    wcs : `stillsky.wcs.SkyWcs` or None
        None when no input has one.
    reason : `str`
        Where it comes from, in words.
    """

    bbox: Box2I
    wcs: SkyWcs | None
    reason: str = ""


def onSameGrid(grid, frame):
    """Whether a frame (anything with ``bbox`` and ``wcs``) has the pixels of a grid as they are.

    Without a WCS on either side equal shapes are taken as one grid.
    """
    if grid.wcs is None or frame.wcs is None:
        return tuple(grid.bbox.dimensions) == tuple(frame.bbox.dimensions)
    return grid.bbox == frame.bbox and alignedWithin(grid.wcs, frame.wcs, grid.bbox, ALIGNED_WITHIN)


def commonGrid(frames, reference=None):
    """The grid on which all frames are stacked.

    Parameters
    ----------
    frames : sequence
        With ``bbox`` (`stillsky.geom.Box2I`), ``wcs`` (`stillsky.wcs.SkyWcs` or None) and ``name``; in order.
    reference : object, optional
        Of the same kind: its grid is that of the coadd.

    Returns
    -------
    grid : `Grid`
        That of ``reference``; else that of the first frame when all are on it; else a tangent plane, north up and east
        left, with the pixel scale of the first frame, that holds all frames.

    Raises
    ------
    FieldsDifferError
        Frames without WCS differ in shape, or from those that have one; pixels differ in size by factors; or frames are
        nowhere near each other.
    """
    if reference is not None:
        return Grid(reference.bbox, reference.wcs, f"grid of {reference.name}")
    first = frames[0]
    if all(onSameGrid(first, frame) for frame in frames[1:]):
        known = next((f for f in frames if f.wcs is not None), first)
        words = "all inputs are on one grid" if len(frames) > 1 else "the grid of the only input"
        return Grid(first.bbox, known.wcs, words)
    without = [f for f in frames if f.wcs is None]
    _checkScales([f for f in frames if f.wcs is not None])
    if without:
        raise _noPlace(frames, without)
    return _tangentPlane(frames)


def _noPlace(frames, without):
    """The error of frames of which some have no WCS, and not the shape of the others."""
    shown = (frames[0], *(f for f in without[:3] if f is not frames[0]))
    error = _NoPlaceError(
        f"{len(without)} of {len(frames)} inputs have no WCS and are not all of one shape",
        found=", ".join(f"{f.name} {f.bbox.width}x{f.bbox.height}" for f in shown),
        remedy="give all a WCS, cut all to one grid, or register them by their objects with --register",
    )
    groups = {}
    for frame in frames:
        groups.setdefault(tuple(frame.bbox.dimensions) if frame.wcs is None else None, []).append(frame)
    best = max(groups.values(), key=len)
    if len(best) > 1:
        one = Grid(best[0].bbox, best[0].wcs)
        # shape alone tells where a frame is only if all others are on one grid
        together = all(onSameGrid(one, frame) for frame in best)
        error.kept = best[0]
        error.odd = [f for f in frames if all(f is not b for b in best) and not (together and onSameGrid(one, f))]
    return error


def _checkScales(frames):
    """FieldsDifferError if most, but not all, pixels are about of one size: the others are wrong, or no use here."""
    if len(frames) < 3:
        return
    sizes = np.array([_arcsec(frame) for frame in frames])
    odd = ~(np.abs(np.log(sizes / np.nanmedian(sizes))) < np.log(_LARGEST_RATIO))
    if not odd.any() or 2 * np.count_nonzero(odd) >= len(frames):
        return
    error = _ScalesDifferError(
        "the pixels of the inputs are of different sizes",
        found=", ".join(f"{f.name} {_arcsec(f):.3g} arcsec" for f in [f for f, o in zip(frames, odd) if o][:3]),
        remedy="check the WCS, or give the wanted grid by --reference IMG",
    )
    error.odd = [frame for frame, o in zip(frames, odd) if o]
    error.kept = next(frame for frame, o in zip(frames, odd) if not o)
    raise error


def _arcsec(frame):
    """Size of a pixel in the middle of a frame."""
    return float(np.degrees(frame.wcs.pixelScale(*frame.bbox.center)) * 3600)


def _tangentPlane(frames):
    """North up, east left, the scale of the first frame; centred on the corners of all."""
    corners = np.concatenate([_cornerVectors(frame) for frame in frames])
    middle = corners.sum(axis=0)
    length = np.linalg.norm(middle)
    if not length > 0.5 * len(corners) or np.min(corners @ (middle / length)) < 0.1:
        raise _tooFar("the inputs lie in different parts of the sky", frames)
    ra, dec = np.arctan2(middle[1], middle[0]) % (2 * np.pi), np.arcsin(middle[2] / length)
    box = frames[0].bbox
    scale = np.degrees(frames[0].wcs.pixelScale(*box.center))
    wcs = makeTanWcs((0.0, 0.0), (ra, dec), [[-scale, 0.0], [0.0, scale]])
    bbox = None
    for frame in frames:
        part = computeDestBBox(frame.bbox, pairTransform(frame.wcs, wcs))
        bbox = part if bbox is None else bbox.including(part)
    if bbox.area > _LARGEST_SPREAD * sum(frame.bbox.area for frame in frames):
        raise _tooFar(f"a grid for all inputs would have {bbox.width}x{bbox.height} pixels, mostly empty", frames)
    # pixels are counted from 0: files of other programs know no origin
    wcs = wcs.shifted((-bbox.minX, -bbox.minY))
    words = f"common tangent plane, {bbox.width}x{bbox.height} px of {3600 * scale:.4g} arcsec, north up"
    return Grid(Box2I((0, 0), (bbox.width, bbox.height)), wcs, words)


def _cornerVectors(frame):
    box = frame.bbox
    x, y = np.array([box.minX, box.maxX, box.maxX, box.minX]), np.array([box.minY, box.minY, box.maxY, box.maxY])
    ra, dec = frame.wcs.pixelToSky(x.astype(float), y.astype(float))
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


def otherFields(frames):
    """The frames, all with a WCS, that are off the largest group of frames that overlap, one with the next.

    Circles around the frames stand for them, so that detectors beside each other are one field. Of groups of one size the
    one with the first frame is kept. Empty if there is but one group, or no two frames overlap.
    """
    corners = np.stack([_cornerVectors(frame) for frame in frames])
    centres = corners.sum(axis=1)
    centres /= np.linalg.norm(centres, axis=1)[:, None]
    radii = _angle(np.linalg.norm(corners - centres[:, None], axis=2)).max(axis=1)
    best, left = [], set(range(len(frames)))
    for start in range(len(frames)):
        if start not in left:
            continue
        left.discard(start)
        group, coming = [start], [start]
        while coming and left:
            one, others = coming.pop(), np.array(sorted(left))
            apart = _angle(np.linalg.norm(centres[others] - centres[one], axis=1))
            near = others[apart <= radii[others] + radii[one]].tolist()
            left.difference_update(near)
            group += near
            coming += near
        best = group if len(group) > len(best) else best
    return [frame for k, frame in enumerate(frames) if k not in set(best)] if len(best) > 1 else []


def _angle(chord):
    """Of two unit vectors, from their distance."""
    return 2 * np.arcsin(np.clip(chord / 2, 0.0, 1.0))


def placeOf(frame):
    """Where a frame points, in words."""
    ra, dec = np.degrees(frame.wcs.pixelToSky(*(float(v) for v in frame.bbox.center)))
    return f"{ra:.4f} {dec:+.4f}"


def _tooFar(message, frames):
    odd = otherFields(frames)
    shown = odd[:3] if odd else [*frames[:1], *frames[-1:]]
    kept = next((f for f in frames if all(f is not o for o in odd)), None)
    places = ", ".join(f"{frame.name} at {placeOf(frame)}" for frame in shown)
    if odd:
        more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
        places += f"{more}; the others, like {kept.name}, at {placeOf(kept)}"
    error = FieldsDifferError(
        message,
        found=f"{len(frames)} inputs, {places}",
        remedy="leave out what shows another field, or give the wanted grid by --reference IMG",
    )
    error.odd, error.kept = odd, kept
    return error


def toGrid(exposure, grid, warper=None):
    """An exposure on a grid, resampled only when it has to be.

    Parameters
    ----------
    exposure : `stillsky.image.Exposure`
        Not modified, apart from planes that are added to its mask's schema.
    grid : `Grid`
    warper : `stillsky.warp.Warper`, optional
        Lanczos 3 by default.

    Returns
    -------
    exposure : `stillsky.image.Exposure`
        On the part of the grid that it covers; pixels without data are NaN, NO_DATA, with infinite variance.
    how : {"as it is", "whole pixels", "resampled"}

    Raises
    ------
    MismatchError
        No WCS and another shape, or no pixel in common.
    """
    if onSameGrid(grid, exposure):
        if exposure.xy0 != grid.bbox.min:
            exposure = exposure.copy()
            exposure.maskedImage.xy0 = grid.bbox.min
        return exposure, "as it is"
    if grid.wcs is None or exposure.wcs is None:
        raise MismatchError(
            "no WCS and another shape than the grid of the coadd",
            found=f"{exposure.width}x{exposure.height} px, grid {grid.bbox.width}x{grid.bbox.height} px",
            remedy="give it a WCS",
        )
    offset = wholePixels(grid, exposure)
    if offset is not None:
        return _moved(exposure, grid, offset), "whole pixels"
    exposure.mask.addPlane("NO_DATA")
    try:
        box = computeDestBBox(exposure.bbox, pairTransform(exposure.wcs, grid.wcs), maxBBox=grid.bbox)
        if box.isEmpty:
            raise _noOverlap(exposure, grid)
        out = (warper or Warper()).warpExposure(grid.wcs, exposure, destBBox=box, warpPsf=exposure.psf is not None)
    except (InvalidPsfError, DomainError) as error:  # not one pixel of it lies in front of the projection
        raise _noOverlap(exposure, grid) from error
    if not np.any(~out.mask.isSet("NO_DATA")):
        raise _noOverlap(exposure, grid)
    return describedAs(exposure, out.maskedImage, out.psf, grid), "resampled"


def _moved(exposure, grid, offset):
    """The pixels themselves, under the numbers that they have on the grid."""
    dx, dy = offset
    common = exposure.bbox.shifted((-dx, -dy)).clipped(grid.bbox)
    if common.isEmpty:
        raise _noOverlap(exposure, grid)
    part = exposure.maskedImage[common.shifted(offset)]
    part.xy0 = common.min
    psf = exposure.psf and WarpedPsf(exposure.psf, AffineTransform(translation=(-dx, -dy)))
    return describedAs(exposure, part, psf, grid)


def describedAs(exposure, pixels, psf, grid):
    """The moved pixels with calibration, filter, visit and header of the exposure."""
    return Exposure(
        pixels, wcs=grid.wcs, psf=psf, photoCalib=exposure.photoCalib, filter=exposure.filter,
        visitInfo=exposure.visitInfo, detector=exposure.detector, metadata=exposure.metadata, id=exposure.id,
    )  # fmt: skip


def _noOverlap(exposure, grid):
    return MismatchError(
        "no overlap with the grid of the coadd",
        found=f"{exposure.width}x{exposure.height} px, grid {grid.bbox.width}x{grid.bbox.height} px: no common pixel",
        remedy="check its WCS, or leave it out",
    )
