"""EC2's records: moto's backend, with launches and images as EC2 has them. What is real comes from `Ec2`."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from moto.ec2.models.elastic_block_store import Volume
from moto.ec2.models.iam_instance_profile import IamInstanceProfileAssociation
from moto.ec2.models.instances import Instance as MotoInstance
from moto.ec2.models.instances import InstanceState, Reservation

from region.aws import ec2_errors, filters, instance_filters, spot
from region.aws.calls import Answers
from region.aws.ec2_launches import Launches
from region.aws.image_store import Record
from region.aws.images import Ami
from region.aws.instances import Instance, address_of

T = TypeVar("T")


class EC2Backend(Launches):
    """The records of one account in one AWS region."""

    __module__ = "moto.ec2.models"

    def __init__(self, region_name: str, account_id: str) -> None:
        self.local_changes: dict[str, Record] = {}
        """What was changed in this region of images of this host's."""
        self.answers = Answers()
        super().__init__(region_name, account_id)
        if self.here:
            self._load_made()

    def _load_amis(self) -> None:
        """None of moto's own: nothing here could be started from them."""

    def _load_made(self) -> None:
        for record in self.service.store.load(self.service.world.log):
            if record.local:
                self.local_changes[record.image_id] = record
            else:
                self.add_image(Ami(self, record, tuple(map(Path, record.layers)), state=record.state))
                self.tags[record.image_id] = dict(record.tags)
                self.tags[record.snapshot_id] = dict(record.snapshot_tags)

    def add_image(self, image: Ami) -> None:
        self.amis[image.id] = image
        self.snapshots[image.ebs_snapshot.id] = image.ebs_snapshot
        if image.local and image.id in self.local_changes:
            self.tags[image.ebs_snapshot.id] = dict(self.local_changes[image.id].snapshot_tags)

    def remove_image(self, image: Ami) -> None:
        """A local image that is gone from this host: it and its snapshot leave no trace."""
        del self.amis[image.id]
        self.snapshots.pop(image.ebs_snapshot.id, None)
        for resource in (image.id, image.ebs_snapshot.id):
            self.tags.pop(resource, None)
        self.local_changes.pop(image.id, None)
        self.service.store.forget(image.id)

    def get_instance_by_id(self, instance_id: str) -> MotoInstance | None:
        """moto's way goes through all there are, and every look of every controller asks for each."""
        return self.service.known(instance_id) or super().get_instance_by_id(instance_id)

    def forget_instance(self, instance_id: str) -> None:
        """A terminated instance isn't shown any more."""
        self.tags.pop(instance_id, None)
        for reservation in list(self.reservations.values()):
            reservation.instances = [one for one in reservation.instances if one.id != instance_id]
            if not reservation.instances:
                del self.reservations[reservation.id]

    @property
    def here(self) -> bool:
        """Whether this is the account and the AWS region that is real."""
        settings = self.service.world.settings
        return (self.account_id, self.region_name) == (settings.account, settings.aws_region)

    # --- addresses -----------------------------------------------------------------------------------------------

    def allocate_public_address(self) -> str:
        return address_of(self.service.world.network.allocate)

    def free_public_address(self, address: str) -> None:
        self.service.world.network.hide(address)
        self.service.world.network.free(address)

    # --- states --------------------------------------------------------------------------------------------------

    def terminate_instances(self, instance_ids: list[str]) -> list[tuple[MotoInstance, InstanceState]]:
        """All of them, or none where one is protected (TerminateInstances)."""
        for instance in self.get_multi_instances_by_id(instance_ids):
            if instance.disable_api_termination is True:
                raise ec2_errors.protected(instance.id)
        return super().terminate_instances(instance_ids)

    def stop_instances(self, instance_ids: list[str]) -> list[tuple[MotoInstance, InstanceState]]:
        for instance in self.get_multi_instances_by_id(instance_ids):
            request = spot.request_of(cast(Instance, instance))
            if request is not None and request.type == "one-time" and instance.state == "running":
                raise ec2_errors.one_time_spot(instance.id)
        return super().stop_instances(instance_ids)

    # --- descriptions --------------------------------------------------------------------------------------------

    def reservations_of(self, instance_ids: Sequence[str], wanted: Mapping[str, Sequence[str]]) -> list[Reservation]:
        """Those of the instances (none: all) that pass the filters, with these alone. Raises EC2's errors."""
        chosen = self.get_multi_instances_by_id(list(instance_ids)) if instance_ids else self.all_instances()
        passed = {instance.id for instance in self.filtered(chosen, wanted)}
        found = []
        for reservation in self.reservations.values():
            if mine := [instance for instance in reservation.instances if instance.id in passed]:
                shown = copy.copy(reservation)
                shown.instances = mine
                found.append(shown)
        return found

    def filtered(self, resources: Iterable[T], wanted: Mapping[str, Sequence[str]]) -> list[T]:
        """AMIs or instances that pass a Describe call's filters. Raises InvalidParameterValue for an unknown one."""
        try:
            return filters.passing(resources, wanted, _values)
        except filters.UnknownFilter as error:
            raise ec2_errors.invalid_value(f"The filter '{error}' is invalid") from None

    def images(self) -> list[Ami]:
        return cast(list[Ami], list(self.amis.values()))

    def describe_images(
        self, ami_ids: list[str] | None = None, filters: dict[str, Any] | None = None, *args: Any, **kwargs: Any
    ) -> list[Any]:
        """As moto's own callers ask for it: by ids, or by filters, whose values may be single words."""
        found = [image for image in self.images() if not ami_ids or image.id in ami_ids]
        if ami_ids and not found:
            raise ec2_errors.no_image(", ".join(ami_ids))
        words = {name: [value] if isinstance(value, str) else value for name, value in (filters or {}).items()}
        return self.filtered(found, words)

    # --- instance profiles ---------------------------------------------------------------------------------------

    def associate_iam_instance_profile(
        self,
        instance_id: str,
        iam_instance_profile_name: str | None = None,
        iam_instance_profile_arn: str | None = None,
    ) -> IamInstanceProfileAssociation:
        """The instance has the profile's own id; moto gives it that of the association."""
        self.profile_of({"Name": iam_instance_profile_name or "", "Arn": iam_instance_profile_arn or ""})
        made = super().associate_iam_instance_profile(instance_id, iam_instance_profile_name, iam_instance_profile_arn)
        self._now_has(made)
        return made

    def replace_iam_instance_profile_association(
        self,
        association_id: str,
        iam_instance_profile_name: str | None = None,
        iam_instance_profile_arn: str | None = None,
    ) -> IamInstanceProfileAssociation:
        """The instance has the new profile; moto leaves it the old one."""
        made = super().replace_iam_instance_profile_association(
            association_id, iam_instance_profile_name, iam_instance_profile_arn
        )
        self._now_has(made)
        return made

    @staticmethod
    def _now_has(association: IamInstanceProfileAssociation) -> None:
        profile = association.iam_instance_profile
        association.instance.iam_instance_profile = {"Arn": profile.arn, "Id": profile.id}

    # --- tags and volumes ----------------------------------------------------------------------------------------

    def create_tags(self, resource_ids: list[str], tags: dict[str, str]) -> bool:
        done = super().create_tags(resource_ids, tags)
        self._tags_changed(resource_ids)
        return done

    def delete_tags(self, resource_ids: list[str], tags: dict[str, str]) -> bool:
        done = super().delete_tags(resource_ids, tags)
        self._tags_changed(resource_ids)
        return done

    def delete_tag_keys(self, resource_ids: list[str], tag_keys: list[str]) -> bool:
        done = super().delete_tag_keys(resource_ids, tag_keys)
        self._tags_changed(resource_ids)
        return done

    def _tags_changed(self, resource_ids: Sequence[str]) -> None:
        if any(resource.startswith(("ami-", "snap-")) for resource in resource_ids):
            self.service.images.saved_after_change(self, resource_ids)

    def delete_volume(self, volume_id: str) -> Volume:
        volume = super().delete_volume(volume_id)
        self.service.collect_soon()
        return volume


def _values(resource: Any) -> filters.Values:
    if isinstance(resource, Ami):
        return resource.values
    return lambda name: instance_filters.values(resource, name)
