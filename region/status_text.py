"""A region's status for a person: tables of cells. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from region.durations import said

Row = tuple[str, ...]
NOTHING = "-"


@dataclass(frozen=True)
class Table:
    columns: Row
    rows: Sequence[Row]


def headline(status: Mapping[str, Any], now: float, since: str) -> str:
    up = said(max(0.0, now - float(status["started"])))
    return f"region {status['name']} is up at {status['endpoint']} since {since} ({up})"


def tables(status: Mapping[str, Any]) -> list[Table]:
    """What there is, a table a kind; kinds that there are none of are left out."""
    every = [
        _instances(status["instances"]),
        _groups(status["groups"]),
        _balancers(status["load_balancers"]),
        faults_table(status["faults"]),
        _images(status["images"]),
    ]
    return [table for table in every if table.rows]


def _instances(found: Sequence[Mapping[str, Any]]) -> Table:
    columns = ("INSTANCE", "STATE", "IMAGE", "PRIVATE", "PUBLIC", "LIFECYCLE", "GROUP", "TARGETS")
    rows = [
        (
            one["id"],
            f"{one['state']}, impaired" if one["impaired"] and one["state"] == "running" else one["state"],
            one["image"],
            one["private_ip"] or NOTHING,
            one["public_ip"] or NOTHING,
            one["lifecycle"],
            one["group"] or NOTHING,
            " ".join(f"{group}:{state}" for group, state in one["targets"].items()) or NOTHING,
        )
        for one in found
    ]
    return Table(columns, rows)


def _groups(found: Sequence[Mapping[str, Any]]) -> Table:
    columns = ("GROUP", "IN SERVICE", "DESIRED", "MIN", "MAX", "OTHERWISE", "SUSPENDED")
    rows = []
    for one in found:
        others = Counter(state for state in one["instances"].values() if state != "InService")
        sizes = tuple(str(one[size]) for size in ("in_service", "desired", "min", "max"))
        otherwise = " ".join(f"{count}x{state}" for state, count in others.items())
        rows.append((one["name"], *sizes, otherwise or NOTHING, " ".join(one["suspended"]) or NOTHING))
    return Table(columns, rows)


def _balancers(found: Sequence[Mapping[str, Any]]) -> Table:
    rows = []
    for one in found:
        ports = " ".join(map(str, one["ports"])) or NOTHING
        for group, targets in one["target_groups"].items() or [(NOTHING, {})]:
            health = Counter(str(state) for state in targets.values())
            told = " ".join(f"{count}x{state}" for state, count in health.items()) or NOTHING
            rows.append((one["name"], one["dns_name"], ports, group, told))
    return Table(("LOAD BALANCER", "ADDRESS", "PORTS", "TARGET GROUP", "TARGETS"), rows)


def _images(found: Sequence[Mapping[str, Any]]) -> Table:
    return Table(("IMAGE", "NAME", "STATE"), [(one["id"], one["name"], one["state"]) for one in found])


def faults_table(found: Sequence[Mapping[str, Any]]) -> Table:
    return Table(("FAULT", "OF", "WHAT"), [(str(one["id"]), str(one["of"]), _fault(one)) for one in found])


_SECONDS = frozenset({"seconds", "for", "slow", "hang", "refused", "unavailable", "unauthorized", "tags_late"})


def _fault(one: Mapping[str, Any]) -> str:
    """`kind=latency calls=ec2:* seconds=200ms`: its fields as they were given, in their order."""
    return " ".join(
        f"{name.replace('_', '-')}={_value(name, value)}"
        for name, value in one.items()
        if name not in ("id", "of", "over", "since")
    )


def _value(name: str, value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case int() | float() if name in _SECONDS:
            return said(value)
        case float():
            return f"{value:g}"
        case list():
            return ",".join(map(str, value))
        case dict():
            return ",".join(f"{key}:{text}" for key, text in value.items())
        case _:
            return str(value)
