"""``stillsky info``: what is understood of a file."""

import click

from ..options import VerbCommand, runOptions
from ..run import runVerb

__all__ = ["info"]


@click.command(cls=VerbCommand)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--ext", metavar="NAME", help="Extension to look at.")
@runOptions()
def info(**options):
    """Say what is understood of each FILE: planes, masks with their fractions, WCS, noise, and what was guessed."""
    return runVerb("info", options, _run)


def _run(run):
    files = [_describe(run, name) for name in run.options["files"]]
    run.summary["inputs"] = {"files": files}
    if not run.options["asJson"]:
        for facts in files:
            click.echo(_text(facts))
    return 0


def _describe(run, name):
    from stillsky.fits import readExposure

    from ..inputs import checkFile
    from ..regions import splitExtension

    path, ext = splitExtension(name, run.option("ext"))
    checkFile(path, "input")
    exposure, provenance = readExposure(path, ext=ext)
    return {"path": path, "ext": ext, **describeExposure(exposure), "provenance": list(provenance)}


def describeExposure(exposure):
    """Facts about an exposure as a `dict` of plain values."""
    import numpy as np

    image = exposure.image.array
    facts = {
        "width": exposure.width,
        "height": exposure.height,
        "xy0": list(exposure.xy0),
        "dtype": str(image.dtype),
        "nanFraction": float(np.mean(~np.isfinite(image))),
        "masks": _maskFractions(exposure.mask),
        "wcs": None,
        "psf": None,
        "filter": None if exposure.filter is None else str(exposure.filter),
    }
    finite = image[np.isfinite(image)]
    if finite.size:
        median = float(np.median(finite))
        facts |= {
            "median": median,
            "robustSigma": float(1.4826 * np.median(np.abs(finite - median))),
            "minimum": float(finite.min()),
            "maximum": float(finite.max()),
        }
    variance = exposure.variance.array
    good = np.isfinite(variance) & (variance > 0)
    facts["variance"] = {
        "median": float(np.median(variance[good])) if good.any() else None,
        "goodFraction": float(np.mean(good)),
    }
    _addCalibration(exposure, facts)
    return facts


def _maskFractions(mask):
    import numpy as np

    return {name: float(np.mean(mask.array & np.int32(1 << bit) != 0)) for name, bit in _planes(mask)}


def _planes(mask):
    return [(name, mask.bit(name)) for name in mask.schema]


def _addCalibration(exposure, facts):
    import numpy as np

    if exposure.wcs is not None:
        x, y = exposure.bbox.center
        ra, dec = exposure.wcs.pixelToSky(x, y)
        facts["wcs"] = {
            "pixelScaleArcsec": float(np.degrees(exposure.wcs.pixelScale(x, y)) * 3600),
            "centreRa": float(np.degrees(ra)),
            "centreDec": float(np.degrees(dec)),
        }
    if exposure.psf is not None:
        facts["psf"] = {"class": type(exposure.psf).__name__, "fwhm": float(exposure.psf.fwhm(exposure.bbox.center))}


def _text(facts):
    lines = [f"{facts['path']}{'' if facts['ext'] is None else '[' + str(facts['ext']) + ']'}"]

    def add(name, text):
        lines.append(f"  {name:<10}{text}")

    add("size", f"{facts['width']} x {facts['height']} px, corner {tuple(facts['xy0'])}, {facts['dtype']}")
    if "median" in facts:
        add(
            "values",
            f"median {facts['median']:.6g}, robust sigma {facts['robustSigma']:.4g}, "
            f"{facts['minimum']:.6g} ... {facts['maximum']:.6g}",
        )
    add("NaN", f"{facts['nanFraction']:.3%}")
    variance = facts["variance"]
    if variance["median"] is None:
        add("variance", "none usable")
    else:
        add("variance", f"median {variance['median']:.6g}, positive and finite in {variance['goodFraction']:.3%}")
    used = {name: fraction for name, fraction in facts["masks"].items() if fraction > 0}
    add("mask", ", ".join(f"{n} {f:.3%}" for n, f in used.items()) or "nothing set")
    wcs = facts["wcs"]
    if wcs is None:
        add("WCS", "none")
    else:
        add(
            "WCS",
            f"{wcs['pixelScaleArcsec']:.4f} arcsec/px, centre RA {wcs['centreRa']:.5f} Dec {wcs['centreDec']:+.5f} deg",
        )
    psf = facts["psf"]
    add("PSF", "none" if psf is None else f"{psf['class']}, FWHM {psf['fwhm']:.2f} px")
    if facts["filter"] is not None:
        add("filter", facts["filter"])
    lines += [f"  - {sentence}" for sentence in facts["provenance"]]
    return "\n".join(lines)
