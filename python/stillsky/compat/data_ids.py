"""The grammar of ``--id``, and what of it is in a repository.

``KEY=VALUE[^VALUE...]``: values are separated by ``^``; ``a..b`` is the inclusive range of integers, ``a..b:s`` with a stride; several
keys make the cross product, the last varies fastest.
"""

import itertools
import re

from ..errors import DomainError

__all__ = ["castDataId", "expandDataIds", "expandValues", "findDataIds"]

_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)(?::(\d+))?")
_ALIASES = {"ccd": "detector", "filter": "physical_filter"}


def expandValues(text):
    """Values (`list` of `str`) of ``1^3..5^8..12:2``.

    Raises
    ------
    DomainError
        A range that ends before it begins, a stride of 0, or an empty value.
    """
    values = []
    for item in text.split("^"):
        found = _RANGE.fullmatch(item)
        if not found:
            if not item:
                raise DomainError(f"--id: wanted values between ^, given {text!r}")
            values.append(item)
            continue
        first, last, stride = int(found[1]), int(found[2]), int(found[3] or 1)
        if last < first or stride < 1:
            raise DomainError(f"--id: wanted a range a..b with a <= b and a stride of 1 or more, given {item!r}")
        values += [str(v) for v in range(first, last + 1, stride)]
    return values


def expandDataIds(items):
    """Data ids (`list` of `dict` of `str`) of one ``--id``, in order: keys as given, the last varies fastest.

    Raises
    ------
    DomainError
        An item without ``=``, or a key twice.
    """
    given = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals or not key:
            raise DomainError(f"--id: wanted KEY=VALUE, given {item!r}")
        if key in given:
            raise DomainError(f"--id: {key} is given twice")
        given[key] = expandValues(text)
    return [dict(zip(given, values, strict=True)) for values in itertools.product(*given.values())] if given else []


def castDataId(dataId, universe, *, patchesPerRow=None, say=lambda sentence: None):
    """A data id with the keys and types of a repository's dimensions.

    Parameters
    ----------
    dataId : mapping of `str`
        ``ccd`` means detector, ``filter`` the physical filter, ``patch=x,y`` the patch in that column and row.
    universe : `lsst.daf.butler.DimensionUniverse`
    patchesPerRow : callable, optional
        Takes the data id as it is given; the number of patches in a row of its tract, wanted for ``patch=x,y``.
    say : callable
        Takes a sentence about a key that is no dimension; it stays a text.

    Raises
    ------
    DomainError
        A value that its dimension cannot have.
    """
    cast = {}
    for key, text in dataId.items():
        name = _ALIASES.get(key, key)
        if name == "patch" and "," in str(text) and patchesPerRow is not None:
            try:
                x, y = (int(v) for v in str(text).split(","))
                cast[name] = y * patchesPerRow(dataId) + x
            except DomainError:
                raise
            except (ValueError, KeyError):
                raise DomainError(f"--id: wanted tract=T patch=X,Y of whole numbers, given {text!r}") from None
            continue
        if name not in universe.dimensions.names:
            say(f"--id: {key} is no dimension of the repository; it is taken as a text")
            cast[name] = text
            continue
        kind = universe.dimensions[name].primary_key.pytype
        try:
            cast[name] = kind(text)
        except ValueError:
            raise DomainError(f"--id: {key}: wanted {kind.__name__}, given {text!r}") from None
    return cast


def findDataIds(butler, dataId, datasetType, dimensions, collections):
    """Data ids of ``dimensions`` for which a dataset exists that agrees with ``dataId``.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
    dataId : mapping
        Of `castDataId`.
    datasetType : `str`
    dimensions : iterable of `str`
    collections : sequence of `str`

    Returns
    -------
    dataIds : `list` [`lsst.daf.butler.DataCoordinate`]
        In the order of their values; empty when the dataset type or its datasets are not there.
    """
    from lsst.daf.butler import MissingDatasetTypeError

    found = set()
    # without any sky map there are none to tell apart
    absent = {name for name in ("instrument", "skymap") if not list(butler.registry.queryDimensionRecords(name))}
    dimensions = [name for name in dimensions if name not in absent]
    try:
        for given in _governed(butler, dataId, [*dimensions, *dataId]):
            with butler.query() as query:
                query = query.join_dataset_search(datasetType, list(collections)).where(*_constraints(query, given))
                found.update(query.data_ids(list(dimensions)).with_dimension_records())
    except MissingDatasetTypeError:
        return []
    return sorted(found, key=lambda one: tuple(one.required_values))


def _governed(butler, dataId, names):
    """The data id once for each instrument and sky map of the repository that it leaves open; a butler wants them named."""
    wanted = butler.dimensions.conform(set(names) & set(butler.dimensions.dimensions.names)).governors
    options = {}
    for governor in wanted - set(dataId):
        options[governor] = [record.name for record in butler.registry.queryDimensionRecords(governor)]
    for values in itertools.product(*options.values()):
        yield {**dataId, **dict(zip(options, values, strict=True))}


def _constraints(query, dataId):
    """Values are bound, never pasted into text. A filter is the physical one, or else the band of that name."""
    given = dict(dataId)
    if "physical_filter" not in given or "band" in given:
        return [given]
    name, either = given.pop("physical_filter"), query.expression_factory
    return [given, either.any(either.physical_filter == name, either.band == name)]
