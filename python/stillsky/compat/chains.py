"""Collections of second-generation commands: what they read by default, the chain and the run that they write."""

from datetime import UTC, datetime

from lsst.daf.butler import CollectionType, MissingCollectionError

from ..errors import DomainError

__all__ = ["beginOutput", "chainExists", "newRun", "newestRun", "removeChain", "umbrellas"]


def umbrellas(butler):
    """Collections ``<instrument>/defaults`` of a repository; DomainError when it has none."""
    found = [f"{one.name}/defaults" for one in butler.registry.queryDimensionRecords("instrument")]
    there = [name for name in found if chainExists(butler, name)]
    if not there:
        raise DomainError("--input: the repository has no default collections; give those to read")
    return there


def chainExists(butler, name):
    """Whether there is a collection of that name, of any kind."""
    try:
        butler.collections.get_info(name)
    except MissingCollectionError:
        return False
    return True


def newestRun(butler, output):
    """The run that an output chain writes to, or the output itself where that is a run; None when it is not there."""
    if not chainExists(butler, output):
        return None
    info = butler.collections.get_info(output)
    if info.type is CollectionType.RUN:
        return output
    return next((one for one in info.children if one.startswith(f"{output}/")), None)


def newRun(output):
    """Name of a new run of an output chain: the chain's name and the time (UTC)."""
    return f"{output}/{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"


def beginOutput(butler, output, run, inputs):
    """Register a run and its chain, unless they are there; the chain searches the inputs after its run."""
    butler.collections.register(run)
    if run == output or newestRun(butler, output) == run:
        return
    butler.collections.register(output, CollectionType.CHAINED)
    butler.collections.redefine_chain(output, [run, *inputs])


def removeChain(butler, output):
    """Remove an output chain with its runs and all that is in them."""
    runs = [one for one in butler.collections.get_info(output).children if one.startswith(f"{output}/")]
    butler.collections.redefine_chain(output, [])
    butler.collections.x_remove(output)
    butler.removeRuns(runs)
