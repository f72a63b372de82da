"""Dimension records of exposures: what a quantum graph must know of when, through which filter, and where on the sky."""

import numpy as np

from ..errors import DomainError
from .instruments import registered

__all__ = ["registerExposure"]


def registerExposure(registry, definition, observations):
    """Insert the records of one exposure, and of the visit that is it alone, in one transaction.

    Parameters
    ----------
    registry : `lsst.daf.butler.Registry`
    definition : `stillsky.butler.instruments.InstrumentDefinition`
    observations : sequence of `stillsky.butler.instruments.Observation`
        Of its detectors, or some of them: a visit that is there grows by what they add to it. There is no visit where none has
        sky coordinates.

    Raises
    ------
    DomainError
        Another exposure has that number.
    """
    from lsst.daf.butler import Timespan
    from lsst.sphgeom import ConvexPolygon, UnitVector3d

    first, name = observations[0], definition.name
    day, daySpan = _observingDay(first.begin)
    span = Timespan(first.begin, first.end)
    common = {
        "instrument": name,
        "id": first.exposure,
        "physical_filter": first.filter,
        "day_obs": day,
        "timespan": span,
        "exposure_time": first.exposureTime,
        "target_name": first.target or None,
    }

    def region(vectors):
        return ConvexPolygon([UnitVector3d(*(float(v) for v in vector)) for vector in vectors])

    def insert(element, record):
        registry.syncDimensionData(element, {k: v for k, v in record.items() if v is not None})

    with registry.transaction():
        for one in observations:
            definition.registerDetector(registry, one.detector, definition.detectors.get(one.detector))
        definition.registerFilter(registry, first.filter)
        insert("day_obs", {"instrument": name, "id": day, "timespan": daySpan})
        insert("group", {"instrument": name, "name": first.group})
        _refuseTwin(registry, name, first)
        if not registered(registry, "exposure", name, first.exposure):
            ra, dec = first.pointing
            insert(
                "exposure",
                {**common, "obs_id": first.obsId, "group": first.group, "observation_type": first.type}
                | {"tracking_ra": ra, "tracking_dec": dec},
            )
        covered = [one for one in observations if one.corners is not None]
        if not covered:
            return
        whole = np.concatenate([one.corners for one in covered])
        visits = list(registry.queryDimensionRecords("visit", dataId={"instrument": name, "visit": first.exposure}))
        if not visits:
            insert("visit", {**common, "name": first.obsId, "region": region(whole)})
            insert("visit_definition", {"instrument": name, "exposure": first.exposure, "visit": first.exposure})
            insert("visit_system_membership", {"instrument": name, "visit_system": 0, "visit": first.exposure})
        for visit in visits:
            _grow(registry, visit, whole, region)
        for one in covered:
            record = {"instrument": name, "visit": one.exposure, "detector": one.detector}
            insert("visit_detector_region", {**record, "region": region(one.corners)})


def _grow(registry, visit, corners, region):
    """Extend the region of a visit by detectors that came later: graphs find the patches of a visit by it."""
    from lsst.sphgeom import UnitVector3d

    old = visit.region
    if old is not None and all(old.contains(UnitVector3d(*(float(v) for v in corner))) for corner in corners):
        return
    if old is not None:
        corners = np.concatenate([corners, [[p.x(), p.y(), p.z()] for p in old.getVertices()]])
    record = {**visit.toDict(), "region": region(corners)}
    registry.syncDimensionData("visit", {k: v for k, v in record.items() if v is not None}, update=True)


def _refuseTwin(registry, instrument, one):
    """Numbers made of names are short: two exposures of one number are told apart by their names."""
    where = {"instrument": instrument, "exposure": one.exposure}
    for record in registry.queryDimensionRecords("exposure", dataId=where):
        if record.obs_id != one.obsId:
            raise DomainError(
                f"exposure {one.exposure} ({one.obsId}): that number is exposure {record.obs_id} already; give numbers "
                "of their own by a header card, which the instrument's headers name as exposure"
            )


def _observingDay(time):
    """(YYYYMMDD, its timespan): days change at noon UTC, so that a night has one."""
    from astropy.time import Time, TimeDelta
    from lsst.daf.butler import Timespan

    half = TimeDelta(0.5, format="jd")
    text = (time.utc - half).strftime("%Y-%m-%d")
    begin = Time(f"{text}T12:00:00", scale="utc").tai
    return int(text.replace("-", "")), Timespan(begin, begin + TimeDelta(1.0, format="jd"))
