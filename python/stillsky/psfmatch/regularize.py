"""Regularisation of delta-function kernels, from arguments or from a configuration."""

from .. import _core

__all__ = ["makeRegularizationMatrix"]


def makeRegularizationMatrix(regularizationType, *args, **kwargs):
    """Matrix H of the penalty a^T H a on kernels that are not smooth (Press et al., Numerical Recipes, 18.5).

    Parameters
    ----------
    regularizationType : `str` or `PsfMatchConfigDF`
        "centralDifference" or "forwardDifference", followed by ``width, height, centralRegularizationStencil=9,
        forwardRegularizationOrders=[1, 2], regularizationBorderPenalty=3.0, fitForBackground=True,
        sumBeforeSquaring=False``; or a configuration that holds all of these (``kernelSize`` is width and height).

    Returns
    -------
    hMat : `numpy.ndarray`, (n, n)
        n = width height, one more with ``fitForBackground``; the background's row and column are zero. Row and column
        of pixel (x, y) are x + y width.

    Raises
    ------
    DomainError
        Unknown type, stencil or order, or a negative penalty.
    """
    config = regularizationType
    if isinstance(config, str):
        return _core.makeRegularizationMatrix(config, *args, **kwargs)
    return _core.makeRegularizationMatrix(
        config.regularizationType,
        config.kernelSize,
        config.kernelSize,
        centralRegularizationStencil=config.centralRegularizationStencil,
        forwardRegularizationOrders=list(config.forwardRegularizationOrders),
        regularizationBorderPenalty=config.regularizationBorderPenalty,
        fitForBackground=config.fitForBackground,
        sumBeforeSquaring=getattr(config, "compat", False),
    )
