"""A machine becomes what its tags say, or runs nothing and says why: through `bakeboot boot`, as a person does it."""

from __future__ import annotations

import json
import sys

import pytest

from agent.errors import AssignmentError, MachineError
from bake.images import Image
from tests.system.bakery import ASK, Bakery

STACK = "bakeboot:stack"
MODE = "bakeboot:mode"
SERVICE = "bakeboot:service"
MARK = "==="
LOOK = f"""\
agent status --json
echo {MARK}
agent explain
echo {MARK}
systemctl show --property=ActiveState,Result --value bakeboot-boot.service
echo {MARK}
systemctl list-units --plain --no-legend --state=active,activating,failed 'bakeboot-svc-*' 'bakeboot-data-*'
echo {MARK}
systemctl status --no-pager bakeboot-boot.service
"""


def tagged(tags: dict[str, str]) -> list[str]:
    return [f"--tag={key}={value}" for key, value in tags.items()] or ["--no-tags"]


WRONG = {
    "no tags at all": ({}, STACK),
    "no mode": ({STACK: "tiny"}, MODE),
    "a mode that is none": ({STACK: "tiny", MODE: "reveiw"}, "'reveiw'"),
    "production without a service": ({STACK: "tiny", MODE: "production"}, SERVICE),
    "a service that the image lacks": ({STACK: "tiny", MODE: "production", SERVICE: "helo"}, "'helo'"),
    "another stack's": ({STACK: "shop", MODE: "review"}, "'shop'"),
    "a service that review does not take": ({STACK: "tiny", MODE: "review", SERVICE: "hello"}, SERVICE),
}


@pytest.mark.parametrize(("tags", "named"), WRONG.values(), ids=WRONG)
def test_with_wrong_tags_nothing_runs_and_a_person_is_told_why(
    bakery: Bakery, tiny_image: Image, tags: dict[str, str], named: str
) -> None:
    done = bakery.run("boot", tiny_image.name, *tagged(tags), "--shell", stdin=LOOK, code=None)
    said, explained, unit, running, shown = done.stdout.split(f"{MARK}\n")
    status = json.loads(said[said.index("{\n") :])
    assert (status["phase"], status["exit_code"], status["units"]) == ("failed", AssignmentError.exit_code, [])
    assert status["ready"] is False
    assert named in status["reason"]
    assert named in explained
    assert "runs nothing" in explained
    assert "systemctl restart bakeboot-boot" in explained, "what to do next"
    assert unit.split() == ["exit-code", "failed"] or unit.split() == ["failed", "exit-code"]
    assert running == ""
    assert named in shown
    assert named in said, "bakeboot boot itself says it before it opens the shell"


def test_the_exit_code_and_the_error_of_bakeboot_boot_are_the_agents(bakery: Bakery, tiny_image: Image) -> None:
    tags = tagged({STACK: "tiny", MODE: "reveiw"})
    done = bakery.run("boot", tiny_image.name, *tags, code=AssignmentError.exit_code)
    assert "'reveiw'" in done.stderr
    assert "expected one of development, test, review" in done.stderr


def test_a_mode_or_service_that_cant_be_is_refused_before_anything_boots(bakery: Bakery, tiny_image: Image) -> None:
    for arguments, hint, code in (
        (["--mode", "reveiw"], "review", 2),
        (["--mode", "production"], "hello, ticker", MachineError.exit_code),
        (["--mode", "production", "--service", "helo"], "hello, ticker", MachineError.exit_code),
    ):
        done = bakery.run("boot", tiny_image.name, *arguments, code=code)
        assert hint in done.stderr
        assert "starting" not in done.stdout


def test_tags_that_come_late_are_waited_for(bakery: Bakery, tiny_image: Image) -> None:
    done = bakery.run("boot", tiny_image.name, "--tags-late", "0.7", "--", "true")
    assert "ready in" in done.stdout


def test_a_machine_of_mode_bake_is_idle_and_starts_nothing(bakery: Bakery, tiny_image: Image) -> None:
    done = bakery.run("boot", tiny_image.name, "--mode", "bake", "--shell", stdin=LOOK, code=None)
    said, explained, unit, running, _ = done.stdout.split(f"{MARK}\n")
    assert json.loads(said[said.index("{\n") :])["phase"] == "idle"
    assert "starts nothing" in explained
    assert "active" in unit.split()
    assert running == ""


def test_latest_is_the_newest_verified_image_and_the_commands_exit_code_is_the_result(
    bakery: Bakery, tiny_image: Image
) -> None:
    newest = [image.name for image in bakery.store.all() if (image.stack, image.state) == ("tiny", "verified")][-1]
    ask = (sys.executable, "-c", f"{ASK}; sys.exit(9)", "HELLO_URL")
    done = bakery.run("boot", "latest", "--mode", "review", "--stack-name", "tiny", "--", *ask, code=9)
    assert f"starting {newest} as review" in done.stdout
    assert '"leaf": ' in done.stdout
