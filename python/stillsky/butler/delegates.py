"""Delegates: components and parameters of objects in memory, as in-memory handles and graphs without files need them."""

from lsst.daf.butler import StorageClassDelegate

from .formatters import componentOf, selectColumns

__all__ = ["ImageDelegate", "TableDelegate"]


class ImageDelegate(StorageClassDelegate):
    """Images, masks, exposures: parameter ``bbox`` (`Box2I`, parent coordinates) gives a view of that box."""

    def getComponent(self, composite, componentName):
        return componentOf(composite, componentName)

    def handleParameters(self, inMemoryDataset, parameters=None):
        box = _only("bbox", parameters)
        return inMemoryDataset if box is None else inMemoryDataset[box]


class TableDelegate(StorageClassDelegate):
    """Tables: parameter ``columns`` (a name or names), components ``columns`` (list of names) and ``rowcount``."""

    def getComponent(self, composite, componentName):
        return {"columns": lambda: list(composite.colnames), "rowcount": lambda: len(composite)}[componentName]()

    def handleParameters(self, inMemoryDataset, parameters=None):
        return selectColumns(inMemoryDataset, _only("columns", parameters))


def _only(name, parameters):
    """Value of the one parameter that a storage class knows; None when it is not given."""
    unknown = set(parameters or {}) - {name}
    if unknown:
        raise KeyError(f"parameter {sorted(unknown)[0]!r} is not known; known is {name}")
    return (parameters or {}).get(name)
