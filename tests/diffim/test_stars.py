"""Finding and choosing stars, on simulated fields with known contents."""

import numpy as np
import pytest
from scipy.ndimage import shift
from scipy.spatial import cKDTree

from stillsky.diffim.config import StarConfig
from stillsky.diffim.stars import classifyStars, findObjects, selectKernelStars
from stillsky.errors import NoDataError
from stillsky.fits import readExposure
from stillsky.geom import Box2I
from stillsky.image import Image, MaskedImage
from stillsky.sim import simulatePair


@pytest.fixture(scope="module")
def pair():
    return simulatePair(size=768, seed=3, starDensity=900.0)


@pytest.fixture(scope="module")
def objects(pair):
    exposure = pair.science.toExposure()
    found = findObjects(exposure.maskedImage, StarConfig())
    classifyStars(found, StarConfig(), exposure.image.array.shape)
    return found


def nearest(found, catalogue):
    tree = cKDTree(np.column_stack([catalogue["x"], catalogue["y"]]))
    return tree.query(np.column_stack([found.x, found.y]))


def test_starsAreStars(pair, objects):
    """At least 85 % of what is called a star is nearer to a true star than to anything else of its brightness."""
    distance, _ = nearest(objects.subset(objects.isStar), pair.stars)
    assert np.count_nonzero(objects.isStar) > 30
    assert np.mean(distance < 1.0) > 0.85


def test_brightCleanIsolatedStarsAreFound(pair, objects):
    """Of the isolated unsaturated stars above S/N 60, nine in ten are called stars."""
    stars = pair.stars
    exposure = pair.science.toExposure()
    noise = np.sqrt(np.median(exposure.variance.array)) * 2 * np.sqrt(np.pi) * 4.3 / 2.35
    x, y, flux = stars["x"], stars["y"], stars["flux"]
    distances, _ = cKDTree(np.column_stack([x, y])).query(np.column_stack([x, y]), k=2)
    clean = ~exposure.mask.isSet(["SAT", "BAD", "CR"])
    inside = (x > 30) & (x < 738) & (y > 30) & (y < 738)
    ix, iy = np.clip(x, 0, 767).astype(int), np.clip(y, 0, 767).astype(int)
    clear = np.array([clean[max(j - 8, 0) : j + 9, max(i - 8, 0) : i + 9].all() for i, j in zip(ix, iy)])
    galaxies = cKDTree(np.column_stack([pair.galaxies["x"], pair.galaxies["y"]])).query(np.column_stack([x, y]))[0]
    wanted = inside & clear & (flux > 60 * noise) & (distances[:, 1] > 20) & (galaxies > 20)
    tree = cKDTree(np.column_stack([objects.x[objects.isStar], objects.y[objects.isStar]]))
    found = tree.query(np.column_stack([x[wanted], y[wanted]]))[0] < 1.0
    assert np.count_nonzero(wanted) >= 5
    assert found.mean() >= 0.9


def test_saturatedStarsNeverCount(pair, objects):
    saturated = pair.science.toExposure().mask.isSet("SAT")
    for x, y in zip(objects.x[objects.isStar], objects.y[objects.isStar]):
        ix, iy = int(round(x)), int(round(y))
        assert not saturated[max(iy - 3, 0) : iy + 4, max(ix - 3, 0) : ix + 4].any()


def test_aNeighbourDisqualifies():
    image = np.random.default_rng(1).normal(0, 1, (200, 200))
    y, x = np.mgrid[:200, :200]
    for sx, sy, f in ((60, 60, 900), (67, 62, 500), (140, 60, 900), (60, 140, 900), (140, 140, 900), (100, 100, 900)):
        image += f * np.exp(-0.5 * ((x - sx) ** 2 + (y - sy) ** 2) / 4)
    masked = MaskedImage(Image(image.astype(np.float32)), None, Image(np.ones((200, 200), np.float32)))
    found = findObjects(masked, StarConfig(), 64)
    classifyStars(found, StarConfig(), (200, 200))
    close = np.hypot(found.x - 63, found.y - 61) < 8
    assert close.any() and not found.isolated[close].any()
    assert found.isolated[np.hypot(found.x - 140, found.y - 60) < 2].all()


def test_variableObjectsDoNotCarryTheFit(pair):
    """A star made four times brighter in one image is not among the kernel stars; the others remain."""
    science, template = pair.science.toExposure(), pair.template.toExposure()
    config = StarConfig()
    found = [findObjects(e.maskedImage, config) for e in (science, template)]
    for objects in found:
        classifyStars(objects, config, science.image.array.shape)
    before = selectKernelStars(*found, config, science.bbox, 21, 0, 3)
    victim = 4
    k = int(np.argmin(np.hypot(found[0].x - before.x[victim], found[0].y - before.y[victim])))
    found[0].flux = found[0].flux.copy()
    found[0].flux[k] *= 4
    after = selectKernelStars(*found, config, science.bbox, 21, 0, 3)
    assert np.hypot(after.x - before.x[victim], after.y - before.y[victim]).min() > 1
    assert after.rejected["variable"] == before.rejected["variable"] + 1
    assert len(after) >= len(before) - 2


def test_theEdgeIsKeptFree(pair):
    science, template = pair.science.toExposure(), pair.template.toExposure()
    config = StarConfig()
    found = [findObjects(e.maskedImage, config) for e in (science, template)]
    for objects in found:
        classifyStars(objects, config, science.image.array.shape)
    chosen = selectKernelStars(*found, config, science.bbox, 60, 0, 3)
    assert chosen.x.min() >= 60 and chosen.y.min() >= 60 and chosen.x.max() <= 707 and chosen.y.max() <= 707
    assert chosen.rejected["near the edge"] > 0


def test_anEmptySkyIsAnError(rng):
    masked = MaskedImage(
        Image(rng.normal(0, 1, (300, 300)).astype(np.float32)), None, Image(np.ones((300, 300), np.float32))
    )
    found = findObjects(masked, StarConfig())
    with pytest.raises(NoDataError) as caught:
        classifyStars(found, StarConfig(), (300, 300))
    assert caught.value.found and caught.value.remedy


def faintField(seed, sigma, nStars=25, cosmicRays=0):
    """Stars whose peaks are twice the noise, far apart, and pixels hit by cosmic rays."""
    rng = np.random.default_rng(seed)
    image = rng.standard_normal((480, 480)).astype(np.float32)
    y, x = np.mgrid[:480, :480]
    for k in range(nStars):
        cx, cy = 60 + 90 * (k % 5) + rng.uniform(-5, 5), 60 + 90 * (k // 5) + rng.uniform(-5, 5)
        image += 2 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2)).astype(np.float32)
    image[rng.integers(30, 450, cosmicRays), rng.integers(30, 450, cosmicRays)] += 60
    return MaskedImage(Image(image), variance=Image(np.ones_like(image)))


@pytest.mark.parametrize("fwhm", [6.0, 10.0, 13.0])
def test_starsTooFaintForMomentsTellTheirWidthTogether(fwhm):
    """The median of the peaks that stand alone; a cosmic ray brighter than all stars does not matter."""
    config, found = StarConfig(), []
    for seed in range(3):
        objects = findObjects(faintField(seed, fwhm / 2.3548, cosmicRays=1), config)
        classifyStars(objects, config, (480, 480))
        assert len(objects) > 10
        found.append(objects.fwhm)
    assert np.mean(found) == pytest.approx(fwhm, rel=0.12)


@pytest.mark.shared
def test_widthOfTheFaintStarsOfM13(sharedDir):
    """Five real frames of 5 s, no star of which is above S/N 12: each tells the width that the seven images of two stars far
    from the cluster have together, 11.5 +- 0.4 px (Gaussians fitted to their pixels)."""
    config = StarConfig()
    for number in range(1, 6):
        exposure = readExposure(str(sharedDir / "data" / "m13" / f"M13_blue_{number:04d}.fits"))[0]
        objects = findObjects(exposure[Box2I((420, 300), (500, 460))].maskedImage, config)
        classifyStars(objects, config, (460, 500))
        assert objects.fwhm == pytest.approx(11.5, rel=0.15), number


@pytest.mark.shared
def test_resampledFrameOfM13HasItsWidthToo(sharedDir):
    """Its smoother noise lets moments of objects at S/N 6 converge, to widths of that noise; a cosmic ray is the brightest."""
    exposure = readExposure(str(sharedDir / "data" / "m13" / "M13_blue_0004.fits"))[0]
    exposure.image.array[:] = shift(exposure.image.array, (0.18, 11.38), order=3, mode="nearest")
    exposure.variance.array[:] *= 0.65
    objects = findObjects(exposure.maskedImage, StarConfig())
    classifyStars(objects, StarConfig(), exposure.image.array.shape)
    assert objects.fwhm == pytest.approx(11.5, rel=0.15)
