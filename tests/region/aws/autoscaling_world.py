"""Auto Scaling of a region in this process: groups of instances whose machines only say that they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from region.aws.autoscaling import Autoscaling, install
from region.aws.ec2 import Ec2
from region.aws.world import World
from tests.region.aws.fakes import IMAGE, FakeClock

LAUNCH = {
    "LifecycleHookName": "launch",
    "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING",
    "HeartbeatTimeout": 300,
    "DefaultResult": "ABANDON",
}
TERMINATE = {
    "LifecycleHookName": "terminate",
    "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
    "HeartbeatTimeout": 60,
    "DefaultResult": "CONTINUE",
}


class Scaling:
    """The API of a region with one launch template, and what a test wants to know of its groups."""

    def __init__(
        self, world: World, clock: FakeClock, ec2: Ec2, client: Callable[..., Any], service: Autoscaling
    ) -> None:
        self.world, self.clock, self.instances, self.service = world, clock, ec2, service
        self.api, self.ec2 = client("autoscaling"), client("ec2")
        template = self.ec2.create_launch_template(
            LaunchTemplateName="web", LaunchTemplateData={"ImageId": IMAGE, "InstanceType": "t3.small"}
        )
        self.template = str(template["LaunchTemplate"]["LaunchTemplateId"])

    def create(self, name: str = "web", **words: Any) -> None:
        """A group of at most four, one of them by default; nothing is launched yet."""
        sizes = {"MinSize": 0, "MaxSize": 4, "DesiredCapacity": 1, "AvailabilityZones": ["us-east-1a", "us-east-1b"]}
        template = {"LaunchTemplateId": self.template, "Version": "1"}
        source = {} if "MixedInstancesPolicy" in words else {"LaunchTemplate": template}
        self.api.create_auto_scaling_group(AutoScalingGroupName=name, **{**sizes, **source, **words})

    def up(self, name: str = "web", **words: Any) -> list[str]:
        """The ids of a new group's instances, as far as they come by themselves."""
        self.create(name, **words)
        self.settle()
        return self.ids(name)

    def settle(self, seconds: float = 0.0) -> None:
        """After that time, all that follows by itself has followed."""
        self.clock.now += seconds
        before, quiet = self._all(), 0
        for _ in range(40):
            self.world.tick()
            self.world.settle()
            now = self._all()
            before, quiet = now, quiet + 1 if now == before else 0
            if quiet == 2:
                return
        raise AssertionError("it never settles")

    def _all(self) -> object:
        groups = self.service.backend.groups.values()
        reservations = self.instances.backend.reservations.values()
        states = [(each.id, each.state) for reservation in reservations for each in reservation.instances]
        return [(group.name, dict(group.members)) for group in groups], states

    def group(self, name: str = "web") -> Any:
        found = self.api.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
        return found[0] if found else None

    def ids(self, name: str = "web") -> list[str]:
        return [member["InstanceId"] for member in self.group(name)["Instances"]]

    def states(self, name: str = "web") -> dict[str, str]:
        return {member["InstanceId"]: member["LifecycleState"] for member in self.group(name)["Instances"]}

    def activities(self, name: str = "web") -> list[tuple[str, str]]:
        """Status and description, the newest first."""
        found = self.api.describe_scaling_activities(AutoScalingGroupName=name)["Activities"]
        return [(activity["StatusCode"], activity["Description"].split(":")[0]) for activity in found]

    def ec2_state(self, instance_id: str) -> str:
        return self.instances.instance(instance_id).state

    def complete(self, instance_id: str, result: str = "CONTINUE", hook: str = "launch", name: str = "web") -> None:
        self.api.complete_lifecycle_action(
            AutoScalingGroupName=name,
            LifecycleHookName=hook,
            InstanceId=instance_id,
            LifecycleActionResult=result,
        )
        self.settle()

    def refused(self, call: Callable[..., Any], **words: Any) -> str:
        """The code and message of the error that the call gives."""
        with pytest.raises(ClientError) as caught:
            call(**words)
        error = caught.value.response["Error"]
        return f"{error['Code']}: {error['Message']}"


@pytest.fixture
def scaling(world: World, clock: FakeClock, ec2: Ec2, client: Callable[..., Any]) -> Iterator[Scaling]:
    service = install(world)
    yield Scaling(world, clock, ec2, client, service)
    service.close()
