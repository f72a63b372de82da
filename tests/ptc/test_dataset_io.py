"""Photon transfer datasets as dictionaries, tables and files (photon transfer, 4.3 and 11.E)."""

import math

import numpy as np
import pytest
from astropy.io import fits

from stillsky.errors import DomainError, FitsLayoutError
from stillsky.ptc import PhotonTransferCurveDataset
from stillsky.ptc.dataset_fields import FIELDS

AMPS = ["C:0,0", "C:0,1", "C:1,0"]
AUX = {
    "none": {},
    "mixed": {"CCOBCURR": [0.5, 1.5, 2.5], "SEQ": [1, 2, 3], "PROGRAM": ["a", "bcd", ""], "intVal": [7, 8, 9]},
}


def makeDataset(kind, side=3, fitSide=None, aux=None, n=3):
    """An empty, partial or full dataset; in a full one every value of every attribute differs."""
    if kind == "empty":
        return PhotonTransferCurveDataset(AMPS, None, side, fitSide)
    fitType = "PARTIAL" if kind == "partial" else "FULLCOVARIANCE"
    ptc = PhotonTransferCurveDataset(AMPS, fitType, side, fitSide, camera="LabCam", filterName="r")
    if kind == "partial":
        n = 1
        for amp in AMPS:
            ptc.setAmpValuesPartialDataset(
                amp, inputExpIdPair=(10, 11), rawMean=1e4, expIdMask=True, gain=1.4, noise=4.0
            )
    else:
        rng = np.random.default_rng(5)
        rf = ptc.covMatrixSideFullCovFit
        sizes = {"n": n, "r": side, "f": rf, "p": 3}
        for j, amp in enumerate(AMPS):
            ptc.inputExpIdPairs[amp] = [(2021032300000 + 2 * k, 2021032300001 + 2 * k) for k in range(n)]
            for name, field in FIELDS.items():
                shape = tuple(sizes[axis] for axis in field.shape)
                if field.dtype is np.float64:
                    value = rng.normal(size=shape)
                elif field.dtype is np.bool_:
                    value = rng.random(shape) < 0.5
                else:
                    value = rng.integers(1, 1000, shape)
                getattr(ptc, name)[amp] = value if shape else value.item() if hasattr(value, "item") else value
            ptc.finalMeans[amp][j] = math.nan
        ptc.badAmps = ["C:0,1"]
    ptc.auxValues = {key: np.array(values[:n]) for key, values in (aux or {}).items()}
    return ptc


def checkTypes(ptc):
    """The Python and NumPy types of 4.1."""
    for name, field in FIELDS.items():
        for amp in ptc.ampNames:
            value = getattr(ptc, name)[amp]
            if field.shape == "":
                assert type(value) is (int if field.dtype is np.int64 else float), name
            else:
                assert type(value) is np.ndarray and value.dtype == field.dtype and value.ndim == len(field.shape), name
                assert value.dtype.isnative
    for amp in ptc.ampNames:
        assert all(type(p) is tuple and all(type(i) is int for i in p) for p in ptc.inputExpIdPairs[amp])
    assert all(type(amp) is str for amp in (*ptc.ampNames, *ptc.badAmps))
    assert ptc.ptcFitType is None or type(ptc.ptcFitType) is str
    assert type(ptc.covMatrixSide) is int and type(ptc.covMatrixSideFullCovFit) is int
    for values in ptc.auxValues.values():
        assert values.dtype.kind in "ifU" and values.dtype.itemsize in (8, values.dtype.itemsize)
        assert values.dtype.kind == "U" or values.dtype in (np.int64, np.float64)


def throughFile(ptc, folder, form):
    path = folder / f"ptc.{form}"
    if form == "fits":
        assert ptc.writeFits(path) == str(path)
        return PhotonTransferCurveDataset.readFits(path)
    assert ptc.writeText(path) == str(path)
    return PhotonTransferCurveDataset.readText(path)


@pytest.mark.parametrize("form", ["fits", "yaml", "ecsv"])
@pytest.mark.parametrize("aux", AUX)
@pytest.mark.parametrize("kind", ["empty", "partial", "full"])
def test_roundTripKeepsValuesAndTypes(kind, aux, form, tmp_path):
    ptc = makeDataset(kind, aux=AUX[aux] if kind != "empty" else None)
    twin = throughFile(ptc, tmp_path, form)
    assert twin == ptc
    checkTypes(ptc)
    checkTypes(twin)
    assert list(twin.auxValues) == list(ptc.auxValues)
    for key, values in ptc.auxValues.items():
        assert twin.auxValues[key].dtype.kind == values.dtype.kind and twin.auxValues[key].tolist() == values.tolist()
    assert twin.metadata["CALIBCLS"] == "stillsky.ptc.dataset.PhotonTransferCurveDataset"
    assert (twin.metadata["INSTRUME"] or None) == (None if kind == "empty" else "LabCam")


@pytest.mark.parametrize("form", ["fits", "yaml"])
@pytest.mark.parametrize("fitSide", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["empty", "partial", "full"])
def test_roundTripKeepsTheSides(kind, fitSide, form, tmp_path):
    """r = 3 with rf = 1..4, where 4 is reduced to 3."""
    twin = throughFile(makeDataset(kind, 3, fitSide), tmp_path, form)
    assert twin == makeDataset(kind, 3, fitSide)
    assert (twin.covMatrixSide, twin.covMatrixSideFullCovFit) == (3, min(fitSide, 3))


@pytest.mark.parametrize("form", ["fits", "yaml", "ecsv"])
def test_aDatasetWithoutAmplifiersRoundTrips(form, tmp_path):
    ptc = PhotonTransferCurveDataset([], "DUMMY", 4, 2)
    assert throughFile(ptc, tmp_path, form) == ptc


def test_floatsRoundTripExactly(tmp_path):
    ptc = makeDataset("full")
    for form in ("fits", "yaml", "ecsv"):
        twin = throughFile(ptc, tmp_path, form)
        for amp in AMPS:
            np.testing.assert_array_equal(twin.covariances[amp], ptc.covariances[amp])
            assert twin.gain[amp] == ptc.gain[amp]


def test_rolloffTauSurvivesADictionary():
    """The reference writes the roll-off itself in the place of its tau."""
    ptc = makeDataset("full")
    twin = PhotonTransferCurveDataset.fromDict(ptc.toDict())
    for name in ("ptcRolloff", "ptcRolloffError", "ptcRolloffTau", "ptcRolloffTauError"):
        assert getattr(twin, name) == getattr(ptc, name)
    assert ptc.ptcRolloff["C:0,0"] != ptc.ptcRolloffTau["C:0,0"]


def test_dictionaryHoldsPlainObjects():
    """The reference leaves the histogram arrays unconverted."""

    def check(value):
        assert type(value) in (dict, list, str, int, float, bool, type(None)), type(value)
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            check(inner)

    values = makeDataset("full", aux=AUX["mixed"]).toDict()
    check(values)
    assert set(values) == {
        "metadata", "ptcFitType", "covMatrixSide", "covMatrixSideFullCovFit", "ampNames", "badAmps", "inputExpIdPairs",
        "auxValues", *FIELDS,
    }  # fmt: skip
    assert len(values["covariances"]["C:0,0"]) == 27 and isinstance(values["histVars"]["C:0,0"], list)


def test_tableHasTheColumnsOfVersion26InTheirOrder():
    table = makeDataset("full", aux={"intVal": [1, 2, 3]}).toTable()[0]
    wanted = """AMPLIFIER_NAME PTC_FIT_TYPE COV_MATRIX_SIDE COV_MATRIX_SIDE_FULL_COV_FIT INPUT_EXP_ID_PAIRS
    INPUT_EXP_PAIR_MJD_START EXP_ID_MASK EXP_ID_ROLLOFF_MASK RAW_EXP_TIMES RAW_MEANS RAW_VARS RAW_DELTAS ROW_MEAN_VARIANCE
    GAIN GAIN_ERR GAIN_UNADJUSTED GAIN_LIST OVERSCAN_MEDIAN_LIST OVERSCAN_MEDIAN OVERSCAN_MEDIAN_SIGMA NOISE_LIST NOISE
    NOISE_ERR HIST_VARS HIST_CHI2_DOFS KS_PVALUES PTC_FIT_PARS PTC_FIT_PARS_ERROR PTC_FIT_CHI_SQ PTC_TURNOFF
    PTC_TURNOFF_SAMPLING_ERROR PTC_ROLLOFF PTC_ROLLOFF_ERROR PTC_ROLLOFF_TAU PTC_ROLLOFF_TAU_ERROR A_MATRIX B_MATRIX
    NOISE_MATRIX BAD_AMPS PHOTO_CHARGE PHOTO_CHARGE_DELTAS AMP_OFFSETS NPIXEL_COVARIANCES COVARIANCES COVARIANCES_MODEL
    COVARIANCES_SQRT_WEIGHTS FINAL_VARS FINAL_MODEL_VARS FINAL_MEANS PTCAUX_intVal""".split()
    ours = "NPIXEL_COVARIANCE_LIST"  # pixel counts of each pair: an addition
    assert [name for name in table.colnames if name != ours] == wanted and ours in table.colnames
    assert len(table) == 3 and table["COVARIANCES"].shape == (3, 27) and table["INPUT_EXP_ID_PAIRS"].shape == (3, 3, 2)
    assert table["BAD_AMPS"].tolist() == [["C:0,1"]] * 3 and table["PTCAUX_intVal"].tolist() == [[1, 2, 3]] * 3
    assert table["GAIN"].unit == "electron/adu" and table["COVARIANCES"].unit == "adu2"
    assert table.meta["DETECTOR"] == "" and table.meta["PTC_VERSION"] == 2.6


def test_fitsFileHasAnEmptyPrimaryAndOneTable(tmp_path):
    path = tmp_path / "a.fits"
    makeDataset("full").writeFits(path)
    with fits.open(path) as hdus:
        assert len(hdus) == 2 and hdus[0].data is None and isinstance(hdus[1], fits.BinTableHDU)
        assert hdus[1].header["OBSTYPE"] == "PTC" and hdus[1].header["PTC_FIT_TYPE"] == "FULLCOVARIANCE"
        assert hdus[1].header["CALIBCLS"].endswith("PhotonTransferCurveDataset")
    with pytest.raises(FileExistsError):
        makeDataset("full").writeFits(path)
    makeDataset("partial").writeFits(path, overwrite=True)
    assert PhotonTransferCurveDataset.readFits(path).ptcFitType == "PARTIAL"


def test_filesOfTheLsstStackAreRead(tmp_path):
    """Their class path, their undefined cards, and no column of ours."""
    table = makeDataset("full", aux=AUX["mixed"]).toTable()[0]
    table.remove_column("NPIXEL_COVARIANCE_LIST")
    hdu = plainHdu(table)
    hdu.header["OBSTYPE"] = "PTC"
    hdu.header["HIERARCH PTC_SCHEMA"] = "Gen3 Photon Transfer Curve"
    hdu.header["HIERARCH PTC_VERSION"] = 2.6
    hdu.header["CALIBCLS"] = "lsst.ip.isr.PhotonTransferCurveDataset"
    hdu.header["FILTER"] = fits.card.Undefined()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "lsst.fits")
    twin = PhotonTransferCurveDataset.readFits(tmp_path / "lsst.fits")
    checkTypes(twin)
    ours = makeDataset("full", aux=AUX["mixed"])
    assert twin.metadata["FILTER"] is None
    assert twin.metadata["CALIBCLS"] == "stillsky.ptc.dataset.PhotonTransferCurveDataset"
    for amp in AMPS:
        np.testing.assert_array_equal(twin.covariances[amp], ours.covariances[amp])
        assert twin.nPixelCovarianceList[amp].tolist() == [ours.nPixelCovariances[amp]] * 3


def plainHdu(table):
    """The table as an extension of its own, without our metadata and units."""
    table.meta.clear()
    for name in table.colnames:
        table[name].unit = None
    return fits.table_to_hdu(table)


_HISTORY = [
    (1.1, ["PTC_TURNOFF"]),
    (1.2, ["HIST_VARS", "HIST_CHI2_DOFS", "KS_PVALUES"]),
    (1.3, ["NOISE_MATRIX"]),
    (1.4, ["PTCAUX_CCOBCURR", "PTCAUX_SEQ", "PTCAUX_PROGRAM", "PTCAUX_intVal"]),
    (1.5, ["COV_MATRIX_SIDE_FULL_COV_FIT"]),
    (1.6, ["ROW_MEAN_VARIANCE"]),
    (1.7, ["NOISE_LIST"]),
    (1.8, ["PTC_TURNOFF_SAMPLING_ERROR"]),
    (2.0, ["AMP_OFFSETS", "GAIN_UNADJUSTED", "GAIN_LIST"]),
    (2.2, ["INPUT_EXP_PAIR_MJD_START", "OVERSCAN_MEDIAN_LIST"]),
    (2.3, ["OVERSCAN_MEDIAN", "OVERSCAN_MEDIAN_SIGMA"]),
    (2.4, ["NPIXEL_COVARIANCES"]),
    (2.5, ["RAW_DELTAS", "PHOTO_CHARGE_DELTAS"]),
    (
        2.6,
        ["EXP_ID_ROLLOFF_MASK", "PTC_ROLLOFF", "PTC_ROLLOFF_ERROR", "PTC_ROLLOFF_TAU", "PTC_ROLLOFF_TAU_ERROR"],
    ),
]


def tableOfVersion(version, fitType="EXPAPPROXIMATION"):
    """A full dataset as the writer of an older version would have left it."""
    ptc = makeDataset("full", aux=AUX["mixed"])
    ptc.ptcFitType = fitType
    for amp in AMPS:
        ptc.gain[amp], ptc.noise[amp] = 1.5, 9.0
        ptc.finalMeans[amp] = np.array([100.0, 200.0, math.nan])
    table = ptc.toTable()[0]
    table.remove_column("NPIXEL_COVARIANCE_LIST")
    for since, names in _HISTORY:
        if version < since:
            table.remove_columns(names)
    if version < 2.1:
        table["A_MATRIX_NO_B"] = np.ones((3, 9))
    table.meta["PTC_VERSION"] = version
    return ptc, table


@pytest.mark.parametrize("version", [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0, 2.1, 2.2, 2.3, 2.4, 2.5])
def test_olderVersionsAreReadAndFilled(version, tmp_path):
    ptc, table = tableOfVersion(version)
    header = fits.Header([("OBSTYPE", "PTC"), ("HIERARCH PTC_VERSION", version)])
    hdu = plainHdu(table)
    hdu.header.extend(header)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "old.fits")
    old = PhotonTransferCurveDataset.readFits(tmp_path / "old.fits")
    checkTypes(old)
    removed = {name for since, names in _HISTORY if version < since for name in names}
    for name, field in FIELDS.items():
        for amp in AMPS:
            new, was = getattr(old, name)[amp], getattr(ptc, name)[amp]
            if field.column == "NPIXEL_COVARIANCE_LIST":
                assert set(new) == {old.nPixelCovariances[amp]}
            elif field.column not in removed:
                np.testing.assert_array_equal(new, was, err_msg=name)
            elif field.column == "PTC_TURNOFF":
                assert new == 200.0
            elif field.column == "GAIN_UNADJUSTED":
                assert new == 1.5
            elif field.column == "NPIXEL_COVARIANCES":
                assert new == -1
            elif field.column == "KS_PVALUES":
                assert new.tolist() == [0.0] * 3
            elif field.column == "EXP_ID_ROLLOFF_MASK":
                assert new.tolist() == [False] * 3
            else:
                assert np.isnan(new).all() and np.shape(new) == np.shape(was), name
    assert old.auxValues == {} if version < 1.4 else set(old.auxValues) == set(AUX["mixed"])
    assert old.covMatrixSideFullCovFit == 3
    assert old.metadata["PTC_VERSION"] == 2.6


def test_turnoffOfVersion10WithoutUsedMeansIsNaN():
    _, table = tableOfVersion(1.0)
    table["FINAL_MEANS"][:] = math.nan
    assert all(math.isnan(v) for v in PhotonTransferCurveDataset.fromTable([table]).ptcTurnoff.values())


def test_noiseOfAFullCovarianceFitBeforeVersion19WasSquared():
    """The reference's own conversion indexes the record wrongly and fails."""
    for version, fitType, noise in (
        (1.8, "FULLCOVARIANCE", 3.0),
        (1.9, "FULLCOVARIANCE", 9.0),
        (1.8, "EXPAPPROXIMATION", 9.0),
        (1.0, "POLYNOMIAL", 9.0),
    ):
        _, table = tableOfVersion(version, fitType)
        assert set(PhotonTransferCurveDataset.fromTable([table]).noise.values()) == {noise}


def test_floatMasksOfTheFirstVersionAreRead():
    ptc, table = tableOfVersion(1.0)
    table["EXP_ID_MASK"] = np.array([[1.0, 0.0, math.nan]] * 3)
    table["INPUT_EXP_ID_PAIRS"] = np.array([[[1.0, 2.0], [3.0, 4.0], [math.nan, math.nan]]] * 3)
    old = PhotonTransferCurveDataset.fromTable(table)
    assert old.expIdMask["C:0,0"].tolist() == [True, False, False]
    assert old.inputExpIdPairs["C:0,0"] == [(1, 2), (3, 4), (-1, -1)]


def test_filesOfAnotherKindAreRefused(tmp_path):
    values = makeDataset("full").toDict()
    values["metadata"]["OBSTYPE"] = "BIAS"
    with pytest.raises(RuntimeError, match="OBSTYPE 'BIAS'"):
        PhotonTransferCurveDataset.fromDict(values)
    values["metadata"].update(OBSTYPE="PTC", CALIBCLS="lsst.ip.isr.Defects")
    with pytest.raises(FitsLayoutError, match="lsst.ip.isr.Defects"):
        PhotonTransferCurveDataset.fromDict(values)
    path = tmp_path / "x.fits"
    fits.HDUList([fits.PrimaryHDU(np.zeros((2, 2)))]).writeto(path)
    with pytest.raises(FitsLayoutError, match="x.fits: wanted a table"):
        PhotonTransferCurveDataset.readFits(path)
    with pytest.raises(FileNotFoundError):
        PhotonTransferCurveDataset.readFits(tmp_path / "none.fits")
    (tmp_path / "x.yaml").write_text("- 1\n- [2")
    with pytest.raises(FitsLayoutError, match="x.yaml: not a readable YAML"):
        PhotonTransferCurveDataset.readText(tmp_path / "x.yaml")
    (tmp_path / "y.yaml").write_text("just text")
    with pytest.raises(FitsLayoutError, match="y.yaml: wanted a mapping"):
        PhotonTransferCurveDataset.readText(tmp_path / "y.yaml")
    (tmp_path / "x.ecsv").write_text("# not a table")
    with pytest.raises(FitsLayoutError, match="x.ecsv"):
        PhotonTransferCurveDataset.readText(tmp_path / "x.ecsv")
    with pytest.raises(DomainError, match="yaml or ecsv"):
        makeDataset("full").writeText(tmp_path / "x.doc")


def test_incompleteTablesNameTheColumn():
    for missing in ("RAW_VARS", "COV_MATRIX_SIDE", "AMPLIFIER_NAME", "INPUT_EXP_ID_PAIRS", "PTC_ROLLOFF"):
        table = makeDataset("full").toTable()[0]
        table.remove_column(missing)
        with pytest.raises(FitsLayoutError, match=missing):
            PhotonTransferCurveDataset.fromTable([table])
    values = makeDataset("full").toDict()
    values["covariances"]["C:0,0"] = values["covariances"]["C:0,0"][:-1]
    with pytest.raises(ValueError, match="covariances of amplifier C:0,0: wanted 27 values"):
        PhotonTransferCurveDataset.fromDict(values)


def test_amplifiersWithUnequalArraysAreNotWritten():
    ptc = makeDataset("full")
    ptc.rawMeans["C:1,0"] = ptc.rawMeans["C:1,0"][:2]
    with pytest.raises(ValueError, match="rawMeans of amplifier C:1,0"):
        ptc.toTable()


def test_everyAmplifierHasTheSameArrayShapesInAFile(tmp_path):
    """C6: also when one amplifier was never filled in: its row holds NaN."""
    ptc = makeDataset("full")
    ptc.aMatrix["C:0,1"] = np.zeros((0, 0))
    twin = throughFile(ptc, tmp_path, "fits")
    for name in FIELDS:
        assert len({np.shape(getattr(twin, name)[amp]) for amp in AMPS}) == 1, name
    assert np.isnan(twin.aMatrix["C:0,1"]).all()


def test_textBeyondAsciiIsEscapedInFits(tmp_path):
    ptc = makeDataset("partial", aux={"who": ["Éva"]})
    assert throughFile(ptc, tmp_path, "fits").auxValues["who"].tolist() == ["\\xc9va"]
    assert throughFile(ptc, tmp_path, "yaml") == throughFile(ptc, tmp_path, "ecsv") == ptc


def test_dictionariesOfOtherVersionsAreRead():
    """The first version's name of the photodiode charge; dictionaries of the LSST stack, which lack the roll-off's tau."""
    ptc = makeDataset("full")
    values = ptc.toDict()
    del values["ptcRolloffTau"], values["ptcRolloffTauError"], values["nPixelCovarianceList"]
    twin = PhotonTransferCurveDataset.fromDict(values)
    assert math.isnan(twin.ptcRolloffTau["C:0,0"]) and twin.ptcRolloff == ptc.ptcRolloff
    values["metadata"]["PTC_VERSION"] = 1.0
    values["photoCharge"] = values.pop("photoCharges")
    for name in ("rawDeltas", "histVars", "ptcTurnoff", "gainList", "auxValues"):
        del values[name]
    old = PhotonTransferCurveDataset.fromDict(values)
    np.testing.assert_array_equal(old.photoCharges["C:0,0"], ptc.photoCharges["C:0,0"])
    assert np.isnan(old.rawDeltas["C:0,0"]).all() and old.auxValues == {}
    del values["rawVars"]
    with pytest.raises(FitsLayoutError, match="rawVars"):
        PhotonTransferCurveDataset.fromDict(values)
