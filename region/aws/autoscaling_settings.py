"""What CreateAutoScalingGroup and UpdateAutoScalingGroup ask for, checked: all of it is set, or nothing.

The messages are AWS's where they are known ("Amazon EC2 Auto Scaling API Reference", and what its users saw).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from moto.core.exceptions import ServiceException
from moto.elbv2.exceptions import TargetGroupNotFoundError

from region.aws.autoscaling_errors import ValidationError
from region.aws.autoscaling_group import Record
from region.scaling.schedule import Schedule

if TYPE_CHECKING:
    from moto.ec2.models import EC2Backend
    from moto.elbv2.models import ELBv2Backend

POLICIES = (
    "AllocationStrategy",
    "ClosestToNextInstanceHour",
    "Default",
    "NewestInstance",
    "OldestInstance",
    "OldestLaunchConfiguration",
    "OldestLaunchTemplate",
)
_ECHOED = ("Context", "DefaultInstanceWarmup", "AvailabilityZoneDistribution", "AvailabilityZoneImpairmentPolicy")
"""What is kept and shown, and has no effect here."""
_MISSING = (
    "LaunchConfigurationName",
    "InstanceId",
    "LoadBalancerNames",
    "AvailabilityZoneIds",
    "PlacementGroup",
    "MaxInstanceLifetime",
    "InstanceMaintenancePolicy",
    "InstanceLifecyclePolicy",
    "CapacityReservationSpecification",
    "DeletionProtection",
    "DesiredCapacityType",
)
"""What would have an effect with AWS, and has none here: it is refused, unless it says what is so anyway."""
_SO_ANYWAY: tuple[object, ...] = (None, "", 0, [], "none", "units")
_DISTRIBUTION = {
    "OnDemandAllocationStrategy": "prioritized",
    "OnDemandBaseCapacity": 0,
    "OnDemandPercentageAboveBaseCapacity": 100,
    "SpotAllocationStrategy": "lowest-price",
    "SpotInstancePools": 2,
}
"""API Reference, "InstancesDistribution"."""

Words = Mapping[str, Any]


def apply(ec2: EC2Backend, group: Record, asked: Words, *, fresh: bool) -> None:
    """All that both calls set. Raises ValidationError, and has changed nothing then."""
    if missing := [name for name in _MISSING if asked.get(name) not in _SO_ANYWAY]:
        raise NotImplementedError(f"its groups have no {missing[0]}")
    minimum, maximum, desired = sizes_of(group, asked, fresh=fresh)
    template, mixed = group.template, group.mixed
    if asked.get("LaunchTemplate"):
        template, mixed = template_of(ec2, asked["LaunchTemplate"]), None
    elif asked.get("MixedInstancesPolicy"):
        template, mixed = mixed_of(ec2, asked["MixedInstancesPolicy"])
    policies = list(asked.get("TerminationPolicies") or (["Default"] if fresh else group.policies))
    if unknown := [policy for policy in policies if policy not in POLICIES]:
        raise ValidationError(f"Termination policies are {', '.join(POLICIES)}; got {unknown[0]!r}")
    kind = asked.get("HealthCheckType")
    if kind and (unknown := [word for word in kind.split(",") if word not in ("EC2", "ELB")]):
        raise NotImplementedError(f"Health check types of a local region are EC2 and ELB; got {unknown[0]!r}")
    placed = fresh or asked.get("VPCZoneIdentifier") or asked.get("AvailabilityZones")
    group.subnets = subnets_of(ec2, asked) if placed else group.subnets
    group.by_subnet = bool(asked.get("VPCZoneIdentifier")) if placed else group.by_subnet
    group.minimum, group.maximum, group.desired = minimum, maximum, desired
    group.template, group.mixed, group.policies = template, mixed, policies
    group.elb_health = "ELB" in kind.split(",") if kind else group.elb_health
    for name, field in (
        ("HealthCheckGracePeriod", "grace"),
        ("DefaultCooldown", "cooldown"),
        ("NewInstancesProtectedFromScaleIn", "protect_new"),
        ("CapacityRebalance", "rebalance_capacity"),
    ):
        if asked.get(name) is not None:
            setattr(group, field, asked[name])
    group.others.update({name: asked[name] for name in _ECHOED if asked.get(name) is not None})


def sizes_of(group: Record, asked: Words, *, fresh: bool) -> tuple[int, int, int]:
    """API Reference, "UpdateAutoScalingGroup": a new minimum or maximum moves a desired capacity not given."""
    minimum = asked["MinSize"] if asked.get("MinSize") is not None else group.minimum
    maximum = asked["MaxSize"] if asked.get("MaxSize") is not None else group.maximum
    desired = asked.get("DesiredCapacity")
    if min(minimum, maximum, desired or 0) < 0:
        raise ValidationError("Sizes must not be negative.")
    if maximum < minimum:
        raise ValidationError(f"Max bound, {maximum}, must be greater than or equal to min bound, {minimum}")
    if desired is None:
        desired = minimum if fresh else min(max(group.desired, minimum), maximum)
    if not minimum <= desired <= maximum:
        raise ValidationError(
            f"Desired capacity:{desired} must be between the specified min size:{minimum} and max size:{maximum}"
        )
    return minimum, maximum, desired


def template_of(ec2: EC2Backend, asked: Words) -> dict[str, str]:
    """With id and name, the version as asked for. "$Default" is meant where none is, and not shown."""
    by_id, by_name = asked.get("LaunchTemplateId"), asked.get("LaunchTemplateName")
    if bool(by_id) is bool(by_name):
        raise ValidationError("Valid requests must contain either launchTemplateId or LaunchTemplateName")
    try:
        template = ec2.get_launch_template(by_id) if by_id else ec2.get_launch_template_by_name(str(by_name))
        version = asked.get("Version")
        template.get_version(version or "$Default")
    except (ServiceException, ValueError) as error:
        told = error.message if isinstance(error, ServiceException) else f"no version {asked.get('Version')!r}"
        raise ValidationError(f"You must use a valid fully-formed launch template. {told}") from error
    found = {"LaunchTemplateId": template.id, "LaunchTemplateName": template.name}
    return found | ({"Version": str(version)} if version else {})


def mixed_of(ec2: EC2Backend, asked: Words) -> tuple[dict[str, str], dict[str, Any]]:
    """The template of a MixedInstancesPolicy, and the policy as it is shown."""
    within = asked.get("LaunchTemplate") or {}
    template = template_of(ec2, within.get("LaunchTemplateSpecification") or {})
    overrides = [dict(override) for override in within.get("Overrides") or ()]
    for override in overrides:
        if str(override.get("WeightedCapacity", "1")) != "1" or "InstanceRequirements" in override:
            raise NotImplementedError("Overrides with WeightedCapacity or InstanceRequirements are not supported.")
        if specification := override.get("LaunchTemplateSpecification"):
            override["LaunchTemplateSpecification"] = template_of(ec2, specification)
    spread = {**_DISTRIBUTION, **{k: v for k, v in (asked.get("InstancesDistribution") or {}).items() if v is not None}}
    if not 0 <= int(spread["OnDemandPercentageAboveBaseCapacity"]) <= 100 or int(spread["OnDemandBaseCapacity"]) < 0:
        raise ValidationError("OnDemandPercentageAboveBaseCapacity must be from 0 to 100, and the base not negative.")
    shown = {"LaunchTemplateSpecification": template, "Overrides": overrides}
    return template, {"LaunchTemplate": shown, "InstancesDistribution": spread}


def subnets_of(ec2: EC2Backend, asked: Words) -> list[tuple[str, str]]:
    """Where to launch: the subnets asked for, or the default ones of the zones asked for."""
    zones = list(asked.get("AvailabilityZones") or ())
    if ids := [word.strip() for word in (asked.get("VPCZoneIdentifier") or "").split(",") if word.strip()]:
        known = {subnet.id: subnet for subnet in ec2.describe_subnets()}
        if unknown := [subnet for subnet in ids if subnet not in known]:
            raise ValidationError(f"The subnet ID '{unknown[0]}' does not exist")
        found = [(subnet, known[subnet].availability_zone) for subnet in ids]
        if zones and set(zones) != {zone for _, zone in found}:
            raise ValidationError(
                "The availability zones of the specified subnets and the Auto Scaling group do not match"
            )
        return found
    if not zones:
        raise ValidationError("At least one Availability Zone or VPC Subnet is required.")
    defaults = {subnet.availability_zone: subnet.id for subnet in ec2.get_default_subnets().values()}
    if unknown := [zone for zone in zones if zone not in defaults]:
        raise ValidationError(f"Invalid availability zones: [{unknown[0]}]")
    return [(defaults[zone], zone) for zone in zones]


def sources_of(asked: Words) -> list[str]:
    sources = asked.get("TrafficSources") or ()
    return [*(asked.get("TargetGroupARNs") or ()), *(source["Identifier"] for source in sources)]


def target_groups_of(elbv2: ELBv2Backend, arns: Sequence[str]) -> list[str]:
    """Raises ValidationError for one that is not there."""
    for arn in arns:
        try:
            elbv2.describe_target_groups(None, [arn], None)
        except TargetGroupNotFoundError as error:
            raise ValidationError("One or more target groups not found") from error
    return list(dict.fromkeys(arns))


def schedule_of(asked: Words, now: float) -> Schedule:
    """Of PutScheduledUpdateGroupAction. Raises ValidationError for one that will never be due."""
    start, end = _seconds(asked.get("StartTime") or asked.get("Time")), _seconds(asked.get("EndTime"))
    if start is not None and start <= now:
        raise ValidationError("Given start time is in the past")
    schedule = Schedule(start, end, asked.get("Recurrence"), asked.get("TimeZone"))
    try:
        if schedule.after(now) is None:
            raise ValidationError("A scheduled action needs a StartTime or a Recurrence that comes before its EndTime.")
    except ValueError as error:
        raise ValidationError(f"Given recurrence string is invalid: {error}") from error
    return schedule


def _seconds(moment: datetime | None) -> float | None:
    """moto reads times as UTC and without a zone."""
    return None if moment is None else moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
