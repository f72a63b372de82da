"""GetDcrTemplateTask: the template of a science image from coadds in subfilters, at its airmass and parallactic angle."""

from collections import defaultdict

import lsst.pipe.base as pipeBase
from lsst.pex.config import ChoiceField, Field, FieldValidationError, ListField, RangeField

from ..diffim.template_connections import QUANTUM, GetTemplateConnections, patchesInput, scienceInput
from ..diffim.template_task import GetTemplateConfig, GetTemplateTask
from ..errors import MismatchError
from .model import DcrModel

__all__ = ["GetDcrTemplateConfig", "GetDcrTemplateConnections", "GetDcrTemplateTask", "MatchedPatch"]


class GetDcrTemplateConnections(
    GetTemplateConnections,
    dimensions=QUANTUM,
    defaultTemplates={"coaddName": "dcr", "warpTypeSuffix": "", "fakesType": ""},
):
    """As of GetTemplateTask, with the coadds of subfilters and the visit of the science image."""

    visitInfo = scienceInput("visitInfo", "When and where the science image was taken.", "StillskyVisitInfo")
    dcrCoadds = patchesInput(
        "{fakesType}dcrCoadd{warpTypeSuffix}",
        "Coadds of all subfilters of the patches that may overlap the science image.",
        "subfilter",
    )

    def __init__(self, *, config=None):
        super().__init__(config=config)
        self.inputs.discard("coaddExposures")
        del self.coaddExposures


class GetDcrTemplateConfig(GetTemplateConfig, pipelineConnections=GetDcrTemplateConnections):
    """Configuration of `GetDcrTemplateTask`; effectiveWavelength and bandwidth, or bandLimits, must be those of the coadds."""

    numSubfilters = RangeField(dtype=int, doc="Subfilters of the coadds.", default=3, min=1)
    effectiveWavelength = Field(dtype=float, optional=True, doc="Effective wavelength of the band, nm.", default=None)
    bandwidth = Field(dtype=float, optional=True, doc="Width of the band, nm.", default=None)
    bandLimits = ListField(
        dtype=float, optional=True, default=None, length=2, doc="Limits of the band, nm, in place of bandwidth."
    )
    imageInterpOrder = ChoiceField(
        dtype=int, optional=False, doc="Order of the splines that shift subfilters.", default=1,
        allowed={1: "bilinear", 3: "cubic B-spline"},
    )  # fmt: skip
    compat = Field(dtype=bool, doc="Refraction as in the Rubin pipelines.", default=False)

    def validate(self):
        super().validate()
        for name, value in zip(("effectiveWavelength", "bandwidth"), self.band):
            if value is None:
                raise FieldValidationError(type(self)._fields[name], self, "wanted nm, given None")

    @property
    def band(self):
        """(effective wavelength, bandwidth, limits or None), nm."""
        if not self.bandLimits:
            return self.effectiveWavelength, self.bandwidth, None
        low, high = self.bandLimits
        middle = (low + high) / 2 if self.effectiveWavelength is None else self.effectiveWavelength
        return middle, high - low, (low, high)


class MatchedPatch:
    """The coadd of a patch as a visit sees it, made when its pixels are asked for.

    Parameters
    ----------
    handles : sequence
        Of all subfilters of the patch.
    visitInfo : `stillsky.meta.VisitInfo`
    config : `GetDcrTemplateConfig`
    """

    def __init__(self, handles, visitInfo, config):
        self._handles, self._visitInfo, self._config = handles, visitInfo, config
        first = handles[0].dataId
        self.dataId = {"tract": first["tract"], "patch": first["patch"]}

    def get(self, component=None, parameters=None):
        """The matched exposure, or WCS and box without any pixels where the handles can do that."""
        if component in ("wcs", "bbox"):
            return self._handles[0].get(component=component)
        effective, width, limits = self._config.band
        model = DcrModel.fromQuantum(
            self._handles, effective, width, self._config.numSubfilters, bandLimits=limits,
            model="reference" if self._config.compat else "default",
        )  # fmt: skip
        exposure = model.buildMatchedExposure(visitInfo=self._visitInfo, order=self._config.imageInterpOrder)
        return exposure if component is None else getattr(exposure, component)


class GetDcrTemplateTask(GetTemplateTask):
    """Make the template of a science image from coadds in subfilters, each shifted as the air shifts its light."""

    ConfigClass = GetDcrTemplateConfig
    _DefaultName = "getDcrTemplate"

    def _patches(self, inputs):
        """The patches that overlap, as the visit sees them."""
        found = self.getExposures(inputs["dcrCoadds"], inputs["bbox"], inputs["skyMap"], inputs["wcs"])
        return self.matchPatches(found.coaddExposures, inputs["visitInfo"])

    def matchPatches(self, coaddExposureHandles, visitInfo):
        """One handle for each patch, from those of its subfilters.

        Parameters
        ----------
        coaddExposureHandles : `dict` [`int`, `list`]
            Handles by tract, with ``dataId["patch"]`` and ``dataId["subfilter"]``.
        visitInfo : `stillsky.meta.VisitInfo`
            Of the science image.

        Returns
        -------
        struct : `lsst.pipe.base.Struct`
            ``coaddExposures`` and ``dataIds``: lists by tract, as `run` takes them.

        Raises
        ------
        RuntimeError
            A patch without exactly one coadd for each subfilter (`stillsky.MismatchError`).
        """
        if visitInfo is None:
            raise MismatchError("The science image has no visitInfo: no template can be matched to its airmass")
        wanted = list(range(self.config.numSubfilters))
        exposures, dataIds = defaultdict(list), defaultdict(list)
        for tract, handles in coaddExposureHandles.items():
            byPatch = defaultdict(list)
            for handle in handles:
                byPatch[handle.dataId["patch"]].append(handle)
            for patch, ofPatch in byPatch.items():
                numbers = sorted(int(handle.dataId["subfilter"]) for handle in ofPatch)
                if numbers != wanted:
                    raise MismatchError(
                        f"tract {tract}, patch {patch}: wanted one coadd for each of {len(wanted)} subfilters",
                        found=f"subfilters {numbers}",
                        remedy="set numSubfilters to the number the coadds were made with",
                    )
                ofPatch.sort(key=lambda handle: int(handle.dataId["subfilter"]))
                exposures[tract].append(MatchedPatch(ofPatch, visitInfo, self.config))
                dataIds[tract].append(exposures[tract][-1].dataId)
        return pipeBase.Struct(coaddExposures=dict(exposures), dataIds=dict(dataIds))
