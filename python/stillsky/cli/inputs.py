"""Reading what the command line names."""

import os

from .exits import CommandError, ReadError
from .regions import parseRegion, splitExtension

__all__ = [
    "checkFile",
    "defaultPrefix",
    "readPair",
    "readRegion",
    "readScienceAndDcr",
    "readStars",
    "sideFiles",
    "summaryName",
]

_SUFFIXES = (".gz", ".fz", ".bz2", ".fits", ".fit", ".fts")


def defaultPrefix(path, verb, given=None):
    """Prefix of the products: as given, else stem of the science file and verb, in the current folder.

    A given prefix that is a folder (or ends with a slash) gets the default name inside.
    """
    name = os.path.basename(splitExtension(path)[0])
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    name = f"{name}.{verb}"
    if given is None:
        return name
    if given.endswith(os.sep) or os.path.isdir(given):
        return os.path.join(given, name)
    return given


def readRegion(run):
    """The box of --region or --fits-region, or None."""
    region, fitsRegion = run.option("region"), run.option("fitsRegion")
    if region and fitsRegion:
        raise CommandError(
            "--region and --fits-region exclude each other", found=f"{region} and {fitsRegion}", remedy="give one"
        )
    if not region and not fitsRegion:
        return None
    from stillsky.geom import Box2I, Extent2I, Point2I

    (x0, x1), (y0, y1) = parseRegion(fitsRegion or region, fits=bool(fitsRegion))
    return Box2I(Point2I(x0, y0), Extent2I(x1 - x0, y1 - y0))


def checkFile(path, role):
    """Raise ReadError unless ``path`` is a file that may be read; ``role`` names it in the message."""
    if not os.path.exists(path):
        raise ReadError(
            f"the {role} file does not exist: {path}",
            found=f"current folder {os.getcwd()}",
            remedy="check the name; FILE[EXT] picks an extension",
        )
    if os.path.isdir(path):
        raise ReadError(f"the {role} is a folder: {path}", found="a folder", remedy="name a FITS file in it")
    if not os.access(path, os.R_OK):
        raise ReadError(f"the {role} file may not be read: {path}", found="no permission", remedy=f"chmod +r {path}")


def summaryName(name):
    """The summary P.json, also where another product of the run, such as P.diff.fits, is named."""
    if name.lower().endswith(".json"):
        return name
    stem = name
    for suffix in (".fits", ".html", ".png", ".ecsv", ".diff", ".matched", ".kernel", ".sources"):
        stem = stem.removesuffix(suffix)
    if stem != name and os.path.exists(f"{stem}.json"):
        return f"{stem}.json"
    if not os.path.exists(name):
        return name  # refused as any file that does not exist
    raise CommandError(
        f"wanted the summary of a run, P.json, not {name}",
        found=f"no {stem}.json beside it" if stem != name else "another kind of file",
        remedy="give P.json, which lies beside P.diff.fits",
    )


_SHORT = {"science": "sci", "template": "tmpl"}


def sideFiles(run, role):
    """Keyword arguments of the reader for the planes and figures given for ``science`` or ``template``."""
    names = {"Mask": "maskPath", "Var": "variancePath", "Weight": "weightPath", "Psf": "psfPath"}
    given = {argument: run.option(role + name) for name, argument in names.items()}
    for argument, path in given.items():
        if path is not None:
            checkFile(splitExtension(path)[0], f"{role} {argument.removesuffix('Path')}")
    if given["variancePath"] is not None and given["weightPath"] is not None:
        raise CommandError(
            f"two noise planes are given for the {role}", found=f"--{_SHORT[role]}-var and --{_SHORT[role]}-weight",
            remedy="one of them",
        )  # fmt: skip
    if "weightPath" in given and given["weightPath"] is not None:
        given["weightKind"] = "weight"  # the option says so, whatever the file is called
    numbers = ("gain", "readNoise", "saturation", "skyLevel", "variance")
    given |= {k: run.option(role + k[0].upper() + k[1:]) for k in numbers}
    return {k: v for k, v in given.items() if v is not None}


def _read(run, role, name, region):
    from stillsky.fits import readExposure

    path, ext = splitExtension(name, run.option("ext"))
    checkFile(path, role)
    with run.log.withholdWarnings():
        exposure, provenance = readExposure(path, ext=ext, region=region, **sideFiles(run, role))
    run.summary["inputs"][role] = {
        "path": os.path.abspath(path),
        "ext": ext,
        "width": exposure.width,
        "height": exposure.height,
        "xy0": list(exposure.xy0),
        "wcs": exposure.wcs is not None,
        "psf": exposure.psf is not None,
        "provenance": list(provenance),
    }
    return exposure


def readPair(run, scienceName, templateName):
    """The two exposures, with their provenance said and noted in the summary.

    The region cuts the science image; the template only when the pair has no WCS to tell which part of it matches.
    """
    for name, role in ((scienceName, "science"), (templateName, "template")):
        checkFile(splitExtension(name, run.option("ext"))[0], role)
    region = readRegion(run)
    with run.timed("read"):
        science = _read(run, "science", scienceName, region)
        template = _read(run, "template", templateName, region if science.wcs is None else None)
        if region is not None and science.wcs is not None and template.wcs is None:
            template = _read(run, "template", templateName, region)
    _announce(run)
    return science, template


def readScienceAndDcr(run, scienceName, prefix):
    """The science exposure, and the template that the subfilters of a DCR coadd make at its airmass."""
    from stillsky.dcr.files import findDcrFiles, matchedTemplateOf

    checkFile(splitExtension(scienceName, run.option("ext"))[0], "science")
    files = findDcrFiles(prefix)
    with run.timed("read"):
        science = _read(run, "science", scienceName, readRegion(run))
        template, sentence = matchedTemplateOf(prefix, science)
    run.summary["inputs"]["template"] = {
        "path": os.path.abspath(files[0]), "files": [os.path.abspath(f) for f in files], "ext": None,
        "width": template.width, "height": template.height, "xy0": list(template.xy0), "wcs": template.wcs is not None,
        "psf": template.psf is not None, "provenance": [sentence],
    }  # fmt: skip
    _announce(run)
    return science, template


def _announce(run):
    parts = []
    for role, facts in run.summary["inputs"].items():
        parts.append(
            f"{role} {os.path.basename(facts['path'])} {facts['width']}x{facts['height']} px, "
            f"{'WCS' if facts['wcs'] else 'no WCS'}, {'PSF' if facts['psf'] else 'no PSF'}"
        )
    run.say("inputs: " + "; ".join(parts))
    from .logs import WARNING_CODE

    for role, facts in run.summary["inputs"].items():
        for sentence in facts["provenance"]:
            match = WARNING_CODE.match(sentence)
            if match:
                run.warn(match["code"], f"{role}: {match['sentence']}")
            else:
                run.say(f"  {role}: {sentence}")


def readStars(path, science):
    """Positions of stars from a table.

    Parameters
    ----------
    path : `str`
        As for `stillsky.cli.positions.readPositions`.
    science : `stillsky.image.Exposure`
        Whose WCS places ra and dec.

    Returns
    -------
    x, y : `numpy.ndarray` of `float`
        Science pixels.
    """
    from .positions import readPositions

    found = readPositions(path, "star table")
    if found.x is not None:
        return found.x, found.y
    if science.wcs is None:
        raise CommandError(
            "the star table has ra and dec, and the science image has no WCS",
            found=path,
            remedy="give columns x and y (0-based pixels)",
            exitCode=4,
        )
    return science.wcs.skyToPixel(found.ra, found.dec)
