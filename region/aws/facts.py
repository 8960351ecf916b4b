"""The facts that an instance's metadata is made of, read off moto's records. The world's lock is held."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from region.aws.bodies import Body
from region.aws.instance_metadata import Card, Facts
from region.aws.instances import Instance

GROUP_TAG = "aws:autoscaling:groupName"


def facts_of(body: Body, now: float) -> Facts:
    instance = body.instance
    options = instance.metadata_options
    tags: Mapping[str, str] | None = None
    if options.instance_metadata_tags == "enabled":
        tags = instance.tags if now >= body.tags_due else {}
    return Facts(
        instance_id=instance.id,
        image_id=instance.image_id,
        instance_type=instance.instance_type,
        account_id=instance.owner_id,
        region=instance.ec2_backend.region_name,
        zone=instance.availability_zone or "",
        zone_id=instance.ec2_backend.get_zone_by_name(instance.availability_zone).zone_id,
        private_ip=instance.private_ip or "",
        public_ip=instance.public_ip,
        public_dns=instance.public_dns_name,
        launched=instance.launch_time,
        reservation_id=body.reservation_id,
        card=_card(instance),
        launch_index=instance.ami_launch_index,
        spot=instance.is_spot,
        endpoint=options.http_endpoint != "disabled",
        tokens_required=options.http_tokens == "required",
        tags=tags,
        user_data=base64.b64decode(str(instance.user_data)) if instance.user_data is not None else None,
        key=(instance.key_name, body.public_key) if instance.key_name and body.public_key else None,
        iam=body.iam,
        devices=_devices(instance),
        spot_action=body.spot_action,
        rebalance=body.rebalance,
        lifecycle_state=instance.target_lifecycle_state,
    )


def _card(instance: Instance) -> Card:
    nic = instance.nics[0]
    vpc: Any = instance.ec2_backend.get_vpc(nic.subnet.vpc_id)
    return Card(
        interface_id=nic.id,
        mac=nic.mac_address,
        subnet_id=nic.subnet.id,
        subnet_cidr=nic.subnet.cidr_block,
        vpc_id=nic.subnet.vpc_id,
        vpc_cidr=vpc.cidr_block,
        groups=tuple((group.id, group.name) for group in instance.security_groups),
    )


def _devices(instance: Instance) -> dict[str, str]:
    """Block devices by what they are ("Instance metadata categories", block-device-mapping)."""
    root = instance.root_device_name or ""
    others = sorted(name for name in instance.block_device_mapping if name != root)
    ebs = {f"ebs{number}": name.removeprefix("/dev/") for number, name in enumerate(others, 1)}
    return {"ami": root.removeprefix("/dev/"), "root": root, **ebs}
