"""The published scheme step by step (section 7.4), on models and exposures: what the task offers by name."""

import math

import numpy as np

from ..errors import DomainError, StillskyError
from ..image import Image, MaskedImage
from ..task_base import earlierArguments
from . import regularize
from .apply import applyDcr, prefilter
from .model import DcrModel
from .solve import calculateGain
from .warps import WarpReader

__all__ = ["DcrScheme"]


class DcrScheme:
    """Methods of the DCR coadd; a mixin that needs ``config`` and, once `prepareDcrInputs` ran, ``bufferSize``.

    Exposures of visits are those of `loadSubExposures`: bad pixels are 0, and the variance plane holds weights 0 and 1.
    """

    bufferSize = 1
    _shiftBox = _band = _curve = None

    def _shiftAs(self, dcrModels, box):
        """Shifts of residuals are those of a model over a box, its throughput included."""
        self._shiftBox = box
        self._band = dcrModels.effectiveWavelength, dcrModels.bandwidth, dcrModels.bandLimits
        self._curve = dcrModels._curve

    # ------------------------------------------------------------------ visits

    def _andMask(self, mask, statsCtrl):
        if statsCtrl is not None:
            return int(statsCtrl.andMask)
        return mask.bitmask(list(self.config.badMaskPlanes), ignoreMissing=True)

    def _applyAlternate(self, mask, spans):
        """Alternate mask planes of one visit; the coadd tasks have a method for it."""
        if spans:
            self.applyAltMaskPlanes(mask, spans)

    def loadSubExposures(self, bbox, statsCtrl, warpRefList, imageScalerList=None, spanSetMaskList=None):
        """Warps over a box, with bad pixels 0 and weights of 0 and 1 in place of the variance.

        Parameters
        ----------
        bbox : `stillsky.geom.Box2I`
        statsCtrl : `stillsky.stats.StatisticsControl`
            ``andMask``: bad bits.
        warpRefList : sequence of handles or exposures
        imageScalerList, spanSetMaskList : sequence, optional
            Scaler and alternate masks of each visit, or None.

        Returns
        -------
        subExposures : `dict`
            Visit (or place in the list) to `stillsky.image.Exposure`, in the order of the list.
        """
        n = len(warpRefList)
        out = {}
        lists = (imageScalerList or [None] * n, spanSetMaskList or [None] * n)
        for i, (warp, scaler, spans) in enumerate(zip(warpRefList, *lists, strict=True)):
            reader = WarpReader(warp)
            exposure = reader.box(bbox).copy()
            self._applyAlternate(exposure.mask, spans)
            if scaler is not None:
                scaler.scaleMaskedImage(exposure.maskedImage)
            good = ((exposure.mask.array & self._andMask(exposure.mask, statsCtrl)) == 0) & np.isfinite(
                exposure.image.array
            )
            exposure.variance.array[...] = good
            exposure.image.array[~good] = 0
            out[reader.name or i] = exposure
        return out

    def _split(self, warps):
        return [WarpReader(w) for w in warps]

    # ------------------------------------------------------------------ shifts

    @earlierArguments(filterInfo="effectiveWavelength")
    def dcrResiduals(self, residual, visitInfo, wcs, effectiveWavelength=None, bandwidth=None):
        """Bring a residual back to each subfilter in turn.

        Parameters
        ----------
        residual : `numpy.ndarray`
        visitInfo : `stillsky.meta.VisitInfo`
        wcs : `stillsky.wcs.SkyWcs`
        effectiveWavelength, bandwidth : `float`, optional
            nm. In place of the first also an object with ``lambdaEff``, ``lambdaMin``, ``lambdaMax``.

        Yields
        ------
        shifted : `numpy.ndarray`
        """
        from .shifts import calculateDcr

        limits = None
        if hasattr(effectiveWavelength, "lambdaEff"):
            info = effectiveWavelength
            effectiveWavelength, limits = info.lambdaEff, (info.lambdaMin, info.lambdaMax)
            bandwidth = info.lambdaMax - info.lambdaMin
        curve = None
        if effectiveWavelength is None:
            effectiveWavelength, bandwidth, limits = self._band or self.config.band
            curve = self._curve
        order = self.config.imageInterpOrder
        coefficients = prefilter(residual, order) if order > 1 else np.asarray(residual)
        shifts = calculateDcr(visitInfo, wcs, effectiveWavelength, bandwidth, self.config.dcrNumSubfilters, bbox=self._shiftBox,
                              bandLimits=limits, throughput=curve, model="reference" if self.config.compat else "default")  # fmt: skip
        for shift in shifts:
            yield applyDcr(coefficients, shift, useInverse=True, doPrefilter=False, order=order)

    def calculateNImage(self, dcrModels, bbox, warpRefList, spanSetMaskList=None, statsCtrl=None):
        """Number of good visits of each subfilter, and one over their coverage.

        Parameters
        ----------
        dcrModels : `stillsky.dcr.DcrModel`
        bbox : `stillsky.geom.Box2I`
        warpRefList, spanSetMaskList, statsCtrl
            As for `loadSubExposures`.

        Returns
        -------
        dcrNImages : `list` of `stillsky.image.Image`
            uint16.
        dcrWeights : `list` of `stillsky.image.Image`
            float32; 0, like the numbers, where some subfilter has less than the least coverage.
        """
        n = len(dcrModels)
        coverage = [np.zeros(bbox.shape, np.float64) for _ in range(n)]
        counts = [np.zeros(bbox.shape, np.int64) for _ in range(n)]
        spans = spanSetMaskList or [None] * len(warpRefList)
        self._shiftAs(dcrModels, dcrModels.bbox)
        for warp, alternate in zip(warpRefList, spans, strict=True):
            reader = WarpReader(warp)
            exposure = reader.box(bbox)
            mask = exposure.mask.copy()
            self._applyAlternate(mask, alternate)
            good = ((mask.array & self._andMask(mask, statsCtrl)) == 0) & np.isfinite(exposure.image.array)
            seen = self.dcrResiduals(good.astype(np.float32), exposure.visitInfo, exposure.wcs or dcrModels.wcs)
            for k, shifted in enumerate(seen):
                coverage[k] += shifted
                counts[k] += np.rint(np.maximum(shifted, 0)).astype(np.int64)
        compat = self.config.compat
        least = 1.0 if compat else self.config.minCoverage
        good = np.logical_and.reduce([c > least if compat else c >= least for c in coverage])
        numbers = [Image(np.where(good, np.minimum(c, 65535), 0).astype(np.uint16), bbox.min) for c in counts]
        weights = []
        for c in coverage:
            inverse = np.zeros(c.shape, np.float32)
            np.divide(1.0, c, out=inverse, where=good, casting="same_kind")
            weights.append(Image(inverse, bbox.min))
        return numbers, weights

    # ------------------------------------------------------------------ one subregion

    def _template(self, dcrModels, exposure, bbox):
        config = self.config
        return dcrModels.buildMatchedTemplate(
            exposure=exposure, bbox=bbox, order=config.imageInterpOrder, splitSubfilters=config.splitSubfilters,
            splitThreshold=config.splitThreshold, amplifyModel=config.accelerateModel,
        )  # fmt: skip

    @earlierArguments(
        "dcrModels subExposures bbox dcrBBox warpRefList statsCtrl convergenceMetric baseMask gain modelWeights refImage "
        "dcrWeights",
        unused=["baseMask"],
    )
    def dcrAssembleSubregion(
        self, dcrModels, subExposures, bbox, dcrBBox, warpRefList, statsCtrl, convergenceMetric, gain, modelWeights,
        refImage, dcrWeights,
    ):  # fmt: skip
        """One update of the models in a subregion.

        Parameters
        ----------
        dcrModels : `stillsky.dcr.DcrModel`
            Changed within ``bbox``.
        subExposures : `dict`
            Of `loadSubExposures`, over ``dcrBBox``.
        bbox, dcrBBox : `stillsky.geom.Box2I`
            The subregion, and it with its border.
        warpRefList : sequence
        statsCtrl : `stillsky.stats.StatisticsControl`
        convergenceMetric : `float`
            Not used.
        gain : `float`
        modelWeights, refImage : `numpy.ndarray`
            Of ``dcrBBox``.
        dcrWeights : sequence of `stillsky.image.Image`
        """
        generators = []
        self._shiftAs(dcrModels, dcrBBox)
        for exposure in subExposures.values():
            template = self._template(dcrModels, exposure, dcrBBox)
            residual = (exposure.image.array - template) * exposure.variance.array
            generators.append(self.dcrResiduals(residual, exposure.visitInfo, exposure.wcs or dcrModels.wcs))
        new = self.newModelFromResidual(
            dcrModels, generators, dcrBBox, statsCtrl, gain, modelWeights, refImage, dcrWeights
        )
        dcrModels.assign(new, bbox)

    @earlierArguments(
        "dcrModels residualGeneratorList dcrBBox statsCtrl mask gain modelWeights refImage dcrWeights", unused=["mask"]
    )
    def newModelFromResidual(
        self, dcrModels, residualGeneratorList, dcrBBox, statsCtrl, gain, modelWeights, refImage, dcrWeights
    ):
        """New models over a box: old ones plus the mean residuals, regularised and mixed.

        Parameters
        ----------
        dcrModels : `stillsky.dcr.DcrModel`
        residualGeneratorList : sequence of iterators
            Of `dcrResiduals`, one per visit.
        dcrBBox : `stillsky.geom.Box2I`
        statsCtrl, gain, modelWeights, refImage, dcrWeights
            As for `dcrAssembleSubregion`.

        Returns
        -------
        newModel : `stillsky.dcr.DcrModel`
        """
        config = self.config
        part = dcrModels._part(dcrBBox)
        amplification = 1.0 if config.compat else config.accelerateModel
        images = []
        for k, model in enumerate(dcrModels):
            old = model[part]
            total = np.zeros(dcrBBox.shape, np.float64)
            for generator in residualGeneratorList:
                total += next(generator)
            weight = dcrWeights[k]
            new = (old + weight.array[dcrBBox.slices(weight.xy0)] * total).astype(np.float32)
            np.copyto(new, old, where=~np.isfinite(new))
            if config.regularizeModelIterations > 0:
                regularize.clampIteration(
                    new, old, config.regularizeModelIterations, config.regularizationWidth, amplification
                )
            images.append(new)
        if config.regularizeModelFrequency > 0:
            dcrModels.regularizeModelFreq(
                images, dcrBBox, statsCtrl, config.regularizeModelFrequency, config.regularizationWidth,
                convergenceMaskPlanes=list(config.convergenceMaskPlanes), amplification=amplification,
                model="reference" if config.compat else "default",
            )  # fmt: skip
        dcrModels.conditionDcrModel(images, dcrBBox, gain=gain)
        self.applyModelWeights(images, refImage, modelWeights)
        return DcrModel(
            images, effectiveWavelength=dcrModels.effectiveWavelength, bandwidth=dcrModels.bandwidth,
            filterLabel=dcrModels.filter, psf=dcrModels.psf, bbox=dcrBBox, wcs=dcrModels.wcs,
            photoCalib=dcrModels.photoCalib, bandLimits=dcrModels.bandLimits, throughput=dcrModels.throughput, model=dcrModels.model,
        )  # fmt: skip

    def calculateModelWeights(self, dcrModels, dcrBBox):
        """Taper of the models away from sources, or 1.0 without ``useModelWeights``; all 0 where nothing is detected."""
        if not self.config.useModelWeights:
            return 1.0
        if self.config.modelWeightsWidth < 0:
            raise DomainError(f"modelWeightsWidth: wanted at least 0 pixels, given {self.config.modelWeightsWidth}")
        detected = dcrModels.mask.isSet(list(self.config.convergenceMaskPlanes))[dcrModels._part(dcrBBox)]
        return regularize.modelWeights(detected, self.config.modelWeightsWidth)

    def applyModelWeights(self, modelImages, refImage, modelWeights):
        """Let models go over to an equal share of an image away from sources, in place.

        Parameters
        ----------
        modelImages : sequence of `numpy.ndarray`
        refImage : `numpy.ndarray` or `stillsky.image.Image`
            In the whole band.
        modelWeights : `numpy.ndarray` or `float`
        """
        if not self.config.useModelWeights:
            return
        reference = np.asarray(getattr(refImage, "array", refImage))
        for model in modelImages:
            model *= modelWeights
            model += reference * ((1 - modelWeights) / len(modelImages))

    # ------------------------------------------------------------------ convergence

    def calculateConvergence(self, dcrModels, subExposures, bbox, warpRefList, weightList, statsCtrl):
        """Metric of the models over a box: 0 where they reproduce all visits.

        Parameters
        ----------
        dcrModels : `stillsky.dcr.DcrModel`
        subExposures : `dict` or None
            Of `loadSubExposures`; None: the warps are read.
        bbox : `stillsky.geom.Box2I`
            Where the metric is taken; the exposures may be larger, so that nothing is missing at its edges.
        warpRefList : sequence
        weightList : sequence of `float`
        statsCtrl : `stillsky.stats.StatisticsControl`

        Returns
        -------
        metric : `float`
            Weighted mean over the visits with valid pixels, NaN if none has. compat: plain mean over all visits, to
            which those without count 0, and 1.0 without visits.
        """
        if subExposures is None:
            subExposures = self.loadSubExposures(bbox, statsCtrl, warpRefList)
        planes = list(self.config.convergenceMaskPlanes)
        index = min(1, len(dcrModels) - 1)
        noise = dcrModels.calculateNoiseCutoff(dcrModels[index], statsCtrl, self.bufferSize, planes)
        image = np.abs(dcrModels.getReferenceImage(bbox)) + np.float32(3 * noise if math.isfinite(noise) else 0)
        if not image.max(initial=0.0) > 0:
            image = np.ones_like(image)
        values, weights = [], []
        for exposure, weight in zip(subExposures.values(), weightList, strict=True):
            values.append(self.calculateSingleConvergence(dcrModels, exposure, Image(image, bbox.min), statsCtrl))
            weights.append(weight)
        if self.config.compat:
            return float(np.mean(values)) if values else 1.0
        values, weights = np.array(values, float), np.array(weights, float)
        known = np.isfinite(values)
        return float(np.average(values[known], weights=weights[known])) if known.any() else math.nan

    def calculateSingleConvergence(self, dcrModels, exposure, significanceImage, statsCtrl):
        """Metric of one visit.

        Parameters
        ----------
        dcrModels : `stillsky.dcr.DcrModel`
        exposure : `stillsky.image.Exposure`
            Its mask says which pixels count.
        significanceImage : `stillsky.image.Image` or `numpy.ndarray`
            S; an image may cover less than the exposure, and an array has the exposure's size.
        statsCtrl : `stillsky.stats.StatisticsControl`

        Returns
        -------
        metric : `float`
            ``sum |s - t| S / sum(|s + t| S / 2)``, from 0 to 2. Without pixels NaN; compat: 0.
        """
        box = getattr(significanceImage, "bbox", exposure.bbox)
        weight = np.asarray(getattr(significanceImage, "array", significanceImage))
        template = self._template(dcrModels, exposure, exposure.bbox)
        part = box.slices(exposure.bbox.min)
        s, t = exposure.image.array[part], template[part]
        mask = exposure.mask
        use = np.isfinite(s) & ((mask.array[part] & self._andMask(mask, statsCtrl)) == 0)
        use &= mask.isSet(list(self.config.convergenceMaskPlanes))[part]
        if not use.any():
            return 0.0 if self.config.compat else math.nan
        s, t, weight = (a[use].astype(np.float64) for a in (s, t, weight))
        total = np.sum(np.abs(s + t) * weight) / 2
        return float(np.sum(np.abs(s - t) * weight) / total) if total > 0 else math.nan

    def calculateGain(self, convergenceList, gainList):
        """See `stillsky.dcr.solve.calculateGain`."""
        return calculateGain(convergenceList, gainList, self.config)

    # ------------------------------------------------------------------ subregions one after the other

    def assembleSubregions(self, dcrModels, subregions, warpRefList, weightList, refImage, dcrWeights, statsCtrl,
                           imageScalerList=None, spanSetMaskList=None):  # fmt: skip
        """Solve subregions one after the other, as the Rubin task does (section 7.3, step 7).

        Parameters
        ----------
        dcrModels : `stillsky.dcr.DcrModel`
            Changed.
        subregions : iterable of `stillsky.geom.Box2I`
        warpRefList, weightList, statsCtrl, imageScalerList, spanSetMaskList
            As for `loadSubExposures`.
        refImage : `stillsky.image.Image`
            The template.
        dcrWeights : sequence of `stillsky.image.Image`

        Returns
        -------
        convergence, gains : `list` of `list` of `float`
            Of each subregion.
        """
        allConvergence, allGains = [], []
        for bbox in subregions:
            box = bbox.dilated(self.bufferSize).clipped(dcrModels.bbox)
            weights = self.calculateModelWeights(dcrModels, box)
            exposures = self.loadSubExposures(box, statsCtrl, warpRefList, imageScalerList, spanSetMaskList)
            reference = refImage.array[box.slices(refImage.xy0)]
            convergence = [self.calculateConvergence(dcrModels, exposures, bbox, warpRefList, weightList, statsCtrl)]
            gains = []
            if np.ndim(weights) == 0 or np.any(weights > 0):
                self._iterate(dcrModels, exposures, bbox, box, warpRefList, weightList, statsCtrl, weights, reference,
                              dcrWeights, convergence, gains)  # fmt: skip
            allConvergence.append(convergence)
            allGains.append(gains)
        return allConvergence, allGains

    def _iterate(self, dcrModels, exposures, bbox, box, warpRefList, weightList, statsCtrl, weights, reference, dcrWeights,
                 convergence, gains):  # fmt: skip
        config, n = self.config, len(dcrModels)
        minIter, maxIter = config.minNumIter or n, config.maxNumIter or 3 * n
        check, iteration = 1.0, 0
        while check > config.convergenceThreshold or iteration <= minIter:
            gain = self.calculateGain(convergence, gains)
            self.dcrAssembleSubregion(dcrModels, exposures, bbox, box, warpRefList, statsCtrl, convergence[-1], gain,
                                      weights, reference, dcrWeights)  # fmt: skip
            metric = self.calculateConvergence(dcrModels, exposures, bbox, warpRefList, weightList, statsCtrl)
            if config.useConvergence:
                if not metric > 0:
                    self.log.warning("The metric is %s: no valid data in %s", metric, bbox)
                    return
                check = (convergence[-1] - metric) / metric
            convergence.append(metric)
            if config.useConvergence and check < 0 and iteration > minIter:
                self.log.warning("Diverged after %d iterations in %s", iteration, bbox)
                return
            if iteration > maxIter or (not config.useConvergence and len(gains) >= maxIter):
                return
            iteration += 1

    # ------------------------------------------------------------------ coadds

    def stackCoadd(self, dcrCoadds):
        """Sum of the coadds of the subfilters: images and variances add, masks are OR-ed."""
        coadds = list(dcrCoadds)
        if not coadds:
            raise StillskyError("stackCoadd: no coadd is given")
        total = coadds[0].copy()
        pixels = total.maskedImage
        for coadd in coadds[1:]:
            pixels.image.array[...] += coadd.image.array
            pixels.variance.array[...] += coadd.variance.array
            pixels.mask.array[...] |= coadd.mask.array
        return total

    def modelExposure(self, dcrModels, subfilter, mask=None, variance=None):
        """Exposure of one subfilter with the model's components; ``mask`` and ``variance`` in place of the model's."""
        from ..image import Exposure

        box = dcrModels.bbox
        mask = (dcrModels.mask if mask is None else mask).copy()
        variance = (dcrModels.variance if variance is None else variance).copy()
        pixels = MaskedImage(Image(dcrModels[subfilter].copy(), box.min), mask, variance)
        return Exposure(pixels, wcs=dcrModels.wcs, psf=dcrModels.psf, filter=dcrModels.filter,
                        photoCalib=dcrModels.photoCalib)  # fmt: skip
