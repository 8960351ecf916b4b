"""Which ports of a public address are open, and how its moves are told."""

from __future__ import annotations

import pytest

from region.announce import frame
from region.exposure import wanted


@pytest.mark.parametrize(
    ("listened", "allowed", "opened"),
    [
        ({22, 8080}, [(22, 22)], {22}),
        ({22, 8080}, [(0, 65535)], {22, 8080}),
        ({22, 8080}, [(8000, 8080), (9000, 9999)], {8080}),
        ({22, 8080}, [], set()),
        (set(), [(0, 65535)], set()),
    ],
)
def test_a_port_is_open_where_somebody_listens_and_it_is_allowed(
    listened: set[int], allowed: list[tuple[int, int]], opened: set[int]
) -> None:
    assert wanted(listened, allowed) == opened


def test_an_announcement_asks_everybody_for_the_address_that_it_tells() -> None:
    told = frame("02:00:ac:1f:05:09", "127.77.1.10")
    assert told[:14] == bytes.fromhex("ffffffffffff0200ac1f05090806")
    assert told[14:22] == bytes.fromhex("0001080006040001")
    assert told[22:] == bytes.fromhex("0200ac1f0509 7f4d010a 000000000000 7f4d010a")
