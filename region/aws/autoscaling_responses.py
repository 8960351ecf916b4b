"""Auto Scaling's actions as moto finds them: each reads its parameters, and gives the answer in the API's own names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

from moto.autoscaling.responses import AutoScalingResponse as MotoResponse
from moto.core.responses import ActionResult, EmptyResult

from region.aws import autoscaling_hooks as hooks
from region.aws.autoscaling_backend import AutoScaling
from region.aws.autoscaling_errors import ValidationError, no_group
from region.aws.autoscaling_group import Record, shown_hook
from region.aws.autoscaling_settings import POLICIES, target_groups_of
from region.scaling.activities import Activity, moment
from region.scaling.words import Process, State, Transition

T = TypeVar("T")


class AutoScalingResponse(MotoResponse):
    """An action that is not here is moto's, or is refused as one that this region has not."""

    @property
    def backend(self) -> AutoScaling:
        return cast(AutoScaling, self.autoscaling_backend)

    @property
    def asked(self) -> dict[str, Any]:
        return self._get_params()

    @property
    def group(self) -> Record:
        return self.backend.group(self.asked.get("AutoScalingGroupName"))

    def _page(self, name: str, everything: Sequence[T], shown: Callable[[T], object], most: int = 50) -> ActionResult:
        """Part of a long answer; NextToken says where the next begins."""
        try:
            start = int(self.asked.get("NextToken") or 0)
        except ValueError as error:
            raise ValidationError("The NextToken is not valid.") from error
        end = start + min(self.asked.get("MaxRecords") or most, 100)
        found: dict[str, object] = {name: [shown(each) for each in everything[start:end]]}
        return ActionResult(found | ({"NextToken": str(end)} if end < len(everything) else {}))

    # --- groups ----------------------------------------------------------------------------------------------------

    def create_auto_scaling_group(self) -> ActionResult:
        self.backend.create_group(self.asked)
        return EmptyResult()

    def update_auto_scaling_group(self) -> ActionResult:
        self.backend.update_group(self.asked)
        return EmptyResult()

    def delete_auto_scaling_group(self) -> ActionResult:
        self.backend.delete_group(self.asked["AutoScalingGroupName"], force=bool(self.asked.get("ForceDelete")))
        return EmptyResult()

    def set_desired_capacity(self) -> ActionResult:
        asked = self.asked
        self.backend.set_desired(
            asked["AutoScalingGroupName"], asked["DesiredCapacity"], honor_cooldown=bool(asked.get("HonorCooldown"))
        )
        return EmptyResult()

    def describe_auto_scaling_groups(self) -> ActionResult:
        names = self.asked.get("AutoScalingGroupNames")
        groups = [group for group in self.backend.groups.values() if not names or group.name in names]
        for wanted in self.asked.get("Filters") or ():
            groups = [group for group in groups if _tagged(group, wanted["Name"], wanted.get("Values") or ())]
        return self._page("AutoScalingGroups", groups, Record.shown)

    def describe_auto_scaling_instances(self) -> ActionResult:
        wanted = self.asked.get("InstanceIds")
        found = [
            {"AutoScalingGroupName": group.name, **group.shown_member(member, "HEALTHY", "UNHEALTHY")}
            for group in self.backend.groups.values()
            for member in group.members.values()
            if not wanted or member.instance_id in wanted
        ]
        return self._page("AutoScalingInstances", found, dict)

    def describe_scaling_activities(self) -> ActionResult:
        asked, groups = self.asked, self.backend.groups
        living = {group.arn for group in groups.values()}
        name, ids = asked.get("AutoScalingGroupName"), asked.get("ActivityIds")
        if name and name not in groups and not asked.get("IncludeDeletedGroups"):
            raise no_group(name)
        found = [
            activity
            for activity in self.backend.hands.activities
            if (not name or activity.group == name)
            and (not ids or activity.activity_id in ids)
            and (activity.arn in living or asked.get("IncludeDeletedGroups"))
        ]
        return self._page("Activities", found, lambda activity: activity.shown(deleted=activity.arn not in living), 100)

    # --- instances -------------------------------------------------------------------------------------------------

    def enter_standby(self) -> ActionResult:
        asked = self.asked
        decrement = bool(asked.get("ShouldDecrementDesiredCapacity"))
        return _activities(
            self.backend.members.enter_standby(self.group, asked.get("InstanceIds") or (), decrement=decrement)
        )

    def exit_standby(self) -> ActionResult:
        return _activities(self.backend.members.exit_standby(self.group, self.asked.get("InstanceIds") or ()))

    def attach_instances(self) -> ActionResult:
        self.backend.members.attach(self.group, self.asked.get("InstanceIds") or ())
        return EmptyResult()

    def detach_instances(self) -> ActionResult:
        asked = self.asked
        decrement = bool(asked.get("ShouldDecrementDesiredCapacity"))
        return _activities(self.backend.members.detach(self.group, asked.get("InstanceIds") or (), decrement=decrement))

    def terminate_instance_in_auto_scaling_group(self) -> ActionResult:
        asked = self.asked
        decrement = bool(asked.get("ShouldDecrementDesiredCapacity"))
        return ActionResult(
            {"Activity": self.backend.members.terminate(asked["InstanceId"], decrement=decrement).shown()}
        )

    def set_instance_health(self) -> ActionResult:
        asked = self.asked
        respect = asked.get("ShouldRespectGracePeriod", True)
        self.backend.members.set_health(asked["InstanceId"], asked["HealthStatus"], respect_grace=respect)
        return EmptyResult()

    def set_instance_protection(self) -> ActionResult:
        asked = self.asked
        self.backend.members.protect(
            self.group, asked.get("InstanceIds") or (), protected=bool(asked["ProtectedFromScaleIn"])
        )
        return EmptyResult()

    # --- lifecycle hooks -------------------------------------------------------------------------------------------

    def put_lifecycle_hook(self) -> ActionResult:
        hooks.put(self.group, self.asked)
        return EmptyResult()

    def delete_lifecycle_hook(self) -> ActionResult:
        hooks.delete(self.group, self.asked["LifecycleHookName"], self.backend.now)
        return EmptyResult()

    def describe_lifecycle_hooks(self) -> ActionResult:
        group, names = self.group, self.asked.get("LifecycleHookNames")
        found = [shown_hook(hook, group.name) for hook in group.hooks.values() if not names or hook.name in names]
        return ActionResult({"LifecycleHooks": found})

    def describe_lifecycle_hook_types(self) -> ActionResult:
        return ActionResult({"LifecycleHookTypes": [str(transition) for transition in Transition]})

    def complete_lifecycle_action(self) -> ActionResult:
        hooks.complete(self._deleting_too(), self.asked, self.backend.now)
        return EmptyResult()

    def record_lifecycle_action_heartbeat(self) -> ActionResult:
        hooks.heartbeat(self._deleting_too(), self.asked, self.backend.now)
        return EmptyResult()

    def _deleting_too(self) -> Record:
        name = self.asked.get("AutoScalingGroupName")
        if (group := self.backend.groups.get(name or "")) is None:
            raise no_group(name)
        return group

    # --- processes -------------------------------------------------------------------------------------------------

    def suspend_processes(self) -> ActionResult:
        for process in self._processes():
            self.group.suspended.setdefault(process, f"User suspended at {moment(self.backend.now)}")
        return EmptyResult()

    def resume_processes(self) -> ActionResult:
        for process in self._processes():
            self.group.suspended.pop(process, None)
        return EmptyResult()

    def _processes(self) -> list[Process]:
        asked = self.asked.get("ScalingProcesses")
        try:
            return [Process(word) for word in asked] if asked else list(Process)
        except ValueError as error:
            raise ValidationError(f"Scaling processes are {', '.join(Process)}: {error}") from error

    def describe_scaling_process_types(self) -> ActionResult:
        return ActionResult({"Processes": [{"ProcessName": str(process)} for process in sorted(Process)]})

    def describe_termination_policy_types(self) -> ActionResult:
        return ActionResult({"TerminationPolicyTypes": list(POLICIES)})

    def describe_account_limits(self) -> ActionResult:
        """As "Quotas for Auto Scaling resources and groups" has them."""
        most = {"MaxNumberOfAutoScalingGroups": 500, "MaxNumberOfLaunchConfigurations": 200}
        there = {"NumberOfAutoScalingGroups": len(self.backend.groups), "NumberOfLaunchConfigurations": 0}
        return ActionResult(most | there)

    # --- target groups ---------------------------------------------------------------------------------------------

    def attach_load_balancer_target_groups(self) -> ActionResult:
        return self._attach(self.asked.get("TargetGroupARNs") or ())

    def attach_traffic_sources(self) -> ActionResult:
        return self._attach([source["Identifier"] for source in self.asked.get("TrafficSources") or ()])

    def _attach(self, arns: Iterable[str]) -> ActionResult:
        group = self.group
        found = target_groups_of(self.backend.elbv2_backend, list(arns))
        group.target_groups += [arn for arn in found if arn not in group.target_groups]
        return EmptyResult()

    def detach_load_balancer_target_groups(self) -> ActionResult:
        return self._detach(self.asked.get("TargetGroupARNs") or ())

    def detach_traffic_sources(self) -> ActionResult:
        return self._detach([source["Identifier"] for source in self.asked.get("TrafficSources") or ()])

    def _detach(self, arns: Iterable[str]) -> ActionResult:
        group, gone = self.group, set(arns)
        if unknown := gone - set(group.target_groups):
            raise ValidationError(
                f"Trying to remove Target Groups that are not part of the group: {sorted(unknown)[0]}"
            )
        group.target_groups = [arn for arn in group.target_groups if arn not in gone]
        return EmptyResult()

    def describe_load_balancer_target_groups(self) -> ActionResult:
        group = self.group
        found = [
            {"LoadBalancerTargetGroupARN": arn, "State": self._attachment(group, arn)} for arn in group.target_groups
        ]
        return ActionResult({"LoadBalancerTargetGroups": found})

    def describe_traffic_sources(self) -> ActionResult:
        group = self.group
        found = [
            {"Identifier": arn, "Type": "elbv2", "State": self._attachment(group, arn)} for arn in group.target_groups
        ]
        return ActionResult({"TrafficSources": found})

    def _attachment(self, group: Record, arn: str) -> str:
        """By "Verify the attachment status of your load balancer": InService only with ELB health checks."""
        serving = [member for member in group.members.values() if member.state is State.IN_SERVICE]
        if any(arn not in member.targets for member in serving):
            return "Adding"
        healthy = any(self.backend.target_state(arn, member.instance_id) == "healthy" for member in serving)
        return "InService" if healthy and group.elb_health else "Added"

    # --- scheduled actions and policies ----------------------------------------------------------------------------

    def put_scheduled_update_group_action(self) -> ActionResult:
        self.backend.put_scheduled(self.asked.get("AutoScalingGroupName"), self.asked)
        return EmptyResult()

    def delete_scheduled_action(self) -> ActionResult:
        self.backend.delete_scheduled(self.asked.get("AutoScalingGroupName"), self.asked["ScheduledActionName"])
        return EmptyResult()

    def batch_put_scheduled_update_group_action(self) -> ActionResult:
        actions = self.asked.get("ScheduledUpdateGroupActions") or ()
        put = self.backend.put_scheduled
        failed = self._each(
            actions, lambda action: put(self.group.name, action), lambda a: str(a["ScheduledActionName"])
        )
        return ActionResult({"FailedScheduledUpdateGroupActions": failed})

    def batch_delete_scheduled_action(self) -> ActionResult:
        names = self.asked.get("ScheduledActionNames") or ()
        failed = self._each(names, lambda name: self.backend.delete_scheduled(self.group.name, name), str)
        return ActionResult({"FailedScheduledActions": failed})

    @staticmethod
    def _each(items: Iterable[T], act: Callable[[T], None], name: Callable[[T], str]) -> list[dict[str, str]]:
        failed = []
        for item in items:
            try:
                act(item)
            except ValidationError as error:
                told = {"ErrorCode": error.code, "ErrorMessage": error.message}
                failed.append({"ScheduledActionName": name(item), **told})
        return failed

    def describe_scheduled_actions(self) -> ActionResult:
        name, wanted = self.asked.get("AutoScalingGroupName"), self.asked.get("ScheduledActionNames")
        found = [
            action.shown(group.name)
            for group in self.backend.groups.values()
            for action in group.schedule.values()
            if (not name or group.name == name) and (not wanted or action.name in wanted)
        ]
        return self._page("ScheduledUpdateGroupActions", found, dict)

    def delete_policy(self) -> ActionResult:
        key = self.backend.policy(self.asked.get("AutoScalingGroupName"), self.asked["PolicyName"])
        del self.backend.policies[key]
        return EmptyResult()

    def execute_policy(self) -> ActionResult:
        key = self.backend.policy(self.asked.get("AutoScalingGroupName"), self.asked["PolicyName"])
        self.backend.execute_policy(key)
        return EmptyResult()

    # --- tags and metrics ------------------------------------------------------------------------------------------

    def create_or_update_tags(self) -> ActionResult:
        self.backend.create_or_update_tags(self.asked.get("Tags") or ())
        return EmptyResult()

    def delete_tags(self) -> ActionResult:
        self.backend.delete_tags(self.asked.get("Tags") or ())
        return EmptyResult()

    def describe_tags(self) -> ActionResult:
        tags = [tag for group in self.backend.groups.values() for tag in group.shown_tags()]
        keys = {"auto-scaling-group": "ResourceId", "key": "Key", "value": "Value"}
        for wanted in self.asked.get("Filters") or ():
            key, values = keys.get(wanted["Name"], "PropagateAtLaunch"), [str(v) for v in wanted.get("Values") or ()]
            tags = [tag for tag in tags if str(tag[key]) in values or str(tag[key]).lower() in values]
        return self._page("Tags", tags, dict)

    def enable_metrics_collection(self) -> ActionResult:
        self.group.metrics = sorted({*self.group.metrics, *(self.asked.get("Metrics") or ())})
        return EmptyResult()

    def disable_metrics_collection(self) -> ActionResult:
        gone = self.asked.get("Metrics")
        self.group.metrics = [metric for metric in self.group.metrics if gone and metric not in gone]
        return EmptyResult()

    # --- what a local region has not -------------------------------------------------------------------------------

    def _refused(self) -> ActionResult:
        raise NotImplementedError("this region's Auto Scaling has no such part")

    start_instance_refresh = cancel_instance_refresh = rollback_instance_refresh = _refused
    put_warm_pool = describe_warm_pool = delete_warm_pool = _refused
    attach_load_balancers = detach_load_balancers = describe_load_balancers = _refused
    create_launch_configuration = _refused
    put_notification_configuration = delete_notification_configuration = _refused

    def describe_instance_refreshes(self) -> ActionResult:
        return ActionResult({"InstanceRefreshes": []})


def _activities(activities: Sequence[Activity]) -> ActionResult:
    return ActionResult({"Activities": [activity.shown() for activity in activities]})


def _tagged(group: Record, name: str, values: Sequence[str]) -> bool:
    """Whether the group passes a filter of DescribeAutoScalingGroups. Raises ValidationError for an unknown one."""
    match name.partition(":"):
        case ("tag-key", "", _):
            return any(key in values for key in group.tags)
        case ("tag-value", "", _):
            return any(value in values for value, _ in group.tags.values())
        case ("tag", ":", key):
            return key in group.tags and group.tags[key][0] in values
        case _:
            raise ValidationError(f"Invalid filter name {name!r}: tag-key, tag-value and tag:<key> are known.")
