"""Licences of the required packages (user experience A1)."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest

packaging = pytest.importorskip("packaging.requirements")

_PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
# The task framework and its butler are loaded by the task classes alone. The framework's own packages may be used under
# BSD-3-Clause; what those require in turn is theirs to choose.
_FRAMEWORK = {"lsst-pipe-base", "lsst-daf-butler"}


def _name(text):
    return re.sub(r"[-_.]+", "-", text).lower()


def _required():
    with open(_PROJECT, "rb") as stream:
        return [packaging.Requirement(text) for text in tomllib.load(stream)["project"]["dependencies"]]


def _closure(requirements):
    """Names of the packages that these need, all the way down, as installed here."""
    found, todo = set(), list(requirements)
    while todo:
        requirement = todo.pop()
        name = _name(requirement.name)
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        todo += [packaging.Requirement(text) for text in importlib.metadata.requires(name) or []]
    return found


def _licence(name):
    metadata = importlib.metadata.metadata(name)
    classifiers = [c for c in metadata.get_all("Classifier") or [] if c.startswith("License")]
    return metadata.get("License-Expression") or "; ".join(classifiers) or (metadata.get("License") or "")[:200]


def _isCopyleft(licence):
    """Whether every one of the alternatives is a GNU licence."""
    alternatives = re.split(r"\bOR\b", licence)
    return all(re.search(r"GPL|General Public", text) for text in alternatives)


def testNothingThatIsRequiredIsUnderAGnuLicenceOnly():
    copyleft = {r.name: _licence(r.name) for r in _required() if _isCopyleft(_licence(r.name))}
    assert copyleft == {}


def testNeitherIsAnythingThatThePlainPathNeeds():
    """Everything except the task framework, all the way down."""
    plain = _closure(r for r in _required() if _name(r.name) not in _FRAMEWORK)
    assert {"numpy", "astropy", "lsst-pex-config", "pillow"} <= plain
    assert {name: _licence(name) for name in plain if _isCopyleft(_licence(name))} == {}


def testTheRuleKnowsALicenceWhenItSeesOne():
    assert _isCopyleft("GPL-3.0-or-later") and _isCopyleft(
        "License :: OSI Approved :: GNU General Public License v3 (GPLv3)"
    )
    assert (
        _isCopyleft("LGPL-3.0-only") and not _isCopyleft("BSD-3-Clause OR GPL-3.0-or-later") and not _isCopyleft("MIT")
    )
