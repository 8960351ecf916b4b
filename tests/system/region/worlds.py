"""A region as the tests use it: brought up by the front door, spoken to by boto3, and taken down with all in it.

`RegionWorld` is one region that is up. `Made` makes resources in it under names of their own, and removes them.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from bake.home import Home
from region.client import RegionClient
from region.region_state import Place
from tests.system.bakery import BAKEBOOT, ROOT

WEB_PORT = 8080

T = TypeVar("T")


@dataclass(frozen=True)
class Reply:
    """What an HTTP server said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class RegionWorld:
    """A region that is up."""

    def __init__(self, home: Home, name: str) -> None:
        self.home = home
        self.name = name
        self.control = RegionClient.open(home.root, name)
        self.endpoint = self.control.endpoint
        self.site = self.control.record.site
        self.directory = Place(home.root, name).directory
        self._clients: dict[tuple[str, int], Any] = {}

    def client(self, service: str, *, retries: int = 0, **settings: Any) -> Any:
        """A boto3 client of its API as the account's administrator; it repeats a failed call `retries` times."""
        if settings:
            return self._client(service, retries, settings)
        if (service, retries) not in self._clients:
            self._clients[service, retries] = self._client(service, retries, {})
        return self._clients[service, retries]

    def _client(self, service: str, retries: int, settings: Mapping[str, Any]) -> Any:
        record = self.control.record
        return boto3.client(
            service,
            **{
                "region_name": record.aws_region,
                "endpoint_url": self.endpoint,
                "aws_access_key_id": record.access_key,
                "aws_secret_access_key": record.secret_key,
                "config": Config(retries={"total_max_attempts": retries + 1}, read_timeout=30, connect_timeout=5),
                **settings,
            },
        )

    def wait(self, what: str, condition: Callable[[], T], timeout: float = 30, *, pause: float = 0.05) -> T:
        """What `condition` returns as soon as it is true; fails with what was waited for after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not (found := condition()):
            if time.monotonic() > deadline:
                log = "\n".join((self.directory / "region.log").read_text().splitlines()[-30:])
                raise AssertionError(f"not within {timeout:g} s: {what}; the region's log ends\n{log}")
            time.sleep(pause)
        return found

    def run(self, *arguments: str, code: int = 0, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """`bakeboot region …`, with this region's name."""
        return bakeboot(self.home, "region", *arguments, "--name", self.name, code=code, stdin=stdin)

    @cached_property
    def open_to_all(self) -> str:
        """A security group that lets everybody in on every TCP port; the default one lets in nobody from outside."""
        ec2 = self.client("ec2")
        group = ec2.create_security_group(GroupName="open-to-all", Description="Open to all")["GroupId"]
        everyone = [{"CidrIp": "0.0.0.0/0"}]
        ec2.authorize_security_group_ingress(
            GroupId=group, IpPermissions=[{"IpProtocol": "tcp", "FromPort": 0, "ToPort": 65535, "IpRanges": everyone}]
        )
        return str(group)

    def instance(self, instance_id: str) -> Any:
        """What DescribeInstances says of it."""
        answer = self.client("ec2").describe_instances(InstanceIds=[instance_id])
        return answer["Reservations"][0]["Instances"][0]

    def state(self, instance_id: str) -> str:
        return str(self.instance(instance_id)["State"]["Name"])

    def wait_state(self, instance_id: str, state: str, timeout: float = 30) -> Any:
        """What DescribeInstances says of it once it is in that state."""
        self.wait(f"{instance_id} is {state}", lambda: self.state(instance_id) == state, timeout)
        return self.instance(instance_id)

    def machine(self, instance_id: str) -> str:
        """The name of the machine that an instance is now: its network namespace, and its folder in the home."""
        status = next(one for one in self.control.status()["instances"] if one["id"] == instance_id)
        return str(status["machine"])

    def health(self, target_group: str) -> dict[str, str]:
        """The state of each target, by instance id."""
        told = self.client("elbv2").describe_target_health(TargetGroupArn=target_group)["TargetHealthDescriptions"]
        return {one["Target"]["Id"]: one["TargetHealth"]["State"] for one in told}

    def wait_healthy(self, target_group: str, count: int, timeout: float = 30) -> dict[str, str]:
        """Until so many targets, and no others, are healthy."""
        return self.wait(
            f"{count} healthy targets",
            lambda: (
                health
                if len(health := self.health(target_group)) == count and set(health.values()) == {"healthy"}
                else {}
            ),
            timeout,
        )

    def group(self, name: str) -> Any:
        """What DescribeAutoScalingGroups says of it; None where there is none."""
        told = self.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[name])
        return told["AutoScalingGroups"][0] if told["AutoScalingGroups"] else None

    def in_service(self, name: str) -> list[str]:
        """The ids of the group's instances that are in service."""
        return [one["InstanceId"] for one in self.group(name)["Instances"] if one["LifecycleState"] == "InService"]

    def wait_in_service(self, name: str, count: int, timeout: float = 30) -> list[str]:
        """Until the group has so many instances, all of them in service."""

        def found() -> list[str]:
            there = self.in_service(name)
            return there if len(there) == count == len(self.group(name)["Instances"]) else []

        return self.wait(f"{count} instances in service", found, timeout)


def bakeboot(home: Home, *arguments: str, code: int | None = 0, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """The front door of this checkout with that home, to its end; failed where the exit code is not `code`."""
    done = subprocess.run(
        [*BAKEBOOT, *arguments],
        cwd=ROOT,
        env={**os.environ, "BAKEBOOT_HOME": str(home.root), "COLUMNS": "300"},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert code is None or done.returncode == code, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done


@contextmanager
def region_up(home: Home, name: str, *options: str) -> Iterator[RegionWorld]:
    """A region of that name, for the length of the block; its folder goes with it."""
    bakeboot(home, "region", "up", "--name", name, *options)
    try:
        yield RegionWorld(home, name)
    finally:
        bakeboot(home, "region", "down", "--name", name)
        shutil.rmtree(Place(home.root, name).directory)


def get(url: str, *, headers: Mapping[str, str] | None = None, timeout: float = 10, body: bytes | None = None) -> Reply:
    """One request, on a connection of its own. An error status is a reply; no answer raises OSError."""
    request = urllib.request.Request(url, headers=dict(headers or {}), data=body)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return Reply(answer.status, dict(answer.headers.items()), answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Reply(error.code, dict(error.headers.items()), error.read())


def answers(url: str, **options: Any) -> Reply | None:
    """The reply, or None where nothing answers."""
    with suppress(OSError):
        return get(url, **options)
    return None


@dataclass(frozen=True)
class WebGroup:
    """An autoscaling group of the web image behind a load balancer. `url` is the balancer's."""

    name: str
    template: str
    target_group: str
    listener: str
    load_balancer: str
    url: str


class Made:
    """Makes resources under names of their own; `close` removes them, the last one first."""

    def __init__(self, region: RegionWorld) -> None:
        self.region = region
        self._undo = ExitStack()

    def name(self, word: str = "t") -> str:
        """A name that nothing else has, short enough for a target group."""
        return f"{word}-{secrets.token_hex(4)}"

    def later(self, undo: Callable[[], object]) -> None:
        """Done at the end; what is no more there is no error."""

        def quietly() -> None:
            with suppress(ClientError):
                undo()

        self._undo.callback(quietly)

    def instances(self, ami: str, count: int = 1, *, wait: bool = True, **options: Any) -> list[str]:
        """Instances of that image; running, unless `wait` is false."""
        ec2 = self.region.client("ec2")
        options = {"InstanceType": "t3.micro", **options}
        options.setdefault("SecurityGroupIds", [self.region.open_to_all])
        started = ec2.run_instances(ImageId=ami, MinCount=count, MaxCount=count, **options)["Instances"]
        ids = [one["InstanceId"] for one in started]
        self.later(lambda: ec2.terminate_instances(InstanceIds=ids))
        if wait:
            for one in ids:
                self.region.wait_state(one, "running")
        return ids

    def instance(self, ami: str, **options: Any) -> str:
        (one,) = self.instances(ami, **options)
        return one

    def launch_template(self, ami: str, **data: Any) -> str:
        """The id of a launch template; its tags for instances reach their metadata."""
        ec2 = self.region.client("ec2")
        made = ec2.create_launch_template(
            LaunchTemplateName=self.name("lt"),
            LaunchTemplateData={
                "ImageId": ami,
                "InstanceType": "t3.micro",
                "MetadataOptions": {"InstanceMetadataTags": "enabled", "HttpTokens": "required"},
                "SecurityGroupIds": [self.region.open_to_all],
                **data,
            },
        )["LaunchTemplate"]["LaunchTemplateId"]
        self.later(lambda: ec2.delete_launch_template(LaunchTemplateId=made))
        return str(made)

    def subnets(self) -> list[str]:
        found = self.region.client("ec2").describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])
        return [one["SubnetId"] for one in found["Subnets"]]

    def target_group(self, **options: Any) -> str:
        """The ARN of a target group that is checked twice a second or as often as it may, at `/health` on 8080."""
        elb, ec2 = self.region.client("elbv2"), self.region.client("ec2")
        vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
        made = elb.create_target_group(
            **{
                "Name": self.name("tg"),
                "Protocol": "HTTP",
                "Port": WEB_PORT,
                "VpcId": vpc,
                "HealthCheckPath": "/health",
                "HealthCheckIntervalSeconds": 5,
                "HealthCheckTimeoutSeconds": 2,
                "HealthyThresholdCount": 2,
                "UnhealthyThresholdCount": 2,
                **options,
            }
        )["TargetGroups"][0]["TargetGroupArn"]
        elb.modify_target_group_attributes(
            TargetGroupArn=made, Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "2"}]
        )
        self.later(lambda: elb.delete_target_group(TargetGroupArn=made))
        return str(made)

    def load_balancer(self, **options: Any) -> tuple[str, str]:
        """The ARN of an application load balancer, and its address (its DNSName)."""
        elb = self.region.client("elbv2")
        made = elb.create_load_balancer(**{"Name": self.name("lb"), "Subnets": self.subnets()[:2], **options})
        (told,) = made["LoadBalancers"]
        self.later(lambda: elb.delete_load_balancer(LoadBalancerArn=told["LoadBalancerArn"]))
        return str(told["LoadBalancerArn"]), str(told["DNSName"])

    def listener(self, load_balancer: str, *target_groups: str, port: int = 80) -> str:
        """The ARN of a listener that forwards to the target groups, all of the same weight; none: a fixed 404."""
        elb = self.region.client("elbv2")
        forward = [{"TargetGroupArn": one, "Weight": 1} for one in target_groups]
        action: dict[str, Any] = {"Type": "forward", "ForwardConfig": {"TargetGroups": forward}}
        if not target_groups:
            action = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}
        made = elb.create_listener(LoadBalancerArn=load_balancer, Protocol="HTTP", Port=port, DefaultActions=[action])[
            "Listeners"
        ][0]["ListenerArn"]
        self.later(lambda: elb.delete_listener(ListenerArn=made))
        return str(made)

    def group(self, template: str, size: int = 1, *, wait: bool = True, **options: Any) -> str:
        """The name of an autoscaling group of that size (max: twice it); in service, unless `wait` is false."""
        scaling, name = self.region.client("autoscaling"), self.name("asg")
        scaling.create_auto_scaling_group(
            **{
                "AutoScalingGroupName": name,
                "LaunchTemplate": {"LaunchTemplateId": template, "Version": "1"},
                "MinSize": 0,
                "DesiredCapacity": size,
                "MaxSize": max(1, 2 * size),
                "VPCZoneIdentifier": ",".join(self.subnets()[:2]),
                **options,
            }
        )
        self.later(lambda: self._end_group(name))
        if wait:
            self.region.wait_in_service(name, size)
        return name

    def _end_group(self, name: str) -> None:
        """Also waits until its instances have ended, so that nothing of it is in the next test's way."""
        group = self.region.group(name)
        if group is None:
            return
        ids = [one["InstanceId"] for one in group["Instances"]]
        self.region.client("autoscaling").delete_auto_scaling_group(AutoScalingGroupName=name, ForceDelete=True)
        self.region.wait(f"{name} is gone", lambda: self.region.group(name) is None)
        if ids:
            with suppress(ClientError):
                self.region.client("ec2").terminate_instances(InstanceIds=ids)

    def web_group(self, ami: str, size: int = 1, *, wait: bool = True, **options: Any) -> WebGroup:
        """A load balancer, a target group and an autoscaling group of `size`; all healthy, unless `wait` is false.

        `options` are the group's.
        """
        template, target_group = self.launch_template(ami), self.target_group()
        load_balancer, address = self.load_balancer()
        listener = self.listener(load_balancer, target_group)
        name = self.group(template, size, wait=False, TargetGroupARNs=[target_group], **options)
        if wait:
            self.region.wait_in_service(name, size)
            self.region.wait_healthy(target_group, size)
        return WebGroup(name, template, target_group, listener, load_balancer, f"http://{address}")

    def close(self) -> None:
        self._undo.close()
