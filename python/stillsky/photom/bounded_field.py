"""ChebyshevBoundedField: a smooth function over a box of pixels."""

import numpy as np
from numpy.polynomial import chebyshev

from ..errors import DomainError, ShapeError, StillskyError
from ..geom import Box2I

__all__ = ["ChebyshevBoundedField"]


class ChebyshevBoundedField:
    """f(x, y) = sum_ji a[j, i] T_i(x') T_j(y') with x', y' = -1 and +1 at the outer edges of a box's pixels. Immutable.

    Parameters
    ----------
    bbox : `Box2I`
        Parent pixels. Positions outside may be asked for: the polynomial goes on.
    coefficients : array_like, (order in y + 1, order in x + 1)

    Raises
    ------
    DomainError
        The box is empty, or a coefficient is not finite.
    ShapeError
        The coefficients have not two dimensions.
    """

    def __init__(self, bbox, coefficients):
        coefficients = np.array(coefficients, float)
        if coefficients.ndim != 2 or not coefficients.size:
            raise ShapeError(f"coefficients: wanted shape (ny, nx), given {coefficients.shape}")
        if not np.isfinite(coefficients).all():
            raise DomainError("coefficients: wanted finite numbers")
        if bbox.isEmpty:
            raise DomainError("bbox: wanted at least one pixel, given an empty box")
        coefficients.flags.writeable = False
        self._bbox, self._coefficients = bbox, coefficients

    @classmethod
    def fit(cls, bbox, x, y, z, w=None, *, orderX, orderY=None, triangular=True):
        """Least-squares fit: the least sum of (w (z - f))^2, so that w = 1/sigma.

        Parameters
        ----------
        bbox : `Box2I`
        x, y, z : array_like, (n,)
            Parent positions and values.
        w : array_like, optional
            Weights of the residuals; default 1.
        orderX, orderY : `int`
            Greatest orders; that in y is by default that in x.
        triangular : `bool`
            Only terms with i + j <= max(orderX, orderY).

        Returns
        -------
        field : `ChebyshevBoundedField`
            With fewer points than terms, the solution of least norm.

        Raises
        ------
        ShapeError
            Arrays of different lengths.
        DomainError
            No point, a negative order, or values that are not finite.
        """
        x, y, z = (np.asarray(v, float).ravel() for v in (x, y, z))
        w = np.ones(len(z)) if w is None else np.asarray(w, float).ravel()
        if not len(x) == len(y) == len(z) == len(w):
            raise ShapeError(f"fit: wanted arrays of one length, given {len(x)}, {len(y)}, {len(z)}, {len(w)}")
        if not len(z) or not np.isfinite(np.concatenate([x, y, z, w])).all():
            raise DomainError("fit: wanted at least one point, and finite numbers")
        orders = _orders(orderX, orderY)
        xs, ys = _scaled(bbox, x, y)
        columns = chebyshev.chebvander(ys, orders[1])[:, :, None] * chebyshev.chebvander(xs, orders[0])[:, None, :]
        keep = _kept(orders, triangular)
        solution = np.linalg.lstsq(columns[:, keep] * w[:, None], z * w, rcond=None)[0]
        coefficients = np.zeros(keep.shape)
        coefficients[keep] = solution
        return cls(bbox, coefficients)

    @classmethod
    def fitImage(cls, image, *, orderX, orderY=None, triangular=True):
        """Fit of all finite pixels of an `Image`, each with weight 1, over the image's box."""
        box = image.bbox
        rows, columns = np.nonzero(np.isfinite(image.array))
        return cls.fit(
            box, columns + box.minX, rows + box.minY, image.array[rows, columns],
            orderX=orderX, orderY=orderY, triangular=triangular,
        )  # fmt: skip

    @property
    def bbox(self):
        """The box (`Box2I`)."""
        return self._bbox

    @property
    def coefficients(self):
        """Coefficients a[j, i], order in y first, read-only."""
        return self._coefficients

    def evaluate(self, x, y):
        """Values at parent positions; numbers or arrays that broadcast."""
        x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
        value = chebyshev.chebval2d(*_scaled(self._bbox, x, y), self._coefficients.T)
        return value if np.ndim(value) else float(value)

    __call__ = evaluate

    def truncate(self, orderX, orderY=None):
        """The field without the terms above these orders."""
        orders = _orders(orderX, orderY)
        return ChebyshevBoundedField(self._bbox, self._coefficients[: orders[1] + 1, : orders[0] + 1])

    def integrate(self):
        """Integral over the box, in units of the field times pixels."""
        # The integral of T_n from -1 to 1: 2/(1 - n^2) for even n, else 0.
        parts = [np.where(np.arange(n) % 2, 0.0, 2.0 / (1.0 - np.arange(n, dtype=float) ** 2 + (np.arange(n) == 1)))
                 for n in self._coefficients.shape]  # fmt: skip
        return float(self._bbox.area / 4 * (parts[0] @ self._coefficients @ parts[1]))

    def mean(self):
        """Arithmetic mean over the box."""
        return self.integrate() / self._bbox.area

    def relocated(self, bbox):
        """The same coefficients over another box."""
        return ChebyshevBoundedField(bbox, self._coefficients)

    def fillImage(self, image, *, overlapOnly=False, xStep=1, yStep=1):
        """Set the pixels of an `Image` to the field.

        Parameters
        ----------
        image : `Image`
            Changed in place.
        overlapOnly : `bool`
            Only the pixels inside the field's box; otherwise the boxes must be equal.
        xStep, yStep : `int`
            Above 1: evaluate on a grid with these steps and interpolate linearly between.

        Raises
        ------
        StillskyError
            The boxes differ.
        DomainError
            A step below 1.
        """
        part, values = self._values(image, overlapOnly, xStep, yStep)
        part[...] = values

    def multiplyImage(self, image, *, overlapOnly=False):
        """Multiply an `Image` by the field; as `fillImage`."""
        part, values = self._values(image, overlapOnly)
        part *= values.astype(part.dtype)

    def divideImage(self, image, *, overlapOnly=False):
        """Divide an `Image` by the field; as `fillImage`."""
        part, values = self._values(image, overlapOnly)
        part /= values.astype(part.dtype)

    def addToImage(self, image, scale=1.0, *, overlapOnly=False):
        """Add ``scale`` times the field to an `Image`; as `fillImage`."""
        part, values = self._values(image, overlapOnly)
        part += (scale * values).astype(part.dtype)

    def _values(self, image, overlapOnly, xStep=1, yStep=1):
        """The part of the image's pixels that is meant, and the field there."""
        if min(xStep, yStep) < 1:
            raise DomainError(f"xStep, yStep: wanted at least 1, given {xStep} and {yStep}")
        box = image.bbox
        if box != self._bbox:
            if not overlapOnly:
                raise StillskyError(f"image: wanted the field's box {self._bbox}, given {box}; or overlapOnly=True")
            box = box.clipped(self._bbox)
        if box.isEmpty:
            return image.array[:0, :0], np.zeros((0, 0))
        part = image.array[
            box.minY - image.bbox.minY : box.minY - image.bbox.minY + box.height,
            box.minX - image.bbox.minX : box.minX - image.bbox.minX + box.width,
        ]
        xNodes, xWeights = _nodes(box.width, xStep)
        yNodes, yWeights = _nodes(box.height, yStep)
        xs, ys = _scaled(self._bbox, xNodes + box.minX, yNodes + box.minY)
        ny, nx = self._coefficients.shape
        values = chebyshev.chebvander(ys, ny - 1) @ self._coefficients @ chebyshev.chebvander(xs, nx - 1).T
        if yWeights is not None:
            values = yWeights @ values
        if xWeights is not None:
            values = values @ xWeights.T
        return part, values

    def __mul__(self, scale):
        if not np.isscalar(scale):
            return NotImplemented
        return ChebyshevBoundedField(self._bbox, self._coefficients * float(scale))

    __rmul__ = __mul__

    def __truediv__(self, scale):
        return self * (1.0 / float(scale)) if np.isscalar(scale) else NotImplemented

    def __eq__(self, other):
        if not isinstance(other, ChebyshevBoundedField):
            return NotImplemented
        return self._bbox == other._bbox and np.array_equal(self._coefficients, other._coefficients)

    def __hash__(self):
        return hash((self._bbox, self._coefficients.shape, self._coefficients.tobytes()))

    def __repr__(self):
        return f"ChebyshevBoundedField({self._bbox!r}, {self._coefficients.tolist()})"

    def persist(self):
        """The field as numbers: what `restore` takes."""
        box = self._bbox
        return {"box": np.array([box.minX, box.minY, box.width, box.height]), "coefficients": self._coefficients}

    @classmethod
    def restore(cls, fields):
        """The field of `persist`."""
        x, y, width, height = (int(v) for v in fields["box"])
        return cls(Box2I((x, y), (width, height)), fields["coefficients"])


def _orders(orderX, orderY):
    orders = (int(orderX), int(orderX if orderY is None else orderY))
    if min(orders) < 0:
        raise DomainError(f"orderX, orderY: wanted at least 0, given {orders[0]} and {orders[1]}")
    return orders


def _kept(orders, triangular):
    """Which of the terms [j, i] take part."""
    i, j = np.arange(orders[0] + 1)[None, :], np.arange(orders[1] + 1)[:, None]
    return (i + j <= max(orders)) if triangular else np.ones((orders[1] + 1, orders[0] + 1), bool)


def _scaled(bbox, x, y):
    """Coordinates that are -1 and 1 at the outer edges of the box's pixels."""
    return (
        (x - (bbox.minX + (bbox.width - 1) / 2)) * (2 / bbox.width),
        (y - (bbox.minY + (bbox.height - 1) / 2)) * (2 / bbox.height),
    )


def _nodes(n, step):
    """Every step-th of n pixels and the last, and the weights of linear interpolation (n, nodes), None for step 1."""
    if step == 1 or n == 1:
        return np.arange(n, dtype=float), None
    nodes = np.unique(np.append(np.arange(0, n, step), n - 1)).astype(float)
    weights = np.array([np.interp(np.arange(n), nodes, unit) for unit in np.eye(len(nodes))]).T
    return nodes, weights
