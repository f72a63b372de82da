"""Sources of a difference that overlap: measured without each other's light, dipoles kept, other opposites parted."""

import numpy as np
import pytest
from test_detect_measure import SIGMA, exposureOf, gaussians, pairOf, plainConfig, positionsOn

from stillsky.diffim.blends import Blends, resolveBlends
from stillsky.diffim.detect_measure import detectAndMeasure

FWHM = 2.354820045 * SIGMA
UNIT = np.sqrt(4 * np.pi) * SIGMA


def blends(separation, seed, ratio, snr=30.0):
    """25 pairs of changes at a distance in FWHM: (x, y, flux)."""
    rng = np.random.default_rng(seed)
    gx, gy = positionsOn(np.arange(35, 280, 58), rng)
    turn, half = rng.uniform(0, 2 * np.pi, len(gx)), 0.5 * separation * FWHM
    x = np.concatenate([gx + half * np.cos(turn), gx - half * np.cos(turn)])
    y = np.concatenate([gy + half * np.sin(turn), gy - half * np.sin(turn)])
    return x, y, snr * UNIT * np.repeat([1.0, ratio], len(gx))


def found(tables, truths):
    """Rows of the planted ones in one list: pulls of flux, of position, and the rows."""
    flux, place, rows = [], [], []
    for table, truth in zip(tables, truths, strict=True):
        for x, y, f in zip(*truth, strict=True):
            d2 = (table["base_SdssCentroid_x"] - x) ** 2 + (table["base_SdssCentroid_y"] - y) ** 2
            d2 = np.where(np.sign(table["base_PsfFlux_instFlux"]) == np.sign(f), d2, np.inf)
            k = int(np.argmin(d2))
            if d2[k] < SIGMA**2:
                row = table[k]
                rows.append(row)
                flux.append((row["base_PsfFlux_instFlux"] - f) / row["base_PsfFlux_instFluxErr"])
                place += [
                    (row[f"ip_diffim_DipoleFit_{c}"] - v) / row[f"ip_diffim_DipoleFit_{c}Err"]
                    for c, v in (("x", x), ("y", y))
                ]
    return np.array(flux), np.array(place), rows


@pytest.mark.parametrize(("separation", "ratio", "part"), [(2.0, 0.7, 0.99), (3.0, 0.7, 0.99), (1.5, -0.35, 0.99)])
def test_closeSourcesAreMeasuredWithoutTheLightOfTheirNeighbours(separation, ratio, part):
    """26 G11; and of opposite signs: two changes whose fluxes differ are two rows."""
    truths = [blends(separation, 60 + k, ratio) for k in range(4)]
    config = plainConfig(doDeblend=True)
    tables = [detectAndMeasure(*pairOf(*t, seed=k), config=config).sources for k, t in enumerate(truths)]
    flux, place, rows = found(tables, truths)
    assert len(rows) >= part * 200
    # 200 values: the standard deviation is known to 5 %, the mean to 7 %
    assert flux.std() == pytest.approx(1, abs=0.1) and abs(flux.mean()) < 0.25
    assert place.std() == pytest.approx(1, abs=0.1)
    assert not any(row["candidate_flag"] for row in rows)
    assert not any(row["ip_diffim_DipoleFit_classification"] for row in rows)
    near = separation * FWHM < 6 * SIGMA
    for row in rows:
        assert row["deblend_nChild"] == 0 and row["parent"] == 0
        assert row["deblend_parentNChild"] == (2 if near else 0)
        assert row["detect_isPrimary"] and row["detect_isDeblendedSource"]
        assert row["detect_fromBlend"] == near and row["detect_isIsolated"] != near


def test_otherMeasurementsLackTheNeighbourToo():
    """Forced fluxes, shapes and features of a pair are those of its members alone."""
    truth = blends(1.7, 3, 0.8)
    images = pairOf(*truth, seed=3)
    before = [image.image.array.copy() for image in images]
    table = detectAndMeasure(*images, config=plainConfig(doDeblend=True)).sources
    for image, pixels in zip(images, before, strict=True):
        assert np.array_equal(image.image.array, pixels)
    _, _, rows = found([table], [truth])
    assert len(rows) >= 48
    values = {n: np.array([r[n] for r in rows]) for n in ("candidate_widthRatio", "candidate_psfChi2", "motionScore")}
    assert np.median(values["candidate_widthRatio"]) == pytest.approx(1, abs=0.03)
    assert np.median(values["candidate_psfChi2"]) == pytest.approx(1, abs=0.15)
    assert np.median(values["motionScore"]) < 4
    joint = np.array([r["base_PsfFlux_instFlux"] for r in rows])
    forced = [np.array([r[f"ip_diffim_forced_{t}PsfFlux_instFlux"] for r in rows]) for t in ("", "template_")]
    # the science image has stars, too: so has the template
    assert np.median(np.abs(forced[0] - forced[1] - joint)) < 0.02 * np.median(joint)


def test_dipolesStayOneRow():
    """Equal fluxes of opposite sign: nothing tells two changes from a star that moved."""
    for separation, seed in ((0.2, 1), (0.6, 2), (1.0, 3), (1.5, 4)):
        truth = blends(separation, seed, -1.0, snr=60.0)
        table = detectAndMeasure(*pairOf(*truth, seed=seed), config=plainConfig(doDeblend=True)).sources
        assert len(table) == 25
        assert (table["merge_footprint_positive"] & table["merge_footprint_negative"]).all()
        assert table["candidate_flag_dipole"].all()
        assert (table["motionScore"] > 100).all()


def test_dipoleBesideAChangeIsARowOfItsOwn():
    """A stronger change within the same footprint took one lobe for its own, and the dipole was lost."""
    rng = np.random.default_rng(31)
    x, y = positionsOn(np.arange(40, 280, 55), rng)
    turn = rng.uniform(0, 2 * np.pi, len(x))
    near = x + 5.2 * SIGMA * np.cos(turn), y + 5.2 * SIGMA * np.sin(turn)
    truth = (x, y, np.full(len(x), 40.0 * UNIT))
    made = [image.image.array.astype(float) for image in pairOf(*[v[:0] for v in truth], seed=31)]
    turn = rng.uniform(0, 2 * np.pi, len(x))
    shift = np.stack([np.cos(turn), np.sin(turn)]) * 0.3 * SIGMA
    flux = np.full(len(x), 150.0 * UNIT)
    lobes = [gaussians(near[0] + s * shift[0], near[1] + s * shift[1], flux) for s in (1, -1)]
    change = gaussians(*truth)
    made[0] += lobes[0] + change
    made[1] += lobes[1]
    made[2] += lobes[0] + change - lobes[1]
    images = [exposureOf(i, n) for i, n in zip(made, (np.sqrt(0.9), np.sqrt(0.1), 1.0), strict=True)]
    table = detectAndMeasure(*images, config=plainConfig(doDeblend=True)).sources
    middle = np.asarray(table["ip_diffim_DipoleFit_x"]), np.asarray(table["ip_diffim_DipoleFit_y"])
    dipoles = np.asarray(table["ip_diffim_DipoleFit_classification"])
    found = [(np.hypot(middle[0][dipoles] - a, middle[1][dipoles] - b) < 1).any() for a, b in zip(*near, strict=True)]
    assert np.mean(found) >= 0.95
    alone = [(np.hypot(middle[0][~dipoles] - a, middle[1][~dipoles] - b) < 1).any() for a, b in zip(x, y, strict=True)]
    assert np.mean(alone) >= 0.95


def test_oppositesStayTogetherWhenToldTo():
    truth = blends(1.5, 5, -0.35)
    for values in ({"doSplitOpposite": False}, {"compat": "reference", "growFootprint": 4}):
        table = detectAndMeasure(*pairOf(*truth, seed=5), config=plainConfig(**values)).sources
        assert len(table) == 25
        assert not table["detect_fromBlend"].any()
    parted = detectAndMeasure(*pairOf(*truth, seed=5), config=plainConfig())
    assert len(parted.sources) == 50 and parted.metadata["nPartedDiaSources"] == 25
    assert len(parted.footprints) == 50
    assert (np.diff(parted.sources["peakY"]) >= 0).all()
    assert parted.sources["is_negative"].sum() == 25
    # every pixel belongs to one of the two
    areas = np.asarray(parted.sources["footprintArea"])
    assert areas.sum() == parted.footprints.spans.area


def test_residualsOfStarsAreNotParted():
    """A star that is brighter and misplaced leaves two unequal lobes that no two PSFs explain: one row."""
    rng = np.random.default_rng(12)
    x, y = positionsOn(np.arange(40, 280, 60), rng)
    template = gaussians(x, y, np.full(len(x), 20000.0))
    science = gaussians(x + 0.3, y, np.full(len(x), 20500.0)) + rng.normal(0, 1, template.shape)
    made = [exposureOf(image) for image in (science, template, science - template)]
    table = detectAndMeasure(*made, config=plainConfig(doDeblend=True)).sources
    assert len(table) == len(x)
    assert table["candidate_flag"].all()


def test_groupsAndPasses():
    """Three groups: a pair, a dipole alone, a dipole with a neighbour; one row far from all."""
    flux = np.zeros(
        7, [("flux", float), ("flagBits", int), ("x", float), ("y", float), ("xErr", float), ("yErr", float)]
    )
    flux["flux"] = [5, 4, 3, -3, 6, -6, 2]
    b = Blends(flux, np.array([0, 1, 2, 2, 4, 4, 5]), np.array([0, 0, 1, 1, 2, 2, 2]), np.sign(flux["flux"]), 6)
    assert b.size.tolist() == [2, 2, 1, 1, 2, 2]
    assert b.solved.tolist() == [0, 1, 6]
    assert np.isfinite(b.centroids(np.arange(6)).all(axis=1)).sum() == 6
    exposure = exposureOf(np.zeros((300, 300)))
    rows = [part.tolist() for part, _ in b.passes(exposure, exposure.psf)]
    assert rows == [[2, 3], [0, 4], [1, 5]]
    kept = b.subset(np.array([1, 2, 4, 5]))
    assert kept.size.tolist() == [2, 1, 2, 2]
    assert sorted(sum((part.tolist() for part, _ in kept.passes(exposure, exposure.psf)), [])) == [0, 1, 2, 3]


def test_nothingOverlaps():
    truth = blends(8.0, 5, 0.7)
    images = pairOf(*[v[:1] for v in truth], seed=5)
    result = detectAndMeasure(*images, config=plainConfig(doDeblend=True))
    assert len(result.sources) == 1 and result.sources["detect_isIsolated"][0]
    flags = np.zeros(1, [("positive", "?"), ("negative", "?"), ("sky", "?")])
    out = resolveBlends(
        images[2], result.footprints, flags, psf=images[2].psf, sigma=SIGMA, doAll=True, doSplit=True, threshold=5.0,
        maxFluxRatio=0.65, maxChi2=lambda snr: 2.0,
    )  # fmt: skip
    assert out[0] is result.footprints and out[2] is None
