"""System calls: a path resolved within a root, work in a throwaway thread, a tool's failure told."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from region import linux
from region.errors import RegionError


def test_links_stay_inside_the_root(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_text("inside")
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "up").symlink_to("../../../../../etc/passwd")
    for name in ("/etc/passwd", "/link", "up", "../../etc/passwd"):
        with os.fdopen(linux.open_in_root(tmp_path, name)) as file:
            assert file.read() == "inside"
    with pytest.raises(FileNotFoundError):
        linux.open_in_root(tmp_path, "/absent")


def test_a_throwaway_thread_hands_back_what_it_returns_or_raises() -> None:
    assert linux.in_thread(threading.current_thread) is not threading.current_thread()

    def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        linux.in_thread(fail)


@pytest.mark.subprocess
def test_a_tool_that_fails_or_is_absent_is_told_by_its_command() -> None:
    assert linux.call(["cat"], script="x") == "x"
    with pytest.raises(RegionError, match=r"cat /absent: .*No such file"):
        linux.call(["cat", "/absent"])
    with pytest.raises(RegionError, match="not installed"):
        linux.call(["bakeboot-no-such-tool"])


def test_an_error_reads_as_where_what_and_what_next() -> None:
    assert str(RegionError("is not running", where="web", hint="bakeboot doctor")) == (
        "web: is not running\n  try   bakeboot doctor"
    )
    assert str(RegionError("is not running")) == "is not running"
