"""A stand-in for the agent: verifies its machine, completes its group's hooks, and tells of itself in the state table.

Run in a machine's network with no keys but those of its metadata: `python rehearsal_agent.py TABLE`. It needs boto3,
which the tests' image doesn't hold, so it is the host's Python. Says on standard output, a JSON object a line, what it
does.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from typing import Any

import boto3
from botocore.exceptions import ClientError

METADATA = "http://169.254.169.254/latest/"


def metadata(path: str) -> str:
    """What is below meta-data/; "" for what is not there."""
    ask = urllib.request.Request(
        f"{METADATA}api/token", method="PUT", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    )
    with urllib.request.urlopen(ask, timeout=5) as answer:
        token = answer.read().decode()
    get = urllib.request.Request(f"{METADATA}meta-data/{path}", headers={"X-aws-ec2-metadata-token": token})
    try:
        with urllib.request.urlopen(get, timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError:
        return ""


def say(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def healthy() -> bool:
    try:
        with urllib.request.urlopen("http://127.0.0.1:8080/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


class Agent:
    def __init__(self, table: str) -> None:
        self.table = table
        self.instance = metadata("instance-id")
        self.group = self._tag("aws:autoscaling:groupName")
        self.mode, self.service = self._tag("bakeboot:mode"), self._tag("bakeboot:service")
        self.release = self._tag("bakeboot:release")

    def _tag(self, key: str) -> str:
        """Tags can come late."""
        while not (value := metadata(f"tags/instance/{key}")):
            time.sleep(0.1)
        return value

    def start(self) -> None:
        """Reads its config, and completes its launch hook when its service answers."""
        ssm = boto3.client("ssm")
        config: dict[str, str] = {}
        for scope in ("_all", self.service):
            path = f"/bakeboot/shop/{self.mode}/{scope}"
            read = ssm.get_parameters_by_path(Path=path, Recursive=False, WithDecryption=True)["Parameters"]
            config |= {one["Name"].rpartition("/")[2]: one["Value"] for one in read}
        say(config=config, tried=self._tries())
        self._hook("record_lifecycle_action_heartbeat", "bakeboot-launch")
        while not healthy():
            time.sleep(0.05)
        self.report("verified")
        self._hook("complete_lifecycle_action", "bakeboot-launch", LifecycleActionResult="CONTINUE")
        say(done="launch")

    def _tries(self) -> dict[str, str]:
        """The code of what it is told to each call that it must not make."""
        scaling, table = boto3.client("autoscaling"), boto3.resource("dynamodb").Table(self.table)
        another = {"AutoScalingGroupName": "shop-staging-another-v001", "LifecycleHookName": "bakeboot-launch"}
        tries: dict[str, Any] = {
            "the config of another service": lambda: boto3.client("ssm").get_parameters_by_path(
                Path=f"/bakeboot/shop/{self.mode}/another"
            ),
            "all config at once": lambda: boto3.client("ssm").get_parameters_by_path(
                Path="/bakeboot/shop", Recursive=True
            ),
            "the hook of another group": lambda: scaling.complete_lifecycle_action(
                **another, InstanceId=self.instance, LifecycleActionResult="CONTINUE"
            ),
            "the size of its own": lambda: scaling.set_desired_capacity(
                AutoScalingGroupName=self.group, DesiredCapacity=0
            ),
            "a lock": lambda: table.put_item(Item={"key": "lock#web", "holder": self.instance}),
            "a traffic change": lambda: boto3.client("elbv2").create_rule(
                ListenerArn="arn:aws:elasticloadbalancing:us-east-1:123456789012:listener/app/a/1/2",
                Conditions=[],
                Priority=1,
                Actions=[],
            ),
        }
        said = {}
        for what, call in tries.items():
            try:
                call()
                said[what] = "allowed"
            except ClientError as error:
                said[what] = error.response["Error"]["Code"]
        return said

    def _hook(self, call: str, hook: str, **more: str) -> None:
        """ "No active lifecycle action" is no error."""
        try:
            getattr(boto3.client("autoscaling"), call)(
                AutoScalingGroupName=self.group, LifecycleHookName=hook, InstanceId=self.instance, **more
            )
        except ClientError as error:
            if "No active Lifecycle Action" not in str(error):
                raise

    def report(self, state: str) -> None:
        item = {"key": f"instance#{self.instance}", "state": state, "release": self.release}
        boto3.resource("dynamodb").Table(self.table).put_item(Item=item)

    def watch(self) -> None:
        """Until it is to end: a notice takes it out of its target groups, the group's own end completes its hook."""
        noticed = False
        while metadata("autoscaling/target-lifecycle-state") != "Terminated":
            if not noticed and (notice := metadata("spot/instance-action")):
                noticed = True
                self.drain()
                self.report("interrupted")
                say(notice=json.loads(notice))
            time.sleep(0.2)
        self._hook("complete_lifecycle_action", "bakeboot-terminate", LifecycleActionResult="CONTINUE")
        say(done="terminate")

    def drain(self) -> None:
        found = boto3.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[self.group])
        for arn in found["AutoScalingGroups"][0]["TargetGroupARNs"]:
            boto3.client("elbv2").deregister_targets(TargetGroupArn=arn, Targets=[{"Id": self.instance}])


if __name__ == "__main__":
    agent = Agent(sys.argv[1])
    agent.start()
    agent.watch()
