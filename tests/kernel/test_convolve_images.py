"""Convolution and difference of masked images: origins, mask planes, agreement of plain and masked templates."""

import numpy as np
import pytest

import stillsky
from stillsky.errors import DomainError, MaskSchemaError, ShapeError
from stillsky.image import Image, Mask, MaskedImage, MaskSchema
from stillsky.kernel import (
    AnalyticKernel,
    ConvolutionControl,
    FixedKernel,
    GaussianFunction2,
    LinearCombinationKernel,
    PolynomialFunction2,
    convolve,
    convolveAndSubtract,
    scaledPlus,
    subtractModel,
)

PLAIN = ConvolutionControl(doNormalize=False)


def maskedImage(rng, shape=(50, 60), xy0=(300, 200), schema=None):
    image = rng.normal(1000, 10, shape).astype(np.float32)
    mask = ((rng.random(shape) < 0.02) * 3).astype(np.int32)
    variance = rng.uniform(90, 110, shape).astype(np.float32)
    return MaskedImage(Image(image, xy0), Mask(mask, xy0, schema), Image(variance, xy0))


def varying():
    bases = [AnalyticKernel(5, 5, GaussianFunction2(s, s)) for s in (1.0, 2.0)]
    kernel = LinearCombinationKernel(bases, PolynomialFunction2(1))
    kernel.spatialParameters = [[1.0, 0.001, 0.0], [0.0, 0.0, 0.001]]
    return kernel


def test_parentPositionsAndOrigin(rng):
    """An image with xy0 (300, 200): the kernel is evaluated there, and the output takes the origin."""
    source = maskedImage(rng)
    out = MaskedImage.zeros(source.bbox)
    out.xy0 = (0, 0)
    assert convolve(out, source, varying(), PLAIN) is out
    assert tuple(out.xy0) == (300, 200)
    kernel = varying().imageAt(300 + 20, 200 + 30)
    patch = source.image.array[28:33, 18:23].astype(float)
    assert out.image.array[30, 20] == pytest.approx((kernel * patch).sum(), rel=1e-6)
    assert out.variance.array[30, 20] == pytest.approx(
        (kernel**2 * source.variance.array[28:33, 18:23]).sum(), rel=1e-6
    )


def test_planesOfTheOutputsOwnDictionary(rng):
    schema = MaskSchema.standard()
    source = maskedImage(rng)
    out = convolve(MaskedImage.zeros(source.bbox), source, varying(), PLAIN)
    assert (out.mask.array[0] == schema.bitmask(["NO_DATA"])).all()
    out = convolve(MaskedImage.zeros(source.bbox), source, varying(), ConvolutionControl(False, True))
    np.testing.assert_array_equal(out.mask.array[0], source.mask.array[0] | schema.bitmask(["EDGE"]))


def test_dictionaryWithoutNoDataRaises(rng):
    schema = MaskSchema.standard()
    schema = schema.remove("NO_DATA") or schema
    source = maskedImage(rng)
    out = MaskedImage.zeros(source.bbox, schema=schema)
    with pytest.raises((MaskSchemaError, stillsky.NotFoundError)):
        convolve(out, source, varying(), PLAIN)


def test_plainImages(rng):
    source = Image(rng.normal(size=(30, 40)), (5, 6))
    out = convolve(Image(np.empty((30, 40)), (0, 0)), source, varying(), PLAIN)
    assert tuple(out.xy0) == (5, 6)
    with pytest.raises(ShapeError):
        convolve(out, maskedImage(rng, (30, 40)), varying())
    with pytest.raises(DomainError):
        convolve(source, source, varying())


@pytest.mark.parametrize("invert", [True, False])
def test_differenceOfAnImageAndItsConvolutionVanishes(invert, rng):
    """S = G x T with the same 2 x 3 Gaussian: |D| < 5e-4 counts; background 10 gives -10; zero polynomials give 0."""
    kernel = AnalyticKernel(17, 17, GaussianFunction2(2.0, 3.0))
    template = maskedImage(rng, (80, 90))
    science = convolve(MaskedImage.zeros(template.bbox), template, kernel, PLAIN)
    inside = np.s_[8:-8, 8:-8]
    for background, expected, tolerance in (
        (0.0, 0.0, 5e-4),
        (10.0, -10.0, 5e-4),
        (PolynomialFunction2(0), 0.0, 5e-5),
        (PolynomialFunction2(2), 0.0, 5e-5),
    ):
        difference = convolveAndSubtract(template, science, kernel, background, invert)
        values = difference.image.array[inside] * (1 if invert else -1)
        assert np.abs(values - expected).max() < tolerance
        assert tuple(difference.xy0) == (300, 200)
    kernelSquared = (kernel.imageAt() ** 2).sum()
    noise = difference.variance.array[inside] - science.variance.array[inside]
    assert noise.mean() == pytest.approx(100 * kernelSquared, rel=0.02)
    assert (difference.mask.array[:8] & MaskSchema.standard().bitmask(["NO_DATA"])).all()
    assert np.isnan(difference.image.array[0]).all()


def test_integerTemplate(rng):
    """A synthetic integer-valued template: 1e-5 of the peak."""
    kernel = AnalyticKernel(17, 17, GaussianFunction2(2.0, 3.0))
    template = maskedImage(rng, (80, 90))
    template.image.array[:] = np.round(template.image.array)
    template.image.array[40, 45] = 50000
    science = convolve(MaskedImage.zeros(template.bbox), template, kernel, PLAIN)
    difference = convolveAndSubtract(template, science, kernel, 0.0).image.array[8:-8, 8:-8]
    assert np.abs(difference).max() < 1e-5 * np.nanmax(science.image.array)


def test_backgroundIsEvaluatedAtParentPositions(rng):
    template, science = maskedImage(rng), maskedImage(rng)
    background = PolynomialFunction2([1.0, 0.01, -0.02, 1e-4, 2e-4, -1e-4])
    identity = FixedKernel([[1.0]])
    difference = convolveAndSubtract(template, science, identity, background)
    y, x = np.mgrid[200:250, 300:360].astype(float)
    expected = science.image.array.astype(float) - template.image.array - background(x, y)
    np.testing.assert_allclose(difference.image.array, expected, atol=2e-4)
    np.testing.assert_array_equal(difference.mask.array, template.mask.array | science.mask.array)
    gaussian = GaussianFunction2(30.0, 40.0)  # not a polynomial
    difference = convolveAndSubtract(template, science, identity, gaussian)
    expected = science.image.array.astype(float) - template.image.array - gaussian(x, y)
    np.testing.assert_allclose(difference.image.array, expected, atol=2e-4)


def test_templateWithoutMaskAndVariance(rng):
    """The result carries the science image's planes; its pixels are those of the masked case."""
    template, science = maskedImage(rng), maskedImage(rng)
    kernel = varying()
    masked = convolveAndSubtract(template, science, kernel, 3.0)
    plain = convolveAndSubtract(template.image, science, kernel, 3.0)
    np.testing.assert_array_equal(plain.image.array, masked.image.array)
    inside = np.s_[2:-2, 2:-2]
    np.testing.assert_array_equal(plain.mask.array[inside], science.mask.array[inside])
    np.testing.assert_array_equal(plain.variance.array[inside], science.variance.array[inside])
    with pytest.raises(ShapeError):
        convolveAndSubtract(template.image, science.image, kernel)
    with pytest.raises(ShapeError):
        convolveAndSubtract(maskedImage(rng, (49, 60)), science, kernel)


def test_largeKernelsGoThroughTransforms(rng):
    from stillsky.kernel.fft import isFftSuitable

    template, science = maskedImage(rng, (150, 160)), maskedImage(rng, (150, 160))
    kernel = AnalyticKernel(41, 41, GaussianFunction2(5.0, 7.0))
    assert isFftSuitable(kernel, PLAIN)
    assert not isFftSuitable(AnalyticKernel(35, 35, GaussianFunction2(5.0, 7.0)), PLAIN)
    difference = convolveAndSubtract(template, science, kernel, 1.0)
    direct = convolve(MaskedImage.zeros(template.bbox), template, kernel, PLAIN, method="direct")
    expected = science.image.array - direct.image.array - 1
    np.testing.assert_allclose(difference.image.array, expected, atol=2e-2)
    np.testing.assert_allclose(difference.variance.array, science.variance.array + direct.variance.array, rtol=1e-5)


def test_scaledPlusOfMaskedImages(rng):
    a, b = maskedImage(rng), maskedImage(rng)
    out = scaledPlus(MaskedImage.zeros(a.bbox), 2.0, a, -0.5, b)
    np.testing.assert_allclose(out.image.array, 2 * a.image.array - 0.5 * b.image.array, rtol=1e-6)
    np.testing.assert_allclose(out.variance.array, 4 * a.variance.array + 0.25 * b.variance.array, rtol=1e-6)
    np.testing.assert_array_equal(out.mask.array, a.mask.array | b.mask.array)
    with pytest.raises(ShapeError):
        scaledPlus(out, 1.0, a, 1.0, b.image)


@pytest.mark.shared
def test_realImageMinusItsConvolution(sharedDir):
    """Real sky: the same 2 x 3 Gaussian on both sides, |D| < 5e-4 counts."""
    fits = pytest.importorskip("astropy.io.fits")
    paths = sorted((sharedDir / "data").rglob("*.fits*"))
    pixels = None
    for path in paths:
        with fits.open(path, memmap=False) as hdus:
            for hdu in hdus:
                if getattr(hdu, "is_image", False) and hdu.header.get("NAXIS", 0) == 2 and hdu.header["NAXIS1"] > 200:
                    pixels = np.asarray(hdu.data[:250, :250], np.float32)
                    break
        if pixels is not None and pixels.shape == (250, 250):
            break
    assert pixels is not None
    template = MaskedImage(Image(np.nan_to_num(pixels)))
    kernel = AnalyticKernel(17, 17, GaussianFunction2(2.0, 3.0))
    science = convolve(MaskedImage.zeros(template.bbox), template, kernel, PLAIN)
    difference = convolveAndSubtract(template, science, kernel, 0.0).image.array[8:-8, 8:-8]
    assert np.abs(difference).max() < 5e-4


def test_theModelMayStayAsItIs(rng):
    model, science = maskedImage(rng), maskedImage(rng)
    for invert in (True, False):
        inPlace, untouched, out = model.copy(), model.copy(), model.emptyLike()
        background = PolynomialFunction2([3.0, 0.01, -0.02])
        subtractModel(inPlace, science, background, invert)
        subtractModel(untouched, science, background, invert, out=out)
        for a, b, c, d in zip(inPlace.planes, out.planes, untouched.planes, model.planes):
            np.testing.assert_array_equal(a.array, b.array)
            np.testing.assert_array_equal(c.array, d.array)
    with pytest.raises(ShapeError):
        subtractModel(model, science, 0.0, out=maskedImage(rng, (50, 61)))
