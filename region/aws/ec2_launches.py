"""Launches: what a request and its template say together, checked as EC2 does, and in moto's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from moto.core.exceptions import ServiceException
from moto.core.types import Base64EncodedString
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend as MotoEC2Backend
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.models.instances import Reservation
from moto.ec2.models.launch_templates import LaunchTemplateVersion
from moto.ec2.utils import parse_user_data

from region.aws import ec2_errors, launching
from region.aws.images import Ami
from region.aws.instances import Instance
from region.aws.spot import SpotInstanceRequest

if TYPE_CHECKING:
    from region.aws.ec2 import Ec2
    from region.aws.ec2_backend import EC2Backend

DEFAULT_TYPE = "m1.small"
"""RunInstances, InstanceType."""


class Launches(MotoEC2Backend):
    """moto's backend with launches that are all or nothing. `service` is what the latest install made."""

    __module__ = "moto.ec2.models"
    service: ClassVar[Ec2]

    @property
    def _whole(self) -> EC2Backend:
        return cast("EC2Backend", self)

    def check_launch(self, request: Mapping[str, Any], template: Mapping[str, Any] | None) -> None:
        """Raises what a launch would, and launches nothing."""
        self._checked(launching.merge(self.template_version(template).data if template else {}, request))

    def run_instances(
        self,
        image_id: str,
        count: int,
        user_data: Base64EncodedString | None,
        security_group_names: list[str],
        **kwargs: Any,
    ) -> Reservation:
        """Launches, as moto's own callers ask for it (groups, fleets, CloudFormation)."""
        tags = kwargs.get("tags") or {}
        said = {
            "ImageId": image_id or None,
            "UserData": user_data,
            "InstanceType": None if kwargs.get("is_instance_type_default") else kwargs.get("instance_type"),
            "KeyName": kwargs.get("key_name"),
            "SecurityGroupIds": [getattr(group, "id", group) for group in kwargs.get("security_group_ids") or ()],
            "SecurityGroups": security_group_names,
            "NetworkInterfaces": kwargs.get("nics") or None,
            "BlockDeviceMappings": kwargs.get("block_device_mappings"),
            "SubnetId": kwargs.get("subnet_id"),
            "PrivateIpAddress": kwargs.get("private_ip"),
            "Placement": {"AvailabilityZone": kwargs.get("placement")},
            "InstanceInitiatedShutdownBehavior": kwargs.get("instance_initiated_shutdown_behavior"),
            "DisableApiTermination": kwargs.get("disable_api_termination"),
            "MetadataOptions": kwargs.get("metadata_options"),
            "AssociatePublicIpAddress": kwargs.get("associate_public_ip"),
        }
        if kwargs.get("lifecycle") == "spot" or kwargs.get("instance_market_options"):
            said["InstanceMarketOptions"] = {"MarketType": "spot"}
        launch_config = kwargs.get("launch_config")
        if launch_config and not said["BlockDeviceMappings"]:
            said["BlockDeviceMappings"] = launch_config.block_device_mapping_dict
        said["TagSpecifications"] = [
            {"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in pairs.items()]}
            for kind, pairs in tags.items()
        ]
        request = {name: value for name, value in said.items() if value not in (None, [], {})}
        reservation, _ = self.launch(request, count, kwargs.get("launch_template"))
        return reservation

    def launch(
        self, request: Mapping[str, Any], count: int, template: Mapping[str, Any] | None = None
    ) -> tuple[Reservation, dict[str, Any]]:
        """Launches `count` instances by the words of RunInstances; also what was launched. All of them, or none."""
        version = self.template_version(template) if template else None
        merged = launching.merge(version.data if version else {}, request)
        image, moto_words = self._checked(merged)
        if version:
            given = {"aws:ec2launchtemplate:id": version.template.id, "aws:ec2launchtemplate:version": version.number}
            merged["Tags"].setdefault("instance", {}).update({key: str(value) for key, value in given.items()})
        before = set(self.reservations)
        try:
            reservation = super().run_instances(
                image.id, count, moto_words.pop("user_data"), [], **moto_words, tags=merged["Tags"]
            )
            for instance in reservation.instances:
                self._finish(cast(Instance, instance), merged)
        except Exception:
            for failed in set(self.reservations) - before:
                self._undo(self.reservations[failed])
                del self.reservations[failed]
            self._free_half_made(self.get_subnet(moto_words["subnet_id"]))
            raise
        for instance in reservation.instances:
            self.service.adopt(cast(Instance, instance), reservation.id)
        return reservation, merged

    def template_version(self, template: Mapping[str, Any]) -> LaunchTemplateVersion:
        """A version by LaunchTemplateSpecification: one that was asked for, else the default one."""
        if template.get("LaunchTemplateId"):
            found = self.get_launch_template(template["LaunchTemplateId"])
        else:
            found = self.get_launch_template_by_name(template["LaunchTemplateName"])
        number = launching.version_number(template.get("Version"))
        if number is None:
            raise ec2_errors.invalid_value(f"Invalid launch template version: '{template.get('Version')}'")
        return found.get_version(number)

    def _checked(self, merged: Mapping[str, Any]) -> tuple[Ami, dict[str, Any]]:
        """The image, and the launch in moto's words. Raises EC2's errors for what can't be launched."""
        if not merged.get("ImageId"):
            raise ec2_errors.missing("ImageId")
        image = self.usable_image(merged["ImageId"])
        kind = merged.get("InstanceType") or DEFAULT_TYPE
        if kind not in INSTANCE_TYPES:
            raise ec2_errors.invalid_value(f"Invalid value '{kind}' for InstanceType.")
        key = merged.get("KeyName")
        if key and key not in self.key_pairs:
            raise ec2_errors.no_key_pair(key)
        self.profile_of(merged.get("IamInstanceProfile") or {})
        cards = [dict(card) for card in merged.get("NetworkInterfaces") or ()]
        subnet = self._subnet(merged, cards)
        groups = self._groups(merged, cards, subnet.vpc_id)
        data = merged.get("UserData")
        return image, {
            "user_data": data if isinstance(data, Base64EncodedString) else parse_user_data(data),
            "instance_type": kind,
            "is_instance_type_default": True,
            "key_name": key,
            "nics": cards,
            "subnet_id": subnet.id,
            "security_group_ids": groups,
            "region_name": self.region_name,
            "private_ip": self._private_ip(merged, subnet),
            "associate_public_ip": merged.get("AssociatePublicIpAddress"),
            "block_device_mappings": self._devices(image, merged),
            "ebs_optimized": bool(merged.get("EbsOptimized")),
            "disable_api_stop": bool(merged.get("DisableApiStop")),
            "disable_api_termination": bool(merged.get("DisableApiTermination")),
            "instance_initiated_shutdown_behavior": merged.get("InstanceInitiatedShutdownBehavior"),
            "hibernation_options": merged.get("HibernationOptions"),
            "monitoring_state": "enabled" if (merged.get("Monitoring") or {}).get("Enabled") else "disabled",
            "metadata_options": merged.get("MetadataOptions") or {},
            "lifecycle": (merged.get("InstanceMarketOptions") or {}).get("MarketType"),
            "client_token": merged.get("ClientToken"),
        }

    def usable_image(self, image_id: str) -> Ami:
        self.service.images.sync(self._whole)
        image = self.amis.get(image_id)
        if image is None:
            raise ec2_errors.no_image(image_id)
        if image.state != "available":
            raise ec2_errors.unavailable_image(image_id, image.state)
        return cast(Ami, image)

    def profile_of(self, profile: Mapping[str, str]) -> Any:
        """The instance profile of that name or ARN; None where neither is given."""
        from moto.iam.models import iam_backends

        iam = iam_backends[self.account_id][self.partition]
        for kind, value in (("arn", profile.get("Arn")), ("name", profile.get("Name"))):
            if value:
                try:
                    return iam.get_instance_profile_by_arn(value) if kind == "arn" else iam.get_instance_profile(value)
                except ServiceException:
                    raise ec2_errors.no_profile(kind, value) from None
        return None

    def _subnet(self, merged: Mapping[str, Any], cards: Sequence[dict[str, Any]]) -> Any:
        """Where it is launched: a subnet that is named, else a default one of its zone."""
        first = next((card for card in cards if int(card.get("DeviceIndex", 0)) == 0), None)
        if first and first.get("NetworkInterfaceId"):
            return self.get_network_interface(first["NetworkInterfaceId"]).subnet
        wanted = merged.get("SubnetId") or (first or {}).get("SubnetId")
        if wanted:
            subnet = self.get_subnet(wanted)
        else:
            defaults = self.get_default_subnets()
            zone = (merged.get("Placement") or {}).get("AvailabilityZone") or min(defaults, default="")
            if zone not in defaults:
                raise EC2ClientError("MissingInput", f"No default subnet in the zone '{zone}'.")
            subnet = defaults[zone]
        if first is not None:
            first["SubnetId"] = subnet.id
        return subnet

    def _groups(self, merged: Mapping[str, Any], cards: Sequence[dict[str, Any]], vpc_id: str) -> list[Any]:
        """Its security groups: named, of its first network interface, or else the default one of the VPC."""
        names = [*merged.get("SecurityGroupIds", ()), *merged.get("SecurityGroups", ())]
        for card in cards:
            if int(card.get("DeviceIndex", 0)) == 0:
                names += card.pop("Groups", None) or []
        groups = {name: self.get_security_group_by_name_or_id(name, vpc_id) for name in names}
        if unknown := [name for name, group in groups.items() if group is None]:
            raise ec2_errors.no_groups(unknown)
        return list(groups.values()) or [self.get_default_security_group(vpc_id)]

    def _private_ip(self, merged: Mapping[str, Any], subnet: Any) -> str | None:
        wanted = merged.get("PrivateIpAddress")
        if wanted and not launching.usable(wanted, subnet.cidr_block):
            raise ec2_errors.invalid_value(f"Address {wanted} does not fall within the subnet's address range")
        if wanted and wanted in subnet._subnet_ips:
            raise EC2ClientError("InvalidIPAddress.InUse", f"Address {wanted} is in use.")
        return wanted

    def _devices(self, image: Ami, merged: Mapping[str, Any]) -> list[dict[str, Any]]:
        """As moto wants them. A snapshot that is not known any more is no hindrance: it is a name here."""
        devices = launching.block_devices(image.block_device_mappings, merged.get("BlockDeviceMappings", ()))
        for device in devices:
            device["NoDevice"] = None
            if device["Ebs"].get("SnapshotId") not in self.snapshots:
                device["Ebs"].pop("SnapshotId", None)
            device["Ebs"].setdefault("VolumeSize", 8)
        return devices

    def _finish(self, instance: Instance, merged: Mapping[str, Any]) -> None:
        profile = self.profile_of(merged.get("IamInstanceProfile") or {})
        if profile:
            self.associate_iam_instance_profile(instance.id, iam_instance_profile_arn=profile.arn)
        if instance.is_spot:
            options = {**merged["InstanceMarketOptions"], "Tags": merged["Tags"]}
            request = SpotInstanceRequest(self._whole, instance, options, self.service.now())
            self.spot_instance_requests[request.id] = request
            instance.spot_instance_request_id = request.id

    def _undo(self, reservation: Reservation) -> None:
        for instance in reservation.instances:
            cast(Instance, instance).entered_terminated()
            self.spot_instance_requests.pop(instance.spot_instance_request_id or "", None)  # type: ignore[attr-defined]
            self.tags.pop(instance.id, None)

    @staticmethod
    def _free_half_made(subnet: Any) -> None:
        """The private address of an instance whose making failed: one that was never adopted."""
        for address, holder in list(subnet._subnet_ips.items()):
            if isinstance(holder, Instance) and holder.body is None:
                subnet.del_subnet_ip(address)
