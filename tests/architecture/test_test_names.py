"""What pytest needs of the tree of tests."""

from collections import Counter
from pathlib import Path


def test_everyModuleOfTestsHasANameOfItsOwn():
    """Of two modules of one name in folders that are no packages pytest collects one, and stops."""
    names = Counter(path.name for path in Path(__file__).parents[1].rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
