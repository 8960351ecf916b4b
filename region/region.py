"""A region that is up, as its control uses it: what there is, and what its owner does to it (`region.control`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

from region.aws.api_faults import ApiFaults
from region.aws.world import World
from region.errors import RegionError
from region.faults import Faults, faults_to
from region.status import Health, gather, instance_ids

MOST_DELAY = 3600.0
"""Seconds that a setting may be at most."""


class Instances(Protocol):
    """The EC2 service, as far as this uses it (`region.aws.ec2.Ec2`)."""

    def interrupt(self, instance_id: str, notice: float, *, rebalance: bool = False) -> None: ...
    def kill_machine(self, instance_id: str) -> None: ...
    def console(self, instance_id: str) -> bytes: ...
    def set_metadata_faults(self, instance_id: str, faults: Faults) -> None: ...
    def references(self) -> list[Path]: ...


class Region:
    """One region. `started` is a Unix time in seconds. Its methods raise RegionError where they can't."""

    def __init__(
        self,
        world: World,
        api_faults: ApiFaults,
        instances: Instances,
        health: Health,
        *,
        ids: Callable[[World], Sequence[str]] = instance_ids,
    ) -> None:
        self._world = world
        self._ids = ids
        self._api_faults = api_faults
        self._instances = instances
        self._health = health
        self._metadata: dict[str, Faults] = {}
        self.started = world.clock()

    def status(self) -> dict[str, Any]:
        world = self._world
        return {
            "name": world.name,
            "endpoint": world.network.endpoint,
            "started": self.started,
            "site": world.network.site,
            "settings": asdict(world.settings),
            **gather(world, self._health),
            "faults": self.faults(),
        }

    def interrupt(self, instance: str, notice: float, *, rebalance: bool) -> str:
        found = self._find(instance)
        self._instances.interrupt(found, notice, rebalance=rebalance)
        what = "is recommended a rebalance" if rebalance else f"ends in {notice:g} s"
        self._world.log(f"{found} {what}, as its owner said")
        return found

    def kill_machine(self, instance: str) -> str:
        found = self._find(instance)
        self._world.log(f"{found} loses its machine, as its owner said")
        self._instances.kill_machine(found)
        return found

    def console(self, instance: str) -> str:
        return self._instances.console(self._find(instance)).decode(errors="replace")

    def set_metadata_faults(self, instance: str, faults: Faults) -> str:
        found = self._find(instance)
        self._instances.set_metadata_faults(found, faults)
        self._world.log(f"{found} metadata faults: {faults_to(faults) or 'none'}")
        with self._world.lock:
            if faults == Faults():
                self._metadata.pop(found, None)
            else:
                self._metadata[found] = faults
        return found

    def add_api_fault(self, plan: Mapping[str, Any]) -> str:
        fault = self._api_faults.add(plan)
        self._world.log(f"{fault} begins: {dict(plan)}")
        return fault

    def faults(self) -> list[dict[str, Any]]:
        """Those of the API, then those of metadata, whose id is the instance's; what is over is not told."""
        api = [{"of": "api", **fault} for fault in self._api_faults.list() if not fault["over"]]
        with self._world.lock:
            there = set(self._ids(self._world))
            self._metadata = {one: faults for one, faults in self._metadata.items() if one in there}
            metadata = [{"of": "metadata", "id": one, **faults_to(faults)} for one, faults in self._metadata.items()]
        return [*api, *metadata]

    def clear_faults(self, fault: str | None) -> list[str]:
        known = [str(one["id"]) for one in self.faults()]
        ended = known if fault is None else [one for one in known if one == fault]
        if fault is not None and not ended:
            raise RegionError(f"no fault {fault!r} is in force", where="fault", hint="bakeboot region fault list")
        for one in ended:
            if one in self._metadata:
                self.set_metadata_faults(one, Faults())
            else:
                self._api_faults.clear(one)
                self._world.log(f"{one} ends")
        if fault is None:
            self._api_faults.clear()  # those that are over, too
        return ended

    def settings(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        known = asdict(self._world.settings)
        for name, value in changes.items():
            if not isinstance(known.get(name), float):
                can = ", ".join(name for name, default in known.items() if isinstance(default, float))
                raise RegionError(f"no setting {name!r} can be changed", where="settings", hint=f"one of {can}")
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST_DELAY:
                raise RegionError(f"{name}: expected seconds from 0 to {MOST_DELAY:g}, got {value!r}", where="settings")
        with self._world.lock:
            numbers: dict[str, Any] = {name: float(value) for name, value in changes.items()}
            self._world.settings = replace(self._world.settings, **numbers)
        self._world.log(f"settings: {dict(changes)}")
        self._world.wake()
        return asdict(self._world.settings)

    def references(self) -> list[str]:
        return [str(path) for path in self._instances.references()]

    def _find(self, word: str) -> str:
        """The whole id of the instance that a person means by the beginning of it, with or without `i-`."""
        with self._world.lock:
            return find(word, self._ids(self._world))


def find(word: str, ids: Sequence[str]) -> str:
    """The one of `ids` that begins with `word`. Raises RegionError where none or several do."""
    begin = word if word.startswith("i-") else f"i-{word}"
    fitting = [one for one in ids if one.startswith(begin)]
    if len(fitting) == 1 or begin in fitting:
        return begin if begin in fitting else fitting[0]
    if fitting:
        raise RegionError(f"several instances begin so: {', '.join(fitting)}", where=word, hint="give more of its id")
    raise RegionError("there is no such instance", where=word, hint="bakeboot region status")
