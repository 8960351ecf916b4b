"""Lengths of time as people write them."""

from __future__ import annotations

import pytest

from region.durations import said, seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("200ms", 0.2), ("120s", 120), ("2m", 120), ("1h30m", 5400), ("1.5s", 1.5), ("90", 90), ("0", 0), (" 2M ", 120)],
)
def test_a_length_of_time_is_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "2 m", "-1s", "1d", "2m30", "ms", "1.s", "nan", "inf", "1e3"])
def test_what_is_none_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="such as 200ms, 120s"):
        seconds_of(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.2, "200ms"),
        (1, "1s"),
        (2.5, "2.5s"),
        (59.9, "1m00s"),
        (120, "2m00s"),
        (5400, "1h30m"),
        (90000, "1d01h"),
    ],
)
def test_a_length_of_time_is_said(seconds: float, text: str) -> None:
    assert said(seconds) == text
