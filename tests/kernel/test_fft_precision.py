"""The transforms of whole images: scipy's, in the image's own precision (architecture check 11)."""

from pathlib import Path

import numpy as np
import pytest
import scipy.fft

import stillsky
from stillsky.kernel import FixedKernel
from stillsky.kernel.convolution import convolveArrays


@pytest.fixture
def transforms(monkeypatch):
    """Types that go into and come out of the forward transforms of images."""
    seen = set()
    forward = scipy.fft.rfft2

    def rfft2(x, *args, **kwargs):
        out = forward(x, *args, **kwargs)
        if np.ndim(x) == 2:
            seen.add((x.dtype.name, out.dtype.name))
        return out

    monkeypatch.setattr(scipy.fft, "rfft2", rfft2)
    return seen


@pytest.mark.parametrize("dtype, spectrum", [("float32", "complex64"), ("float64", "complex128")])
def testImagesAreTransformedInTheirOwnPrecision(rng, transforms, dtype, spectrum):
    image = rng.normal(size=(300, 280)).astype(dtype)
    kernel = FixedKernel(np.abs(rng.normal(size=(41, 41))))
    fast, _, _ = convolveArrays(image, None, None, kernel, method="fft")
    assert transforms == {(dtype, spectrum)}
    exact, _, _ = convolveArrays(image.astype(float), None, None, kernel, method="direct")
    assert fast.dtype == dtype
    good = np.isfinite(exact)
    limit = 1e-6 if dtype == "float32" else 1e-13
    assert np.abs(fast[good] - exact[good]).max() < limit * np.abs(exact[good]).max()


def testARoundTripKeepsSinglePrecision(rng):
    image = rng.normal(size=(512, 512)).astype(np.float32)
    spectrum = scipy.fft.rfft2(image)
    back = scipy.fft.irfft2(spectrum, s=image.shape)
    assert spectrum.dtype == np.complex64 and back.dtype == np.float32
    assert np.abs(back - image).max() < 1e-6 * np.abs(image).max()


def testNumpysTransformsAreNotUsed():
    """They are several times slower for float32, which some versions transform in double precision."""
    package = Path(stillsky.__file__).parent
    sources = list(package.rglob("*.py"))
    assert len(sources) > 100
    assert [f.name for f in sources if any(word in f.read_text() for word in ("np.fft", "numpy.fft"))] == []
