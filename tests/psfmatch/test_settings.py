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
    reference = PsfMatchSettings.compatible()
    # A configuration handed to the compiled classes directly means the same.
    for settings in (makeSettings(config, MASK), PsfMatchSettings(config)):
        for name in SWITCHES:
            assert getattr(settings, name) is False is getattr(reference, name)
        assert settings.spatialPhotometricOrder == 0
        assert settings.nStarPerCell == 7 and settings.compat
    # A mapping holds what was meant: single improvements can be had.
    fields = {k: v for k, v in config.toDict().items() if k not in SWITCHES}
    assert PsfMatchSettings({**fields, "lowerSpatialOrders": True}).lowerSpatialOrders
    assert not PsfMatchSettings({**fields, "lowerSpatialOrders": True}).maskWeights


def testMaskPlanesBecomeBits():
    config = PsfMatchConfigAL()
    config.badMaskPlanes = ["SAT", "CR", "NEVER_HEARD_OF"]
    schema = MASK.schema
    settings = makeSettings(config, MASK)
    assert settings.badMask == schema.bitmask(["SAT", "CR"])
    assert settings.badFitMask == schema.bitmask(["BAD", "SAT", "NO_DATA", "EDGE", "CR"])
