"""The names of the five documentation pages, class by class, and how a page is read.

Each class lists what its page documents: its own methods, those of the framework, and its attributes.
"""

import re

TASK = """emptyMetadata getAllSchemaCatalogs getFullMetadata getFullName getName getSchemaCatalogs getTaskDict makeField
    makeSubtask timer""".split()
COMMAND = """applyOverrides getResourceConfig parseAndRun writeConfig writeMetadata writePackageVersions
    writeSchemas""".split()
EARLY = """adaptArgsAndRun getDatasetTypes getInitInputDatasetTypes getInitOutputDatasetTypes getInitOutputDatasets
    getInputDatasetTypes getOutputDatasetTypes getPerDatasetTypeDimensions getPrerequisiteDatasetTypes
    saveStruct""".split()
EXTRACT = "canMultiprocess measureMeanVarCov run runQuantum".split()
DIFFERENCE = """checkTemplateIsSufficient fitAstrometry makeIdFactory prepareCalibratedExposure run runDataRef runDebug
    runQuantum""".split()
COADD = """applyAltEdgeMask applyAltMaskPlanes assembleMetadata assembleSubregion filterArtifacts findArtifacts
    getBadPixelMask getCoaddDatasetName getSkyInfo getTempExpDatasetName getTempExpRefList makeIdFactory
    makeSupplementaryData makeSupplementaryDataGen3 prefilterArtifacts prepareInputs prepareStats processResults
    readBrightObjectMasks removeMaskPlanes selectExposures setBrightObjectMasks setInexactPsf setRejectedMaskMapping
    shrinkValidPolygons""".split()
DCR = """applyModelWeights bufferSize calculateConvergence calculateGain calculateModelWeights calculateNImage
    calculateSingleConvergence canMultiprocess dcrAssembleSubregion dcrResiduals fillCoadd loadSubExposures
    newModelFromResidual prepareDcrInputs run runDataRef runQuantum selectCoaddPsf stackCoadd""".split()

#: Beginning of the page's file name to class and names.
SEEDS = {
    "000": ("PhotonTransferCurveExtractTask", [*TASK, *COMMAND, *EXTRACT]),
    "001": ("ImageDifferenceTask", [*TASK, *COMMAND, *DIFFERENCE]),
    "002": ("DcrAssembleCoaddTask", [*TASK, *COMMAND, *EARLY, *COADD, *DCR]),
    "003": ("PsfMatchTask", list(TASK)),
    "004": ("ImageReducer", [*TASK, "run"]),
}
CASES = [(page, cls, name) for page, (cls, names) in SEEDS.items() for name in sorted(names)]

# a method as its page writes it: name(arguments), perhaps behind a dash or a keyword, alone on its line(s)
_SIGNATURE = re.compile(
    r"^(?:-\s*)?(?:classmethod\s+|static\s+)?([a-z]\w*)\s*\n?\(([^()]*(?:\([^()]*\)[^()]*)*)\)(?=\s|$)", re.M
)
_ATTRIBUTE = re.compile(r"^(canMultiprocess|bufferSize)\b", re.M)


def readPage(text):
    """Methods (`dict` of name to argument names) and attributes (`set`) that a page documents."""
    text = text.replace("\N{PILCROW SIGN}", "")
    methods = {}
    for name, given in _SIGNATURE.findall(text.split("Methods Documentation", 1)[1]):
        plain = re.sub(r"\[[^\]]*\]", "", given)
        words = [re.split("[:=]", word)[0].strip() for word in plain.split(",") if word.strip()]
        methods.setdefault(name, words)
    summary = text.split("Methods Documentation", 1)[0]
    # these have no entry of their own on some pages, only a line of the summary, one even without its name
    for name, said in (("getName", r"\bgetName\b"), ("emptyMetadata", r"Empty \(clear\) the metadata")):
        if re.search(said, summary):
            methods.setdefault(name, [])
    return methods, set(_ATTRIBUTE.findall(summary))
