"""One page about many runs."""

import os

from .page import Page

__all__ = ["indexPage"]

_FIGURES = {
    "subtract": {
        "skyChi": "sky chi",
        "spatialKernelSum": "kernel sum",
        "looRmsMedian": "chi of stars",
        "nSources": "sources",
    },
    "ptc": {"gain": "gain", "noise": "noise", "amplifiers": "amplifiers"},
}


def indexPage(names, summaries, links):
    """A `Page` with one row for each run.

    Parameters
    ----------
    names : sequence of `str`
        Files of the summaries.
    summaries : sequence of `dict`
        Their contents.
    links : sequence of `str`
        Addresses of the reports, relative to the page.
    """
    documents = [{"file": name, "report": link, **summary} for name, summary, link in zip(names, summaries, links)]
    page = Page("Runs", f"{len(names)} summaries", documents)
    verbs = [s.get("verb", "subtract") for s in summaries]
    states = [(s.get("verdict") or {}).get("state") for s in summaries]
    section = page.section("Verdicts")
    counts = {colour: states.count(colour) for colour in ("green", "amber", "red")}
    section.cards(counts)
    columns = {
        "run": [os.path.splitext(name)[0] for name in names],
        "verb": verbs,
        "verdict": [(s.get("verdict") or {}).get("sentence", "–") for s in summaries],
    }
    labels = {k: v for verb in dict.fromkeys(verbs) for k, v in _FIGURES.get(verb, {}).items()}
    for key, label in labels.items():
        values = [s["metadata"].get(key) for s in summaries]
        if any(v is not None for v in values):
            columns[label] = values
    columns["warnings"] = [len(s.get("warnings", [])) for s in summaries]
    columns["seconds"] = [s.get("timings", {}).get("total") for s in summaries]
    section.table(columns, states=states, csvName="runs", links={"run": links})
    return page
