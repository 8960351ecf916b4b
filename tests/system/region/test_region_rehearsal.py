"""A whole deploy of one web service by plain boto3, as the coordinator and the agent ask AWS for it.

Release v001 (`blue`) is live, v002 (`green`) the candidate beside it; each test moves the traffic to where it starts
from. The last one ends v001.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from tests.system.region.balancer_site import Load
from tests.system.region.rehearsal import PREVIEW, Rehearsal, Release, forward, staged
from tests.system.region.worlds import RegionWorld, get

pytestmark = pytest.mark.system

ALB = "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/"
GUIDE = "https://docs.aws.amazon.com/autoscaling/ec2/userguide/"
DYNAMODB = "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/"


@pytest.fixture(scope="module")
def stage(region: RegionWorld, web_ami: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    with staged(region, web_ami, tmp_path_factory.mktemp("agents")) as stage:
        yield stage


@dataclass
class Rules:
    """The live rule of the service, and who is live."""

    stage: Rehearsal
    live: str
    blue: Release
    green: Release

    def weigh(self, *weighted: tuple[Release, int]) -> None:
        """A shift: one ModifyRule."""
        self.stage.region.client("elbv2").modify_rule(RuleArn=self.live, Actions=forward(*weighted))

    def shift(self, to: Release) -> None:
        self.weigh(*((release, int(release is to)) for release in (self.blue, self.green)))
        self.shown(to)

    def shown(self, release: Release) -> None:
        """Until all its instances, and no others, answer through the balancer."""
        self.stage.region.wait("the balancer shows it", lambda: self.stage.who() == release.instances)


@pytest.fixture(scope="module")
def rules(stage: Rehearsal) -> Rules:
    """v001 live with weight 1, v002 standby with weight 0, and the preview rule for v002."""
    blue, green = Release(stage, "v001"), Release(stage, "v002")
    live = stage.rule(20, forward((blue, 1)))
    blue.create()
    stage.verify(blue.name)
    green.up()
    stage.region.wait_in_service(blue.name, blue.size)
    blue.healthy()
    assert set(stage.region.health(green.target_group).values()) == {"unused"}  # no rule names it yet
    stage.rule(10, forward((green, 1)), preview=True)
    green.healthy()
    rules = Rules(stage, live, blue, green)
    rules.weigh((blue, 1), (green, 0))
    return rules


@pytest.fixture
def load(stage: Rehearsal) -> Iterator[Load]:
    """Clients of the service; none of their requests was lost when the test is over."""
    with Load(stage.address, clients=3, host=stage.host) as load:
        load.more(50)
        yield load
        load.more(50)
    assert load.errors == []
    assert {status for status, _ in load.answers} == {200}


def answered(load: Load) -> dict[str, int]:
    """How many of its answers each instance gave."""
    counts: dict[str, int] = {}
    for (_, text), count in list(load.answers.items()):
        instance = str(json.loads(text)["instance"])
        counts[instance] = counts.get(instance, 0) + count
    return counts


@pytest.mark.aws(f"{DYNAMODB}API_TransactWriteItems.html")
def test_locks_are_taken_all_or_none_and_the_holder_is_told(stage: Rehearsal) -> None:
    dynamodb = stage.region.client("dynamodb")

    def take(deploy: str, *services: str) -> None:
        puts = [
            {
                "Put": {
                    "TableName": stage.table,
                    "Item": {"key": {"S": f"lock#staging#{service}"}, "lease": {"S": deploy}},
                    "ConditionExpression": "attribute_not_exists(#key)",
                    "ExpressionAttributeNames": {"#key": "key"},
                    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                }
            }
            for service in services
        ]
        dynamodb.transact_write_items(TransactItems=puts)

    def lock(service: str) -> Any:
        return dynamodb.get_item(TableName=stage.table, Key={"key": {"S": f"lock#staging#{service}"}}).get("Item")

    take("one", "web", "api")
    with pytest.raises(dynamodb.exceptions.TransactionCanceledException) as refused:
        take("two", "front", "web")
    codes = [reason["Code"] for reason in refused.value.response["CancellationReasons"]]
    assert codes == ["None", "ConditionalCheckFailed"]
    assert refused.value.response["CancellationReasons"][1]["Item"]["lease"] == {"S": "one"}
    assert lock("front") is None
    fault = stage.region.control.fault_api("dynamodb:TransactWriteItems", "lost", count=1)
    stage.region.client("dynamodb", retries=2).transact_write_items(
        TransactItems=[
            {
                "Delete": {
                    "TableName": stage.table,
                    "Key": {"key": {"S": f"lock#staging#{service}"}},
                    "ConditionExpression": "lease = :mine",
                    "ExpressionAttributeValues": {":mine": {"S": "one"}},
                }
            }
            for service in ("web", "api")
        ]
    )
    assert fault not in {one["id"] for one in stage.region.control.faults()}
    assert (lock("web"), lock("api")) == (None, None)


@pytest.mark.aws("https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2autoscaling.html")
@pytest.mark.aws("https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-access.html")
def test_an_agent_reads_its_own_config_and_may_not_touch_what_is_another_s(rules: Rules) -> None:
    for instance in rules.green.instances:
        said = rules.stage.said(instance)
        assert said["config"] == {"COMPANY": "shop", "COLOUR": "plain"}
        assert said["tried"] == {
            "the config of another service": "AccessDeniedException",
            "all config at once": "AccessDeniedException",
            "the hook of another group": "AccessDenied",
            "the size of its own": "AccessDenied",
            "a lock": "AccessDeniedException",
            "a traffic change": "AccessDenied",
        }


@pytest.mark.aws(f"{GUIDE}lifecycle-hooks-overview.html")
@pytest.mark.aws(f"{GUIDE}attach-load-balancer-asg.html")
def test_an_instance_is_in_service_and_a_target_only_when_its_agent_has_verified_it(stage: Rehearsal) -> None:
    release = Release(stage, "v003", size=1)
    ec2 = stage.region.client("ec2")
    changed = {"InstanceType": "t3.small"}
    ec2.create_launch_template_version(LaunchTemplateId=release.template, SourceVersion="1", LaunchTemplateData=changed)
    ec2.modify_launch_template(LaunchTemplateId=release.template, DefaultVersion="2")
    release.create()
    stage.region.wait("it waits", lambda: list(release.members.values()) == ["Pending:Wait"])
    assert stage.region.health(release.target_group) == {}
    stage.verify(release.name)
    (instance,) = stage.region.wait_in_service(release.name, 1)
    told = stage.region.instance(instance)
    tags = {tag["Key"]: tag["Value"] for tag in told["Tags"]}
    assert (tags["aws:ec2launchtemplate:version"], tags["bakeboot:release"]) == ("1", "v003")
    assert (told["InstanceType"], told["InstanceLifecycle"], told["ImageId"]) == ("t3.micro", "spot", stage.ami)
    item = stage.region.client("dynamodb").get_item(TableName=stage.table, Key={"key": {"S": f"instance#{instance}"}})
    assert item["Item"]["state"] == {"S": "verified"}
    end(stage, release)


def end(stage: Rehearsal, release: Release) -> None:
    """Desired 0, empty, delete: never by force."""
    scaling, instances = stage.region.client("autoscaling"), release.instances
    scaling.update_auto_scaling_group(AutoScalingGroupName=release.name, MinSize=0, DesiredCapacity=0)
    with pytest.raises(ClientError, match=r"ResourceInUse|ScalingActivityInProgress"):
        scaling.delete_auto_scaling_group(AutoScalingGroupName=release.name)
    stage.region.wait("it is empty", lambda: not stage.region.group(release.name)["Instances"])
    scaling.delete_auto_scaling_group(AutoScalingGroupName=release.name)
    assert stage.region.group(release.name) is None
    for instance in instances:
        stage.region.wait_state(instance, "terminated")
        assert stage.said(instance)["done"] == "terminate"


@pytest.mark.aws(f"{ALB}listener-rules.html")
@pytest.mark.aws(f"{ALB}rule-condition-types.html")
def test_a_candidate_answers_those_alone_who_know_the_preview_header(rules: Rules) -> None:
    stage = rules.stage
    rules.shift(rules.blue)
    assert stage.who(PREVIEW) == rules.green.instances
    assert stage.who() == rules.blue.instances
    assert stage.who({"X-Bakeboot-Preview": "guessed"}) == rules.blue.instances
    assert get(f"http://{stage.address}/").status == 404  # no rule means it: the listener's default


@pytest.mark.aws(f"{ALB}target-group-health-checks.html")
def test_a_standby_of_weight_0_is_checked_and_gets_no_request(rules: Rules) -> None:
    rules.shift(rules.blue)
    rules.green.healthy()
    assert rules.stage.who(count=40) == rules.blue.instances


@pytest.mark.aws(f"{ALB}load-balancer-target-groups.html")
def test_a_shift_and_its_rollback_are_one_call_each_and_lose_nothing(rules: Rules, load: Load) -> None:
    for to, old in ((rules.green, rules.blue), (rules.blue, rules.green)):
        rules.weigh((to, 1), (old, 0))
        rules.shown(to)
        before = answered(load)
        load.more(60)
        after = answered(load)
        assert sum(after.get(one, 0) - before.get(one, 0) for one in old.instances) <= 3  # those on their way
        old.healthy()


@pytest.mark.aws(f"{ALB}load-balancer-cloudwatch-metrics.html")
def test_a_watch_sees_requests_errors_latency_and_health_of_each_release(rules: Rules) -> None:
    stage, cloudwatch = rules.stage, rules.stage.region.client("cloudwatch")
    rules.shift(rules.green)
    balancer = stage.load_balancer.partition("loadbalancer/")[2]

    def metric(release: Release, name: str, statistic: str) -> float:
        group = "targetgroup" + release.target_group.partition(":targetgroup")[2]
        dimensions = {"LoadBalancer": balancer, "TargetGroup": group}
        now = datetime.now(UTC)
        found = cloudwatch.get_metric_data(
            StartTime=now - timedelta(minutes=10),
            EndTime=now + timedelta(minutes=1),
            MetricDataQueries=[
                {
                    "Id": "m",
                    "MetricStat": {
                        "Metric": {
                            "Namespace": "AWS/ApplicationELB",
                            "MetricName": name,
                            "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
                        },
                        "Period": 60,
                        "Stat": statistic,
                    },
                }
            ],
        )["MetricDataResults"][0]["Values"]
        return float(sum(found) if statistic == "Sum" else max(found, default=-1))

    errors = metric(rules.green, "HTTPCode_Target_5XX_Count", "Sum")
    requests = metric(rules.green, "RequestCount", "Sum")
    old = metric(rules.blue, "RequestCount", "Sum")
    assert [stage.get("/status/503").status for _ in range(4)] == [503] * 4
    stage.get("/slow?s=0.4")
    region = stage.region
    region.wait("errors", lambda: metric(rules.green, "HTTPCode_Target_5XX_Count", "Sum") == errors + 4, 70)
    assert metric(rules.green, "RequestCount", "Sum") == requests + 5
    assert metric(rules.blue, "RequestCount", "Sum") == old
    assert 0.4 <= metric(rules.green, "TargetResponseTime", "Maximum") < 5
    assert metric(rules.green, "HealthyHostCount", "Maximum") == 2
    rules.shift(rules.blue)


@pytest.mark.aws("https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html")
@pytest.mark.aws(f"{ALB}edit-target-group-attributes.html#deregistration-delay")
def test_an_interrupted_spot_instance_leaves_the_balancer_and_is_replaced_with_nothing_lost(
    rules: Rules, load: Load
) -> None:
    region, stage = rules.stage.region, rules.stage
    rules.shift(rules.blue)
    before = rules.blue.instances
    gone = min(before)
    region.control.interrupt(gone, notice=4.0)
    region.wait("its agent sees the notice", lambda: "notice" in stage.said(gone))
    assert stage.said(gone)["notice"]["action"] == "terminate"
    region.wait("it drains", lambda: region.health(rules.blue.target_group).get(gone) in ("draining", None))
    region.wait_state(gone, "terminated")
    region.wait("it is replaced", lambda: len(rules.blue.instances - {gone}) == 2)
    rules.blue.healthy()
    region.wait("the new one answers", lambda: stage.who() == rules.blue.instances)


@pytest.mark.aws("https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CreateAutoScalingGroup.html")
def test_a_group_whose_making_was_not_answered_is_found_by_its_tags(stage: Rehearsal) -> None:
    release = Release(stage, "v004", size=0)
    stage.region.control.fault_api("autoscaling:CreateAutoScalingGroup", "lost", count=1)
    with pytest.raises(ConnectionClosedError):
        release.create()
    with pytest.raises(ClientError, match="AlreadyExists"):
        release.create()
    scaling = stage.region.client("autoscaling")
    found = scaling.describe_auto_scaling_groups(Filters=[{"Name": "tag:bakeboot:release", "Values": ["v004"]}])
    (group,) = found["AutoScalingGroups"]
    assert (group["AutoScalingGroupName"], group["TargetGroupARNs"]) == (release.name, [release.target_group])
    specification = group["MixedInstancesPolicy"]["LaunchTemplate"]["LaunchTemplateSpecification"]
    assert (specification["LaunchTemplateId"], specification["Version"]) == (release.template, "1")
    hooks = scaling.describe_lifecycle_hooks(AutoScalingGroupName=release.name)["LifecycleHooks"]
    assert sorted(hook["LifecycleHookName"] for hook in hooks) == ["bakeboot-launch", "bakeboot-terminate"]
    scaling.delete_auto_scaling_group(AutoScalingGroupName=release.name)


@pytest.mark.aws("https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/CommonErrors.html")
def test_a_look_that_was_throttled_is_taken_again(rules: Rules) -> None:
    region = rules.stage.region
    fault = region.control.fault_api("elasticloadbalancing:DescribeTargetHealth", "throttle", count=2)
    elb = region.client("elbv2")
    with pytest.raises(ClientError, match="Throttling"):
        elb.describe_target_health(TargetGroupArn=rules.green.target_group)
    patient = region.client("elbv2", retries=3)
    told = patient.describe_target_health(TargetGroupArn=rules.green.target_group)["TargetHealthDescriptions"]
    assert {one["TargetHealth"]["State"] for one in told} == {"healthy"}
    assert fault not in {one["id"] for one in region.control.faults()}


@pytest.mark.aws("https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/routing-to-elb-load-balancer.html")
def test_a_machine_reaches_the_service_by_its_name(rules: Rules) -> None:
    stage, dns = rules.stage, rules.stage.region.client("route53")
    rules.shift(rules.blue)
    zone = dns.create_hosted_zone(Name=f"{stage.word}.test", CallerReference=stage.word)["HostedZone"]["Id"]
    elb = stage.region.client("elbv2")
    (balancer,) = elb.describe_load_balancers(LoadBalancerArns=[stage.load_balancer])["LoadBalancers"]
    alias = {
        "HostedZoneId": balancer["CanonicalHostedZoneId"],
        "DNSName": balancer["DNSName"],
        "EvaluateTargetHealth": False,
    }

    def change(action: str) -> None:
        record = {"Name": stage.host, "Type": "A", "AliasTarget": alias}
        changes = [{"Action": action, "ResourceRecordSet": record}]
        dns.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})

    change("UPSERT")
    try:
        told = stage.get(f"/ask?url=http://{stage.host}/", PREVIEW).body.decode()  # a machine of green asks
        assert json.loads(told)["instance"] in rules.blue.instances
    finally:
        change("DELETE")
        dns.delete_hosted_zone(Id=zone)


@pytest.mark.aws(f"{GUIDE}as-scale-target-tracking.html")
@pytest.mark.aws("https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DeleteAutoScalingGroup.html")
def test_an_old_release_is_drained_emptied_and_deleted_while_the_new_one_serves(rules: Rules, load: Load) -> None:
    elb = rules.stage.region.client("elbv2")
    rules.shift(rules.green)
    with pytest.raises(ClientError, match="ResourceInUse"):
        elb.delete_target_group(TargetGroupArn=rules.blue.target_group)
    end(rules.stage, rules.blue)
    rules.weigh((rules.green, 1))
    elb.delete_target_group(TargetGroupArn=rules.blue.target_group)
