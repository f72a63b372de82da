"""Kernel files."""

import numpy as np
import pytest

import stillsky
from stillsky.fits import readKernel, writeKernel
from stillsky.kernel import (
    AnalyticKernel,
    Chebyshev1Function2,
    DeltaFunctionKernel,
    FixedKernel,
    GaussianFunction2,
    LinearCombinationKernel,
    PolynomialFunction2,
)

BOX = (-0.5, 9.5, 511.5, 299.5)
POSITIONS = [(0.0, 10.0), (511.0, 299.0), (123.4, 56.7)]


def _chebyshev(rng, bases):
    return LinearCombinationKernel(bases, [Chebyshev1Function2(list(rng.normal(size=6)), BOX) for _ in bases])


def _kernels(rng):
    fixed = [FixedKernel(rng.normal(size=(9, 7))) for _ in range(3)]
    delta = [DeltaFunctionKernel(5, 5, (i, 4 - i)) for i in range(5)]
    mixed = [AnalyticKernel(9, 9, GaussianFunction2(s, 2.0, 0.3)) for s in (1.0, 1.5)]
    polynomial = LinearCombinationKernel(fixed, [PolynomialFunction2(list(rng.normal(size=3) / 100)) for _ in fixed])
    constant = LinearCombinationKernel(fixed, [1.0, -0.25, 1e-9])
    return {
        "chebyshev": _chebyshev(rng, fixed),
        "delta": _chebyshev(rng, delta),
        "analytic bases": _chebyshev(rng, mixed),
        "polynomial": polynomial,
        "constant": constant,
        "fixed": fixed[0],
        "gaussian": mixed[0],
        "one delta": delta[0],
    }


@pytest.mark.parametrize(
    "name", ["chebyshev", "delta", "analytic bases", "polynomial", "constant", "fixed", "gaussian", "one delta"]
)
def testReadKernelGivesTheSameImages(tmp_path, rng, name):
    kernel = _kernels(rng)[name]
    writeKernel(kernel, tmp_path / "k.fits", convolved="template", metadata={"EXTRA": 3})
    back, background, metadata = readKernel(tmp_path / "k.fits")
    assert background is None and metadata["ORIENT"] == "correlation"
    assert metadata["CONVOLVD"] == "template" and metadata["EXTRA"] == 3
    for x, y in POSITIONS:
        want = kernel.imageAt(x, y, False)
        np.testing.assert_allclose(back.imageAt(x, y, False), want, rtol=0, atol=1e-12 * np.abs(want).max())
    assert isinstance(back, FixedKernel if name in ("fixed", "gaussian", "one delta") else LinearCombinationKernel)


def testKernelSumIsThatOfTheCentre(tmp_path, rng):
    kernel = _kernels(rng)["chebyshev"]
    writeKernel(kernel, tmp_path / "k.fits")
    x, y = (BOX[0] + BOX[2]) / 2, (BOX[1] + BOX[3]) / 2
    assert readKernel(tmp_path / "k.fits").metadata["KSUM"] == pytest.approx(kernel.sumAt(x, y), rel=1e-12)


def testBackgroundFunction(tmp_path, rng):
    background = Chebyshev1Function2([1.0, 0.1, -0.2], BOX)
    path = tmp_path / "k.fits"
    for given in (background, PolynomialFunction2([3.0]), 2.5):
        writeKernel(_kernels(rng)["fixed"], path, given, overwrite=True)
        assert readKernel(path).background == given


def testLayoutIsPlain(tmp_path, rng):
    from astropy.io import fits

    writeKernel(_kernels(rng)["chebyshev"], tmp_path / "k.fits", 1.0)
    with fits.open(tmp_path / "k.fits", checksum=True) as hdus:
        assert [h.name for h in hdus] == ["PRIMARY", "BASIS", "SPATIAL", "BACKGROUND"]
        assert hdus["BASIS"].data.shape == (3, 9, 7) and hdus["BASIS"].data.dtype.str == ">f8"
        assert list(hdus["SPATIAL"].data["MODEL"]) == ["chebyshev1"] * 3
        np.testing.assert_array_equal(hdus["SPATIAL"].data["BOX"][0], BOX)
        hdus.verify("exception")


def testRefusals(tmp_path, rng):
    path = tmp_path / "k.fits"
    varying = AnalyticKernel(9, 9, GaussianFunction2(1.0, 2.0, 0.3), PolynomialFunction2([1.0, 0.0, 0.0]))
    with pytest.raises(stillsky.DomainError, match="AnalyticKernel"):
        writeKernel(varying, path)
    with pytest.raises(stillsky.DomainError, match="spatial function"):
        writeKernel(_kernels(rng)["fixed"], path, GaussianFunction2(1.0, 2.0, 0.3))
    assert not list(tmp_path.iterdir())
    writeKernel(_kernels(rng)["fixed"], path)
    with pytest.raises(FileExistsError, match="k.fits"):
        writeKernel(_kernels(rng)["fixed"], path)
    from astropy.io import fits

    fits.PrimaryHDU(np.zeros((3, 3))).writeto(tmp_path / "image.fits")
    with pytest.raises(stillsky.FitsLayoutError, match="image.fits.*BASIS"):
        readKernel(tmp_path / "image.fits")
