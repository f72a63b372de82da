"""ApCorrMap: aperture corrections of an image's flux measurements."""

from collections.abc import MutableMapping

__all__ = ["ApCorrMap"]


class ApCorrMap(MutableMapping):
    """Mapping from a flux column to the field that it is to be multiplied with.

    Names are those of columns, ``base_PsfFlux_instFlux`` and ``base_PsfFlux_instFluxErr``; the corrected flux is
    measured x field(x, y). Assignment replaces. ``map *= number`` scales all fields.

    Parameters
    ----------
    fields : mapping or iterable of pairs, optional
        Name -> field with ``evaluate(x, y)``, such as `ChebyshevBoundedField`.
    """

    def __init__(self, fields=()):
        self._fields = {}
        self.update(fields)

    def __getitem__(self, name):
        return self._fields[name]

    def __setitem__(self, name, field):
        if not isinstance(name, str) or not callable(getattr(field, "evaluate", None)):
            raise TypeError(f"ApCorrMap: wanted a name and a field, given {name!r} and {type(field).__name__}")
        self._fields[name] = field

    def __delitem__(self, name):
        del self._fields[name]

    def __iter__(self):
        return iter(self._fields)

    def __len__(self):
        return len(self._fields)

    def __imul__(self, scale):
        for name, field in self._fields.items():
            self._fields[name] = field * scale
        return self

    def copy(self):
        """A map of its own with the same fields."""
        return ApCorrMap(self._fields)

    def __eq__(self, other):
        return self._fields == other._fields if isinstance(other, ApCorrMap) else NotImplemented

    __hash__ = None

    def __repr__(self):
        return f"ApCorrMap({self._fields!r})"
