"""What a group does next: `plan` looks at the group and at its instances, and says which steps to take now.

Pure. A step is one small change; whoever carries them out looks again afterwards, so a member may take several steps
in a row. Nothing here remembers: what was decided is in the member's state.
"""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from region.scaling.choose import next_zone, victims
from region.scaling.words import (
    COMING,
    COUNTED,
    GOING,
    Condemn,
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
    Transition,
    Vanish,
)

GONE = Seen("terminated")
"""What is seen of an instance that EC2 knows no more."""


def plan(group: Group, seen: Mapping[str, Seen], now: float) -> list[Step]:
    """The steps to take now; none is "all is as it should be, or waits for something"."""
    if group.deleting:
        return list(_delete(group, seen, now))
    steps = [step for member in group.members for step in _next(group, member, seen.get(member.instance_id, GONE), now)]
    steps += _replace(group, _without(group.members, steps))
    steps += _scale(group, _without(group.members, steps), seen, now)
    return steps


def _without(members: Sequence[Member], steps: Sequence[Step]) -> list[Member]:
    """The members that no step of these takes away."""
    leaving = {step.instance_id for step in steps if isinstance(step, Retire | Forget)}
    return [member for member in members if member.instance_id not in leaving]


def _delete(group: Group, seen: Mapping[str, Seen], now: float) -> Iterator[Step]:
    """Of "DeleteAutoScalingGroup" with ForceDelete: the instances go with the group; no lifecycle hook holds them."""
    for member in group.members:
        if member.state not in GOING | {State.DETACHING}:
            failure = "the group was deleted" if member.state in COMING else ""
            yield Retire(member.instance_id, "a user request to delete the group", failure, cancelled=True)
        else:
            yield from _next(group, member, seen.get(member.instance_id, GONE), now)
    if not group.members:
        yield Vanish()


# --- one member -------------------------------------------------------------------------------------------------------


def _next(group: Group, member: Member, seen: Seen, now: float) -> Iterator[Step]:
    match member.state:
        case State.PENDING | State.PENDING_WAIT | State.PENDING_PROCEED:
            yield from _come(group, member, seen, now)
        case State.IN_SERVICE:
            yield from _serve(group, member, seen, now)
        case State.ENTERING_STANDBY:
            if member.targets:
                yield Deregister(member.instance_id, member.targets)
            elif not _draining(group, seen):
                yield Move(member.instance_id, State.STANDBY)
        case State.DETACHING:
            if member.targets:
                yield Deregister(member.instance_id, member.targets)
            elif not _draining(group, seen):
                yield Forget(member.instance_id)
        case State.STANDBY:
            pass  # "Temporarily remove instances": no health check, no traffic, until it is put back
        case State.TERMINATING | State.TERMINATING_WAIT | State.TERMINATING_PROCEED:
            yield from _go(group, member, seen, now)


def _come(group: Group, member: Member, seen: Seen, now: float) -> Iterator[Step]:
    """From launched to in service: it runs, its hooks have let it go, its target groups have it."""
    if not seen.alive or seen.impaired:
        reason = seen.reason or f"the instance is {'impaired' if seen.impaired else seen.ec2}"
        failure = f"Instance became unhealthy while waiting for instance to be in InService state. Reason: {reason}"
        yield Retire(member.instance_id, Fault.IMPAIRED if seen.impaired else Fault.GONE, failure)
    elif member.state is State.PENDING:
        hooks = group.hooks_of(Transition.LAUNCHING)
        if not seen.runs:
            return
        if member.hooked and hooks:
            yield Hold(member.instance_id, State.PENDING_WAIT, hooks)
        else:
            yield from _enter(group, member)
    elif member.state is State.PENDING_PROCEED:
        yield from _enter(group, member)
    else:
        outcomes = [wait.outcome(now) for wait in member.waits]
        if Result.ABANDON in outcomes:
            wait = member.waits[outcomes.index(Result.ABANDON)]
            how = "was completed with ABANDON Result" if wait.result else "was abandoned: Heartbeat Timeout"
            failure = (
                f"Instance failed to complete user's Lifecycle Action: Lifecycle Action with token {wait.token} {how}"
            )
            yield Retire(member.instance_id, "a lifecycle action that was abandoned", failure)
        elif None not in outcomes:
            yield Move(member.instance_id, State.PENDING_PROCEED)


def _enter(group: Group, member: Member) -> Iterator[Step]:
    """The group "automatically registers your instance with the load balancer before it marks [it] as InService"."""
    yield from _targets(group, member)
    yield Move(member.instance_id, State.IN_SERVICE)


def _serve(group: Group, member: Member, seen: Seen, now: float) -> Iterator[Step]:
    if seen.ec2 == "running":  # Elastic Load Balancing takes no other
        yield from _targets(group, member)
    if Process.HEALTH_CHECK not in group.suspended and not member.fault and (found := _fault(group, member, seen, now)):
        yield Condemn(member.instance_id, found)


def _targets(group: Group, member: Member) -> Iterator[Step]:
    """Into target groups that it isn't in yet, out of those that the group has no more.

    "Suspend-resume processes", AddToLoadBalancer: what was launched meanwhile is not added later.
    """
    if new := frozenset(group.target_groups) - member.targets:
        yield Register(member.instance_id, new, skip=Process.ADD_TO_LOAD_BALANCER in group.suspended)
    if old := member.targets - frozenset(group.target_groups):
        yield Deregister(member.instance_id, old)


def _fault(group: Group, member: Member, seen: Seen, now: float) -> Fault | None:
    """What "Health checks for instances in an Auto Scaling group" finds.

    No grace for an instance that does not run. EC2 waits "a few minutes" before an impaired one counts as unhealthy;
    here it does at once.
    """
    if not seen.alive:
        return Fault.GONE
    if now < (member.in_service or 0.0) + group.grace:
        return None
    if seen.impaired:
        return Fault.IMPAIRED
    if group.elb_health and any(seen.targets.get(target) == "unhealthy" for target in group.target_groups):
        return Fault.TARGET
    return None


def _draining(group: Group, seen: Seen) -> bool:
    """Whether a load balancer still ends requests on it. An instance that does not run has none."""
    return seen.runs and "draining" in seen.targets.values()


def _go(group: Group, member: Member, seen: Seen, now: float) -> Iterator[Step]:
    """As in "How lifecycle hooks work": first deregistered and drained, then held by the hooks, then terminated."""
    hooks = () if member.forced else group.hooks_of(Transition.TERMINATING)
    if member.targets:
        yield Deregister(member.instance_id, member.targets)
    elif member.state is State.TERMINATING:
        if _draining(group, seen) and not member.forced:
            return
        if hooks:
            yield Hold(member.instance_id, State.TERMINATING_WAIT, hooks)
        else:
            yield from _end(member, seen)
    elif member.state is State.TERMINATING_WAIT:
        outcomes = [wait.outcome(now) for wait in member.waits]
        # ABANDON "stops any remaining actions, such as other lifecycle hooks", and lets it terminate all the same.
        if member.forced or Result.ABANDON in outcomes or None not in outcomes:
            yield Move(member.instance_id, State.TERMINATING_PROCEED)
    else:
        yield from _end(member, seen)


def _end(member: Member, seen: Seen) -> Iterator[Step]:
    if seen.ec2 == "terminated":
        yield Forget(member.instance_id)
    elif seen.ec2 != "shutting-down":
        yield End(member.instance_id)


# --- the group --------------------------------------------------------------------------------------------------------


def _replace(group: Group, members: Sequence[Member]) -> Iterator[Step]:
    """The unhealthy are terminated; that they are missed then is `_scale`'s business.

    "Health checks …: How Amazon EC2 Auto Scaling minimizes downtime": those that do not run, or that a user said so of,
    at once; others up to a tenth of the group at a time (one at least), and not while the group is short and grows.
    """
    if {Process.REPLACE_UNHEALTHY, Process.TERMINATE} & group.suspended:
        return
    unhealthy = [member for member in members if member.state is State.IN_SERVICE and member.fault]
    urgent = [member for member in unhealthy if member.fault in (Fault.GONE, Fault.TOLD)]
    others = [member for member in unhealthy if member not in urgent]
    serving = sum(member.state is State.IN_SERVICE for member in members) - len(unhealthy)
    coming = any(member.state in COMING for member in members)
    going = sum(member.state in GOING and member.fault in (Fault.IMPAIRED, Fault.TARGET) for member in members)
    if coming and serving + len(others) <= 0.9 * group.desired:
        others = []
    room = max(1, group.desired // 10) - (going if coming else 0)
    for member in urgent + others[: max(0, room)]:
        assert member.fault is not None
        yield Retire(member.instance_id, member.fault)


def _scale(group: Group, members: Sequence[Member], seen: Mapping[str, Seen], now: float) -> Iterator[Step]:
    """As many as desired, no more and no fewer, spread over the zones and over spot and on-demand.

    Two kinds may be one more for a while: who takes the place of one at risk of an interruption ("Use Capacity
    Rebalancing …") and who evens out the zones ("Rebalancing activities": "launches new instances before terminating").
    """
    counted = [member for member in members if member.state in COUNTED]
    rebalances = group.rebalance_capacity and Process.TERMINATE not in group.suspended
    at_risk = [member for member in counted if rebalances and seen.get(member.instance_id, GONE).at_risk]
    safe = [member for member in counted if member not in at_risk]
    evening = sum(member.extra and member.state in COMING for member in counted)
    surplus = len(counted) - group.desired - len(at_risk) - evening
    if at_risk and sum(member.state is State.IN_SERVICE for member in safe) >= group.desired:
        yield from (Retire(member.instance_id, "an EC2 instance rebalance recommendation") for member in at_risk)
    elif len(safe) < group.desired:
        yield from _launches(group, counted, group.desired - len(safe), now)
    elif surplus > 0:
        why = "a difference between desired and actual capacity"
        for member in victims(group, _may_go(group, counted), counted, surplus):
            failure = "" if member.state is State.IN_SERVICE else "the group's desired capacity was lowered"
            yield Retire(member.instance_id, why, failure, cancelled=True)
    elif not at_risk:
        yield from _even_out(group, counted, now)


def _may_go(group: Group, counted: Sequence[Member]) -> list[Member]:
    """Whom scaling in may take.

    Protection begins with InService ("Use instance scale-in protection"), and so does what suspending Terminate keeps.
    """
    kept = Process.TERMINATE in group.suspended
    return [member for member in counted if member.state is not State.IN_SERVICE or not (kept or member.protected)]


def _launches(group: Group, counted: Sequence[Member], missing: int, now: float) -> Iterator[Launch]:
    if Process.LAUNCH in group.suspended or now < group.retry_at:
        return
    zones = Counter(member.zone for member in counted)
    on_demand = sum(not member.spot for member in counted)
    for capacity in itertools.islice(itertools.count(len(counted)), missing):
        spot = on_demand >= group.distribution.on_demand(max(group.desired, capacity + 1))
        zone = next_zone(group.zones, zones)
        zones[zone] += 1
        on_demand += not spot
        yield Launch(zone, spot, capacity)


def _even_out(group: Group, counted: Sequence[Member], now: float) -> Iterator[Launch]:
    """One more in the zone with the fewest, if who then goes is of one that has two more, or that the group has left.

    Only of a group in which nothing else goes on, so that it moves one at a time.
    """
    quiet = all(member.state is State.IN_SERVICE and not member.fault for member in counted)
    if {Process.AZ_REBALANCE, Process.TERMINATE} & group.suspended or not quiet:
        return
    zones = Counter(member.zone for member in counted)
    for launch in _launches(group, counted, 1, now):
        new = Member("", launch.zone, State.IN_SERVICE, now, now, (group.template, sys.maxsize), spot=launch.spot)
        going = victims(group, _may_go(group, counted), [*counted, new], 1)
        if going and (going[0].zone not in group.zones or zones[going[0].zone] - zones[launch.zone] >= 2):
            yield replace(launch, extra=True)
