"""HealSparseInputMapTask: maps of the inputs of coadds as a subtask."""

import lsst.pipe.base as pipeBase

from ..task_base import SchemaVerbs
from .input_map import makeInputMap
from .input_map_config import InputMapConfig

__all__ = ["HealSparseInputMapTask", "InputMapConfig"]


class HealSparseInputMapTask(SchemaVerbs, pipeBase.Task):
    """Say which detector exposure contributed where on the sky; see `stillsky.coadd.makeInputMap`."""

    ConfigClass = InputMapConfig
    _DefaultName = "inputMapper"

    def run(self, coadd, warps, badMaskPlanes):
        """Make the map.

        Parameters
        ----------
        coadd : `stillsky.image.Exposure`
            With its record of inputs.
        warps : sequence
        badMaskPlanes : sequence of `str`

        Returns
        -------
        struct : `lsst.pipe.base.Struct`
            ``inputMap``, a `healsparse.HealSparseMap`.
        """
        made = makeInputMap(coadd.info.coaddInputs, coadd.bbox, coadd.wcs, warps, badMaskPlanes, self.config)
        self.log.info("Map of %d inputs: %d pixels", made.wide_mask_maxbits, made.n_valid)
        return pipeBase.Struct(inputMap=made)
