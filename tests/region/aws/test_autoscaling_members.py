"""A group's instances by the API: hooks, health, standby, detach and attach, protection."""

from __future__ import annotations

from typing import Any

import pytest

from tests.region.aws.autoscaling_world import LAUNCH, TERMINATE, Scaling, scaling

__all__ = ["scaling"]
pytestmark = pytest.mark.network

HOOKS: dict[str, Any] = {"LifecycleHookSpecificationList": [LAUNCH, TERMINATE]}


def test_hooks_given_with_the_group_hold_its_first_instance(scaling: Scaling) -> None:
    (instance,) = scaling.up(**HOOKS)
    assert scaling.states() == {instance: "Pending:Wait"}
    assert scaling.activities() == [("MidLifecycleAction", "Launching a new EC2 instance")]
    scaling.complete(instance)
    assert scaling.states() == {instance: "InService"}
    assert scaling.activities() == [("Successful", "Launching a new EC2 instance")]
    again = scaling.refused(scaling.complete, instance_id=instance)
    assert again == f"ValidationError: No active Lifecycle Action found with instance ID {instance}"


def test_an_abandoned_launch_is_ended_and_another_tried_later(scaling: Scaling) -> None:
    (instance,) = scaling.up(LifecycleHookSpecificationList=[LAUNCH])
    scaling.complete(instance, "ABANDON")
    assert scaling.ec2_state(instance) == "terminated"
    assert scaling.ids() == []
    failed = scaling.api.describe_scaling_activities(AutoScalingGroupName="web")["Activities"][1]
    assert failed["StatusCode"] == "Failed"
    assert failed["StatusMessage"].endswith("was completed with ABANDON Result")
    scaling.settle(1)
    assert list(scaling.states().values()) == ["Pending:Wait"]


def test_heartbeats_move_the_time_out_and_its_default_ends_the_launch(scaling: Scaling) -> None:
    (instance,) = scaling.up(LifecycleHookSpecificationList=[LAUNCH])
    words = {"AutoScalingGroupName": "web", "LifecycleHookName": "launch", "InstanceId": instance}
    scaling.settle(299)
    scaling.api.record_lifecycle_action_heartbeat(**words)
    scaling.settle(299)
    assert scaling.states() == {instance: "Pending:Wait"}
    scaling.clock.now += 1
    late = scaling.refused(scaling.api.complete_lifecycle_action, **words, LifecycleActionResult="CONTINUE")
    assert "No active Lifecycle Action" in late, "what comes with the time-out comes too late, seen or not"
    assert "No active Lifecycle Action" in scaling.refused(scaling.api.record_lifecycle_action_heartbeat, **words)
    scaling.settle()
    assert scaling.ec2_state(instance) == "terminated"


def test_no_heartbeat_holds_an_instance_longer_than_the_hooks_limit(scaling: Scaling) -> None:
    (instance,) = scaling.up(LifecycleHookSpecificationList=[{**LAUNCH, "HeartbeatTimeout": 30}])
    (hook,) = scaling.api.describe_lifecycle_hooks(AutoScalingGroupName="web")["LifecycleHooks"]
    assert (hook["HeartbeatTimeout"], hook["GlobalTimeout"]) == (30, 3000)
    words = {"AutoScalingGroupName": "web", "LifecycleHookName": "launch", "InstanceId": instance}
    for _ in range(100):
        scaling.clock.now += 29.9
        scaling.api.record_lifecycle_action_heartbeat(**words)
    scaling.settle(9.9)
    assert scaling.states() == {instance: "Pending:Wait"}
    scaling.settle(0.2)
    assert scaling.ec2_state(instance) == "terminated"


def test_a_terminate_hook_holds_what_scales_in_until_it_times_out(scaling: Scaling) -> None:
    (instance,) = scaling.up(LifecycleHookSpecificationList=[TERMINATE])
    scaling.api.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=0)
    scaling.settle()
    assert scaling.states() == {instance: "Terminating:Wait"}
    assert scaling.instances.instance(instance).target_lifecycle_state == "Terminated"
    assert scaling.ec2_state(instance) == "running"
    scaling.settle(60)
    assert scaling.states() == {}
    assert scaling.ec2_state(instance) == "terminated"
    assert scaling.activities()[0] == ("Successful", "Terminating EC2 instance")


def test_a_hook_that_is_deleted_completes_its_actions_first(scaling: Scaling) -> None:
    """API Reference, "DeleteLifecycleHook": ABANDON for launching instances, CONTINUE for terminating ones."""
    (serving,) = scaling.up(LifecycleHookSpecificationList=[TERMINATE])
    scaling.api.put_lifecycle_hook(AutoScalingGroupName="web", **{**LAUNCH, "DefaultResult": "CONTINUE"})
    scaling.api.terminate_instance_in_auto_scaling_group(InstanceId=serving, ShouldDecrementDesiredCapacity=False)
    scaling.settle()
    coming = next(instance for instance in scaling.ids() if instance != serving)
    assert scaling.states() == {serving: "Terminating:Wait", coming: "Pending:Wait"}
    for hook in ("launch", "terminate"):
        scaling.api.delete_lifecycle_hook(AutoScalingGroupName="web", LifecycleHookName=hook)
    scaling.settle()
    assert [scaling.ec2_state(instance) for instance in (serving, coming)] == ["terminated", "terminated"]


def test_a_machine_that_died_is_replaced(scaling: Scaling) -> None:
    (instance,) = scaling.up(HealthCheckGracePeriod=10)
    scaling.instances.kill_machine(instance)
    scaling.settle()
    assert scaling.ids() == [instance], "not within the grace period"
    scaling.settle(10)
    (other,) = scaling.ids()
    assert other != instance
    assert scaling.states() == {other: "InService"}
    cause = scaling.api.describe_scaling_activities(AutoScalingGroupName="web")["Activities"][1]["Cause"]
    assert cause.endswith("was taken out of service in response to an EC2 instance status checks failure.")


@pytest.mark.parametrize("call", ["terminate_instances", "stop_instances"])
def test_an_instance_that_somebody_ends_by_hand_is_replaced_at_once(scaling: Scaling, call: str) -> None:
    (instance,) = scaling.up(HealthCheckGracePeriod=3600)
    getattr(scaling.ec2, call)(InstanceIds=[instance])
    scaling.settle()
    (other,) = scaling.ids()
    assert other != instance
    assert scaling.ec2_state(instance) == "terminated"


def test_a_user_can_say_that_an_instance_is_unhealthy(scaling: Scaling) -> None:
    (instance,) = scaling.up(HealthCheckGracePeriod=60)
    words = {"InstanceId": instance, "HealthStatus": "Unhealthy"}
    scaling.api.set_instance_health(**words)
    scaling.settle()
    assert scaling.ids() == [instance], "the grace period is respected unless told otherwise"
    scaling.api.set_instance_health(**words, ShouldRespectGracePeriod=False)
    scaling.settle()
    assert instance not in scaling.ids()


def test_standby_takes_an_instance_out_and_brings_it_back_without_hooks(scaling: Scaling) -> None:
    (instance,) = scaling.up(**HOOKS)
    scaling.complete(instance)
    words = {"AutoScalingGroupName": "web", "InstanceIds": [instance]}
    (activity,) = scaling.api.enter_standby(**words, ShouldDecrementDesiredCapacity=True)["Activities"]
    assert activity["Cause"].endswith("in response to a user request, shrinking the capacity from 1 to 0.")
    assert scaling.states() == {instance: "EnteringStandby"}
    scaling.settle()
    assert (scaling.states(), scaling.group()["DesiredCapacity"]) == ({instance: "Standby"}, 0)
    assert scaling.instances.instance(instance).target_lifecycle_state == "Standby"
    again = scaling.refused(scaling.api.enter_standby, **words, ShouldDecrementDesiredCapacity=True)
    assert again == f"ValidationError: The instance {instance} is not in InService."
    scaling.api.exit_standby(**words)
    assert scaling.states() == {instance: "Pending"}
    scaling.settle()
    assert (scaling.states(), scaling.group()["DesiredCapacity"]) == ({instance: "InService"}, 1)


def test_standby_below_the_minimum_is_refused_and_without_decrement_replaced(scaling: Scaling) -> None:
    (instance,) = scaling.up(MinSize=1)
    words = {"AutoScalingGroupName": "web", "InstanceIds": [instance]}
    assert scaling.refused(scaling.api.enter_standby, **words, ShouldDecrementDesiredCapacity=True) == (
        "ValidationError: AutoScalingGroup web has min-size=1, max-size=4, and desired-size=1. To place into standby "
        "1 instance, please update the AutoScalingGroup sizes appropriately."
    )
    scaling.api.enter_standby(**words, ShouldDecrementDesiredCapacity=False)
    scaling.settle()
    assert sorted(scaling.states().values()) == ["InService", "Standby"]


def test_an_instance_that_ended_in_standby_is_replaced_when_it_comes_back(scaling: Scaling) -> None:
    (instance,) = scaling.up()
    words = {"AutoScalingGroupName": "web", "InstanceIds": [instance]}
    scaling.api.enter_standby(**words, ShouldDecrementDesiredCapacity=True)
    scaling.ec2.terminate_instances(InstanceIds=[instance])
    scaling.settle()
    assert scaling.states() == {instance: "Standby"}
    scaling.api.exit_standby(**words)
    scaling.settle()
    scaling.settle(1)
    assert list(scaling.states().values()) == ["InService"]
    assert instance not in scaling.ids()


def test_a_detached_instance_runs_on_and_can_be_attached_again(scaling: Scaling) -> None:
    (instance,) = scaling.up(**HOOKS)
    scaling.complete(instance)
    words = {"AutoScalingGroupName": "web", "InstanceIds": [instance]}
    scaling.api.detach_instances(**words, ShouldDecrementDesiredCapacity=True)
    scaling.settle()
    assert (scaling.ids(), scaling.ec2_state(instance)) == ([], "running")
    assert scaling.instances.instance(instance).target_lifecycle_state == "Detached"
    assert "aws:autoscaling:groupName" not in scaling.instances.instance(instance).tags
    scaling.api.attach_instances(**words)
    scaling.settle()
    assert (scaling.states(), scaling.group()["DesiredCapacity"]) == ({instance: "InService"}, 1)
    assert scaling.instances.instance(instance).tags["aws:autoscaling:groupName"] == "web"


def test_a_protected_instance_does_not_scale_in(scaling: Scaling) -> None:
    first, second = scaling.up(DesiredCapacity=2, AvailabilityZones=["us-east-1a"])
    words = {"AutoScalingGroupName": "web", "InstanceIds": [first]}
    scaling.api.set_instance_protection(**words, ProtectedFromScaleIn=True)
    scaling.api.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=0)
    scaling.settle()
    assert scaling.ids() == [first]
    assert scaling.group()["Instances"][0]["ProtectedFromScaleIn"] is True
    assert scaling.ec2_state(second) == "terminated"
    scaling.api.set_instance_protection(**words, ProtectedFromScaleIn=False)
    scaling.settle()
    assert scaling.ids() == []


def test_a_user_ends_an_instance_with_or_without_a_replacement(scaling: Scaling) -> None:
    first, second = scaling.up(DesiredCapacity=2, MinSize=1, NewInstancesProtectedFromScaleIn=True)
    end = scaling.api.terminate_instance_in_auto_scaling_group
    activity = end(InstanceId=first, ShouldDecrementDesiredCapacity=True)["Activity"]
    assert activity["Cause"].endswith("in response to a user request, shrinking the capacity from 2 to 1.")
    scaling.settle()
    assert scaling.ids() == [second]
    refused = scaling.refused(end, InstanceId=second, ShouldDecrementDesiredCapacity=True)
    assert refused.startswith("ValidationError: Currently, desiredSize equals minSize (1).")
    end(InstanceId=second, ShouldDecrementDesiredCapacity=False)
    scaling.settle()
    (other,) = scaling.ids()
    assert other not in (first, second)
    unknown = scaling.refused(end, InstanceId="i-0123456789abcdef0", ShouldDecrementDesiredCapacity=False)
    assert unknown.startswith("ValidationError: Instance Id not found")


def test_ec2s_termination_protection_is_no_hindrance_to_a_group(scaling: Scaling) -> None:
    (instance,) = scaling.up()
    scaling.ec2.modify_instance_attribute(InstanceId=instance, DisableApiTermination={"Value": True})
    scaling.api.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=0)
    scaling.settle()
    assert scaling.ec2_state(instance) == "terminated"


def test_what_ec2_recommends_to_rebalance_is_replaced_before_it_goes(scaling: Scaling) -> None:
    """User Guide, "Use Capacity Rebalancing to handle Amazon EC2 Spot Interruptions"."""
    specification = {"LaunchTemplateId": scaling.template, "Version": "1"}
    policy = {
        "LaunchTemplate": {"LaunchTemplateSpecification": specification},
        "InstancesDistribution": {"OnDemandPercentageAboveBaseCapacity": 0},
    }
    (instance,) = scaling.up(
        MaxSize=1, MixedInstancesPolicy=policy, CapacityRebalance=True, LifecycleHookSpecificationList=[LAUNCH]
    )
    scaling.complete(instance)
    scaling.instances.interrupt(instance, 120.0, rebalance=True)
    scaling.settle()
    (other,) = [each for each in scaling.ids() if each != instance]
    assert scaling.states() == {instance: "InService", other: "Pending:Wait"}
    scaling.complete(other)
    assert scaling.states() == {other: "InService"}
    assert scaling.ec2_state(instance) == "terminated"
