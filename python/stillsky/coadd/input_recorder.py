"""Recording what goes into warps and coadds (coadds and DCR, section 2.13)."""

import logging

from ..errors import DomainError, InvalidPsfError
from ..geom import Box2D, Polygon
from ..image import CoaddInputs
from ..psf import CoaddPsf, CoaddPsfComponent

__all__ = [
    "CoaddInputRecorder",
    "WarpInputRecorder",
    "copyValidPolygons",
    "makeCoaddPsf",
    "shrinkValidPolygons",
]

_LOG = logging.getLogger(__name__)


class CoaddInputRecorder:
    """Makes the `CoaddInputs` of warps and coadds.

    Parameters
    ----------
    config : `CoaddInputRecorderConfig`, optional
    log : `logging.Logger`, optional
    """

    def __init__(self, config=None, log=None):
        if config is None:
            from .input_recorder_config import CoaddInputRecorderConfig

            config = CoaddInputRecorderConfig()
        self.config, self.log = config, log or _LOG

    def makeCoaddInputs(self):
        """Empty `CoaddInputs`."""
        return CoaddInputs()

    def makeCoaddTempExpRecorder(self, visitId, num=0):
        """Recorder of one warp; ``num``, the number of detectors to come, need not be known."""
        return WarpInputRecorder(self, visitId)

    makeWarpRecorder = makeCoaddTempExpRecorder

    def addVisitToCoadd(self, coaddInputs, coaddTempExp, weight):
        """Record a warp in a coadd.

        Parameters
        ----------
        coaddInputs : `CoaddInputs`
            Of the coadd, extended.
        coaddTempExp : `stillsky.image.Exposure`
            The warp. Its ``info.coaddInputs`` must have exactly one visit.
        weight : `float`
            Of all pixels of the visit.

        Returns
        -------
        row : `astropy.table.Row` or None
            The new row of ``visits``; None (and a warning) if the warp has no or several visits: it is not recorded.
        """
        inputs = coaddTempExp.info.coaddInputs
        count = 0 if inputs is None else len(inputs.visits)
        if count != 1:
            self.log.warning("Warp has %d visits in its CoaddInputs, wanted 1: it is not recorded", count)
            return None
        name = _filterName(coaddTempExp)
        visit = int(inputs.visits[0]["id"])
        _copyRow(inputs.visits[0], coaddInputs.visits, weight=float(weight), filter=name)
        for row in inputs.ccds:
            if int(row["visit"]) != visit:
                self.log.warning("CCD %d belongs to visit %d, its warp is visit %d", row["id"], row["visit"], visit)
            changes = {"filter": name}
            if self.config.saveCcdWeights:
                changes["weight"] = float(weight)
            _copyRow(row, coaddInputs.ccds, **changes)
        return coaddInputs.visits[-1]


class WarpInputRecorder:
    """Records the detectors that make up one warp."""

    def __init__(self, task, visitId):
        self.task, self.visitId = task, int(visitId)
        self.coaddInputs = task.makeCoaddInputs()

    def addCalExp(self, calExp, ccdId, nGoodPix):
        """Record a detector.

        Parameters
        ----------
        calExp : `stillsky.image.Exposure` or None
            None where it could not be read.
        ccdId : `int`
            Identifier of the detector exposure.
        nGoodPix : `int`
            Pixels it gave to the warp.
        """
        config = self.task.config
        if (nGoodPix == 0 and not config.saveEmptyCcds) or (calExp is None and not config.saveErrorCcds):
            return
        if calExp is None:
            _copyRow({"id": int(ccdId), "ccd": -1, "visit": self.visitId}, self.coaddInputs.ccds)
            return
        detector = getattr(calExp.info.detector, "id", None)
        self.coaddInputs.addCcd(
            ccdId, calExp.bbox, ccd=-1 if detector is None else int(detector), visit=self.visitId,
            goodpix=int(nGoodPix), filter=_filterName(calExp), **_objects(calExp),
        )  # fmt: skip

    def finish(self, coaddTempExp, nGoodPix=None):
        """Record the visit and attach everything to the warp.

        Parameters
        ----------
        coaddTempExp : `stillsky.image.Exposure`
            Its ``info.coaddInputs`` is set.
        nGoodPix : `int`, optional
            Good pixels of the warp; default the sum over the detectors.
        """
        if nGoodPix is None:
            nGoodPix = int(self.coaddInputs.ccds["goodpix"].sum())
        if not self.task.config.saveVisitGoodPix:
            nGoodPix = 0
        self.coaddInputs.addVisit(
            self.visitId, coaddTempExp.bbox, goodpix=int(nGoodPix), filter=_filterName(coaddTempExp),
            **_objects(coaddTempExp),
        )  # fmt: skip
        coaddTempExp.info.coaddInputs = self.coaddInputs


def _objects(exposure):
    info = exposure.info
    names = ("psf", "wcs", "photoCalib", "apCorrMap", "validPolygon", "visitInfo", "transmissionCurve")
    return {name: getattr(info, name) for name in names}


def _filterName(exposure):
    label = exposure.info.filter
    return "" if label is None else label.physical or label.band or ""


def _copyRow(row, table, **changes):
    """Append a row of another table, or a dict; columns that it lacks stay empty."""
    import numpy as np

    names = row.colnames if hasattr(row, "colnames") else list(row)
    values = {}
    for name in table.colnames:
        dtype = table[name].dtype
        empty = None if dtype.kind == "O" else np.zeros((), dtype)[()]
        values[name] = changes.get(name, row[name] if name in names else empty)
    table.add_row(values)


def shrinkValidPolygons(coaddInputs, matchingKernelSize=21):
    """Take off the valid polygons what the kernel of PSF matching consumed at the edges, in place.

    Parameters
    ----------
    coaddInputs : `CoaddInputs`
        Rows without polygon get one: their box.
    matchingKernelSize : `int`
        Side of the kernel. Boxes shrink by ``-(-matchingKernelSize//2)``: 11 pixels for 21.

    Notes
    -----
    A detector of which nothing is left keeps its box, with weight and goodpix 0.
    """
    margin = -(-int(matchingKernelSize) // 2)
    for row in coaddInputs.ccds:
        box = CoaddInputs.bboxOf(row).dilated(-margin)
        polygon = None if box.isEmpty else Polygon(box)
        if polygon is not None and row["validPolygon"] is not None:
            polygon = polygon.intersection(row["validPolygon"])
        if polygon is None:
            row["weight"], row["goodpix"] = 0.0, 0
        row["validPolygon"] = polygon


def copyValidPolygons(coaddInputs, matchedInputs, log=None):
    """Take the valid polygons of the PSF-matched warps, by id of the detector exposure, in place.

    Parameters
    ----------
    coaddInputs : `CoaddInputs`
        Rows without a counterpart are left without polygon.
    matchedInputs : `CoaddInputs` or iterable of them

    Raises
    ------
    DomainError
        (a ValueError) A detector of the PSF-matched warps that the coadd does not have.
    """
    log = log or _LOG
    if isinstance(matchedInputs, CoaddInputs):
        matchedInputs = [matchedInputs]
    polygons = {}
    for inputs in matchedInputs:
        for row in inputs.ccds:
            polygons[int(row["id"])] = row["validPolygon"]
            if row["validPolygon"] is None:
                log.warning("CCD %d of a PSF-matched warp has no valid polygon", row["id"])
    extra = set(polygons) - {int(i) for i in coaddInputs.ccds["id"]}
    if extra:
        raise DomainError(f"PSF-matched warps have detector exposures that the coadd has not: {sorted(extra)}")
    for row in coaddInputs.ccds:
        row["validPolygon"] = polygons.get(int(row["id"]))


def makeCoaddPsf(ccds, coaddWcs, warpingKernelName="lanczos3", **keywords):
    """`CoaddPsf` of the rows of a table of detector exposures.

    Parameters
    ----------
    ccds : `astropy.table.Table`
        ``CoaddInputs.ccds`` or some of its rows; rows without PSF or with weight 0 are left out.
    coaddWcs : `stillsky.wcs.SkyWcs`
    warpingKernelName : `str`
    **keywords
        For `CoaddPsf`.

    Returns
    -------
    psf : `stillsky.psf.CoaddPsf`

    Raises
    ------
    InvalidPsfError
        No row is left.

    Notes
    -----
    Its average position is that of `CoaddPsf`; where no input holds it, as with constant PSFs that say (0, 0), the
    centre of the box of the row with the largest weight times goodpix.
    """
    parts = [
        CoaddPsfComponent(
            psf=row["psf"], bbox=CoaddInputs.bboxOf(row), wcs=row["wcs"], weight=float(row["weight"]),
            id=int(row["id"]), goodPixels=float(row["goodpix"]) or None, validPolygon=row["validPolygon"],
        )
        for row in ccds
        if row["psf"] is not None and row["weight"] > 0
    ]  # fmt: skip
    if not parts or "averagePosition" in keywords:
        return CoaddPsf(parts, coaddWcs, warpingKernelName, **keywords)
    try:
        return CoaddPsf(parts, coaddWcs, warpingKernelName, **keywords)
    except InvalidPsfError:
        main = max(parts, key=lambda part: part.weight * (part.goodPixels or 1.0))
        x, y = Box2D(main.bbox).center if main.validPolygon is None else main.validPolygon.center
        if coaddWcs is not None and main.wcs is not None and main.wcs != coaddWcs:
            x, y = (float(v) for v in coaddWcs.skyToPixel(*main.wcs.pixelToSky(x, y)))
        return CoaddPsf(parts, coaddWcs, warpingKernelName, averagePosition=(x, y), **keywords)
