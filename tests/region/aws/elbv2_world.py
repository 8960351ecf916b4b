"""A region with load balancers in this process, and the resources that its tests start from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from region.aws import elbv2
from region.aws.world import World
from region.balancer.health import Failed
from tests.region.balancer.fakes import FakeDoor, FakeProber


class Site:
    """A load balancer `shop` on port 80 and two groups, `blue` (in its default rule) and `green` (in no rule)."""

    def __init__(self, world: World, client: Callable[..., Any]) -> None:
        self.world, self.door, self.prober = world, FakeDoor(), FakeProber()
        self.service = elbv2.install(world, door=lambda: self.door, prober=lambda: self.prober)
        self.elb, self.ec2 = client("elbv2"), client("ec2")
        self.subnets = [subnet["SubnetId"] for subnet in self.ec2.describe_subnets()["Subnets"]]
        self.vpc = self.ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        self.blue, self.green = self.group("blue"), self.group("green")
        self.balancer = self.elb.create_load_balancer(Name="shop", Subnets=self.subnets[:2])["LoadBalancers"][0]
        self.arn = self.balancer["LoadBalancerArn"]
        self.listener = self.elb.create_listener(
            LoadBalancerArn=self.arn, Protocol="HTTP", Port=80, DefaultActions=[forward((self.blue, 1))]
        )["Listeners"][0]["ListenerArn"]

    def group(self, name: str, **settings: Any) -> str:
        settings = {"Protocol": "HTTP", "Port": 8080, "VpcId": self.vpc, "HealthCheckPath": "/health", **settings}
        return str(self.elb.create_target_group(Name=name, **settings)["TargetGroups"][0]["TargetGroupArn"])

    def instance(self, subnet: int = 0) -> str:
        answer = self.ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1, SubnetId=self.subnets[subnet])
        return str(answer["Instances"][0]["InstanceId"])

    def registered(self, group: str, subnet: int = 0) -> str:
        instance = self.instance(subnet)
        self.elb.register_targets(TargetGroupArn=group, Targets=[{"Id": instance}])
        return instance

    def ill(self, instance: str, outcome: Any = None, port: int = 8080) -> None:
        """From now on its checks in `blue` fail."""
        self.prober.answers[self.key(self.blue, instance, port)] = outcome or Failed()

    def key(self, group: str, instance: str, port: int = 8080) -> str:
        return f"{group.rpartition(':')[2]}|{instance}:{port}"

    def look(self, times: int = 2) -> None:
        """So many looks of the controllers; the checks that one asks for are heard by the next."""
        for _ in range(times):
            self.world.tick()

    def health(self, group: str, **settings: Any) -> list[dict[str, Any]]:
        answer = self.elb.describe_target_health(TargetGroupArn=group, **settings)
        return [each["TargetHealth"] for each in answer["TargetHealthDescriptions"]]

    def states(self, group: str) -> list[str]:
        return [each["State"] for each in self.health(group)]

    def chosen_from(self, group: str) -> set[str]:
        """Ids and ports of the targets that the door may choose from."""
        key = group.rpartition(":")[2]
        groups = [each for each in self.door.plan.groups if each.key == key]
        return {target.key.partition("|")[2] for each in groups for target in each.targets}


def forward(*weighted: tuple[str, int]) -> dict[str, Any]:
    groups = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in weighted]
    return {"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}


def path(*patterns: str) -> dict[str, Any]:
    return {"Field": "path-pattern", "PathPatternConfig": {"Values": list(patterns)}}
