"""Matching kernels in files: basis images, their spatial functions and the differential background."""

from typing import NamedTuple

import numpy as np

from ..errors import DomainError, FitsLayoutError
from ..meta import Header
from .files import openFits, readingErrors, writeHdus

__all__ = ["KernelFile", "readKernel", "writeKernel"]

_ORIENTATION = "correlation"
_MODELS = ("polynomial", "chebyshev1", "constant")


class KernelFile(NamedTuple):
    """What `readKernel` returns.

    kernel : `LinearCombinationKernel` or `FixedKernel`
    background : `Function2`, `float` or None
    metadata : `Header`
        All cards of the primary extension, e.g. KSUM and CONVOLVD.
    """

    kernel: object
    background: object
    metadata: Header


def writeKernel(kernel, path, background=None, *, convolved=None, metadata=None, overwrite=False):
    """Write a kernel and the differential background.

    Parameters
    ----------
    kernel : `Kernel`
        Any kernel that does not vary, or a `LinearCombinationKernel` with polynomial or Chebyshev coefficients.
    path : `str` or `os.PathLike`
    background : `Function2` or `float`, optional
        Counts to add to the convolved image.
    convolved : {"template", "science"}, optional
        Which image the kernel applies to (card CONVOLVD).
    metadata : mapping, optional
        More cards.
    overwrite : `bool`

    Notes
    -----
    Layout: BASIS, float64 (n, height, width); SPATIAL, one row per basis image, and BACKGROUND, one row, with columns
    MODEL (polynomial, chebyshev1 or constant), ORDER, BOX (minX, minY, maxX, maxY of the Chebyshev domain, pixel edges,
    parent coordinates) and COEFFICIENTS. Cards ORIENT ("correlation": the kernel is applied without reflection), KSUM
    (kernel sum at the centre of the domain) and CONVOLVD.

    Raises
    ------
    DomainError
        If the kernel is an analytic one that varies, or a function is of another kind.
    FileExistsError
        If the file exists and may not be replaced.
    """
    from astropy.io import fits

    basis, functions, single = _decompose(kernel)
    header = Header(metadata or {})
    header.set("ORIENT", _ORIENTATION, "kernels are applied without reflection")
    x, y = _middle(functions)
    weights = [f(x, y) if callable(f) else f for f in functions]
    header.set("KSUM", float(np.dot(np.asarray(weights, float).ravel(), basis.sum(axis=(1, 2)))), "kernel sum")
    if convolved is not None:
        header.set("CONVOLVD", str(convolved), "image that the kernel applies to")
    header.set("KTYPE", "fixed" if single else "linear combination")
    hdus = [fits.PrimaryHDU(header=header.toFits()), fits.ImageHDU(basis, name="BASIS"), _table(functions, "SPATIAL")]
    if background is not None:
        hdus.append(_table([background], "BACKGROUND"))
    writeHdus(hdus, path, overwrite)


def readKernel(path):
    """Read a file of `writeKernel`.

    Returns
    -------
    file : `KernelFile`
        (kernel, background, metadata). The kernel's images equal those of the one written to 1e-12 of their scale.

    Raises
    ------
    FitsLayoutError
        If the file has another layout.
    """
    from ..kernel import FixedKernel, LinearCombinationKernel

    with openFits(path) as hdus, readingErrors(path):
        metadata = Header.fromFits(hdus[0].header)
        names = [h.name for h in hdus]
        if "BASIS" not in names or "SPATIAL" not in names:
            raise FitsLayoutError(f"{path}: no kernel file, wanted extensions BASIS and SPATIAL, found {names}")
        if metadata.get("ORIENT") != _ORIENTATION:
            raise FitsLayoutError(f"{path}: ORIENT is {metadata.get('ORIENT')!r}, wanted {_ORIENTATION!r}")
        basis = np.array(hdus["BASIS"].data, dtype=np.float64)
        functions = _functions(hdus["SPATIAL"].data, path)
        background = _functions(hdus["BACKGROUND"].data, path)[0] if "BACKGROUND" in names else None
    if basis.ndim != 3 or len(functions) != len(basis):
        raise FitsLayoutError(f"{path}: BASIS of shape {basis.shape} does not fit {len(functions)} spatial functions")
    if metadata.get("KTYPE") == "fixed":
        return KernelFile(FixedKernel(basis[0]), background, metadata)
    bases = [FixedKernel(image) for image in basis]
    return KernelFile(LinearCombinationKernel(bases, functions), background, metadata)


def _decompose(kernel):
    """(basis images, coefficient functions or numbers, whether it is one fixed image)."""
    from ..kernel import LinearCombinationKernel

    if isinstance(kernel, LinearCombinationKernel):
        functions = list(kernel.spatialFunctions) if kernel.isSpatiallyVarying else list(kernel.kernelParameters)
        return np.ascontiguousarray(kernel.basisArray(), float), functions, False
    if kernel.isSpatiallyVarying:
        raise DomainError(f"{type(kernel).__name__} that varies over the image has no form of basis images")
    return np.array(kernel.imageAt(0.0, 0.0, False), float)[None], [1.0], True


def _describe(function):
    from ..kernel import Chebyshev1Function2, PolynomialFunction2

    if isinstance(function, (int, float)):
        return "constant", 0, (np.nan,) * 4, [float(function)]
    if isinstance(function, Chebyshev1Function2):
        return "chebyshev1", function.order, tuple(function.box), list(function.parameters)
    if isinstance(function, PolynomialFunction2):
        return "polynomial", function.order, (np.nan,) * 4, list(function.parameters)
    raise DomainError(f"spatial function: wanted a polynomial, Chebyshev or number, given {type(function).__name__}")


def _middle(functions):
    for function in functions:
        box = getattr(function, "box", None)
        if box is not None:
            return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return 0.0, 0.0


def _table(functions, name):
    from astropy.io import fits

    rows = [_describe(f) for f in functions]
    width = max(len(r[3]) for r in rows)
    coefficients = np.full((len(rows), width), np.nan)
    for line, row in zip(coefficients, rows, strict=True):
        line[: len(row[3])] = row[3]
    columns = [
        fits.Column("MODEL", "10A", array=np.array([r[0] for r in rows])),
        fits.Column("ORDER", "K", array=np.array([r[1] for r in rows])),
        fits.Column("BOX", "4D", array=np.array([r[2] for r in rows]), unit="pixel"),
        fits.Column("NTERMS", "K", array=np.array([len(r[3]) for r in rows])),
        fits.Column("COEFFICIENTS", f"{width}D", array=coefficients),
    ]
    return fits.BinTableHDU.from_columns(columns, name=name)


def _functions(table, path):
    from ..kernel import Chebyshev1Function2, PolynomialFunction2

    coefficients = np.asarray(table["COEFFICIENTS"], float).reshape(len(table), -1)
    made = []
    for row, line in zip(table, coefficients, strict=True):
        model = str(row["MODEL"]).strip()
        values = [float(v) for v in line[: int(row["NTERMS"])]]
        if model == "constant":
            made.append(values[0])
        elif model == "polynomial":
            made.append(PolynomialFunction2(values))
        elif model == "chebyshev1":
            made.append(Chebyshev1Function2(values, tuple(float(v) for v in row["BOX"])))
        else:
            raise FitsLayoutError(f"{path}: spatial model: wanted one of {', '.join(_MODELS)}, found {model!r}")
    return made
