"""The lists of names in `seed_names` are those of the documentation pages, and every argument of the pages is understood."""

import inspect

import pytest
from seed_names import SEEDS, readPage

import stillsky

# what the pages of 2018 to 2020 call otherwise: the quantum of today has three arguments
_MODERN = {"runQuantum"}


@pytest.fixture
def pages(sharedDir):
    found = {path.name[:3]: readPage(path.read_text()) for path in sorted((sharedDir / "seeds").glob("*.txt"))}
    assert set(found) == set(SEEDS)
    return found


@pytest.mark.shared
@pytest.mark.parametrize("page", SEEDS)
def test_the_lists_are_those_of_the_pages(pages, page):
    methods, attributes = pages[page]
    assert set(methods) | attributes == set(SEEDS[page][1])


@pytest.mark.shared
@pytest.mark.parametrize("page", SEEDS)
def test_every_argument_of_the_pages_is_understood(pages, page):
    cls = getattr(stillsky, SEEDS[page][0])
    for name, words in pages[page][0].items():
        method = getattr(cls, name)
        own = [word for word in inspect.signature(method).parameters if word != "self"]
        understood = {*own, *getattr(method, "earlierArguments", ())}
        if name not in _MODERN:
            assert {word.strip("*") for word in words} <= understood, name


@pytest.mark.parametrize("page", SEEDS)
def test_every_name_is_there(page):
    cls, names = SEEDS[page]
    assert [name for name in names if not hasattr(getattr(stillsky, cls), name)] == []
