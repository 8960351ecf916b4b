"""What an instance has under the names of DescribeInstances' filters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from region.aws import filters
from region.aws.instances import Instance


def values(instance: Instance, name: str) -> Iterable[str] | None:
    """None for what is no filter."""
    if (found := _plain(instance, name)) is not None:
        return found
    return filters.tag_values(name, instance.tags)


def _plain(instance: Instance, name: str) -> list[str] | None:
    body, nic, options = instance.body, instance.nics[0], instance.metadata_options
    profile = instance.iam_instance_profile or {}
    table: dict[str, Any] = {
        "architecture": instance.architecture,
        "availability-zone": instance.availability_zone,
        "block-device-mapping.device-name": list(instance.block_device_mapping),
        "block-device-mapping.volume-id": [one.volume_id for one in instance.block_device_mapping.values()],
        "client-token": instance.client_token,
        "dns-name": instance.public_dns_name,
        "hypervisor": instance.hypervisor,
        "iam-instance-profile.arn": profile.get("Arn"),
        "iam-instance-profile.id": profile.get("Id"),
        "image-id": instance.image_id,
        "instance-id": instance.id,
        "instance-lifecycle": instance.lifecycle,
        "instance-state-code": str(instance.state_code),
        "instance-state-name": instance.state,
        "instance-type": instance.instance_type,
        "ip-address": instance.public_ip,
        "key-name": instance.key_name,
        "launch-time": f"{instance.launch_time:%Y-%m-%dT%H:%M:%S}.000Z",
        "metadata-options.http-endpoint": options.http_endpoint,
        "metadata-options.http-tokens": options.http_tokens,
        "metadata-options.instance-metadata-tags": options.instance_metadata_tags,
        "network-interface.network-interface-id": nic.id,
        "network-interface.private-dns-name": instance.private_dns_name,
        "network-interface.addresses.private-ip-address": instance.private_ip,
        "network-interface.subnet-id": nic.subnet.id,
        "network-interface.vpc-id": nic.subnet.vpc_id,
        "owner-id": instance.owner_id,
        "platform-details": "Linux/UNIX",
        "private-dns-name": instance.private_dns_name,
        "private-ip-address": instance.private_ip,
        "reason": instance.state_transition_reason,
        "reservation-id": body.reservation_id if body else None,
        "root-device-name": instance.root_device_name,
        "root-device-type": instance.root_device_type,
        "source-dest-check": str(instance.source_dest_check).lower(),
        "spot-instance-request-id": instance.spot_instance_request_id,
        "state-reason-code": instance.state_reason.code,
        "state-reason-message": instance.state_reason.message,
        "subnet-id": instance.subnet_id,
        "tenancy": instance.placement.tenancy,
        "virtualization-type": instance.virtualization_type,
        "vpc-id": instance.vpc_id,
        "instance-status.status": instance.instance_status["Status"],
        "system-status.status": instance.system_status["Status"],
    }
    for word in ("instance.group-id", "group-id", "network-interface.group-id"):
        table[word] = [group.id for group in instance.security_groups]
    for word in ("instance.group-name", "group-name", "network-interface.group-name"):
        table[word] = [group.name for group in instance.security_groups]
    if name not in table:
        return None
    value = table[name]
    if isinstance(value, list):
        return value
    return [] if value in (None, "") else [str(value)]
