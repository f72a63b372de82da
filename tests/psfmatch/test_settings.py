"""From configurations to the settings of the fit."""

from types import SimpleNamespace

import pytest

from stillsky.image import MaskSchema
from stillsky.psfmatch import PsfMatchSettings
from stillsky.psfmatch.config import PsfMatchConfigAL, PsfMatchConfigDF
from stillsky.psfmatch.settings import makeSettings

MASK = SimpleNamespace(schema=MaskSchema.standard())
SWITCHES = (
    "perPixelSpatialTerms",
    "correctTemplateNoise",
    "maskWeights",
    "adaptiveKernelSumClipping",
    "lowerSpatialOrders",
    "scaledPolynomials",
    "buildReplacements",
)


@pytest.mark.parametrize("cls", [PsfMatchConfigAL, PsfMatchConfigDF])
def testACompatibleConfigurationSwitchesOffEveryImprovement(cls):
    config = cls()
    assert all(getattr(makeSettings(config, MASK), name) for name in SWITCHES)
    config.compat = True
    config.spatialPhotometricOrder = 2
    config.nStarPerCell = 7
    settings = makeSettings(config, MASK)
    reference = PsfMatchSettings.compatible()
    for name in SWITCHES:
        assert getattr(settings, name) is False is getattr(reference, name)
    assert settings.spatialPhotometricOrder == 0
    assert settings.nStarPerCell == 7 and settings.compat


def testMaskPlanesBecomeBits():
    config = PsfMatchConfigAL()
    config.badMaskPlanes = ["SAT", "CR", "NEVER_HEARD_OF"]
    schema = MASK.schema
    settings = makeSettings(config, MASK)
    assert settings.badMask == schema.bitmask(["SAT", "CR"])
    assert settings.badFitMask == schema.bitmask(["BAD", "SAT", "NO_DATA", "EDGE", "CR"])
