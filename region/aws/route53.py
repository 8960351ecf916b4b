"""Route 53: moto's, with changes that are whole or not at all, lists that have an end, and zones for the resolver.

What is published are words that never change: the resolver reads them without a lock, and each change of a zone makes
them anew. From the Route 53 API reference: "ChangeResourceRecordSets", "GetChange", "ListResourceRecordSets",
"ListHostedZonesByName", "CreateHostedZone".
"""

from __future__ import annotations

import secrets
import string
from typing import Any, ClassVar

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.route53 import urls
from moto.route53.exceptions import InvalidInput, Route53ClientError
from moto.route53.models import FakeZone, RecordSet, Route53Backend, route53_backends
from moto.route53.responses import Route53 as MotoRoute53

from region.aws import record_sets
from region.aws.record_sets import normal, position
from region.aws.world import World
from region.names import Record, Zone

_LONGEST_PAGE = 300
"""Record sets of one answer, at most ("ListResourceRecordSets")."""
_LETTERS = string.ascii_uppercase + string.digits


class Route53:
    """The service: what the resolver may know."""

    def __init__(self, aws_region: str) -> None:
        self.aws_region = aws_region
        self._of: dict[tuple[str, str], tuple[Zone, ...]] = {}
        self._zones: tuple[Zone, ...] = ()

    def zones(self) -> tuple[Zone, ...]:
        """All hosted zones as they are now; from any thread, at once."""
        return self._zones

    def publish(self, whose: tuple[str, str], zones: tuple[Zone, ...]) -> None:
        """From now on these are the zones of a backend (an account and a partition). The world's lock is held."""
        self._of[whose] = zones
        self._zones = tuple(zone for each in self._of.values() for zone in each)

    def close(self) -> None:
        """Nothing of it runs by itself."""


def install(world: World) -> Route53:
    """moto's Route 53 is this from now on, and tells the service what its zones hold."""
    service = Route53(world.settings.aws_region)
    RegionRoute53Backend.service = service
    route53_backends.backend = RegionRoute53Backend
    urls.url_paths.update(dict.fromkeys(urls.url_paths, RegionRoute53Response.dispatch))
    return service


class NoSuchChange(Route53ClientError):
    def __init__(self, change: str) -> None:
        super().__init__("NoSuchChange", f"A change with the id {change} does not exist.")


class HostedZoneAlreadyExists(Route53ClientError):
    def __init__(self) -> None:
        what = "A hosted zone has already been created with the specified caller reference."
        super().__init__("HostedZoneAlreadyExists", what)


class RegionRoute53Backend(Route53Backend):
    """One account's zones."""

    __module__ = "moto.route53.models"  # moto finds the service in it
    service: ClassVar[Route53]

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.changes: dict[str, Any] = {}
        self.publish()

    def publish(self) -> None:
        zones = tuple(published(zone, self.service.aws_region) for zone in self.zones.values())
        self.service.publish((self.account_id, self.region_name), zones)

    def submitted(self, comment: str | None = None) -> dict[str, Any]:
        """The ChangeInfo of a change that was just made: pending, and in sync as soon as somebody asks."""
        identifier = "C" + "".join(secrets.choice(_LETTERS) for _ in range(20))
        made = {"Id": f"/change/{identifier}", "Status": "PENDING", "SubmittedAt": utcnow(), "Comment": comment}
        self.changes[identifier] = {**made, "Status": "INSYNC"}
        return made

    def get_change(self, identifier: str) -> dict[str, Any]:
        found: dict[str, Any] | None = self.changes.get(identifier.removeprefix("/change/"))
        if found is None:
            raise NoSuchChange(identifier)
        return found

    def create_hosted_zone(self, name: str, *args: Any, **kwargs: Any) -> FakeZone:
        reference = kwargs.get("caller_reference")
        if reference and any(zone.caller_reference == reference for zone in self.zones.values()):
            raise HostedZoneAlreadyExists
        zone = super().create_hosted_zone(normal(name), *args, **kwargs)
        for record in zone.rrsets:
            record.records = [value["Value"] if isinstance(value, dict) else value for value in record.records]
        self.publish()
        return zone

    def delete_hosted_zone(self, id_: str) -> FakeZone | None:
        zone = super().delete_hosted_zone(id_)
        self.publish()
        return zone

    def change_resource_record_sets(self, zoneid: str, change_list: list[dict[str, Any]]) -> None:
        zone = self.get_hosted_zone(zoneid)
        zone.rrsets = record_sets.changed(zone.name, zone.rrsets, change_list)
        self.publish()

    def page(self, zone_id: str, start: tuple[str, str, str] | None, most: int) -> tuple[list[RecordSet], bool]:
        """Record sets in order from `start` on, and whether there are more."""
        records = sorted(self.get_hosted_zone(zone_id).rrsets, key=record_sets.order)
        left = [record for record in records if start is None or record_sets.order(record) >= start]
        return left[: most + 1], len(left) > most

    def zones_from(self, name: str | None, zone_id: str | None) -> list[FakeZone]:
        """All hosted zones by name, from that one on."""

        def order(zone: FakeZone) -> tuple[str, str]:
            return position(zone.name)[0], zone.resource_id

        start = (position(name)[0] if name else "", (zone_id or "").removeprefix("/hostedzone/"))
        return [zone for zone in sorted(self.zones.values(), key=order) if order(zone) >= start]


class RegionRoute53Response(MotoRoute53):
    @property
    def _ours(self) -> RegionRoute53Backend:
        backend = self.backend
        assert isinstance(backend, RegionRoute53Backend)
        return backend

    def _with_change(self, result: ActionResult, comment: str | None = None) -> ActionResult:
        return ActionResult({**dict(result.result), "ChangeInfo": self._ours.submitted(comment)})  # type: ignore[call-overload]

    def create_hosted_zone(self) -> ActionResult:
        return self._with_change(super().create_hosted_zone())

    def delete_hosted_zone(self) -> ActionResult:
        return self._with_change(super().delete_hosted_zone())

    def change_resource_record_sets(self) -> ActionResult:
        return self._with_change(super().change_resource_record_sets(), self._get_param("ChangeBatch.Comment"))

    def get_change(self) -> ActionResult:
        return ActionResult({"ChangeInfo": self._ours.get_change(str(self._get_param("Id")))})

    def list_resource_record_sets(self) -> ActionResult:
        name, kind = self._get_param("StartRecordName"), self._get_param("StartRecordType")
        identifier = self._get_param("StartRecordIdentifier")
        if (kind and not name) or (identifier and not kind):
            raise InvalidInput("The input is not valid")
        most = max(1, min(self._get_int_param("MaxItems", _LONGEST_PAGE), _LONGEST_PAGE))
        start = position(name, kind or "", identifier or "") if name else None
        records, more = self._ours.page(self._get_param("HostedZoneId"), start, most)
        result: dict[str, Any] = {
            "ResourceRecordSets": records[:most],
            "IsTruncated": more,
            "MaxItems": most,
        }
        if more:
            after = records[most]
            result["NextRecordName"], result["NextRecordType"] = after.name, after.type
            result["NextRecordIdentifier"] = after.set_identifier
        return ActionResult(result)

    def list_hosted_zones_by_name(self) -> ActionResult:
        name, zone_id = self._get_param("DNSName"), self._get_param("HostedZoneId")
        most = max(1, self._get_int_param("MaxItems", 100))
        zones = self._ours.zones_from(name, zone_id)
        result: dict[str, Any] = {
            "HostedZones": zones[:most],
            "DNSName": name,
            "HostedZoneId": zone_id,
            "IsTruncated": len(zones) > most,
            "MaxItems": most,
        }
        if len(zones) > most:
            result["NextDNSName"], result["NextHostedZoneId"] = zones[most].name, zones[most].resource_id
        return ActionResult(result)


def published(zone: FakeZone, aws_region: str) -> Zone:
    """A hosted zone as the resolver's words. Pure."""
    records = tuple(_record(record, aws_region) for record in zone.rrsets)
    return Zone(_plain(zone.name), records, private=bool(zone.private_zone))


def _record(record: RecordSet, aws_region: str) -> Record:
    alias = _plain(record.alias_target["DNSName"]) if record.alias_target else ""
    geo = record.geo_location or {}
    return Record(
        _plain(record.name),
        str(record.type),
        tuple(record.records or ()),
        int(record.ttl or 0),
        alias,
        record.set_identifier or "",
        None if record.weight is None else int(record.weight),
        bool(record.multi_value_answer),
        preferred=record.failover == "PRIMARY" or record.region == aws_region or geo.get("CountryCode") == "*",
    )


def _plain(name: str) -> str:
    return normal(name).rstrip(".").replace("\\052", "*")
