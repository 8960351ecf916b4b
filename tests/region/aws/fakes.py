"""Fakes of what a region stands on. tests/system holds them to the real ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from region.machine import Machine
from region.metadata import InstanceMetadata
from region.nspawn import MachineSpec


class FakeClock:
    """Stands still; a test moves `now` on. It begins at the real time, since moto's own times are real."""

    def __init__(self) -> None:
        self.now = float(int(time.time()))

    def __call__(self) -> float:
        return self.now


class FakeMachine:
    """A machine that only says that it runs."""

    def __init__(self, spec: MachineSpec, address: str) -> None:
        self.spec, self.address, self.name = spec, address, spec.name
        self.directory = Path("/nonexistent")
        self.ended: int | None = None
        self.held = True

    def poll(self) -> int | None:
        return self.ended

    def stop(self, timeout: float = 30.0) -> None:
        self.ended, self.held = 0, False

    def kill(self) -> None:
        self.ended, self.held = 137, False

    def discard(self) -> None:
        self.kill()

    def last_words(self) -> str:
        return "Welcome"


class FakeMachines:
    def __init__(self) -> None:
        self.started: list[FakeMachine] = []
        self.told: dict[str, InstanceMetadata | None] = {}

    def start(self, spec: MachineSpec, address: str) -> Machine:
        machine = FakeMachine(spec, address)
        self.started.append(machine)
        return cast(Machine, machine)

    def tell(self, address: str, metadata: InstanceMetadata | None) -> None:
        self.told[address] = metadata


class FakeNetwork:
    site = "bb-fake"
    endpoint = "http://127.77.0.1:4566"

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.exposed: dict[str, Machine] = {}

    def allocate(self) -> str:
        address = next(f"127.77.0.{n}" for n in range(10, 255) if f"127.77.0.{n}" not in self.held)
        self.held.add(address)
        return address

    def free(self, address: str) -> None:
        self.held.discard(address)

    def expose(self, address: str, machine: Machine, allowed: Callable[[], Sequence[tuple[int, int]]]) -> None:
        self.exposed[address] = machine

    def hide(self, address: str) -> None:
        self.exposed.pop(address, None)
