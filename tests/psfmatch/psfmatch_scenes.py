"""Scenes for the tests of this room: stamps as light objects, and the pair whose reference answers are stored."""

import hashlib
import json
from types import SimpleNamespace

import numpy as np

from stillsky.psfmatch import KernelCandidate, PsfMatchSettings, SpatialCellSet, makeAlardLuptonBasisList

# Every field that the compiled settings require, at its default.
FIELDS = {
    "fitForBackground": False,
    "kernelBasisSet": "alard-lupton",
    "spatialModelType": "chebyshev1",
    "spatialKernelOrder": 2,
    "spatialBgOrder": 1,
    "nStarPerCell": 5,
    "maxSpatialIterations": 3,
    "usePcaForSpatialKernel": False,
    "subtractMeanForPca": True,
    "numPrincipalComponents": 5,
    "singleKernelClipping": True,
    "kernelSumClipping": True,
    "spatialKernelClipping": True,
    "checkConditionNumber": False,
    "badMaskPlanes": ["NO_DATA", "EDGE", "SAT"],
    "candidateResidualMeanMax": 0.25,
    "candidateResidualStdMax": 1.5,
    "useCoreStats": False,
    "candidateCoreRadius": 3,
    "maxKsumSigma": 3.0,
    "maxConditionNumber": 5e7,
    "conditionNumberType": "EIGENVALUE",
    "maxSpatialConditionNumber": 1e10,
    "iterateSingleKernel": False,
    "constantVarianceWeighting": True,
    "calculateKernelUncertainty": False,
}
BAD, SAT, EDGE, NO_DATA = 1, 2, 16, 256


def settings(**fields):
    """Settings with some fields changed."""
    return PsfMatchSettings({**FIELDS, **fields})


def compatible(**fields):
    """Settings of the reference's behaviour with some fields changed."""
    return settings(compat=True, **fields)


def stamp(image, variance=1.0, mask=0, xy0=(0, 0), dtype=None):
    """A masked image as any object with three planes: arrays or numbers."""
    image = np.ascontiguousarray(image, dtype=dtype)
    return SimpleNamespace(
        image=image,
        mask=np.ascontiguousarray(np.broadcast_to(np.asarray(mask, np.int32), image.shape)),
        variance=np.ascontiguousarray(np.broadcast_to(np.asarray(variance, np.float32), image.shape)),
        xy0=xy0,
    )


def gaussian(size, sigma, flux=1.0, centre=None, offset=(0.0, 0.0)):
    """Point-sampled round Gaussian of a given flux."""
    centre = size // 2 if centre is None else centre
    y, x = np.mgrid[:size, :size] - float(centre)
    r2 = (x - offset[0]) ** 2 + (y - offset[1]) ** 2
    return flux / (2 * np.pi * sigma**2) * np.exp(-r2 / (2 * sigma**2))


def defaultBasis():
    """The default 27 functions of 21 x 21 pixels."""
    return makeAlardLuptonBasisList(10, 3, [0.7, 1.5, 3.0], [4, 2, 2])


def images(bases):
    """Pixels of all functions, (n, height, width)."""
    return np.array([k.imageAt(0, 0) for k in bases])


def correlate(image, kernel):
    """out[y, x] = sum kernel[j, i] image[y + j, x + i] over the pixels where the kernel fits: the slow truth."""
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(image, float), kernel.shape)
    return np.einsum("yxji,ji->yx", windows, kernel)


def design(bases, template, background):
    """Design matrix of a stamp, (pixels, functions + background), in double."""
    columns = [correlate(template, b).ravel() for b in images(bases)]
    if background:
        columns.append(np.ones_like(columns[0]))
    return np.array(columns).T


def goodRegion(image, kernelSize):
    """The pixels of a stamp on which a kernel of that size fits."""
    h = (kernelSize - 1) // 2
    return image[h : h + image.shape[0] - kernelSize + 1, h : h + image.shape[1] - kernelSize + 1]


def starPositions(rng, n, nstar):
    """Jittered grid of star positions."""
    g = int(np.ceil(np.sqrt(nstar)))
    step = (n - 80) / g
    positions = []
    for j in range(g):
        for i in range(g):
            jx, jy = rng.uniform(-0.3, 0.3, 2)
            positions.append((40 + (i + 0.5 + jx) * step, 40 + (j + 0.5 + jy) * step))
    return positions[:nstar]


def simulatePair(n, nstar, seed, bgorder=None, ksum=1.0, noiseT=5.0, noiseS=10.0, fluxes=(2e4, 2e5), double=()):
    """The pair of the stored recipe: Gaussian template of sigma 1.8, science broader and varying over the image.

    Returns positions, fluxes and the float32 arrays template, science, template variance, science variance.
    """
    rng = np.random.default_rng(seed)
    positions = starPositions(rng, n, nstar)
    flux = 10 ** rng.uniform(np.log10(fluxes[0]), np.log10(fluxes[1]), nstar)
    t, s = np.zeros((n, n)), np.zeros((n, n))
    for k, ((x, y), f) in enumerate(zip(positions, flux)):
        box = (slice(max(0, int(y) - 30), int(y) + 32), slice(max(0, int(x) - 30), int(x) + 32))
        yy, xx = np.mgrid[box[0].start : min(n, box[0].stop), box[1].start : min(n, box[1].stop)]
        t[box] += f / (2 * np.pi * 1.8**2) * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * 1.8**2))
        sx, sy = 2.4 + 0.25 * x / n, 2.4 + 0.2 * y / n - 0.1 * (x / n) * (y / n)
        scale = ksum * f * (2 if k in double else 1)
        s[box] += scale / (2 * np.pi * sx * sy) * np.exp(-((xx - x) ** 2) / 2 / sx**2 - (yy - y) ** 2 / 2 / sy**2)
    vt, vs = t + noiseT**2, s + noiseS**2
    if bgorder == 1:
        y, x = np.mgrid[:n, :n]
        s = s + 30 + 0.02 * x - 0.01 * y
    nt, ns = rng.normal(0, 1, (n, n)), rng.normal(0, 1, (n, n))
    arrays = [a.astype(np.float32) for a in (t + nt * np.sqrt(vt), s + ns * np.sqrt(vs), vt, vs)]
    return positions, flux, arrays


def cellSetOf(positions, arrays, fields, half=20, cell=128, single=False, mask=None):
    """Cell set over the image with one candidate per position; also the candidates in order."""
    t, s, vt, vs = arrays
    n = t.shape[0]
    mask = np.zeros(t.shape, np.int32) if mask is None else mask
    cellSet, candidates = SpatialCellSet((0, 0, n, n), cell), []
    for x, y in positions:
        cx, cy = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
        cut = (slice(cy - half, cy + half + 1), slice(cx - half, cx + half + 1))
        stamps = [stamp(a[cut], v[cut], mask[cut], (cx - half, cy - half)) for a, v in ((t, vt), (s, vs))]
        if single:
            x, y = float(np.float32(x)), float(np.float32(y))
        candidates.append(KernelCandidate(x, y, *stamps, fields))
        cellSet.insertCandidate(candidates[-1])
    return cellSet, candidates


class Golden:
    """A stored solution: recipe, arrays, and the regenerated input."""

    def __init__(self, folder, name):
        self.recipe = json.loads((folder / f"{name}.json").read_text())
        with np.load(folder / f"{name}.npz") as arrays:
            self.arrays = dict(arrays)
        self.positions, _, self.images = simulatePair(**self.recipe["pair_arguments"])
        for key, image in zip(("template", "science"), self.images):
            digest = hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()
            assert digest[:16] == self.recipe["sha"][key]
        self.fields = {**self.recipe["config"], "compat": True}
