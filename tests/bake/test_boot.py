"""Booting: what is refused before a machine is started, how long it may take, and its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.errors import MachineError
from bake.boot import BootOrder, _check, _wait_for_the_end, patience
from bake.local import LocalInstance
from tests.bake.planning import manifest


@pytest.mark.parametrize(
    ("order", "where", "what"),
    [
        (BootOrder("production"), "--service", "production runs one service"),
        (BootOrder("staging", "nosuch"), "--service", "no service 'nosuch'"),
        (BootOrder("review", with_review=True), "--with-review", "say which service"),
        (BootOrder("review", tags={"a": "b"}, with_review=True), "--with-review", "say which service"),
    ],
)
def test_what_can_not_become_anything_is_refused_at_once(order: BootOrder, where: str, what: str) -> None:
    with pytest.raises(MachineError, match=what) as told:
        _check(order, manifest())
    assert told.value.where == where
    assert told.value.hint


@pytest.mark.parametrize(
    "order",
    [
        BootOrder("review"),
        BootOrder("bake"),
        BootOrder("production", "jobs"),
        BootOrder("production", "jobs", with_review=True),
        BootOrder("anything", tags={"bakeboot:mode": "nonsense"}),
        BootOrder("anything", no_tags=True),
    ],
)
def test_what_the_agent_can_judge_is_left_to_it(order: BootOrder) -> None:
    _check(order, manifest())


def test_patience_is_all_that_the_agent_may_take_and_a_margin() -> None:
    assert patience(manifest()) == 120 + 60 + 60 + 120


def test_configuration_is_not_in_the_repr_of_an_order() -> None:
    assert "hunter2" not in repr(BootOrder("production", "jobs", variables={"PASSWORD": "hunter2"}))


@dataclass
class Polled:
    """A machine that runs for so many looks."""

    looks: int
    naps: list[float] = field(default_factory=list)

    def poll(self) -> int | None:
        self.looks -= 1
        return None if self.looks >= 0 else 0

    def instance(self) -> LocalInstance:
        image: Any = SimpleNamespace(name="shop-2026-11-23.1")
        return cast("LocalInstance", SimpleNamespace(machine=self, image=image))


def test_ctrl_c_is_how_a_machine_ends() -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    assert _wait_for_the_end(Polled(1).instance(), interrupt) == 0


def test_a_machine_that_ends_by_itself_is_an_error() -> None:
    machine = Polled(2)
    with pytest.raises(MachineError, match="ended by itself"):
        _wait_for_the_end(machine.instance(), machine.naps.append)
    assert len(machine.naps) == 2
