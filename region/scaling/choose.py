"""Which zone gets the next instance, and which members go first when a group gets smaller.

Pure, and without chance, so that a run can be repeated: where AWS takes one at random, the oldest goes here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from region.scaling.words import Group, Member, State

Key = Callable[[Member], tuple[object, ...]]


def next_zone(zones: Sequence[str], taken: Mapping[str, int]) -> str:
    """The zone with the fewest; the first of several."""
    return min(zones, key=lambda zone: taken.get(zone, 0))


def oldest_template(group: Group) -> Callable[[Member], tuple[bool, int]]:
    """For "OldestLaunchTemplate": of a template that is not the group's any more first, then the oldest version."""
    return lambda member: (member.template[0] == group.template, member.template[1])


def victims(group: Group, candidates: Iterable[Member], counted: Sequence[Member], number: int) -> list[Member]:
    """Who of the candidates goes. `counted`: all that the zones' balance is reckoned of.

    "Configure termination policies for Amazon EC2 Auto Scaling": first spot or on-demand, whichever there is too much
    of; then the zone with the most, or one that the group has left; then the policies in their order. What is not in
    service yet goes before all that serves: that is not documented, and costs the least.
    """
    left, remaining, chosen = list(candidates), list(counted), list[Member]()
    while left and len(chosen) < number:
        pool = [member for member in left if member.state is not State.IN_SERVICE] or left
        pool = _of_the_surplus_kind(group, pool, remaining)
        zones = Counter(member.zone for member in remaining)
        size = {zone: number if zone in group.zones else len(remaining) + 1 for zone, number in zones.items()}
        most = max(size[member.zone] for member in pool)
        pool = [member for member in pool if size[member.zone] == most]
        for policy in group.policies:
            pool = _narrow(group, policy, pool)
        member = min(pool, key=lambda member: (member.launched, member.instance_id))
        chosen.append(member)
        left.remove(member)
        remaining.remove(member)
    return chosen


def _of_the_surplus_kind(group: Group, pool: list[Member], remaining: Sequence[Member]) -> list[Member]:
    too_many = sum(not member.spot for member in remaining) > group.distribution.on_demand(len(remaining) - 1)
    return [member for member in pool if member.spot is not too_many] or pool


def _narrow(group: Group, policy: str, pool: list[Member]) -> list[Member]:
    """Those of the pool that the policy finds equally good to lose."""
    match policy:
        case "OldestInstance":
            first = min(member.launched for member in pool)
            return [member for member in pool if member.launched == first]
        case "NewestInstance":
            last = max(member.launched for member in pool)
            return [member for member in pool if member.launched == last]
        case "OldestLaunchTemplate" | "Default":
            age = oldest_template(group)
            oldest = min(age(member) for member in pool)
            return [member for member in pool if age(member) == oldest]
        case _:  # OldestLaunchConfiguration, ClosestToNextInstanceHour, AllocationStrategy: nothing to tell them apart
            return pool
