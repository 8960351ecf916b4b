"""The API's calls about AMIs and their snapshots."""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.exceptions import MalformedAMIIdError

from region.aws import ec2_errors
from region.aws.calls import Calls
from region.aws.images import Ami
from region.aws.instances import Instance


class ImageCalls(Calls):
    """Takes the place of moto's, for which an AMI holds nothing."""

    def _image(self) -> Ami:
        return self.here.service.images.found(self.here, self._get_param("ImageId"))

    # --- make ----------------------------------------------------------------------------------------------------

    def create_image(self) -> ActionResult:
        instance = self.here.get_instance(self._get_param("InstanceId"))
        assert isinstance(instance, Instance)
        self.error_on_dryrun()
        image = self.here.service.images.create(instance, self._get_params())
        return ActionResult({"ImageId": image.id})

    def copy_image(self) -> ActionResult:
        """From this AWS region to itself: there is no other one."""
        if self._get_param("SourceRegion") != self.region:
            raise ec2_errors.unsupported(f"There are no images in {self._get_param('SourceRegion')}: it is not real.")
        source = self.here.usable_image(self._get_param("SourceImageId"))
        self.error_on_dryrun()

        def copy() -> ActionResult:
            image = self.here.service.images.copy(source, self.here, self._get_params())
            return ActionResult({"ImageId": image.id})

        return self._once(copy)

    def register_image(self) -> ActionResult:
        """Of the snapshot of an AMI's root: nothing else here holds a file system that could boot."""
        devices = self._get_param("BlockDeviceMappings", [])
        snapshots = [device.get("Ebs", {}).get("SnapshotId") for device in devices]
        wanted = next((snapshot for snapshot in snapshots if snapshot), None)
        if wanted is None:
            raise ec2_errors.unsupported("An AMI is registered from the snapshot of an AMI's root device here.")
        source = self.here.service.images.by_snapshot(self.here, wanted)
        self.error_on_dryrun()
        image = self.here.service.images.copy(source, self.here, self._get_params())
        return ActionResult({"ImageId": image.id})

    # --- describe ------------------------------------------------------------------------------------------------

    def describe_images(self) -> ActionResult:
        """DescribeImages. Disabled ones are shown where that is asked for, or by their id."""
        ids, owners = self._get_param("ImageIds", []), self._get_param("Owners", [])
        users = self._get_param("ExecutableUsers", [])
        if malformed := [one for one in ids if not one.startswith("ami-")]:
            raise MalformedAMIIdError(malformed)
        self.error_on_dryrun()
        self.here.service.images.sync(self.here)
        found = [image for image in self.here.images() if self._shown(image, ids)]
        if ids and (missing := sorted(set(ids) - {image.id for image in found})):
            raise ec2_errors.no_image(", ".join(missing))
        me = self.current_account
        if owners:
            found = [image for image in found if me in [me if owner == "self" else owner for owner in owners]]
        if users:
            found = [image for image in found if self._may_launch(image, users)]
        shown = self.here.filtered(found, self._filters())
        return ActionResult({"Images": shown})

    def _shown(self, image: Ami, ids: list[str]) -> bool:
        return image.id in ids if ids else image.state != "disabled" or bool(self._get_param("IncludeDisabled"))

    def _may_launch(self, image: Ami, users: list[str]) -> bool:
        """ExecutableUsers: an account id, `self` (permission given expressly), or `all` (public)."""
        accounts = {permission.get("UserId") for permission in image.launch_permissions}
        wanted = {self.current_account if user == "self" else user for user in users}
        return bool(accounts & wanted) or ("all" in users and image.is_public)

    # --- change --------------------------------------------------------------------------------------------------

    def modify_image_attribute(self) -> ActionResult:
        """ModifyImageAttribute: the description, or who may launch it."""
        image = self._image()
        described = self._get_param("Description.Value")
        if described is None and self._get_param("Attribute") == "description":
            described = self._get_param("Value")
        if described is not None:
            self.error_on_dryrun()
            image.description = described
        else:
            super().modify_image_attribute()
        self.here.service.images.save(image)
        return EmptyResult()

    def _modified(self, **words: Any) -> ActionResult:
        image = self._image()
        self.error_on_dryrun()
        for word, value in words.items():
            setattr(image, word, value)
        self.here.service.images.save(image)
        return ActionResult({"Return": True})

    def disable_image(self) -> ActionResult:
        return self._modified(state="disabled")

    def enable_image(self) -> ActionResult:
        return self._modified(state="available")

    def enable_image_deprecation(self) -> ActionResult:
        when = self._get_param("DeprecateAt")
        return self._modified(deprecation_time=f"{when:%Y-%m-%dT%H:%M:00.000Z}")

    def disable_image_deprecation(self) -> ActionResult:
        return self._modified(deprecation_time=None)

    def enable_image_deregistration_protection(self) -> ActionResult:
        cooldown = bool(self._get_param("WithCooldown"))
        self._modified(deregistration_protection="enabled-with-cooldown" if cooldown else "enabled")
        return ActionResult({"Return": "true"})

    def disable_image_deregistration_protection(self) -> ActionResult:
        """At once, also where a cool-down was asked for, which is 24 hours on AWS."""
        self._modified(deregistration_protection="disabled")
        return ActionResult({"Return": "true"})

    # --- take away -----------------------------------------------------------------------------------------------

    def deregister_image(self) -> ActionResult:
        self.error_on_dryrun()
        image = self.here.service.images.deregister(self.here, self._get_param("ImageId"))
        answer: dict[str, Any] = {"Return": True}
        if self._get_param("DeleteAssociatedSnapshots"):
            self.here.delete_snapshot(image.ebs_snapshot.id)
            results = [{"SnapshotId": image.ebs_snapshot.id, "ReturnCode": "success"}]
            answer["DeleteSnapshotResults"] = results
        return ActionResult(answer)

    def describe_image_attribute(self) -> ActionResult:
        self._image()
        return super().describe_image_attribute()
