"""The home: folders of runs that go with their owner, locks, and files that are whole or not there."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from agent.errors import HostError
from bake.home import LOGS_KEPT, Home, locked, new_log, try_locked, write_atomically
from tests.bake.planning import a_home

ROOT = Path(__file__).resolve().parents[2]


def test_a_run_has_two_folders_and_leaves_none(tmp_path: Path) -> None:
    home = a_home(tmp_path)
    with home.run("bake") as run:
        assert run.name.startswith("bake-")
        assert stat.S_IMODE(run.runtime.stat().st_mode) == 0o700
        (run.folder / "work").mkdir()
        (run.runtime / "key").write_text("secret")
        assert home.sweep_runs() == []
        assert run.folder.exists()
    assert [entry for entry in home.runs.iterdir() if entry.is_dir()] == []
    assert list((home.runtime / "runs").iterdir()) == []


def test_a_run_that_breaks_leaves_none_either(tmp_path: Path) -> None:
    home = a_home(tmp_path)
    with pytest.raises(KeyboardInterrupt), home.run("bake"):
        raise KeyboardInterrupt
    assert home.sweep_runs() == []
    assert [entry for entry in home.runs.iterdir() if entry.is_dir()] == []


def test_a_run_whose_secrets_have_no_place_leaves_nothing(tmp_path: Path) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    made = a_home(tmp_path)
    home = Home(made.root, made.runtime, keep_secret=full)
    with pytest.raises(HostError, match="can't keep keys in memory: No space left"), home.run("bake"):
        pass
    assert [entry for entry in home.runs.iterdir() if entry.is_dir()] == []


def test_runs_have_names_of_their_own(tmp_path: Path) -> None:
    home = a_home(tmp_path)
    with home.run("bake") as one, home.run("bake") as other:
        assert one.name != other.name


@pytest.mark.subprocess
def test_what_a_killed_run_left_is_swept_and_a_living_one_is_not(tmp_path: Path) -> None:
    home = a_home(tmp_path)
    program = (
        "import sys; from pathlib import Path; from tests.bake.planning import *\n"
        "home = Home(Path(sys.argv[1]), Path(sys.argv[2]), keep_secret=lambda path: path.mkdir(parents=True))\n"
        "with home.run('bake') as run:\n"
        "    (run.runtime / 'key').write_text('secret'); print(run.name, flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(home.root), str(home.runtime)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        name = other.stdout.readline().strip()
        assert home.sweep_runs() == []
        assert (home.runtime / "runs" / name / "key").exists()
        other.kill()
    assert home.sweep_runs() == [name]
    assert not (home.runs / name).exists()
    assert not (home.runtime / "runs" / name).exists()
    assert home.sweep_runs() == []


def test_a_lock_is_held_once_or_shared_by_many(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path, shared=True), locked(path, shared=True), try_locked(path) as alone:
        assert not alone
    with try_locked(path) as alone, try_locked(path) as second:
        assert (alone, second) == (True, False)


def test_a_file_is_replaced_whole_and_no_part_stays(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", "one")
    write_atomically(tmp_path / "a", "two", mode=0o600)
    assert (tmp_path / "a").read_text() == "two"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
    with pytest.raises(UnicodeEncodeError):
        write_atomically(tmp_path / "a", "\ud800")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "two"


def test_logs_are_roots_alone_and_the_oldest_go(tmp_path: Path) -> None:
    home = a_home(tmp_path)
    for number in range(LOGS_KEPT + 3):
        log = home.logs / f"bake-{number:02}.log"
        log.touch()
        os.utime(log, (number, number))
    assert stat.S_IMODE(new_log(home, "bake-new").stat().st_mode) == 0o600
    kept = {log.name for log in home.logs.iterdir()}
    assert len(kept) == LOGS_KEPT
    assert {"bake-new.log", "bake-52.log", "bake-04.log"} <= kept
    assert "bake-03.log" not in kept


def test_a_home_that_can_not_be_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HostError, match="Not a directory") as told:
        Home.open(tmp_path / "file")
    assert told.value.where == "BAKEBOOT_HOME"
    assert told.value.hint
