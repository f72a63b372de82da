"""The reports of coadds, from their files."""

from types import SimpleNamespace

import numpy as np

__all__ = ["savedCoaddReport", "savedDcrReport"]


def savedCoaddReport(prefix, text, summary):
    """The report of ``prefix.coadd.fits``, ``prefix.nimage.fits``, ``prefix.inputs.ecsv`` and the summary, as a `Page`.

    Pictures of single inputs are not read back.
    """
    from .coadd_report import coaddReport

    return _finished(coaddReport(readCoadd(prefix, summary), summary), text, summary)


def savedDcrReport(prefix, text, summary):
    """The same of a DCR coadd, with ``prefix.dcr0.fits`` and the others."""
    from ..dcr.files import findDcrFiles
    from ..fits import readExposure
    from .dcr_report import dcrReport

    result = readCoadd(prefix, summary)
    result.dcrCoadds = [readExposure(name)[0] for name in findDcrFiles(prefix)]
    for name in ("convergence", "gains"):
        setattr(result, name, [np.nan if v is None else v for v in summary.get(name, [])])
    return _finished(dcrReport(result, summary), text, summary)


def _finished(page, text, summary):
    from .run_section import runSection

    runSection(page.section("Run"), summary)
    page.document = text
    return page


def readCoadd(prefix, summary):
    """What a report needs, from the files of a run: `types.SimpleNamespace` like a `PlainCoaddResult`."""
    from astropy.table import Table

    from ..fits import readExposure, readImage

    figures = {k: np.nan if v is None else v for k, v in summary["metadata"].items()}
    depth = {k: np.array([np.nan if v is None else v for v in values], float) if isinstance(values, list) else values
             for k, values in summary.get("depth", {}).items()}  # fmt: skip
    table = Table.read(f"{prefix}.inputs.ecsv")
    for name in table.colnames:  # empty texts come back masked
        if hasattr(table[name], "filled"):
            table[name] = table[name].filled("" if table[name].dtype.kind == "U" else 0)
    return SimpleNamespace(
        coadd=readExposure(f"{prefix}.coadd.fits")[0],
        nImage=readImage(f"{prefix}.nimage.fits"),
        kept=None,
        epochCount=None,
        table=table,
        depth=depth,
        thumbnails=[],
        metadata=figures,
        decisions=summary.get("decisions", []),
        warnings=[(w["code"], w["message"]) for w in summary.get("warnings", [])],
    )
