"""The report of a DCR coadd: its subfilters, how the solution converged, where the visits looked."""

import numpy as np

from . import dcr_panels as panels
from .coadd_report import inputsSection, judgedSection, verdictOf
from .look_section import orientationWords
from .page import Page
from .panels import panelDpi
from .pixels import blockMean
from .previews import chiPng, greyPng, localScale

__all__ = ["dcrReport", "dcrVerdict"]

_PREVIEW = 640


def dcrReport(result, summary):
    """The report as a `Page`; its ``verdict`` is what P.json keeps of the judgement.

    Parameters
    ----------
    result : `stillsky.dcr.plain.PlainDcrResult`
        Or what `stillsky.report.saved_coadd` makes of the files.
    summary : `dict`
        What P.json holds so far.
    """
    coadd, figures = result.coadd, result.metadata
    n = len(result.dcrCoadds)
    page = Page(
        f"DCR coadd: {n} subfilters of {figures['bandBlue']:.5g} to {figures['bandRed']:.5g} nm",
        f"{coadd.width} x {coadd.height} px; {figures['inputsUsed']} of {figures['inputs']} visits, airmass "
        f"{figures['airmassMin']:.2f} to {figures['airmassMax']:.2f}",
    )
    page.verdict = dcrVerdict(result)
    cards = {
        "visits used": f"{figures['inputsUsed']} of {figures['inputs']}",
        "airmass": f"{figures['airmassMin']:.2f} – {figures['airmassMax']:.2f}",
        "misfit on sources before": f"{figures['initialConvergence']:.3g}",
        "misfit after": f"{figures['finalConvergence']:.3g}",
        "residual of sources before, rms of the visits": _percent(figures.get("residualBefore")),
        "residual after": _percent(figures.get("residualAfter")),
    }
    judgedSection(page.section("Verdict"), result, page.verdict, cards)
    _look(page.section("Subfilters"), result)
    _solution(page.section("Solution"), result)
    inputsSection(page.section("Inputs"), result)
    return page


def _percent(value):
    return "–" if value is None or not np.isfinite(value) else f"{100 * value:.2g} %"


def _gainBeyondNoise(figures):
    """Residual of sources under the plain coadd over that under the model, noise taken off both; None where it is not known.

    A model that leaves nothing beyond the noise counts as a hundredth of what the coadd left.
    """
    before, after = (figures.get(name) for name in ("residualBefore", "residualAfter"))
    if before is None or after is None or not np.isfinite(before + after) or before <= 0:
        return None
    return before / max(after, 0.01 * before)


def dcrVerdict(result):
    """State, sentence and rules, for P.json."""
    figures = result.metadata
    before, after = figures["initialConvergence"], figures["finalConvergence"]
    gain = before / after if after and np.isfinite(after) and after > 0 else None
    ratioOfResiduals = _gainBeyondNoise(figures)
    if ratioOfResiduals is not None:  # misfits hold the noise of the visits, which no model takes away
        gain = ratioOfResiduals
    spread, skipped = figures["dispersionSpread"], figures["inputs"] - figures["inputsUsed"]
    seeing = np.asarray(result.table["fwhm"][result.table["used"]], float)
    seeing = seeing[np.isfinite(seeing)]
    ratio = float(seeing.max() / seeing.min()) if seeing.size > 1 else None
    if figures.get("psfMatched"):  # the table has what they came with
        ratio = 1.0

    def state(value, good, fair):
        if value is None or not np.isfinite(value):
            return None
        return "green" if good(value) else "amber" if fair(value) else "red"

    rules = [
        ("visits left out", skipped, "0", state(skipped, lambda v: v == 0, lambda v: v < 0.5 * figures["inputs"]),
         "the table of inputs says why; --strict makes it an error"),
        ("visits", figures["inputsUsed"], "at least 6", state(figures["inputsUsed"], lambda v: v >= 6, lambda v: v >= 3),
         "few visits leave the colours to the noise"),
        ("spread of the dispersion, tan z", spread, "above 0.3", state(spread, lambda v: v > 0.3, lambda v: v > 0.1),
         "visits at other airmasses or hour angles: all here see the same dispersion"),
        ("residual of sources, before over after", gain, "above 1.5", state(gain, lambda v: v > 1.5, lambda v: v > 1.02),
         "nothing is gained over the plain coadd: no refraction, no sources, or a wrong direction or band"),
        ("widest over narrowest seeing", ratio, "below 1.2", state(ratio, lambda v: v < 1.2, lambda v: v < 1.6),
         "-c psfMatch=yes: the model takes another seeing for a colour"),
    ]  # fmt: skip
    return verdictOf(rules, "the model explains what the plain coadd cannot")


def _look(section, result):
    exposures = result.dcrCoadds
    images = [blockMean(e.image.array, maxSide=_PREVIEW)[0] for e in exposures]
    scales = [localScale(i) for i in images]
    sigma = float(np.median([s for _, s in scales]))
    low, high = result.metadata["bandBlue"], result.metadata["bandRed"]
    edges = np.linspace(low, high, len(images) + 1)
    words = [f"{edges[k]:.0f}–{edges[k + 1]:.0f} nm" for k in range(len(images))]
    section.row([(greyPng(image, sky, sigma, 300.0), f"subfilter {k}", f"subfilter {k}: {words[k]}", None)
                 for k, (image, (sky, _)) in enumerate(zip(images, scales))])  # fmt: skip
    section.paragraph("All on one stretch. Away from sources the subfilters are the coadd over their number.")
    colour = panels.colourPng(images, [sky for sky, _ in scales], sigma)
    difference = (images[0] - scales[0][0]) - (images[-1] - scales[-1][0])
    section.row([
        (colour, "colour picture of the subfilters", "In colour: the last subfilter is red, the first blue", None),
        (chiPng(difference / (np.sqrt(2.0) * sigma), 10.0), "first minus last subfilter",
         "First minus last subfilter over the noise, -10 (blue: a red source) to 10 (red: a blue source)", None),
    ])  # fmt: skip
    if result.coadd.wcs is not None:
        section.paragraph(orientationWords(result.coadd))


def _solution(section, result):
    table = result.table[result.table["used"]]
    columns = {name: table[name] for name in table.colnames}
    iterations = {"iteration": list(range(len(result.convergence))), "convergence": list(result.convergence)}
    entries = [
        _entry(
            panels.convergencePanel(iterations), "Misfit on sources against iteration", None, iterations, "convergence"
        )
    ]
    if len(result.gains):
        gains = {"iteration": list(range(1, len(result.gains) + 1)), "gain": list(result.gains)}
        entries.append(
            _entry(panels.gainPanel(gains, result.metadata["solver"]), "Gain of each iteration", None, gains, "gains")
        )
    entries.append(_entry(
        panels.coveragePanel(columns), "Airmass and direction of the zenith of the visits, on a polar plot",
        "Numbers: rows of the table of inputs. Dots at one place see the same dispersion: only their differences tell "
        "colours.",
    ))  # fmt: skip
    if "residualBefore" in table.colnames and np.isfinite(table["residualBefore"]).any():
        data = {k: table[k] for k in ("airmass", "parallacticAngle", "residualBefore", "residualAfter")}
        entries.append(_entry(
            panels.residualPanel(columns), "Residual of sources in every visit before and after, against airmass",
            "Root mean square on detected pixels over that of the sources themselves.", data, "residuals",
        ))  # fmt: skip
    section.figures(entries)


def _entry(picture, alt, caption=None, data=None, name="figure"):
    return {"picture": picture, "alt": alt, "caption": caption, "data": data, "name": name, "dpi": panelDpi}
