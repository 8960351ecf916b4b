"""What a group does next, as tables: a group and what is true of its instances, and the steps that follow.

Each case names the page of the AWS documentation that it stands on where there is one.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from region.scaling.plan import plan
from region.scaling.words import (
    Deregister,
    End,
    Fault,
    Forget,
    Group,
    Hold,
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
)
from tests.region.scaling.cases import (
    DRAINING,
    END,
    LAUNCH,
    NOW,
    PENDING,
    READY,
    RUNNING,
    TERMINATED,
    TG,
    A,
    group,
    member,
    steps,
    wait,
)

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


def test_what_does_not_run_is_registered_nowhere() -> None:
    before = group(member(fault=Fault.GONE), target_groups=("new",), suspended=frozenset({Process.TERMINATE}))
    assert steps(before, Seen("stopped")) == []


def test_target_groups_attached_and_detached_later_reach_what_serves() -> None:
    serving = member(targets=frozenset({"old"}))
    assert steps(group(serving, target_groups=("new",))) == [
        Register("i-1", frozenset({"new"})),
        Deregister("i-1", frozenset({"old"})),
    ]
