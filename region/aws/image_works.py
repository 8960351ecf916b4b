"""AMIs that are made, copied, changed and taken away in the region. Called under the world's lock, but for `_make`."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from moto.ec2.exceptions import EC2ClientError, UnvailableAMIIdError
from moto.ec2.utils import random_ami_id, random_snapshot_id

from region.aws import ec2_errors, image_store, launching
from region.aws.bodies import Body
from region.aws.image_store import Record, changed_tags, with_changes
from region.aws.images import Ami, check_name, local_record, new_devices
from region.aws.instances import Instance
from region.aws.works import DATA, Works
from region.aws.world import LocalImage
from region.errors import RegionError

if TYPE_CHECKING:
    from region.aws.ec2 import Ec2
    from region.aws.ec2_backend import EC2Backend

_BOUND = (DATA, "/etc/resolv.conf", "/etc/hosts", "/etc/hostname")
"""Where something of the instance is bound over its root (region.nspawn)."""
_KINDS = ("image", "snapshot")


class Images:
    """The AMIs of one region."""

    def __init__(self, service: Ec2, works: Works) -> None:
        self._service, self._works = service, works
        self._store = service.store

    # --- the images of this host ---------------------------------------------------------------------------------

    @property
    def making(self) -> list[str]:
        """The AMIs whose layer is being copied."""
        return [image.id for image in self._service.backend.images() if image.state == "pending"]

    def sync(self, backend: EC2Backend) -> None:
        """The local images that there are now are AMIs, and those that are gone are none any more."""
        if not backend.here:
            return
        found = {image.image_id: image for image in self._service.world.catalog.images()}
        for gone in [image for image in backend.images() if image.local and image.id not in found]:
            backend.remove_image(gone)
        for image in found.values():
            known = backend.amis.get(image.image_id)
            if known is None:
                record = backend.local_changes.get(image.image_id) or local_record(image)
                backend.add_image(Ami(backend, record, image.layers))
                self._tag(cast(Ami, backend.amis[image.image_id]), image, record.tag_changes)
            elif isinstance(known, Ami) and known.catalog_tags != image.tags:
                self._tag(known, image, changed_tags(known.catalog_tags, backend.tags.get(known.id, {})))

    @staticmethod
    def _tag(ami: Ami, image: LocalImage, changes: Mapping[str, str | None]) -> None:
        """What a bake says of it now, and what was changed of that in the region."""
        ami.catalog_tags = dict(image.tags)
        ami.ec2_backend.tags[ami.id] = with_changes(image.tags, changes)

    # --- make ----------------------------------------------------------------------------------------------------

    def create(self, instance: Instance, words: Mapping[str, Any]) -> Ami:
        """CreateImage: the AMI is pending until what the machine wrote is copied.

        "By default, Amazon EC2 shuts down and reboots the instance before creating the AMI"; with NoReboot the machine
        is held still for the copy, so that the AMI is as its disk would be after a power cut at that moment.
        """
        backend = cast("EC2Backend", instance.ec2_backend)
        name = self._free_name(backend, words.get("Name"))
        if instance.state not in ("running", "stopping", "stopped") or instance.body is None:
            raise ec2_errors.incorrect_state(instance.id, "imaged")
        record = Record(
            image_id=random_ami_id(),
            name=name,
            created=self._now(),
            snapshot_id=random_snapshot_id(),
            description=words.get("Description") or "",
            snapshot_description=f"Created by CreateImage({instance.id})",
            devices=tuple(new_devices(instance.image.devices, words.get("BlockDeviceMappings") or ())),
            source_instance_id=instance.id,
            source_image_id=instance.image_id,
            encrypted=instance.image.ebs_snapshot.encrypted,
            kms_key_id=instance.image.ebs_snapshot.kms_key_id,
        )
        image = self._add(backend, record, (), words.get("TagSpecifications"), state="pending")
        reboot = not words.get("NoReboot") and instance.state == "running"
        instance.body.imaging.append(lambda body: self._make(image, body, reboot=reboot))
        return image

    def _make(self, image: Ami, body: Body, *, reboot: bool) -> None:
        """On the instance's thread."""
        target = self._store.layer(image.id)
        try:
            upper, running = self._works.upper_of(body, reboot=reboot)
            with running.held_still() if running else contextlib.nullcontext():
                image_store.copy(upper, target, self._works.hurried)
            image_store.without_stubs(target, _BOUND, body.layers)
        except (RegionError, OSError) as error:
            self._service.world.log(f"{image.id} could not be made of {body.instance.id}: {error}")
            with self._service.world.lock:
                image.failed(str(error))
        else:
            with self._service.world.lock:
                image.layers, image.state = (*body.layers, target), "available"
                self.save(image)
        finally:
            self._works.go_on(body)
            self._service.collect()

    def copy(self, source: Ami, backend: EC2Backend, words: Mapping[str, Any]) -> Ami:
        """CopyImage: the same layers under another id; launch permissions and, unless asked for, tags stay behind."""
        name = self._free_name(backend, words.get("Name"))
        record = Record(
            image_id=random_ami_id(),
            name=name,
            created=self._now(),
            snapshot_id=random_snapshot_id(),
            description=words.get("Description") or source.description or "",
            snapshot_description=f"Copied from {source.ebs_snapshot.id} for {source.id}",
            devices=tuple(source.devices),
            source_image_id=source.id,
            encrypted=bool(words.get("Encrypted")) or source.ebs_snapshot.encrypted,
            kms_key_id=words.get("KmsKeyId") or source.ebs_snapshot.kms_key_id,
        )
        own = {key: value for key, value in backend.tags.get(source.id, {}).items() if not key.startswith("aws:")}
        image = self._add(backend, record, source.layers, words.get("TagSpecifications"))
        if words.get("CopyImageTags"):
            backend.tags[image.id] = {**own, **backend.tags.get(image.id, {})}
        self.save(image)
        return image

    def _free_name(self, backend: EC2Backend, name: str | None) -> str:
        wanted = check_name(name)
        self.sync(backend)
        for other in backend.amis.values():
            if other.name == wanted and other.state != "failed":
                what = f"AMI name {wanted} is already in use by AMI {other.id}"
                raise EC2ClientError("InvalidAMIName.Duplicate", what)
        return wanted

    def _add(
        self,
        backend: EC2Backend,
        record: Record,
        layers: Sequence[Any],
        specifications: Sequence[Mapping[str, Any]] | None,
        *,
        state: str = "available",
    ) -> Ami:
        tags = launching.tags_of(specifications)
        if unlike := next((kind for kind in tags if kind not in _KINDS), None):
            raise ec2_errors.invalid_value(f"'{unlike}' is not a valid taggable resource type for this operation.")
        image = Ami(backend, record, tuple(layers), state=state)
        backend.add_image(image)
        backend.tags[image.id] = dict(tags.get("image", {}))
        backend.tags[image.ebs_snapshot.id] = dict(tags.get("snapshot", {}))
        return image

    def _now(self) -> str:
        return f"{datetime.fromtimestamp(self._service.world.clock(), UTC):%Y-%m-%dT%H:%M:%SZ}"

    # --- keep and take away ----------------------------------------------------------------------------------------

    def save(self, image: Ami) -> None:
        """What is known of it now is what the next `up` knows. Nothing for one that is not whole, or gone."""
        backend = cast("EC2Backend", image.ec2_backend)
        if backend.amis.get(image.id) is not image or image.state not in ("available", "disabled"):
            return
        record = image.record
        if image.local:
            backend.local_changes[image.id] = record
        self._store.write(record)

    def saved_after_change(self, backend: EC2Backend, resources: Sequence[str]) -> None:
        """Tags of these were changed."""
        for image in cast(list[Ami], list(backend.amis.values())):
            if image.id in resources or image.ebs_snapshot.id in resources:
                self.save(image)

    def deregister(self, backend: EC2Backend, image_id: str) -> Ami:
        """DeregisterImage. Instances and other AMIs that stand on its layers go on; its snapshot stays."""
        image = self.found(backend, image_id)
        if image.local:
            what = f"{image_id} is an image of this host's: `bakeboot images prune` removes it."
            raise EC2ClientError("OperationNotPermitted", what)
        if image.deregistration_protection != "disabled":
            what = f"The AMI {image_id} is protected from deregistration: disable that first."
            raise EC2ClientError("OperationNotPermitted", what)
        del backend.amis[image_id]
        backend.deleted_amis.append(image_id)
        backend.tags.pop(image_id, None)
        self._store.forget(image_id)
        self._service.collect_soon()
        return image

    def found(self, backend: EC2Backend, image_id: str) -> Ami:
        self.sync(backend)
        if image_id in backend.deleted_amis:
            raise UnvailableAMIIdError(image_id)
        if image_id not in backend.amis:
            raise ec2_errors.no_image(image_id)
        return cast(Ami, backend.amis[image_id])

    def by_snapshot(self, backend: EC2Backend, snapshot_id: str) -> Ami:
        """The AMI that a root's snapshot is of."""
        for image in cast(list[Ami], list(backend.amis.values())):
            if image.ebs_snapshot.id == snapshot_id:
                return image
        raise EC2ClientError("InvalidSnapshot.NotFound", f"The snapshot '{snapshot_id}' is of no AMI of this region.")
