"""The vector of features of a candidate, and the flags drawn from it."""

import numpy as np

__all__ = ["CANDIDATE_COLUMNS", "FEATURES"]

F4, B = np.float32, np.bool_

#: The feature vector: what a classifier of real and bogus candidates gets. Sizes and distances in pixels.
FEATURES = (
    ("candidate_psfChi2", F4, None, "reduced chi squared of the PSF fit within 1 FWHM of the centroid"),
    ("candidate_widthRatio", F4, None, "second-moment width over that of the PSF; 1 for a point source"),
    ("candidate_sharpness", F4, None, "(peak minus mean of its 8 neighbours) over the same of the PSF at the fitted flux"),
    ("candidate_sharpnessSigma", F4, None, "excess of that contrast over the PSF's, standard deviations"),
    ("candidate_dipoleDeltaChi2", F4, None, "fall of chi squared when gradients of the PSF join the PSF fit"),
    ("candidate_dipoleSeparation", F4, "pix", "distance of the strongest positive and negative peaks; 0: one sign only"),
    ("candidate_badFraction", F4, None, "fraction of BAD, NO_DATA, EDGE or not finite pixels within 5 pixels"),
    ("candidate_saturatedFraction", F4, None, "fraction of SAT or SAT_TEMPLATE pixels within 5 pixels"),
    ("candidate_cosmicRayFraction", F4, None, "fraction of CR pixels within 5 pixels"),
    ("candidate_interpolatedFraction", F4, None, "fraction of INTRP pixels within 5 pixels"),
    ("candidate_negativeFraction", F4, None, "fraction of pixels of the other sign, beyond 1 sigma, within 5 pixels"),
    ("candidate_asymmetry", F4, None, "rms of the PSF fit's residuals minus those turned by 180 degrees, over its noise"),
    ("candidate_templateFlux", F4, "flux", "PSF-weighted flux of the matched template at the centroid"),
    ("candidate_residualRatio", F4, None, "abs(flux of the difference) over that of the template"),
    ("candidate_significance", F4, None, "flux over its error with the uncertainty of the kernel: that of candidate_flag"),
    ("candidate_starDistance", F4, "pix", "distance to the nearest star of the science image; NaN: no stars known"),
    ("candidate_saturatedDistance", F4, None, "distance to the nearest saturated core in radii of the largest disc inside; NaN: none"),
)  # fmt: skip

FLAGS = (
    ("candidate_flag", B, None, "one of the flags below: probably no astrophysical change"),
    ("candidate_flag_cosmicRay", B, None, "sharper than the PSF, or marked CR"),
    ("candidate_flag_masked", B, None, "BAD, NO_DATA, SAT or INTRP pixels under the core"),
    ("candidate_flag_residual", B, None, "within the uncertainty of the subtraction of what is there in the template"),
    ("candidate_flag_halo", B, None, "in the halo of a saturated source"),
    ("candidate_flag_dipole", B, None, "as much positive as negative: misplaced rather than changed"),
    ("candidate_flag_shape", B, None, "neither the PSF nor a dipole nor a trail describes it"),
    ("candidate_flag_faint", B, None, "the PSF flux at the centroid is below the threshold"),
)

CANDIDATE_COLUMNS = (*FEATURES, *FLAGS)
