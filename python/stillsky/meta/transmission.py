"""TransmissionCurve: what fraction of the light of each wavelength arrives."""

import numpy as np

from ..errors import DomainError

__all__ = ["TransmissionCurve"]


class TransmissionCurve:
    """Throughput against wavelength, linear between its points and 0 outside. Immutable.

    Parameters
    ----------
    wavelengths : array_like
        nm, increasing, at least two.
    throughput : array_like
        As many, finite, not negative.

    Raises
    ------
    DomainError
        (a ValueError) Anything else.
    """

    def __init__(self, wavelengths, throughput):
        self.wavelengths, self.throughput = (np.array(v, float) for v in (wavelengths, throughput))
        nm, values = self.wavelengths, self.throughput
        if nm.ndim != 1 or nm.size < 2 or values.shape != nm.shape:
            raise DomainError(f"TransmissionCurve: wanted two or more points, given {nm.shape} and {values.shape}")
        if not (np.all(np.isfinite(nm)) and np.all(np.diff(nm) > 0) and nm[0] > 0):
            raise DomainError("TransmissionCurve: wanted increasing wavelengths in nm")
        if not (np.all(np.isfinite(values)) and np.all(values >= 0)):
            raise DomainError("TransmissionCurve: wanted throughputs that are finite and not negative")
        for array in (nm, values):
            array.flags.writeable = False

    def __call__(self, wavelengths):
        """Throughput at wavelengths in nm."""
        return np.interp(wavelengths, self.wavelengths, self.throughput, left=0.0, right=0.0)

    @classmethod
    def mean(cls, curves, weights):
        """Weighted mean of curves, exact between all their points.

        Parameters
        ----------
        curves : sequence of `TransmissionCurve`
        weights : sequence of `float`

        Returns
        -------
        curve : `TransmissionCurve`
        """
        curves = list(curves)
        ends = [np.nextafter(c.wavelengths[[0, -1]], [0.0, np.inf]) for c in curves]  # beyond which a curve is 0
        nm = np.unique(np.concatenate([c.wavelengths for c in curves] + ends))
        return cls(nm, np.average([c(nm) for c in curves], axis=0, weights=weights))

    def __eq__(self, other):
        if not isinstance(other, TransmissionCurve):
            return NotImplemented
        return np.array_equal(self.wavelengths, other.wavelengths) and np.array_equal(self.throughput, other.throughput)

    def __hash__(self):
        return hash((self.wavelengths.tobytes(), self.throughput.tobytes()))

    def __repr__(self):
        nm = self.wavelengths
        return f"TransmissionCurve({nm.size} points, {nm[0]:.5g}-{nm[-1]:.5g} nm, at most {self.throughput.max():.3g})"
