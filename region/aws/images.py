"""AMIs: those of this host's own images, and those that were made in the region.

A local image is shown as an AMI of the account's own, and what is changed of it in the region (tags, permissions) stays
in the region. It can't be deregistered here: `bakeboot images prune` removes it, with all that stands on it in view.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import amis
from moto.ec2.models.elastic_block_store import Snapshot, Volume

from region.aws import ec2_errors, filters
from region.aws.image_store import Record, changed_tags
from region.aws.launching import ROOT_DEVICE, by_key
from region.aws.world import LocalImage

ROOT_SIZE = 8
"""GiB: of every root volume. It is a number alone, since a root grows as the host's disk lets it."""
_NAME = re.compile(r"[a-zA-Z0-9()\[\] ./\-'@_]{3,128}")


class Ami(amis.Ami):
    """An AMI. `record` says what is kept of it on disk; `catalog_tags` are those that a bake gave a local image."""

    __module__ = "moto.ec2.models"

    def __init__(self, ec2_backend: Any, record: Record, layers: tuple[Path, ...], *, state: str = "available") -> None:
        self.ec2_backend = ec2_backend
        self.id = record.image_id
        self.local = record.local
        self.layers = layers
        self.state = state
        self.name = record.name
        self.description = record.description
        self.owner_id = ec2_backend.account_id
        self.owner_alias = None
        self.creation_date = datetime.fromisoformat(record.created).replace(tzinfo=None)
        self.image_type, self.architecture, self.hypervisor = "machine", "x86_64", "xen"
        self.virtualization_type, self.platform, self.kernel_id = "hvm", None, None
        self.platform_details, self.usage_operation = "Linux/UNIX", "RunInstances"
        self.image_location = f"{self.owner_id}/{self.name}"
        self.root_device_type, self.root_device_name = "ebs", ROOT_DEVICE
        self.sriov, self.boot_mode, self.product_codes = "simple", "uefi-preferred", set()
        self.ena_support = True
        self.instance_id = record.source_instance_id
        self.source_image_id = record.source_image_id
        self.launch_permissions = [dict(permission) for permission in record.launch_permissions]
        self.state_reason: dict[str, str] | None = None
        self.deprecation_time = record.deprecation_time
        self.deregistration_protection = record.protection
        self.devices = [dict(device) for device in record.devices]
        self.catalog_tags: Mapping[str, str] = {}
        self.ebs_snapshot = _snapshot(ec2_backend, record, self.id)

    @property
    def block_device_mappings(self) -> list[dict[str, Any]]:
        """The root's snapshot, and what else is said of it or of other devices."""
        root = {
            "SnapshotId": self.ebs_snapshot.id,
            "VolumeSize": ROOT_SIZE,
            "VolumeType": "gp2",
            "DeleteOnTermination": True,
            "Encrypted": self.ebs_snapshot.encrypted,
        }
        return by_key("DeviceName", [{"DeviceName": self.root_device_name, "Ebs": root}], self.devices)

    def failed(self, why: str) -> None:
        """It could not be made."""
        self.state = "failed"
        self.state_reason = {"Code": "Server.InternalError", "Message": why}

    @property
    def public(self) -> bool:
        return self.is_public

    @property
    def snapshot_ids(self) -> list[str]:
        ids = [device.get("Ebs", {}).get("SnapshotId") for device in self.block_device_mappings]
        return [snapshot_id for snapshot_id in ids if snapshot_id]

    @property
    def record(self) -> Record:
        """What of it is worth keeping now."""
        tags = dict(self.ec2_backend.tags.get(self.id, {}))
        snapshot = self.ebs_snapshot
        return Record(
            image_id=self.id,
            name=self.name or "",
            created=f"{self.creation_date:%Y-%m-%dT%H:%M:%S}Z",
            snapshot_id=snapshot.id,
            description=self.description or "",
            layers=() if self.local else tuple(map(str, self.layers)),
            local=self.local,
            tags={} if self.local else tags,
            tag_changes=changed_tags(self.catalog_tags, tags) if self.local else {},
            snapshot_tags=dict(self.ec2_backend.tags.get(snapshot.id, {})),
            snapshot_description=snapshot.description,
            launch_permissions=tuple(self.launch_permissions),
            devices=tuple(self.devices),
            state=self.state,
            source_instance_id=self.instance_id,
            source_image_id=self.source_image_id,
            encrypted=snapshot.encrypted,
            kms_key_id=snapshot.kms_key_id,
            deprecation_time=self.deprecation_time,
            protection=self.deregistration_protection,
        )

    def values(self, name: str) -> Iterable[str] | None:
        """What it has under the name of a filter of DescribeImages."""
        plain: dict[str, Any] = {
            "architecture": self.architecture,
            "creation-date": f"{self.creation_date:%Y-%m-%dT%H:%M:%S}.000Z",
            "description": self.description or "",
            "ena-support": "true",
            "hypervisor": self.hypervisor,
            "image-id": self.id,
            "image-type": self.image_type,
            "is-public": str(self.is_public).lower(),
            "name": self.name,
            "owner-id": self.owner_id,
            "platform-details": self.platform_details,
            "root-device-name": self.root_device_name,
            "root-device-type": self.root_device_type,
            "source-image-id": self.source_image_id,
            "source-instance-id": self.instance_id,
            "state": self.state,
            "virtualization-type": self.virtualization_type,
        }
        if name in plain:
            return [] if plain[name] is None else [str(plain[name])]
        if name == "block-device-mapping.snapshot-id":
            return self.snapshot_ids
        if name == "block-device-mapping.device-name":
            return [device["DeviceName"] for device in self.block_device_mappings]
        if name in ("platform", "owner-alias", "kernel-id", "ramdisk-id", "product-code", "product-code.type"):
            return []
        return filters.tag_values(name, self.ec2_backend.tags.get(self.id, {}))


def _snapshot(backend: Any, record: Record, image_id: str) -> Snapshot:
    volume = Volume(  # type: ignore[abstract] # it only seems so: moto makes them as well
        backend, "vol-ffffffff", ROOT_SIZE, backend.get_zone_by_name(f"{backend.region_name}a")
    )
    snapshot = Snapshot(
        backend,
        record.snapshot_id,
        volume,
        record.snapshot_description or f"Created for {image_id}",
        encrypted=record.encrypted,
        kms_key_id=record.kms_key_id,
        from_ami=image_id,
    )
    snapshot.start_time = datetime.fromisoformat(record.created).replace(tzinfo=None)
    return snapshot


def local_record(image: LocalImage) -> Record:
    """What a local image is as an AMI. Pure: its snapshot's id comes from its own, and so is always the same."""
    digest = hashlib.sha256(image.image_id.encode()).hexdigest()
    return Record(
        image_id=image.image_id,
        name=image.name,
        created=image.created,
        snapshot_id=f"snap-{digest[:17]}",
        description=image.description,
        local=True,
        snapshot_description=f"Root of the local image {image.name}",
    )


def check_name(name: str | None) -> str:
    """CreateImage, "Name": 3 to 128 characters, of letters, digits and ()[] ./-'@_ ."""
    if not name:
        raise ec2_errors.missing("name")
    if not _NAME.fullmatch(name):
        what = "AMI names must be between 3 and 128 characters long, and may contain letters, digits and ()[] ./-'@_"
        raise EC2ClientError("InvalidAMIName.Malformed", what)
    return name


def new_devices(base: Sequence[Mapping[str, Any]], asked: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What an image says of block devices besides its root's snapshot. `asked` is BlockDeviceMappings of the call.

    A snapshot of a data volume is never part of an image here: its devices are named by who wants them.
    """
    kept = [device for device in base if device["DeviceName"] == ROOT_DEVICE]
    merged = by_key("DeviceName", kept, asked)
    return [device for device in merged if device.get("NoDevice") is None]
