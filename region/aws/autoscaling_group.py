"""A group as it is recorded: what its calls set, its members, and how both are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from region.scaling.schedule import Schedule
from region.scaling.words import Distribution, Group, Hook, Member, Process

TAG = "aws:autoscaling:groupName"


@dataclass
class ScheduledAction:
    """`due` is the next time, in seconds; None when there is none left."""

    name: str
    arn: str
    schedule: Schedule
    due: float | None
    minimum: int | None
    maximum: int | None
    desired: int | None

    def shown(self, group: str) -> dict[str, object]:
        found: dict[str, object | None] = {
            "AutoScalingGroupName": group,
            "ScheduledActionName": self.name,
            "ScheduledActionARN": self.arn,
            "StartTime": _time(self.schedule.start if self.schedule.start is not None else self.due),
            "Time": _time(self.schedule.start if self.schedule.start is not None else self.due),
            "EndTime": _time(self.schedule.end),
            "Recurrence": self.schedule.recurrence,
            "TimeZone": self.schedule.time_zone,
            "MinSize": self.minimum,
            "MaxSize": self.maximum,
            "DesiredCapacity": self.desired,
        }
        return {key: value for key, value in found.items() if value is not None}


@dataclass
class Record:
    """One group.

    `template` is as asked for: id, name and (where given) version. `subnets` are ids with their zones, in order.
    `why` is the last request that changed the desired capacity, for the cause of a launch. `running` says which
    activity each member is in.
    """

    name: str
    arn: str
    created: float
    template: dict[str, str]
    mixed: dict[str, Any] | None = None
    minimum: int = 0
    maximum: int = 0
    desired: int = 0
    subnets: list[tuple[str, str]] = field(default_factory=list)
    by_subnet: bool = True
    elb_health: bool = False
    grace: int = 0
    cooldown: int = 300
    target_groups: list[str] = field(default_factory=list)
    policies: list[str] = field(default_factory=lambda: ["Default"])
    protect_new: bool = False
    rebalance_capacity: bool = False
    tags: dict[str, tuple[str, bool]] = field(default_factory=dict)
    hooks: dict[str, Hook] = field(default_factory=dict)
    suspended: dict[Process, str] = field(default_factory=dict)
    schedule: dict[str, ScheduledAction] = field(default_factory=dict)
    metrics: list[str] = field(default_factory=list)
    others: dict[str, Any] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)
    running: dict[str, str] = field(default_factory=dict)
    why: str = ""
    deleting: bool = False
    failures: int = 0
    retry_at: float = 0.0
    changed: float | None = None

    @property
    def zones(self) -> list[str]:
        return list(dict.fromkeys(zone for _, zone in self.subnets))

    def snapshot(self) -> Group:
        """For `plan`."""
        spread = (self.mixed or {}).get("InstancesDistribution", {})
        return Group(
            name=self.name,
            minimum=self.minimum,
            maximum=self.maximum,
            desired=self.desired,
            zones=tuple(self.zones),
            members=tuple(self.members.values()),
            hooks=tuple(self.hooks.values()),
            target_groups=tuple(self.target_groups),
            elb_health=self.elb_health,
            grace=self.grace,
            suspended=frozenset(self.suspended),
            policies=tuple(self.policies),
            template=self.template["LaunchTemplateId"],
            distribution=Distribution(
                int(spread.get("OnDemandBaseCapacity", 0)), int(spread.get("OnDemandPercentageAboveBaseCapacity", 100))
            ),
            rebalance_capacity=self.rebalance_capacity,
            deleting=self.deleting,
            retry_at=self.retry_at,
        )

    def sizes(self) -> str:
        return f"AutoScalingGroup {self.name} has min-size={self.minimum}, max-size={self.maximum}, " + (
            f"and desired-size={self.desired}."
        )

    def shown(self) -> dict[str, object]:
        """As DescribeAutoScalingGroups gives it."""
        found: dict[str, object] = {
            "AutoScalingGroupName": self.name,
            "AutoScalingGroupARN": self.arn,
            "MinSize": self.minimum,
            "MaxSize": self.maximum,
            "DesiredCapacity": self.desired,
            "DefaultCooldown": self.cooldown,
            "AvailabilityZones": self.zones,
            "LoadBalancerNames": [],
            "TargetGroupARNs": list(self.target_groups),
            "HealthCheckType": "ELB" if self.elb_health else "EC2",
            "HealthCheckGracePeriod": self.grace,
            "Instances": [self.shown_member(member, "Healthy", "Unhealthy") for member in self.members.values()],
            "CreatedTime": _time(self.created),
            "SuspendedProcesses": [
                {"ProcessName": str(process), "SuspensionReason": why} for process, why in self.suspended.items()
            ],
            "VPCZoneIdentifier": ",".join(subnet for subnet, _ in self.subnets) if self.by_subnet else "",
            "EnabledMetrics": [{"Metric": metric, "Granularity": "1Minute"} for metric in self.metrics],
            "Tags": self.shown_tags(),
            "TerminationPolicies": list(self.policies),
            "NewInstancesProtectedFromScaleIn": self.protect_new,
            "ServiceLinkedRoleARN": f"arn:aws:iam::{self.arn.split(':')[4]}:role/aws-service-role/"
            "autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling",
            "CapacityRebalance": self.rebalance_capacity,
            "TrafficSources": [{"Identifier": arn, "Type": "elbv2"} for arn in self.target_groups],
            **self.others,
        }
        if self.mixed is not None:
            found["MixedInstancesPolicy"] = self.mixed
        else:
            found["LaunchTemplate"] = self.template
        if self.deleting:
            found["Status"] = "Delete in progress"
        return found

    def shown_member(self, member: Member, healthy: str, unhealthy: str) -> dict[str, object]:
        template, version = member.template
        found: dict[str, object] = {
            "InstanceId": member.instance_id,
            "InstanceType": member.instance_type,
            "AvailabilityZone": member.zone,
            "LifecycleState": str(member.state),
            "HealthStatus": unhealthy if member.fault else healthy,
            "ProtectedFromScaleIn": member.protected,
        }
        if template:
            name = self.template.get("LaunchTemplateName") if template == self.template["LaunchTemplateId"] else None
            found["LaunchTemplate"] = {"LaunchTemplateId": template, "Version": str(version)} | (
                {"LaunchTemplateName": name} if name else {}
            )
        return found

    def shown_tags(self) -> list[dict[str, object]]:
        return [
            {
                "ResourceId": self.name,
                "ResourceType": "auto-scaling-group",
                "Key": key,
                "Value": value,
                "PropagateAtLaunch": propagate,
            }
            for key, (value, propagate) in sorted(self.tags.items())
        ]


def shown_hook(hook: Hook, group: str) -> Mapping[str, object]:
    """As DescribeLifecycleHooks gives it."""
    found = {
        "LifecycleHookName": hook.name,
        "AutoScalingGroupName": group,
        "LifecycleTransition": str(hook.transition),
        "HeartbeatTimeout": int(hook.heartbeat),
        "GlobalTimeout": int(hook.limit),
        "DefaultResult": str(hook.default),
        "RoleARN": hook.role,
        "NotificationTargetARN": hook.target,
        "NotificationMetadata": hook.metadata,
    }
    return {key: value for key, value in found.items() if value != ""}


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
