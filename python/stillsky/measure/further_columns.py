"""Columns of the measurements made on difference images, in the form of `schema`: name, dtype, unit, description."""

import numpy as np

F4, F8, I4, I8, B = np.float32, np.float64, np.int32, np.int64, np.bool_

#: Columns of one aperture; the prefix carries the radius.
APERTURE = (
    ("instFlux", F8, "flux", "sum in a circle of this radius, shared pixels in proportion"),
    ("instFluxErr", F8, "flux", "standard deviation of instFlux"),
    ("flag", B, None, "the flux is not to be trusted"),
    ("flag_apertureTruncated", B, None, "the circle reaches beyond the image; no flux"),
    ("flag_sincCoeffsTruncated", B, None, "reference mode: the weights reach beyond the image"),
    ("flag_masked", B, None, "missing pixels in the circle count as 0"),
)

PEAK_LIKELIHOOD = (
    ("instFlux", F8, "flux", "value of a likelihood image at the centroid times the PSF's effective area"),
    ("instFluxErr", F8, "flux", "standard deviation of instFlux"),
    ("flag", B, None, "the flux is not to be trusted"),
)

NAIVE_CENTROID = (
    ("x", F8, "pix", "first moment of the 3x3 pixels around the peak, parent coordinates"),
    ("y", F8, "pix", "first moment of the 3x3 pixels around the peak, parent coordinates"),
    ("flag", B, None, "the centroid is not to be trusted; position is the peak"),
    ("flag_noCounts", B, None, "the pixels sum to zero"),
    ("flag_edge", B, None, "too close to the edge"),
)

PEAK_CENTROID = (
    ("x", F8, "pix", "first peak, parent coordinates"),
    ("y", F8, "pix", "first peak, parent coordinates"),
    ("flag", B, None, "no finite peak"),
)

LOCAL_BACKGROUND = (
    ("instFlux", F8, "flux", "clipped mean per pixel in a ring around the centroid"),
    ("instFluxErr", F8, "flux", "standard error of instFlux"),
    ("flag", B, None, "the level is not to be trusted"),
    ("flag_noGoodPixels", B, None, "fewer than 5 good pixels in the ring"),
    ("flag_noPsf", B, None, "the PSF, which scales the ring, is not defined there"),
)

LOCAL_PHOTO_CALIB = (
    ("base_LocalPhotoCalib", F8, "calib", "calibration at the centroid"),
    ("base_LocalPhotoCalibErr", F8, "calib", "standard deviation of base_LocalPhotoCalib"),
    ("base_LocalPhotoCalib_flag", B, None, "no calibration, or none at the centroid"),
)

LOCAL_WCS = (
    *(
        (f"CDMatrix_{i}_{j}", F8, "rad / pix", "tangent-plane coordinates by pixel coordinates at the centroid")
        for i in (1, 2)
        for j in (1, 2)
    ),
    ("flag", B, None, "no WCS, or none at the centroid"),
)

TRAIL = (
    ("ra", F8, "deg", "right ascension of the middle"),
    ("dec", F8, "deg", "declination of the middle"),
    ("x0", F8, "pix", "end at middle - L/2 (cos, sin), parent coordinates"),
    ("y0", F8, "pix", "end at middle - L/2 (cos, sin), parent coordinates"),
    ("x1", F8, "pix", "end at middle + L/2 (cos, sin), parent coordinates"),
    ("y1", F8, "pix", "end at middle + L/2 (cos, sin), parent coordinates"),
    ("flux", F8, "flux", "flux of a uniform trail of this length and angle"),
    ("length", F8, "pix", "length from the second moments; 0 for round sources"),
    ("angle", F8, "rad", "from +x towards +y, in (-pi/2, pi/2]"),
    *(
        (f"{name}Err", F8, unit, f"standard deviation of {name}")
        for name, unit in (
            *((end, "pix") for end in ("x0", "y0", "x1", "y1")),
            ("flux", "flux"),
            ("length", "pix"),
            ("angle", "rad"),
        )
    ),
    ("flag", B, None, "no trail was measured"),
    ("flag_noFlux", B, None, "no flux"),
    ("flag_noConverge", B, None, "the length equation has no solution"),
    ("flag_noSigma", B, None, "the PSF has no width here"),
    ("flag_edge", B, None, "an end is off the image or on an EDGE pixel"),
    ("flag_off_image", B, None, "an end is off the image"),
    ("flag_nan", B, None, "an end or the middle is not a number"),
    ("flag_suspect_long_trail", B, None, "longer than three widths of the PSF"),
    ("flag_shape", B, None, "the shape, from which the length comes, is flagged"),
)

DIPOLE = (
    ("x", F8, "pix", "middle of the lobes, or the centroid of a source that is no dipole"),
    ("y", F8, "pix", "middle of the lobes, or the centroid of a source that is no dipole"),
    ("xErr", F4, "pix", "standard deviation of x"),
    ("yErr", F4, "pix", "standard deviation of y"),
    *(
        (f"{lobe}_{c}", F8, "pix", f"{word} lobe")
        for lobe, word in (("pos", "positive"), ("neg", "negative"))
        for c in "xy"
    ),
    *((f"{lobe}_{c}Err", F4, "pix", f"standard deviation of {lobe}_{c}") for lobe in ("pos", "neg") for c in "xy"),
    ("pos_instFlux", F8, "flux", "flux of the positive lobe"),
    ("pos_instFluxErr", F8, "flux", "standard deviation of pos_instFlux"),
    ("neg_instFlux", F8, "flux", "flux of the negative lobe, as a positive number"),
    ("neg_instFluxErr", F8, "flux", "standard deviation of neg_instFlux"),
    ("instFlux", F8, "flux", "mean flux of the lobes"),
    ("instFluxErr", F8, "flux", "standard deviation of instFlux"),
    ("separation", F8, "pix", "distance of the lobes"),
    ("orientation", F8, "rad", "direction from the negative to the positive lobe, from +x towards +y"),
    ("chi2dof", F8, None, "chi-square per degree of freedom of all images fitted"),
    ("deltaChi2", F8, None, "chi-square of the best single PSF minus that of the dipole, on the difference"),
    ("nData", I8, None, "number of pixels fitted, over all images"),
    ("signalToNoise", F8, None, "square root of the sum of the lobes' (flux/noise)^2, noise of the whole box"),
    ("classification", B, None, "this is a dipole"),
    ("classificationAttempted", B, None, "the fit was tried"),
    ("flag", B, None, "the fit failed"),
    ("flag_edge", B, None, "too close to the edge to be fitted"),
)

_LOBES = (("pos", "positive"), ("neg", "negative"))

NAIVE_DIPOLE_CENTROID = (
    ("x", F8, "pix", "middle of the lobes"),
    ("y", F8, "pix", "middle of the lobes"),
    *(
        (f"{lobe}_{c}", F8, "pix", f"first moment of the 3x3 pixels around the {word} peak")
        for lobe, word in _LOBES
        for c in "xy"
    ),
    ("flag", B, None, "a lobe is missing or flagged"),
    *((f"{lobe}_flag", B, None, f"no {word} peak, or no centroid there") for lobe, word in _LOBES),
)

NAIVE_DIPOLE_FLUX = (
    *(
        row
        for lobe, word in _LOBES
        for row in (
            (f"{lobe}_instFlux", F8, "flux", f"sum of the {word} pixels of the footprint"),
            (f"{lobe}_instFluxErr", F8, "flux", f"standard deviation of {lobe}_instFlux"),
            (f"n{lobe}", I4, None, f"number of {word} pixels"),
        )
    ),
    ("flag", B, None, "pixels of one sign only"),
    *((f"{lobe}_flag", B, None, f"no {word} pixel") for lobe, word in _LOBES),
)

PSF_DIPOLE_FLUX = (
    ("x", F8, "pix", "middle of the lobes"),
    ("y", F8, "pix", "middle of the lobes"),
    ("xErr", F4, "pix", "standard deviation of x"),
    ("yErr", F4, "pix", "standard deviation of y"),
    *(
        row
        for lobe, word in _LOBES
        for row in (
            (f"{lobe}_centroid_x", F8, "pix", f"{word} lobe"),
            (f"{lobe}_centroid_y", F8, "pix", f"{word} lobe"),
            (f"{lobe}_centroid_xErr", F4, "pix", f"standard deviation of {lobe}_centroid_x"),
            (f"{lobe}_centroid_yErr", F4, "pix", f"standard deviation of {lobe}_centroid_y"),
            (f"{lobe}_instFlux", F8, "flux", f"flux of the {word} lobe, with its sign"),
            (f"{lobe}_instFluxErr", F8, "flux", f"standard deviation of {lobe}_instFlux"),
        )
    ),
    ("chi2dof", F8, None, "chi-square per degree of freedom"),
    ("flag", B, None, "the fit failed"),
    *((f"{lobe}_flag", B, None, "the fit failed") for lobe, _ in _LOBES),
)

CLASSIFICATION_DIPOLE = (
    ("value", F8, None, "1: a dipole by the naive fluxes of its lobes, 0: none"),
    ("flag", B, None, "a lobe is missing"),
)

FURTHER = {
    "base_PeakLikelihoodFlux": ("base_PeakLikelihoodFlux_", PEAK_LIKELIHOOD),
    "base_NaiveCentroid": ("base_NaiveCentroid_", NAIVE_CENTROID),
    "base_PeakCentroid": ("base_PeakCentroid_", PEAK_CENTROID),
    "base_LocalBackground": ("base_LocalBackground_", LOCAL_BACKGROUND),
    "base_LocalPhotoCalib": ("", LOCAL_PHOTO_CALIB),
    "base_LocalWcs": ("base_LocalWcs_", LOCAL_WCS),
    "ext_trailedSources_Naive": ("ext_trailedSources_Naive_", TRAIL),
    "ip_diffim_DipoleFit": ("ip_diffim_DipoleFit_", DIPOLE),
    "ip_diffim_NaiveDipoleCentroid": ("ip_diffim_NaiveDipoleCentroid_", NAIVE_DIPOLE_CENTROID),
    "ip_diffim_NaiveDipoleFlux": ("ip_diffim_NaiveDipoleFlux_", NAIVE_DIPOLE_FLUX),
    "ip_diffim_PsfDipoleFlux": ("ip_diffim_PsfDipoleFlux_", PSF_DIPOLE_FLUX),
    "ip_diffim_ClassificationDipole": ("ip_diffim_ClassificationDipole_", CLASSIFICATION_DIPOLE),
}
