"""MakeKernelTask: select kernel sources and fit the matching kernel of two registered exposures."""

import math

import lsst.pipe.base as pipeBase
import numpy as np
from astropy.table import Row, Table

from ..task_base import assignMetadata
from . import SpatialCellSet
from .basis import chooseAlardLuptonBasis, makeKernelBasisList
from .candidates import KernelCandidateF
from .candidates_selection import asSources, requireStamps, sourceFlux, sourcePosition, stampsOnBothImages
from .config import MakeKernelConfig
from .psf_fwhm import psfWidths
from .source_selection import backgroundModel, selectSources
from .task import PsfMatchTask

__all__ = ["MakeKernelConfig", "MakeKernelTask"]


class MakeKernelTask(PsfMatchTask):
    """Fit the kernel that takes one exposure to the PSF of another, on one pixel grid."""

    ConfigClass = MakeKernelConfig
    _DefaultName = "makeALKernel"
    _debugName = "lsst.ip.diffim.makeKernel"

    def run(self, template, science, kernelSources, preconvolved=False, templateFwhmPix=None, scienceFwhmPix=None):
        """Fit the kernel.

        Parameters
        ----------
        template : `stillsky.image.Exposure`
            Is convolved.
        science : `stillsky.image.Exposure`
            Is matched to.
        kernelSources : `astropy.table.Table` or sequence of source records
            As returned by `selectKernelSources`.
        preconvolved : `bool`
            The science exposure was filtered with its own PSF, which it still carries.
        templateFwhmPix, scienceFwhmPix : `float`, optional
            FWHM in pixels; if either is missing both are computed from the PSFs.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            psfMatchingKernel, backgroundModel (on the science scale; with ``useAfwBackground`` what remains of it after
            each exposure's own background is gone), kernelCellSet, candidates (what became of each).

        Raises
        ------
        NoKernelCandidatesError
            No candidate survives.
        """
        widths = self._checkPsfWidths(template, science, preconvolved, templateFwhmPix, scienceFwhmPix)
        basisList = self.makeKernelBasisList(*widths, metadata=self.metadata)
        stamps = stampsOnBothImages(asSources(kernelSources), template, science, basisList[0].width, ())
        requireStamps(stamps, kernelSources)
        kernelCellSet = self._buildCellSet(withoutBackground(self, template), withoutBackground(self, science), stamps)
        _, kernel, background = self._solve(kernelCellSet, basisList)
        return pipeBase.Struct(
            psfMatchingKernel=kernel,
            backgroundModel=background,
            kernelCellSet=kernelCellSet,
            candidates=self.fit.candidates,
        )

    def selectKernelSources(
        self, template, science, candidateList=None, preconvolved=False, templateFwhmPix=None, scienceFwhmPix=None
    ):
        """Sources that both exposures show undamaged.

        Parameters
        ----------
        template, science, preconvolved, templateFwhmPix, scienceFwhmPix
            As for `run`.
        candidateList : `astropy.table.Table` or sequence of source records, optional
            Default: what is detected on the science exposure.

        Returns
        -------
        kernelSources : `astropy.table.Table`
            The records that passed, with the columns ``stampMinX``, ``stampMinY``, ``stampSize`` (pixels).
        """
        widths = self._checkPsfWidths(template, science, preconvolved, templateFwhmPix, scienceFwhmPix)
        kernelSize = self.makeKernelBasisList(*widths)[0].width
        return self.makeCandidateList(template, science, kernelSize, candidateList, preconvolved=preconvolved)

    def getSelectSources(self, exposure, sigma=None, doSmooth=True, idFactory=None):
        """Sources detected on an exposure, which stays as it is; see `stillsky.psfmatch.source_selection`."""
        return selectSources(
            exposure,
            self.config.selectDetection,
            self.kConfig.afwBackgroundConfig,
            sigma,
            doSmooth,
            idFactory,
            self.log,
            list(self.config.selectMeasurement.plugins),
        )

    def makeCandidateList(self, convolved, reference, kernelSize, candidateList=None, preconvolved=False, sigma=None):
        """Sources whose square of side ``2 kernelSize + 1`` lies in both exposures without a bad plane in either.

        Parameters
        ----------
        convolved, reference : `stillsky.image.Exposure`
        kernelSize : `int`
            Pixels.
        candidateList : optional
            See `selectKernelSources`; detected on ``reference`` by default.
        preconvolved : `bool`
            Do not smooth before detecting.
        sigma : `float`, optional
            PSF width in pixels for the detection.

        Returns
        -------
        sources : `astropy.table.Table`
            See `selectKernelSources`.

        Raises
        ------
        NoDataError
            Nothing is left.
        """
        if candidateList is None:
            candidateList = self.getSelectSources(reference, sigma=sigma, doSmooth=not preconvolved)
        sources = asSources(candidateList)
        stamps = stampsOnBothImages(sources, convolved, reference, kernelSize, self.config.badMaskPlanes)
        self.log.info("%d of %d sources are fit to be kernel candidates", len(stamps), len(sources))
        requireStamps(stamps, sources)
        table = _sourceTable([stamp.source for stamp in stamps])
        table["stampMinX"] = Table.Column(
            [s.box.minX for s in stamps], description="candidate box, first x", unit="pix"
        )
        table["stampMinY"] = Table.Column(
            [s.box.minY for s in stamps], description="candidate box, first y", unit="pix"
        )
        table["stampSize"] = Table.Column([s.box.width for s in stamps], description="candidate box, side", unit="pix")
        return table

    def makeKernelBasisList(
        self, targetFwhmPix=None, referenceFwhmPix=None, basisDegGauss=None, basisSigmaGauss=None, metadata=None
    ):
        """Basis functions of the active configuration; logs which rule applies and writes the metadata.

        Parameters
        ----------
        targetFwhmPix, referenceFwhmPix : `float`, optional
            FWHM in pixels of the image that is convolved and of the image that is matched to.
        basisDegGauss, basisSigmaGauss : `list`, optional
            In place of those of the configuration.
        metadata : mapping, optional

        Returns
        -------
        basisList : `list` [`stillsky.kernel.Kernel`]
        """
        return logAndMakeBasisList(self, targetFwhmPix, referenceFwhmPix, basisDegGauss, basisSigmaGauss, metadata)

    def _checkPsfWidths(self, template, science, preconvolved, templateFwhmPix, scienceFwhmPix):
        """Both widths in pixels; if either is missing, both from the PSFs."""
        if templateFwhmPix is not None and scienceFwhmPix is not None:
            return templateFwhmPix, scienceFwhmPix
        own = psfWidths(template, science, self.config.fwhmExposureBuffer, self.config.fwhmExposureGrid)
        # A width that was given is kept: only the missing one is computed.
        given = (templateFwhmPix, scienceFwhmPix)
        scale = math.sqrt(2.0) if preconvolved else 1.0
        templateWidth = own[0] if given[0] is None or self.kConfig.compat else given[0]
        scienceWidth = own[1] * scale if given[1] is None or self.kConfig.compat else given[1]
        return templateWidth, scienceWidth

    def _adaptCellSize(self, candidateList):
        """Cell size (x, y) in pixels: the configured one."""
        return self.kConfig.sizeCellX, self.kConfig.sizeCellY

    def _buildCellSet(self, convolved, reference, candidateList):
        """Cells over the common box, with one candidate per stamp, rated by its flux (or, without, by its core)."""
        region = convolved.bbox.clipped(reference.bbox)
        sizeX, sizeY = self._adaptCellSize(candidateList)
        cellSet = SpatialCellSet(region, sizeX, sizeY)
        settings = self._settings(reference.mask)
        for stamp in candidateList:
            cellSet.insertCandidate(makeStampCandidate(stamp, convolved, reference, settings))
        return cellSet


def makeStampCandidate(stamp, convolved, reference, settings):
    """A kernel candidate from a `CandidateStamp`; a missing flux leaves the rating to the science stamp's core."""
    pixels = [getattr(exposure, "maskedImage", exposure)[stamp.box] for exposure in (convolved, reference)]
    rating = stamp.rating if stamp.rating is not None and math.isfinite(stamp.rating) else None
    candidate = KernelCandidateF(stamp.x, stamp.y, *pixels, settings, rating)
    if stamp.source is not None:
        candidate.source = stamp.source
    return candidate


def withoutBackground(task, image):
    """A copy of an exposure or masked image without its background if ``useAfwBackground`` asks for it, else itself."""
    if not task.kConfig.useAfwBackground:
        return image
    result = image.copy()
    result.image.array[...] -= backgroundModel(image, task.kConfig.afwBackgroundConfig, task.log)
    return result


def logAndMakeBasisList(
    task, targetFwhmPix=None, referenceFwhmPix=None, basisDegGauss=None, basisSigmaGauss=None, metadata=None
):
    """Basis functions of a task's active configuration, with a line on how they were chosen."""
    config = task.kConfig
    arguments = (targetFwhmPix, referenceFwhmPix, basisDegGauss, basisSigmaGauss)
    if config.kernelBasisSet == "alard-lupton":
        choice = chooseAlardLuptonBasis(config, *arguments)
        task.log.info(
            "Kernel basis, mode %s: sigmas %s pixels, degrees %s, size %d pixels",
            choice["ALBasisMode"],
            ", ".join(f"{sigma:.3f}" for sigma in choice.sigmas),
            choice["ALBasisDegGauss"],
            choice.kernelSize,
        )
    store = None if metadata is None else {}
    basisList = makeKernelBasisList(config, *arguments, metadata=store)
    if store:
        assignMetadata(metadata, store)
    return basisList


def _sourceTable(sources):
    """One table of source records; rows of one table keep all its columns."""
    if all(isinstance(s, Row) for s in sources) and len({id(s.table) for s in sources}) == 1:
        return sources[0].table[[s.index for s in sources]]
    if all(isinstance(s, dict) for s in sources):
        return Table(rows=sources)
    positions = np.array([sourcePosition(s) for s in sources])
    return Table({"x": positions[:, 0], "y": positions[:, 1], "psfFlux": [sourceFlux(s) for s in sources]})
