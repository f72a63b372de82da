"""Configuration of the record of a coadd's inputs."""

from lsst.pex.config import Config, Field

__all__ = ["CoaddInputRecorderConfig"]


class CoaddInputRecorderConfig(Config):
    """What is kept about the inputs of warps and coadds; the algorithm is `stillsky.coadd.CoaddInputRecorder`."""

    saveEmptyCcds = Field(dtype=bool, default=False, doc="Record detectors that gave no pixel to the warp.")
    saveErrorCcds = Field(dtype=bool, default=False, doc="Record detectors that could not be read.")
    saveVisitGoodPix = Field(dtype=bool, default=True, doc="Save the number of good pixels of each visit.")
    saveCcdWeights = Field(dtype=bool, default=True, doc="Save the weight of the visit in each row of ccds.")
