"""The front door: exit codes, and errors in a few lines."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import bakeboot
from agent.errors import BakebootError, HostError, ImageError
from region.errors import RegionError

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    import signal

    former = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, former)


@pytest.fixture
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKEBOOT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nosuch"], "No such command"),
        (["bake", "--nosuch"], "No such option"),
        (["boot", "latest", "extra", "--mode", "review"], "unexpected extra argument"),
        (["boot", "--mode", "review", "--env", "=x"], "expected NAME=VALUE"),
        (["boot", "--mode", "review", "--tag", "novalue"], "expected NAME=VALUE"),
        (["boot", "--mode", "review", "--env", "NO_SUCH_VARIABLE"], "expected NAME=VALUE"),
        (["boot", "--mode", "review", "--shell", "--", "true"], "one of the two"),
        (["boot", "--mode", "review", "--tags-late", "soon"], "not a valid float"),
        (["lock", "storefront"], "bakeboot lock --update storefront"),
        (["images", "nosuch"], "No such command"),
        (["images", "prune", "--keep", "-1"], "-1 is not in the range"),
        (["export", "--format", "zip"], "is not one of"),
        (["docs", "nosuch"], "is not 'stack'"),
        (["init"], "Missing argument"),
    ],
)
@pytest.mark.usefixtures("_home")
def test_a_command_line_that_can_not_be_read_is_code_2(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bakeboot.main(arguments) == 2
    assert told in capsys.readouterr().err


def test_a_value_on_the_command_line_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    assert bakeboot.main(["boot", "--mode", "review", "--env", "=hunter2"]) == 2
    assert "hunter2" not in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["bake", "--help"], ["images", "prune", "-h"]])
def test_help_is_no_mistake(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert bakeboot.main(arguments) == 0
    assert "bakeboot" in capsys.readouterr().out


def failing(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code when a command ends with this error."""

    @click.command("fail")
    def fail() -> None:
        raise error

    monkeypatch.setitem(bakeboot.program.commands, "fail", fail)
    return bakeboot.main(["fail"])


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (ImageError("no image 'x'", where="/h", hint="look"), 14, "/h: no image 'x'\n  try   look\n"),
        (RegionError("ended", where="m"), 15, "m: ended\n"),
        (BakebootError("plain"), 1, "plain\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/h/x"),
            16,
            "/h/x: No space left on device\n  try   df -h\n",
        ),
        (OSError(errno.EROFS, "Read-only file system"), 16, "a file: Read-only file system\n  try   df -h\n"),
        (KeyboardInterrupt(), 130, "stopped\n"),
        (click.Abort(), 130, "stopped\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_an_error_is_told_in_two_lines_and_an_exit_code(
    error: BaseException, code: int, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(error, monkeypatch) == code
    assert capsys.readouterr().err.removeprefix("\n") == told  # click ends the line that ^C stands in


@pytest.mark.parametrize("bug", [ZeroDivisionError(), PermissionError(13, "no", "/x"), FileNotFoundError(2, "no", "x")])
def test_a_bug_keeps_its_traceback(bug: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(type(bug)):
        failing(bug, monkeypatch)


@pytest.mark.subprocess
def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError) as told:
        subprocess.run(["no-such-program"], check=False)
    lack = bakeboot.lacking(told.value)
    assert isinstance(lack, HostError)
    assert str(lack) == "this host: no-such-program is not installed\n  try   bakeboot doctor"


def test_a_command_that_says_its_code_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as ended:
        failing(SystemExit(7), monkeypatch)
    assert ended.value.code == 7


@pytest.mark.subprocess
def test_the_program_itself_tells_and_ends_so(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "bakeboot.py"), "images", "show", "nosuch"]
    environment = {"PATH": "/usr/bin:/bin", "BAKEBOOT_HOME": str(tmp_path / "home")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (14, "")
    assert done.stderr == f"{tmp_path}/home/images: no image 'nosuch'\n  try   bakeboot images list\n"


@pytest.mark.subprocess
def test_output_that_is_read_no_more_ends_it(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "bakeboot.py"), "docs", "stack"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.communicate()[1] == b""
    assert process.returncode == 141
