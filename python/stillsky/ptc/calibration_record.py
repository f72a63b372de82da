"""What every calibration product carries about itself: which sensor, when made, of which kind and version."""

import logging
import math
import re
from datetime import UTC, datetime

import numpy as np

from ..errors import StillskyError
from ..meta import Header

__all__ = ["CalibrationRecord"]

_log = logging.getLogger(__name__)

_KEYS = ("INSTRUME", "RAFTNAME", "SLOTNAME", "DETECTOR", "DET_NAME", "DET_SER", "FILTER", "CALIB_ID")
_SEQUENCE_KEYS = ("SEQNAME", "SEQFILE", "SEQCKSUM", "ODP", "AP0_RC")
_CREATION_KEYS = ("CALIBDATE", "CALIB_CREATION_DATE", "CALIB_CREATION_TIME")
_RAFT_SLOT = re.compile(r"(?P<raft>[^_]+)_(?P<slot>[^_]+)")
_ID_PARTS = (
    ("instrument", "INSTRUME"),
    ("raftName", "RAFTNAME"),
    ("slotName", "SLOTNAME"),
    ("detectorName", "DET_NAME"),
    ("detector", "DETECTOR"),
    ("filter", "FILTER"),
    ("calibDate", "CALIBDATE"),
)


class CalibrationRecord:
    """Base of calibration products: a ``metadata`` header and the verbs that fill it.

    Parameters
    ----------
    **kwargs
        Arguments of `updateMetadata`.

    Notes
    -----
    A subclass defines ``_OBSTYPE``, ``_SCHEMA`` and ``_VERSION``; the version card is OBSTYPE_VERSION, the schema card
    OBSTYPE_SCHEMA.
    """

    _OBSTYPE = "generic"
    _SCHEMA = "no schema"
    _VERSION = 0.0

    def __init__(self, **kwargs):
        self.metadata = Header()
        self.metadata.set("OBSTYPE", self._OBSTYPE)
        self.metadata.set(f"{self._OBSTYPE}_SCHEMA", self._SCHEMA)
        self.metadata.set(f"{self._OBSTYPE}_VERSION", self._VERSION)
        self.metadata.set("CALIBCLS", f"{type(self).__module__}.{type(self).__qualname__}")
        for key in _KEYS:
            self.metadata.set(key, None)
        self.updateMetadata(**kwargs)

    def getMetadata(self):
        """Same as ``metadata``."""
        return self.metadata

    def setMetadata(self, metadata):
        """Take over all items of ``metadata``; the keys that say what this object is stay."""
        own = ("OBSTYPE", f"{self._OBSTYPE}_SCHEMA", f"{self._OBSTYPE}_VERSION", "CALIBCLS")
        for key, value in dict(metadata).items():
            if key not in own:
                self.metadata.set(key, value if isinstance(value, list) else _plain(value))

    def updateMetadata(
        self, camera=None, detector=None, filterName=None, setCalibId=False, setDate=False, **kwargs
    ):  # fmt: skip
        """Record the sensor, the filter and the time of making.

        Parameters
        ----------
        camera : `str` or object, optional
            Instrument: a name, or anything with ``getName()`` or ``name``.
        detector : `stillsky.meta.Detector`, optional
            Sets DETECTOR, DET_NAME and DET_SER; a name of the form RAFT_SLOT also RAFTNAME and SLOTNAME.
        filterName : `str`, optional
        setCalibId : `bool`
            Compose CALIB_ID of what is known.
        setDate : `bool`
            Set CALIBDATE (ISO) and the CALIB_CREATION_* cards to now, UTC.
        **kwargs
            More cards.
        """
        meta = self.metadata
        if camera is not None:
            meta.set("INSTRUME", camera if isinstance(camera, str) else _attribute(camera, "name", "getName"))
        if detector is not None:
            self._recordDetector(detector)
        if filterName:
            meta.set("FILTER", str(filterName))
        if setDate:
            now = datetime.now(UTC)
            meta.set("CALIBDATE", now.replace(tzinfo=None).isoformat())
            meta.set("CALIB_CREATION_DATE", now.date().isoformat())
            meta.set("CALIB_CREATION_TIME", now.strftime("%H:%M:%S UTC"))
        for key, value in kwargs.items():
            meta.set(key, _plain(value))
        if setCalibId:
            known = [f"{name}={meta[key]}" for name, key in _ID_PARTS if meta.get(key) not in (None, "")]
            meta.set("CALIB_ID", " ".join(known))

    def _recordDetector(self, detector):
        meta = self.metadata
        name = str(_attribute(detector, "name", "getName") or "")
        meta.set("DETECTOR", int(_attribute(detector, "id", "getId")))
        meta.set("DET_NAME", name)
        meta.set("DET_SER", str(_attribute(detector, "serial", "getSerial") or ""))
        match = _RAFT_SLOT.fullmatch(name)
        if match:
            meta.set("RAFTNAME", match["raft"])
            meta.set("SLOTNAME", match["slot"])

    def updateMetadataFromExposures(self, exposures):
        """Copy what identifies the test stand's sequence from the headers of the inputs.

        Parameters
        ----------
        exposures : iterable
            Objects with a dict-like ``metadata`` (None entries are skipped).

        Notes
        -----
        SEQNAME, SEQFILE, SEQCKSUM, ODP and AP0_RC: the first value wins, another one is warned about. INSTRUME is taken
        over where it is not known yet.
        """
        for exposure in exposures:
            header = getattr(exposure, "metadata", None)
            if header is None:
                continue
            for key in _SEQUENCE_KEYS:
                value = header.get(key)
                if value is None:
                    continue
                known = self.metadata.get(key)
                if known is None:
                    self.metadata.set(key, _plain(value))
                elif known != value:
                    _log.warning(
                        "header key %s is %r here and %r in an earlier exposure, which is kept", key, value, known
                    )
            label = getattr(getattr(exposure, "visitInfo", None), "instrumentLabel", "") or header.get("INSTRUME")
            if label and not self.metadata.get("INSTRUME"):
                self.metadata.set("INSTRUME", str(label))

    def _sameMetadata(self, other):
        """Whether the cards agree; None equals "", the date and the identifier of making do not count."""
        skip = {*_CREATION_KEYS, "CALIB_ID", "CALIBCLS", "PTC_FIT_TYPE"}
        keys = {*self.metadata, *other.metadata} - skip
        return all(_sameCard(self.metadata.get(key), other.metadata.get(key)) for key in keys)


def _attribute(thing, name, getter):
    value = getattr(thing, name, None)
    if value is None and hasattr(thing, getter):
        value = getattr(thing, getter)()
    if value is None:
        raise StillskyError(f"wanted an object with {name!r}, given {type(thing).__name__}")
    return value


def _plain(value):
    """A card value: NaN has none."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


def _sameCard(a, b):
    a, b = ("" if v is None else v for v in (a, b))
    if isinstance(a, float) or isinstance(b, float):
        return not isinstance(a, str) and not isinstance(b, str) and math.isclose(a, b, rel_tol=1e-9)
    return a == b
