"""Where the zenith was for the inputs of a coadd of plain files, and when they were taken."""

import math

from ..errors import DomainError
from ..meta import Observatory
from ..meta.pointing import CONTRADICTED, completeVisitInfo, pointingOf

__all__ = ["JobPointing"]


class JobPointing:
    """A mixin for `stillsky.coadd.job.CoaddJob`."""

    def _point(self):
        """Airmass and direction of the zenith of every used input at the middle of the grid, saying what was assumed."""
        place = (None, None)
        if self.grid.wcs is not None:
            center = self.grid.bbox.center
            place = self.grid.wcs.pixelToSky(float(center.x), float(center.y))
        notes, contradicted, site = {}, [], None
        if len(self.config.site):
            longitude, latitude, height = self.config.site
            site = Observatory(math.radians(longitude), math.radians(latitude), height)
        for item in list(self.used):
            try:
                if item.visitInfo is None:
                    raise DomainError("nothing tells when and where it was taken")
                item.visitInfo, assumed = completeVisitInfo(item.visitInfo, *place, site=site)
                item.pointing = pointingOf(item.visitInfo, *place)
            except DomainError as error:
                self._withoutPointing(item, error)
                continue
            kinds = {note.partition(" ")[0] for note in item.pointing.notes}  # of this place, not of the boresight
            assumed = [note for note in assumed if note.partition(" ")[0] not in kinds or note in item.pointing.notes]
            contradicted += [(item.name, n) for n in item.pointing.notes if n.endswith(CONTRADICTED)]
            for note in dict.fromkeys((*assumed, *item.pointing.notes)):
                if not note.endswith(CONTRADICTED):
                    notes.setdefault(note, []).append(item.name)
        for note, names in notes.items():
            self.say(f"{note}" + (f" ({len(names)} inputs)" if len(names) > 1 else f" ({names[0]})"))
        self._checkTimes(contradicted)

    def _checkTimes(self, contradicted):
        """Warn of exposure times that the headers contradict, and of one time for several images."""
        if contradicted:
            self._sayContradicted(contradicted)
        byTime = {}
        for item in self.used:
            if item.visitInfo is not None and item.visitInfo.date is not None:
                byTime.setdefault(round(item.visitInfo.date.mjd, 8), []).append(item)
        for items in byTime.values():
            overlapping = [i for i in items[1:] if i.bbox.overlaps(items[0].bbox) and i.wcs == items[0].wcs]
            if overlapping:
                self.warn(
                    "W-TIME", f"{len(overlapping) + 1} inputs of the same pixels have one time, as {items[0].name} and "
                    f"{overlapping[0].name}: it is not that of all of them",
                )  # fmt: skip

    def _sayContradicted(self, contradicted):
        name, note = contradicted[0]
        more = f" (and {len(contradicted) - 1} more inputs alike)" if len(contradicted) > 1 else ""
        self.warn("W-TIME", f"{name}: {note}{more}")

    def _withoutPointing(self, item, error):
        """A coadd does not need it."""
