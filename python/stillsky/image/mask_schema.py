"""Named mask planes: an immutable mapping from names to bits."""

from collections.abc import Iterable, Mapping

from ..errors import MaskSchemaError

__all__ = ["MaskSchema", "STANDARD_PLANES"]

MAX_PLANES = 31  # bits 0 to 30 of a signed 32-bit pixel

STANDARD_PLANES = {
    "BAD": (0, "detector defect"),
    "SAT": (1, "saturated or bled into"),
    "INTRP": (2, "value was interpolated over"),
    "CR": (3, "cosmic ray"),
    "EDGE": (4, "too near an edge for the last kernel operation"),
    "DETECTED": (5, "inside a positive detection"),
    "DETECTED_NEGATIVE": (6, "inside a negative detection"),
    "SUSPECT": (7, "near saturation, linearity doubtful"),
    "NO_DATA": (8, "nothing was measured here"),
    "VIGNETTED": (9, "outside the unvignetted field"),
    "STREAK": (10, "satellite or aircraft trail"),
}


class MaskSchema(Mapping):
    """Immutable ordered mapping of plane names to bit numbers, with a description for each.

    Parameters
    ----------
    planes : mapping, optional
        Name to bit, or name to (bit, description).
    """

    __slots__ = ("_bits", "_docs")

    def __init__(self, planes=None):
        bits, docs = {}, {}
        for name, value in dict(planes or {}).items():
            bit, doc = value if isinstance(value, tuple) else (value, "")
            if not 0 <= int(bit) < MAX_PLANES:
                raise MaskSchemaError(f"MaskSchema: bit of {name} must be 0..{MAX_PLANES - 1}, got {bit}")
            bits[str(name)], docs[str(name)] = int(bit), doc
        if len(set(bits.values())) != len(bits):
            raise MaskSchemaError(f"MaskSchema: two planes share a bit: {bits}")
        object.__setattr__(self, "_bits", bits)
        object.__setattr__(self, "_docs", docs)

    def __setattr__(self, name, value):
        raise AttributeError("MaskSchema is immutable: add and remove return a new one")

    @classmethod
    def standard(cls):
        """The eleven standard planes with their usual bits."""
        return _STANDARD

    def __getitem__(self, name):
        return self._bits[name]

    def __iter__(self):
        return iter(self._bits)

    def __len__(self):
        return len(self._bits)

    def doc(self, name):
        """Description of a plane, possibly empty."""
        self.bit(name)
        return self._docs[name]

    def bit(self, name):
        """Bit number of a plane; MaskSchemaError when unknown."""
        try:
            return self._bits[name]
        except KeyError:
            known = ", ".join(self._bits) or "none"
            raise MaskSchemaError(f"unknown mask plane {name!r}; known planes: {known}") from None

    def bitmask(self, names, ignoreMissing=False):
        """OR of the bits of one name or a list of names; 0 for an empty list.

        Parameters
        ----------
        names : `str` or iterable of `str`
        ignoreMissing : `bool`
            Leave out unknown names instead of raising MaskSchemaError.
        """
        if isinstance(names, str):
            names = [names]
        elif not isinstance(names, Iterable):
            raise TypeError(f"bitmask: wanted plane names, got {names!r}")
        result = 0
        for name in names:
            if ignoreMissing and name not in self._bits:
                continue
            result |= 1 << self.bit(name)
        return result

    def add(self, name, doc=""):
        """Schema with one plane more, on the lowest unused bit; the same schema when it has the plane."""
        if name in self._bits:
            return self
        used = set(self._bits.values())
        free = next((bit for bit in range(MAX_PLANES) if bit not in used), None)
        if free is None:
            raise MaskSchemaError(f"cannot add mask plane {name!r}: max number of planes ({MAX_PLANES}) reached")
        return MaskSchema({**self.planes(), name: (free, doc)})

    def planes(self):
        """Name to (bit, description)."""
        return {name: (bit, self._docs[name]) for name, bit in self._bits.items()}

    def remove(self, name):
        """Schema without a plane; MaskSchemaError when unknown."""
        self.bit(name)
        return MaskSchema({k: v for k, v in self.planes().items() if k != name})

    def merged(self, other):
        """This schema with the planes of another that it lacks: same bits where these are free, else the lowest free."""
        result = self
        for name, (bit, doc) in other.planes().items():
            if name not in result:
                taken = bit in result._bits.values()
                result = result.add(name, doc) if taken else MaskSchema({**result.planes(), name: (bit, doc)})
        return result

    def interpret(self, value):
        """Names of the planes set in a pixel value, comma-joined in alphabetical order."""
        return ",".join(sorted(name for name, bit in self._bits.items() if int(value) >> bit & 1))

    def __eq__(self, other):
        return self._bits == other._bits if isinstance(other, MaskSchema) else NotImplemented

    def __hash__(self):
        return hash(frozenset(self._bits.items()))

    def __repr__(self):
        return f"MaskSchema({self._bits})"

    def __reduce__(self):
        return MaskSchema, (self.planes(),)


_STANDARD = MaskSchema(STANDARD_PLANES)
