"""A small night in a repository, for the tests of pipelines and engines."""

from stillsky.butler.instruments import InstrumentDefinition
from stillsky.butler.repository import ingestExposures, openRepository, registerSkyMap, registerSubfilters
from stillsky.butler.sky_maps import skyMapAround
from stillsky.sim import simulateNight

BAND = [402.8, 549.8]
WHERE = "instrument='SimCam' AND skymap='sky'"
SCIENCE = {"instrument": "SimCam", "visit": 1000, "detector": 0}
PATCH = {"skymap": "sky", "tract": 0, "patch": 0, "band": "g"}


def fillRepository(folder, *, size, numVisits, levels, sensor, patch):
    """Write a night to a folder and ingest it into the empty repository ``folder/repo``; the `Night`."""
    night = simulateNight(size, numVisits, levels, sensor=sensor)
    flats, visits = night.write(folder)
    with openRepository(folder / "repo", writeable=True) as butler:
        camera = InstrumentDefinition("SimCam")
        assert not ingestExposures(butler, flats, camera, datasetType="flat", dimension="exposure").failed
        assert not ingestExposures(butler, visits, camera).failed
        registerSkyMap(butler, "sky", skyMapAround(visits, patch=patch, border=20))
        registerSubfilters(butler, "g", 3)
    return night
