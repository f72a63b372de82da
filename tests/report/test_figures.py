"""Figures: they show what they should, whatever the pixels, and leave matplotlib's global state alone."""

import io
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from stillsky.geom import Box2I, Extent2I, Point2I
from stillsky.image import Exposure, Image, Mask, MaskedImage
from stillsky.report import (
    candidateStampsFigure,
    kernelBasisFigure,
    kernelCoefficientsFigure,
    kernelMosaicFigure,
    kernelSpatialModelFigure,
    savePng,
    subtractFigure,
)
from stillsky.report.kernel_figures import kernelImages
from stillsky.report.pixels import asinhStretch, blockMean, chiValues, goodPixels, robustScale


def _png(figure, dpi=60):
    stream = io.BytesIO()
    savePng(figure, stream, dpi)
    data = stream.getvalue()
    assert data.startswith(b"\x89PNG\r\n")
    return data


def _images(figure):
    return [axes.images[0] for axes in figure.axes if axes.images]


def test_subtract_figure_shows_the_three_images_on_their_scales(result):
    figure = subtractFigure(result)
    assert len(_png(figure)) > 20000
    science, template, difference, mosaic = _images(figure)[:4]
    assert science.get_clim() == template.get_clim() == (0.0, 1.0)
    low, high = difference.get_clim()
    shown = np.asarray(difference.get_array().filled(np.nan))
    assert low == -high
    assert high == pytest.approx(5.0 * robustScale(shown)[1], rel=1e-6)
    # masked pixels are not shown, good ones are the difference itself
    good = goodPixels(result.difference)
    np.testing.assert_array_equal(np.isfinite(shown), good)
    np.testing.assert_array_equal(shown[good], result.difference.image.array[good])


def test_template_is_shown_in_science_units_when_science_was_convolved(result):
    swapped = SimpleNamespace(**{**vars(result), "convolved": "science"})
    kernelSum = kernelImages(result.kernel, result.difference.bbox)[2, 2].sum()
    a, b = (_images(subtractFigure(r))[1].get_array() for r in (result, swapped))
    template = result.matchedTemplate.image.array
    sigma = robustScale(result.science.image.array)[1]
    sky = robustScale(template)[0]
    np.testing.assert_allclose(a, asinhStretch(template, sky, sigma), atol=1e-5)
    np.testing.assert_allclose(b, asinhStretch(template / kernelSum, sky / kernelSum, sigma), atol=1e-5)


def test_histogram_prints_robust_sigmas_of_sky_and_sources(result):
    labels = [t.get_text() for t in subtractFigure(result).axes[5].get_legend().get_texts()]
    good = goodPixels(result.difference)
    sigma = robustScale(chiValues(result.difference, good)[good])[1]
    sky = float(labels[0].split("sigma$ ")[1].split()[0])
    assert labels[0].startswith("sky") and labels[1].startswith("on sources") and labels[2] == "N(0, 1)"
    assert sky == pytest.approx(sigma, abs=0.02)


@pytest.mark.parametrize("case", ["nan", "masked", "zero", "constant"])
def test_picture_of_a_hopeless_difference_still_appears(result, case):
    array = result.difference.image.array.copy()
    mask = result.difference.mask.array.copy()
    variance = result.difference.variance.array.copy()
    if case == "nan":
        array[:] = np.nan
    elif case == "masked":
        mask[:] = 1
    elif case == "zero":
        variance[:] = 0.0
    else:
        array[:] = 7.0
    broken = Exposure(MaskedImage(Image(array), Mask(mask), Image(variance)), wcs=None)
    _png(subtractFigure(SimpleNamespace(**{**vars(result), "difference": broken})))


def test_kernel_figures(result):
    box = result.difference.bbox
    figure = kernelMosaicFigure(result.kernel, box)
    mosaic = _images(figure)[0].get_array()
    assert mosaic.shape == (5 * 22 - 1, 5 * 22 - 1)
    centre = result.kernel.imageAt(float(box.center[0]), float(box.center[1]))
    np.testing.assert_allclose(mosaic[44:65, 44:65], centre, atol=1e-12)
    assert len(_images(kernelBasisFigure(result.kernel))) == result.kernel.nBasisKernels
    maps = _images(kernelCoefficientsFigure(result.kernel, box, n=4, maxShown=3))
    expected = kernelImages(result.kernel, box, 4).sum(axis=(2, 3))
    np.testing.assert_allclose(maps[0].get_array(), expected, rtol=1e-9)
    assert len(maps) == 1 + 3
    for figure in (kernelMosaicFigure(result.kernel, box, 3), kernelBasisFigure(result.kernel, 4)):
        _png(figure)


def test_spatial_model_figure_separates_used_and_rejected(result, rng):
    x, y = rng.uniform(0, 400, 12), rng.uniform(0, 400, 12)
    model = np.array([result.kernel.kernelParametersAt(a, b) for a, b in zip(x, y)])
    used = np.arange(12) % 4 != 0
    figure = kernelSpatialModelFigure(result.kernel, x, y, model + 0.5, used, maxShown=2)
    lines = figure.axes[1].lines
    np.testing.assert_allclose(lines[0].get_ydata(), 0.5)
    assert len(lines[0].get_xdata()) == used.sum() and len(lines[1].get_xdata()) == (~used).sum()
    _png(figure)
    _png(kernelSpatialModelFigure(result.kernel, [], [], np.empty((0, result.kernel.nBasisKernels))))


def test_candidate_stamps_figure(rng):
    stamp = rng.normal(size=(31, 31))
    candidate = {"template": stamp, "science": stamp, "difference": stamp, "variance": 1.0, "x": 3.0, "y": 4.0}
    broken = {**candidate, "difference": np.full((31, 31), np.nan), "status": "bad", "reason": "condition number"}
    figure = candidateStampsFigure([{**candidate, "status": "good"}, broken])
    assert "rms 1.0" in figure.axes[2].get_title() or "rms 0.9" in figure.axes[2].get_title()
    assert "condition number" in figure.axes[5].get_title()
    _png(figure)
    _png(candidateStampsFigure([]))


def test_block_mean_leaves_out_bad_pixels():
    array = np.arange(16.0).reshape(4, 4)
    good = np.ones((4, 4), bool)
    good[0, 0] = False
    good[2:, 2:] = False
    preview, factor = blockMean(array, good, maxSide=2)
    assert factor == 2
    np.testing.assert_allclose(preview, [[(1 + 4 + 5) / 3, (2 + 3 + 6 + 7) / 4], [(8 + 9 + 12 + 13) / 4, np.nan]])


def test_preview_of_a_large_image_is_small_and_quick():
    preview, factor = blockMean(np.ones((5000, 3000), np.float32))
    assert factor == 5 and preview.shape == (1000, 600) and np.all(preview == 1)


def test_stretch_is_monotonic_from_sky_to_bright():
    values = asinhStretch(np.array([98.0, 100.0, 103.0, 200.0, 1100.0]), 100.0, 1.0)
    assert values[0] == pytest.approx(0.0) and values[-1] == pytest.approx(1.0)
    assert np.all(np.diff(values) > 0)


def test_kernel_grid_covers_the_box_of_a_subimage(result):
    box = Box2I(Point2I(100, 200), Extent2I(50, 30))
    images = kernelImages(result.kernel, box, 2)
    np.testing.assert_allclose(images[1, 0], result.kernel.imageAt(112.0, 222.0), atol=1e-14)


def test_importing_the_room_loads_no_matplotlib_and_figures_no_pyplot():
    code = (
        "import sys, stillsky.report as r; assert 'matplotlib' not in sys.modules;"
        "r.candidateStampsFigure([]); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
