"""Fakes of what the load balancers stand on. tests/system holds the door's to HAProxy."""

from __future__ import annotations

import random
from collections.abc import Mapping

from region.balancer.health import Answered, Outcome
from region.balancer.prober import Probe
from region.balancer.words import Forward, Plan
from region.errors import RegionError


class FakeDoor:
    """Remembers what it is shown. `taken` are ports that somebody else has."""

    def __init__(self) -> None:
        self.plans: list[Plan] = []
        self.bound: set[tuple[str, int]] = set()
        self.taken: set[int] = set()
        self.busy: dict[str, int] = {}
        self.cuts: list[tuple[str, int]] = []
        self.closed = False

    @property
    def plan(self) -> Plan:
        return self.plans[-1] if self.plans else Plan()

    def bind(self, address: str, port: int) -> None:
        if port in self.taken:
            raise RegionError("can't listen: Address already in use", where=f"{address}:{port}")
        self.bound.add((address, port))

    def show(self, plan: Plan) -> None:
        for listener in plan.listeners:
            self.bind(listener.address, listener.port)
        self.bound &= {(listener.address, listener.port) for listener in plan.listeners}
        self.plans.append(plan)

    def outstanding(self) -> dict[str, int]:
        return dict(self.busy)

    def cut(self, address: str, port: int) -> None:
        self.cuts.append((address, port))

    def look(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def ask(self, address: str, port: int) -> str:
        """The key of the target that answers a request to which the default rule applies; "" where none does."""
        listener = next(each for each in self.plan.listeners if (each.address, each.port) == (address, port))
        action = listener.rules[-1].action
        assert isinstance(action, Forward)
        keys, weights = zip(*action.groups, strict=True)
        chosen = random.choices(keys, weights)[0] if any(weights) else None
        targets = next((group.targets for group in self.plan.groups if group.key == chosen), ())
        return random.choice(targets).key if targets else ""


class FakeProber:
    """`answers` says what a target says, by its key; the others give 200. Checks are made when a test looks."""

    def __init__(self) -> None:
        self.probes: dict[str, Probe] = {}
        self.answers: dict[str, Outcome] = {}
        self.closed = False

    def watch(self, probes: Mapping[str, Probe]) -> None:
        self.probes = dict(probes)

    def outcomes(self) -> list[tuple[str, Outcome]]:
        return [(key, self.answers.get(key, Answered(200))) for key in self.probes]

    def close(self) -> None:
        self.closed = True
