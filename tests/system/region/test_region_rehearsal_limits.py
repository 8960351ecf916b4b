"""What holds a deploy back, and how it backs out: quotas, leases, a candidate that fails, sizes and policies."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.system.region.rehearsal import Rehearsal, Release, document, forward, staged
from tests.system.region.worlds import RegionWorld

pytestmark = pytest.mark.system

SCALING = "https://docs.aws.amazon.com/autoscaling/ec2/APIReference/"


@pytest.fixture(scope="module")
def stage(region: RegionWorld, web_ami: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    with staged(region, web_ami, tmp_path_factory.mktemp("agents")) as stage:
        yield stage


@pytest.mark.aws("https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html")
def test_the_limits_of_load_balancers_are_told_before_they_are_met(stage: Rehearsal) -> None:
    told = stage.region.client("elbv2").describe_account_limits()["Limits"]
    limits = {one["Name"]: int(one["Max"]) for one in told}
    assert limits["rules-per-application-load-balancer"] == 100
    assert limits["target-groups"] == 3000
    assert limits["targets-per-application-load-balancer"] == 1000
    assert limits["target-groups-per-application-load-balancer"] == 100
    assert limits["target-groups-per-action-on-application-load-balancer"] == 5


@pytest.mark.aws("https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-quotas.html")
def test_the_quotas_of_instances_are_told_before_they_are_met(stage: Rehearsal) -> None:
    quotas = stage.region.client("service-quotas")
    for code, name in {
        "L-1216C47A": "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
        "L-34B43A08": "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests",
    }.items():
        told = quotas.get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]
        assert (told["QuotaName"], told["Value"] >= 16) == (name, True)


@pytest.mark.aws(f"{SCALING}API_DescribeAccountLimits.html")
def test_the_limits_of_groups_are_told_before_they_are_met(stage: Rehearsal) -> None:
    scaling = stage.region.client("autoscaling")
    before = scaling.describe_account_limits()
    release = Release(stage, "v010", size=0)
    release.create()
    after = scaling.describe_account_limits()
    assert after["NumberOfAutoScalingGroups"] == before["NumberOfAutoScalingGroups"] + 1
    assert after["NumberOfAutoScalingGroups"] < after["MaxNumberOfAutoScalingGroups"]


@pytest.mark.aws(f"{SCALING}API_CompleteLifecycleAction.html")
def test_a_candidate_that_nobody_verifies_is_given_up_and_leaves_nothing(stage: Rehearsal) -> None:
    scaling, release = stage.region.client("autoscaling"), Release(stage, "v011", size=1)
    release.create()
    stage.region.wait("it waits", lambda: list(release.members.values()) == ["Pending:Wait"])
    (instance,) = release.members
    scaling.update_auto_scaling_group(AutoScalingGroupName=release.name, MinSize=0, DesiredCapacity=0)
    for hook in ("bakeboot-launch", "bakeboot-terminate"):

        def given_up(hook: str = hook) -> bool:
            """As often as it takes: an action that has not begun, or is over, is no error."""
            try:
                scaling.complete_lifecycle_action(
                    AutoScalingGroupName=release.name,
                    LifecycleHookName=hook,
                    InstanceId=instance,
                    LifecycleActionResult="ABANDON",
                )
            except ClientError as error:
                if "No active Lifecycle Action" not in str(error):
                    raise
            return release.members.get(instance) != "Pending:Wait" if hook == "bakeboot-launch" else not release.members

        stage.region.wait(f"{hook} is over", given_up)
    scaling.delete_auto_scaling_group(AutoScalingGroupName=release.name)
    stage.region.wait_state(instance, "terminated")
    stage.region.client("elbv2").delete_target_group(TargetGroupArn=release.target_group)
    stage.region.client("ec2").delete_launch_template(LaunchTemplateId=release.template)


@pytest.mark.aws("https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html")
def test_a_coordinator_whose_lease_has_ended_moves_no_traffic(stage: Rehearsal) -> None:
    iam, made, name = stage.region.client("iam"), stage.made, stage.made.name("deploy")
    trust = {"Action": "sts:AssumeRole", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
    made.later(lambda: iam.delete_role(RoleName=name))
    everything = document({"Action": "*", "Resource": "*"})
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=everything)
    made.later(lambda: iam.delete_role_policy(RoleName=name, PolicyName="all"))
    until = datetime.now(UTC) + timedelta(seconds=4)
    lease = {"DateLessThan": {"aws:CurrentTime": f"{until:%Y-%m-%dT%H:%M:%SZ}"}}
    keys = stage.region.client("sts").assume_role(
        RoleArn=role,
        RoleSessionName="one",
        Policy=document({"Action": "*", "Resource": "*", "Condition": lease}),
    )["Credentials"]
    elb = stage.region.client(
        "elbv2",
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )
    release = Release(stage, "v012", size=0)
    rule = stage.rule(50, forward((release, 1)))
    elb.modify_rule(RuleArn=rule, Actions=forward((release, 1)))

    def refused() -> bool:
        try:
            elb.modify_rule(RuleArn=rule, Actions=forward((release, 1)))
        except ClientError as error:
            if error.response["Error"]["Code"] != "AccessDenied":
                raise
            return True
        return False

    stage.region.wait("the lease ends", refused, timeout=10)
    assert time.time() >= until.replace(microsecond=0).timestamp()


@pytest.mark.aws(f"{SCALING}API_PutScalingPolicy.html")
@pytest.mark.aws(f"{SCALING}API_PutScheduledUpdateGroupAction.html")
def test_a_release_s_size_is_pinned_and_its_policies_and_schedules_are_made_anew(stage: Rehearsal) -> None:
    scaling, old, new = stage.region.client("autoscaling"), Release(stage, "v013", 0), Release(stage, "v014", 0)
    for release in (old, new):
        release.create()
    scaling.update_auto_scaling_group(AutoScalingGroupName=old.name, MaxSize=4)
    label = f"{stage.load_balancer.partition('loadbalancer/')[2]}/targetgroup{{}}".format
    tracking: dict[str, Any] = {
        "PredefinedMetricSpecification": {
            "PredefinedMetricType": "ALBRequestCountPerTarget",
            "ResourceLabel": label(old.target_group.partition(":targetgroup")[2]),
        },
        "TargetValue": 100.0,
    }
    scaling.put_scaling_policy(
        AutoScalingGroupName=old.name,
        PolicyName="requests",
        PolicyType="TargetTrackingScaling",
        TargetTrackingConfiguration=tracking,
    )
    scaling.put_scheduled_update_group_action(
        AutoScalingGroupName=old.name, ScheduledActionName="night", Recurrence="0 22 * * *", MinSize=0, MaxSize=4
    )
    (policy,) = scaling.describe_policies(AutoScalingGroupName=old.name)["ScalingPolicies"]
    assert policy["TargetTrackingConfiguration"].items() >= tracking.items()
    tracking["PredefinedMetricSpecification"]["ResourceLabel"] = label(new.target_group.partition(":targetgroup")[2])
    scaling.put_scaling_policy(
        AutoScalingGroupName=new.name,
        PolicyName=policy["PolicyName"],
        PolicyType=policy["PolicyType"],
        TargetTrackingConfiguration=tracking,
    )
    (night,) = scaling.describe_scheduled_actions(AutoScalingGroupName=old.name)["ScheduledUpdateGroupActions"]
    scaling.put_scheduled_update_group_action(
        AutoScalingGroupName=new.name,
        **{key: night[key] for key in ("ScheduledActionName", "Recurrence", "MinSize", "MaxSize")},
    )
    scaling.delete_policy(AutoScalingGroupName=old.name, PolicyName="requests")
    scaling.delete_scheduled_action(AutoScalingGroupName=old.name, ScheduledActionName="night")
    assert scaling.describe_policies(AutoScalingGroupName=old.name)["ScalingPolicies"] == []
    (policy,) = scaling.describe_policies(AutoScalingGroupName=new.name)["ScalingPolicies"]
    assert policy["TargetTrackingConfiguration"].items() >= tracking.items()
    (night,) = scaling.describe_scheduled_actions(AutoScalingGroupName=new.name)["ScheduledUpdateGroupActions"]
    assert (night["ScheduledActionName"], night["Recurrence"]) == ("night", "0 22 * * *")
