"""How many a group has and keeps, as tables: health and replacement, size, spot, deletion.

Each case names the page of the AWS documentation that it stands on where there is one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from region.scaling.words import (
    Condemn,
    Distribution,
    End,
    Fault,
    Forget,
    Launch,
    Member,
    Process,
    Retire,
    Seen,
    State,
    Vanish,
)
from tests.region.scaling.cases import (
    END,
    LAUNCH,
    NOW,
    RUNNING,
    TERMINATED,
    TG,
    A,
    B,
    group,
    launched,
    member,
    named,
    retired,
    steps,
    wait,
)

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


# --- zones: "Example: distribute instances across Availability Zones", rebalancing activities ------------------------

IN_A, IN_B, NEW_B = member(zone=A), member(zone=B), member(State.PENDING, zone=B, extra=True)
EVEN: dict[str, tuple[list[Member], dict[str, Any], list[str], list[str]]] = {
    "even": ([IN_A, IN_B], {}, [], []),
    "one more is no difference": ([IN_A, IN_A, IN_B], {}, [], []),
    "two more: first a new one": ([IN_A, IN_A], {}, [B], []),
    "while that one is on its way nothing goes": ([IN_A, IN_A, NEW_B], {}, [], []),
    "when it serves another goes": ([IN_A, IN_A, IN_B], {"desired": 2}, [], ["i-1"]),
    "a zone that the group has left": ([IN_A, member(zone="us-east-1c")], {}, [B], []),
    "not while anything else goes on": ([IN_A, IN_A, member(State.PENDING)], {}, [], []),
    "not for a protected one": ([replace(IN_A, protected=True)] * 2, {}, [], []),
    "AZRebalance is suspended": ([IN_A, IN_A], {"suspended": frozenset({Process.AZ_REBALANCE})}, [], []),
    "Launch is suspended": ([IN_A, IN_A], {"suspended": NO_LAUNCH}, [], []),
    "Terminate is suspended": ([IN_A, IN_A], {"suspended": NO_TERMINATE}, [], []),
}


@pytest.mark.parametrize("case", EVEN.values(), ids=EVEN)
def test_zones_are_evened_out_one_by_one(case: tuple[list[Member], dict[str, Any], list[str], list[str]]) -> None:
    members, changes, new, gone = case
    extras = sum(member.extra for member in members)
    found = steps(group(*named(*members), **{"desired": len(members) - extras, "zones": (A, B), **changes}))
    assert [step.zone for step in found if isinstance(step, Launch)] == new
    assert retired(found) == gone


# --- deletion ---------------------------------------------------------------------------------------------------------


def test_a_group_deleted_by_force_ends_all_that_it_has_even_while_it_launches() -> None:
    leaving, detaching = member(State.TERMINATING, forced=True), member(State.DETACHING)
    members = named(OK, NEW, STANDBY, member(State.PENDING), leaving, detaching)
    found = steps(group(*members, desired=0, deleting=True, hooks=(LAUNCH, END)))
    assert retired(found) == ["i-1", "i-2", "i-3", "i-4"]
    failures = [step.failure for step in found if isinstance(step, Retire)]
    assert failures == ["", "the group was deleted", "", "the group was deleted"]
    assert found[4:] == [End("i-5"), Forget("i-6")], "what is detached lives on"


def test_a_group_deleted_by_force_is_gone_when_it_is_empty() -> None:
    assert steps(group(deleting=True)) == [Vanish()]
    assert steps(group()) == []
