"""The groups, members and hooks that the plan's cases are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from region.scaling.plan import plan
from region.scaling.words import (
    Group,
    Hook,
    Launch,
    Member,
    Result,
    Retire,
    Seen,
    State,
    Step,
    Transition,
    Wait,
)

NOW = 1000.0
A, B = "us-east-1a", "us-east-1b"
LAUNCH = Hook("launch", Transition.LAUNCHING, 300.0)
READY = Hook("ready", Transition.LAUNCHING, 60.0, Result.CONTINUE)
END = Hook("terminate", Transition.TERMINATING, 120.0, Result.CONTINUE)
RUNNING, PENDING, TERMINATED = Seen(), Seen("pending"), Seen("terminated")
DRAINING = Seen(targets={"tg": "draining"})


def member(state: State = State.IN_SERVICE, name: str = "i-1", **changes: Any) -> Member:
    in_service = 0.0 if state is State.IN_SERVICE else None
    return Member(name, **{"state": state, "in_service": in_service, **changes})


def wait(hook: Hook, result: Result | None = None, left: float = 10.0) -> Wait:
    token = f"token-{hook.name}"
    return Wait(hook.name, token, hook.heartbeat, hook.default, NOW + left, NOW + hook.limit, result)


def group(*members: Member, **changes: Any) -> Group:
    counted = sum(member.state.startswith(("Pending", "InService")) for member in members)
    return Group("web", **{"desired": counted, "maximum": 9, "members": members, **changes})


def steps(group: Group, *seen: Seen, now: float = NOW) -> list[Step]:
    """Of members in their order; those that nothing is said of run."""
    ids = [member.instance_id for member in group.members]
    found: Mapping[str, Seen] = {name: seen[at] if at < len(seen) else RUNNING for at, name in enumerate(ids)}
    return plan(group, found, now)


TG = frozenset({"tg"})


def named(*members: Member) -> list[Member]:
    return [replace(each, instance_id=f"i-{at}") for at, each in enumerate(members, 1)]


def retired(found: list[Step]) -> list[str]:
    return [step.instance_id for step in found if isinstance(step, Retire)]


def launched(found: list[Step]) -> int:
    return sum(isinstance(step, Launch) for step in found)
