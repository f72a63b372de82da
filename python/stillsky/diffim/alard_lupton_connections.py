"""What the current subtraction tasks read and write."""

import lsst.pipe.base as pipeBase
import lsst.pipe.base.connectionTypes as cT

__all__ = [
    "AlardLuptonPreconvolveSubtractConnections",
    "AlardLuptonSubtractConnections",
    "SimplifiedSubtractConnections",
]

_DIMENSIONS = ("instrument", "visit", "detector")
_TEMPLATES = {"coaddName": "deep", "fakesType": ""}


def _input(name, doc, storageClass="StillskyExposure", dimensions=_DIMENSIONS, **kwargs):
    return cT.Input(name=name, doc=doc, storageClass=storageClass, dimensions=dimensions, **kwargs)


def _output(name, doc, storageClass="StillskyExposure"):
    return cT.Output(name=name, doc=doc, storageClass=storageClass, dimensions=_DIMENSIONS)


class _SubtractInputConnections(pipeBase.PipelineTaskConnections, dimensions=_DIMENSIONS, defaultTemplates=_TEMPLATES):
    """What all of them read."""

    template = _input("{fakesType}{coaddName}Diff_templateExp", "Template on the grid of the science image.")
    science = _input("{fakesType}calexp", "Science image.")
    sources = _input("{fakesType}src", "Sources of the science image, from which kernel stars are chosen.",
                     "StillskyTable")  # fmt: skip
    visitSummary = _input(
        "finalVisitSummary", "PSFs and aperture corrections of all detectors of the visit, by detector id.",
        "StillskyTable", ("instrument", "visit"),
    )  # fmt: skip

    def __init__(self, *, config=None):
        super().__init__(config=config)
        if config is not None and not config.doApplyExternalCalibrations:
            self._leaveOut("inputs", "visitSummary")

    def _leaveOut(self, kind, name):
        getattr(self, kind).discard(name)
        delattr(self, name)


class AlardLuptonSubtractConnections(_SubtractInputConnections):
    """Template and science image in, difference out."""

    difference = _output("{fakesType}{coaddName}Diff_differenceTempExp", "Science minus template.")
    matchedTemplate = _output("{fakesType}{coaddName}Diff_matchedExp", "Template as it was subtracted.")
    psfMatchingKernel = _output("{fakesType}{coaddName}Diff_psfMatchKernel", "Matching kernel.", "StillskyKernel")
    kernelSources = _output("{fakesType}{coaddName}Diff_psfMatchSources", "Stars of the kernel fit.", "StillskyTable")


class AlardLuptonPreconvolveSubtractConnections(_SubtractInputConnections):
    """Template and science image in, likelihood image out."""

    scoreExposure = _output("{fakesType}{coaddName}Diff_scoreTempExp", "Likelihood image.")
    scoreSignificance = _output(
        "{fakesType}{coaddName}Diff_scoreSignificance", "Likelihood image over its noise.", "StillskyImage"
    )
    psfMatchingKernel = _output(
        "{fakesType}{coaddName}Diff_psfScoreMatchKernel", "Kernel that matches the template to the filtered image.",
        "StillskyKernel",
    )  # fmt: skip
    kernelSources = _output(
        "{fakesType}{coaddName}Diff_psfScoreMatchSources", "Stars of the kernel fit.", "StillskyTable"
    )

    def __init__(self, *, config=None):
        super().__init__(config=config)
        if config is not None and not config.doWriteScoreSignificance:
            self._leaveOut("outputs", "scoreSignificance")


class SimplifiedSubtractConnections(AlardLuptonSubtractConnections):
    """As `AlardLuptonSubtractConnections`, without sources; the kernel may be one that exists."""

    inputPsfMatchingKernel = _input(
        "{fakesType}{coaddName}Diff_psfMatchKernel", "Kernel of an earlier subtraction.", "StillskyKernel"
    )

    def __init__(self, *, config=None):
        super().__init__(config=config)
        self._leaveOut("inputs", "sources")
        if config is None:
            return
        if config.useExistingKernel:
            # the kernel that is read must not be written again under the same name
            self._leaveOut("outputs", "psfMatchingKernel")
            self._leaveOut("outputs", "kernelSources")
        else:
            self._leaveOut("inputs", "inputPsfMatchingKernel")
