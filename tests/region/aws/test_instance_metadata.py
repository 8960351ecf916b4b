"""What an instance is told of itself, from the facts that EC2 knows."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from region.aws.instance_metadata import Card, Facts, metadata_of
from region.metadata import TOKEN_HEADER, MetadataService, Request, find, leaves

CARD = Card("eni-1", "02:00:ac:1f:00:04", "subnet-1", "172.31.0.0/20", "vpc-1", "172.31.0.0/16", (("sg-1", "web"),))
FACTS = Facts(
    instance_id="i-1",
    image_id="ami-1",
    instance_type="t3.small",
    account_id="123456789012",
    region="us-east-1",
    zone="us-east-1b",
    zone_id="use1-az2",
    private_ip="172.31.0.4",
    public_ip="127.77.1.10",
    public_dns="ec2-127-77-1-10.compute-1.amazonaws.com",
    launched=datetime(2026, 11, 23, 12, 0),  # noqa: DTZ001 - as moto has times
    reservation_id="r-1",
    card=CARD,
    key=("mine", "ssh-ed25519 AAAA mine"),
    devices={"ami": "xvda", "root": "/dev/xvda"},
)


def told(facts: Facts) -> dict[str, str]:
    metadata = metadata_of(facts)
    assert metadata is not None
    return leaves(metadata)


def test_the_categories_that_clients_read() -> None:
    """EC2 User Guide, "Instance metadata categories"."""
    found = told(FACTS)
    assert found["placement/availability-zone"] == "us-east-1b"
    assert found["public-ipv4"] == "127.77.1.10"
    assert found["public-keys/0/openssh-key"] == "ssh-ed25519 AAAA mine\n"
    assert found["security-groups"] == "web"
    assert found["block-device-mapping/root"] == "/dev/xvda"
    assert found["instance-life-cycle"] == "on-demand"
    assert found[f"network/interfaces/macs/{CARD.mac}/subnet-id"] == "subnet-1"
    assert found[f"network/interfaces/macs/{CARD.mac}/ipv4-associations/127.77.1.10"] == "172.31.0.4"
    assert "spot/instance-action" not in found


def test_what_an_instance_has_not_is_not_told() -> None:
    found = told(replace(FACTS, public_ip=None, key=None))
    assert [name for name in found if "public" in name] == []


def test_tags_are_told_where_that_is_enabled() -> None:
    """EC2 User Guide, "View tags for your EC2 instances using instance metadata"."""
    metadata = metadata_of(FACTS)
    assert metadata is not None
    assert metadata.tags is None
    assert told(replace(FACTS, tags={"Name": "web"}))["tags/instance/Name"] == "web"


def test_an_endpoint_that_is_disabled_tells_nothing() -> None:
    """EC2 User Guide, "Configure the Instance Metadata Service options": HttpEndpoint."""
    assert metadata_of(replace(FACTS, endpoint=False)) is None


def test_a_spot_instance_and_its_interruption() -> None:
    """EC2 User Guide, "Spot Instance interruption notices"."""
    found = told(replace(FACTS, spot=True, spot_action=("terminate", "2026-11-23T12:02:00Z"), rebalance="x"))
    assert found["instance-life-cycle"] == "spot"
    assert found["spot/termination-time"] == "2026-11-23T12:02:00Z"
    assert "events/recommendations/rebalance" in found


def test_paths_of_its_role_are_beside_the_others() -> None:
    assert told(replace(FACTS, iam={"iam/info": "{}"}))["iam/info"] == "{}"


def test_the_list_of_public_keys_is_their_names() -> None:
    """ "Instance metadata categories", public-keys: `0=name`."""
    metadata = metadata_of(FACTS)
    assert metadata is not None
    assert find("/latest/meta-data/public-keys/", metadata).body == b"0=mine"
    assert b"public-keys/" in find("/latest/meta-data", metadata).body.splitlines()
    assert b"public-keys" not in find("/latest/meta-data", metadata).body.splitlines()


def test_tokens_may_be_optional() -> None:
    """EC2 User Guide, "Configure the Instance Metadata Service options": HttpTokens."""
    service = MetadataService(lambda: 0.0)
    ask = Request("GET", "/latest/meta-data/instance-id", {}, "172.31.0.4")
    for required, status in ((True, 401), (False, 200)):
        service.set("172.31.0.4", metadata_of(replace(FACTS, tokens_required=required)))
        assert service.answer(ask).status == status
    assert service.answer(replace(ask, headers={TOKEN_HEADER: "made up"})).status == 401
