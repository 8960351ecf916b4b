"""What instances are told of themselves, and when it changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from region.aws.ec2 import Ec2
from region.aws.world import World
from region.faults import Faults
from region.machine import Machine, MachineSpec
from tests.region.aws.ec2_calls import describe, launch
from tests.region.aws.fakes import IMAGE, FakeClock, FakeMachine, FakeMachines, settle

pytestmark = pytest.mark.network
Client = Callable[..., Any]


def machines(world: World) -> list[FakeMachine]:
    return cast(FakeMachines, world.machines).started


def test_tags_reach_the_metadata_when_they_change_and_those_of_a_group_later(
    ec2: Ec2, world: World, client: Client, clock: FakeClock
) -> None:
    """EC2 User Guide, "View tags for your EC2 instances using instance metadata"."""
    api = client("ec2")
    instance_id = launch(api, MetadataOptions={"InstanceMetadataTags": "enabled"})
    settle(world)
    told = cast(FakeMachines, world.machines).told
    address = describe(api, instance_id)["PrivateIpAddress"]
    api.create_tags(Resources=[instance_id], Tags=[{"Key": "bakeboot:mode", "Value": "review"}])
    world.tick()
    assert told[address].tags == {"bakeboot:mode": "review"}  # type: ignore[union-attr]
    api.modify_instance_metadata_options(InstanceId=instance_id, InstanceMetadataTags="disabled")
    world.tick()
    assert told[address].tags is None  # type: ignore[union-attr]
    api.modify_instance_metadata_options(InstanceId=instance_id, HttpEndpoint="disabled")
    world.tick()
    assert told[address] is None
    world.settings = replace(world.settings, tags_delay=30.0)
    late = ec2.backend.run_instances(
        IMAGE,
        1,
        None,
        [],
        tags={"instance": {"aws:autoscaling:groupName": "web", "bakeboot:mode": "production"}},
        metadata_options={"InstanceMetadataTags": "enabled"},
    ).instances[0]
    settle(world)
    spec = machines(world)[-1].spec
    assert spec.metadata is not None
    assert spec.metadata.tags == {}
    clock.now += 30
    world.tick()
    assert told[late.private_ip or ""].tags["bakeboot:mode"] == "production"  # type: ignore[union-attr, index]


def test_the_role_of_an_instance_is_in_its_metadata_and_may_change(ec2: Ec2, world: World, client: Client) -> None:
    """EC2 User Guide, "IAM roles for Amazon EC2"; "Retrieve security credentials from instance metadata"."""
    api, iam = client("ec2"), client("iam")
    for name in ("web", "worker"):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")
        iam.create_instance_profile(InstanceProfileName=name)
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    instances = api.run_instances(ImageId=IMAGE, MinCount=2, MaxCount=2, IamInstanceProfile={"Name": "web"})
    settle(world)
    for instance in instances["Instances"]:
        metadata = ec2.machine_of(instance["InstanceId"]).spec.metadata
        assert metadata is not None
        assert "iam/security-credentials/web" in metadata.extra
    instance_id = instances["Instances"][0]["InstanceId"]
    address = describe(api, instance_id)["PrivateIpAddress"]
    (association, _) = api.describe_iam_instance_profile_associations()["IamInstanceProfileAssociations"]
    api.replace_iam_instance_profile_association(
        AssociationId=association["AssociationId"], IamInstanceProfile={"Name": "worker"}
    )
    assert describe(api, instance_id)["IamInstanceProfile"]["Arn"].endswith("/worker")
    world.tick()
    told = cast(FakeMachines, world.machines).told
    assert "iam/security-credentials/worker" in told[address].extra  # type: ignore[union-attr]
    api.disassociate_iam_instance_profile(AssociationId=association["AssociationId"])
    world.tick()
    assert not [path for path in told[address].extra if path.startswith("iam")]  # type: ignore[union-attr]


def test_metadata_faults_hold_for_the_next_machine_too(ec2: Ec2, world: World, client: Client) -> None:
    api = client("ec2")
    instance_id = launch(api)
    ec2.set_metadata_faults(instance_id, Faults(slow=1.0))
    settle(world)
    assert machines(world)[0].spec.faults.slow == 1.0
    ec2.set_metadata_faults(instance_id, Faults())
    assert cast(FakeMachines, world.machines).faults == {machines(world)[0].address: Faults()}


def test_faults_that_are_set_while_a_machine_starts_are_its_own(
    ec2: Ec2, world: World, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance_id = launch(client("ec2"))
    start = world.machines.start

    def meanwhile(spec: MachineSpec, address: str) -> Machine:
        ec2.set_metadata_faults(instance_id, Faults(slow=1.0))
        return start(spec, address)

    monkeypatch.setattr(world.machines, "start", meanwhile)
    settle(world)
    assert cast(FakeMachines, world.machines).faults == {ec2.machine_of(instance_id).address: Faults(slow=1.0)}
