"""Auto Scaling as AWS documents it, held against a region's real machines: each behaviour names its page."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.region.worlds import WEB_PORT, Made, RegionWorld, Reply, answers, get

pytestmark = pytest.mark.system

GUIDE = "https://docs.aws.amazon.com/autoscaling/ec2/userguide/"
API = "https://docs.aws.amazon.com/autoscaling/ec2/APIReference/"
LAUNCH = {
    "LifecycleHookName": "launch",
    "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING",
    "HeartbeatTimeout": 30,
    "DefaultResult": "ABANDON",
}
TERMINATE = {
    "LifecycleHookName": "terminate",
    "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
    "HeartbeatTimeout": 300,
    "DefaultResult": "CONTINUE",
}
ASK = """
import sys, urllib.error, urllib.request
at = "http://169.254.169.254/latest/"
ask = urllib.request.Request(at + "api/token", method="PUT", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"})
token = urllib.request.urlopen(ask, timeout=5).read().decode()
get = urllib.request.Request(at + "meta-data/" + sys.argv[1], headers={"X-aws-ec2-metadata-token": token})
try:
    print(urllib.request.urlopen(get, timeout=5).read().decode())
except urllib.error.HTTPError as error:
    print(error.code)
"""


def metadata(region: RegionWorld, instance: str, path: str) -> str:
    """What the instance's metadata service says to its own machine."""
    argv = ["ip", "netns", "exec", region.machine(instance), "/usr/bin/python3", "-c", ASK, path]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20).stdout.strip()


def states(region: RegionWorld, name: str) -> dict[str, str]:
    return {member["InstanceId"]: member["LifecycleState"] for member in region.group(name)["Instances"]}


def wait_states(region: RegionWorld, name: str, *wanted: str, timeout: float = 30) -> list[str]:
    """The ids of the group's instances as soon as they are in those states, in any order."""

    def found() -> list[str]:
        there = states(region, name)
        return list(there) if sorted(there.values()) == sorted(wanted) else []

    return region.wait(f"{name} has instances that are {', '.join(wanted)}", found, timeout)


def complete(region: RegionWorld, name: str, instance: str, hook: str, result: str = "CONTINUE") -> None:
    region.client("autoscaling").complete_lifecycle_action(
        AutoScalingGroupName=name, LifecycleHookName=hook, InstanceId=instance, LifecycleActionResult=result
    )


def resize(region: RegionWorld, name: str, size: int) -> None:
    region.client("autoscaling").set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=size)


def replaced(region: RegionWorld, name: str, instance: str) -> str:
    """The one instance in service that has taken its place."""

    def found() -> str:
        others = [other for other in region.in_service(name) if other != instance]
        return others[0] if len(others) == 1 else ""

    return region.wait(f"{instance} of {name} is replaced", found)


@pytest.fixture(scope="module")
def silent(region: RegionWorld, web_ami: str) -> Iterator[tuple[str, str]]:
    """A group, and its first instance, that nobody completes the launch hook of; its 30 s pass beside other tests."""
    made = Made(region)
    name = made.group(made.launch_template(web_ami), wait=False, LifecycleHookSpecificationList=[LAUNCH])
    (instance,) = wait_states(region, name, "Pending:Wait")
    yield name, instance
    made.close()


@pytest.mark.aws(f"{GUIDE}lifecycle-hooks-overview.html")
@pytest.mark.aws(f"{GUIDE}retrieving-target-lifecycle-state-through-imds.html")
def test_hooks_hold_an_instance_at_both_ends_of_its_life(
    region: RegionWorld, made: Made, web_ami: str, silent: tuple[str, str]
) -> None:
    name = made.group(made.launch_template(web_ami), wait=False, LifecycleHookSpecificationList=[LAUNCH, TERMINATE])
    (instance,) = wait_states(region, name, "Pending:Wait")
    assert metadata(region, instance, "autoscaling/target-lifecycle-state") == "InService"
    region.client("autoscaling").record_lifecycle_action_heartbeat(
        AutoScalingGroupName=name, LifecycleHookName="launch", InstanceId=instance
    )
    complete(region, name, instance, "launch")
    assert wait_states(region, name, "InService") == [instance]
    resize(region, name, 0)
    wait_states(region, name, "Terminating:Wait")
    assert metadata(region, instance, "autoscaling/target-lifecycle-state") == "Terminated"
    assert region.state(instance) == "running"
    complete(region, name, instance, "terminate")
    region.wait_state(instance, "terminated")
    region.wait("the group is empty", lambda: not states(region, name))


@pytest.mark.aws(f"{GUIDE}completing-lifecycle-hooks.html")
def test_an_abandoned_launch_is_replaced(region: RegionWorld, made: Made, web_ami: str) -> None:
    name = made.group(made.launch_template(web_ami), wait=False, LifecycleHookSpecificationList=[LAUNCH])
    (instance,) = wait_states(region, name, "Pending:Wait")
    complete(region, name, instance, "launch", "ABANDON")
    region.wait_state(instance, "terminated")
    (other,) = wait_states(region, name, "Pending:Wait")
    assert other != instance
    complete(region, name, other, "launch")
    wait_states(region, name, "InService")


@pytest.mark.aws(f"{GUIDE}ec2-auto-scaling-health-checks.html")
def test_a_machine_that_dies_is_replaced_behind_its_load_balancer(
    region: RegionWorld, made: Made, web_ami: str
) -> None:
    web = made.web_group(web_ami)
    (instance,) = region.in_service(web.name)
    region.control.kill_machine(instance)
    other = replaced(region, web.name, instance)
    region.wait_state(instance, "terminated")
    region.wait("the other one answers", lambda: _instance(answers(web.url)) == other)
    causes = [each["Cause"] for each in _activities(region, web.name)]
    assert any("EC2 instance status checks failure" in cause for cause in causes)


@pytest.mark.aws(f"{GUIDE}ec2-auto-scaling-health-checks.html")
def test_a_target_that_is_unhealthy_is_replaced(region: RegionWorld, made: Made, web_ami: str) -> None:
    elb = region.client("elbv2")
    web = made.web_group(web_ami, HealthCheckType="ELB", HealthCheckGracePeriod=0)
    (instance,) = region.in_service(web.name)
    elb.modify_target_group(TargetGroupArn=web.target_group, HealthCheckPath="/status/500")
    region.wait(f"{instance} leaves", lambda: states(region, web.name).get(instance) != "InService")
    elb.modify_target_group(TargetGroupArn=web.target_group, HealthCheckPath="/health")
    other = replaced(region, web.name, instance)
    region.wait("the other one is healthy", lambda: region.health(web.target_group).get(other) == "healthy")


@pytest.mark.aws("https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-interruptions.html")
@pytest.mark.aws(f"{GUIDE}ec2-auto-scaling-mixed-instances-groups.html")
def test_an_interrupted_spot_instance_is_replaced(region: RegionWorld, made: Made, web_ami: str) -> None:
    specification = {"LaunchTemplateId": made.launch_template(web_ami), "Version": "1"}
    policy = {
        "LaunchTemplate": {"LaunchTemplateSpecification": specification},
        "InstancesDistribution": {"OnDemandPercentageAboveBaseCapacity": 0},
    }
    name = made.name("asg")
    region.client("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName=name,
        MixedInstancesPolicy=policy,
        MinSize=0,
        MaxSize=2,
        DesiredCapacity=1,
        VPCZoneIdentifier=made.subnets()[0],
    )
    made.later(lambda: made._end_group(name))
    (instance,) = region.wait_in_service(name, 1)
    assert region.instance(instance)["InstanceLifecycle"] == "spot"
    region.control.interrupt(instance, notice=1.0)
    replaced(region, name, instance)
    region.wait_state(instance, "terminated")


@pytest.mark.aws(f"{GUIDE}as-enter-exit-standby.html")
def test_standby_takes_no_requests_and_comes_back(region: RegionWorld, made: Made, web_ami: str) -> None:
    scaling = region.client("autoscaling")
    web = made.web_group(web_ami, 2)
    away, stays = region.in_service(web.name)
    words = {"AutoScalingGroupName": web.name, "InstanceIds": [away]}
    scaling.enter_standby(**words, ShouldDecrementDesiredCapacity=True)
    wait_states(region, web.name, "Standby", "InService")
    assert metadata(region, away, "autoscaling/target-lifecycle-state") == "Standby"
    assert {_instance(get(web.url)) for _ in range(6)} == {stays}
    scaling.exit_standby(**words)
    wait_states(region, web.name, "InService", "InService")
    region.wait_healthy(web.target_group, 2)
    region.wait("both answer", lambda: {_instance(get(web.url)) for _ in range(6)} == {away, stays})


@pytest.mark.aws(f"{GUIDE}as-suspend-resume-processes.html")
def test_a_suspended_process_leaves_a_dead_machine_until_it_is_resumed(
    region: RegionWorld, made: Made, web_ami: str
) -> None:
    scaling = region.client("autoscaling")
    name = made.group(made.launch_template(web_ami))
    (instance,) = region.in_service(name)
    words = {"AutoScalingGroupName": name, "ScalingProcesses": ["ReplaceUnhealthy"]}
    scaling.suspend_processes(**words)
    region.control.kill_machine(instance)
    region.wait("it is unhealthy", lambda: region.group(name)["Instances"][0]["HealthStatus"] == "Unhealthy")
    assert states(region, name) == {instance: "InService"}
    scaling.resume_processes(**words)
    replaced(region, name, instance)


@pytest.mark.aws(f"{GUIDE}ec2-auto-scaling-lifecycle.html")
def test_what_scales_in_answers_its_last_request(region: RegionWorld, made: Made, web_ami: str) -> None:
    web = made.web_group(web_ami)
    replies: list[Reply] = []
    request = threading.Thread(target=lambda: replies.append(get(f"{web.url}/slow?s=1.5")))
    request.start()
    (instance,) = region.in_service(web.name)
    region.wait("the request is on its way", lambda: _busy(region, instance))
    resize(region, web.name, 0)
    request.join()
    assert [reply.status for reply in replies] == [200]
    assert _instance(replies[0]) == instance
    region.wait_state(instance, "terminated")


@pytest.mark.aws(f"{API}API_SetDesiredCapacity.html")
@pytest.mark.aws(f"{API}API_DeleteAutoScalingGroup.html")
def test_a_group_keeps_its_limits_and_goes_when_it_is_empty(region: RegionWorld, made: Made, web_ami: str) -> None:
    scaling = region.client("autoscaling")
    name = made.group(made.launch_template(web_ami), 2)
    with pytest.raises(scaling.exceptions.ClientError, match="is above max value 4"):
        resize(region, name, 5)
    with pytest.raises(scaling.exceptions.ResourceInUseFault):
        scaling.delete_auto_scaling_group(AutoScalingGroupName=name)
    instances = region.in_service(name)
    resize(region, name, 0)
    region.wait("it is empty", lambda: not states(region, name))
    scaling.delete_auto_scaling_group(AutoScalingGroupName=name)
    assert region.group(name) is None
    assert [region.state(instance) for instance in instances] == ["terminated"] * 2


@pytest.mark.aws(f"{GUIDE}lifecycle-hooks-overview.html")
def test_a_launch_that_nobody_completes_times_out(region: RegionWorld, silent: tuple[str, str]) -> None:
    name, instance = silent
    region.wait(f"{instance} is given up", lambda: states(region, name).get(instance) != "Pending:Wait", timeout=45)
    region.wait_state(instance, "terminated")
    failed = next(each for each in _activities(region, name) if each["StatusCode"] == "Failed")
    assert failed["StatusMessage"].endswith("was abandoned: Heartbeat Timeout")
    (other,) = wait_states(region, name, "Pending:Wait")
    assert other != instance


def _activities(region: RegionWorld, name: str) -> list[Any]:
    found = region.client("autoscaling").describe_scaling_activities(AutoScalingGroupName=name)
    return list(found["Activities"])


def _instance(reply: Reply | None) -> str:
    return str(reply.json()["instance"]) if reply is not None and reply.status == 200 else ""


def _busy(region: RegionWorld, instance: str) -> bool:
    """Whether a connection to the web service of its machine is open."""
    argv = [
        "ip",
        "netns",
        "exec",
        region.machine(instance),
        "ss",
        "-Htn",
        "state",
        "established",
        f"sport = :{WEB_PORT}",
    ]
    return bool(subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20).stdout.strip())
