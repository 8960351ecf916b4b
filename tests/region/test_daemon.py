"""A region's process, as far as it goes without root: one that finds another at work leaves it alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from region.aws.world import NoImages
from region.daemon import Order, serve
from region.region_state import Place


def test_of_two_processes_the_second_says_that_there_is_one_and_touches_nothing(tmp_path: Path) -> None:
    place, told = Place(tmp_path, "local"), list[Any]()
    with place.held():
        before = {path: path.stat().st_mtime_ns for path in place.directory.iterdir()}
        assert serve(Order(place, tmp_path, tmp_path / "run", "bb", 0.0), NoImages(), told.append) == 0
        assert {path: path.stat().st_mtime_ns for path in place.directory.iterdir()} == before
    assert told == [{"held": True}]
