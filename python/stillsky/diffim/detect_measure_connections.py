"""What the detection tasks read and write."""

import lsst.pipe.base as pipeBase
import lsst.pipe.base.connectionTypes as cT

__all__ = ["DetectAndMeasureConnections", "DetectAndMeasureScoreConnections"]

_DIMENSIONS = ("instrument", "visit", "detector")
_TEMPLATES = {"coaddName": "deep", "warpTypeSuffix": "", "fakesType": ""}


def _input(name, doc, storageClass="StillskyExposure"):
    return cT.Input(name=name, doc=doc, storageClass=storageClass, dimensions=_DIMENSIONS)


def _output(name, doc, storageClass="StillskyExposure"):
    return cT.Output(name=name, doc=doc, storageClass=storageClass, dimensions=_DIMENSIONS)


class DetectAndMeasureConnections(
    pipeBase.PipelineTaskConnections, dimensions=_DIMENSIONS, defaultTemplates=_TEMPLATES
):
    """A difference image with what it was made from in, its sources out."""

    science = _input("{fakesType}calexp", "Science image.")
    matchedTemplate = _input("{fakesType}{coaddName}Diff_matchedExp", "Template as it was subtracted.")
    difference = _input("{fakesType}{coaddName}Diff_differenceTempExp", "Science minus template.")
    kernelSources = _input(
        "{fakesType}{coaddName}Diff_psfMatchSources", "Stars of the kernel fit: their residuals.", "StillskyTable"
    )
    outputSchema = cT.InitOutput(
        name="{fakesType}{coaddName}Diff_diaSrc_schema", doc="Columns of the sources.", storageClass="StillskyTable"
    )
    diaSources = _output("{fakesType}{coaddName}Diff_diaSrc", "Sources of the difference.", "StillskyTable")
    subtractedMeasuredExposure = _output(
        "{fakesType}{coaddName}Diff_differenceExp", "Difference with the masks of the detection."
    )
    differenceBackground = _output("difference_background", "What was subtracted.", "StillskyImage")
    glintTrailInfo = _output("trailed_glints", "Lines of sources in a row.", "StillskyTable")

    def __init__(self, *, config=None):
        super().__init__(config=config)
        if config is None:
            return
        if not config.doCalculateResidualMetics:
            self._leaveOut("inputs", "kernelSources")
        if not (config.doSubtractBackground and config.doWriteBackground):
            self._leaveOut("outputs", "differenceBackground")
        if not config.writeGlintInfo:
            self._leaveOut("outputs", "glintTrailInfo")

    def _leaveOut(self, kind, name):
        getattr(self, kind).discard(name)
        delattr(self, name)


class DetectAndMeasureScoreConnections(DetectAndMeasureConnections):
    """As `DetectAndMeasureConnections`, with the score image that is searched."""

    scoreExposure = _input("{fakesType}{coaddName}Diff_scoreTempExp", "Likelihood image.")
    scoreMeasuredExposure = _output(
        "{fakesType}{coaddName}Diff_scoreExp", "Likelihood image with the masks of the detection."
    )
