"""Fakes of what a region stands on. tests/system holds them to the real ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import cast

from region.aws.world import LocalImage, World
from region.errors import RegionError
from region.faults import Faults
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
        self.log = self.directory / "machine.log"
        self.upper = self.directory / "upper"
        self.booted = True
        self.ended: int | None = None
        self.held = True

    def poll(self) -> int | None:
        return self.ended

    def stop(self, timeout: float = 30.0, hurry: Callable[[], bool] | None = None) -> None:
        self.ended, self.held = 0, False

    def kill(self) -> None:
        self.ended, self.held = 137, False

    def discard(self) -> None:
        self.kill()

    def take_upper(self, target: Path) -> None:
        """What it wrote is a file that says who wrote it, beside what was there before."""
        if self.spec.upper is None:
            target.mkdir()
        (target / "wrote").write_text(self.name)

    def last_words(self) -> str:
        return "Welcome"


class FakeMachines:
    """`fail` says why no machine starts; "" lets them."""

    def __init__(self) -> None:
        self.fail = ""
        self.started: list[FakeMachine] = []
        self.told: dict[str, InstanceMetadata | None] = {}
        self.faults: dict[str, Faults] = {}

    def start(self, spec: MachineSpec, address: str) -> Machine:
        if self.fail:
            raise RegionError(self.fail, where=spec.name)
        machine = FakeMachine(spec, address)
        self.started.append(machine)
        return cast(Machine, machine)

    def tell(self, address: str, metadata: InstanceMetadata | None) -> None:
        self.told[address] = metadata

    def set_faults(self, machine: Machine, faults: Faults) -> None:
        self.faults[machine.address] = faults


IMAGE = "ami-0000000000000000a"


class FakeCatalog:
    """One local image, `IMAGE`, whose one layer is `layer`; `found` may be changed."""

    def __init__(self, layer: Path) -> None:
        layer.mkdir(exist_ok=True)
        self.found = [LocalImage(IMAGE, "shop", (layer,), "2026-11-23T12:00:00Z", {"bakeboot:stack": "shop"})]

    def images(self) -> Sequence[LocalImage]:
        return self.found

    def hold(self) -> AbstractContextManager[None]:
        return nullcontext()


class FakeNetwork:
    site = "bb-fake"
    endpoint = "http://127.77.0.1:4566"

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.exposed: dict[str, Machine] = {}

    def allocate(self) -> str:
        address = next((f"127.77.0.{n}" for n in range(10, 255) if f"127.77.0.{n}" not in self.held), "")
        if not address:
            raise RegionError("all public addresses are in use")
        self.held.add(address)
        return address

    def free(self, address: str) -> None:
        self.held.discard(address)

    def expose(self, address: str, machine: Machine, allowed: Callable[[], Sequence[tuple[int, int]]]) -> None:
        self.exposed[address] = machine

    def hide(self, address: str) -> None:
        self.exposed.pop(address, None)


def settle(world: World) -> None:
    """Looks and work in turn, until a look finds nothing more to do for an instance."""
    for _ in range(4):
        world.tick()
        world.settle()
