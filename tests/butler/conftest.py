"""Repositories and exposures of the tests."""

from repository_fixtures import butler, calexpFiles, emptyRepository, makeCalexp, runRepo

__all__ = ["butler", "calexpFiles", "emptyRepository", "makeCalexp", "runRepo"]
