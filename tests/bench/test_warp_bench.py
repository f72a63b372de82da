"""Time of warping a 4096 x 4096 masked image, beside SciPy and reproject in the same run."""

import time

import numpy as np
import pytest
from scipy import ndimage

import stillsky
from stillsky.geom import Box2I
from stillsky.image import Exposure, Image, Mask, MaskedImage
from stillsky.warp import Warper
from stillsky.wcs import makeCdMatrix, makeTanWcs

SIZE = 4096


def best(function, repeats=3):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


@pytest.fixture(scope="module")
def exposures():
    rng = np.random.default_rng(1)
    image = rng.normal(100, 5, (SIZE, SIZE)).astype(np.float32)
    mask = np.where(rng.random((SIZE, SIZE), dtype=np.float32) < 0.01, 8, 0).astype(np.int32)
    cd = makeCdMatrix(0.26 / 3600)
    masked = MaskedImage(Image(image), Mask(mask), Image(np.full_like(image, 25.0)))
    src = Exposure(masked, wcs=makeTanWcs((2000, 2000), (1.0, -0.5), cd))
    destWcs = makeTanWcs((2003.3, 1997.6), (1.0, -0.5), makeCdMatrix(0.26 / 3600, np.deg2rad(0.5)))
    return src, destWcs, Box2I((0, 0), (SIZE, SIZE))


@pytest.mark.parametrize("kernel", ["lanczos3", "bilinear", "lanczos5"])
def testWarpMaskedImage(benchmark, exposures, machine, kernel):
    src, destWcs, box = exposures
    warper = Warper(kernel)
    benchmark.pedantic(lambda: warper.warpExposure(destWcs, src, destBBox=box), rounds=3, warmup_rounds=1)
    seconds = benchmark.stats.stats.min
    benchmark.extra_info.update(
        nsPerPixel=1e9 * seconds / SIZE**2, scaledSeconds=seconds / machine, machineFactor=machine
    )
    print(
        f"\n{kernel}: {seconds:.3f} s, {1e9 * seconds / SIZE**2:.1f} ns per pixel, {stillsky.getNumThreads()} threads; "
        f"scaled to the reference machine (factor {machine:.3f}): {seconds / machine:.3f} s"
    )


def testRivals(benchmark, exposures):
    """One float plane with cubic splines, a quarter of the pixels, no mask, no variance propagation."""
    import reproject

    src, destWcs, box = exposures
    warper = Warper("lanczos3")
    warper.warpExposure(destWcs, src, destBBox=box)
    ours = benchmark.pedantic(
        lambda: best(lambda: warper.warpExposure(destWcs, src, destBBox=box)), rounds=1
    )  # fmt: skip
    part = src.image.array[:2048, :2048]
    y, x = np.mgrid[:2048, :2048].astype(np.float32)
    spline = 4 * best(lambda: ndimage.map_coordinates(part, [y + 0.3, x - 0.4], order=3, prefilter=False), 1)
    headers = src.wcs.toHeader(), destWcs.toHeader()
    data = (part, headers[0])
    whole = 4 * best(lambda: reproject.reproject_interp(data, headers[1], shape_out=(2048, 2048), order="bicubic"), 1)
    print(
        f"\nstillsky, three planes with WCS: {ours:.3f} s; map_coordinates order 3, one plane, positions given: "
        f"{spline:.2f} s ({spline / ours:.0f} x); reproject_interp bicubic, one plane: {whole:.2f} s "
        f"({whole / ours:.0f} x)"
    )
