"""File names with extensions, and pixel regions."""

import pytest

from stillsky.cli.exits import CommandError
from stillsky.cli.regions import parseRegion, splitExtension


@pytest.mark.parametrize(
    "name, ext, expected",
    [
        ("a.fits", None, ("a.fits", None)),
        ("a.fits[SCI]", None, ("a.fits", "SCI")),
        ("a.fits[3]", None, ("a.fits", 3)),
        ("a.fits[SCI,2]", None, ("a.fits", ("SCI", 2))),
        ("a.fits", "N1", ("a.fits", "N1")),
        ("a.fits", "2", ("a.fits", 2)),
        ("a.fits[S2]", "N1", ("a.fits", "S2")),
    ],
)
def test_extension_in_brackets(name, ext, expected):
    assert splitExtension(name, ext) == expected


def test_file_that_really_has_brackets_wins(tmp_path):
    path = tmp_path / "a[1]"
    path.write_text("")
    assert splitExtension(str(path)) == (str(path), None)


def test_regions_count_from_0_or_as_fits_does():
    assert parseRegion("0:512,100:400") == ((0, 512), (100, 400))
    assert parseRegion("[1:512,101:400]", fits=True) == ((0, 512), (100, 400))
    assert parseRegion("-5:5,0:1") == ((-5, 5), (0, 1))


@pytest.mark.parametrize("text", ["", "1:2", "1:2,3", "a:b,c:d", "5:5,0:1", "0:1,9:3", "0:1.5,0:2"])
def test_bad_regions_are_usage_errors(text):
    with pytest.raises(CommandError) as caught:
        parseRegion(text)
    assert caught.value.exitCode == 2 and caught.value.remedy
