"""Load balancers in front of machines: what instances do is what targets are, and the address is one on both sides."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from region import netns
from tests.system.region.worlds import Made, RegionWorld, get

pytestmark = pytest.mark.system

AWS = "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/"


class Fleet:
    """Two instances behind a load balancer."""

    def __init__(self, region: RegionWorld, made: Made, ami: str) -> None:
        self.region, self.elb = region, region.client("elbv2")
        self.group = made.target_group()
        self.balancer, self.address = made.load_balancer()
        made.listener(self.balancer, self.group)
        self.ids = made.instances(ami, 2, SubnetId=made.subnets()[0])
        self.elb.register_targets(TargetGroupArn=self.group, Targets=[{"Id": one} for one in self.ids])
        region.wait_healthy(self.group, 2)

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def answering(self) -> set[str]:
        return {get(self.url).json()["instance"] for _ in range(4)}


@pytest.fixture(scope="module")
def fleet(region: RegionWorld, web_ami: str) -> Iterator[Fleet]:
    made = Made(region)
    yield Fleet(region, made, web_ami)
    made.close()


@pytest.mark.aws(AWS + "introduction.html")
def test_instances_answer_in_turn(fleet: Fleet) -> None:
    assert fleet.answering() == set(fleet.ids)


@pytest.mark.aws(AWS + "x-forwarded-headers.html")
def test_a_machine_that_asks_is_told_by_its_private_address(fleet: Fleet) -> None:
    asking = fleet.ids[0]
    private = fleet.region.instance(asking)["PrivateIpAddress"]
    told = netns.inside(fleet.region.machine(asking), lambda: get(f"{fleet.url}/headers")).json()
    assert {name.lower(): value for name, value in told.items()}["x-forwarded-for"] == private


@pytest.mark.aws(AWS + "target-group-register-targets.html")
def test_an_instance_that_stops_is_unused_and_one_that_ends_is_forgotten(fleet: Fleet) -> None:
    stopped, ended = fleet.ids
    ec2 = fleet.region.client("ec2")
    ec2.stop_instances(InstanceIds=[stopped])
    fleet.region.wait("it is unused", lambda: fleet.region.health(fleet.group).get(stopped) == "unused")
    assert fleet.answering() == {ended}
    ec2.terminate_instances(InstanceIds=[ended])
    fleet.region.wait("it is forgotten", lambda: ended not in fleet.region.health(fleet.group))
