"""Collections of second-generation commands: what they read by default, the chain and the run that they write."""

from datetime import UTC, datetime

from lsst.daf.butler import CollectionType, MissingCollectionError

from ..errors import DomainError

__all__ = [
    "beginOutput",
    "chainExists",
    "inputsOf",
    "newRun",
    "newestRun",
    "refuseCycle",
    "refuseRemoval",
    "removeOutput",
    "umbrellas",
]


def umbrellas(butler):
    """Collections ``<instrument>/defaults`` of a repository; DomainError when it has none."""
    found = [f"{one.name}/defaults" for one in butler.registry.queryDimensionRecords("instrument")]
    there = [name for name in found if chainExists(butler, name)]
    if not there:
        raise DomainError("--input: the repository has no default collections; give those to read")
    return there


def chainExists(butler, name):
    """Whether there is a collection of that name, of any kind."""
    return _infoOf(butler, name) is not None


def _infoOf(butler, name, **more):
    """What a repository knows of a collection; None when it is not there."""
    try:
        return butler.collections.get_info(name, **more)
    except MissingCollectionError:
        return None


def _ownRuns(info):
    """Runs that belong to an output: its own children, or the output itself where that is a run."""
    if info.type is CollectionType.RUN:
        return [info.name]
    return [one for one in info.children if one.startswith(f"{info.name}/")]


def newestRun(butler, output):
    """The run that an output chain writes to, or the output itself where that is a run; None when it is not there.

    Raises
    ------
    DomainError
        A collection of another kind has that name.
    """
    info = _infoOf(butler, output)
    if info is None:
        return None
    if info.type not in (CollectionType.RUN, CollectionType.CHAINED):
        raise DomainError(f"--output: wanted a chain or a run, {output} is a collection of kind {info.type.name}")
    return next(iter(_ownRuns(info)), None)


def newRun(output):
    """Name of a new run of an output chain: the chain's name and the time (UTC)."""
    return f"{output}/{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"


def inputsOf(butler, output):
    """What an output chain that is there searches after its own runs: the inputs of the command that made it."""
    info = _infoOf(butler, output)
    if info is None or info.type is not CollectionType.CHAINED:
        return []
    own = _ownRuns(info)
    return [one for one in info.children if one not in own]


def refuseCycle(butler, output, inputs):
    """Raise DomainError if an output that is made anew is among its inputs, or within one of them."""
    if output in butler.collections.query(inputs, flatten_chains=True, include_chains=True):
        raise DomainError(f"--output: {output} is an input too; give another")


def refuseRemoval(butler, output):
    """Raise DomainError if there is no such output, or if another collection has it, or one of its runs, among its own."""
    info = _infoOf(butler, output, include_parents=True)
    if info is None:
        raise DomainError(f"--clobber-output: there is no output {output}")
    users = set(info.parents)
    for run in _ownRuns(info):
        users |= set(_infoOf(butler, run, include_parents=True).parents) - {output}
    if users:
        raise DomainError(
            f"--clobber-output: {output} is an input of {', '.join(sorted(users))}; remove these first, or give another output"
        )


def beginOutput(butler, output, run, inputs):
    """Register a run and its chain, unless they are there; the chain searches the inputs after its run."""
    butler.collections.register(run)
    if run == output or newestRun(butler, output) == run:
        return
    before = inputsOf(butler, output)
    butler.collections.register(output, CollectionType.CHAINED)
    butler.collections.redefine_chain(output, list(dict.fromkeys([run, *inputs, *before])))


def removeOutput(butler, output):
    """Remove an output with its runs, their backups, and all that is in them, also from where it is tagged or certified."""
    info = butler.collections.get_info(output)
    runs = _ownRuns(info)
    backups = [one for run in runs for one in butler.collections.query(f"{run}~*")]
    butler.removeRuns([*runs, *backups], unlink_from_chains=True)
    if info.type is CollectionType.CHAINED:
        butler.collections.x_remove(output)
