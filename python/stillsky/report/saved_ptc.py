"""The report of a photon transfer, from its files."""

import os
from types import SimpleNamespace

__all__ = ["savedPtcReport"]


def savedPtcReport(prefix, text, summary):
    """The report of ``prefix.ptc.fits``, ``prefix.ptc.ecsv`` and the summary, as a `Page`.

    Maps of single pixels are not read back.
    """
    from astropy.table import Table

    from ..ptc import PhotonTransferCurveDataset
    from ..ptc.figures import figurePages
    from .ptc_figures import ptcOverviewFigure
    from .ptc_report import ptcReport, selectFigures

    dataset = PhotonTransferCurveDataset.readFits(f"{prefix}.ptc.fits")
    table = Table.read(f"{prefix}.ptc.ecsv")
    inputs = summary.get("inputs", {})
    values = summary.get("config", {}).get("values", {})
    divisor = int(inputs.get("divisor", 1) or 1)
    result = SimpleNamespace(
        dataset=dataset,
        table=table,
        pairing=_pairing(dataset, inputs),
        padding=SimpleNamespace(padded=divisor > 1 and "gainNative" in table.colnames, divisor=divisor),
        maps=None,
        decisions=summary.get("decisions", []),
        cannot=summary.get("cannotMeasure", []),
        warnings=[(w["code"], w["message"]) for w in summary.get("warnings", [])],
        limits={k.removeprefix("limits."): v for k, v in values.items() if k.startswith("limits.")},
        title=_title(inputs),
    )
    figures = [("overview", ptcOverviewFigure(dataset, table)), *selectFigures(figurePages(dataset))]
    return ptcReport(result, (text, summary), figures)


def _title(inputs):
    """As the run had it: the folder, and the camera."""
    name, camera = os.path.basename(inputs.get("folder", "")) or "flats", inputs.get("instrument")
    return f"{name} ({camera})" if camera else name


def _pairing(dataset, inputs):
    """Names of the files, with the exposure times that the dataset kept."""
    times = next(iter(dataset.rawExpTimes.values()), [])

    def flat(path, k):
        return SimpleNamespace(name=os.path.basename(path), exposureTime=float(times[k]) if k < len(times) else None)

    pairs = [(flat(a, k), flat(b, k)) for k, (a, b) in enumerate(inputs.get("pairs", []))]
    alone = [(SimpleNamespace(name=os.path.basename(path)), why) for path, why in inputs.get("alone", [])]
    return SimpleNamespace(pairs=pairs, alone=alone)
