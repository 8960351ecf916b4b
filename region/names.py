"""How a name is answered: hosted zones and their records as words, and what a resolver says about them. Pure.

It follows the Route 53 Developer Guide: "Choosing a routing policy" (weights, multivalue answers), "Choosing between
alias and non-alias records", "Considerations when working with a private hosted zone", and RFC 1034, 2308 and 4592 for
what a zone says about a name that it doesn't have. Names are in lower case and without the last dot.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network

LONGEST_CHAIN = 8
"""How many CNAMEs and aliases are followed; a chain that is longer goes in circles."""
MOST_VALUES = 8
"""Of a multivalue answer ("Multivalue answer routing")."""
ALIAS_TTL = 60
"""Of an alias to a load balancer, in seconds ("Choosing between alias and non-alias records")."""
_OWN_TTL = 60  # of an instance's own name: a VPC's resolver says as much
_NEGATIVE_TTL = 900  # seconds for which a name that isn't there may be remembered: a zone's SOA as Route 53 makes it


@dataclass(frozen=True)
class Record:
    """A resource record set: `values` as Route 53 writes them, or `alias`, the name that it stands for.

    Those of one name and type have a `set_id` each and a policy: `weight`, `multivalue`, or another, of which the first
    record is the answer, `preferred` before all.
    """

    name: str
    type: str
    values: tuple[str, ...] = ()
    ttl: int = 300
    alias: str = ""
    set_id: str = ""
    weight: int | None = None
    multivalue: bool = False
    preferred: bool = False


@dataclass(frozen=True)
class Zone:
    """A hosted zone. `private` zones come before public ones of the same name."""

    name: str
    records: tuple[Record, ...] = ()
    private: bool = False

    @cached_property
    def sets(self) -> Mapping[str, tuple[Record, ...]]:
        """The records of each name."""
        found: dict[str, tuple[Record, ...]] = {}
        for record in self.records:
            found[record.name] = (*found.get(record.name, ()), record)
        return found

    @cached_property
    def parents(self) -> frozenset[str]:
        """Names of the zone under which there are others: they exist, though perhaps without a record of their own."""
        return frozenset(parent for name in self.sets for parent in _ancestors(name))

    def at(self, name: str) -> tuple[Record, ...] | None:
        """The records of a name, a wildcard's if it is the nearest (RFC 4592); None when the name doesn't exist."""
        if name in self.sets:
            return self.sets[name]
        if name in self.parents or name == self.name:
            return ()
        closest = next((one for one in _ancestors(name) if one in self.sets or one in self.parents), self.name)
        wild = self.sets.get(f"*.{closest}")
        return None if wild is None else tuple(replace(record, name=name) for record in wild)


@dataclass(frozen=True)
class Answer:
    """What the resolver says: `exists` False is NXDOMAIN. `zone` is the one that knows, None when none does."""

    exists: bool
    records: tuple[Record, ...] = ()
    zone: Zone | None = None
    authority: tuple[Record, ...] = field(default=())


def answer(
    zones: Sequence[Zone], name: str, kind: str, *, networks: Iterable[str] = (), chance: random.Random | None = None
) -> Answer:
    """The answer to a question for the records of type `kind` ("A", "TXT") at `name`.

    `networks` are those (CIDR blocks) whose addresses have names of their own, as those of a VPC do. `chance` picks
    among records with weights.
    """
    name = name.lower().rstrip(".")
    chance = chance or random.Random()  # noqa: S311 - which of two addresses is told is no secret
    found = _own(name, kind, [IPv4Network(network) for network in networks])
    return found or _follow(zones, name, kind, chance, LONGEST_CHAIN)


def _follow(zones: Sequence[Zone], name: str, kind: str, chance: random.Random, left: int) -> Answer:
    zone = _zone_of(zones, name)
    if zone is None:
        return Answer(False)
    here = zone.at(name)
    if here is None:
        return Answer(False, zone=zone, authority=_soa(zone))
    records: list[Record] = []
    for record in _chosen([one for one in here if one.type == kind], chance):
        records += _values(zones, record, kind, chance, left)
    if records:
        return Answer(True, tuple(records), zone)
    for record in _chosen([one for one in here if one.type == "CNAME"], chance):
        target = record.values[0].lower().rstrip(".") if record.values else record.alias
        after = _follow(zones, target, kind, chance, left - 1) if left else Answer(True)
        # Whether the name at the end of the chain exists is the whole's answer (RFC 6604, section 3).
        return Answer(after.exists, (replace(record, values=(target,), alias=""), *after.records), zone)
    return Answer(True, zone=zone, authority=_soa(zone))


def _values(zones: Sequence[Zone], record: Record, kind: str, chance: random.Random, left: int) -> tuple[Record, ...]:
    """The record with its values; those of an alias are found where it points, and told under its own name."""
    if not record.alias:
        return (record,)
    if address := _address(record.alias):
        return (replace(record, values=(address,), alias="", ttl=ALIAS_TTL),) if kind == "A" else ()
    if not left:
        return ()
    there = _follow(zones, record.alias, kind, chance, left - 1).records
    return tuple(replace(one, name=record.name) for one in there if one.type == kind)


def _address(alias: str) -> str:
    """The address that an alias to a load balancer is: a region's have no name, and `dualstack.` says nothing here."""
    text = alias.removeprefix("dualstack.")
    return text if re.fullmatch(r"\d{1,3}(\.\d{1,3}){3}", text) else ""


def _chosen(records: Sequence[Record], chance: random.Random) -> list[Record]:
    """Those of the records of one name and type that are the answer this time."""
    if not records:
        return []
    if records[0].multivalue:
        return chance.sample(list(records), min(len(records), MOST_VALUES))
    if records[0].weight is not None:
        weights = [record.weight or 0 for record in records]
        # All of weight 0 are equal ("Weighted routing").
        return chance.choices(list(records), weights if any(weights) else [1] * len(records))
    return [next((record for record in records if record.preferred), records[0])]


def _zone_of(zones: Sequence[Zone], name: str) -> Zone | None:
    """The zone that knows most about a name; a private one hides a public one of the same name altogether."""
    above = {name, *_ancestors(name)}
    return max(
        (zone for zone in zones if zone.name in above),
        key=lambda zone: (len(zone.name), zone.private),
        default=None,
    )


def _soa(zone: Zone) -> tuple[Record, ...]:
    own = [record for record in zone.sets.get(zone.name, ()) if record.type == "SOA"]
    return tuple(replace(record, ttl=min(record.ttl, _NEGATIVE_TTL)) for record in own)


def _ancestors(name: str) -> list[str]:
    """`b.c` and `c` of `a.b.c`."""
    labels = name.split(".")
    return [".".join(labels[first:]) for first in range(1, len(labels))]


_PRIVATE = re.compile(r"ip-(\d+)-(\d+)-(\d+)-(\d+)\.(ec2\.internal|[a-z0-9-]+\.compute\.internal)")
_PUBLIC = re.compile(r"ec2-(127)-(\d+)-(\d+)-(\d+)\.(compute-1|[a-z0-9-]+\.compute)\.amazonaws\.com")
_REVERSE = re.compile(r"(\d+)\.(\d+)\.(\d+)\.(\d+)\.in-addr\.arpa")


def _own(name: str, kind: str, networks: Sequence[IPv4Network]) -> Answer | None:
    """An instance's own names, and the name of an address ("Amazon EC2 instance hostname types", EC2 User Guide)."""
    if match := _PRIVATE.fullmatch(name) or _PUBLIC.fullmatch(name):
        address = _known(match.groups()[:4], networks, public=name.startswith("ec2-"))
        return None if address is None else _one(name, "A", address, kind)
    if match := _REVERSE.fullmatch(name):
        address = _known(match.groups()[::-1], networks)
        return None if address is None else _one(name, "PTR", f"ip-{address.replace('.', '-')}.ec2.internal", kind)
    return None


def _one(name: str, kind: str, value: str, asked: str) -> Answer:
    return Answer(True, (Record(name, kind, (value,), _OWN_TTL),) if asked == kind else ())


def _known(numbers: Sequence[str], networks: Sequence[IPv4Network], *, public: bool = False) -> str | None:
    try:
        address = IPv4Address(".".join(numbers))
    except ValueError:
        return None
    return str(address) if public or any(address in network for network in networks) else None
