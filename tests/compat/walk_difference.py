"""Calls of the methods of ImageDifferenceTask, with what each does."""

import numpy as np
import pytest
from astropy.table import Table
from image_difference_scenes import CHANGES, found, stars
from lsst.pipe.base import NoWorkFound

from stillsky import ApCorrMap, ImageDifferenceTask
from stillsky.compat.store import DataRef, RunStore


def checkTemplateIsSufficient(world):
    template = world.template.copy()
    assert world.differenceTask.checkTemplateIsSufficient(template) == 1
    template.mask.array[...] = template.mask.bitmask("NO_DATA")
    with pytest.raises(NoWorkFound, match="requiredTemplateFraction"):
        world.differenceTask.checkTemplateIsSufficient(template)


def _catalogue(wcs):
    ra, dec = wcs.pixelToSky(*stars()[:, :2].T)
    return Table({"id": np.arange(len(ra)), "coord_ra": ra, "coord_dec": dec, "base_PsfFlux_instFlux": stars()[:, 2],
                  "base_SdssCentroid_x": stars()[:, 0], "base_SdssCentroid_y": stars()[:, 1]})  # fmt: skip


def fitAstrometry(world):
    config = ImageDifferenceTask.ConfigClass()
    config.doUseRegister = config.doSelectSources = True
    shifted = world.template.copy()
    shifted.wcs = world.template.wcs.shifted((1.4, -0.9))
    ours = _catalogue(world.science.wcs)
    made = ImageDifferenceTask(config=config).fitAstrometry(_catalogue(shifted.wcs), shifted, ours)
    x, y = made.wcs.skyToPixel(*(np.asarray(ours[name]) for name in ("coord_ra", "coord_dec")))
    assert len(made.matches) > 30 and np.hypot(x - stars()[:, 0], y - stars()[:, 1]).max() < 0.1


def makeIdFactory(world):
    factory = ImageDifferenceTask.makeIdFactory(5, 30)
    assert factory() == (5 << 33) + 1 and factory() == (5 << 33) + 2


def prepareCalibratedExposure(world):
    exposure, psf, corrections = world.science.copy(), world.template.psf, ApCorrMap()
    assert world.differenceTask.prepareCalibratedExposure(exposure) is exposure
    records = np.array([[None, None], [psf, corrections]], object)
    rows = Table({"id": [6, 7], "psf": records[:, 0], "apCorrMap": records[:, 1]})
    exposure.info.detector = type("Detector", (), {"id": 7})()
    world.differenceTask.prepareCalibratedExposure(exposure, finalizedPsfApCorrCatalog=rows)
    assert exposure.psf is psf and exposure.info.apCorrMap is corrections


def run(world):
    made = world.difference
    assert sorted(found(made.diaSources)) == [0, 1, 2] and made.subtractedExposure.bbox == world.science.bbox
    assert made.matchedExposure is not None and made.subtractRes.psfMatchingKernel is not None
    x, y, flux = CHANGES[0]
    row = made.diaSources[list(found(made.diaSources)).index(0)]
    assert row["base_PsfFlux_instFlux"] == pytest.approx(flux, abs=4 * row["base_PsfFlux_instFluxErr"])


def runDebug(world):
    task, made = world.differenceTask, world.difference
    given = (world.science, made.subtractRes, made.selectSources, None, made.diaSources)
    assert task.runDebug(*given) == {}
    task.debug.update(display=True, showSubtracted=True)
    figures = task.runDebug(*given, difference=made.subtractedExposure)
    task.debug.clear()
    assert figures and all(figure.axes for figure in figures.values())


def runDataRef(world):
    reference = DataRef(RunStore(world.butler, "u/visit", ["MyCam/defaults", "warps"]), _dataId(world, 1))
    made = world.differenceTask.runDataRef(reference, templateIdList=[{"visit": 2}])
    stored = reference.get("deepDiff_diaSrc")
    assert len(stored) == len(made.diaSources) == 3
    assert reference.get("deepDiff_differenceExp").maskedImage == made.subtractedExposure.maskedImage
    world.differenceTask.writeMetadata(reference)  # with those of the task that chose the template
    assert "imageDifference:getCalexpAsTemplate" in reference.get("deepDiff_metadata")


def runQuantum(world):
    """The quantum of the visit, through a QuantumContext: the template is made of the coadd of tract 0."""
    reference = DataRef(RunStore(world.butler, "u/coadd", ["MyCam/defaults", "warps"]), _dataId(world, 1))
    world.differenceTask.runDataRef(reference)
    assert sorted(found(reference.get("deepDiff_diaSrc"))) == [0, 1, 2]


def _dataId(world, visit):
    return world.butler.registry.expandDataId(instrument="MyCam", visit=visit, detector=0, skymap="plane")


DIFFERENCE = {name: thing for name, thing in list(vars().items())
              if getattr(thing, "__module__", None) == __name__ and not name.startswith("_")}  # fmt: skip
