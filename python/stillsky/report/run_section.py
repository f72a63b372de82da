"""The section of a report that says how a result was made."""

import json
import shlex

__all__ = ["runSection"]


def runSection(section, summary):
    """Append command line, configuration (changed keys first), timings, versions and memory of a run's summary."""
    if summary.get("command"):
        section.heading("To repeat").code(shlex.join(summary["command"]))
    config = summary.get("config", {})
    values, origins = config.get("values", {}), config.get("origins", {})
    if values:
        changed = {k: f"{values[k]!r} ({origins[k]})" for k in values if origins.get(k, "default") != "default"}
        section.heading("Configuration that was set").facts(changed or {"nothing": "all defaults"})
        section.details("all keys", json.dumps(values, indent=1))
    timings = {k: float(v) for k, v in summary.get("timings", {}).items() if isinstance(v, (int, float))}
    total = timings.pop("total", None)
    section.heading("Time by stage").bars(timings, "s")
    if total is not None:
        section.paragraph(f"Whole run: {total:.2f} s of wall clock.")
    facts = {"stillsky": summary.get("version", "")}
    facts |= {k: str(v) for k, v in summary.get("versions", {}).items()}
    if summary.get("peakMemoryMB"):
        facts["peak memory"] = f"{summary['peakMemoryMB']:.0f} MB"
    if summary.get("seed") is not None:
        facts["seed"] = str(summary["seed"])
    section.heading("Versions and memory").facts(facts)
