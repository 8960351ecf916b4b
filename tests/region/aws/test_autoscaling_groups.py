"""Groups by the API: sizes, templates, deletion, processes, activities, scheduled actions, policies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.region.aws.autoscaling_world import LAUNCH, TERMINATE, Scaling, scaling
from tests.region.aws.fakes import IMAGE

__all__ = ["scaling"]
pytestmark = pytest.mark.network


def test_a_group_launches_what_it_desires_spread_over_its_zones(scaling: Scaling) -> None:
    scaling.up(DesiredCapacity=4, Tags=[{"Key": "who", "Value": "web", "PropagateAtLaunch": True}, {"Key": "note"}])
    told = scaling.group()
    assert [member["AvailabilityZone"] for member in told["Instances"]] == 2 * ["us-east-1a", "us-east-1b"]
    assert {member["LifecycleState"] for member in told["Instances"]} == {"InService"}
    instance = scaling.instances.instance(told["Instances"][0]["InstanceId"])
    assert instance.tags == {
        "who": "web",
        "aws:autoscaling:groupName": "web",
        "aws:ec2launchtemplate:id": scaling.template,
        "aws:ec2launchtemplate:version": "1",
    }
    assert instance.target_lifecycle_state == "InService"


def test_the_version_that_is_told_is_the_one_that_runs(scaling: Scaling) -> None:
    data = {"ImageId": IMAGE, "InstanceType": "t3.micro"}
    scaling.ec2.create_launch_template_version(LaunchTemplateId=scaling.template, LaunchTemplateData=data)
    scaling.up(LaunchTemplate={"LaunchTemplateName": "web", "Version": "$Latest"})
    (member,) = scaling.group()["Instances"]
    assert member["LaunchTemplate"]["Version"] == "2"
    assert member["InstanceType"] == scaling.instances.instance(member["InstanceId"]).instance_type == "t3.micro"
    assert scaling.group()["LaunchTemplate"]["Version"] == "$Latest"
    (row,) = scaling.api.describe_auto_scaling_instances()["AutoScalingInstances"]
    assert (row["LaunchTemplate"]["Version"], row["HealthStatus"]) == ("2", "HEALTHY")


CREATED: list[tuple[dict[str, Any], str]] = [
    ({"DesiredCapacity": 5}, "Desired capacity:5 must be between the specified min size:0 and max size:4"),
    ({"MinSize": 5}, "Max bound, 4, must be greater than or equal to min bound, 5"),
    ({"LaunchTemplate": {"LaunchTemplateName": "none"}}, "You must use a valid fully-formed launch template."),
    ({"LaunchTemplate": {"LaunchTemplateName": "web", "Version": "7"}}, "You must use a valid fully-formed launch"),
    ({"AvailabilityZones": []}, "At least one Availability Zone or VPC Subnet is required."),
    ({"VPCZoneIdentifier": "subnet-none"}, "The subnet ID 'subnet-none' does not exist"),
    ({"TerminationPolicies": ["Any"]}, "Termination policies are"),
    ({"TargetGroupARNs": ["arn:aws:elasticloadbalancing:none"]}, "One or more target groups not found"),
    ({"LifecycleHookSpecificationList": [{**LAUNCH, "HeartbeatTimeout": 29}]}, "HeartbeatTimeout must be between"),
]


@pytest.mark.parametrize(("words", "message"), CREATED, ids=[message for _, message in CREATED])
def test_a_group_that_cannot_be_is_refused_and_leaves_nothing(
    scaling: Scaling, words: dict[str, Any], message: str
) -> None:
    assert scaling.refused(scaling.create, **words).startswith(f"ValidationError: {message}")
    assert scaling.group() is None


def test_its_size_keeps_within_its_limits(scaling: Scaling) -> None:
    scaling.up(MinSize=1)
    refused, resize = scaling.refused, scaling.api.set_desired_capacity
    assert refused(resize, AutoScalingGroupName="web", DesiredCapacity=9) == (
        "ValidationError: New SetDesiredCapacity value 9 is above max value 4 for the AutoScalingGroup."
    )
    assert refused(resize, AutoScalingGroupName="web", DesiredCapacity=0) == (
        "ValidationError: New SetDesiredCapacity value 0 is below min value 1 for the AutoScalingGroup."
    )
    assert "no such" not in refused(resize, AutoScalingGroupName="other", DesiredCapacity=1)
    resize(AutoScalingGroupName="web", DesiredCapacity=3)
    scaling.settle()
    assert len(scaling.ids()) == 3
    assert refused(resize, AutoScalingGroupName="web", DesiredCapacity=2, HonorCooldown=True).startswith("ScalingAct")
    update = scaling.api.update_auto_scaling_group
    assert "ValidationError: Desired capacity:3" in refused(
        update, AutoScalingGroupName="web", MaxSize=2, DesiredCapacity=3
    )
    update(AutoScalingGroupName="web", MaxSize=2)
    scaling.settle()
    assert (scaling.group()["DesiredCapacity"], len(scaling.ids())) == (2, 2), "a lower maximum lowers the size"
    update(AutoScalingGroupName="web", MinSize=3, MaxSize=3)
    scaling.settle()
    assert (scaling.group()["DesiredCapacity"], len(scaling.ids())) == (3, 3), "a higher minimum raises it"


def test_a_group_with_instances_is_deleted_only_by_force_and_without_hooks(scaling: Scaling) -> None:
    (instance,) = scaling.up(LifecycleHookSpecificationList=[TERMINATE])
    delete = scaling.api.delete_auto_scaling_group
    assert scaling.refused(delete, AutoScalingGroupName="web").startswith("ResourceInUse: ")
    assert scaling.refused(scaling.create).startswith("AlreadyExists: ")
    delete(AutoScalingGroupName="web", ForceDelete=True)
    scaling.world.tick()
    assert scaling.group()["Status"] == "Delete in progress"
    resize = scaling.api.set_desired_capacity
    assert "pending delete" in scaling.refused(resize, AutoScalingGroupName="web", DesiredCapacity=0)
    scaling.settle()
    assert scaling.group() is None
    assert scaling.ec2_state(instance) == "terminated"
    found = scaling.api.describe_scaling_activities(IncludeDeletedGroups=True)["Activities"]
    assert {activity["AutoScalingGroupState"] for activity in found} == {"Deleted"}
    scaling.up()


def test_a_group_deleted_by_force_while_it_launches_leaves_no_instance(scaling: Scaling) -> None:
    scaling.create(DesiredCapacity=2)
    scaling.world.tick()
    instances = scaling.ids()
    scaling.api.delete_auto_scaling_group(AutoScalingGroupName="web", ForceDelete=True)
    scaling.settle()
    assert scaling.group() is None
    assert [scaling.ec2_state(instance) for instance in instances] == ["terminated"] * 2


def test_a_group_that_is_empty_is_deleted_at_once_with_all_that_is_of_it(scaling: Scaling) -> None:
    scaling.up()
    scaling.api.put_scaling_policy(AutoScalingGroupName="web", PolicyName="cpu", **TRACKING)
    scaling.api.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=0)
    scaling.world.tick()
    refused = scaling.refused(scaling.api.delete_auto_scaling_group, AutoScalingGroupName="web")
    assert refused.startswith("ScalingActivityInProgress: ")
    scaling.settle()
    scaling.api.delete_auto_scaling_group(AutoScalingGroupName="web")
    assert scaling.group() is None
    assert scaling.api.describe_policies()["ScalingPolicies"] == []


def test_an_image_that_is_gone_is_a_failed_activity_tried_again_ever_later(scaling: Scaling) -> None:
    data = {"ImageId": "ami-0000000000000dead", "InstanceType": "t3.small"}
    scaling.ec2.create_launch_template_version(LaunchTemplateId=scaling.template, LaunchTemplateData=data)
    scaling.create(LaunchTemplate={"LaunchTemplateId": scaling.template, "Version": "2"}, DesiredCapacity=3)
    tries = []
    for _ in range(8):
        scaling.world.tick()
        tries.append(len(scaling.activities()))
        scaling.clock.now += 1
    assert tries == [1, 2, 2, 3, 3, 3, 3, 4], "after 1, 2 and 4 seconds"
    failed = scaling.api.describe_scaling_activities(AutoScalingGroupName="web")["Activities"][0]
    assert (failed["StatusCode"], failed["Progress"]) == ("Failed", 100)
    assert "ami-0000000000000dead" in failed["StatusMessage"]
    assert failed["StatusMessage"].endswith("Launching EC2 instance failed.")
    scaling.api.update_auto_scaling_group(
        AutoScalingGroupName="web", LaunchTemplate={"LaunchTemplateId": scaling.template, "Version": "1"}
    )
    scaling.settle()
    assert set(scaling.states().values()) == {"InService"}


def test_suspended_processes_do_nothing_and_catch_up_when_resumed(scaling: Scaling) -> None:
    (instance,) = scaling.up()
    words = {"AutoScalingGroupName": "web", "ScalingProcesses": ["Launch", "Terminate"]}
    scaling.api.suspend_processes(**words)
    assert [each["ProcessName"] for each in scaling.group()["SuspendedProcesses"]] == ["Launch", "Terminate"]
    scaling.api.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=2)
    scaling.ec2.terminate_instances(InstanceIds=[instance])
    scaling.settle()
    (member,) = scaling.group()["Instances"]
    assert (member["InstanceId"], member["HealthStatus"]) == (instance, "Unhealthy")
    scaling.api.resume_processes(**words)
    scaling.settle()
    assert scaling.group()["SuspendedProcesses"] == []
    assert instance not in scaling.ids()
    assert list(scaling.states().values()) == ["InService"] * 2
    assert "Scaling processes are" in scaling.refused(
        scaling.api.suspend_processes, AutoScalingGroupName="web", ScalingProcesses=["All"]
    )


def test_a_mixed_policy_launches_spot_above_its_base(scaling: Scaling) -> None:
    policy = {
        "LaunchTemplate": {
            "LaunchTemplateSpecification": {"LaunchTemplateId": scaling.template, "Version": "1"},
            "Overrides": [{"InstanceType": "t3.micro"}],
        },
        "InstancesDistribution": {"OnDemandBaseCapacity": 1, "OnDemandPercentageAboveBaseCapacity": 0},
    }
    instances = scaling.up(DesiredCapacity=3, MixedInstancesPolicy=policy)
    kinds = [scaling.instances.instance(each) for each in instances]
    assert [(each.is_spot, each.instance_type) for each in kinds] == [
        (False, "t3.micro"),
        (True, "t3.micro"),
        (True, "t3.micro"),
    ]
    told = scaling.group()
    assert "LaunchTemplate" not in told
    assert told["MixedInstancesPolicy"]["InstancesDistribution"]["SpotAllocationStrategy"] == "lowest-price"
    assert told["Instances"][0]["LaunchTemplate"]["Version"] == "1"


def test_a_scheduled_action_resizes_its_group_when_it_is_due(scaling: Scaling) -> None:
    scaling.up()
    now = datetime.fromtimestamp(scaling.clock.now, UTC)
    put = scaling.api.put_scheduled_update_group_action
    night = {"AutoScalingGroupName": "web", "ScheduledActionName": "night", "DesiredCapacity": 0}
    assert "past" in scaling.refused(put, **night, StartTime=now - timedelta(hours=1))
    put(**night, StartTime=now + timedelta(hours=1))
    put(AutoScalingGroupName="web", ScheduledActionName="often", Recurrence="*/5 * * * *", MaxSize=5)
    scaling.settle(3500)
    assert (scaling.group()["MaxSize"], len(scaling.ids())) == (5, 1)
    scaling.settle(101)
    assert scaling.ids() == []
    (left,) = scaling.api.describe_scheduled_actions(AutoScalingGroupName="web")["ScheduledUpdateGroupActions"]
    assert left["ScheduledActionName"] == "often", "one without recurrence is gone when it is done"
    scaling.api.delete_scheduled_action(AutoScalingGroupName="web", ScheduledActionName="often")


def test_a_scheduled_action_that_is_due_while_they_are_suspended_is_missed(scaling: Scaling) -> None:
    scaling.up()
    later = datetime.fromtimestamp(scaling.clock.now + 60, UTC)
    scaling.api.put_scheduled_update_group_action(
        AutoScalingGroupName="web", ScheduledActionName="night", DesiredCapacity=0, StartTime=later
    )
    words = {"AutoScalingGroupName": "web", "ScalingProcesses": ["ScheduledActions"]}
    scaling.api.suspend_processes(**words)
    scaling.settle(61)
    scaling.api.resume_processes(**words)
    scaling.settle(60)
    assert len(scaling.ids()) == 1


TRACKING: dict[str, Any] = {
    "PolicyType": "TargetTrackingScaling",
    "TargetTrackingConfiguration": {
        "PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"},
        "TargetValue": 50.0,
    },
}


def test_policies_of_the_same_name_belong_to_their_groups(scaling: Scaling) -> None:
    for name in ("web", "api"):
        scaling.create(name, DesiredCapacity=0)
        scaling.api.put_scaling_policy(AutoScalingGroupName=name, PolicyName="cpu", **TRACKING)
    scaling.api.delete_policy(AutoScalingGroupName="web", PolicyName="cpu")
    (left,) = scaling.api.describe_policies()["ScalingPolicies"]
    assert (left["AutoScalingGroupName"], left["PolicyName"]) == ("api", "cpu")
    assert left["TargetTrackingConfiguration"]["TargetValue"] == 50.0


def test_a_simple_policy_can_be_executed_within_the_limits(scaling: Scaling) -> None:
    scaling.up()
    put, execute = scaling.api.put_scaling_policy, scaling.api.execute_policy
    put(AutoScalingGroupName="web", PolicyName="more", AdjustmentType="ChangeInCapacity", ScalingAdjustment=9)
    execute(AutoScalingGroupName="web", PolicyName="more")
    assert scaling.group()["DesiredCapacity"] == 4
    put(AutoScalingGroupName="web", PolicyName="fewer", AdjustmentType="PercentChangeInCapacity", ScalingAdjustment=-30)
    execute(AutoScalingGroupName="web", PolicyName="fewer")
    assert scaling.group()["DesiredCapacity"] == 3


def test_groups_are_found_by_their_tags(scaling: Scaling) -> None:
    for name in ("web", "api"):
        scaling.create(name, DesiredCapacity=0, Tags=[{"Key": "service", "Value": name, "PropagateAtLaunch": True}])
    tag = {"ResourceId": "api", "ResourceType": "auto-scaling-group", "Key": "live", "Value": "yes"}
    scaling.api.create_or_update_tags(Tags=[{**tag, "PropagateAtLaunch": False}])

    def found(name: str, value: str) -> list[str]:
        filters = [{"Name": name, "Values": [value]}]
        groups = scaling.api.describe_auto_scaling_groups(Filters=filters)["AutoScalingGroups"]
        return [group["AutoScalingGroupName"] for group in groups]

    assert found("tag:service", "web") == ["web"]
    assert found("tag-key", "live") == ["api"]
    assert found("tag-value", "web") == ["web"]
    told = scaling.api.describe_tags(Filters=[{"Name": "auto-scaling-group", "Values": ["api"]}])["Tags"]
    assert [(each["Key"], each["PropagateAtLaunch"]) for each in told] == [("live", False), ("service", True)]
    scaling.api.delete_tags(Tags=[tag])
    assert found("tag-key", "live") == []


def test_long_lists_come_in_pages(scaling: Scaling) -> None:
    for at in range(3):
        scaling.create(f"g{at}", DesiredCapacity=0)
    pages = scaling.api.get_paginator("describe_auto_scaling_groups").paginate(PaginationConfig={"PageSize": 2})
    assert [[each["AutoScalingGroupName"] for each in page["AutoScalingGroups"]] for page in pages] == [
        ["g0", "g1"],
        ["g2"],
    ]


def test_what_a_local_region_has_not_is_refused(scaling: Scaling) -> None:
    scaling.create(DesiredCapacity=0)
    for call in (scaling.api.start_instance_refresh, scaling.api.describe_warm_pool):
        assert scaling.refused(call, AutoScalingGroupName="web").startswith("UnsupportedOperation: ")
