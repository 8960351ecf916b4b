"""What becomes of an instance next, as a table."""

from __future__ import annotations

import pytest

from region.aws.lifecycle import CODES, Look, Step, next_step, power_of

RUNNING: list[tuple[str, Look, Step]] = [
    ("all is well", Look("running", "up"), "wait"),
    ("a reboot was asked for", Look("running", "up", reboot=True), "restart"),
    ("it asks for a reboot", Look("running", "rebooting"), "restart"),
    ("it powered itself off", Look("running", "off"), "power-off"),
    ("it died", Look("running", "dead"), "impair"),
    ("it died, and what it held is given back", Look("running", "none"), "wait"),
    ("it died, and a reboot was asked for", Look("running", "none", reboot=True), "restart"),
    ("it died as a reboot was asked for", Look("running", "dead", reboot=True), "restart"),
    ("an image is wanted", Look("running", "up", imaging=True), "image"),
    ("an image is wanted of one that died", Look("running", "dead", imaging=True), "image"),
]
OTHERS: list[tuple[str, Look, Step]] = [
    ("it has no machine yet", Look("pending", "none"), "start"),
    ("it has none, and must stay pending for longer", Look("pending", "none", due=False), "start"),
    ("its machine runs", Look("pending", "up"), "run"),
    ("its machine runs, too early", Look("pending", "up", due=False), "wait"),
    ("its machine has ended already", Look("pending", "off"), "run"),
    ("an image of it is wanted too early", Look("pending", "up", imaging=True), "run"),
    ("it is to stop", Look("stopping", "up"), "stop"),
    ("it is to stop and is off", Look("stopping", "off"), "stop"),
    ("it is to stop and died long ago", Look("stopping", "none"), "stop"),
    ("it is to stop, after an image", Look("stopping", "up", imaging=True), "image"),
    ("it is off", Look("stopped", "none"), "wait"),
    ("it is off, and an image is wanted", Look("stopped", "none", imaging=True), "image"),
    ("it is to end", Look("shutting-down", "up"), "end"),
    ("it is to end and never started", Look("shutting-down", "none"), "end"),
    ("it is to end, after an image", Look("shutting-down", "up", imaging=True), "image"),
    ("it has ended", Look("terminated", "none"), "wait"),
    ("it has ended, and an image comes too late", Look("terminated", "none", imaging=True), "wait"),
]


@pytest.mark.parametrize(
    ("look", "step"), [case[1:] for case in RUNNING + OTHERS], ids=[c[0] for c in RUNNING + OTHERS]
)
def test_the_next_step(look: Look, step: Step) -> None:
    assert next_step(look) == step


@pytest.mark.parametrize(
    ("exit_code", "power"), [(None, "up"), (0, "off"), (133, "rebooting"), (1, "dead"), (-9, "dead"), (137, "dead")]
)
def test_what_an_exit_code_says_of_a_machine(exit_code: int | None, power: str) -> None:
    assert power_of(True, exit_code) == power
    assert power_of(False, exit_code) == "none"


def test_every_state_has_its_code() -> None:
    """EC2 API Reference, "InstanceState"."""
    assert sorted(CODES.values()) == [0, 16, 32, 48, 64, 80]
