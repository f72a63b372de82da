"""Visits of one field through the atmosphere: stars of known colours, dispersed towards the zenith."""

import math
from dataclasses import dataclass, field

import numpy as np

from ..errors import DomainError
from ..meta import Observatory, VisitInfo, Weather
from .frame import SimulatedFrame
from .moffat_field import MoffatField
from .render import addStars

__all__ = ["DcrField", "DcrVisit", "hourAnglesFor", "simulateDcrVisits", "writeDcrVisits"]

_PIXEL_SCALE = 0.2  # arcsec
_SITE = Observatory(math.radians(-70.749417), math.radians(-30.244639), 2663.0)
_WEATHER = Weather(airTemperature=10.0, airPressure=74000.0, humidity=40.0)
_DECLINATION = -36.0  # degrees: passes near the zenith, so that the zenith is seen in many directions
_RIGHT_ASCENSION = 52.5
_MJD = 61000.2  # an evening
_WAVELENGTHS = 16  # steps in which a star's light is spread over the band
_DRAW_LEVEL = 0.05  # sources are drawn out to this fraction of the sky noise


@dataclass(repr=False)
class DcrVisit:
    """One visit.

    Attributes
    ----------
    frame : `SimulatedFrame`
    visitInfo : `stillsky.meta.VisitInfo`
    """

    frame: SimulatedFrame
    visitInfo: VisitInfo

    def __repr__(self):
        height, width = self.frame.image.shape
        angle = math.degrees(self.visitInfo.boresightParAngle)
        return f"<DcrVisit {width}x{height}: airmass {self.visitInfo.boresightAirmass:.3f}, zenith at {angle:.0f} deg>"

    def toExposure(self, psf=True):
        """The visit as a `stillsky.image.Exposure`, with its `VisitInfo`."""
        exposure = self.frame.toExposure(psf=psf)
        exposure.visitInfo = self.visitInfo
        return exposure

    def plainHeader(self):
        """Cards as a camera writes them: time, place, pointing and weather instead of a VisitInfo."""
        from astropy.time import TimeDelta

        info = self.visitInfo
        header = self.frame.toHeader()
        site, weather = info.observatory, info.weather
        header.update({
            "DATE-OBS": (info.date - TimeDelta(0.5 * info.exposureTime, format="sec")).utc.isot,
            "EXPTIME": info.exposureTime,
            "AIRMASS": round(info.boresightAirmass, 5),
            "RA": math.degrees(info.boresightRaDec[0]),
            "DEC": math.degrees(info.boresightRaDec[1]),
            "OBS-LAT": math.degrees(site.latitude),
            "OBS-LONG": math.degrees(site.longitude),
            "OBS-ELEV": site.elevation,
            "AIRTEMP": weather.airTemperature,
            "AIRPRESS": weather.airPressure,
            "HUMIDITY": weather.humidity,
        })  # fmt: skip
        return header


@dataclass(repr=False)
class DcrField:
    """Visits of a field, with the truth.

    Attributes
    ----------
    visits : `list` of `DcrVisit`
    science : `DcrVisit` or None
        A further visit, with transients that the others lack.
    stars, transients : `dict` [`str`, `numpy.ndarray`]
        x, y (pixels), flux (counts in the band), slope: the spectrum is flux (1 + slope u) / bandwidth, with u from -1
        at the blue to +1 at the red edge.
    bandLimits : (`float`, `float`)
        nm.
    parameters : `dict`
        The arguments that made it.
    """

    visits: list
    science: DcrVisit | None
    stars: dict
    transients: dict
    bandLimits: tuple
    parameters: dict = field(default_factory=dict)

    def subfilterFractions(self, numSubfilters=3):
        """Share of each star's flux in each of n equal parts of the band, (stars, n)."""
        edges = np.linspace(-1.0, 1.0, numSubfilters + 1)
        middle, width = 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)
        return 0.5 * width * (1.0 + self.stars["slope"][:, None] * middle)

    def truthTable(self, numSubfilters=3):
        """Stars and transients as an `astropy.table.Table` with units, descriptions and sky positions."""
        from astropy import units as u
        from astropy.io import fits
        from astropy.table import Table
        from astropy.wcs import WCS

        n, m = len(self.stars["x"]), len(self.transients["x"])
        columns = {k: np.concatenate([self.stars[k], self.transients[k]]) for k in ("x", "y", "flux", "slope")}
        table = Table({"id": np.arange(1, n + m + 1), "kind": ["star"] * n + ["transient"] * m, **columns})
        ra, dec = WCS(fits.Header(self.visits[0].frame.wcsCards)).all_pix2world(table["x"], table["y"], 0)
        table.add_columns([ra, dec], names=["ra", "dec"], indexes=[4, 4])
        shares = self.subfilterFractions(numSubfilters)
        for k in range(numSubfilters):
            table[f"fraction{k}"] = np.concatenate([shares[:, k], np.full(m, np.nan)])
            table[f"fraction{k}"].description = f"share of the flux in subfilter {k} of {numSubfilters}, 0 the bluest"
        about = {
            "id": ("running number", None),
            "kind": ("star: in all visits; transient: in the science visit only", None),
            "x": ("pixel, 0-based", u.pix), "y": ("pixel, 0-based", u.pix),
            "ra": ("right ascension, ICRS", u.deg), "dec": ("declination, ICRS", u.deg),
            "flux": ("in the band", u.adu),
            "slope": ("of the spectrum flux (1 + slope u), u from -1 (blue edge) to 1 (red edge)", None),
        }  # fmt: skip
        for name, (description, unit) in about.items():
            table[name].description, table[name].unit = description, unit
        table.meta.update(self.parameters)
        return table


def hourAnglesFor(numVisits, limit=4.0):
    """Hour angles in hours, evenly spaced between -limit and limit; one visit stands at an hour past the meridian."""
    return np.array([1.0]) if numVisits == 1 else np.linspace(-limit, limit, numVisits)


def simulateDcrVisits(
    size=256,
    numVisits=8,
    seed=1,
    *,
    hourAngles=None,
    scienceHourAngle=None,
    bandLimits=(402.8, 549.8),
    fwhm=4.0,
    seeingScatter=0.0,
    numStars=None,
    numTransients=8,
    sky=200.0,
    psfVariation=0.0,
    fluxRange=(40.0, 4000.0),
):
    """Simulate visits of one field at several airmasses.

    Parameters
    ----------
    size : `int` or (`int`, `int`)
        Side in pixels of 0.2 arcsec, or width and height; at least 64.
    numVisits, seed : `int`
    hourAngles : sequence of `float`, optional
        Of the visits, hours; by default from -4 to 4, which is an airmass up to 1.9.
    scienceHourAngle : `float`, optional
        Adds a science visit with transients at this hour angle.
    bandLimits : (`float`, `float`)
        Edges of the band, nm; the field's positions are those of light of the middle.
    fwhm : `float`
        Of the Moffat PSF, pixels, the same at all wavelengths.
    seeingScatter : `float`
        Relative rms of the width between visits.
    numStars, numTransients : `int`
        Stars by default 600 per 1024 x 1024 pixels and at least 12; transients of the science visit.
    sky : `float`
        Counts per pixel; the noise is that of its photons and 6 electrons of reading.
    psfVariation : `float`
        Relative change of width and shape over the field.
    fluxRange : (`float`, `float`)
        Faintest and brightest star, in units of the square root of the sky.

    Returns
    -------
    field : `DcrField`

    Raises
    ------
    DomainError
        An argument is out of range, or a visit would look lower than 20 degrees.

    Notes
    -----
    Every star is drawn at 16 wavelengths, each shifted towards the zenith by the differential refraction against the
    middle of the band.
    """
    parameters = {k: v for k, v in locals().items() if not isinstance(v, np.ndarray)}
    width, height = (int(size), int(size)) if np.ndim(size) == 0 else (int(size[0]), int(size[1]))
    low, high = (float(v) for v in bandLimits)
    hours = hourAnglesFor(numVisits) if hourAngles is None else np.asarray(hourAngles, float)
    if min(width, height) < 64 or numVisits < 1 or fwhm < 1.5 or not 0 < low < high or len(hours) != numVisits:
        raise DomainError(
            f"simulateDcrVisits: wanted size >= 64, visits >= 1 with an hour angle each, fwhm >= 1.5, rising bandLimits;"
            f" got size {width}x{height}, {numVisits} visits, {len(hours)} hour angles, fwhm {fwhm}, band {low}-{high}"
        )
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(4 + numVisits)]
    stars = _drawStars(streams[0], width, height, numStars, [f * math.sqrt(sky) for f in fluxRange])
    science = scienceHourAngle is not None
    transients = _drawTransients(streams[1], width, height, numTransients * science, sky, fwhm)
    psf = MoffatField.random(streams[2], width, height, fwhm, variation=psfVariation)
    make = _VisitMaker(width, height, psf, (low, high), sky)
    visits = []
    for k, (hour, rng) in enumerate(zip(hours, streams[4:], strict=True)):
        seeing = math.exp(seeingScatter * float(rng.standard_normal()))
        visits.append(make(rng, hour, seeing, [stars], number=k + 1))
    extra = make(streams[3], scienceHourAngle, 1.0, [stars, transients], number=0) if science else None
    return DcrField(visits, extra, stars, transients, (low, high), parameters)


def _drawStars(rng, width, height, n, fluxes):
    n = max(12, round(600 * width * height / 1024**2)) if n is None else int(n)
    u = rng.uniform(size=n)
    (faint, bright), index = fluxes, 0.7
    flux = (faint**-index + u * (bright**-index - faint**-index)) ** (-1.0 / index)
    place = {"x": rng.uniform(4, width - 5, n), "y": rng.uniform(4, height - 5, n)}
    return {**place, "flux": flux, "slope": rng.uniform(-0.8, 0.8, n)}


def _drawTransients(rng, width, height, n, sky, fwhm):
    border = 20
    noise = math.sqrt(sky / 1.6 + (6.0 / 1.6) ** 2) * 1.2 * fwhm  # of a PSF flux, nearly
    return {
        "x": rng.uniform(border, width - border, n), "y": rng.uniform(border, height - border, n),
        "flux": noise * np.exp(rng.uniform(math.log(8.0), math.log(40.0), n)), "slope": rng.uniform(-0.8, 0.8, n),
    }  # fmt: skip


class _VisitMaker:
    """What all visits of a field share."""

    gain, readNoise, saturation = 1.6, 6.0, 60000.0

    def __init__(self, width, height, psf, band, sky):
        self.width, self.height, self.psf, self.band, self.sky = width, height, psf, band, sky

    def __call__(self, rng, hour, seeing, contents, number):
        info = _visitInfo(hour, number)
        psf = MoffatField(**{**self.psf.__dict__, "fwhm": self.psf.fwhm * seeing})
        image = np.full((self.height, self.width), self.sky)
        level = _DRAW_LEVEL * math.sqrt(self.sky / self.gain)
        for dx, dy, u in self._dispersion(info):
            for stars in contents:
                flux = stars["flux"] * (1.0 + stars["slope"] * u) / _WAVELENGTHS
                addStars(image, psf, stars["x"] + dx, stars["y"] + dy, flux, level / _WAVELENGTHS)
        variance = image / self.gain + (self.readNoise / self.gain) ** 2
        image += rng.standard_normal(image.shape) * np.sqrt(variance)
        masks = {"SAT": image >= self.saturation}
        cards = {
            "OBJECT": "simulated field", "FILTER": "g", "EXPTIME": info.exposureTime, "GAIN": self.gain,
            "RDNOISE": self.readNoise, "SATURATE": self.saturation, "BUNIT": "adu", "INSTRUME": "SimCam",
        }  # fmt: skip
        frame = SimulatedFrame(
            image.astype(np.float32), variance.astype(np.float32), masks, psf, self.gain, self.readNoise,
            self.saturation, self.sky, 1.0, self._wcsCards(), cards,
        )  # fmt: skip
        return DcrVisit(frame, info)

    def _dispersion(self, info):
        """(dx, dy, u) for every wavelength: the shift in pixels (east is left) and where in the band it lies."""
        from ..dcr.refraction import differentialRefraction

        u = (np.arange(_WAVELENGTHS) + 0.5) / _WAVELENGTHS * 2.0 - 1.0
        low, high = self.band
        nm = 0.5 * (low + high) + 0.5 * (high - low) * u
        angle = differentialRefraction(nm, 0.5 * (low + high), info.boresightAzAlt[1], info.observatory, info.weather)
        pixels = np.degrees(angle) * 3600.0 / _PIXEL_SCALE
        q = info.boresightParAngle
        return np.column_stack([-pixels * math.sin(q), pixels * math.cos(q), u])

    def _wcsCards(self):
        degrees = _PIXEL_SCALE / 3600.0
        return {
            "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CUNIT1": "deg", "CUNIT2": "deg", "RADESYS": "ICRS",
            "CRVAL1": _RIGHT_ASCENSION, "CRVAL2": _DECLINATION, "CRPIX1": (self.width + 1) / 2.0,
            "CRPIX2": (self.height + 1) / 2.0, "CD1_1": -degrees, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": degrees,
        }  # fmt: skip


def _visitInfo(hour, number):
    """A pointing at the field at an hour angle, with a time that goes with it."""
    from astropy.time import Time

    angle, dec, lat = math.radians(15.0 * hour), math.radians(_DECLINATION), _SITE.latitude
    altitude = math.asin(math.sin(lat) * math.sin(dec) + math.cos(lat) * math.cos(dec) * math.cos(angle))
    if altitude < math.radians(20.0):
        raise DomainError(f"hour angle: wanted one with the field above 20 degrees, got {hour} h")
    azimuth = math.atan2(
        -math.cos(dec) * math.sin(angle),
        math.sin(dec) * math.cos(lat) - math.cos(dec) * math.cos(angle) * math.sin(lat),
    )
    era = (angle + math.radians(_RIGHT_ASCENSION) - _SITE.longitude) % (2 * math.pi)
    # the moment near the evening at which the Earth stands so: ERA = 2 pi (0.779... + 1.00273... (JD - J2000)), UT1
    turns = era / (2 * math.pi) - 0.7790572732640 - 1.00273781191135448 * (_MJD + number + 2400000.5 - 2451545.0)
    mjd = _MJD + number + (turns % 1.0) / 1.00273781191135448
    return VisitInfo(
        exposureTime=30.0, date=Time(mjd, format="mjd", scale="utc"), ut1=mjd, era=era,
        boresightRaDec=(math.radians(_RIGHT_ASCENSION), dec), boresightAzAlt=(azimuth % (2 * math.pi), altitude),
        boresightAirmass=1.0 / math.sin(altitude), boresightRotAngle=0.0, rotType="SKY", observatory=_SITE,
        weather=_WEATHER, instrumentLabel="SimCam", id=1000 + number, object="simulated field",
        hasSimulatedContent=True,
    )  # fmt: skip


def writeDcrVisits(field, names, plain=False):
    """Write visits, science visit and truth.

    Parameters
    ----------
    field : `DcrField`
    names : sequence of `str`
        Of the visits, of the science visit if there is one, and of the truth table (ECSV).
    plain : `bool`
        Write bare images with a camera's header instead of image, mask, variance, PSF and VisitInfo.
    """
    visits = field.visits + [field.science] * (field.science is not None)
    for visit, name in zip(visits, names[:-1], strict=True):
        if plain:
            from astropy.io import fits

            fits.PrimaryHDU(visit.frame.image, visit.plainHeader()).writeto(name)
        else:
            from ..fits import writeExposure

            writeExposure(visit.toExposure(), name)
    field.truthTable().write(names[-1], format="ascii.ecsv")
