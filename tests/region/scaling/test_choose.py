"""Who goes when a group gets smaller ("Configure termination policies for Amazon EC2 Auto Scaling")."""

from __future__ import annotations

from typing import Any

import pytest

from region.scaling.choose import victims
from region.scaling.words import Distribution, Group, Member, State

A, B = "us-east-1a", "us-east-1b"


def member(name: str, launched: float = 0.0, version: int = 1, template: str = "lt-now", **changes: Any) -> Member:
    return Member(name, **{"state": State.IN_SERVICE, "launched": launched, "template": (template, version), **changes})


CASES: dict[str, tuple[list[Member], int, dict[str, Any], list[str]]] = {
    "the zone with the most": (
        [member("a1", 3, zone=A), member("a2", 2, zone=A), member("b1", 1, zone=B)],
        1,
        {},
        ["a2"],
    ),
    "zones are kept even": (
        [member("a1", 1, zone=A), member("a2", 2, zone=A), member("b1", 3, zone=B), member("b2", 4, zone=B)],
        2,
        {},
        ["a1", "b1"],
    ),
    "the default: the oldest version": ([member("new", 1, 3), member("old", 2, 2)], 1, {}, ["old"]),
    "the default: a template that is not the group's goes before": (
        [member("other", 2, 9, "lt-before"), member("old", 1, 1)],
        1,
        {},
        ["other"],
    ),
    "a zone that the group has left": (
        [member("a1", 1), member("a2", 2), member("b1", 3, zone=B)],
        1,
        {"zones": (A,)},
        ["b1"],
    ),
    "OldestInstance": ([member("b", 1, 2), member("a", 2, 1)], 1, {"policies": ("OldestInstance",)}, ["b"]),
    "NewestInstance": ([member("b", 1, 1), member("a", 2, 2)], 1, {"policies": ("NewestInstance",)}, ["a"]),
    "OldestLaunchTemplate, then NewestInstance": (
        [member("a", 1, 1), member("b", 2, 1), member("c", 3, 2)],
        1,
        {"policies": ("OldestLaunchTemplate", "NewestInstance")},
        ["b"],
    ),
    "what is not in service yet goes before what serves": (
        [member("serves", 1), member("comes", 2, 3, state=State.PENDING_WAIT)],
        1,
        {},
        ["comes"],
    ),
    "too many on demand": (
        [member("od1", 1), member("od2", 2), member("spot", 0, spot=True)],
        1,
        {"distribution": Distribution(1, 0)},
        ["od1"],
    ),
    "the base stays on demand": (
        [member("od", 0), member("spot1", 2, spot=True), member("spot2", 1, spot=True)],
        1,
        {"distribution": Distribution(1, 0)},
        ["spot2"],
    ),
    "no more than there are": ([member("a")], 3, {}, ["a"]),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_who_goes(case: tuple[list[Member], int, dict[str, Any], list[str]]) -> None:
    members, number, changes, expected = case
    group = Group("web", template="lt-now", **{"zones": (A, B), **changes})
    assert [member.instance_id for member in victims(group, members, members, number)] == expected


def test_a_protected_one_counts_in_its_zone_and_does_not_go() -> None:
    protected = [member("a1", 1, zone=A, protected=True), member("a2", 2, zone=A, protected=True)]
    others = [member("a3", 4, zone=A), member("b1", 3, zone=B)]
    assert [each.instance_id for each in victims(Group("web", zones=(A, B)), others, [*protected, *others], 1)] == [
        "a3"
    ]
