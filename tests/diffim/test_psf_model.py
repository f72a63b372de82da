"""Empirical PSF against planted ones."""

import numpy as np
import pytest

from stillsky.diffim import subtract
from stillsky.diffim.config import PsfModelConfig, SubtractConfig
from stillsky.diffim.psf_model import estimatePsf
from stillsky.errors import NoDataError
from stillsky.image import Image, MaskedImage
from stillsky.sim import simulatePair
from stillsky.sim.moffat_field import MoffatField

SIZE = 900
FIELD = MoffatField(SIZE, SIZE, 4.0, 3.5, (0.06, -0.03, 0.02, 0.01, -0.02), (0.03, 0.02, 0.0), (0.0, -0.01, 0.02))


def starImage(rng, noise=1.0, flux=3e5, spacing=90):
    """Isolated stars on a jittered grid with known positions."""
    x, y = (v.ravel().astype(float) for v in np.meshgrid(*2 * [np.arange(45, SIZE - 40, spacing)]))
    x, y = x + rng.uniform(-3, 3, x.size), y + rng.uniform(-3, 3, y.size)
    fluxes = flux * 10 ** rng.uniform(-1, 0, x.size)
    image = np.zeros((SIZE, SIZE))
    grid = np.arange(-40, 41)
    for px, py, f in zip(x, y, fluxes):
        ix, iy = int(round(px)), int(round(py))
        dx, dy = grid[None, :] + ix - px, grid[:, None] + iy - py
        rows, columns = iy + grid, ix + grid
        rows, columns = rows[(rows >= 0) & (rows < SIZE)], columns[(columns >= 0) & (columns < SIZE)]
        stamp = f * FIELD.profile(dx, dy, px, py)
        image[np.ix_(rows, columns)] += stamp[np.ix_(rows - iy + 40, columns - ix + 40)]
    variance = noise**2 + image / 2
    image += np.sqrt(variance) * rng.standard_normal(image.shape)
    return MaskedImage(Image(image.astype(np.float32)), None, Image(variance.astype(np.float32))), x, y


def halfMaximumWidth(stamp):
    from scipy.ndimage import zoom

    fine = zoom(stamp, 5, order=3)
    return 2 * np.sqrt(np.count_nonzero(fine > fine.max() / 2) / 25 / np.pi)


def test_widthAndPeakFollowTheTruthOverTheField(rng):
    masked, x, y = starImage(rng)
    model = estimatePsf(masked, 0, x, y, 4.2, PsfModelConfig())
    assert model.order == 2
    for px, py in ((450, 450), (150, 200), (780, 140), (200, 800), (760, 760)):
        made = model.psf.computeKernelImage((px, py)).array
        half = made.shape[0] // 2
        true = FIELD.image(px, py, 60)[60 - half : 61 + half, 60 - half : 61 + half]
        assert halfMaximumWidth(made) == pytest.approx(halfMaximumWidth(true), rel=0.01)
        assert made[half, half] == pytest.approx(true[half, half], rel=0.01)
        assert made.sum() == pytest.approx(1.0, abs=1e-12)


def test_aPedestalUnderTheStarsIsNotPsf(rng):
    """Unresolved neighbours leave a positive pedestal: peak and wings must not notice."""
    masked, x, y = starImage(rng)
    raised, _, _ = starImage(np.random.default_rng(20261121))
    raised.image += 30.0
    a = estimatePsf(masked, 0, x, y, 4.2, PsfModelConfig()).psf.computeKernelImage((450, 450)).array
    b = estimatePsf(raised, 0, x, y, 4.2, PsfModelConfig()).psf.computeKernelImage((450, 450)).array
    assert b.max() == pytest.approx(a.max(), rel=2e-3)


def test_wingsContinueAsAFallingPowerLaw(rng):
    masked, x, y = starImage(rng)
    model = estimatePsf(masked, 0, x, y, 4.2, PsfModelConfig())
    stamp = model.psf.computeKernelImage((450, 450)).array
    half = stamp.shape[0] // 2
    profile = stamp[half, half + 14 :]
    assert np.all(profile > 0) and np.all(np.diff(profile) < 0)
    assert model.wingSlope == pytest.approx(-7.0, abs=1.0)  # Moffat of beta 3.5


def test_masksNeighboursAndBadStarsAreLeftOut(rng):
    masked, x, y = starImage(rng)
    clean = estimatePsf(masked, 0, x, y, 4.2, PsfModelConfig()).psf.computeKernelImage((450, 450)).array
    bad = masked.mask.bitmask("BAD")
    for k in range(0, len(x), 3):  # a hot pixel beside every third star, masked
        ix, iy = int(x[k]) + 5, int(y[k]) + 3
        masked.image.array[iy, ix] = np.nan if k % 2 else 1e6
        masked.mask.array[iy, ix] |= bad
    masked.image.array[int(y[7]) - 2 : int(y[7]) + 3, int(x[7]) - 2 : int(x[7]) + 3] += 2e5  # not a star
    model = estimatePsf(masked, bad, x, y, 4.2, PsfModelConfig())
    assert not model.used[7]
    again = model.psf.computeKernelImage((450, 450)).array
    np.testing.assert_allclose(again, clean, atol=0.01 * clean.max())


def test_theOrderFallsWithTheNumberOfStars(rng):
    masked, x, y = starImage(rng)
    spread = rng.permutation(len(x))
    for n, order in ((4, 0), (14, 1), (40, 2)):
        some = spread[:n]
        assert estimatePsf(masked, 0, x[some], y[some], 4.2, PsfModelConfig()).order == order


def test_starsInOneCornerGiveNoVariationFarFromThem(rng):
    """Extrapolated polynomials run away; the model is then as constant as it must be to stay a PSF everywhere."""
    masked, x, y = starImage(rng)
    corner = (x < 330) & (y < 330)
    model = estimatePsf(masked, 0, x[corner], y[corner], 4.2, PsfModelConfig())
    for position in ((10, 10), (890, 890), (450, 450), (10, 890)):
        assert 2.1 < model.psf.fwhm(position) < 8.4


def test_noStarInsideIsAnError(rng):
    masked, _, _ = starImage(rng)
    with pytest.raises(NoDataError):
        estimatePsf(masked, 0, np.array([3.0]), np.array([5.0]), 4.2, PsfModelConfig())


def test_fewStarsAmongNeighboursGiveFluxesWithoutBias():
    """Fields of 50 to 70 usable stars, with neighbours, galaxies and cosmic rays: the bar of flux bias is 1 %.

    The bias is that of a matched filter with the model on stars of the true PSF, its median over fields and positions.
    """
    config = SubtractConfig()
    config.doDecorrelation = False
    config.convolve = "template"  # the difference has the science PSF
    biases = []
    for seed in range(1, 7):
        pair = simulatePair(size=800, seed=seed, starDensity=700.0)
        exposure = pair.science.toExposure()
        result = subtract(pair.science.toExposure(psf=False), pair.template.toExposure(), config=config)
        for position in ((400, 400), (160, 160), (640, 160), (160, 640), (640, 640)):
            made, true = (psf.computeKernelImage(position) for psf in (result.difference.psf, exposure.psf))
            common = made.bbox.clipped(true.bbox)
            made, true = made[common].array, true[common].array
            biases.append(np.sum(made * true) / np.sum(made * made) - 1)
    assert np.median(np.abs(biases)) < 0.01
