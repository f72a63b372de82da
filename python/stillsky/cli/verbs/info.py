"""``stillsky info``: what is understood of a file."""

import click

from ..logs import show
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
    from ..exits import codeOf, report

    files, failure = [], None
    run.summary["inputs"] = {"files": files}
    for name in run.options["files"]:
        try:
            files.append(_show(run, name))
        except Exception as error:
            if codeOf(error) == 1:
                raise
            if failure is not None:  # the last one is reported as any error of a run
                report(failure)
            failure = error
    if failure is not None:
        raise failure
    return 0


def _show(run, name):
    """Print what is understood of one file, and return it."""
    from ..inputs import checkFile
    from ..regions import splitExtension

    path, ext = splitExtension(name, run.option("ext"))
    checkFile(path, "input")
    facts = describeKernel(path) if ext is None else None
    if facts is None:
        facts = _image(run, name, path, ext)
        text = describeText(facts)
    else:
        text = kernelText(facts)
    if not run.options["asJson"]:
        show(text)
    return facts


def describeKernel(path):
    """Facts of a kernel file of stillsky, or None of any other file."""
    import numpy as np

    from stillsky.errors import StillskyError
    from stillsky.fits import readKernel

    try:
        found = readKernel(path)
    except (StillskyError, OSError):
        return None
    kernel, center = found.kernel, (0.0, 0.0)
    functions = getattr(kernel, "spatialFunctions", ()) if kernel.isSpatiallyVarying else ()
    box = next((getattr(f, "box", None) for f in functions), None)
    if box is not None:
        center = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return {
        "path": str(path),
        "layout": "matching kernel of stillsky",
        "width": int(kernel.width),
        "height": int(kernel.height),
        "convolved": found.metadata.get("CONVOLVD"),
        "varies": bool(kernel.isSpatiallyVarying),
        "sum": float(np.sum(kernel.imageAt(*center))),
        "background": found.background is not None,
        "warnings": [],
    }


def kernelText(facts):
    """What `describeKernel` found, as lines of text."""
    varies = "varies over the image" if facts["varies"] else "the same everywhere"
    lines = [
        facts["path"],
        f"  {'layout':<12}{facts['layout']}",
        f"  {'size':<12}{facts['width']} x {facts['height']} px, {varies}",
        f"  {'sum':<12}{facts['sum']:.6g}{' at the centre' * facts['varies']}",
        f"  {'applies to':<12}{facts['convolved'] or 'not told'}",
        f"  {'background':<12}{'differential background included' if facts['background'] else 'none'}",
    ]
    return "\n".join(lines)


def _image(run, name, path, ext):
    """Facts of an image; its warnings are noted in the summary."""
    from stillsky.fits import describeFile

    from ..logs import WARNING_CODE

    with run.log.withholdWarnings():
        facts = describeFile(path, ext=ext)
    facts["ext"] = ext
    for sentence in facts["warnings"]:
        match = WARNING_CODE.match(sentence)
        code = match["code"]
        entry = {
            "code": code,
            "message": f"{name}: {match['sentence']}",
            "allowed": code in run.option("allow", ()),
        }
        run.summary["warnings"].append(entry)
    return facts


def describeText(facts):
    """What `stillsky.fits.describeFile` found, as lines of text."""
    ext = "" if facts.get("ext") is None else f"[{facts['ext']}]"
    lines = [f"{facts['path']}{ext}"]

    def add(name, text):
        lines.append(f"  {name:<12}{text}")

    add("layout", facts["layout"])
    add("size", f"{facts['width']} x {facts['height']} px, corner at {tuple(facts['xy0'])}")
    for plane in ("image", "variance"):
        add(plane, _plane(facts["planes"][plane]))
    add("sky", "median {}, sigma {}".format(*(_number(facts["sky"][k]) for k in ("median", "sigma"))))
    add("mask", ", ".join(f"{name} {_percent(f)}" for name, f in facts["mask"].items()) or "nothing set")
    add("WCS", _wcs(facts["wcs"]))
    add("PSF", "none" if facts["psf"] is None else f"{facts['psf']['class']}, FWHM {_number(facts['psf']['fwhm'])} px")
    for key, name in (("gain", "gain"), ("readNoise", "read noise"), ("saturation", "saturation")):
        found = facts[key]
        add(name, "not in the header" if found is None else f"{_number(found['value'])} ({found['card']})")
    for key, text in (("filter", _filter(facts["filter"])), ("visit", _visit(facts["visit"])), ("unit", facts["unit"])):
        if text:
            add(key, text)
    if facts["calibration"] is not None:
        add("calibration", f"{_number(facts['calibration']['njyPerCount'])} nJy per count")
    lines += [f"  - {sentence}" for sentence in facts["provenance"][1:]]
    return "\n".join(lines)


def _number(value):
    return "unknown" if value is None else f"{value:.6g}"


def _percent(fraction):
    return f"{100 * fraction:.3g} %"


def _plane(facts):
    text = f"{facts['dtype']}, {_number(facts['min'])} ... {_number(facts['max'])}, median {_number(facts['median'])}"
    return text + (f", {_percent(facts['notFinite'])} not finite" if facts["notFinite"] else "")


def _wcs(facts):
    if facts is None:
        return "none"
    ra, dec = facts["center"]
    return f"{_number(facts['pixelScale'])} arcsec/px, centre RA {ra:.5f}, Dec {dec:+.5f} deg"


def _filter(facts):
    """One word, or band and physical name when they differ."""
    if facts is None:
        return ""
    names = [name for name in (facts["band"], facts["physical"]) if name]
    return names[0] if len(set(names)) == 1 else f"{names[1]}, band {names[0]}"


def _visit(facts):
    """What is known of the exposure, or nothing."""
    if facts is None:
        return ""
    words = {
        "exposureTime": "{:g} s", "date": "{} TAI", "airmass": "airmass {:.3f}", "instrument": "{}", "object": "{!r}",
        "id": "id {}",
    }  # fmt: skip
    return ", ".join(form.format(facts[name]) for name, form in words.items() if name in facts)
