"""A region's log: lines with their time, two files at most, root's alone, and followed as it grows."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from region.region_log import RegionLog, follow, last_lines, news

NOON = 1795780800.25


def test_a_line_has_its_time_and_further_ones_are_indented(tmp_path: Path) -> None:
    log = RegionLog(tmp_path / "region.log", lambda: NOON)
    log("up")
    log("failed:\nTraceback\n  here\n")
    assert log.path.read_text() == (
        "2026-11-27T12:00:00.250Z up\n2026-11-27T12:00:00.250Z failed:\n  Traceback\n    here\n"
    )
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600


def test_it_never_takes_more_than_two_files_of_its_limit(tmp_path: Path) -> None:
    log = RegionLog(tmp_path / "region.log", lambda: NOON, limit=100)
    for number in range(20):
        log(f"event {number}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["region.log", "region.log.1"]
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())
    assert [line.split()[-1] for line in last_lines(log.path, 3)] == ["17", "18", "19"]


def test_where_nothing_can_be_written_all_else_goes_on(tmp_path: Path) -> None:
    (tmp_path / "region.log").symlink_to("/dev/full")
    RegionLog(tmp_path / "region.log", lambda: NOON)("up")


def test_the_last_lines_of_no_log_are_none(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "region.log", 5) == []


def test_asked_for_more_lines_than_there_are_it_gives_all(tmp_path: Path) -> None:
    log = RegionLog(tmp_path / "region.log", lambda: NOON)
    log("one")
    log("two")
    assert [line.split()[-1] for line in last_lines(log.path, 9)] == ["one", "two"]
    assert last_lines(log.path, 0) == []


def test_followed_it_gives_what_comes_also_in_a_new_file(tmp_path: Path) -> None:
    log = RegionLog(tmp_path / "region.log", lambda: NOON, limit=60)
    log("before")
    words = iter(["first", "second", "third", "fourth"])
    lines = follow(log.path, sleep=lambda seconds: log(next(words)))
    assert [next(lines).split()[-1] for _ in range(4)] == ["first", "second", "third", "fourth"]
    lines.close()


@pytest.mark.parametrize(
    ("before", "now", "new"),
    [
        ("", "a", "a"),
        ("a\n", "a\nb\n", "b\n"),
        ("ab", "ab", ""),
        ("x" * 600 + "y" * 600, "y" * 600 + "z", "z"),
        ("old", "quite another", "quite another"),
    ],
)
def test_what_is_new_of_a_text_whose_beginning_goes(before: str, now: str, new: str) -> None:
    assert news(before, now) == new
