"""What the metadata service tells an instance, from what EC2 knows of it. Pure.

EC2 User Guide, "Instance metadata categories" for the paths; "View tags for your EC2 instances using instance
metadata": tags are there only where InstanceMetadataTags is enabled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from region.metadata import InstanceMetadata


@dataclass(frozen=True)
class Card:
    """An instance's network interface, its subnet and its VPC."""

    interface_id: str
    mac: str
    subnet_id: str
    subnet_cidr: str
    vpc_id: str
    vpc_cidr: str
    groups: tuple[tuple[str, str], ...] = ()
    """Ids and names of its security groups."""


@dataclass(frozen=True)
class Facts:
    """One instance. `tags` None: InstanceMetadataTags is disabled. `iam` are the paths below meta-data/ of its role."""

    instance_id: str
    image_id: str
    instance_type: str
    account_id: str
    region: str
    zone: str
    zone_id: str
    private_ip: str
    public_ip: str | None
    public_dns: str | None
    launched: datetime
    reservation_id: str
    card: Card
    launch_index: int = 0
    spot: bool = False
    endpoint: bool = True
    tokens_required: bool = True
    tags: Mapping[str, str] | None = None
    user_data: bytes | None = None
    key: tuple[str, str] | None = None
    """The key pair's name and its public key."""
    iam: Mapping[str, str] = field(default_factory=dict)
    devices: Mapping[str, str] = field(default_factory=dict)
    """Names of block devices by what they are: "ami", "root", "ebs1"."""
    spot_action: tuple[str, str] | None = None
    rebalance: str | None = None
    lifecycle_state: str | None = None


def metadata_of(facts: Facts) -> InstanceMetadata | None:
    """None where HttpEndpoint is disabled."""
    if not facts.endpoint:
        return None
    return InstanceMetadata(
        instance_id=facts.instance_id,
        image_id=facts.image_id,
        tags=None if facts.tags is None else dict(facts.tags),
        user_data=facts.user_data,
        region=facts.region,
        availability_zone=facts.zone,
        instance_type=facts.instance_type,
        local_ipv4=facts.private_ip,
        life_cycle="spot" if facts.spot else "on-demand",
        account_id=facts.account_id,
        launched=f"{facts.launched:%Y-%m-%dT%H:%M:%SZ}",
        spot_action=facts.spot_action,
        rebalance=facts.rebalance,
        lifecycle_state=facts.lifecycle_state,
        tokens_required=facts.tokens_required,
        extra={**_extra(facts), **_network(facts), **facts.iam},
    )


def _extra(facts: Facts) -> dict[str, str]:
    found = {
        "ami-launch-index": str(facts.launch_index),
        "ami-manifest-path": "(unknown)",
        "mac": facts.card.mac,
        "placement/availability-zone-id": facts.zone_id,
        "profile": "default-hvm",
        "reservation-id": facts.reservation_id,
        "security-groups": "\n".join(name for _, name in facts.card.groups),
        "system": "nitro",
        **{f"block-device-mapping/{name}": device for name, device in facts.devices.items()},
    }
    if facts.public_ip:
        found |= {"public-ipv4": facts.public_ip, "public-hostname": facts.public_dns or ""}
    if facts.key:
        name, key = facts.key
        found |= {"public-keys": f"0={name}", "public-keys/0/openssh-key": f"{key.strip()}\n"}
    return found


def _network(facts: Facts) -> dict[str, str]:
    card = facts.card
    found = {
        "device-number": "0",
        "interface-id": card.interface_id,
        "local-hostname": _hostname(facts),
        "local-ipv4s": facts.private_ip,
        "mac": card.mac,
        "owner-id": facts.account_id,
        "security-group-ids": "\n".join(group for group, _ in card.groups),
        "security-groups": "\n".join(name for _, name in card.groups),
        "subnet-id": card.subnet_id,
        "subnet-ipv4-cidr-block": card.subnet_cidr,
        "vpc-id": card.vpc_id,
        "vpc-ipv4-cidr-block": card.vpc_cidr,
        "vpc-ipv4-cidr-blocks": card.vpc_cidr,
    }
    if facts.public_ip:
        found |= {
            "public-hostname": facts.public_dns or "",
            "public-ipv4s": facts.public_ip,
            f"ipv4-associations/{facts.public_ip}": facts.private_ip,
        }
    return {f"network/interfaces/macs/{card.mac}/{name}": value for name, value in found.items()}


def _hostname(facts: Facts) -> str:
    domain = "ec2.internal" if facts.region == "us-east-1" else f"{facts.region}.compute.internal"
    return f"ip-{facts.private_ip.replace('.', '-')}.{domain}"
