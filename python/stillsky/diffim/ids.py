"""Identifiers of sources: 63 bits that say which release and exposure a source is from, and which one it is there.

Two layouts, both positive signed 64-bit integers:

* current: release, packed data id (detector + nDetectors * visit), counter, from the highest bit down;
* legacy (`makeIdFactory`): ``expBits`` bits of exposure id above ``63 - expBits`` bits of counter.

Python integers are used for the bit work, so nothing wraps.
"""

from dataclasses import dataclass

import numpy as np

from ..errors import DomainError, IdOverflowError

__all__ = ["IdFactory", "IdGenerator", "layoutOfDataId", "makeIdFactory", "sourceIdLayout"]

_ID_BITS = 63  # bit 63 stays 0: ids fit a signed 64-bit integer


class IdFactory:
    """Hands out increasing ids that share their upper bits.

    Parameters
    ----------
    upper : int
        What stands above the counter.
    counterBits : int
        Bits of the counter, 1 to 63.

    Notes
    -----
    The first id has counter 1; 0 is never an id. Several users of one factory share its counter.
    """

    def __init__(self, upper=0, counterBits=_ID_BITS):
        if not 1 <= counterBits <= _ID_BITS:
            raise DomainError(f"counterBits: wanted 1 to {_ID_BITS}, got {counterBits}")
        if upper < 0:
            raise DomainError(f"upper: wanted 0 or more, got {upper}")
        if (upper << counterBits).bit_length() > _ID_BITS:
            raise IdOverflowError(f"upper: {upper} with {counterBits} bits of counter exceeds {_ID_BITS} bits")
        self.upper = int(upper)
        self.counterBits = int(counterBits)
        self._last = 0

    @property
    def remaining(self):
        """How many ids are left."""
        return (1 << self.counterBits) - 1 - self._last

    def __call__(self):
        """The next id; IdOverflowError when the counter is exhausted."""
        return int(self.reserve(1)[0])

    def reserve(self, n):
        """The next `n` ids as int64; IdOverflowError, and none handed out, when fewer are left."""
        if n > self.remaining:
            raise IdOverflowError(
                f"ids: {n} wanted, {self.remaining} left in a counter of {self.counterBits} bits",
                remedy="fewer sources (a higher threshold), or fewer bits above the counter",
            )
        first = (self.upper << self.counterBits) + self._last + 1
        self._last += int(n)
        return np.arange(first, first + int(n), dtype=np.int64)

    def notify(self, sourceId):
        """Continue after this id; DomainError when its upper part is not this factory's."""
        sourceId = int(sourceId)
        if sourceId < 0 or sourceId >> self.counterBits != self.upper:
            raise DomainError(f"notify: id {sourceId} does not belong to the upper part {self.upper}")
        self._last = sourceId - (self.upper << self.counterBits)


def makeIdFactory(expId, expBits):
    """Legacy ids of an exposure: exposure id on top, counter below.

    Parameters
    ----------
    expId : int
        Exposure id, 0 or more.
    expBits : int
        Bits that exposure ids may have, 1 to 62.

    Returns
    -------
    factory : `IdFactory`

    Raises
    ------
    IdOverflowError
        The exposure id has more than `expBits` bits.
    DomainError
        A negative exposure id, or a number of bits outside its range.
    """
    if not 1 <= expBits < _ID_BITS:
        raise DomainError(f"expBits: wanted 1 to {_ID_BITS - 1}, got {expBits}")
    if expId < 0:
        raise DomainError(f"expId: wanted 0 or more, got {expId}")
    if int(expId).bit_length() > expBits:
        raise IdOverflowError(f"expId: {expId} has {int(expId).bit_length()} bits, wanted at most {expBits}")
    return IdFactory(int(expId), _ID_BITS - expBits)


@dataclass(frozen=True)
class IdGenerator:
    """The current layout: release, packed data id, counter.

    Attributes
    ----------
    packed, maxBits : int
        Packed data id and the bits that all packed data ids of the instrument need.
    releaseId, nReleases : int
        0 means: no release recorded.
    nDetectors : int
        Modulus of the packer; 0 when the data id is not packed from visit and detector.
    """

    packed: int = 0
    maxBits: int = 0
    releaseId: int = 0
    nReleases: int = 1
    nDetectors: int = 0

    def __post_init__(self):
        if not 0 <= self.releaseId < self.nReleases:
            raise DomainError(f"releaseId: wanted 0 to {self.nReleases - 1}, got {self.releaseId}")
        if self.packed < 0 or self.packed.bit_length() > self.maxBits:
            raise IdOverflowError(f"packed: {self.packed} does not fit {self.maxBits} bits")
        if self.counterBits < 1:
            raise IdOverflowError(
                f"ids: {self.releaseBits} bits of release and {self.maxBits} of data id leave no counter"
            )

    @property
    def releaseBits(self):
        """Bits of the release."""
        return (self.nReleases - 1).bit_length()

    @property
    def counterBits(self):
        """Bits that are left for the number of a source."""
        return _ID_BITS - self.releaseBits - self.maxBits

    @property
    def upper(self):
        """What stands above the counter."""
        return (self.releaseId << self.maxBits) + self.packed

    def makeFactory(self):
        """A fresh `IdFactory`, its counter at 1."""
        return IdFactory(self.upper, self.counterBits)

    def arange(self, n):
        """Ids of `n` rows with counters from 0, int64."""
        if n > 1 << self.counterBits:
            raise IdOverflowError(f"ids: {n} wanted, a counter of {self.counterBits} bits has {1 << self.counterBits}")
        first = self.upper << self.counterBits
        return np.arange(first, first + int(n), dtype=np.int64)

    def unpack(self, sourceId):
        """The parts of an id of this layout: ``releaseId, packed, counter`` and, when packed so, ``visit, detector``."""
        rest, counter = divmod(int(sourceId), 1 << self.counterBits)
        releaseId, packed = divmod(rest, 1 << self.maxBits)
        if releaseId >= self.nReleases or sourceId < 0:
            raise DomainError(f"id {sourceId}: release {releaseId} is not below {self.nReleases}")
        parts = {"releaseId": releaseId, "packed": packed, "counter": counter}
        if self.nDetectors:
            parts["visit"], parts["detector"] = divmod(packed, self.nDetectors)
        return parts

    @property
    def meta(self):
        """What a table must say so that its ids can be unpacked; the inverse is `fromMeta`."""
        return {
            "release_id": self.releaseId,
            "n_releases": self.nReleases,
            "max_bits": self.maxBits,
            "counter_bits": self.counterBits,
            "packer": "visit+detector" if self.nDetectors else "none",
            "n_detectors": self.nDetectors,
            "packed": self.packed,
        }

    @classmethod
    def fromMeta(cls, meta):
        """The layout that a table's meta describes."""
        names = ("packed", "max_bits", "release_id", "n_releases", "n_detectors")
        return cls(*(int(meta.get(name, default)) for name, default in zip(names, (0, 0, 0, 1, 0), strict=True)))


def sourceIdLayout(visit, detector, *, nDetectors, nObservations, releaseId=0, nReleases=64):
    """The current layout for one detector of one visit.

    Parameters
    ----------
    visit, detector : int
        Below `nObservations` and `nDetectors`.
    nDetectors, nObservations : int
        The instrument's; together they fix the bits of the data id.
    releaseId, nReleases : int

    Returns
    -------
    generator : `IdGenerator`

    Raises
    ------
    DomainError
        A number outside its range.
    """
    if not 0 <= detector < nDetectors:
        raise DomainError(f"detector: wanted 0 to {nDetectors - 1}, got {detector}")
    if not 0 <= visit < nObservations:
        raise DomainError(f"visit: wanted 0 to {nObservations - 1}, got {visit}")
    maxBits = (nObservations * nDetectors - 1).bit_length()
    return IdGenerator(int(detector + nDetectors * visit), maxBits, releaseId, nReleases, int(nDetectors))


def layoutOfDataId(dataId, config):
    """The current layout for a data id with visit and detector.

    Parameters
    ----------
    dataId : `lsst.daf.butler.DataCoordinate`
        Its instrument record gives the numbers of detectors and visits that the configuration leaves open.
    config : `stillsky.diffim.detect_measure_config.IdGeneratorConfig`

    Returns
    -------
    generator : `IdGenerator`

    Raises
    ------
    DomainError
        Neither knows these numbers, or visit or detector exceed them.
    """
    record = dataId.records["instrument"] if dataId.hasRecords() else None
    nDetectors = config.n_detectors or getattr(record, "detector_max", None)
    nObservations = config.n_observations or getattr(record, "visit_max", None)
    if nDetectors is None or nObservations is None:
        raise DomainError("idGenerator: wanted n_detectors and n_observations, which the data id does not tell")
    return sourceIdLayout(
        dataId["visit"],
        dataId["detector"],
        nDetectors=nDetectors,
        nObservations=nObservations,
        releaseId=config.release_id,
        nReleases=config.n_releases,
    )
