"""Translation, rotation and scale between two images from the positions of their objects, nothing else known."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.spatial import cKDTree

from ..errors import MismatchError
from ..geom import AffineTransform, Box2D

__all__ = ["SimilarityFit", "findSimilarity", "refineSimilarity", "requireSimilarity"]

_BRIGHTEST = 50
_POSITION_ERROR = 0.7  # pixels: two objects' errors of a bright list, blends included
_FLATTEST = 0.1  # shortest over longest side: flatter triangles say little
_SCALES = (0.1, 10.0)
_CENTRES = 20000  # triangle pairs at which the density of transforms is looked at
_CANDIDATES = 5  # densest places that are tried
_RADII = (8.0, 4.0)  # pixels: rounds of pairing, before the final one
_MIN_PAIRS, _MAX_RMS = 10, 0.5


@dataclass(frozen=True)
class SimilarityFit:
    """A map from template to science pixels and how well it fits.

    Attributes
    ----------
    transform : `stillsky.geom.AffineTransform`
    nPairs : `int`
        Objects that it brings together.
    rms : `float`
        Of their distances, pixels of the science image.
    """

    transform: AffineTransform
    nPairs: int
    rms: float

    @property
    def isGood(self):
        """At least 10 pairs, rms below half a pixel."""
        return self.nPairs >= _MIN_PAIRS and self.rms < _MAX_RMS

    @property
    def scale(self):
        """Science pixels per template pixel."""
        return float(np.sqrt(abs(self.transform.determinant)))

    @property
    def rotation(self):
        """Radians, from x to y."""
        return float(np.arctan2(self.transform.matrix[1, 0], self.transform.matrix[0, 0]))

    @property
    def isShift(self):
        """Neither rotated nor scaled at all."""
        return bool(np.array_equal(self.transform.matrix, np.eye(2)))

    def isWithin(self, tolerance, bbox):
        """Whether no corner of a box moves by more than a tolerance in pixels."""
        x, y = (np.array(v, float) for v in zip(*(tuple(c) for c in Box2D(bbox).corners)))
        u, v = self.transform(x, y)
        return bool(np.all(np.hypot(u - x, v - y) <= tolerance))

    def describe(self, center):
        """What the template underwent, in words."""
        figures = self.asDict(center)
        dx, dy = figures["shift"]
        words = f"shifted by {dx:+.2f}, {dy:+.2f} px"
        if not self.isShift:
            words += f", rotated by {figures['rotationDegrees']:+.4f} degrees, scaled by {self.scale:.6f}"
        if self.nPairs:
            words += f"; {self.nPairs} pairs, rms {self.rms:.3f} px"
        return words

    def asDict(self, center):
        """Figures for a summary; the shift is that of a point of the science image."""
        x, y = self.transform.inverse()(*center)
        return {
            "nPairs": int(self.nPairs),
            "rmsPixels": float(self.rms) if self.nPairs else None,
            "shift": [float(center[0] - x), float(center[1] - y)],
            "rotationDegrees": float(np.degrees(self.rotation)),
            "scale": self.scale,
        }


def findSimilarity(science, template, radius=2.0):
    """Find the similarity that brings the objects of a template onto those of a science image.

    Parameters
    ----------
    science, template : (x, y), arrays, brightest first
        Pixels.
    radius : `float`
        Largest distance of a pair in the final fit, science pixels.

    Returns
    -------
    fit : `SimilarityFit` or None
        The best one found, whatever its quality; None where three objects are not to be had.

    Notes
    -----
    Triangles of the 50 brightest objects are paired by the ratios of their sides and their sense of rotation (Groth
    1986, AJ 91, 1244; Valdes et al. 1995, PASP 107, 1119). Each pair implies a similarity; the right one is where those
    crowd. It is then refined on all objects. No reflections. Cost: about 0.5 s.
    """
    science, template = (np.column_stack([np.asarray(v, float) for v in p]) for p in (science, template))
    if min(len(science), len(template)) < 3:
        return None
    best = None
    for transform in _candidates(template[:_BRIGHTEST], science[:_BRIGHTEST]):
        fit = refineSimilarity(science, template, transform, radius)
        if fit is not None and (best is None or _worth(fit) > _worth(best)):
            best = fit
        if best is not None and best.isGood:
            break
    return best


def requireSimilarity(fit):
    """The fit itself, or MismatchError when there is none or it is not good enough."""
    if fit is not None and fit.isGood:
        return fit
    found = "no similarity between the triangles of their brightest objects"
    if fit is not None:
        found = f"{fit.nPairs} pairs with an rms of {fit.rms:.2f} px, wanted {_MIN_PAIRS} and below {_MAX_RMS} px"
    raise MismatchError(
        "the images cannot be registered by their objects",
        found=found,
        remedy="give both a WCS, or check that they show the same field",
    )


def _worth(fit):
    return fit.nPairs / (0.1 + fit.rms) ** 2


# ------------------------------------------------------------------------------------------------ triangles


def _triangles(z):
    """Triangles of points z (complex): invariants (m, 2), corners (m, 3), longest sides.

    Corners are listed opposite to the longest, the middle and the shortest side; the sign of the first invariant is the
    sense of rotation.
    """
    corners = np.array(list(combinations(range(len(z)), 3)))
    p = z[corners]
    sides = np.abs(np.stack([p[:, 1] - p[:, 2], p[:, 2] - p[:, 0], p[:, 0] - p[:, 1]], axis=1))
    order = np.argsort(-sides, axis=1)
    sides, corners = np.take_along_axis(sides, order, 1), np.take_along_axis(corners, order, 1)
    good = sides[:, 2] > _FLATTEST * sides[:, 0]
    sides, corners = sides[good], corners[good]
    p = z[corners]
    sense = np.sign(np.imag((p[:, 1] - p[:, 0]) * np.conj(p[:, 2] - p[:, 0])))
    # senses lie further apart than any tolerance
    return np.column_stack([sides[:, 1] / sides[:, 0], sides[:, 2] / sides[:, 0] + 10 * sense]), corners, sides[:, 0]


def _candidates(template, science):
    """Transforms (w, t), science = w template + t in complex numbers, the most crowded first."""
    a, b = template @ (1, 1j), science @ (1, 1j)
    (ia, ca, la), (ib, cb, lb) = _triangles(a), _triangles(b)
    if not (len(ia) and len(ib)):
        return
    tolerance = np.clip(_POSITION_ERROR / min(np.median(la), np.median(lb)), 5e-4, 0.01)
    pairs = cKDTree(ia).sparse_distance_matrix(cKDTree(ib), tolerance, output_type="coo_matrix")
    pa, pb = a[ca[pairs.row]], b[cb[pairs.col]]
    ma, mb = pa.mean(axis=1), pb.mean(axis=1)
    da, db = pa - ma[:, None], pb - mb[:, None]
    w = np.sum(np.conj(da) * db, axis=1) / np.sum(np.abs(da) ** 2, axis=1)
    possible = (np.abs(w) > _SCALES[0]) & (np.abs(w) < _SCALES[1])
    w, ma, mb = w[possible], ma[possible], mb[possible]
    middle, extent = a.mean(), max(np.abs(a - a.mean()).mean(), 1.0)
    places = mb + w * (middle - ma)
    # displacement of the rim, and of the middle, in pixels
    features = np.column_stack([extent * w.real, extent * w.imag, places.real, places.imag])
    alive = np.ones(len(w), bool)
    for _ in range(_CANDIDATES):
        members = _densest(features[alive], 4 * _POSITION_ERROR)
        if len(members) < 3:
            return
        rows = np.flatnonzero(alive)[members]
        slope = np.median(w[rows].real) + 1j * np.median(w[rows].imag)
        place = np.median(places[rows].real) + 1j * np.median(places[rows].imag)
        yield slope, place - slope * middle
        alive[rows] = False


def _densest(features, radius):
    if not len(features):
        return []
    tree = cKDTree(features)
    sample = features[:: max(1, len(features) // _CENTRES)]
    counts = tree.query_ball_point(sample, radius, return_length=True)
    return tree.query_ball_point(sample[np.argmax(counts)], radius)


# ------------------------------------------------------------------------------------------------ refinement


def refineSimilarity(science, template, start=(1.0, 0.0), radius=2.0):
    """Fit a similarity to all objects that come together, starting from one that is nearly right.

    Parameters
    ----------
    science, template : array (n, 2)
        Positions, pixels.
    start : (w, t), complex
        science = w template + t with x + i y; default: equal grids.
    radius : `float`
        Largest distance of a pair in the last round, pixels.

    Returns
    -------
    fit : `SimilarityFit` or None
        None with fewer than two pairs. Pairs beyond three robust standard deviations are left out.
    """
    a, b = np.asarray(template, float) @ (1, 1j), np.asarray(science, float) @ (1, 1j)
    tree = cKDTree(np.column_stack([b.real, b.imag]))
    w, t = start
    fit = None
    for limit in (*_RADII, radius, radius, radius):
        i, j = _pairs(w * a + t, b, tree, limit)
        kept = np.ones(len(i), bool)
        for _ in range(3):
            if np.count_nonzero(kept) < 2:
                return fit
            w, t = _leastSquares(a[i[kept]], b[j[kept]])
            distance = np.abs(w * a[i] + t - b[j])
            # the median of a Rayleigh distribution is 1.177 standard deviations of a component
            kept = distance <= max(3 * np.sqrt(2) * np.median(distance[kept]) / 1.177, 1e-6)
        if np.count_nonzero(kept) < 2:
            return fit
        matrix = np.array([[w.real, -w.imag], [w.imag, w.real]])
        rms = float(np.sqrt(np.mean(distance[kept] ** 2)))
        fit = SimilarityFit(AffineTransform(matrix, (t.real, t.imag)), int(np.count_nonzero(kept)), rms)
    return fit


def _pairs(moved, b, tree, radius):
    """Rows of objects that are each other's nearest and within the radius."""
    distance, j = tree.query(np.column_stack([moved.real, moved.imag]))
    back = cKDTree(np.column_stack([moved.real, moved.imag])).query(np.column_stack([b.real, b.imag]))[1]
    i = np.arange(len(moved))
    good = (distance < radius) & (back[j] == i)
    return i[good], j[good]


def _leastSquares(a, b):
    """w, t of b = w a + t. Two points or more."""
    ma, mb = a.mean(), b.mean()
    w = np.vdot(a - ma, b - mb) / max(np.vdot(a - ma, a - ma).real, 1e-300)
    return w, mb - w * ma
