"""A coordinator's stand-in: what a deploy of one web service asks of AWS, call by call, as the design has it.

`Rehearsal` is the service's environment (state table, config, role, load balancer, name); `Release` one release of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.system.region.worlds import Made, RegionWorld, Reply, get

AGENT = Path(__file__).with_name("rehearsal_agent.py")
SECRET = "4f1c"
PREVIEW = {"X-Bakeboot-Preview": SECRET}
LAUNCH = {
    "LifecycleHookName": "bakeboot-launch",
    "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING",
    "HeartbeatTimeout": 300,
    "DefaultResult": "ABANDON",
}
TERMINATE = {
    "LifecycleHookName": "bakeboot-terminate",
    "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
    "HeartbeatTimeout": 60,
    "DefaultResult": "CONTINUE",
}
_PARAMETERS = {"_all/COMPANY": "shop", "web/COLOUR": "plain", "another/COLOUR": "secret"}


@contextmanager
def staged(region: RegionWorld, ami: str, logs: Path) -> Iterator[Rehearsal]:
    """A stage for the length of the block; `logs` is a folder for what agents say."""
    made = Made(region)
    stage = Rehearsal(region, made, ami, logs)
    try:
        yield stage
    finally:
        made.close()  # groups end while their agents still complete the hooks
        stage.close()


class Rehearsal:
    """All that a service has before its first release, in a region; `close` ends what it started."""

    def __init__(self, region: RegionWorld, made: Made, ami: str, logs: Path) -> None:
        self.region, self.made, self.ami, self.logs = region, made, ami, logs
        self.word = made.name("s").replace("-", "")
        self.table = self._state_table()
        self._config()
        self.profile = self._profile()
        self.load_balancer, self.address = made.load_balancer()
        self.listener = made.listener(self.load_balancer)
        self.host = f"web.{self.word}.test"
        self._agents: dict[str, subprocess.Popen[bytes]] = {}
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._verified: set[str] = set()
        self._watcher.start()

    def close(self) -> None:
        self._stop.set()
        self._watcher.join()
        for agent in self._agents.values():
            agent.terminate()
            agent.wait()

    def _state_table(self) -> str:
        dynamodb, name = self.region.client("dynamodb"), self.made.name("state")
        dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self.made.later(lambda: dynamodb.delete_table(TableName=name))
        dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
        return name

    def _config(self) -> None:
        ssm = self.region.client("ssm")
        for place, value in _PARAMETERS.items():
            name = f"/bakeboot/shop/staging/{place}"
            ssm.put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)
            self.made.later(partial(ssm.delete_parameter, Name=name))

    def _profile(self) -> str:
        """What an agent may: its own config, the hooks of its service's groups, its report, and to leave."""
        iam, name, made = self.region.client("iam"), self.made.name("web"), self.made
        at = "arn:aws:{}:us-east-1:123456789012:{}".format
        config = [at("ssm", f"parameter/bakeboot/shop/staging/{scope}") for scope in ("_all", "web")]
        of_service = {"StringEquals": {"aws:ResourceTag/bakeboot:service": "web"}}
        own_items = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["instance#*"]}}
        hooks = ["autoscaling:CompleteLifecycleAction", "autoscaling:RecordLifecycleActionHeartbeat"]
        statements: list[dict[str, Any]] = [
            {"Action": "ssm:GetParametersByPath", "Resource": config},
            {"Action": hooks, "Resource": "*", "Condition": of_service},
            {"Action": "autoscaling:DescribeAutoScalingGroups", "Resource": "*"},
            {"Action": "dynamodb:PutItem", "Resource": at("dynamodb", f"table/{self.table}"), "Condition": own_items},
            {
                "Action": "elasticloadbalancing:DeregisterTargets",
                "Resource": at("elasticloadbalancing", "targetgroup/bb-*"),
                "Condition": of_service,
            },
        ]
        trust = {"Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))
        made.later(lambda: iam.delete_role(RoleName=name))
        iam.put_role_policy(RoleName=name, PolicyName="agent", PolicyDocument=document(*statements))
        made.later(lambda: iam.delete_role_policy(RoleName=name, PolicyName="agent"))
        iam.create_instance_profile(InstanceProfileName=name)
        made.later(lambda: iam.delete_instance_profile(InstanceProfileName=name))
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
        made.later(lambda: iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=name))
        return name

    # --- agents: one in each machine of the groups that are told --------------------------------------------------

    def verify(self, group: str) -> None:
        """From now on each machine of the group has an agent."""
        self._verified.add(group)

    def _watch(self) -> None:
        scaling = self.region.client("autoscaling", retries=3)
        while not self._stop.wait(0.1):
            names = sorted(self._verified)
            found = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=names) if names else {}
            for member in (one for group in found.get("AutoScalingGroups", ()) for one in group["Instances"]):
                if member["LifecycleState"] == "Pending:Wait" and member["InstanceId"] not in self._agents:
                    self._agents[member["InstanceId"]] = self._agent(member["InstanceId"])

    def _agent(self, instance: str) -> subprocess.Popen[bytes]:
        """In the machine's network, with no keys but those of its metadata."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
        told = {"AWS_ENDPOINT_URL": self.region.endpoint, "AWS_DEFAULT_REGION": "us-east-1", "NO_PROXY": "*"}
        argv = ["ip", "netns", "exec", self.region.machine(instance), sys.executable, str(AGENT), self.table]
        with (self.logs / instance).open("wb") as log:
            return subprocess.Popen(argv, env={**kept, **told, "HOME": "/nonexistent"}, stdout=log, stderr=log)

    def said(self, instance: str) -> dict[str, Any]:
        """All that its agent has said; raises with what it wrote where that makes no sense."""
        lines = (self.logs / instance).read_text().splitlines() if (self.logs / instance).exists() else []
        assert all(line.startswith("{") for line in lines), "\n".join(lines)
        return {key: value for line in lines if line.endswith("}") for key, value in json.loads(line).items()}

    # --- releases and rules ------------------------------------------------------------------------------------------

    def rule(self, priority: int, actions: list[dict[str, Any]], *, preview: bool = False) -> str:
        conditions: list[dict[str, Any]] = [{"Field": "host-header", "HostHeaderConfig": {"Values": [self.host]}}]
        if preview:
            header = {"HttpHeaderName": "X-Bakeboot-Preview", "Values": [SECRET]}
            conditions.append({"Field": "http-header", "HttpHeaderConfig": header})
        elb = self.region.client("elbv2")
        rule = elb.create_rule(
            ListenerArn=self.listener, Priority=priority, Conditions=conditions, Actions=actions, Tags=self.tags("")
        )["Rules"][0]["RuleArn"]
        self.made.later(lambda: elb.delete_rule(RuleArn=rule))
        return str(rule)

    def tags(self, release: str) -> list[dict[str, str]]:
        told = {"stack": "shop", "mode": "staging", "service": "web", "release": release}
        return [{"Key": f"bakeboot:{key}", "Value": value} for key, value in told.items() if value]

    def get(self, path: str = "/", headers: dict[str, str] | None = None) -> Reply:
        return get(f"http://{self.address}{path}", headers={"Host": self.host, **(headers or {})})

    def who(self, headers: dict[str, str] | None = None, count: int = 10) -> set[str]:
        """The ids of the instances that answer so many requests."""
        return {str(self.get(headers=headers).json()["instance"]) for _ in range(count)}


class Release:
    """A release: its launch template's version, its target group, and its spot group with its hooks."""

    def __init__(self, rehearsal: Rehearsal, number: str, size: int = 2) -> None:
        self.rehearsal, self.number, self.size = rehearsal, number, size
        self.name = f"shop-staging-web-{number}-{rehearsal.word}"
        made = rehearsal.made
        digest = hashlib.sha256(self.name.encode()).hexdigest()[:12]
        self.target_group = made.target_group(Name=f"bb-{digest}-{number}", Tags=rehearsal.tags(number))
        self.template = made.launch_template(rehearsal.ami, IamInstanceProfile={"Name": rehearsal.profile})
        made.later(lambda: made._end_group(self.name))

    def create(self) -> None:
        """The groups; raises what the call raises."""
        rehearsal = self.rehearsal
        specification = {"LaunchTemplateId": self.template, "Version": "1"}
        spot = {"OnDemandBaseCapacity": 0, "OnDemandPercentageAboveBaseCapacity": 0}
        rehearsal.region.client("autoscaling").create_auto_scaling_group(
            AutoScalingGroupName=self.name,
            MixedInstancesPolicy={
                "LaunchTemplate": {
                    "LaunchTemplateSpecification": specification,
                    "Overrides": [{"InstanceType": "t3.micro"}, {"InstanceType": "t3.small"}],
                },
                "InstancesDistribution": {**spot, "SpotAllocationStrategy": "price-capacity-optimized"},
            },
            MinSize=self.size,
            MaxSize=2 * self.size,
            DesiredCapacity=self.size,
            VPCZoneIdentifier=",".join(rehearsal.made.subnets()[:2]),
            TargetGroupARNs=[self.target_group],
            HealthCheckType="ELB",
            HealthCheckGracePeriod=60,
            LifecycleHookSpecificationList=[LAUNCH, TERMINATE],
            Tags=[{**tag, "PropagateAtLaunch": True} for tag in rehearsal.tags(self.number)],
        )

    def up(self) -> Release:
        """In service, each machine verified by its agent."""
        self.create()
        self.rehearsal.verify(self.name)
        self.rehearsal.region.wait_in_service(self.name, self.size)
        return self

    @property
    def members(self) -> dict[str, str]:
        """The lifecycle states of its group's instances."""
        told = self.rehearsal.region.group(self.name)["Instances"]
        return {one["InstanceId"]: one["LifecycleState"] for one in told}

    @property
    def instances(self) -> set[str]:
        return set(self.rehearsal.region.in_service(self.name))

    def healthy(self) -> None:
        self.rehearsal.region.wait_healthy(self.target_group, self.size)


def forward(*weighted: tuple[Release, int]) -> list[dict[str, Any]]:
    """One action that names each release's target group."""
    groups = [{"TargetGroupArn": release.target_group, "Weight": weight} for release, weight in weighted]
    return [{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}]


def document(*statements: dict[str, Any]) -> str:
    allowed = [{"Effect": "Allow", **statement} for statement in statements]
    return json.dumps({"Version": "2012-10-17", "Statement": allowed})
