from __future__ import annotations

import getpass
import os
import signal
import time
from pathlib import Path

import pytest

from agent import command
from agent.command import run
from agent.errors import UnitError

pytestmark = pytest.mark.subprocess
ME = getpass.getuser()
PATH = {"PATH": "/usr/bin:/bin"}


def test_a_line_goes_to_a_shell_whole(tmp_path: Path) -> None:
    said: list[str] = []
    line = 'cd / && printf "%s\\n" "$A" | tr a-z A-Z; echo "$USER in $OLDPWD"; exit 3'
    outcome = run(line, user=ME, directory=str(tmp_path), environment=PATH | {"A": "hé"}, seconds=5, say=said.append)
    assert outcome.status == 3
    assert list(outcome.lines) == said == ["Hé", f"{ME} in {tmp_path}"]


def test_it_sees_the_given_environment_alone(tmp_path: Path) -> None:
    outcome = run("env", user=ME, directory=str(tmp_path), environment=PATH | {"B": "2"}, seconds=5)
    names = {line.split("=")[0] for line in outcome.lines}
    assert names - {"PWD", "SHLVL", "_"} == {"PATH", "B", "USER", "LOGNAME", "SHELL"}


def test_both_outputs_are_kept_the_last_20_lines_of_them(tmp_path: Path) -> None:
    outcome = run(
        "for i in $(seq 50); do echo $i >&2; done", user=ME, directory=str(tmp_path), environment=PATH, seconds=5
    )
    assert outcome.lines == tuple(str(number) for number in range(31, 51))


def test_an_odd_or_endless_line_of_output_does_no_harm(tmp_path: Path) -> None:
    line = r"printf '\377\376\n'; head -c 20000 /dev/zero | tr '\0' x"
    outcome = run(line, user=ME, directory=str(tmp_path), environment=PATH, seconds=5)
    assert outcome.lines[0] == "\ufffd\ufffd"
    assert max(len(line) for line in outcome.lines) <= 4096


def test_when_its_time_is_over_all_that_it_started_ends(tmp_path: Path) -> None:
    line = "sleep 60 & echo $!; wait"
    outcome = run(line, user=ME, directory=str(tmp_path), environment=PATH, seconds=0.2)
    assert outcome.status is None
    stat = Path(f"/proc/{outcome.lines[0]}/stat")
    patience = 500
    while patience and stat.exists() and stat.read_text().split()[2] != "Z":  # Z: ended, not yet collected by init
        patience -= 1
        time.sleep(0.01)
    assert patience, "what it had started still runs"


def test_what_left_the_session_and_keeps_the_output_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "KILL_AFTER", 0.1)
    monkeypatch.setattr(command, "GRACE", 0.1)
    began = time.monotonic()
    outcome = run("setsid sleep 10 & echo $!", user=ME, directory=str(tmp_path), environment=PATH, seconds=0.3)
    assert time.monotonic() - began < 5
    assert outcome.status is None
    os.kill(int(outcome.lines[0]), signal.SIGKILL)


def test_the_end_of_the_output_needs_no_end_of_line(tmp_path: Path) -> None:
    line = "printf 'one\\n\\ntw'; sleep 0.1; printf o"
    outcome = run(line, user=ME, directory=str(tmp_path), environment=PATH, seconds=5)
    assert outcome.lines == ("one", "", "two")


def test_its_home_is_made_when_it_is_not_there(tmp_path: Path) -> None:
    home = tmp_path / "home"
    run("true", user=ME, directory="/", environment=PATH | {"HOME": str(home)}, seconds=5)
    assert home.is_dir()


@pytest.mark.parametrize(("user", "directory"), [("no-such-user", "/"), (ME, "/no/such/directory")])
def test_where_nothing_can_run_that_is_told(user: str, directory: str) -> None:
    with pytest.raises(UnitError, match=f"can't run a command as {user} in {directory}"):
        run("true", user=user, directory=directory, environment=PATH, seconds=5)
