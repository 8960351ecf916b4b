from __future__ import annotations

import pytest

from agent.word import Word


class Point(Word):
    x: int
    y: int = 2


def test_a_word_has_its_fields_and_defaults() -> None:
    point = Point(x=1)
    assert (point.x, point.y, repr(point)) == (1, 2, "Point(x=1, y=2)")


def test_words_are_equal_by_their_fields_and_hash_alike() -> None:
    assert Point(x=1, y=3) == Point(x=1, y=3) != Point(x=1)
    assert len({Point(x=1), Point(x=1, y=2), Point(x=2)}) == 2


def test_words_of_different_kinds_are_never_equal() -> None:
    class Other(Word):
        x: int
        y: int = 2

    assert Other(x=1) != Point(x=1)


def test_a_word_can_not_be_changed() -> None:
    point = Point(x=1)
    with pytest.raises(AttributeError, match="immutable"):
        point.x = 5  # type: ignore[misc]
    with pytest.raises(AttributeError, match="immutable"):
        del point.x


@pytest.mark.parametrize(("values", "told"), [({}, "needs x="), ({"x": 1, "z": 3}, "has no z")])
def test_a_word_needs_exactly_its_fields(values: dict[str, int], told: str) -> None:
    with pytest.raises(TypeError, match=told):
        Point(**values)
