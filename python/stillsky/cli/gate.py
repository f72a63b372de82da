"""Conditions of ``--fail-on``: comparisons of the figures of a run, for loops that must notice a bad one."""

import ast
import math
import operator
from difflib import get_close_matches

from .exits import CommandError

__all__ = ["Gate", "GateHit"]

_COMPARISONS = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ARITHMETIC = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


class GateHit(CommandError):
    """A condition of ``--fail-on`` holds; the products are written."""

    exitCode = 8


class _Missing(Exception):
    """A figure of the condition does not exist, or is no number."""


class Gate:
    """One condition.

    Parameters
    ----------
    text : `str`
        Comparisons of figures with numbers or with each other, e.g. ``skyChi > 1.2 or nGoodDiaSources > 100``: names of
        the metadata in P.json (dotted for nested ones), numbers, ``+ - * / **``, ``abs``, ``and``, ``or``, ``not``.

    Raises
    ------
    CommandError
        The text is something else.
    """

    def __init__(self, text):
        self.text = text
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except SyntaxError as error:
            raise self._refusal("cannot be read") from error
        if not isinstance(self._tree, (ast.Compare, ast.BoolOp)) and not (
            isinstance(self._tree, ast.UnaryOp) and isinstance(self._tree.op, ast.Not)
        ):
            raise self._refusal("compares nothing")
        self._names = set()
        self._check(self._tree)

    def _refusal(self, why):
        return CommandError(
            f"--fail-on {self.text!r} {why}",
            found=self.text or "nothing",
            remedy='a comparison such as --fail-on "skyChi > 1.2 or nGoodCandidates < 20"',
        )

    def _check(self, node):
        """Refuse everything that is no comparison of figures."""
        if isinstance(node, ast.BoolOp):
            parts = node.values
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub, ast.UAdd)):
            parts = [node.operand]
        elif isinstance(node, ast.Compare) and all(type(op) in _COMPARISONS for op in node.ops):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            parts = [node.left, node.right]
        elif isinstance(node, ast.Call) and _dotted(node.func) == "abs" and len(node.args) == 1 and not node.keywords:
            parts = node.args
        elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
            parts = []
        elif _dotted(node):
            self._names.add(_dotted(node))
            parts = []
        else:
            raise self._refusal("is no comparison of figures")
        for part in parts:
            self._check(part)

    def check(self, figures):
        """Why the run fails, or None.

        Parameters
        ----------
        figures : `dict`
            Metadata of the run.

        Returns
        -------
        reason : `str` or None
            A figure that is no finite number fails every condition that names it: a run whose quality is unknown is
            not a good one.

        Raises
        ------
        CommandError
            A name is unknown.
        """
        values = {}
        for name in sorted(self._names):
            try:
                values[name] = _lookUp(figures, name)
            except _Missing:
                close = get_close_matches(name, list(_numbers(figures)), n=3, cutoff=0.4)
                raise CommandError(
                    f"--fail-on names an unknown figure: {name}",
                    found=f"{len(list(_numbers(figures)))} figures in the summary",
                    remedy=f"did you mean {', '.join(close)}?" if close else "the names in the metadata of P.json",
                ) from None
        shown = ", ".join(f"{name} = {value:.6g}" for name, value in values.items())
        if not all(math.isfinite(value) for value in values.values()):
            return shown
        try:
            return shown if self._value(self._tree, values) else None
        except (ArithmeticError, TypeError, ValueError) as error:
            raise self._refusal(f"has no value: {error}") from error

    def _value(self, node, values):
        def of(part):
            return self._value(part, values)

        if isinstance(node, ast.BoolOp):
            return (all if isinstance(node.op, ast.And) else any)(of(part) for part in node.values)
        if isinstance(node, ast.UnaryOp):
            value = of(node.operand)
            return not value if isinstance(node.op, ast.Not) else -value if isinstance(node.op, ast.USub) else value
        if isinstance(node, ast.Compare):
            terms = [of(part) for part in (node.left, *node.comparators)]
            return all(_COMPARISONS[type(op)](a, b) for op, a, b in zip(node.ops, terms[:-1], terms[1:], strict=True))
        if isinstance(node, ast.BinOp):
            return _ARITHMETIC[type(node.op)](of(node.left), of(node.right))
        if isinstance(node, ast.Call):
            return abs(of(node.args[0]))
        return float(node.value) if isinstance(node, ast.Constant) else values[_dotted(node)]


def _dotted(node):
    """``a.b`` of a name or an attribute, else an empty text."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def _lookUp(figures, name):
    value = figures
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            raise _Missing(name)
        value = value[part]
    return _number(value)


def _number(value):
    """The figure as a number: a flag is 0 or 1, null is NaN."""
    if value is None:
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        raise _Missing from None


def _numbers(figures, prefix=""):
    """Dotted names of all figures."""
    for key, value in figures.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{key}.")
            continue
        try:
            _number(value)
        except _Missing:
            continue
        yield f"{prefix}{key}"
