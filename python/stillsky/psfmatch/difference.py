"""Fields over an image that a difference needs: the background model and the kernel sum at every pixel."""

import numpy as np

__all__ = ["bandsOnBox", "evaluateOnBox", "kernelSumFunction", "scaledBackground"]

_BAND_ROWS = 64


def evaluateOnBox(function, box):
    """Values of a function of parent positions at every pixel of a box.

    Parameters
    ----------
    function : `stillsky.kernel.Function2`, callable of (x, y) arrays, or `float`
    box : `stillsky.geom.Box2I`

    Returns
    -------
    values : `numpy.ndarray`, (height, width) float64, or `float`
        A number stays a number.
    """
    if not callable(function):
        return float(function)
    return np.concatenate([values for _, values in bandsOnBox(function, box)])


def bandsOnBox(function, box):
    """Bands of rows of a box and the values of a function there, so that no plane of the image's size is made.

    Parameters
    ----------
    function, box
        As for `evaluateOnBox`.

    Yields
    ------
    rows : `slice`
        Array rows.
    values : `numpy.ndarray`, (rows, width) float64, or `float`
    """
    if not callable(function):
        yield slice(None), float(function)
        return
    x = np.arange(box.minX, box.minX + box.width, dtype=float)
    for row in range(0, box.height, _BAND_ROWS):
        y = np.arange(box.minY + row, box.minY + min(row + _BAND_ROWS, box.height), dtype=float)
        xx, yy = np.meshgrid(x, y)
        yield slice(row, row + len(y)), np.reshape(function(xx.ravel(), yy.ravel()), xx.shape)


def kernelSumFunction(kernel):
    """Sum of a linear-combination kernel as a function of position: a number when it does not vary.

    The spatial functions are linear in their parameters, so the sum is one such function with the parameters
    sum_i s_i c_i, s_i being the sum of basis function i.
    """
    if not kernel.isSpatiallyVarying:
        return kernel.sumAt(0.0, 0.0)
    parameters = np.tensordot(kernel.kernelSumList, np.array(kernel.spatialParameters), axes=1)
    if np.all(np.abs(parameters[1:]) <= 1e-12 * abs(parameters[0])):
        return float(parameters[0])
    first = kernel.getSpatialFunction(0)
    box = getattr(first, "box", None)
    return type(first)(list(parameters), box) if box is not None else type(first)(list(parameters))


def scaledBackground(background, kernelSum):
    """The background ``-b / s`` on the scale of the image that was convolved.

    From ``T = K (x) S + b`` with the kernel sum s follows ``S = T / s - b / s`` for constant light.

    Parameters
    ----------
    background : `stillsky.kernel.Function2`
    kernelSum : `float` or `stillsky.kernel.Function2`
        As `kernelSumFunction` returns it.

    Returns
    -------
    background : `stillsky.kernel.Function2`, or callable of (x, y) where the kernel sum varies
    """
    if callable(kernelSum):
        return lambda x, y: -np.asarray(background(x, y)) / kernelSum(x, y)
    parameters = [-value / kernelSum for value in background.parameters]
    box = getattr(background, "box", None)
    return type(background)(parameters, box) if box is not None else type(background)(parameters)
