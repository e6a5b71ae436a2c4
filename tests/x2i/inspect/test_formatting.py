"""Numbers, sizes and licenses are put into words for people."""

from __future__ import annotations

import pytest

from x2i.inspect.formatting import describe_license, file_name


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0 1.0"),
        ("http://www.creativecommons.org/licenses/by-sa/4.0/deed.en", "CC BY-SA 4.0"),
        ("https://site.example/terms/", "site.example/terms"),
        ("(not stated)", "(not stated)"),
    ],
)
def test_a_well_known_license_is_called_by_its_name(address, name):
    assert describe_license(address) == name


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://photos.example/a/cat%20one.jpg?size=2#top", "cat one.jpg"),
        ("/home/ada/photos/IMG_1.JPG", "IMG_1.JPG"),
        ("https://photos.example/", ""),
        ("", ""),
        ("http://[broken/cat.jpg", "cat.jpg"),
    ],
)
def test_the_file_name_is_the_last_part_of_the_address(url, name):
    assert file_name(url) == name
