"""Making kernel candidates from a position or from a source record."""

from .._core import KernelCandidate

__all__ = ["KernelCandidateD", "KernelCandidateF", "makeKernelCandidate"]

# One class serves both pixel types; these are the names under which other software knows it.
KernelCandidateF = KernelCandidateD = KernelCandidate

# Where a source record may keep its centroid and PSF flux, in order of preference.
_X_NAMES = ("slot_Centroid_x", "base_SdssCentroid_x", "x", "xcentroid")
_Y_NAMES = ("slot_Centroid_y", "base_SdssCentroid_y", "y", "ycentroid")
_FLUX_NAMES = ("slot_PsfFlux_instFlux", "base_PsfFlux_instFlux", "psfFlux", "flux")


def makeKernelCandidate(*args, **kwargs):
    """Make a kernel candidate.

    Called as ``makeKernelCandidate(x, y, template, science, settings)`` the rating is the mean signal-to-noise per
    pixel of the science stamp's core; called as ``makeKernelCandidate(source, template, science, settings)`` the
    centre is the source's centroid and the rating its PSF flux.

    Parameters
    ----------
    x, y : float
        Centre in parent coordinates.
    source : table row, mapping or object with ``getX``, ``getY`` and ``getPsfInstFlux``
    template, science : `stillsky.image.MaskedImage`
        Stamps of equal size and pixel type: the image to convolve, and the one to match. They are copied.
    settings : PsfMatchSettings, mapping or configuration

    Returns
    -------
    candidate : `KernelCandidate`
    """
    if len(args) + len(kwargs) == 5:
        return KernelCandidate(*args, **kwargs)
    return _fromSource(*args, **kwargs)


def _fromSource(source, template, science, settings):
    if hasattr(source, "getPsfInstFlux"):
        x, y, flux = source.getX(), source.getY(), source.getPsfInstFlux()
    else:
        x, y, flux = (_field(source, names) for names in (_X_NAMES, _Y_NAMES, _FLUX_NAMES))
    candidate = KernelCandidate(float(x), float(y), template, science, settings, float(flux))
    candidate.source = source
    return candidate


def _field(source, names):
    known = getattr(source, "colnames", None) or source.keys()
    for name in names:
        if name in known:
            return getattr(source[name], "value", source[name])
    raise KeyError(f"source record: wanted one of the fields {', '.join(names)}")
