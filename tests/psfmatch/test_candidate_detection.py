"""KernelCandidateDetection: candidates by threshold alone; and the vote for basis degrees."""

import numpy as np
import pytest
from task_scenes import render, starGrid, starPair, toExposure

from stillsky.errors import NoDataError, ShapeError
from stillsky.image import Image, Mask, MaskedImage
from stillsky.psfmatch import KernelCandidate, SpatialCellSet
from stillsky.psfmatch.algorithm import stampBox
from stillsky.psfmatch.basis import makeKernelBasisList
from stillsky.psfmatch.basis_selection import NbasisEvaluator, bayesianInformation, selectBasisDegrees
from stillsky.psfmatch.candidate_detection import KernelCandidateDetection
from stillsky.psfmatch.config import DetectionConfig, PsfMatchConfigAL
from stillsky.psfmatch.settings import makeSettings


def scene(rng, variance=1.0):
    positions = starGrid(256, 96)
    images = [render(256, positions, np.full(len(positions), 3000.0), s, rng, variance) for s in (1.5, 2.0)]
    return [toExposure(image, 2.0).maskedImage for image in images], positions


def detection(**fields):
    config = DetectionConfig()
    config.fpGrowPix = 12
    for name, value in fields.items():
        setattr(config, name, value)
    return KernelCandidateDetection(config)


@pytest.mark.parametrize("onTemplate", [True, False])
def testEveryStarIsFoundAndGrown(rng, onTemplate):
    (template, science), positions = scene(rng)
    footprints = detection(detOnTemplate=onTemplate).apply(template, science)
    assert len(footprints) == len(positions)
    for footprint in footprints:
        cx, cy = footprint.centroid
        nearest = positions[np.argmin(np.hypot(*(positions - [cx, cy]).T))]
        assert np.hypot(*(nearest - [cx, cy])) < 1.0
        assert min(footprint.bbox.width, footprint.bbox.height) >= 2 * 12 + 3


@pytest.mark.parametrize("which", [0, 1])
def testADamagedBoxIsLeftOut(rng, which):
    images, positions = scene(rng)
    damaged = int(positions[2][1]) + 8, int(positions[2][0])
    images[which].mask.array[*damaged] |= images[which].mask.bitmask("SAT")
    footprints = detection().apply(*images)
    assert len(footprints) == len(positions) - 1
    assert not any(np.hypot(*(np.array(f.centroid) - positions[2])) < 2 for f in footprints)


def testABoxThatLeavesTheImageIsLeftOut(rng):
    (template, science), positions = scene(rng)
    assert len(detection(fpGrowPix=42).apply(template, science)) == 1  # the others lie 40 pixels from an edge


def testALargeFootprintIsReplacedByItsCentre(rng):
    image = np.zeros((128, 128), np.float32)
    image[52:77, 50:75] = 100.0  # 625 pixels
    masked = MaskedImage(Image(image), Mask(np.zeros(image.shape, np.int32)), Image(np.ones_like(image)))
    footprint = detection(fpGrowPix=10).apply(masked, masked)[0]
    box = footprint.bbox
    assert (box.minX, box.minY, box.width, box.height) == (52, 54, 21, 21)
    assert footprint.area == 2 * 10 * 11 + 1  # a diamond


def testNoFootprintIsAnError(rng):
    (template, science), _ = scene(rng)
    with pytest.raises(NoDataError, match="candidate"):
        detection(detThreshold=1e5).apply(template, science)
    with pytest.raises(ShapeError, match="boxes"):
        detection().apply(template, science[:100, :100])


# ---------------------------------------------------------------------- degrees


def testBicCountsUsablePixelsAndParameters():
    image = MaskedImage(
        Image(np.full((4, 5), 2.0, np.float32)),
        Mask(np.zeros((4, 5), np.int32)),
        Image(np.full((4, 5), 4.0, np.float32)),
    )
    assert bayesianInformation(image, 3) == pytest.approx(20 + 3 * np.log(20))
    image.image.array[0, 0] = np.nan
    image.mask.array[1, 1] = 1
    assert bayesianInformation(image, 3, badBits=1) == pytest.approx(18 + 3 * np.log(18))


def cells(rng, sigmas, config):
    template, science, stars = starPair(rng, step=72, sigmas=sigmas)
    settings = makeSettings(config, science.mask)
    cellSet = SpatialCellSet(science.bbox, 128)
    for row in stars:
        box = stampBox(row["x"], row["y"], config.kernelSize)
        if science.bbox.contains(box):
            parts = template.maskedImage[box], science.maskedImage[box]
            cellSet.insertCandidate(KernelCandidate(row["x"], row["y"], *parts, settings, row["psfFlux"]))
    return cellSet, settings


def testTheVoteAgreesWithTheLeastBicOfEachCandidate(rng):
    config = PsfMatchConfigAL()
    config.alardNGauss, config.alardDegGauss, config.alardSigGauss = 2, [2, 2], [0.8, 1.6]
    cellSet, settings = cells(rng, (1.5, 2.0), config)
    degrees = selectBasisDegrees(cellSet, config, settings)
    votes = {}
    for star in cellSet.allCandidates():
        best = None
        for trial in [(1, 1), (1, 2), (2, 1), (2, 2)]:
            copy = KernelCandidate(0.0, 0.0, star.getTemplateMaskedImage(), star.getScienceMaskedImage(), settings, 1.0)
            basis = makeKernelBasisList(config, basisDegGauss=list(trial))
            copy.build(basis)
            bic = bayesianInformation(copy.getDifferenceImage(KernelCandidate.ORIG), len(basis), settings.badFitMask)
            best = min(best or (np.inf, None), (bic, trial))
        votes[best[1]] = votes.get(best[1], 0) + 1
    assert votes[tuple(degrees)] == max(votes.values())
    assert NbasisEvaluator(config)(cellSet, settings) == degrees
    assert not any(star.isInitialized() for star in cellSet.allCandidates())


def testAnyNumberOfGaussiansCanBeVotedOn(rng):
    config = PsfMatchConfigAL()
    config.alardNGauss, config.alardDegGauss, config.alardSigGauss = 1, [4], [1.3228756553]
    cellSet, settings = cells(rng, (1.5, 2.0), config)
    assert selectBasisDegrees(cellSet, config, settings) == [1]
