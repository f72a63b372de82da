"""ScienceSourceSelectorTask: cuts on the sources of a science image, as a subtask."""

import lsst.pipe.base as pipeBase

from .science_selector import selectScienceSources
from .science_selector_config import ScienceSourceSelectorConfig
from .star_selector_task import _SourceSelector, sourceSelectorRegistry

__all__ = ["ScienceSourceSelectorConfig", "ScienceSourceSelectorTask"]


class ScienceSourceSelectorTask(_SourceSelector):
    """Choose sources by limits on their measurements."""

    ConfigClass = ScienceSourceSelectorConfig
    _DefaultName = "scienceSourceSelector"
    usesMatches = False

    def selectSources(self, sourceCat, matches=None, exposure=None):
        """See `stillsky.diffim.science_selector.selectScienceSources`; ``matches`` and ``exposure`` are not used.

        Returns
        -------
        struct : `lsst.pipe.base.Struct`
            ``selected`` (boolean, by row) and ``skipped`` (cuts whose columns are missing).
        """
        found = selectScienceSources(sourceCat, self.config)
        if found.skipped:
            self.log.info("The catalogue lacks the columns of: %s", ", ".join(found.skipped))
        return pipeBase.Struct(selected=found.selected, skipped=found.skipped)


sourceSelectorRegistry.register("science", ScienceSourceSelectorTask)
