"""Configuration of the selection of sources of a science image: field names and defaults of the Rubin selector."""

from lsst.pex.config import Config, ConfigField, Field, ListField

__all__ = [
    "FluxLimitConfig",
    "RequireFlagsConfig",
    "RequireIsolatedConfig",
    "RequirePrimaryConfig",
    "RequireUnresolvedConfig",
    "ScienceSourceSelectorConfig",
    "SignalToNoiseLimitConfig",
]


class _Limits(Config):
    """Limits that a value must lie strictly between; None: no limit."""

    minimum = Field(dtype=float, doc="Values must be larger.", default=None, optional=True)
    maximum = Field(dtype=float, doc="Values must be smaller.", default=None, optional=True)


class FluxLimitConfig(_Limits):
    """Limits on an instrumental flux."""

    fluxField = Field(dtype=str, doc="Column of the flux.", default="slot_CalibFlux_instFlux")


class SignalToNoiseLimitConfig(_Limits):
    """Limits on a signal-to-noise ratio."""

    fluxField = Field(dtype=str, doc="Column of the flux.", default="base_PsfFlux_instFlux")
    errField = Field(dtype=str, doc="Column of its standard deviation.", default="base_PsfFlux_instFluxErr")


class RequireUnresolvedConfig(_Limits):
    """Limits on a measure of extent."""

    name = Field(dtype=str, doc="Column.", default="base_ClassificationSizeExtendedness_value")

    def setDefaults(self):
        super().setDefaults()
        self.maximum = 0.1


class RequireFlagsConfig(Config):
    """Flags that must, and must not, be set."""

    good = ListField(dtype=str, doc="Flags that must be set.", default=[])
    bad = ListField(dtype=str, doc="Flags that must not be set.", default=[])


class RequireIsolatedConfig(Config):
    """Columns that tell blended sources."""

    parentName = Field(dtype=str, doc="Column of the parent's id: must be 0.", default="parent")
    nChildName = Field(dtype=str, doc="Column of the number of children: must be 0.", default="deblend_nChild")


class RequirePrimaryConfig(Config):
    """Column that tells which of duplicate records counts."""

    primaryColName = Field(dtype=str, doc="Column: must be set.", default="detect_isPrimary")


class ScienceSourceSelectorConfig(Config):
    """Cuts on a catalogue; a cut whose columns the catalogue lacks is left out, but for fluxes and their errors."""

    doFluxLimit = Field(dtype=bool, doc="Apply fluxLimit.", default=False)
    doFlags = Field(dtype=bool, doc="Apply flags.", default=False)
    doUnresolved = Field(dtype=bool, doc="Apply unresolved.", default=False)
    doSignalToNoise = Field(dtype=bool, doc="Apply signalToNoise.", default=False)
    doIsolated = Field(dtype=bool, doc="Apply isolated.", default=False)
    doRequirePrimary = Field(dtype=bool, doc="Apply requirePrimary.", default=False)
    doSkySources = Field(dtype=bool, doc="Leave out sky sources.", default=False)
    fluxLimit = ConfigField("Limits on the flux.", FluxLimitConfig)
    flags = ConfigField("Flags.", RequireFlagsConfig)
    unresolved = ConfigField("Limits on the extent.", RequireUnresolvedConfig)
    signalToNoise = ConfigField("Limits on the signal-to-noise ratio.", SignalToNoiseLimitConfig)
    isolated = ConfigField("Blends.", RequireIsolatedConfig)
    requirePrimary = ConfigField("Duplicates.", RequirePrimaryConfig)
    skyFlag = Field(dtype=str, doc="Column that tells sky sources.", default="sky_source")
