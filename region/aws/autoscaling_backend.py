"""What the calls about groups do: they check as AWS does, and change the record. Nothing is launched or ended here.

The messages are AWS's where they are known ("Amazon EC2 Auto Scaling API Reference", and what its users saw).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, cast

from moto.autoscaling.models import AutoScalingBackend, FakeScalingPolicy

from region.aws.autoscaling_errors import (
    AlreadyExists,
    ResourceInUse,
    ScalingActivityInProgress,
    ValidationError,
    no_group,
)
from region.aws.autoscaling_group import Record, ScheduledAction
from region.aws.autoscaling_hands import Hands
from region.aws.autoscaling_hooks import hook_of
from region.aws.autoscaling_members import Members
from region.aws.autoscaling_settings import Words, apply, schedule_of, sizes_of, sources_of, target_groups_of
from region.aws.world import World
from region.scaling.activities import moment
from region.scaling.words import GOING, Process

if TYPE_CHECKING:
    from region.aws.elbv2 import Balancers
    from region.aws.elbv2_backend import RegionElbv2


class AutoScaling(AutoScalingBackend):
    """The groups of one account and region. Of moto's own it uses policies."""

    __module__ = "moto.autoscaling.models"
    world: ClassVar[World]

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.groups: dict[str, Record] = {}
        self.hands = Hands(self)
        self.members = Members(self)

    @property
    def now(self) -> float:
        return self.world.clock()

    def notify_terminate_instances(self, instance_ids: list[str]) -> None:
        """Whoever terminates an instance by EC2 changes no group: its health check finds out."""

    def target_state(self, arn: str, instance_id: str) -> str | None:
        """As Elastic Load Balancing tells it; None for one that the target group has not, or has drained."""
        balancers = cast("Balancers", cast("RegionElbv2", self.elbv2_backend).service)
        state = balancers.state_of(arn, instance_id)
        return None if state == "draining" and balancers.drained(arn, instance_id) else state

    # --- finding ---------------------------------------------------------------------------------------------------

    def group(self, name: str | None) -> Record:
        """One that may be changed. Raises ValidationError."""
        if (group := self.groups.get(name or "")) is None:
            raise no_group(name)
        if group.deleting:
            raise ValidationError(f"AutoScalingGroup '{name}' is pending delete")
        return group

    def group_of(self, instance_id: str) -> Record | None:
        return next((group for group in self.groups.values() if instance_id in group.members), None)

    # --- a group's life --------------------------------------------------------------------------------------------

    def create_group(self, asked: Words) -> None:
        name = asked["AutoScalingGroupName"]
        if name in self.groups:
            raise AlreadyExists(
                f"AutoScalingGroup by this name already exists - A group with the name {name} already exists"
            )
        if bool(asked.get("LaunchTemplate")) is bool(asked.get("MixedInstancesPolicy")):
            raise ValidationError(
                "Valid requests must contain either LaunchTemplate, LaunchConfigurationName, InstanceId or "
                "MixedInstancesPolicy parameter."
            )
        arn = (
            f"arn:{self.partition}:autoscaling:{self.region_name}:{self.account_id}:"
            f"autoScalingGroup:{uuid.uuid4()}:autoScalingGroupName/{name}"
        )
        group = Record(name, arn, self.now, {})
        apply(self.ec2_backend, group, asked, fresh=True)
        group.target_groups = target_groups_of(self.elbv2_backend, sources_of(asked))
        for hook in asked.get("LifecycleHookSpecificationList") or ():
            group.hooks[hook["LifecycleHookName"]] = hook_of(hook)
        self._tag(group, asked.get("Tags") or ())
        self.groups[name] = group
        if group.desired:
            changed = f"changing the desired capacity from 0 to {group.desired}"
            group.why = f"At {moment(self.now)} a user request created an AutoScalingGroup {changed}."

    def update_group(self, asked: Words) -> None:
        group = self.group(asked["AutoScalingGroupName"])
        if asked.get("LaunchTemplate") and asked.get("MixedInstancesPolicy"):
            raise ValidationError(
                "Valid requests must contain either LaunchTemplate or MixedInstancesPolicy parameter."
            )
        before = group.desired
        apply(self.ec2_backend, group, asked, fresh=False)
        group.failures, group.retry_at = 0, 0.0
        if group.desired != before:
            self._changed(
                group,
                f"a user request update of AutoScalingGroup constraints to min: {group.minimum}, max: {group.maximum}, "
                f"desired: {group.desired} changing the desired capacity from {before} to {group.desired}",
            )

    def _changed(self, group: Record, how: str) -> None:
        group.why = f"At {moment(self.now)} {how}."
        group.changed = self.now

    def delete_group(self, name: str, *, force: bool) -> None:
        """With instances only by force, which ends them without hooks."""
        group = self.group(name)
        if not force:
            if any(member.state not in GOING for member in group.members.values()):
                raise ResourceInUse(
                    "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance "
                    "request(s) still in the group."
                )
            if group.members:
                raise ScalingActivityInProgress(
                    "You cannot delete an AutoScalingGroup while there are scaling activities in progress for that "
                    "group."
                )
        if not group.members:
            self.vanish(group)
            return
        group.deleting, group.minimum, group.maximum, group.desired = True, 0, 0, 0
        for member in group.members.values():
            group.members[member.instance_id] = replace(member, forced=True)

    def create_auto_scaling_group(self, *args: Any, **kwargs: Any) -> NoReturn:
        """moto's own way, which CloudFormation goes: its groups act at once."""
        raise NotImplementedError("groups are made by CreateAutoScalingGroup")

    @staticmethod
    def _tag(group: Record, tags: Iterable[Words]) -> None:
        for tag in tags:
            if str(tag["Key"]).startswith("aws:"):
                raise ValidationError(f"Tag keys that begin with aws: are AWS's own, got {tag['Key']!r}")
            group.tags[tag["Key"]] = (tag.get("Value") or "", bool(tag.get("PropagateAtLaunch")))

    def create_or_update_tags(self, tags: Sequence[Words]) -> None:
        for tag in tags:
            self._tag(self.group(tag["ResourceId"]), [tag])

    def delete_tags(self, tags: Sequence[Words]) -> None:
        for tag in tags:
            self.group(tag["ResourceId"]).tags.pop(tag["Key"], None)

    def vanish(self, group: Record) -> None:
        self.groups.pop(group.name, None)
        for key in [key for key, policy in self.policies.items() if policy.auto_scaling_group_name == group.name]:
            del self.policies[key]

    def set_desired(self, name: str, desired: int, *, honor_cooldown: bool = False) -> None:
        group = self.group(name)
        if desired > group.maximum:
            raise ValidationError(
                f"New SetDesiredCapacity value {desired} is above max value {group.maximum} for the AutoScalingGroup."
            )
        if desired < group.minimum:
            raise ValidationError(
                f"New SetDesiredCapacity value {desired} is below min value {group.minimum} for the AutoScalingGroup."
            )
        if honor_cooldown and group.changed is not None and self.now < group.changed + group.cooldown:
            raise ScalingActivityInProgress("You are attempting to update the capacity during the cooldown period.")
        self.resize(group, desired, "a user request explicitly set group desired capacity")

    def resize(self, group: Record, desired: int, how: str) -> None:
        if desired != group.desired:
            self._changed(group, f"{how} changing the desired capacity from {group.desired} to {desired}")
            group.desired, group.failures, group.retry_at = desired, 0, 0.0

    # --- scheduled actions ("Scheduled scaling for Amazon EC2 Auto Scaling") -----------------------------------------

    def put_scheduled(self, name: str | None, asked: Words) -> None:
        group, action = self.group(name), asked["ScheduledActionName"]
        kept = group.schedule.get(action)
        arn = (
            kept.arn
            if kept
            else (
                f"arn:{self.partition}:autoscaling:{self.region_name}:{self.account_id}:scheduledUpdateGroupAction:"
                f"{uuid.uuid4()}:autoScalingGroupName/{group.name}:scheduledActionName/{action}"
            )
        )
        sizes = [asked.get(field) for field in ("MinSize", "MaxSize", "DesiredCapacity")]
        if sizes == [None, None, None]:
            raise ValidationError("A scheduled action needs a MinSize, a MaxSize or a DesiredCapacity.")
        schedule = schedule_of(asked, self.now)
        group.schedule[action] = ScheduledAction(action, arn, schedule, schedule.after(self.now), *sizes)

    def delete_scheduled(self, name: str | None, action: str) -> None:
        if self.group(name).schedule.pop(action, None) is None:
            raise ValidationError(f"Scheduled action name not found - {action}")

    def run_schedule(self, group: Record, now: float) -> None:
        """Sets what an action says, when it is due. One that ScheduledActions keeps is missed."""
        for action in list(group.schedule.values()):
            if action.due is None or action.due > now or group.deleting:
                continue
            if Process.SCHEDULED_ACTIONS not in group.suspended:
                sizes = {"MinSize": action.minimum, "MaxSize": action.maximum, "DesiredCapacity": action.desired}
                try:
                    minimum, maximum, desired = sizes_of(group, sizes, fresh=False)
                except ValidationError as error:
                    self.world.log(f"scheduled action {action.name} of {group.name}: {error.message}")
                else:
                    group.minimum, group.maximum = minimum, maximum
                    self.resize(group, desired, f"scheduled action {action.name} was executed,")
            action.due = action.schedule.after(now)
            if action.due is None:
                del group.schedule[action.name]

    # --- policies: records, by group and name ------------------------------------------------------------------------

    def put_scaling_policy(self, name: str, *args: Any, **kwargs: Any) -> FakeScalingPolicy:
        group = self.group(kwargs["as_name"])
        kept = self.policies.pop(name, None)
        policy = super().put_scaling_policy(name, *args, **kwargs)
        del self.policies[name]
        if kept is not None:
            self.policies[name] = kept
        self.policies[f"{group.name}/{name}"] = policy
        return policy

    def policy(self, group: str | None, name: str) -> str:
        """The key of a policy by its name or ARN. Raises ValidationError."""
        for key, policy in self.policies.items():
            if name == policy.arn or (name == policy.name and group in (None, policy.auto_scaling_group_name)):
                return key
        raise ValidationError(f"No such policy: {name}")

    def set_desired_capacity(self, group_name: str, desired_capacity: int | None) -> None:
        """Of a policy that is executed: never beyond the group's limits."""
        group = self.group(group_name)
        desired = min(max(desired_capacity or 0, group.minimum), group.maximum)
        self.resize(group, desired, "a user request executed a policy")

    def change_capacity(self, group_name: str, scaling_adjustment: int | None) -> None:
        self.set_desired_capacity(group_name, self.group(group_name).desired + (scaling_adjustment or 0))

    def change_capacity_percent(self, group_name: str, scaling_adjustment: int | None) -> None:
        """Rounded towards zero, but never to nothing ("Step and simple scaling policies")."""
        desired, percent = self.group(group_name).desired, scaling_adjustment or 0
        change = int(desired * percent / 100) or (1 if percent > 0 else -1 if percent < 0 else 0)
        self.set_desired_capacity(group_name, desired + change)
