"""Template from patches of one tract, on the tract's own pixel grid."""

import numpy as np

from ..errors import DomainError, NoDataError
from ..geom import Box2D, Box2I
from ..image import Exposure
from .template import PatchCollector, TemplateResult, meanPosition, mergePatches

__all__ = ["makeTractTemplate"]


def makeTractTemplate(inputs, wcs, skyCorners, config=None, *, visitInfo=None):
    """A mosaic of patches around the outline of a science image.

    Parameters
    ----------
    inputs : iterable of `stillsky.diffim.template.TemplateInput`
        Patches of one tract.
    wcs : `stillsky.wcs.SkyWcs`
        Of the tract.
    skyCorners : sequence of (ra, dec)
        Corners of the science image, radians.
    config : `stillsky.diffim.template_config.GetCoaddAsTemplateConfig`, optional
        With ``compat`` the last patch wins where two overlap, and the first patch's PSF serves everywhere.
    visitInfo : `stillsky.meta.VisitInfo`, optional

    Returns
    -------
    result : `stillsky.diffim.template.TemplateResult`
        Its exposure is in tract pixels, ``templateBorderSize`` pixels larger than the outline, so that it can be
        warped to the science image without losing the rim. Pixels without data: NO_DATA, NaN, variance +inf.

    Raises
    ------
    NoDataError
        No patch is given or overlaps, no photometric calibration.
    MismatchError
        Different bands or calibrations, or a patch without a PSF.
    DomainError
        A corner lies behind the tract's tangent plane.
    """
    if config is None:
        from .template_config import GetCoaddAsTemplateConfig

        config = GetCoaddAsTemplateConfig()
    x, y = wcs.skyToPixel(*(np.array(v, float) for v in zip(*skyCorners)))
    if not np.all(np.isfinite(x) & np.isfinite(y)):
        raise DomainError(f"template: corners of the science image cannot be projected onto the tract: {skyCorners}")
    box = Box2I(Box2D((x.min(), y.min()), (x.max(), y.max()))).dilated(config.templateBorderSize)
    chosen = [item for item in inputs if item.bbox.overlaps(box)]
    if not chosen:
        raise NoDataError("No coadd patches found", found=f"none of the patches given meets {box}")
    collector = PatchCollector(config)
    merged, nGood = mergePatches(chosen, box, config, collector)
    if collector.photoCalib is None:
        raise NoDataError("No coadd PhotoCalib found", found=f"{len(chosen)} patches without a calibration")
    template = Exposure(merged, wcs=wcs, photoCalib=collector.photoCalib, filter=collector.filter, visitInfo=visitInfo)
    if config.compat:
        template.psf = collector.rows[0]["psf"]
    else:
        template.psf = collector.psf(wcs, meanPosition(merged) if nGood else tuple(box.center))
    result = collector.coaddInputs()
    template.info.coaddInputs = result
    return TemplateResult(template, nGood, result, collector.notes)
