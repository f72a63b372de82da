"""Quality bars on scenes with full truth, for the difference before and after decorrelation, with every default.

Seeds of one kind of scene are pooled: a bar on a median flux bias or on a class of three stars would else judge the
seed. Purity is asked for at the seed for which its bar is stated, the first one: the number of unmasked cosmic rays and
of halos of saturated stars, which are no fault of the subtraction, differs between seeds. The scorer knows the truth
and uses the difference's own variance.
"""

import contextlib
import csv
import io
import json
import sys

import numpy as np
import pytest
from astropy.io import fits
from scipy import ndimage

import stillsky as sky

pytestmark = [
    pytest.mark.shared,
    pytest.mark.slow,
    # the simulator and the scorer leave their files to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

_SCENES = {
    "base1k": ((1, 6, 9), []),
    "hard1k": (
        (2, 12, 22),
        ["--astrom", "0.3", "--flux-scale", "0.85", "--bg-grad", "3", "--cr-unmasked", "0.1"],
    ),
    "deconv1k": ((3, 13, 23), ["--sci-fwhm", "3.6", "--tmpl-fwhm", "4.4"]),
    "base2k": ((4,), ["--size", "2048"]),
    "shallow1k": ((7,), ["--ncoadd", "1"]),
}


class _Scene:
    """One scene, its subtraction and its score."""

    def __init__(self, folder, result, score):
        self.folder, self.result, self.score = folder, result, score
        self.metadata = result.metadata
        self.meta = json.loads((folder / "meta.json").read_text())


@pytest.fixture(scope="session")
def bench(sharedDir):
    """Simulator and scorer."""
    folder = str(sharedDir / "bench")
    sys.path.insert(0, folder)
    try:
        import quality
        import sim_pair
    finally:
        sys.path.remove(folder)
    return sim_pair, quality


@pytest.fixture(scope="session")
def scenes(bench, tmp_path_factory):
    """``scenes(kind)``: all seeds of a kind, each made, subtracted and scored once."""
    simulator, scorer = bench
    done = {}

    def make(kind, seed, options):
        folder = tmp_path_factory.mktemp(f"{kind}-{seed}")
        with contextlib.redirect_stdout(io.StringIO()):
            simulator.main(["--out", str(folder), "--seed", str(seed), *options])
        config = sky.SubtractConfig()
        config.doDecorrelation = config.doDetection = False
        result = sky.subtract(sky.read(folder / "science.fits"), sky.read(folder / "template.fits"), config=config)
        difference = result.difference
        without = difference.mask.isSet("NO_DATA")
        pixels = np.where(without, np.nan, difference.image.array)
        return _Scene(folder, result, scorer.score(str(folder), pixels, difference.variance.array.astype(float)))

    def get(kind):
        if kind not in done:
            seeds, options = _SCENES[kind]
            done[kind] = [make(kind, seed, options) for seed in seeds]
        return done[kind]

    return get


def _mean(scenes, *keys):
    values = []
    for scene in scenes:
        value = scene.score
        for key in keys:
            value = value[key]
        values.append(value)
    return float(np.mean(values))


def _assertFluxBias(scenes):
    """At most 1 %, or three standard errors, pooled over the seeds."""
    bias = np.array([s.score["flux_bias_median"] for s in scenes])
    weight = np.array([s.score["flux_bias_err"] for s in scenes]) ** -2.0
    pooled, error = np.sum(weight * bias) / weight.sum(), weight.sum() ** -0.5
    assert abs(pooled) <= max(0.01, 3 * error), (bias, pooled, error)


def _assertStars(scenes, low=0.95, high=1.08):
    """Chi at the stars of every class with at least 30 of them (all seeds together)."""
    checked = 0
    for name in ("star_snr_10_100", "star_snr_100_1000", "star_snr_1000_sat"):
        classes = [s.score[name] for s in scenes if s.score[name]["n"]]
        n = sum(c["n"] for c in classes)
        if n >= 30:
            chi = sum(c["n"] * c["chi_robust_sigma"] for c in classes) / n
            assert low <= chi <= high, (name, n, chi)
            checked += 1
    assert checked >= 2


def _assertFluxScale(scenes, truth, each=True):
    """Kernel sums within 0.2 % of the true flux scale when pooled; within 0.5 %, or three of its errors, each."""
    sums = np.array([s.metadata["spatialKernelSum"] for s in scenes])
    errors = np.array([s.metadata["spatialKernelSumError"] for s in scenes])
    weight = errors**-2.0
    assert abs(np.sum(weight * sums) / weight.sum() / truth - 1) <= 0.002, sums
    assert not each or np.all(np.abs(sums - truth) <= np.maximum(0.005 * truth, 3 * errors)), (sums, errors)


def test_base_scenes(scenes):
    """Check 1: sky chi, depth, noise, stars, completeness, purity, flux."""
    base = scenes("base1k")
    for scene in base:
        assert scene.result.convolved == "template"
        assert abs(scene.score["blank_chi_sigma"] - 1) <= 0.02
        assert scene.score["flux_noise_over_optimum"] <= 1.02
        assert abs(scene.score["pixel_sigma_over_white"] - 0.959) <= 0.01
        assert scene.score["lost_pixel_fraction"] <= 0.02
    # a transient of true S/N 7 is measured below 5 in one case of forty: all at the stated seed, 98 % of the pool
    assert base[0].score["detect_nominal"]["completeness_snr_ge_7"] == 1.0
    assert _mean(base, "detect_nominal", "completeness_snr_ge_7") >= 0.98
    _assertStars(base)
    _assertFluxBias(base)
    assert base[0].score["detect_nominal"]["purity"] >= 0.95
    near, blank = (_mean(base, "detect_nominal", f"false_{k}_per_4k") for k in ("near_source", "blank"))
    assert near + blank <= 120  # peaks before any flag


def test_hard_scenes(scenes):
    """Check 2: offset 0.3 pixel, flux scale 0.85, background of 3 sigma, unmasked cosmic rays."""
    hard = scenes("hard1k")
    for scene in hard:
        assert abs(scene.score["blank_chi_sigma"] - 1) <= 0.02
        assert scene.score["flux_noise_over_optimum"] <= 1.02
        assert scene.score["background_rms_over_sigma"] <= 0.05
        assert abs(scene.metadata["spatialKernelSum"] - 0.85) <= 0.005
    assert _mean(hard, "detect_nominal", "completeness_snr_ge_7") >= 0.98
    assert hard[0].score["detect_nominal"]["purity"] >= 0.89
    _assertStars(hard)


def test_deconvolution_scenes(scenes):
    """Check 3: the science image is the sharper one; both directions are forecast and the better one is taken."""
    for scene in scenes("deconv1k"):
        forecast = scene.metadata["expectedDepth"]
        errors = {name: forecast[name]["fluxError"] for name in ("template", "science")}
        assert errors[scene.result.convolved] <= 1.005 * min(errors.values())
        assert scene.score["flux_noise_over_optimum"] <= 1.02
        assert any(code == "W-DECONV" for code, _ in scene.result.warnings)
    _assertFluxBias(scenes("deconv1k"))
    assert scenes("deconv1k")[0].score["detect_nominal"]["purity"] >= 0.98


def test_large_base_scene(scenes):
    """2048 pixels: enough stars that every class but the brightest is judged alone."""
    (scene,) = scenes("base2k")
    assert abs(scene.score["blank_chi_sigma"] - 1) <= 0.02
    assert scene.score["flux_noise_over_optimum"] <= 1.02
    assert scene.score["detect_nominal"]["completeness_snr_ge_7"] == 1.0
    assert scene.score["detect_nominal"]["purity"] >= 0.95
    _assertStars([scene])
    _assertFluxBias([scene])


@pytest.mark.parametrize("kind, truth", [("base1k", 1.0), ("hard1k", 0.85), ("deconv1k", 1.0), ("base2k", 1.0)])
def test_flux_is_conserved(scenes, kind, truth):
    """Check 10: the kernel sum is the flux scale, although the template is noisy.

    The bar for a single scene is stated for kernels that broaden; those that sharpen are judged pooled.
    """
    _assertFluxScale(scenes(kind), truth, each=kind != "deconv1k")


@pytest.mark.parametrize("kind", ["base1k", "hard1k", "base2k"])
def test_leave_one_out_residuals(scenes, kind):
    """Stars that carried the fit are judged by fits without them: chi near 1, told in the metadata."""
    loo = [scene.metadata["looRmsMedian"] for scene in scenes(kind)]
    assert all(0.95 <= value <= 1.08 for value in loo), loo


def test_spatial_variation_is_followed(scenes):
    """Residuals at bright stars do not depend on where they are: inner and outer half agree."""
    (scene,) = scenes("base2k")
    difference, n = scene.result.difference, scene.meta["size"]
    chi = difference.image.array / np.sqrt(difference.variance.array)
    halves = {True: [], False: []}
    with open(scene.folder / "sources.csv", newline="") as stream:
        for row in csv.DictReader(stream):
            x, y = round(float(row["x_sci"])), round(float(row["y_sci"]))
            if row["type"] != "star" or float(row["flux_tmpl"]) < 50 * scene.meta["f_min"] / 3:
                continue
            cut = np.s_[y - 4 : y + 5, x - 4 : x + 5]
            if not (40 < x < n - 40 and 40 < y < n - 40) or difference.mask.array[cut].any():
                continue
            halves[np.hypot(x - n / 2, y - n / 2) < 0.4 * n].append(chi[cut].ravel())
    for half in halves.values():
        assert len(half) >= 30
        values = np.concatenate(half)
        assert 0.95 <= 1.482602 * np.median(np.abs(values - np.median(values))) <= 1.08


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_science_is_template_plus_noise(bench, tmp_path, seed):
    """Check 8: kernel sum 1 within 3 of its standard errors, D = S - T to 2 sqrt(n_t / N) sigma rms.

    n_t terms of kernel and background fitted to N pixels of stamps take up that much of the noise. The template is
    noise-free: the narrowest function of an Alard-Lupton kernel would smooth its noise, which is no error of the fit.
    """
    simulator, _ = bench
    with contextlib.redirect_stdout(io.StringIO()):
        simulator.main(["--out", str(tmp_path), "--seed", str(seed), "--size", "768", "--transients", "0"])
    template, science = (sky.read(tmp_path / "template.fits") for _ in range(2))
    with fits.open(tmp_path / "model.fits") as hdus:
        template.image.array[:] = science.image.array[:] = hdus["TEMPLATE"].data
    template.variance.array[:] = 0.0
    noise = np.random.default_rng(seed).standard_normal(science.image.array.shape).astype(np.float32)
    science.image.array[:] += noise * np.sqrt(science.variance.array)
    out = sky.subtract(science, template)
    metadata = out.metadata
    assert abs(metadata["spatialKernelSum"] - 1) <= 3 * metadata["spatialKernelSumError"]
    good = out.difference.mask.array == 0
    deviation = out.difference.image.array - (science.image.array - template.image.array)
    deviation = (deviation / np.sqrt(science.variance.array))[good].astype(float)
    orders = metadata["spatialKernelOrderUsed"], metadata["spatialBgOrderUsed"]
    nKernel, nBackground = ((order + 1) * (order + 2) // 2 for order in orders)
    nBasis = sum((d + 1) * (d + 2) // 2 for d in metadata["ALBasisDegGauss"])
    nTerms = 1 + (nBasis - 1) * nKernel + nBackground
    nPixels = metadata["nGoodCandidates"] * metadata["ALKernelSize"] ** 2
    rms = float(np.sqrt(np.mean(deviation**2)))
    assert rms <= 2 * np.sqrt(nTerms / nPixels), (rms, nTerms, nPixels)


# ---------------------------------------------------------------- after decorrelation


def _whitened(scene, scorer, direction="auto", psfs=(None, None)):
    """The same pair with decorrelation, scored with the true PSF of the optimum; with that of the product if it is exact."""
    config = sky.SubtractConfig()
    config.convolve = direction
    config.doDetection = False
    pair = [sky.read(scene.folder / f"{name}.fits") for name in ("science", "template")]
    for exposure, psf in zip(pair, psfs):
        exposure.psf = exposure.psf if psf is None else psf
    result = sky.subtract(*pair, config=config)
    difference = result.difference
    pixels = np.where(difference.mask.isSet("NO_DATA"), np.nan, difference.image.array)
    variance = np.where(np.isfinite(difference.variance.array), difference.variance.array, np.nan).astype(float)

    def psfAt(meta, x, y):
        if psfs[0] is None:
            return scorer.zogy_psf(meta, x, y)
        return np.array(difference.psf.computeKernelImage((x, y)).array)

    stamp = psfAt(scene.meta, *difference.bbox.center)
    return result, scorer.score(str(scene.folder), pixels, variance, psf=stamp, psf_at=psfAt)


@pytest.mark.parametrize(
    "kind, direction",
    [("base1k", "auto"), ("hard1k", "auto"), ("deconv1k", "auto"), ("shallow1k", "auto"), ("base2k", "auto")]
    + [("base1k", "science"), ("deconv1k", "template"), ("base2k", "science")],
)
def test_noise_is_white_and_told_right_after_decorrelation(scenes, bench, kind, direction):
    """Pixel noise within 1 % of the variance plane, no correlation, nominal S/N within 2 %: both directions."""
    result, score = _whitened(scenes(kind)[0], bench[1], direction)
    if direction != "auto":
        assert result.convolved == direction
    assert abs(score["blank_chi_sigma"] - 1) <= 0.01
    assert abs(score["pixel_sigma_over_white"] - 1) <= 0.01
    lags = {lag: score["autocorr"][lag] for lag in ("1,0", "2,0", "3,0", "0,1", "0,2", "0,3", "1,1")}
    assert max(map(abs, lags.values())) < 0.01, lags
    assert abs(score["nominal_snr_sigma_blank"] - 1) <= 0.02
    assert score["flux_noise_over_optimum"] <= 1.02
    assert max(map(abs, result.metadata["decorrelation"]["noiseWhiteness"])) < 0.02
    if direction == "auto":
        # stars are judged by the variance plane of the result: it fits there too
        assert 0.95 <= score["star_snr_10_100"]["chi_robust_sigma"] <= 1.08
        assert score["detect_nominal"]["completeness_snr_ge_7"] == 1.0


def test_depth_of_shallow_templates_is_gained_back(scenes, bench):
    """Template as noisy as the science image: pixel noise 0.744 of white before, 1 after; nominal S/N is then right."""
    (scene,) = scenes("shallow1k")
    assert abs(scene.score["pixel_sigma_over_white"] - 0.744) <= 0.01
    assert scene.score["nominal_snr_sigma_blank"] > 1.15  # what a 5 sigma cut gets wrong
    _, score = _whitened(scene, bench[1])
    assert abs(score["nominal_snr_sigma_blank"] - 1) <= 0.02


@pytest.mark.parametrize("kind", ["base1k", "shallow1k"])
def test_psf_of_the_difference_is_that_of_proper_subtraction(scenes, bench, kind):
    """With the true PSFs of the inputs: P_D' within 2 % of the peak everywhere, fluxes unbiased, pulls near 1.

    Not asked of kernels that sharpen: theirs is not the quotient of the PSFs, nor is the filter that of ZOGY.
    """
    simulator, scorer = bench
    scene = scenes(kind)[0]
    n = scene.meta["size"]
    nodes = np.linspace(0, n - 1, 6)
    psfs = []
    for name in ("sci", "tmpl"):
        truth = simulator.psf_from_meta(scene.meta, name)
        psfs.append(sky.ImageGridPsf([[truth.stamp(25, x, y) for x in nodes] for y in nodes], nodes, nodes))
    result, score = _whitened(scene, scorer, psfs=psfs)
    for x, y in ((100, 100), (n / 2, n / 2), (0.8 * n, 0.3 * n)):
        found = result.difference.psf.computeKernelImage((x, y)).array
        expected = scorer.zogy_psf(scene.meta, x, y)
        half = 10
        a, b = (
            p[p.shape[0] // 2 - half :, p.shape[1] // 2 - half :][: 2 * half + 1, : 2 * half + 1]
            for p in (found, expected)
        )
        assert np.abs(a / a.sum() - b / b.sum()).max() < 0.02 * b.max()
    assert abs(score["flux_bias_median"]) <= max(0.01, 3 * score["flux_bias_err"])
    assert score["flux_pull_robust_sigma"] <= 1.15


# ---------------------------------------------------------------- sources


class _Candidates:
    """Sources of the default subtraction of a scene against its truth."""

    def __init__(self, scene):
        result = sky.subtract(sky.read(scene.folder / "science.fits"), sky.read(scene.folder / "template.fits"))
        self.table = table = result.sources[~np.asarray(result.sources["sky_source"])]
        with open(scene.folder / "transients.csv", newline="") as stream:
            rows = list(csv.DictReader(stream))
        self.truth = {name: np.array([float(r[name]) for r in rows]) for name in ("x", "y", "flux", "snr_opt")}
        searched = self._searched(scene)
        self.x, self.y = (np.asarray(table[f"base_SdssCentroid_{c}"], float) for c in "xy")
        self.flux = np.asarray(table["base_PsfFlux_instFlux"], float)
        self.inside = self._at(searched, self.x, self.y)
        self.wanted = self._at(searched, self.truth["x"], self.truth["y"]) & (self.truth["snr_opt"] >= 7)
        self.area = np.count_nonzero(searched)
        self.good = self.inside & ~np.asarray(table["candidate_flag"])
        self.tolerance = max(2.0, 0.6 * scene.meta["sci_fwhm"])
        self.isTrue, self.matched = self._match()

    @staticmethod
    def _searched(scene):
        """The scorer's area: 40 pixels from the border and 4 from masked pixels."""
        bad = sum(fits.getdata(scene.folder / f"{name}.fits", "MASK") for name in ("science", "template")) != 0
        ok = ~ndimage.binary_dilation(bad, iterations=4)
        ok[:40] = ok[-40:] = ok[:, :40] = ok[:, -40:] = False
        return ok

    @staticmethod
    def _at(plane, x, y):
        ix, iy = (np.clip(np.round(v), 0, n - 1).astype(int) for v, n in ((x, plane.shape[1]), (y, plane.shape[0])))
        return plane[iy, ix]

    def _match(self):
        """Unflagged sources that are transients, and the source of each transient (-1: none), strongest first."""
        isTrue, matched = np.zeros(len(self.table), bool), np.full(len(self.truth["x"]), -1)
        for k in np.argsort(-self.truth["snr_opt"]):
            distance = np.hypot(self.x - self.truth["x"][k], self.y - self.truth["y"][k])
            free = self.good & ~isTrue & (np.sign(self.flux) == np.sign(self.truth["flux"][k]))
            distance[~free] = np.inf
            if len(distance) and distance.min() <= self.tolerance:
                matched[k] = np.argmin(distance)
                isTrue[matched[k]] = True
        return isTrue, matched


@pytest.fixture(scope="session")
def candidates(scenes):
    done = {}

    def get(kind):
        if kind not in done:
            done[kind] = [_Candidates(scene) for scene in scenes(kind)]
        return done[kind]

    return get


@pytest.mark.parametrize(
    "kind, completeness, purity",
    [
        ("base1k", 0.99, 0.95),
        ("base2k", 0.99, 0.95),
        ("hard1k", 0.98, 0.89),
        ("deconv1k", 0.99, 0.98),
        ("shallow1k", 0.99, 0.95),
    ],
)
def test_unflagged_sources_are_complete_and_pure(candidates, kind, completeness, purity):
    """Transients of S/N 7 and more; what else is unflagged stays below the expectation of noise + 3 sqrt + 4 per 4k."""
    found = candidates(kind)
    wanted = sum(np.count_nonzero(c.wanted) for c in found)
    assert sum(np.count_nonzero(c.matched[c.wanted] >= 0) for c in found) >= completeness * wanted
    nGood, nTrue = (sum(np.count_nonzero(v) for v in values) for values in zip(*((c.good, c.isTrue) for c in found)))
    assert nTrue >= purity * nGood
    frames = sum(c.area for c in found) / 4096.0**2
    expected = 6.0 * frames  # of noise alone, both signs (rivals, section 3)
    assert nGood - nTrue <= expected + 3 * np.sqrt(expected) + 4 * max(frames, 1.0)


def test_errors_of_fluxes_and_positions_are_right(candidates):
    """Pulls of sources above S/N 10 without a host, about which the kernel's uncertainty says nothing: width 1 in 5 %,
    or as well as so many sources can tell."""
    fluxes, positions = [], []
    for c in candidates("base2k") + candidates("base1k"):
        rows = c.matched[(c.matched >= 0) & (c.truth["snr_opt"] > 10)]
        truth = np.flatnonzero((c.matched >= 0) & (c.truth["snr_opt"] > 10))
        table = c.table[rows]
        lonely = np.abs(np.asarray(table["candidate_templateFlux"])) < 2 * np.abs(c.flux[rows])
        fluxes.append(((c.flux[rows] - c.truth["flux"][truth]) / table["base_PsfFlux_instFluxErr"])[lonely])
        for axis, values in (("x", c.x), ("y", c.y)):
            error = np.asarray(table[f"base_SdssCentroid_{axis}Err"])
            positions.append(((values[rows] - c.truth[axis][truth]) / error)[lonely])
    for pulls in (np.concatenate(fluxes), np.concatenate(positions)):
        spread, n = 1.482602 * np.median(np.abs(pulls - np.median(pulls))), len(pulls)
        assert n >= 80 and abs(spread - 1) <= 0.05 + 2 * 1.17 / np.sqrt(n), (spread, n)  # 1.17/sqrt(n): error of it
