"""Mappers of ``stillsky map`` that need rooms which map-reduce does not know."""

from types import SimpleNamespace

import numpy as np

from stillsky.diffim.decorrelation import decorrelate
from stillsky.image import Exposure

__all__ = ["DecorrelateCell"]


class DecorrelateCell:
    """Decorrelation of one cell of a difference with the kernel at its centre and the noise of its own pixels.

    Parameters
    ----------
    science, template : `stillsky.Exposure`
        Before the matching, on the grid of the difference.
    kernel : `stillsky.kernel.Kernel`
        Of the template.
    config : `stillsky.diffim.decorrelate_config.DecorrelateConfig`, optional
    """

    def __init__(self, science, template, kernel, config=None):
        self._science, self._template, self._kernel, self._config = science, template, kernel, config

    def run(self, subExposure, expandedSubExposure, fullBBox, **kwargs):
        """The decorrelated core; a cell without a finite pixel stays as it is."""
        if not np.isfinite(expandedSubExposure.image.array).any():
            return SimpleNamespace(subExposure=subExposure)
        box, center = expandedSubExposure.bbox, subExposure.bbox.center
        psf = expandedSubExposure.psf or self._science.psf
        found = decorrelate(
            expandedSubExposure,
            self._science[box],
            self._template[box],
            self._kernel,
            config=self._config,
            psf=psf,
            position=(center.x, center.y),
        )
        whole = Exposure(found.maskedImage, expandedSubExposure.info, psf=found.psf)
        return SimpleNamespace(subExposure=whole[subExposure.bbox])
