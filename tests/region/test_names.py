"""What the resolver says about a name, as tables."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from region.names import Answer, Record, Zone, answer

SOA = Record("example.com", "SOA", ("ns-1.example. root.example. 1 7200 900 1209600 86400",), 900)
PUBLIC = Zone(
    "example.com",
    (
        SOA,
        Record("example.com", "A", alias="dualstack.127.77.1.20"),
        Record("web.example.com", "A", ("10.0.0.1", "10.0.0.2"), 30),
        Record("web.example.com", "TXT", ('"v=1"',)),
        Record("www.example.com", "CNAME", ("Web.Example.com.",)),
        Record("away.example.com", "CNAME", ("cdn.example.net",)),
        Record("alias.example.com", "A", alias="web.example.com"),
        Record("loop.example.com", "CNAME", ("loop.example.com",)),
        Record("me.example.com", "A", alias="me.example.com"),
        Record("*.box.example.com", "A", ("10.0.0.3",)),
        Record("one.box.example.com", "A", ("10.0.0.4",)),
        Record("deep.one.box.example.com", "TXT", ('"x"',)),
        Record("failover.example.com", "A", ("10.0.0.6",), set_id="b"),
        Record("failover.example.com", "A", ("10.0.0.5",), set_id="a", preferred=True),
    ),
)
PRIVATE = Zone("inside.example.com", (Record("db.inside.example.com", "A", ("10.0.0.9",)),), private=True)
HIDDEN = Zone("inside.example.com", (Record("www.inside.example.com", "A", ("10.0.0.8",)),))
ZONES = (PUBLIC, HIDDEN, PRIVATE)
NETWORKS = ("172.31.0.0/16",)


def told(name: str, kind: str = "A") -> tuple[list[str], bool]:
    """The values of the answer, in order, and whether the name exists."""
    found = answer(ZONES, name, kind, networks=NETWORKS, chance=random.Random(1))
    return [value for record in found.records for value in record.values], found.exists


@pytest.mark.parametrize(
    ("name", "kind", "values"),
    [
        ("web.example.com", "A", ["10.0.0.1", "10.0.0.2"]),
        ("WEB.example.COM.", "A", ["10.0.0.1", "10.0.0.2"]),
        ("web.example.com", "TXT", ['"v=1"']),
        ("example.com", "A", ["127.77.1.20"]),
        ("www.example.com", "A", ["web.example.com", "10.0.0.1", "10.0.0.2"]),
        ("www.example.com", "CNAME", ["Web.Example.com."]),
        ("alias.example.com", "A", ["10.0.0.1", "10.0.0.2"]),
        ("any.box.example.com", "A", ["10.0.0.3"]),
        ("far.below.box.example.com", "A", ["10.0.0.3"]),
        ("one.box.example.com", "A", ["10.0.0.4"]),
        ("failover.example.com", "A", ["10.0.0.5"]),
        ("db.inside.example.com", "A", ["10.0.0.9"]),
        ("ip-172-31-5-9.ec2.internal", "A", ["172.31.5.9"]),
        ("ip-172-31-5-9.eu-west-1.compute.internal", "A", ["172.31.5.9"]),
        ("9.5.31.172.in-addr.arpa", "PTR", ["ip-172-31-5-9.ec2.internal"]),
        ("ec2-127-77-1-10.compute-1.amazonaws.com", "A", ["127.77.1.10"]),
    ],
)
def test_what_is_there_is_told(name: str, kind: str, values: list[str]) -> None:
    assert told(name, kind) == (values, True)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("web.example.com", "AAAA"),  # or getaddrinfo would think that the name doesn't exist
        ("example.com", "AAAA"),
        ("box.example.com", "A"),  # others are below it
        ("any.box.example.com", "AAAA"),
        ("inside.example.com", "A"),
        ("me.example.com", "A"),  # an alias in a circle
        ("ip-172-31-5-9.ec2.internal", "AAAA"),
    ],
)
def test_a_name_that_is_there_without_such_a_record(name: str, kind: str) -> None:
    assert told(name, kind) == ([], True)


@pytest.mark.parametrize(
    "name",
    [
        "none.example.com",
        "x.web.example.com",
        "x.one.box.example.com",  # a wildcard does not reach below a name that exists
        "google.com",
        "localhost",
        "web",
        "",
        "www.inside.example.com",  # the private zone hides the public one
        "ip-10-0-0-1.ec2.internal",
        "ip-999-31-5-9.ec2.internal",
        "1.0.0.10.in-addr.arpa",
        "badexample.com",
    ],
)
def test_what_is_not_there_does_not_exist(name: str) -> None:
    assert told(name) == ([], False)


def test_a_name_that_leads_out_of_the_zones_does_not_exist_and_its_alias_is_told() -> None:
    assert told("away.example.com") == (["cdn.example.net"], False)


def test_names_in_a_circle_end() -> None:
    values, exists = told("loop.example.com")
    assert set(values) == {"loop.example.com"}
    assert exists


def test_a_zone_says_how_long_nothing_may_be_remembered() -> None:
    assert answer(ZONES, "none.example.com", "A").authority == (SOA,)
    assert answer(ZONES, "google.com", "A") == Answer(False)


def weighted(**weights: int) -> Zone:
    return Zone("z", tuple(Record("w.z", "A", (name,), set_id=name, weight=w) for name, w in weights.items()))


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        ({"a": 1, "b": 0}, {"a": 1.0}),
        ({"a": 90, "b": 10}, {"a": 0.9, "b": 0.1}),
        ({"a": 0, "b": 0}, {"a": 0.5, "b": 0.5}),
    ],
)
def test_weights_are_shares_of_the_answers(weights: dict[str, int], shares: dict[str, float]) -> None:
    zone, chance = weighted(**weights), random.Random(7)
    counted = Counter(answer([zone], "w.z", "A", chance=chance).records[0].values[0] for _ in range(1000))
    assert {name: count / 1000 for name, count in counted.items()} == pytest.approx(shares, abs=0.05)


def test_a_multivalue_answer_has_eight_values_at_most() -> None:
    records = tuple(Record("m.z", "A", (f"10.0.0.{n}",), set_id=str(n), multivalue=True) for n in range(12))
    assert len(answer([Zone("z", records)], "m.z", "A").records) == 8
