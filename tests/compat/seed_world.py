"""One repository for the walk over the documentation pages: visits to subtract, warps of a DCR scene, flats; and tasks."""

import functools
import sys
from pathlib import Path

sys.path.extend(str(Path(__file__).parents[1] / room) for room in ("dcr", "diffim", "ptc"))

import astropy.units as u
import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time
from dcr_scene import BAND, SIZE, makeExposures, makeScene, sceneWcs
from image_difference_scenes import pair
from lsst.daf.butler import DatasetType
from lsst.pex.config import Config, ConfigurableField, Field
from lsst.pipe.base import Task

import stillsky
from stillsky import DcrAssembleCoaddTask, ImageDifferenceTask, PhotonTransferCurveExtractTask, SkyMap, TractInfo
from stillsky.butler.instruments import InstrumentDefinition
from stillsky.butler.repository import ingestExposures, registerSkyMap, registerSubfilters
from stillsky.compat.store import DataRef, RunStore
from stillsky.fits import writeExposure
from stillsky.geom import Box2I
from stillsky.meta import FilterLabel, VisitInfo
from stillsky.psfmatch.make_kernel import MakeKernelConfig, MakeKernelTask
from stillsky.task_base import SchemaVerbs

PATCH = {"skymap": "plane", "tract": 4, "patch": 0, "band": "g"}
SCENE_BOX = Box2I((0, 0), (SIZE, SIZE))
GAIN = 1.6
DATE = Time("2026-01-02T03:04:05")


class World:
    """The repository at ``path`` and what is in it.

    Attributes
    ----------
    butler : `lsst.daf.butler.Butler`
    science, template : `stillsky.Exposure`
        Visits 1 and 2 of MyCam; the template is the deepCoadd of tract 0, too.
    warps, coadd : `list` of `stillsky.Exposure`, `stillsky.Exposure`
        Visits 100 to 107 of Cam on tract 4, and their coadd.
    """

    def __init__(self, butler, path):
        self.butler, self.path = butler, path
        self.science, self.template = pair()
        self.scene = makeScene()
        self.warps, self.coadd = makeExposures(self.scene)
        self._visits()
        self._sky()
        self._warps()
        self._flats()

    # ------------------------------------------------------------------ what is in the repository
    def _visits(self):
        paths = []
        for visit, image in enumerate((self.science, self.template), 1):
            image.info.visitInfo = VisitInfo(id=visit, exposureTime=30.0, date=DATE + visit * u.min)
            image.filter = FilterLabel("r", "r.01")
            paths.append(str(self.path.parent / f"v{visit}.fits"))
            writeExposure(image, paths[-1])
        report = ingestExposures(self.butler, paths, InstrumentDefinition("MyCam", {0: "a"}, {"r.01": "r"}))
        assert not report.failed

    def _sky(self):
        image = self.template
        tracts = [
            TractInfo(0, image.wcs, image.bbox, (image.bbox.width, image.bbox.height), 0),
            TractInfo(4, sceneWcs(), SCENE_BOX, (SIZE, SIZE), 0),
        ]
        self.skyMap = SkyMap(tracts)
        registerSkyMap(self.butler, "plane", self.skyMap)

    def _warps(self):
        registry, patch = self.butler.registry, ("skymap", "tract", "patch")
        registry.insertDimensionData("instrument", {"name": "Cam", "class_name": "stillsky.butler.instruments.Cam"})
        registry.insertDimensionData("physical_filter", {"instrument": "Cam", "name": "g-sim", "band": "g"})
        registry.insertDimensionData("day_obs", {"instrument": "Cam", "id": 20260102})
        registerSubfilters(self.butler, "g", 3)
        warpKind = self._kind("deepCoadd_directWarp", (*patch, "instrument", "visit"))
        coaddKind = self._kind("deepCoadd", (*patch, "band"))
        self.butler.collections.register("warps")
        self.butler.put(self.coadd, coaddKind, PATCH, run="warps")
        self.butler.put(self.template, coaddKind, {**PATCH, "tract": 0, "band": "r"}, run="warps")
        for warp in self.warps:
            visit = warp.visitInfo.id
            record = {"id": visit, "name": str(visit), "physical_filter": "g-sim", "day_obs": 20260102}
            registry.insertDimensionData("visit", {"instrument": "Cam", **record})
            where = {"skymap": "plane", "tract": 4, "patch": 0, "instrument": "Cam", "visit": visit}
            self.butler.put(warp, warpKind, where, run="warps")

    def _kind(self, name, dimensions):
        kind = DatasetType(name, dimensions, "StillskyExposure", universe=self.butler.dimensions)
        self.butler.registry.registerDatasetType(kind)
        return kind

    def _flats(self):
        rng, paths = np.random.default_rng(5), []
        for level in (4000.0, 20000.0):
            for _ in range(2):
                number = len(paths) + 1
                electrons = rng.poisson(level, (80, 90)) + rng.normal(0, 5.0, (80, 90))
                cards = {"DATE-OBS": f"2026-01-02T03:{number:02d}:00", "EXPTIME": level / 1e4, "EXPNUM": number}
                cards |= {"OBSTYPE": "flat", "FILTER": "r", "CCDNUM": 3, "GAIN": 1.0}
                paths.append(str(self.path.parent / f"flat{number}.fits"))
                fits.writeto(paths[-1], (electrons / GAIN).astype(np.float32), fits.Header(cards))
        report = ingestExposures(
            self.butler, paths, InstrumentDefinition("Lab"), datasetType="flat", dimension="exposure"
        )
        assert not report.failed

    # ------------------------------------------------------------------ references and tasks
    def get(self, name, dataId, collections):
        """A dataset, also of a run that another process or Butler wrote."""
        self.butler.registry.refresh()
        return self.butler.get(name, dataId, collections=collections)

    def patchRef(self, run, **more):
        """Data reference of the DCR patch."""
        return DataRef(RunStore(self.butler, run, ["warps", "skymaps"]), {**PATCH, **more})

    def warpHandles(self):
        """Deferred handles of the eight warps."""
        return self.dcrTask.getTempExpRefList(self.patchRef("handles"), self.warps)

    @functools.cached_property
    def dcrTask(self):
        return DcrAssembleCoaddTask(config=dcrConfig())

    @functools.cached_property
    def differenceTask(self):
        return ImageDifferenceTask()

    @functools.cached_property
    def difference(self):
        """What ``run`` makes of the two visits."""
        return self.differenceTask.run(self.science.copy(), templateExposure=self.template.copy())

    @functools.cached_property
    def dcr(self):
        """What ``run`` makes of the eight warps."""
        task, handles = self.dcrTask, self.warpHandles()
        prepared = task.prepareInputs(handles)
        supplementary = task.makeSupplementaryDataGen3({"inputWarps": handles, "templateExposure": self.coadd})
        return task.run(
            task.getSkyInfo(self.patchRef("sky")), prepared.warpRefList, prepared.imageScalerList, prepared.weightList,
            supplementary,
        )  # fmt: skip


def dcrConfig():
    """Configuration of the DCR scene."""
    config = DcrAssembleCoaddTask.ConfigClass()
    config.effectiveWavelength, config.bandwidth = BAND
    config.doInterp = False
    return config


def extractConfig():
    """Configuration of the flats."""
    config = PhotonTransferCurveExtractTask.ConfigClass()
    config.connections.inputExp = "flat"
    config.maximumRangeCovariancesAstier, config.minNumberGoodPixelsForCovariance = 2, 1000
    return config


# ---------------------------------------------------------------------- a subtask for every class
class ChildConfig(Config):
    """Configuration of `ChildTask`."""

    depth = Field(dtype=int, doc="Something to set.", default=1)


class ChildTask(SchemaVerbs, Task):
    """A subtask that writes a catalog."""

    ConfigClass = ChildConfig
    _DefaultName = "child"

    def getSchemaCatalogs(self):
        return {"childSrc": Table({"id": np.zeros(0, np.int64), "flux": np.zeros(0)})}


_READY = {
    "DcrAssembleCoaddTask": (DcrAssembleCoaddTask, dcrConfig),
    "PhotonTransferCurveExtractTask": (PhotonTransferCurveExtractTask, extractConfig),
    "PsfMatchTask": (MakeKernelTask, MakeKernelConfig),  # the class of the page is abstract
}


@functools.cache
def _parentOf(name):
    """A class derived from that of a page, whose configuration has a subtask ``child``."""
    base = _READY[name][0] if name in _READY else getattr(stillsky, name)
    more = {"child": ConfigurableField(target=ChildTask, doc="A subtask."), "__doc__": "With a subtask."}
    kind = type(base.ConfigClass)
    connections = getattr(base.ConfigClass, "ConnectionsClass", None)
    keywords = {} if connections is None else {"pipelineConnections": connections}
    config = kind(f"Parent{name}Config", (base.ConfigClass,), {**more, "__module__": __name__}, **keywords)
    globals()[config.__name__] = config  # a stored configuration is found again by its name
    return type(f"Parent{name}", (base,), {"ConfigClass": config, "__module__": __name__})


def parentTask(name):
    """A new task of a page's class, with its subtask ``child``."""
    cls = _parentOf(name)
    config = cls.ConfigClass()
    if name in _READY:
        ready = _READY[name][1]()
        for field in ready.toDict():
            if name == "DcrAssembleCoaddTask" and field in ("effectiveWavelength", "bandwidth", "doInterp"):
                setattr(config, field, getattr(ready, field))
    task = cls(config=config)
    task.makeSubtask("child")
    return task
