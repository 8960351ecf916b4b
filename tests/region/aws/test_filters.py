"""Filters of Describe calls."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from region.aws import filters

RED = {"colour": ["red"], "sizes": ["1", "2"]}
BLUE = {"colour": ["blue"], "sizes": []}


def names(resource: dict[str, list[str]]) -> filters.Values:
    return lambda name: resource.get(name)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, [RED, BLUE]),
        ({"colour": ["red", "blue"]}, [RED, BLUE]),
        ({"colour": ["r?d"]}, [RED]),
        ({"colour": ["*e*"]}, [RED, BLUE]),
        ({"colour": ["RED"]}, []),
        ({"colour": ["re"]}, []),
        ({"colour": ["\\*"]}, []),
        ({"colour": ["red"], "sizes": ["2"]}, [RED]),
        ({"colour": ["*"], "sizes": ["3"]}, []),
    ],
)
def test_what_passes(wanted: dict[str, list[str]], found: list[object]) -> None:
    assert filters.passing([RED, BLUE], wanted, names) == found


def test_a_filter_that_there_is_not_is_told() -> None:
    with pytest.raises(filters.UnknownFilter, match="taste"):
        filters.passing([RED], {"taste": ["sweet"]}, names)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("tag:Name", ["web"]),
        ("tag:other", []),
        ("tag-key", ["Name", "a.b"]),
        ("tag-value", ["web", "x"]),
        ("name", None),
    ],
)
def test_what_tags_say(name: str, values: Iterable[str] | None) -> None:
    assert filters.tag_values(name, {"Name": "web", "a.b": "x"}) == values
