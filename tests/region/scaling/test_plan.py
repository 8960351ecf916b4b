"""What a group does next, as tables: a group and what is true of its instances, and the steps that follow.

Each case names the page of the AWS documentation that it stands on where there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from region.scaling.plan import plan
from region.scaling.words import (
    Condemn,
    Deregister,
    Distribution,
    End,
    Fault,
    Forget,
    Group,
    Hold,
    Hook,
    Launch,
    Member,
    Move,
    Process,
    Register,
    Result,
    Retire,
    Seen,
    State,
    Step,
    Transition,
    Vanish,
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


# --- from launched to in service: "Amazon EC2 Auto Scaling instance lifecycle", "How lifecycle hooks work" ------------

WAITING = member(State.PENDING_WAIT, waits=(wait(LAUNCH), wait(READY)))
COMING: dict[str, tuple[Group, Seen, list[Step]]] = {
    "EC2 has not started it yet": (group(member(State.PENDING)), PENDING, []),
    "no hook holds it": (group(member(State.PENDING)), RUNNING, [Move("i-1", State.IN_SERVICE)]),
    "all launch hooks hold it, each from now on": (
        group(member(State.PENDING), hooks=(LAUNCH, END, READY)),
        RUNNING,
        [Hold("i-1", State.PENDING_WAIT, (LAUNCH, READY))],
    ),
    "hooks do not hold what was attached or was in standby": (
        group(member(State.PENDING, hooked=False), hooks=(LAUNCH,)),
        RUNNING,
        [Move("i-1", State.IN_SERVICE)],
    ),
    "it waits until each hook has a result": (
        group(replace(WAITING, waits=(wait(LAUNCH, Result.CONTINUE), wait(READY)))),
        RUNNING,
        [],
    ),
    "all hooks let it go": (
        group(replace(WAITING, waits=(wait(LAUNCH, Result.CONTINUE), wait(READY, Result.CONTINUE)))),
        RUNNING,
        [Move("i-1", State.PENDING_PROCEED)],
    ),
    "a time-out with the default CONTINUE lets it go": (
        group(replace(WAITING, waits=(wait(LAUNCH, Result.CONTINUE), wait(READY, left=0.0)))),
        RUNNING,
        [Move("i-1", State.PENDING_PROCEED)],
    ),
    "what was told in time counts, though the time-out is over when it is seen": (
        group(replace(WAITING, waits=(wait(LAUNCH, Result.CONTINUE, left=-1.0),))),
        RUNNING,
        [Move("i-1", State.PENDING_PROCEED)],
    ),
    "it is in its target groups before it is in service": (
        group(member(State.PENDING_PROCEED), target_groups=("tg",)),
        RUNNING,
        [Register("i-1", frozenset({"tg"})), Move("i-1", State.IN_SERVICE)],
    ),
    "AddToLoadBalancer suspended: in service, in no target group, for good": (
        group(
            member(State.PENDING_PROCEED),
            target_groups=("tg",),
            suspended=frozenset({Process.ADD_TO_LOAD_BALANCER}),
        ),
        RUNNING,
        [Register("i-1", frozenset({"tg"}), skip=True), Move("i-1", State.IN_SERVICE)],
    ),
}


@pytest.mark.parametrize("case", COMING.values(), ids=COMING)
def test_it_comes_into_service_when_it_runs_and_its_hooks_say_so(case: tuple[Group, Seen, list[Step]]) -> None:
    before, seen, expected = case
    assert steps(before, seen) == expected


TOKEN = "Instance failed to complete user's Lifecycle Action: Lifecycle Action with token token-launch was"
LOST = "Instance became unhealthy while waiting for instance to be in InService state. Reason:"
FAILED: dict[str, tuple[Member, Seen, str]] = {
    "a hook was abandoned": (
        replace(WAITING, waits=(wait(LAUNCH, Result.ABANDON), wait(READY))),
        RUNNING,
        f"{TOKEN} completed with ABANDON Result",
    ),
    "a hook timed out whose default is ABANDON": (
        replace(WAITING, waits=(wait(READY, Result.CONTINUE), wait(LAUNCH, left=0.0))),
        RUNNING,
        f"{TOKEN} abandoned: Heartbeat Timeout",
    ),
    "EC2 could not start it": (
        member(State.PENDING),
        Seen("terminated", reason="Server.InternalError"),
        f"{LOST} Server.InternalError",
    ),
    "it died while it waited": (WAITING, Seen(impaired=True), f"{LOST} the instance is impaired"),
    "somebody stopped it while it waited": (WAITING, Seen("stopping"), f"{LOST} the instance is stopping"),
    "EC2 knows it no more": (member(State.PENDING_PROCEED), Seen("terminated"), f"{LOST} the instance is terminated"),
}


@pytest.mark.parametrize("case", FAILED.values(), ids=FAILED)
def test_a_launch_that_fails_is_given_up_and_another_one_tried(case: tuple[Member, Seen, str]) -> None:
    before, seen, failure = case
    retired, launched = steps(group(before, hooks=(LAUNCH,)), seen)
    assert isinstance(retired, Retire)
    assert retired.failure == failure
    assert not retired.cancelled
    assert launched == Launch(A, spot=False, capacity=0)


def test_an_instance_that_ec2_has_forgotten_counts_as_terminated() -> None:
    assert plan(group(member(State.TERMINATING), desired=0), {}, NOW) == [Forget("i-1")]


# --- leaving ----------------------------------------------------------------------------------------------------------

TG = frozenset({"tg"})
GOING: dict[str, tuple[Member, Seen, list[Step]]] = {
    "first out of its target groups": (member(State.TERMINATING, targets=TG), RUNNING, [Deregister("i-1", TG)]),
    "then its requests end": (member(State.TERMINATING), DRAINING, []),
    "then the hooks hold it": (member(State.TERMINATING), RUNNING, [Hold("i-1", State.TERMINATING_WAIT, (END,))]),
    "one that died has no requests to end": (
        member(State.TERMINATING),
        replace(DRAINING, impaired=True),
        [Hold("i-1", State.TERMINATING_WAIT, (END,))],
    ),
    "hooks hold one that is terminated already too, as they do after an interruption": (
        member(State.TERMINATING),
        TERMINATED,
        [Hold("i-1", State.TERMINATING_WAIT, (END,))],
    ),
    "it waits for the hooks": (member(State.TERMINATING_WAIT, waits=(wait(END),)), RUNNING, []),
    "all hooks let it go": (
        member(State.TERMINATING_WAIT, waits=(wait(END, Result.CONTINUE),)),
        RUNNING,
        [Move("i-1", State.TERMINATING_PROCEED)],
    ),
    "a time-out ends it": (
        member(State.TERMINATING_WAIT, waits=(wait(END, left=0.0),)),
        RUNNING,
        [Move("i-1", State.TERMINATING_PROCEED)],
    ),
    "ABANDON stops the other hooks": (
        member(State.TERMINATING_WAIT, waits=(wait(END, Result.ABANDON), wait(READY))),
        RUNNING,
        [Move("i-1", State.TERMINATING_PROCEED)],
    ),
    "EC2 is told": (member(State.TERMINATING_PROCEED), RUNNING, [End("i-1")]),
    "EC2 is told again, should it have stopped it instead": (
        member(State.TERMINATING_PROCEED),
        Seen("stopped"),
        [End("i-1")],
    ),
    "it stays a member while it shuts down": (
        member(State.TERMINATING_PROCEED),
        Seen("shutting-down"),
        [],
    ),
    "and is none when it is gone": (member(State.TERMINATING_PROCEED), TERMINATED, [Forget("i-1")]),
    "by force: no draining, no hook": (member(State.TERMINATING, forced=True), DRAINING, [End("i-1")]),
    "standby: out of its target groups": (
        member(State.ENTERING_STANDBY, targets=TG),
        RUNNING,
        [Deregister("i-1", TG)],
    ),
    "standby: after its requests": (member(State.ENTERING_STANDBY), DRAINING, []),
    "standby: then there": (member(State.ENTERING_STANDBY), RUNNING, [Move("i-1", State.STANDBY)]),
    "in standby nobody looks whether it lives": (member(State.STANDBY), TERMINATED, []),
    "detached: out of its target groups": (member(State.DETACHING, targets=TG), RUNNING, [Deregister("i-1", TG)]),
    "detached: after its requests": (member(State.DETACHING), DRAINING, []),
    "detached: no member any more": (member(State.DETACHING), RUNNING, [Forget("i-1")]),
}


@pytest.mark.parametrize("case", GOING.values(), ids=GOING)
def test_it_leaves_in_order(case: tuple[Member, Seen, list[Step]]) -> None:
    before, seen, expected = case
    assert steps(group(before, hooks=(LAUNCH, END), target_groups=("tg",)), seen) == expected


def test_without_hooks_it_is_ended_as_soon_as_it_is_drained() -> None:
    assert steps(group(member(State.TERMINATING))) == [End("i-1")]
    assert steps(group(member(State.TERMINATING)), Seen("shutting-down")) == []
    assert steps(group(member(State.TERMINATING)), TERMINATED) == [Forget("i-1")]


# --- target groups of what serves -------------------------------------------------------------------------------------


def test_target_groups_attached_and_detached_later_reach_what_serves() -> None:
    serving = member(targets=frozenset({"old"}))
    assert steps(group(serving, target_groups=("new",))) == [
        Register("i-1", frozenset({"new"})),
        Deregister("i-1", frozenset({"old"})),
    ]


# --- health: "Health checks for instances in an Auto Scaling group" ---------------------------------------------------

UNHEALTHY = Seen(targets={"tg": "unhealthy"})
HEALTH: dict[str, tuple[Seen, dict[str, Any], Fault | None]] = {
    "it runs": (RUNNING, {}, None),
    "it was stopped": (Seen("stopping"), {}, Fault.GONE),
    "it was terminated, within the grace period": (TERMINATED, {"grace": 2000.0}, Fault.GONE),
    "its status checks fail": (Seen(impaired=True), {}, Fault.IMPAIRED),
    "its status checks fail within the grace period": (Seen(impaired=True), {"grace": 2000.0}, None),
    "a target group finds it unhealthy, and the group asks": (UNHEALTHY, {"elb_health": True}, Fault.TARGET),
    "a target group finds it unhealthy, and the group does not ask": (UNHEALTHY, {}, None),
    "within the grace period": (UNHEALTHY, {"elb_health": True, "grace": 1000.1}, None),
    "at the end of the grace period": (UNHEALTHY, {"elb_health": True, "grace": 1000.0}, Fault.TARGET),
    "initial is not unhealthy": (Seen(targets={"tg": "initial"}), {"elb_health": True}, None),
    "no rule forwards to its target group": (Seen(targets={"tg": "unused"}), {"elb_health": True}, None),
    "a target group that is not the group's": (Seen(targets={"x": "unhealthy"}), {"elb_health": True}, None),
    "HealthCheck is suspended": (TERMINATED, {"suspended": frozenset({Process.HEALTH_CHECK})}, None),
}


@pytest.mark.parametrize("case", HEALTH.values(), ids=HEALTH)
def test_it_is_unhealthy_when_ec2_or_its_target_group_says_so(case: tuple[Seen, dict[str, Any], Fault | None]) -> None:
    seen, changes, fault = case
    before = group(member(targets=TG), target_groups=("tg",), **changes)
    assert steps(before, seen) == ([Condemn("i-1", fault)] if fault else [])


def named(*members: Member) -> list[Member]:
    return [replace(each, instance_id=f"i-{at}") for at, each in enumerate(members, 1)]


def retired(found: list[Step]) -> list[str]:
    return [step.instance_id for step in found if isinstance(step, Retire)]


def launched(found: list[Step]) -> int:
    return sum(isinstance(step, Launch) for step in found)


OK, GONE, TOLD, BAD = member(), member(fault=Fault.GONE), member(fault=Fault.TOLD), member(fault=Fault.TARGET)
NEW = member(State.PENDING_WAIT, waits=(wait(LAUNCH),))
REPLACED: dict[str, tuple[list[Member], dict[str, Any], int, int]] = {
    "a healthy one stays": ([OK, OK], {}, 0, 0),
    "one that does not run is replaced at once": ([OK, GONE], {}, 1, 1),
    "those that do not run are all replaced at once": ([GONE, TOLD, GONE], {}, 3, 3),
    "others one at a time in a small group": ([BAD, BAD, OK], {}, 1, 1),
    "others up to a tenth of a large one": ([BAD] * 5 + [OK] * 25, {}, 3, 3),
    "not while the group is short and grows": ([BAD, OK, NEW], {}, 0, 0),
    "one that does not run even then": ([GONE, OK, NEW], {}, 1, 1),
    "protection is against scaling in alone": ([replace(GONE, protected=True)], {}, 1, 1),
    "ReplaceUnhealthy is suspended": ([GONE], {"suspended": frozenset({Process.REPLACE_UNHEALTHY})}, 0, 0),
    "Terminate is suspended": ([GONE], {"suspended": frozenset({Process.TERMINATE})}, 0, 0),
    "Launch is suspended: terminated, not replaced": ([GONE], {"suspended": frozenset({Process.LAUNCH})}, 1, 0),
}


@pytest.mark.parametrize("case", REPLACED.values(), ids=REPLACED)
def test_the_unhealthy_are_terminated_and_replaced(case: tuple[list[Member], dict[str, Any], int, int]) -> None:
    members, changes, gone, new = case
    found = steps(group(*named(*members), **changes))
    assert (len(retired(found)), launched(found)) == (gone, new)


# --- size -------------------------------------------------------------------------------------------------------------

STANDBY, LEAVING = member(State.STANDBY), member(State.TERMINATING_WAIT, waits=(wait(END),))
PROTECTED = member(protected=True)
NO_LAUNCH, NO_TERMINATE = frozenset({Process.LAUNCH}), frozenset({Process.TERMINATE})
SIZES: dict[str, tuple[list[Member], int, dict[str, Any], int, int]] = {
    "as desired": ([OK, OK], 2, {}, 0, 0),
    "short by two": ([OK], 3, {}, 0, 2),
    "what is on its way counts": ([OK, NEW], 2, {}, 0, 0),
    "standby counts for nothing": ([OK, STANDBY], 2, {}, 0, 1),
    "what leaves counts for nothing": ([OK, LEAVING], 2, {}, 0, 1),
    "too many by two": ([OK, OK, OK], 1, {}, 2, 0),
    "desired lowered while some wait: those go first": ([OK, OK, NEW], 2, {}, 1, 0),
    "desired lowered to nothing while all wait": ([NEW, NEW], 0, {}, 2, 0),
    "all protected: nobody goes": ([PROTECTED, PROTECTED], 1, {}, 0, 0),
    "one protected: the other goes": ([PROTECTED, OK], 1, {}, 1, 0),
    "protection begins in service": ([replace(NEW, protected=True), OK], 1, {}, 1, 0),
    "Launch suspended: it stays short": ([OK], 3, {"suspended": NO_LAUNCH}, 0, 0),
    "Terminate suspended: it stays too large": ([OK, OK], 1, {"suspended": NO_TERMINATE}, 0, 0),
    "Terminate suspended keeps only what is in service": ([OK, NEW], 1, {"suspended": NO_TERMINATE}, 1, 0),
    "after failures it waits": ([OK], 2, {"retry_at": NOW + 1}, 0, 0),
    "and then tries again": ([OK], 2, {"retry_at": NOW}, 0, 1),
}


@pytest.mark.parametrize("case", SIZES.values(), ids=SIZES)
def test_it_has_as_many_as_desired(case: tuple[list[Member], int, dict[str, Any], int, int]) -> None:
    members, desired, changes, gone, new = case
    found = steps(group(*named(*members), desired=desired, hooks=(LAUNCH, END), **changes))
    assert (len(retired(found)), launched(found)) == (gone, new)


def test_a_launch_that_is_not_wanted_any_more_is_cancelled_and_has_not_failed() -> None:
    (step,) = steps(group(NEW, desired=0))
    assert isinstance(step, Retire)
    assert (step.failure, step.cancelled) == ("the group's desired capacity was lowered", True)


def test_new_instances_go_to_the_zone_with_the_fewest() -> None:
    before = group(member(zone=A), desired=4, zones=(A, B))
    assert [step.zone for step in steps(before) if isinstance(step, Launch)] == [B, A, B]


MIXED: dict[str, tuple[Distribution, list[bool]]] = {
    "all on demand": (Distribution(), [False] * 4),
    "all spot": (Distribution(0, 0), [True] * 4),
    "the base on demand, the rest spot": (Distribution(1, 0), [False, True, True, True]),
    "half above the base": (Distribution(2, 50), [False, False, False, True]),
    "a fraction in favour of on demand": (Distribution(0, 30), [False, False, True, True]),
}


@pytest.mark.parametrize("case", MIXED.values(), ids=MIXED)
def test_on_demand_first_then_spot(case: tuple[Distribution, list[bool]]) -> None:
    distribution, expected = case
    found = steps(group(desired=4, distribution=distribution))
    assert [step.spot for step in found if isinstance(step, Launch)] == expected


# --- capacity rebalancing: "Use Capacity Rebalancing to handle Amazon EC2 Spot interruptions" -------------------------

RISK = member(spot=True)
REBALANCE: dict[str, tuple[list[Member], bool, int, int]] = {
    "one more before the one at risk goes": ([OK, RISK], True, 0, 1),
    "while that one is on its way": ([OK, RISK, NEW], True, 0, 0),
    "then the one at risk goes": ([OK, RISK, OK], True, 1, 0),
    "not asked for": ([OK, RISK], False, 0, 0),
}


@pytest.mark.parametrize("case", REBALANCE.values(), ids=REBALANCE)
def test_what_is_at_risk_is_replaced_first(case: tuple[list[Member], bool, int, int]) -> None:
    members, asked, gone, new = case
    seen = [replace(RUNNING, at_risk=member is RISK) for member in members]
    found = steps(group(*named(*members), desired=2, rebalance_capacity=asked), *seen)
    assert (len(retired(found)), launched(found)) == (gone, new)
    assert retired(found) == (["i-2"] if gone else [])


# --- deletion ---------------------------------------------------------------------------------------------------------


def test_a_group_deleted_by_force_ends_all_that_it_has_even_while_it_launches() -> None:
    members = named(OK, NEW, STANDBY, member(State.PENDING), member(State.TERMINATING, forced=True))
    found = steps(group(*members, desired=0, deleting=True, hooks=(LAUNCH, END)))
    assert retired(found) == ["i-1", "i-2", "i-3", "i-4"]
    assert found[-1] == End("i-5")


def test_a_group_deleted_by_force_is_gone_when_it_is_empty() -> None:
    assert steps(group(deleting=True)) == [Vanish()]
    assert steps(group()) == []
