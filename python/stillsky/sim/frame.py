"""One simulated exposure: pixels, defects, noise, PSF and grid."""

from dataclasses import dataclass, field

import numpy as np

from .moffat_field import MoffatField

__all__ = ["SimulatedFrame"]


@dataclass(repr=False)
class SimulatedFrame:
    """One simulated exposure, as plain arrays.

    Attributes
    ----------
    image, variance : `numpy.ndarray` (height, width) of `float32`
        Pixels (counts) and their true variance (counts²), from the noise-free image.
    masks : `dict` [`str`, `numpy.ndarray` of `bool`]
        Affected pixels by mask plane: SAT, BAD, CR.
    psf : `MoffatField`
        The true PSF.
    gain : `float`
        Electrons per count.
    readNoise : `float`
        Electrons.
    saturation : `float`
        Counts.
    sky : `float`
        Counts per pixel at the centre of the field.
    fluxScale : `float`
        Counts that a source of one science count has here.
    wcsCards : `dict` [`str`, `object`]
        FITS cards of a tangent projection.
    cards : `dict` [`str`, `object`]
        Other FITS cards: GAIN, RDNOISE, SATURATE, EXPTIME, FILTER, DATE-OBS, OBJECT.
    """

    image: np.ndarray
    variance: np.ndarray
    masks: dict
    psf: MoffatField
    gain: float
    readNoise: float
    saturation: float
    sky: float
    fluxScale: float
    wcsCards: dict
    cards: dict = field(default_factory=dict)

    def __repr__(self):
        height, width = self.image.shape
        return (
            f"<SimulatedFrame {width}x{height}: gain {self.gain:g}, sky {self.sky:g}, saturation {self.saturation:g}>"
        )

    @property
    def badMask(self):
        """All pixels that carry no good measurement (`numpy.ndarray` of `bool`)."""
        return np.logical_or.reduce(list(self.masks.values()))

    def toHeader(self):
        """The cards as an `astropy.io.fits.Header`."""
        from astropy.io import fits

        return fits.Header({**self.wcsCards, **self.cards})

    def toExposure(self, psf=True):
        """The frame as a `stillsky.image.Exposure`.

        Parameters
        ----------
        psf : `bool`
            Attach the true PSF, as images on a grid of positions.
        """
        from astropy.io import fits

        from stillsky.fits.foreign_visit import foreignVisitInfo
        from stillsky.image import Exposure, Image, Mask, MaskedImage
        from stillsky.meta import FilterLabel, Header
        from stillsky.wcs import SkyWcs

        mask = Mask(np.zeros(self.image.shape, dtype=np.int32))
        for plane, pixels in self.masks.items():
            mask.array[pixels] |= mask.bitmask([plane])
        masked = MaskedImage(Image(self.image), mask, Image(self.variance))
        return Exposure(
            masked,
            wcs=SkyWcs.fromHeader(fits.Header(self.wcsCards)),
            psf=self._gridPsf() if psf else None,
            filter=FilterLabel(band=self.cards["FILTER"]),
            visitInfo=foreignVisitInfo(fits.Header(self.cards)),
            metadata=Header(self.cards),
        )

    def _gridPsf(self, n=5):
        from stillsky.psf import ImageGridPsf

        height, width = self.image.shape
        halfWidth = int(np.ceil(4.0 * self.psf.fwhm))
        xs, ys = np.linspace(0, width - 1, n), np.linspace(0, height - 1, n)
        images = np.array([[self.psf.image(x, y, halfWidth) for x in xs] for y in ys])
        return ImageGridPsf(images, xs, ys)
