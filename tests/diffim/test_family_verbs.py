"""Methods of the difference tasks that no documentation page names, called by their names."""

import numpy as np
import pytest
from alard_lupton_scenes import SIZE, WCS, makeImage, makeStars
from astropy.table import Table
from lsst.pipe.base import Struct

from stillsky.diffim.alard_lupton_task import AlardLuptonSubtractTask
from stillsky.diffim.reference import ReferenceLoader
from stillsky.diffim.reference_task import DirectMatchTask
from stillsky.errors import StillskyError
from stillsky.kernel import FixedKernel

INSIDE = np.s_[20:-20, 20:-20]


@pytest.fixture
def given():
    """Science image, template that it is without its noise's seed, and a kernel that doubles."""
    stars = makeStars()
    template, science = makeImage(stars, seed=7), makeImage(stars, seed=6)
    kernel = np.zeros((5, 5))
    kernel[2, 2] = 2.0
    return template, science, Struct(psfMatchingKernel=FixedKernel(kernel), backgroundModel=None)


def subtractTask(mode):
    config = AlardLuptonSubtractTask.ConfigClass()
    config.mode, config.doDecorrelation = mode, False
    return AlardLuptonSubtractTask(config=config)


def test_the_convolved_template_is_taken_off_the_science_image(given):
    template, science, kernelResult = given
    task = subtractTask("convolveTemplate")
    made = task.runConvolveTemplate(template, science, kernelResult)
    np.testing.assert_allclose(made.matchedTemplate.image.array[INSIDE], 2 * template.image.array[INSIDE], rtol=1e-6)
    wanted = science.image.array - 2 * template.image.array
    np.testing.assert_allclose(made.difference.image.array[INSIDE], wanted[INSIDE], rtol=1e-5, atol=1e-4)
    wanted = science.variance.array + 4 * template.variance.array
    np.testing.assert_allclose(made.difference.variance.array[INSIDE], wanted[INSIDE], rtol=1e-5)
    assert task.metadata["convolvedExposure"] == "Template" and made.psfMatchingKernel is kernelResult.psfMatchingKernel


def test_the_template_is_taken_off_the_convolved_science_image_which_keeps_its_flux(given):
    template, science, kernelResult = given
    task = subtractTask("convolveScience")
    made = task.runConvolveScience(template, science, kernelResult)
    wanted = (2 * science.image.array - template.image.array) / 2  # the kernel sum divides
    np.testing.assert_allclose(made.difference.image.array[INSIDE], wanted[INSIDE], rtol=1e-5, atol=1e-4)
    wanted = (4 * science.variance.array + template.variance.array) / 4
    np.testing.assert_allclose(made.difference.variance.array[INSIDE], wanted[INSIDE], rtol=1e-5)
    assert task.metadata["convolvedExposure"] == "Science"


def test_sources_are_paired_with_the_reference_objects_of_their_image(given):
    science = given[1]
    x, y = np.array([50.0, 100.0, 200.0]), np.array([60.0, 30.0, 210.0])
    ra, dec = WCS.pixelToSky(x, y)
    sources = Table({"coord_ra": ra, "coord_dec": dec})
    ra, dec = WCS.pixelToSky(np.append(x[::-1], SIZE + 400.0) + 1.5, np.append(y[::-1], 5.0))  # 0.3 arcsec beside
    objects = Table({"id": [30, 20, 10, 40], "coord_ra": ra, "coord_dec": dec})
    task = DirectMatchTask(refObjLoader=ReferenceLoader(objects))
    made = task.loadAndMatch(science, sources, 0.5)
    assert {int(row): int(made.refCat["id"][p]) for row, p in zip(made.rows, made.partners)} == {0: 10, 1: 20, 2: 30}
    assert sorted((int(ref["id"]), row) for ref, row in made.matches) == [(10, 0), (20, 1), (30, 2)]
    assert 40 not in made.refCat["id"]  # far from the image
    assert len(task.loadAndMatch(science, sources, 0.2).matches) == 0
    with pytest.raises(StillskyError, match="refObjLoader"):
        DirectMatchTask().loadAndMatch(science, sources)
