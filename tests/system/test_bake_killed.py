"""A bake that is killed leaves nothing behind, at whatever moment; and bakes side by side don't disturb each other."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bake.home import Home
from bake.images import Image
from tests.system.bakery import Bakery, TinyStack, built, command_lines, wait_until
from tests.system.conftest import folders, left_behind, names_in_use

SLEEP = f"sleep 3.{os.getpid()}"
"""A line of the build, which can be told from any other on this machine."""

Moment = Callable[[Home, str], bool]


@pytest.fixture
def slow(tiny: TinyStack, tmp_path: Path) -> TinyStack:
    """The stack with a build that takes a while, and has not been built before."""
    stack = tiny.copy(tmp_path / "stack")
    stack.ticker.commit({"build.sh": f"{SLEEP}\necho {tmp_path} >built\n"})
    return stack


def machine_runs(home: Home, said: str) -> bool:
    return any("systemd-nspawn" in line for line in command_lines(str(home.machines)).values())


def packer_builds(home: Home, said: str) -> bool:
    """Packer is at the repos: the build of `ticker` is at its longest line."""
    return f"{SLEEP} " in command_lines(SLEEP).values()


def verification_runs(home: Home, said: str) -> bool:
    return "review: ready" in said


MOMENTS: dict[str, Moment] = {
    "right after the machine started": machine_runs,
    "while Packer builds": packer_builds,
    "while it is verified": verification_runs,
}


@contextmanager
def baking(bakery: Bakery, stack: Path, moment: Moment, log: Path) -> Iterator[subprocess.Popen[str]]:
    """A bake that has come to that moment."""
    with log.open("w") as output:
        process = bakery.start("bake", "--update", "ticker", cwd=stack, output=output)
        try:
            wait_until(lambda: moment(bakery.home, log.read_text()) or process.poll() is not None, "the moment to kill")
            assert process.poll() is None, log.read_text()
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def half_made(home: Home) -> list[str]:
    """Images and layers that are neither whole nor gone."""
    states = [(image.name, image.state) for image in Bakery(home).store.all() if image.state in ("baking", "built")]
    entries = [entry.name for entry in (*home.layers.iterdir(), *home.images.iterdir()) if entry.is_dir()]
    return [str(state) for state in states] + [name for name in entries if name.startswith(".")]


def held(home: Home, before: set[str]) -> list[str]:
    return left_behind(home, before) + half_made(home)


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_a_bake_killed_with_9_is_swept_away_and_the_next_one_succeeds(
    apart: Bakery, slow: TinyStack, moment: Moment, tmp_path: Path
) -> None:
    before = names_in_use()
    with baking(apart, slow.folder, moment, tmp_path / "log") as process:
        process.kill()  # the program alone: nothing tells its children
        process.wait()
    wait_until(lambda: not command_lines(f"{apart.home.runs}"), "Packer and the specs end with the bake", 10)

    swept = apart.json("sweep")["swept"]
    assert any(one.startswith("run bake-") for one in swept), swept
    assert held(apart.home, before) == []
    killed = apart.store.all()
    assert [image.state for image in killed] == (["failed"] if moment is verification_runs else [])
    assert all("killed" in image.reason for image in killed)

    image, said = apart.bake(slow.folder)
    assert image.state == "verified"
    assert built(said) == (set() if moment is verification_runs else {"hello", "ticker"})
    assert held(apart.home, before) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
@pytest.mark.parametrize("moment", list(MOMENTS.values())[1:], ids=list(MOMENTS)[1:])
def test_an_interrupted_bake_clears_up_by_itself(
    apart: Bakery, slow: TinyStack, number: signal.Signals, moment: Moment, tmp_path: Path
) -> None:
    before = names_in_use()
    with baking(apart, slow.folder, moment, tmp_path / "log") as process:
        os.killpg(process.pid, number)  # as a terminal does: to everything that the command started
        assert process.wait(timeout=60) in (130, 143), (tmp_path / "log").read_text()
    said = (tmp_path / "log").read_text()
    assert "Traceback" not in said
    assert "stopped" in said
    assert held(apart.home, before) == []
    assert [image.state for image in apart.store.all()] == (["failed"] if moment is verification_runs else [])


def test_a_machine_whose_program_is_killed_is_swept_by_the_next_command(
    apart: Bakery, tiny: TinyStack, tmp_path: Path
) -> None:
    before = names_in_use()
    image, _ = apart.bake(tiny.folder)
    with (tmp_path / "log").open("w") as output:
        process = apart.start("boot", image.name, "--mode", "review", cwd=tmp_path, output=output)
        wait_until(lambda: "stops it" in (tmp_path / "log").read_text(), "the machine is ready")
        process.kill()
        process.wait()
    assert folders(apart.home.machines) != []
    swept = apart.json("sweep")["swept"]
    assert any(one.startswith("machine tiny-review-") for one in swept), swept
    assert held(apart.home, before) == []


def test_two_bakes_at_once_both_end_verified(apart: Bakery, tiny: TinyStack, tmp_path: Path) -> None:
    stacks = [tiny.copy(tmp_path / name) for name in ("one", "two")]
    stacks[1].hello.commit({"greeting": "another"})
    logs = [(tmp_path / f"{number}.log").open("w+") for number in (1, 2)]
    bakes = [
        apart.start("bake", "--update-all", cwd=stack.folder, output=log)
        for stack, log in zip(stacks, logs, strict=True)
    ]
    codes = [bake.wait(timeout=120) for bake in bakes]
    for log in logs:
        log.seek(0)
    said = [log.read() for log in logs]
    for log in logs:
        log.close()
    assert codes == [0, 0], said
    images: list[Image] = apart.store.all()
    assert [image.state for image in images] == ["verified", "verified"]
    commits = {image.manifest().repos["hello"].commit for image in images}
    assert commits == {stack.hello.git("rev-parse", "HEAD") for stack in stacks}
    assert all(image.name in "".join(said) for image in images)
    # What both built is in each of them, and each can be booted.
    for image in images:
        apart.run("boot", image.name, "--mode", "production", "--service", "hello", "--", "true")
