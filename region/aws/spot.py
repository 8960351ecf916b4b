"""Spot: requests for instances that AWS may take back, and fleets that are launched at once.

EC2 User Guide, "Spot request status": a fulfilled one-time request is `active`; it is `closed` when its instance has
ended, and its status says by whom. "Use an EC2 Fleet of type instant": one synchronous request, which is not kept up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from moto.core.utils import utcnow
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import fleets, spot_requests
from moto.ec2.utils import random_fleet_id, random_spot_request_id

from region.aws import launching
from region.aws.instances import Instance

if TYPE_CHECKING:
    from region.aws.ec2_backend import EC2Backend

FULFILLED = ("fulfilled", "Your Spot request is fulfilled.")
MARKED = (
    "marked-for-termination",
    "Your Spot Instance is marked for termination because there is no longer enough available capacity.",
)
STOPPED = (
    "instance-stopped-no-capacity",
    "Your Spot instance was stopped because there is no Spot capacity available that matches your request.",
)
TAKEN_BACK = (
    "instance-terminated-no-capacity",
    "Your Spot instance was terminated because there is no Spot capacity available that matches your request.",
)
BY_USER = ("instance-terminated-by-user", "Spot Instance terminated due to user-initiated termination.")
CANCELED = ("request-canceled-and-instance-running", "Spot request is canceled, but your instance(s) are running.")


class SpotInstanceRequest(spot_requests.SpotInstanceRequest):
    """A request that is fulfilled by an instance that runs already: it is the launch that makes it."""

    __module__ = "moto.ec2.models"

    def __init__(self, backend: EC2Backend, instance: Instance, options: Mapping[str, Any], now: datetime) -> None:
        self.instance = instance
        self._made = self._updated = now
        spot = options.get("SpotOptions") or {}
        behaviour = spot.get("InstanceInterruptionBehavior") or "terminate"
        super().__init__(
            backend,
            random_spot_request_id(),
            spot.get("MaxPrice") or "0.05",
            instance.image_id,
            spot.get("SpotInstanceType") or "one-time",
            None,
            spot.get("ValidUntil"),
            None,
            None,
            instance.key_name or "",
            [group.id for group in instance.security_groups],
            instance.user_data,
            instance.instance_type,
            instance.availability_zone,
            None,
            None,
            instance.monitored,
            instance.subnet_id or "",
            options.get("Tags") or {},
            None,
            behaviour,
        )
        self.enter("active", FULFILLED, now)

    def launch_instance(self) -> Instance:
        return cast(Instance, self.instance)

    def enter(self, state: str, status: tuple[str, str], now: datetime) -> None:
        self.state = state
        self._status_code, self.status_message = status
        self._updated = now

    @property
    def status(self) -> dict[str, Any]:
        return {"Code": self._status_code, "Message": self.status_message, "UpdateTime": self._updated}

    @property
    def create_time(self) -> Any:
        return self._made

    @property
    def launched_availability_zone(self) -> str | None:
        return cast(Instance, self.instance).availability_zone

    def get_filter_value(self, filter_name: str, method_name: str | None = None) -> Any:
        match filter_name:
            case "instance-id":
                return self.instance.id
            case "status-code":
                return self._status_code
            case "type":
                return self.type
            case _:
                return super().get_filter_value(filter_name, method_name)


def stops(instance: Instance) -> bool:
    """Whether an interruption stops it: a persistent request may ask for that ("Behavior of Spot interruptions")."""
    request = request_of(instance)
    return request is not None and request.instance_interruption_behavior == "stop"


def request_of(instance: Instance) -> SpotInstanceRequest | None:
    requests = instance.ec2_backend.spot_instance_requests
    return cast("SpotInstanceRequest | None", requests.get(instance.spot_instance_request_id))


class Fleet(fleets.Fleet):
    """A fleet that is launched at once: by RunInstances, with all that its template says. Nobody keeps it up after.

    `request` is CreateFleet's. Errors of a launch are told beside what was launched.
    """

    __module__ = "moto.ec2.models"

    def __init__(self, backend: EC2Backend, request: Mapping[str, Any]) -> None:
        self.ec2_backend = backend
        self.id = random_fleet_id()
        self.state, self.fleet_type = "active", request.get("Type", "maintain")
        self.create_time = self.valid_from = utcnow()
        self.valid_until = None
        self.target_capacity_specification = request["TargetCapacitySpecification"]
        self.target_capacity = int(self.target_capacity_specification["TotalTargetCapacity"])
        self.launch_template_configs = request.get("LaunchTemplateConfigs", [])
        self.spot_options, self.on_demand_options = request.get("SpotOptions", {}), request.get("OnDemandOptions", {})
        self.launch_specs, self.spot_requests, self.on_demand_instances = [], [], []
        self.fulfilled_capacity = 0.0
        self.errors: list[dict[str, Any]] = []
        self.launched: list[dict[str, Any]] = []
        self._tags = launching.tags_of(request.get("TagSpecifications"))
        self.add_tags(self._tags.get("fleet", {}))
        self.tags = self.get_tags()
        for market, capacity in shares(self.target_capacity_specification).items():
            self._fill(market, capacity)

    @property
    def instances(self) -> list[dict[str, Any]] | None:
        return self.launched if self.fleet_type == "instant" else None

    def _fill(self, market: str, capacity: int) -> None:
        for choice in choices(self.launch_template_configs):
            if capacity <= 0:
                return
            count = -(-capacity // max(1, int(choice[1].get("WeightedCapacity", 1))))
            try:
                reservation, _ = self.ec2_backend.launch(self._request(choice[1], market), count, choice[0])
            except EC2ClientError as error:
                self.errors.append(
                    {**_said(*choice), "Lifecycle": market, "ErrorCode": error.code, "ErrorMessage": error.message}
                )
                continue
            self.fulfilled_capacity += capacity
            capacity = 0
            self._launched(choice, market, cast(list[Instance], reservation.instances))

    def _launched(self, choice: Choice, market: str, instances: list[Instance]) -> None:
        ids = [instance.id for instance in instances]
        kind = instances[0].instance_type
        self.launched.append({**_said(*choice), "Lifecycle": market, "InstanceIds": ids, "InstanceType": kind})
        for instance in instances:
            if market == "spot":
                self.spot_requests.append(cast(SpotInstanceRequest, request_of(instance)))
            else:
                self.on_demand_instances.append({"id": self.id, "instance": instance})

    def _request(self, override: Mapping[str, Any], market: str) -> dict[str, Any]:
        """RunInstances by an override (FleetLaunchTemplateOverrides)."""
        words = ("InstanceType", "SubnetId", "Placement", "BlockDeviceMappings", "ImageId")
        request = {word: override[word] for word in words if override.get(word)}
        if zone := override.get("AvailabilityZone"):
            request["Placement"] = {**request.get("Placement", {}), "AvailabilityZone": zone}
        if market == "spot":
            price = {"MaxPrice": override["MaxPrice"]} if override.get("MaxPrice") else {}
            request["InstanceMarketOptions"] = {"MarketType": market, "SpotOptions": price}
        own = {"instance": {"aws:ec2:fleet-id": self.id}}
        request["TagSpecifications"] = launching.specifications(launching.merge_tags(self._tags, own))
        return request

    def terminate_instances(self) -> None:
        ids = [instance_id for entry in self.launched for instance_id in entry["InstanceIds"]]
        self.ec2_backend.terminate_instances(ids)


Choice = tuple[Mapping[str, Any], Mapping[str, Any]]
"""A launch template's version, and what replaces words of it."""


def shares(specification: Mapping[str, Any]) -> dict[str, int]:
    """The capacity of each market (TargetCapacitySpecificationRequest). Pure."""
    total = int(specification["TotalTargetCapacity"])
    spot = int(specification.get("SpotTargetCapacity") or 0)
    on_demand = int(specification.get("OnDemandTargetCapacity") or 0)
    rest = max(0, total - spot - on_demand)
    default = specification.get("DefaultTargetCapacityType") or "on-demand"
    return {
        "on-demand": on_demand + (rest if default != "spot" else 0),
        "spot": spot + (rest if default == "spot" else 0),
    }


def choices(configs: Sequence[Mapping[str, Any]]) -> list[Choice]:
    """What a fleet may launch: those with a priority first (lower is sooner), then as they stand. Pure.

    There is no capacity that runs out here, and one price: so the first that can be launched at all is taken.
    """
    every = [
        (config["LaunchTemplateSpecification"], override)
        for config in configs
        for override in config.get("Overrides") or [{}]
    ]
    return sorted(every, key=lambda choice: float(choice[1].get("Priority", "inf")))


def _said(template: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    return {"LaunchTemplateAndOverrides": {"LaunchTemplateSpecification": template, "Overrides": override}}
