"""Coadds: combining many images of one piece of sky."""

import importlib
import sys
import types

# Loaded on first use: tasks import lsst.pipe.base, tables astropy.
_LAZY = {
    # plain files: stillsky.coadd(list)
    "CoaddJobConfig": ".job_config",
    "PlainCoadd": ".plain",
    "PlainCoaddResult": ".plain",
    "matchInputs": ".match_inputs",
    "measureInput": ".match_inputs",
    # assembly
    "AssembleCoaddAlgorithmConfig": ".config",
    "AssembleCoaddConfig": ".task_config",
    "AssembleCoaddFields": ".config",
    "AssembleCoaddTask": ".task",
    "CoaddBaseTask": ".base_task",
    "CoaddResult": ".algorithm",
    "DeferredWarp": ".warps",
    "InMemoryWarp": ".warps",
    "ImageOutline": ".select_images",
    "PreparedInputs": ".inputs",
    "PreparedWarp": ".inputs",
    "PsfWcsSelectImagesConfig": ".select_images_config",
    "PsfWcsSelectImagesTask": ".select_images_task",
    "SkippedWarp": ".inputs",
    "SkyInfo": ".sky_info",
    "WarpHandle": ".warps",
    "WcsSelectImagesConfig": ".select_images_config",
    "WcsSelectImagesTask": ".select_images_task",
    "applyAltMaskPlanes": ".pixel_changes",
    "asWarp": ".warps",
    "assembleCoadd": ".algorithm",
    "assembleMetadata": ".metadata",
    "coaddSchema": ".planes",
    "makeSkyInfo": ".sky_info",
    "makeStatisticsControl": ".algorithm",
    "noiseCorrelation": ".noise_correlation",
    "prepareInputs": ".inputs",
    "processResults": ".processing",
    "rejectedMaskMapping": ".planes",
    "selectOverlapping": ".select_images",
    "setInexactPsf": ".planes",
    "subBBoxIter": ".bands",
    # artifacts
    "ARTIFACT_VALUES_2019": ".compare_warp_config",
    "ArtifactSearch": ".compare_warp",
    "COMPARE_WARP_VALUES_2019": ".compare_warp_config",
    "CompareArtifactsConfig": ".compare_warp_config",
    "CompareWarpAlgorithmConfig": ".compare_warp_config",
    "CompareWarpResult": ".compare_warp_coadd",
    "VisitArtifacts": ".compare_warp",
    "applyAltEdgeMask": ".compare_warp",
    "compareWarpCoadd": ".compare_warp_coadd",
    "filterArtifacts": ".artifact_rules",
    "findArtifacts": ".compare_warp",
    "prefilterArtifacts": ".artifact_rules",
    "reorderAndPadList": ".compare_warp",
    # foundations
    "CoaddBoundedField": ".aperture_corrections",
    "CoaddFieldComponent": ".aperture_corrections",
    "CoaddInputRecorder": ".input_recorder",
    "CoaddInputRecorderConfig": ".input_recorder_config",
    "CoaddInputRecorderTask": ".input_recorder_task",
    "ImageScaler": ".scaling",
    "InterpImageConfig": ".interp_image_config",
    "InterpImageTask": ".interp_image_task",
    "InputMapConfig": ".input_map_config",
    "HealSparseInputMapTask": ".input_map_task",
    "makeInputMap": ".input_map",
    "ScaleZeroPointConfig": ".scaling_config",
    "ScaleZeroPointTask": ".scaling_task",
    "SpatialImageScaler": ".scaling",
    "WarpInputRecorder": ".input_recorder",
    "computeImageScaler": ".scaling",
    "copyValidPolygons": ".input_recorder",
    "interpImage": ".interp_image",
    "makeCoaddApCorrMap": ".aperture_corrections",
    "makeCoaddPsf": ".input_recorder",
    "readBrightObjects": ".bright_objects",
    "setBrightObjectMasks": ".bright_objects",
    "setCoaddEdgeBits": ".edge_bits",
    "shrinkValidPolygons": ".input_recorder",
    "zeroPointCalib": ".scaling",
}

__all__ = sorted(_LAZY)


def __getattr__(name):
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_LAZY})


class _Room(types.ModuleType):
    """This module, which can be called: ``stillsky.coadd(list)`` is `stillsky.coadd.plain.coadd`."""

    def __call__(self, inputs, **options):
        from .plain import coadd

        return coadd(inputs, **options)


sys.modules[__name__].__class__ = _Room
coadd = sys.modules[__name__]  # so that the top level finds the callable under the name of the room
