"""The API's calls about instances and their tags."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any, cast

from moto.core.responses import ActionResult, EmptyResult
from moto.core.types import Base64EncodedString
from moto.core.utils import utcnow
from moto.ec2.exceptions import InvalidInstanceIdError, InvalidParameterCombination
from moto.ec2.models.instances import InstanceState
from moto.ec2.responses._base_response import EC2BaseResponse

from region.aws import ec2_errors, launching
from region.aws.calls import Calls
from region.aws.instances import Instance

_WHEN_STOPPED = ("InstanceType", "UserData", "Kernel", "Ramdisk", "EbsOptimized")
"""Attributes that ModifyInstanceAttribute changes only of a stopped instance."""

# moto says of every launch that it is pending; a launch asked for twice may run already.
_AS_IT_IS = {
    path: transform
    for path, transform in EC2BaseResponse.RESPONSE_KEY_PATH_TO_TRANSFORMER.items()
    if path != "RunInstances.Reservation.Instances.Instance.State"
}


class InstanceCalls(Calls):
    """Takes the place of moto's where that says what is not so, or knows less than EC2."""

    RESPONSE_KEY_PATH_TO_TRANSFORMER = _AS_IT_IS

    # --- launches ------------------------------------------------------------------------------------------------

    def run_instances(self) -> ActionResult:
        """RunInstances launches as many as it can, up to MaxCount: here it can always launch all."""
        request = dict(self._get_params())
        least, most = request.pop("MinCount", 1), request.pop("MaxCount", 1)
        template = request.pop("LaunchTemplate", None)
        if not 1 <= least <= most:
            raise ec2_errors.invalid_value(f"Value ({least}) for parameter minCount is invalid: expected 1 to {most}.")
        if request.get("NetworkInterfaces") and request.get("SubnetId"):
            what = "Network interfaces and an instance-level subnet ID may not be specified on the same request"
            raise InvalidParameterCombination(what)
        self._refuse_reserved(launching.tags_of(request.get("TagSpecifications")))
        if request.pop("DryRun", False):
            self.here.check_launch(request, template)
            self.error_on_dryrun()
        return self._once(lambda: ActionResult(self.here.launch(request, most, template)[0]))

    def _refuse_reserved(self, tags: launching.Tags) -> None:
        if key := launching.reserved_tag(tags):
            what = f"Tag keys starting with 'aws:' are reserved for internal use: {key}"
            raise ec2_errors.invalid_value(what)

    # --- states --------------------------------------------------------------------------------------------------

    def _changed(self, changes: Iterable[tuple[Any, InstanceState]]) -> list[dict[str, Any]]:
        return [
            {
                "InstanceId": instance.id,
                "CurrentState": {"Code": instance.state_code, "Name": instance.state},
                "PreviousState": {"Code": previous.code, "Name": previous.name},
            }
            for instance, previous in changes
        ]

    def _instance_ids(self) -> list[str]:
        return list(dict.fromkeys(self._get_param("InstanceIds", [])))

    def terminate_instances(self) -> ActionResult:
        changes = self._checked_change(self.here.terminate_instances)
        return ActionResult({"TerminatingInstances": changes})

    def stop_instances(self) -> ActionResult:
        return ActionResult({"StoppingInstances": self._checked_change(self.here.stop_instances)})

    def start_instances(self) -> ActionResult:
        return ActionResult({"StartingInstances": self._checked_change(self.here.start_instances)})

    def _checked_change(self, change: Any) -> list[dict[str, Any]]:
        ids = self._instance_ids()
        self.here.get_multi_instances_by_id(ids)
        self.error_on_dryrun()
        return self._changed(change(ids))

    def reboot_instances(self) -> ActionResult:
        self.error_on_dryrun()
        self.here.reboot_instances(self._instance_ids())
        return EmptyResult()

    # --- descriptions --------------------------------------------------------------------------------------------

    def describe_instances(self) -> ActionResult:
        self.error_on_dryrun()
        ids = self._instance_ids()
        most, token = self._get_int_param("MaxResults"), self._get_param("NextToken")
        if ids and most is not None:
            what = "The parameter instancesSet cannot be used with the parameter maxResults"
            raise InvalidParameterCombination(what)
        found = self.here.reservations_of(ids, self._filters())
        names = [reservation.id for reservation in found]
        start = names.index(token) + 1 if token in names else 0
        shown = found[start : start + most] if most else found[start:]
        more = shown and start + len(shown) < len(found)
        return ActionResult({"Reservations": shown, "NextToken": shown[-1].id if more else None})

    def describe_instance_status(self) -> ActionResult:
        """By default only of running instances."""
        found = self.here.get_multi_instances_by_id(ids) if (ids := self._instance_ids()) else self.here.all_instances()
        if not self._get_bool_param("IncludeAllInstances", False):
            found = [instance for instance in found if instance.state == "running"]
        return ActionResult({"InstanceStatuses": self.here.filtered(found, self._filters())})

    def get_console_output(self) -> ActionResult:
        instance = cast(Instance, self.here.get_instance(self._get_param("InstanceId")))
        output = instance.body.console_output() if instance.body else b""
        encoded = Base64EncodedString(base64.b64encode(output).decode())
        return ActionResult({"InstanceId": instance.id, "Timestamp": utcnow(), "Output": encoded})

    # --- attributes ----------------------------------------------------------------------------------------------

    def modify_instance_attribute(self) -> ActionResult:
        """ModifyInstanceAttribute: some attributes can be changed only while the instance is stopped."""
        instance = cast(Instance, self.here.get_instance(self._get_param("InstanceId")))
        named = self._get_param("Attribute")
        asked = {name for name in self._get_params() if name not in ("InstanceId", "DryRun", "Attribute", "Value")}
        asked |= {named[0].upper() + named[1:]} if named else set()
        if instance.state != "stopped" and any(name in asked for name in _WHEN_STOPPED):
            raise ec2_errors.not_stopped(instance.id)
        data = self._get_param("UserData.Value")
        if data is not None:
            self.error_on_dryrun()
            instance.user_data = Base64EncodedString(base64.b64encode(data).decode())
            return EmptyResult()
        behaviour = self._get_param("InstanceInitiatedShutdownBehavior.Value")
        if behaviour is not None:
            if behaviour not in ("stop", "terminate"):
                raise ec2_errors.invalid_value(f"Invalid value '{behaviour}' for instanceInitiatedShutdownBehavior.")
            self.error_on_dryrun()
            instance.instance_initiated_shutdown_behavior = behaviour
            return EmptyResult()
        return super().modify_instance_attribute()

    def modify_instance_metadata_options(self) -> ActionResult:
        """What is not named stays as it is."""
        instance = self.here.get_instance(self._get_param("InstanceId"))
        self.error_on_dryrun()
        options = instance.metadata_options
        for word in ("HttpTokens", "HttpEndpoint", "InstanceMetadataTags", "HttpProtocolIpv6"):
            if (value := self._get_param(word)) is not None:
                setattr(options, _snake(word), value)
        if (hops := self._get_int_param("HttpPutResponseHopLimit")) is not None:
            options.http_put_response_hop_limit = hops
        return ActionResult({"InstanceId": instance.id, "InstanceMetadataOptions": options})

    # --- tags ----------------------------------------------------------------------------------------------------

    def create_tags(self) -> ActionResult:
        self._refuse_reserved({"": {tag["Key"]: tag.get("Value", "") for tag in self._get_param("Tags", [])}})
        self._exist(self._get_param("Resources", []))
        return super().create_tags()

    def delete_tags(self) -> ActionResult:
        self._refuse_reserved({"": {tag["Key"]: "" for tag in self._get_param("Tags", [])}})
        resources = self._get_param("Resources", [])
        if "Tags" not in self._get_params():
            # "If you omit this parameter, we delete all user-defined tags for the specified resources."
            self.error_on_dryrun()
            for resource in resources:
                keys = [key for key in self.here.tags.get(resource, {}) if not key.startswith("aws:")]
                self.here.delete_tags([resource], dict.fromkeys(keys))  # type: ignore[arg-type] # None: whatever value
            return EmptyResult()
        return super().delete_tags()

    def _exist(self, resources: Iterable[str]) -> None:
        """moto asks for an instance and does not look at the answer."""
        for resource in resources:
            if resource.startswith("i-") and self.here.get_instance_by_id(resource) is None:
                raise InvalidInstanceIdError(resource)


def _snake(word: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in word).lstrip("_")
