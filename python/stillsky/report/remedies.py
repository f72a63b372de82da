"""What to do about a rule that is not met, or a warning."""

__all__ = ["remedyOf", "warningText"]

# Name of a rule of the verdict -> what helps.
_RULES = {
    "noise of the sky over its prediction": "the variance planes of the inputs are wrong (gain, read noise, resampling): "
    "--sci-gain and --sci-read-noise if they are known, or --sci-variance empirical; the same with --tmpl",
    "noise on sources over its prediction": "the kernel does not follow the PSF: a higher -c psfmatch.spatialKernelOrder, or a PSF or more "
    "stars by --stars; on galaxies look at the flat field and the photometric match",
    "chi of stars left out of the fit, median": "the kernel model is too stiff or has too few stars: "
    "-c psfmatch.spatialKernelOrder one higher, or more stars (-c stars.minSignalToNoise=10)",
    "noise summed over the PSF": "patches of noise wider than the neighbours of a pixel (bad rows, hot pixels without a "
    "mask), or more freedom of the fit than its stars can hold: give masks, lower -c psfmatch.spatialKernelOrder or "
    "-c psfmatch.spatialBgOrder, or raise --threshold by this factor",
    "chi of stars left out of the fit, 90 %": "a few stars contradict the others: look at them in the kernel section "
    "(variable, saturated, blended), give better ones by --stars",
    "correlation of neighbouring sky pixels": "the inputs were resampled or smoothed before: their noise is correlated; "
    "let stillsky align the template instead",
    "scatter of the kernel sums of stars": "the photometric scale varies: clouds, flat field, or variable stars among "
    "those of the fit; -c psfmatch.spatialPhotometricOrder=1",
    "template coverage, %": "the template does not cover the field: give a larger one",
    "sharpening by the kernel": "the convolved image is not sharper than the other one: --convolve auto chooses the side",
    "negative over positive sources": "many of one sign: look for a sky difference, a proper motion of all stars "
    "(registration), or a wrong flux scale",
    "pulls of empty apertures": "errors of fluxes are wrong by this factor: see the noise section",
}
_WARNINGS = {
    "W-NOVAR": "give the noise by --sci-var or --sci-weight (--tmpl-...), or --sci-gain and --sci-read-noise",
    "W-GAIN": "give --sci-gain and --sci-read-noise (--tmpl-...)",
    "W-DEFECTS": "nothing to do if they are defects of the detector; else give a mask by --sci-mask or --tmpl-mask",
    "W-DECONV": "exchange the roles with --convolve, or use a template of better seeing",
    "W-FOREIGNMASK": "name the planes in the header (MP_ cards), or give a mask of stillsky's planes by --sci-mask or --tmpl-mask",
    "W-CORRNOISE": "leave doDecorrelation on; believe the measured noise of the noise section, not the nominal significance",
    "W-PSF": "give a PSF by --sci-psf or --tmpl-psf",
    "W-COVERAGE": "give a template that covers the field",
    "W-SAME": "name two files",
    "W-SATURATED": "give saturated pixels in a mask",
}


# The same where many images of one kind are read: their options have no sides.
_STACK_WARNINGS = {
    "W-NOVAR": "give the noise by --gain and --read-noise, or files with a variance plane",
    "W-GAIN": "give --gain and --read-noise",
    "W-DEFECTS": "nothing to do if they are defects of the detector; else name them in masks of the files",
    "W-FOREIGNMASK": "name the planes in the headers (MP_ cards)",
    "W-PSF": "give files with a PSF",
    "W-SATURATED": "give --saturation",
    "W-SHIFT": "nothing to do if that is right; -c register=never leaves the pixels where they are",
    "W-TIME": "correct the headers: airmass and parallactic angle follow from the time",
}


def remedyOf(rule):
    """What helps when a rule (its name) is not met; empty when nothing is known."""
    return _RULES.get(rule, "")


def warningText(code, sentence, stack=False):
    """A warning with what helps; ``stack``: to somebody who combines many images."""
    remedy = _STACK_WARNINGS.get(code) if stack else _WARNINGS.get(code)
    return f"{code}: {sentence}" + (f". Try: {remedy}" if remedy else "")
