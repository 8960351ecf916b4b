"""What Route 53 refuses in a batch of changes, as a table."""

from __future__ import annotations

from typing import Any

import pytest
from moto.route53.exceptions import InvalidInput

from region.aws.record_sets import InvalidBatch, changed, normal, position


def a(name: str, *values: str, ttl: int = 60, **more: Any) -> dict[str, Any]:
    return {"Name": name, "Type": "A", "TTL": ttl, "ResourceRecords": [{"Value": value} for value in values], **more}


def change(action: str, record: dict[str, Any]) -> dict[str, Any]:
    return {"Action": action, "ResourceRecordSet": record}


WEB = changed("example.com", [], [change("CREATE", a("web.example.com", "10.0.0.1"))])
CNAME = {"Name": "web.example.com", "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": "x.example.com"}]}


@pytest.mark.parametrize(
    ("action", "record", "message"),
    [
        ("CREATE", a("web.example.com", "10.0.0.2"), "already exists"),
        ("CREATE", a("WEB.example.com.", "10.0.0.2"), "already exists"),
        ("DELETE", a("web.example.com", "10.0.0.2"), "do not match the current values"),
        ("DELETE", a("web.example.com", "10.0.0.1", ttl=61), "do not match the current values"),
        ("DELETE", a("none.example.com", "10.0.0.1"), "but it was not found"),
        ("DELETE", a("web.example.com", "10.0.0.1", SetIdentifier="b", Weight=1), "but it was not found"),
        ("CREATE", a("web.example.org", "10.0.0.1"), "not permitted in zone example.com."),
        ("CREATE", a("badexample.com", "10.0.0.1"), "not permitted in zone example.com."),
        ("CREATE", a("x.example.com", "10.0.0.256"), "ARRDATAIllegalIPv4Address"),
        ("UPSERT", a("web.example.com", "10.0.0.1", SetIdentifier="b", Weight=1), "another policy"),
        ("CREATE", CNAME, "a conflicting RRSet of type A"),
        ("CREATE", {**CNAME, "Name": "example.com"}, "not permitted at apex"),
    ],
)
def test_what_route_53_refuses(action: str, record: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidBatch) as caught:
        changed("example.com.", WEB, [change(action, record)])
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"Name": "x.example.com", "Type": "A"}, "but found none"),
        (a("x.example.com", "10.0.0.1", AliasTarget={"DNSName": "x"}), "but found more than one"),
        (a("x.example.com", "10.0.0.1", Weight=1), "Missing field 'SetIdentifier'"),
        (a("x.example.com", "10.0.0.1", SetIdentifier="a"), "but found none"),
        (a("x.example.com", "10.0.0.1", SetIdentifier="a", Weight=256), "between 0 and 255"),
    ],
)
def test_a_record_set_that_is_incomplete(record: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        changed("example.com", [], [change("CREATE", record)])
    assert message in caught.value.message


def test_everything_that_is_wrong_is_told() -> None:
    bad = [change("DELETE", a(f"{name}.example.com", "10.0.0.1")) for name in "ab"]
    with pytest.raises(InvalidBatch) as caught:
        changed("example.com", [], bad)
    assert caught.value.message.count("but it was not found") == 2


def test_a_batch_may_replace_a_record_by_one_of_another_type() -> None:
    batch = [change("DELETE", a("web.example.com", "10.0.0.1")), change("CREATE", CNAME)]
    assert [record.type for record in changed("example.com", WEB, batch)] == ["CNAME"]


def test_names_are_told_in_one_way_and_ordered_from_their_last_label() -> None:
    assert normal("*.Box.example.COM") == "\\052.box.example.com."
    assert sorted(["a.b.com", "b.com", "a.org", "c.b.com"], key=position) == ["b.com", "a.b.com", "c.b.com", "a.org"]
