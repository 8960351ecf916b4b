"""Route 53 as boto3 sees it, and what the resolver is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from region.aws import route53
from region.aws.route53 import Route53
from region.aws.world import World
from region.names import answer

pytestmark = pytest.mark.network


@pytest.fixture
def service(world: World) -> Iterator[Route53]:
    service = route53.install(world)
    yield service
    service.close()


@pytest.fixture
def dns(service: Route53, client: Callable[..., Any]) -> Any:
    return client("route53")


@pytest.fixture
def zone(dns: Any) -> str:
    made = dns.create_hosted_zone(Name="Example.com", CallerReference="one")
    return str(made["HostedZone"]["Id"])


def a(name: str, *values: str, ttl: int = 60, **more: Any) -> dict[str, Any]:
    return {"Name": name, "Type": "A", "TTL": ttl, "ResourceRecords": [{"Value": value} for value in values], **more}


def change(dns: Any, zone: str, *changes: tuple[str, dict[str, Any]]) -> Any:
    batch = [{"Action": action, "ResourceRecordSet": record} for action, record in changes]
    return dns.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": batch})["ChangeInfo"]


def listed(dns: Any, zone: str, **how: Any) -> list[dict[str, Any]]:
    pages = dns.get_paginator("list_resource_record_sets").paginate(HostedZoneId=zone, **how)
    return [record for page in pages for record in page["ResourceRecordSets"] if record["Type"] not in ("NS", "SOA")]


def told(service: Route53, name: str, kind: str = "A") -> list[str]:
    return [value for record in answer(service.zones(), name, kind).records for value in record.values]


def test_a_new_zone_has_its_name_servers_and_its_start(dns: Any, zone: str, service: Route53) -> None:
    records = dns.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    assert [(record["Name"], record["Type"]) for record in records] == [("example.com.", "NS"), ("example.com.", "SOA")]
    assert records[1]["ResourceRecords"][0]["Value"].startswith("ns-2048.awsdns-64.com. ")
    assert len(told(service, "example.com", "NS")) == 4


def test_what_is_written_is_told_at_once(dns: Any, zone: str, service: Route53) -> None:
    assert told(service, "web.example.com") == []
    change(dns, zone, ("CREATE", a("web.example.com", "10.0.0.1")))
    assert told(service, "web.example.com") == ["10.0.0.1"]
    change(dns, zone, ("UPSERT", a("WEB.example.com.", "10.0.0.2", "10.0.0.3")))
    assert told(service, "web.example.com") == ["10.0.0.2", "10.0.0.3"]
    change(dns, zone, ("DELETE", a("web.example.com", "10.0.0.3", "10.0.0.2")))
    assert told(service, "web.example.com") == []


def test_a_change_is_pending_until_somebody_asks(dns: Any, zone: str) -> None:
    made = change(dns, zone, ("UPSERT", a("web.example.com", "10.0.0.1")))
    assert made["Status"] == "PENDING"
    assert dns.get_change(Id=made["Id"])["ChangeInfo"]["Status"] == "INSYNC"
    with pytest.raises(dns.exceptions.NoSuchChange):
        dns.get_change(Id="C0")


def test_an_alias_is_the_address_of_its_load_balancer(dns: Any, zone: str, service: Route53) -> None:
    target = {"HostedZoneId": "Z35SXDOTRQ7X7K", "DNSName": "127.77.1.20", "EvaluateTargetHealth": False}
    alias = {"Name": "example.com", "Type": "A", "AliasTarget": target}
    change(dns, zone, ("UPSERT", alias))
    assert told(service, "example.com") == ["127.77.1.20"]
    assert listed(dns, zone)[0]["AliasTarget"]["DNSName"] == "127.77.1.20."
    change(dns, zone, ("DELETE", alias))
    assert listed(dns, zone) == []


def test_weighted_records_are_told_apart_by_their_identifier(dns: Any, zone: str, service: Route53) -> None:
    def blue(weight: int) -> dict[str, Any]:
        return a("web.example.com", "10.0.0.1", SetIdentifier="blue", Weight=weight)

    def green(weight: int) -> dict[str, Any]:
        return a("web.example.com", "10.0.0.2", SetIdentifier="green", Weight=weight)

    other = a("api.example.com", "10.0.0.9", SetIdentifier="blue", Weight=1)
    change(dns, zone, ("CREATE", blue(1)), ("CREATE", green(0)), ("CREATE", other))
    assert told(service, "web.example.com") == ["10.0.0.1"]
    change(dns, zone, ("UPSERT", blue(0)), ("UPSERT", green(255)))
    assert told(service, "web.example.com") == ["10.0.0.2"]
    assert [record["Weight"] for record in listed(dns, zone)] == [1, 0, 255]
    change(dns, zone, ("DELETE", blue(0)))
    assert [record["Name"] for record in listed(dns, zone)] == ["api.example.com.", "web.example.com."]


@pytest.mark.parametrize("size", ["1", "2", "300"])
def test_a_list_in_pages_ends_and_leaves_nothing_out(dns: Any, zone: str, size: str) -> None:
    for identifier in "abc":
        record = a("web.example.com", "10.0.0.1", SetIdentifier=identifier, Weight=1)
        change(dns, zone, ("CREATE", record))
    change(dns, zone, ("CREATE", a("*.example.com", "10.0.0.2")), ("CREATE", a("z.web.example.com", "10.0.0.3")))
    names = [
        (record["Name"], record.get("SetIdentifier"))
        for record in listed(dns, zone, PaginationConfig={"PageSize": size})
    ]
    web = [("web.example.com.", identifier) for identifier in "abc"]
    assert names == [("\\052.example.com.", None), *web, ("z.web.example.com.", None)]


def test_a_list_starts_where_it_is_told_to(dns: Any, zone: str) -> None:
    change(dns, zone, *(("CREATE", a(f"{name}.example.com", "10.0.0.1")) for name in "abc"))
    page = dns.list_resource_record_sets(HostedZoneId=zone, StartRecordName="b.example.com", MaxItems="1")
    assert [record["Name"] for record in page["ResourceRecordSets"]] == ["b.example.com."]
    assert (page["IsTruncated"], page["NextRecordName"], page["NextRecordType"]) == (True, "c.example.com.", "A")


def test_a_batch_is_carried_out_whole_or_not_at_all(dns: Any, zone: str) -> None:
    good, bad = a("web.example.com", "10.0.0.1"), a("web.example.org", "10.0.0.1")
    with pytest.raises(dns.exceptions.InvalidChangeBatch, match=r"not permitted in zone example\.com"):
        change(dns, zone, ("CREATE", good), ("CREATE", bad))
    assert listed(dns, zone) == []


def test_zones_are_listed_by_name_from_the_one_asked_for(dns: Any, service: Route53) -> None:
    for name in ("b.org", "a.org", "z.com"):
        dns.create_hosted_zone(Name=name, CallerReference=name)
    page = dns.list_hosted_zones_by_name(DNSName="a.org", MaxItems="1")
    assert [zone["Name"] for zone in page["HostedZones"]] == ["a.org."]
    assert (page["IsTruncated"], page["NextDNSName"]) == (True, "b.org.")
    every = dns.list_hosted_zones_by_name()["HostedZones"]
    assert [zone["Name"] for zone in every] == ["z.com.", "a.org.", "b.org."]


def test_a_zone_goes_when_it_is_empty_and_its_reference_is_used_once(dns: Any, zone: str, service: Route53) -> None:
    with pytest.raises(dns.exceptions.HostedZoneAlreadyExists):
        dns.create_hosted_zone(Name="example.com", CallerReference="one")
    change(dns, zone, ("CREATE", a("web.example.com", "10.0.0.1")))
    with pytest.raises(dns.exceptions.HostedZoneNotEmpty):
        dns.delete_hosted_zone(Id=zone)
    change(dns, zone, ("DELETE", a("web.example.com", "10.0.0.1")))
    dns.delete_hosted_zone(Id=zone)
    assert service.zones() == ()
