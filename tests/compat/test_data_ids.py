"""The grammar of --id (task-framework 12, check 16)."""

import pytest

from stillsky.compat.data_ids import expandDataIds, expandValues
from stillsky.errors import DomainError


def test_values_ranges_and_strides():
    assert expandValues("0^2..4^7..9") == ["0", "2", "3", "4", "7", "8", "9"]
    assert expandValues("1..5:2") == ["1", "3", "5"]
    assert expandValues("r") == ["r"] and expandValues("1,1^2,2") == ["1,1", "2,2"]


def test_keys_make_the_cross_product_and_the_last_varies_fastest():
    assert expandDataIds(["visit=1^2", "ccd=1,1^2,2"]) == [
        {"visit": "1", "ccd": "1,1"},
        {"visit": "1", "ccd": "2,2"},
        {"visit": "2", "ccd": "1,1"},
        {"visit": "2", "ccd": "2,2"},
    ]
    assert expandDataIds([]) == []


@pytest.mark.parametrize(
    "items", [["visit"], ["=1"], ["visit=1", "visit=2"], ["visit="], ["visit=1^^2"], ["visit=5..3"]]
)
def test_what_is_no_data_id_is_refused(items):
    with pytest.raises(DomainError, match="--id"):
        expandDataIds(items)
