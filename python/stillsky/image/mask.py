"""Mask: one plane of bits with names."""

import logging
import operator

import numpy as np

from ..errors import MaskSchemaError
from ..geom import Box2I
from .mask_schema import MaskSchema
from .plane import Plane

__all__ = ["Mask"]

_log = logging.getLogger("stillsky.image")


class Mask(Plane):
    """An int32 plane whose bits are named by its own schema.

    Parameters
    ----------
    array : `numpy.ndarray`, (height, width)
        Shared when int32 in native byte order; other integers are converted, booleans mean BAD.
    xy0 : (x, y)
    schema : `MaskSchema` or mapping of name to bit, optional
        Default: the standard planes.
    """

    def __init__(self, array, xy0=(0, 0), schema=None):
        if schema is None:
            schema = array.schema if isinstance(array, Mask) else MaskSchema.standard()
        self._schema = schema if isinstance(schema, MaskSchema) else MaskSchema(schema)
        values = array.array if isinstance(array, Plane) else np.asarray(array)
        if values.dtype == bool:
            bit = self._schema.bitmask("BAD")
            array = np.where(values, np.int32(bit), np.int32(0))
        super().__init__(array, xy0)

    @staticmethod
    def _accept(array):
        if array.dtype == np.int32 and array.dtype.isnative:
            return array
        if array.dtype.kind not in "iu":
            raise MaskSchemaError(f"Mask: wanted integers, got dtype {array.dtype}")
        if array.dtype.itemsize >= 4 and array.size and (array.max() > 2**31 - 1 or array.min() < 0):
            raise MaskSchemaError("Mask: values beyond bit 30 cannot be represented")
        return array.astype(np.int32)

    @classmethod
    def zeros(cls, box, schema=None):
        """Empty mask over a box."""
        if not isinstance(box, Box2I):
            box = Box2I((0, 0), box)
        return cls(np.zeros(box.shape, np.int32), box.min, schema)

    @property
    def schema(self):
        """Names of the bits. Assigning another schema renames bits without moving them; `conformTo` moves them."""
        return self._schema

    @schema.setter
    def schema(self, schema):
        self._schema = schema if isinstance(schema, MaskSchema) else MaskSchema(schema)

    def bit(self, name):
        """Bit number of a plane; MaskSchemaError if there is none of this name."""
        return self._schema.bit(name)

    def bitmask(self, names, ignoreMissing=False):
        """OR of the bits of one or several planes; see `MaskSchema.bitmask`."""
        return self._schema.bitmask(names, ignoreMissing)

    def addPlane(self, name, doc=""):
        """Make sure that a plane exists; its bit number."""
        self._schema = self._schema.add(name, doc)
        return self._schema.bit(name)

    def removePlane(self, name, clear=False):
        """Forget a plane; its bits stay unless ``clear``."""
        bit = self._schema.bit(name)
        if clear:
            self.clearPlane(bit)
        self._schema = self._schema.remove(name)

    def clearPlane(self, plane):
        """Clear one plane, given by name or bit, everywhere; the name stays."""
        bit = self._schema.bit(plane) if isinstance(plane, str) else int(plane)
        self._array &= np.int32(~(1 << bit))

    def isSet(self, names, ignoreMissing=True):
        """Boolean array: any of the planes is set."""
        return (self._array & np.int32(self.bitmask(names, ignoreMissing))) != 0

    def fractions(self):
        """Fraction of pixels with each plane set."""
        counts = dict.fromkeys(self._schema, 0)
        for start in range(0, self._array.shape[0], 32):  # rows that stay in the cache
            rows = self._array[start : start + 32]
            present = int(np.bitwise_or.reduce(rows, axis=None))
            for name, bit in self._schema.items():
                if present >> bit & 1:
                    counts[name] += int(np.count_nonzero(rows & np.int32(1 << bit)))
        return {name: n / max(self._array.size, 1) for name, n in counts.items()}

    def describe(self, *, x, y):
        """Names of the planes set at a pixel in parent coordinates."""
        return self._schema.interpret(self.pixel(x=x, y=y))

    def interpret(self, value):
        """Names of the planes in a value."""
        return self._schema.interpret(value)

    def conformTo(self, target):
        """Express the mask in another schema, in place; returns self.

        Bits move to the number that the target gives their name, all at once; names that the target lacks are added
        to it on the lowest unused bits. Bits without a name are dropped with one warning.
        """
        target = target if isinstance(target, MaskSchema) else MaskSchema(target)
        for name in self._schema:
            target = target.add(name, self._schema.doc(name))
        named = self._schema.bitmask(list(self._schema))
        present = int(np.bitwise_or.reduce(self._array, axis=None)) if self._array.size else 0
        unnamed = present & ~named
        if unnamed:
            _log.warning("mask bits without a name dropped: 0x%x", unnamed & 0xFFFFFFFF)
        if unnamed or any(present >> bit & 1 and target.bit(name) != bit for name, bit in self._schema.items()):
            old = self._array.copy()
            self._array[...] = 0
            for name, bit in self._schema.items():
                if present >> bit & 1:
                    self._array |= ((old >> bit) & 1) << target.bit(name)
        self._schema = target
        return self

    def _operand(self, other):
        if isinstance(other, Mask):
            self._requireSame(other, ignoreXY0=True)
            if other.schema != self._schema:
                raise MaskSchemaError(
                    f"masks name their planes differently: {dict(self._schema)} and {dict(other.schema)}"
                )
            return other.array
        if isinstance(other, Plane):
            raise TypeError(f"Mask: cannot combine with {type(other).__name__}")
        return np.asarray(other) if np.ndim(other) else np.int32(operator.index(other))

    def assign(self, rhs, bbox=None):
        """Copy a number, an array or another mask; the bits of a mask with another schema follow their names.

        Planes that this mask lacks are added.
        """
        if isinstance(rhs, Mask) and rhs.schema != self._schema:
            for name in rhs.schema:
                self.addPlane(name, rhs.schema.doc(name))
            rhs = rhs.copy().conformTo(self._schema)
        super().assign(rhs, bbox)

    def __ior__(self, other):
        self._array |= self._operand(other)
        return self

    def __iand__(self, other):
        self._array &= self._operand(other)
        return self

    def __ixor__(self, other):
        self._array ^= self._operand(other)
        return self

    def __eq__(self, other):
        """Same place, plane names and pixels."""
        same = super().__eq__(other)
        return same if same is NotImplemented else same and self._schema == other._schema

    __hash__ = None

    def __reduce__(self):
        return Mask, (self._array, tuple(self.xy0), self._schema)

    # Rubin's spellings
    addMaskPlane = addPlane
    getPlaneBitMask = bitmask
    getMaskPlane = bit
    removeMaskPlane = removePlane
    clearMaskPlane = clearPlane

    def conformMaskPlanes(self, oldDict):
        """Take the bits as named by ``oldDict`` and move them to this mask's own numbers; see `conformTo`."""
        target, self._schema = self._schema, MaskSchema(oldDict)
        self.conformTo(target)

    def getAsString(self, x, y):
        """See `describe`."""
        return self.describe(x=x, y=y)

    def getMaskPlaneDict(self):
        """Copy of the schema as a dict."""
        return dict(self._schema)

    def removeAndClearMaskPlane(self, name):
        """Forget a plane and clear its bits."""
        self.removePlane(name, clear=True)

    def clearAllMaskPlanes(self):
        """Clear every bit; the names stay."""
        self.set(0)

    def writeFits(self, path, **options):
        """See `stillsky.fits.writeMask`."""
        from ..fits import writeMask

        writeMask(self, path, **options)

    @classmethod
    def readFits(cls, path, **options):
        """See `stillsky.fits.readMask`."""
        from ..fits import readMask

        return readMask(path, **options)

    def _repr_html_(self):
        from .html import maskTable

        return maskTable(self)
