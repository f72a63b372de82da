"""A science exposure and its template, with transients whose truth is known."""

from dataclasses import dataclass, field

import numpy as np

from ..errors import DomainError
from .defects import badPixelMask, cosmicRays, saturate
from .frame import SimulatedFrame
from .moffat_field import MoffatField
from .render import addGalaxies, addStars

__all__ = ["SimulatedPair", "simulatePair"]

_PIXEL_SCALE = 0.3  # arcsec
_CENTRE = (150.1, 2.2)  # right ascension and declination of the field, degrees
_DRAW_LEVEL = 0.02  # sources are drawn out to this fraction of the sky noise


@dataclass(repr=False)
class SimulatedPair:
    """A pair of simulated exposures with their truth.

    Attributes
    ----------
    science, template : `SimulatedFrame`
        The frames; ``science.toExposure()`` gives an Exposure.
    transients : `dict` [`str`, `numpy.ndarray`]
        The sources that differ: id, kind (new, faded, variable), x, y (science pixels, 0-based), xTemplate,
        yTemplate, flux (science counts, science minus template), snr, host (index of the galaxy or -1), masked
        (a bad, saturated or cosmic-ray pixel of either frame lies within one FWHM).
    stars, galaxies : `dict` [`str`, `numpy.ndarray`]
        Everything else in the sky; fluxes in science counts.
    parameters : `dict`
        The arguments that made the pair.
    """

    science: SimulatedFrame
    template: SimulatedFrame
    transients: dict
    stars: dict
    galaxies: dict
    parameters: dict = field(default_factory=dict)

    def __repr__(self):
        height, width = self.science.image.shape
        counts = [f"{len(table['x'])} {name}" for name, table in
                  (("stars", self.stars), ("galaxies", self.galaxies), ("transients", self.transients))]  # fmt: skip
        return f"<SimulatedPair {width}x{height}: {', '.join(counts)}>"

    def truthTable(self):
        """The transients as an `astropy.table.Table` with units, descriptions and sky positions."""
        from astropy import units as u
        from astropy.io import fits
        from astropy.table import Table
        from astropy.wcs import WCS

        table = Table({name: np.array(column) for name, column in self.transients.items()})
        ra, dec = WCS(fits.Header(self.science.wcsCards)).all_pix2world(table["x"], table["y"], 0)
        table.add_column(ra, name="ra", index=table.colnames.index("y") + 1)
        table.add_column(dec, name="dec", index=table.colnames.index("ra") + 1)
        about = {
            "id": ("running number", None),
            "kind": ("new: only in the science image; faded: only in the template; variable: in both", None),
            "x": ("science pixel, 0-based", u.pix),
            "y": ("science pixel, 0-based", u.pix),
            "ra": ("right ascension, ICRS", u.deg),
            "dec": ("declination, ICRS", u.deg),
            "xTemplate": ("template pixel, 0-based", u.pix),
            "yTemplate": ("template pixel, 0-based", u.pix),
            "flux": ("science minus template, in science counts", u.adu),
            "snr": ("flux over the PSF-weighted noise of both frames", None),
            "host": ("index of the host galaxy, -1: none", None),
            "masked": ("an unusable pixel of either frame lies within one FWHM", None),
        }
        for name, (description, unit) in about.items():
            table[name].description = description
            table[name].unit = unit
        table.meta.update(self.parameters)
        return table


def simulatePair(
    size=1024,
    seed=1,
    *,
    scienceFwhm=4.2,
    templateFwhm=3.2,
    nTransients=None,
    starDensity=600.0,
    galaxyDensity=150.0,
    psfVariation=0.04,
    offset=(0.0, 0.0),
    rotation=0.0,
    fluxScale=0.8,
    templateDepth=4.0,
    defects=True,
):
    """Simulate a science exposure and a template of the same field.

    The sky holds stars with a power-law flux distribution, from below the noise to beyond saturation, galaxies, and
    transients: new, faded and variable sources, half of them in galaxies, with signal-to-noise ratios from 4 to 60.

    Parameters
    ----------
    size : `int` or `tuple` [`int`, `int`]
        Side in pixels, or width and height; at least 64.
    seed : `int`
        Seed; the same arguments give the same pixels. Each ingredient has its own random stream, so that changing
        one argument leaves the other ingredients as they were.
    scienceFwhm, templateFwhm : `float`
        Widths of the PSFs at the centre, pixels; at least 1.5.
    nTransients : `int`, optional
        Number of transients; by default 24 per 1024² pixels, and at least 6.
    starDensity, galaxyDensity : `float`
        Numbers per 1024² pixels.
    psfVariation : `float`
        Relative change of width and shape over the field.
    offset : `tuple` [`float`, `float`]
        Shift of the template grid, pixels.
    rotation : `float`
        Rotation of the template grid about the centre, degrees.
    fluxScale : `float`
        Template counts per science count.
    templateDepth : `float`
        The template is a mean of this many exposures like the science exposure.
    defects : `bool`
        Add bad columns, bad pixels and cosmic rays. Saturation is always there.

    Returns
    -------
    pair : `SimulatedPair`
        The frames and the truth.

    Raises
    ------
    DomainError
        An argument is out of range.

    Notes
    -----
    Cost: about a second for 1024² pixels; peak memory about twelve float32 planes.
    """
    parameters = {k: v for k, v in locals().items()}
    width, height = (int(size), int(size)) if np.ndim(size) == 0 else (int(size[0]), int(size[1]))
    _checkArguments(width, height, scienceFwhm, templateFwhm, fluxScale, templateDepth)
    area = width * height / 1024.0**2
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(8)]
    nTransients = max(6, round(24 * area)) if nTransients is None else int(nTransients)
    parameters["size"], parameters["nTransients"], parameters["offset"] = [width, height], nTransients, list(offset)

    sciencePsf = MoffatField.random(streams[0], width, height, scienceFwhm, variation=psfVariation)
    templatePsf = MoffatField.random(streams[1], width, height, templateFwhm, variation=psfVariation)
    toTemplate = _GridTransform(width, height, offset, rotation)
    stars = _drawStars(streams[2], width, height, round(starDensity * area))
    galaxies = _drawGalaxies(streams[3], width, height, round(galaxyDensity * area))
    transients = _drawTransients(streams[4], width, height, nTransients, galaxies)

    # electrons per count, read noise in electrons, sky in counts
    scienceCamera = {"gain": 1.6, "readNoise": 6.0, "saturation": 45000.0, "sky": 300.0}
    templateCamera = {
        "gain": 1.6 * templateDepth / fluxScale,
        "readNoise": 6.0 * np.sqrt(templateDepth),
        "saturation": 45000.0 * fluxScale,
        "sky": 220.0 * fluxScale,
    }
    noise2 = _skyNoise2(scienceCamera, sciencePsf) + _skyNoise2(templateCamera, templatePsf) / fluxScale**2
    _setFluxes(transients, streams[4], np.sqrt(noise2), scienceCamera)

    sky = (stars, galaxies, transients)
    science = _expose(streams[5], sciencePsf, scienceCamera, 1.0, sky, _GridTransform(width, height), "new")
    template = _expose(streams[6], templatePsf, templateCamera, fluxScale, sky, toTemplate, "faded")
    if defects:
        _addDefects(streams[5], science, nCosmicRays=round(15 * area), nColumns=2)
        _addDefects(streams[6], template, nCosmicRays=0, nColumns=1)
    transients["xTemplate"], transients["yTemplate"] = toTemplate(transients["x"], transients["y"])
    _finishTruth(transients, science, template, fluxScale)
    return SimulatedPair(science, template, transients, stars, galaxies, parameters)


def _checkArguments(width, height, scienceFwhm, templateFwhm, fluxScale, templateDepth):
    if width < 64 or height < 64:
        raise DomainError(f"size must be at least 64 pixels each way, got {width} x {height}")
    for name, value, low in (
        ("scienceFwhm", scienceFwhm, 1.5),
        ("templateFwhm", templateFwhm, 1.5),
        ("fluxScale", fluxScale, 1e-6),
        ("templateDepth", templateDepth, 1e-3),
    ):
        if not value >= low:
            raise DomainError(f"{name} must be at least {low}, got {value}")


class _GridTransform:
    """Science pixel to template pixel: a rotation about the centre and a shift; with the WCS cards that follow."""

    def __init__(self, width, height, offset=(0.0, 0.0), rotation=0.0):
        self.centre = np.array([(width - 1) / 2.0, (height - 1) / 2.0])
        self.offset = np.asarray(offset, dtype=float)
        c, s = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
        self.matrix = np.array([[c, -s], [s, c]])

    def __call__(self, x, y):
        dx, dy = np.asarray(x) - self.centre[0], np.asarray(y) - self.centre[1]
        m = self.matrix
        return (
            m[0, 0] * dx + m[0, 1] * dy + self.centre[0] + self.offset[0],
            m[1, 0] * dx + m[1, 1] * dy + self.centre[1] + self.offset[1],
        )

    def wcsCards(self):
        scale = _PIXEL_SCALE / 3600.0
        cd = np.array([[-scale, 0.0], [0.0, scale]]) @ self.matrix.T
        crpix = self.centre + self.offset + 1.0
        return {
            "CTYPE1": "RA---TAN",
            "CTYPE2": "DEC--TAN",
            "CUNIT1": "deg",
            "CUNIT2": "deg",
            "RADESYS": "ICRS",
            "CRVAL1": _CENTRE[0],
            "CRVAL2": _CENTRE[1],
            "CRPIX1": float(crpix[0]),
            "CRPIX2": float(crpix[1]),
            "CD1_1": float(cd[0, 0]),
            "CD1_2": float(cd[0, 1]),
            "CD2_1": float(cd[1, 0]),
            "CD2_2": float(cd[1, 1]),
        }


def _drawStars(rng, width, height, n, faint=250.0, bright=3e6, slope=0.6):
    # cumulative counts N(>f) proportional to f^-slope, inverted
    u = rng.uniform(size=n)
    flux = (faint**-slope + u * (bright**-slope - faint**-slope)) ** (-1.0 / slope)
    # some stars lie outside the field, and their wings reach in
    return {"x": rng.uniform(-15, width + 15, n), "y": rng.uniform(-15, height + 15, n), "flux": flux}


def _drawGalaxies(rng, width, height, n):
    return {
        "x": rng.uniform(0, width, n),
        "y": rng.uniform(0, height, n),
        "flux": np.exp(rng.uniform(np.log(1500.0), np.log(60000.0), n)),
        "radius": rng.uniform(1.2, 4.5, n),
        "index": rng.choice([0.5, 0.0], n, p=[0.7, 0.3]),
        "axisRatio": rng.uniform(0.35, 1.0, n),
        "angle": rng.uniform(0, np.pi, n),
    }


def _drawTransients(rng, width, height, n, galaxies):
    border = min(40, width // 6, height // 6)
    x = rng.uniform(border, width - border, n)
    y = rng.uniform(border, height - border, n)
    kind = rng.choice(["new", "faded", "variable"], n, p=[0.6, 0.25, 0.15])
    host = np.full(n, -1)
    dx, dy = np.abs(galaxies["x"] - width / 2), np.abs(galaxies["y"] - height / 2)
    inside = np.flatnonzero((dx < width / 2 - border) & (dy < height / 2 - border))
    if inside.size:
        chosen = np.flatnonzero(rng.uniform(size=n) < 0.5)
        host[chosen] = rng.choice(inside, chosen.size, replace=chosen.size > inside.size)
        reach = galaxies["radius"][host[chosen]]
        x[chosen] = galaxies["x"][host[chosen]] + rng.normal(0, 1, chosen.size) * reach
        y[chosen] = galaxies["y"][host[chosen]] + rng.normal(0, 1, chosen.size) * reach
        kind[chosen] = np.where(kind[chosen] == "variable", "new", kind[chosen])
    return {"id": np.arange(1, n + 1), "kind": kind, "x": x, "y": y, "host": host}


def _skyNoise2(camera, psf):
    """Variance of the PSF flux of a faint source at the centre of the field, counts²."""
    pixel = camera["sky"] / camera["gain"] + (camera["readNoise"] / camera["gain"]) ** 2
    stamp = psf.image((psf.width - 1) / 2, (psf.height - 1) / 2, int(4 * psf.fwhm))
    return pixel / np.sum(stamp**2)


def _setFluxes(transients, rng, noise, camera):
    """Flux for a log-uniform signal-to-noise ratio from 4 to 60, with the source's own photons in the noise."""
    n = transients["x"].size
    snr = np.exp(rng.uniform(np.log(4.0), np.log(60.0), n))
    own = 0.6 * snr**2 / camera["gain"]  # 0.6: share of the source photons in the PSF-weighted noise
    flux = 0.5 * (own + np.sqrt(own**2 + 4.0 * snr**2 * noise**2))
    sign = np.where(transients["kind"] == "faded", -1.0, 1.0)
    sign = np.where((transients["kind"] == "variable") & (rng.uniform(size=n) < 0.5), -1.0, sign)
    transients["flux"] = sign * flux


def _expose(rng, psf, camera, fluxScale, contents, grid, ownKind):
    """One frame of the sky, whose transients are those of kind ``ownKind`` and the variables."""
    stars, galaxies, transients = contents
    width, height = psf.width, psf.height
    x = np.arange(width) / width - 0.5
    y = np.arange(height) / height - 0.5
    tilt = rng.uniform(-0.02, 0.02, 2)
    sky = camera["sky"] * (1.0 + tilt[0] * x[None, :] + tilt[1] * y[:, None])
    image = sky.copy()
    level = _DRAW_LEVEL * np.sqrt(camera["sky"] / camera["gain"])
    addStars(image, psf, *grid(stars["x"], stars["y"]), stars["flux"] * fluxScale, level)
    gx, gy = grid(galaxies["x"], galaxies["y"])
    turn = np.arctan2(grid.matrix[1, 0], grid.matrix[0, 0])
    placed = {**galaxies, "x": gx, "y": gy, "flux": galaxies["flux"] * fluxScale, "angle": galaxies["angle"] + turn}
    addGalaxies(image, psf, placed)
    flux = _transientFlux(transients, ownKind)
    addStars(image, psf, *grid(transients["x"], transients["y"]), flux * fluxScale, level)

    variance = np.maximum(image, 0.0) / camera["gain"] + (camera["readNoise"] / camera["gain"]) ** 2
    image += rng.standard_normal(image.shape, dtype=np.float32) * np.sqrt(variance)
    masks = {"SAT": saturate(image, camera["saturation"])}
    cards = {
        "OBJECT": "simulated field",
        "FILTER": "r",
        "EXPTIME": 30.0,
        "DATE-OBS": "2026-03-01T02:00:00" if ownKind == "new" else "2025-03-01T02:00:00",
        "GAIN": camera["gain"],
        "RDNOISE": camera["readNoise"],
        "SATURATE": camera["saturation"],
        "BUNIT": "adu",
    }
    return SimulatedFrame(
        image.astype(np.float32), variance.astype(np.float32), masks, psf, camera["gain"], camera["readNoise"],
        camera["saturation"], camera["sky"], fluxScale, grid.wcsCards(), cards,
    )  # fmt: skip


def _transientFlux(transients, ownKind):
    """Flux (science counts) that each transient has in a frame: variables are bright in one, half as bright below."""
    flux, kind = transients["flux"], transients["kind"]
    inScience = ownKind == "new"
    steady = 0.5 * np.abs(flux)  # the fainter state of a variable
    brightHere = (flux > 0) == inScience
    variable = np.where(brightHere, steady + np.abs(flux), steady)
    alone = np.where(kind == ownKind, np.abs(flux), 0.0)
    return np.where(kind == "variable", variable, alone)


def _addDefects(rng, frame, nCosmicRays, nColumns):
    """Add bad columns, bad pixels and particle tracks to ``frame`` in place, with their mask planes."""
    image = frame.image
    bad = badPixelMask(rng, image.shape, nColumns, nPixels=image.size // 50000)
    image[bad] = rng.uniform(0.0, 4.0, np.count_nonzero(bad)) * frame.sky
    charge = cosmicRays(rng, image.shape, nCosmicRays)
    image += charge
    np.minimum(image, frame.saturation, out=image)
    frame.masks["BAD"], frame.masks["CR"] = bad, charge > 0


def _finishTruth(transients, science, template, fluxScale):
    """Add the true signal-to-noise ratio and whether unusable pixels are near."""
    n = transients["x"].size
    snr, masked = np.zeros(n), np.zeros(n, dtype=bool)
    scienceBad, templateBad = science.badMask, template.badMask
    for i in range(n):
        noise2 = 0.0
        for frame, bad, x, y, scale in (
            (science, scienceBad, transients["x"][i], transients["y"][i], 1.0),
            (template, templateBad, transients["xTemplate"][i], transients["yTemplate"][i], fluxScale),
        ):
            r = int(np.ceil(2.5 * frame.psf.fwhm))
            cx, cy = round(float(x)), round(float(y))
            ys = slice(max(cy - r, 0), max(cy + r + 1, 0))
            xs = slice(max(cx - r, 0), max(cx + r + 1, 0))
            variance = frame.variance[ys, xs]
            if variance.size == 0:
                masked[i], noise2 = True, np.inf
                continue
            dx = np.arange(xs.start, xs.start + variance.shape[1]) - x
            dy = np.arange(ys.start, ys.start + variance.shape[0]) - y
            profile = frame.psf.profile(dx[None, :], dy[:, None], x, y)
            noise2 += 1.0 / np.sum(profile**2 / variance) / scale**2
            near = dx[None, :] ** 2 + dy[:, None] ** 2 <= frame.psf.fwhm**2
            masked[i] |= bool(np.any(bad[ys, xs] & near))
        snr[i] = abs(transients["flux"][i]) / np.sqrt(noise2)
    transients["snr"], transients["masked"] = snr, masked
