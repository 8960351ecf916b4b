"""A batch of changes to a hosted zone: all of them or none, and refused as Route 53 refuses. Pure.

From "ChangeResourceRecordSets" and "ResourceRecordSet" (Route 53 API reference) and "DNS domain name format" (developer
guide). moto carries out the changes before a bad one, lets an existing record be created again with other values,
deletes by a set's identifier whatever the name, and takes a deletion that names old values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any

from moto.route53.exceptions import InvalidActionValue, InvalidInput, Route53ClientError
from moto.route53.models import RecordSet
from moto.route53.utils import validate_domain_name

POLICIES = ("Weight", "Region", "Failover", "GeoLocation", "MultiValueAnswer")
_HEAVIEST = 255


class InvalidBatch(Route53ClientError):
    """InvalidChangeBatch, which tells everything that is wrong with the batch."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("InvalidChangeBatch", f"[{', '.join(problems)}]")


def normal(name: str) -> str:
    r"""A name as Route 53 tells it: in lower case, with a last dot, and `*` as `\052`."""
    return name.lower().rstrip(".").replace("*", "\\052") + "."


def key(record: RecordSet) -> tuple[str, str, str]:
    """What tells a record set from the others of its zone."""
    return record.name, str(record.type), record.set_identifier or ""


def order(record: RecordSet) -> tuple[str, str, str]:
    """The order in which record sets are listed: by the labels from the last on, then by type and identifier."""
    return position(*key(record))


def position(name: str, kind: str = "", identifier: str = "") -> tuple[str, str, str]:
    return ".".join(reversed(normal(name).rstrip(".").split("."))), kind, identifier


def changed(zone: str, records: Sequence[RecordSet], changes: Sequence[Mapping[str, Any]]) -> list[RecordSet]:
    """The records after the changes. Raises Route53ClientError."""
    left = {key(record): record for record in records}
    problems: list[str] = []
    for change in changes:
        action, wanted = str(change["Action"]), change["ResourceRecordSet"]
        if action not in ("CREATE", "UPSERT", "DELETE"):
            raise InvalidActionValue(action)
        validate_domain_name(wanted["Name"], code="InvalidChangeBatch")
        _check_form(action, wanted)
        record = RecordSet(_normalised(wanted))  # type: ignore[abstract]  # moto instantiates it, too
        if action == "DELETE":
            problem = _undeletable(record, left.get(key(record)), zone)
        else:
            problem = _unwritable(record, left, zone, create=action == "CREATE")
        if problem:
            problems.append(problem)
        elif action == "DELETE":
            del left[key(record)]
        else:
            left[key(record)] = record
    if problems:
        raise InvalidBatch(problems)
    return list(left.values())


def _check_form(action: str, wanted: Mapping[str, Any]) -> None:
    """Raises InvalidInput for a record set that is incomplete."""
    identifier = wanted.get("SetIdentifier")
    where = f"in Change with [Action={action}, Name={normal(wanted['Name'])}, Type={wanted['Type']}, "
    where += f"SetIdentifier={'null' if identifier is None else identifier}]"
    values = wanted.get("ResourceRecords") and wanted.get("TTL") is not None
    kinds = [kind for kind in (wanted.get("AliasTarget"), values, wanted.get("TrafficPolicyInstanceId")) if kind]
    if len(kinds) != 1:
        found = "none" if not kinds else "more than one"
        one_of = "[AliasTarget, all of [TTL, and ResourceRecords], or TrafficPolicyInstanceId]"
        raise InvalidInput(f"Invalid request: Expected exactly one of {one_of}, but found {found} {where}")
    policies = [policy for policy in POLICIES if wanted.get(policy) is not None]
    if policies and identifier is None:
        raise InvalidInput(f"Invalid request: Missing field 'SetIdentifier' {where}")
    if identifier is not None and len(policies) != 1:
        found = "none" if not policies else "more than one"
        raise InvalidInput(
            f"Invalid request: Expected exactly one of [{', '.join(POLICIES)}], but found {found} {where}"
        )
    if not 0 <= int(wanted.get("Weight") or 0) <= _HEAVIEST:
        raise InvalidInput(f"Invalid request: Weight must be between 0 and {_HEAVIEST} {where}")


def _normalised(wanted: Mapping[str, Any]) -> dict[str, Any]:
    record = {**wanted, "Name": normal(wanted["Name"])}
    if wanted.get("ResourceRecords"):
        record["ResourceRecords"] = [value["Value"] for value in wanted["ResourceRecords"]]
    if alias := wanted.get("AliasTarget"):
        record["AliasTarget"] = {**alias, "DNSName": normal(alias["DNSName"])}
    return record


def _undeletable(record: RecordSet, there: RecordSet | None, zone: str) -> str | None:
    if there is None:
        return f"Tried to delete resource record set {_named(record)} but it was not found"
    if _content(record) != _content(there):
        what = "but the values provided do not match the current values"
        return f"Tried to delete resource record set {_named(record)} {what}"
    if record.name == normal(zone) and record.type in ("NS", "SOA"):
        count = "at least one NS" if record.type == "NS" else "exactly one SOA"
        return f"A HostedZone must contain {count} record for the zone itself."
    return None


def _unwritable(
    record: RecordSet, left: Mapping[tuple[str, str, str], RecordSet], zone: str, *, create: bool
) -> str | None:
    apex, kind = normal(zone), str(record.type)
    if record.name != apex and not record.name.endswith(f".{apex}"):
        return f"RRSet with DNS name {record.name} is not permitted in zone {apex}"
    if kind == "CNAME" and record.name == apex:
        return f"RRSet of type CNAME with DNS name {record.name} is not permitted at apex in zone {apex}"
    if create and key(record) in left:
        return f"Tried to create resource record set {_named(record)} but it already exists"
    for other in left.values():
        if other.name != record.name or key(other) == key(record):
            continue
        if other.type != kind and "CNAME" in (other.type, kind):
            clash = f"a conflicting RRSet of type {other.type} with the same DNS name already exists in zone {apex}"
            return f"RRSet of type {kind} with DNS name {record.name} is not permitted because {clash}"
        if other.type == kind and _policy(other) != _policy(record):
            what = f"RRSet with DNS name {record.name}, type {kind}, SetIdentifier {record.set_identifier or 'null'}"
            return f"{what} cannot be created as other RRSets exist with the same name and type but another policy"
    return next(filter(None, (_illegal(kind, value) for value in record.records)), None)


def _illegal(kind: str, value: str) -> str | None:
    """What is wrong with an address: what other types hold is not looked into."""
    try:
        if kind == "A":
            IPv4Address(value)
        elif kind == "AAAA":
            IPv6Address(value)
    except AddressValueError:
        version = "4" if kind == "A" else "6"
        problem = f"{kind}RRDATAIllegalIPv{version}Address (Value is not a valid IPv{version} address)"
        return f"Invalid Resource Record: 'FATAL problem: {problem} encountered with '{value}''"
    return None


def _named(record: RecordSet) -> str:
    identifier = f", set-identifier='{record.set_identifier}'" if record.set_identifier else ""
    return f"[name='{record.name}', type='{record.type}'{identifier}]"


def _policy(record: RecordSet) -> str:
    """The routing policy: of those of one name and type it is the same."""
    held = (record.weight, record.region, record.failover, record.geo_location, record.multi_value_answer)
    return next((name for name, value in zip(POLICIES, held, strict=True) if value is not None), "simple")


def _content(record: RecordSet) -> list[Any]:
    """All that a deletion has to name."""
    ttl = None if record.ttl is None else int(record.ttl)
    plain = [record.weight, record.region, record.failover, record.geo_location, record.multi_value_answer]
    return [key(record), ttl, sorted(record.records or []), record.alias_target, record.health_check_id, *plain]
