"""agent/steps.py: real, small commands, and what is left of them."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from agent.errors import BuildError
from agent.steps import Step, last_lines, scratch_directory
from tests.agent.building import runner


def shell(script: str, tmp_path: Path, *, must: bool = True) -> Step:
    return Step("try", ("/bin/sh", "-c", script), tmp_path, {"A": "1"}, must)


@pytest.mark.subprocess
def test_a_step_has_its_own_environment_and_its_output_in_the_log(tmp_path: Path) -> None:
    runner(tmp_path).run(shell("env | grep -v ^_= | grep -v ^PWD= | sort; echo oops >&2; cat", tmp_path))
    assert (tmp_path / "web.log").read_text().splitlines()[1:] == ["A=1", "oops"]


@pytest.mark.subprocess
@pytest.mark.parametrize(
    ("script", "words"), [("exit 3", r"web: try failed \(exit code 3\)"), ("kill -9 $$", r"killed by SIGKILL")]
)
def test_a_failed_step_ends_the_build(script: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=words):
        runner(tmp_path).run(shell(script, tmp_path))


@pytest.mark.subprocess
def test_a_step_that_need_not_succeed_may_fail(tmp_path: Path) -> None:
    runner(tmp_path).run(shell("exit 1", tmp_path, must=False))


@pytest.mark.subprocess
def test_a_missing_program_is_told(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="No such file or directory: nosuch"):
        runner(tmp_path).run(Step("try", ("nosuch",), tmp_path, {"PATH": "/bin"}))


@pytest.mark.subprocess
def test_what_takes_too_long_is_killed_with_all_its_children(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="try took too long"):
        runner(tmp_path, 0.3).run(shell("sleep 60 & echo $! > child; wait", tmp_path))
    assert not alive(int((tmp_path / "child").read_text()))


@pytest.mark.subprocess
def test_nothing_that_a_step_left_running_outlives_it(tmp_path: Path) -> None:
    runner(tmp_path).run(shell("sleep 60 & echo $! > child", tmp_path))
    assert not alive(int((tmp_path / "child").read_text()))


@pytest.mark.subprocess
def test_a_stop_ends_the_step_that_runs_and_refuses_the_next(tmp_path: Path) -> None:
    running = runner(tmp_path)
    threading.Timer(0.1, running.stop.set).start()
    with pytest.raises(BuildError, match="try was stopped"):
        running.run(shell("sleep 60", tmp_path))
    with pytest.raises(BuildError, match="stopped before: try"):
        running.run(shell("true", tmp_path))


def alive(pid: int) -> bool:
    """Whether a process runs: one that is killed may be a zombie until its parent looks."""
    for _ in range(50):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return False
        except FileNotFoundError:
            return False
        time.sleep(0.02)
    return True


def test_the_end_of_a_log_is_harmless_to_a_terminal(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"first\n" + b"\x1b[31mred\xff\r50%\r100%\n\n" + b"last\n")
    assert last_lines(log, 4) == ["?[31mred\ufffd", "50%", "100%", "last"]
    assert last_lines(tmp_path / "none") == []


@pytest.mark.subprocess
def test_a_scratch_directory_is_private_and_goes(tmp_path: Path) -> None:
    with scratch_directory(None, tmp_path) as scratch:
        assert {path.name: path.stat().st_mode & 0o777 for path in scratch.iterdir()} == {"home": 0o700, "tmp": 0o700}
    assert list(tmp_path.iterdir()) == []


def test_the_scratch_directory_of_a_killed_build_goes_and_that_of_a_live_one_stays(tmp_path: Path) -> None:
    (tmp_path / "bakeboot-build-dead/home").mkdir(parents=True)
    (tmp_path / "bakeboot-build-link").symlink_to(tmp_path)
    with scratch_directory(None, tmp_path) as first, scratch_directory(None, tmp_path) as second:
        assert set(tmp_path.iterdir()) == {first, second, tmp_path / "bakeboot-build-link"}
