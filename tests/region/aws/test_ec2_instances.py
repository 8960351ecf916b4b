"""Instances as EC2 has them, on machines that only say that they run."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from region.aws.ec2 import Ec2
from region.aws.world import World
from region.errors import RegionError
from tests.region.aws.ec2_calls import describe, launch, refused, state
from tests.region.aws.fakes import IMAGE, FakeClock, FakeMachine, FakeMachines, FakeNetwork, settle

pytestmark = pytest.mark.network
Client = Callable[..., Any]


def network(world: World) -> FakeNetwork:
    return cast(FakeNetwork, world.network)


def machines(world: World) -> list[FakeMachine]:
    return cast(FakeMachines, world.machines).started


def test_an_instance_lives_from_pending_to_terminated(ec2: Ec2, world: World, client: Client) -> None:
    """EC2 User Guide, "Amazon EC2 instance state changes"."""
    api = client("ec2")
    instance_id = launch(api)
    assert state(api, instance_id) == "pending"
    settle(world)
    running = describe(api, instance_id)
    assert (running["State"]["Name"], running["RootDeviceName"]) == ("running", "/dev/xvda")
    assert running["VirtualizationType"] == "hvm"
    assert network(world).exposed.keys() == network(world).held == {running["PublicIpAddress"]}
    assert ec2.machine_of(instance_id).address == running["PrivateIpAddress"]
    (change,) = api.terminate_instances(InstanceIds=[instance_id])["TerminatingInstances"]
    assert (change["PreviousState"]["Name"], change["CurrentState"]["Name"]) == ("running", "shutting-down")
    settle(world)
    ended = describe(api, instance_id)
    assert ended["State"]["Name"] == "terminated"
    assert ended["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    assert "PrivateIpAddress" not in ended
    assert not network(world).held
    assert not network(world).exposed


def test_a_terminated_instance_is_shown_for_an_hour_and_its_address_is_another_s(
    ec2: Ec2, world: World, client: Client, clock: FakeClock
) -> None:
    """TerminateInstances: "Terminated instances remain visible after termination (for approximately one hour)"."""
    api = client("ec2")
    first = launch(api)
    address = describe(api, first)["PrivateIpAddress"]
    settle(world)
    api.terminate_instances(InstanceIds=[first])
    settle(world)
    second = launch(api)
    assert describe(api, second)["PrivateIpAddress"] == address
    clock.now += 3601
    settle(world)
    with refused("InvalidInstanceID.NotFound"):
        describe(api, first)
    third = launch(api)
    assert describe(api, third)["PrivateIpAddress"] != address


def test_a_stopped_instance_keeps_its_private_address_and_what_it_wrote(ec2: Ec2, world: World, client: Client) -> None:
    """EC2 User Guide, "Stop and start Amazon EC2 instances"."""
    api = client("ec2")
    instance_id = launch(api)
    settle(world)
    before = describe(api, instance_id)
    (change,) = api.stop_instances(InstanceIds=[instance_id])["StoppingInstances"]
    assert change["CurrentState"]["Name"] == "stopping"
    settle(world)
    stopped = describe(api, instance_id)
    assert stopped["State"]["Name"] == "stopped"
    assert "PublicIpAddress" not in stopped
    assert stopped["PrivateIpAddress"] == before["PrivateIpAddress"]
    with pytest.raises(RegionError, match="it is stopped"):
        ec2.machine_of(instance_id)
    launch(api)  # takes the public address that is free now
    (change,) = api.start_instances(InstanceIds=[instance_id])["StartingInstances"]
    assert change["CurrentState"]["Name"] == "pending"
    settle(world)
    after = describe(api, instance_id)
    assert after["State"]["Name"] == "running"
    assert after["PrivateIpAddress"] == before["PrivateIpAddress"]
    assert after["PublicIpAddress"] != before["PublicIpAddress"]
    upper = [machine.spec.upper for machine in machines(world) if machine.name == instance_id][-1]
    assert upper is not None
    assert (upper / "wrote").exists()


def test_an_elastic_address_stays_until_its_instance_ends(ec2: Ec2, world: World, client: Client) -> None:
    """EC2 User Guide, "Elastic IP addresses"."""
    api = client("ec2")
    instance_id = launch(api)
    settle(world)
    address = api.allocate_address(Domain="vpc")
    api.associate_address(AllocationId=address["AllocationId"], InstanceId=instance_id)
    for call in (api.stop_instances, api.start_instances):
        call(InstanceIds=[instance_id])
        settle(world)
    assert describe(api, instance_id)["PublicIpAddress"] == address["PublicIp"]
    assert address["PublicIp"] in network(world).exposed
    api.terminate_instances(InstanceIds=[instance_id])
    settle(world)
    (left,) = api.describe_addresses()["Addresses"]
    assert "AssociationId" not in left
    assert not network(world).exposed


def test_a_reboot_keeps_the_instance_and_its_addresses(ec2: Ec2, world: World, client: Client) -> None:
    """EC2 User Guide, "Reboot your instance"."""
    api = client("ec2")
    instance_id = launch(api)
    settle(world)
    before = describe(api, instance_id)
    api.reboot_instances(InstanceIds=[instance_id])
    settle(world)
    after = describe(api, instance_id)
    assert len(machines(world)) == 2
    assert (after["State"]["Name"], after["PublicIpAddress"]) == ("running", before["PublicIpAddress"])


@pytest.mark.parametrize(
    ("behaviour", "exit_code", "expected"),
    [
        ("stop", 0, "stopped"),
        ("terminate", 0, "terminated"),
        ("terminate", 133, "running"),
        ("terminate", 1, "running"),
    ],
)
def test_a_machine_that_ends_by_itself(
    ec2: Ec2, world: World, client: Client, behaviour: str, exit_code: int, expected: str
) -> None:
    """EC2 User Guide, "Change instance initiated shutdown behavior"."""
    api = client("ec2")
    instance_id = launch(api, InstanceInitiatedShutdownBehavior=behaviour)
    settle(world)
    machines(world)[0].ended = exit_code
    settle(world)
    found = describe(api, instance_id)
    assert found["State"]["Name"] == expected
    assert (found["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown") == (expected != "running")
    assert ec2.instance(instance_id).impaired == (exit_code == 1)
    assert len(machines(world)) == (2 if exit_code == 133 else 1)


def test_a_power_cut_leaves_the_instance_running_and_impaired(ec2: Ec2, world: World, client: Client) -> None:
    """EC2 User Guide, "Status checks for Amazon EC2 instances"; a reboot helps."""
    api = client("ec2")
    instance_id = launch(api)
    settle(world)
    ec2.kill_machine(instance_id)
    settle(world)
    (status,) = api.describe_instance_status(InstanceIds=[instance_id])["InstanceStatuses"]
    assert status["InstanceState"]["Name"] == "running"
    assert (status["InstanceStatus"]["Status"], status["SystemStatus"]["Status"]) == ("impaired", "impaired")
    api.reboot_instances(InstanceIds=[instance_id])
    settle(world)
    (status,) = api.describe_instance_status(InstanceIds=[instance_id])["InstanceStatuses"]
    assert status["InstanceStatus"]["Status"] == "ok"


def test_what_is_ended_while_it_waits_for_its_turn_to_start_gets_no_machine(
    ec2: Ec2, world: World, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = client("ec2")
    instance_id = launch(api)

    @contextlib.contextmanager
    def turn() -> Iterator[None]:
        api.terminate_instances(InstanceIds=[instance_id])
        yield

    monkeypatch.setattr(world.catalog, "hold", turn)
    settle(world)
    assert state(api, instance_id) == "terminated"
    assert machines(world) == []


def test_a_machine_that_ends_before_it_has_its_public_address_leaves_its_instance_running_and_impaired(
    ec2: Ec2, world: World, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def expose(address: str, machine: FakeMachine, allowed: object) -> None:
        machine.kill()
        raise RegionError("it ended")

    monkeypatch.setattr(world.network, "expose", expose)
    instance_id = launch(client("ec2"))
    settle(world)
    assert state(client("ec2"), instance_id) == "running"
    assert ec2.instance(instance_id).impaired
    assert ec2.instance(instance_id).machine is None


def test_one_that_cannot_start_is_terminated_with_the_reason(ec2: Ec2, world: World, client: Client) -> None:
    """EC2 User Guide, "Troubleshoot instance launch issues": "Instance terminates immediately"."""
    api = client("ec2")
    cast(FakeMachines, world.machines).fail = "no room"
    instance_id = launch(api)
    settle(world)
    found = describe(api, instance_id)
    assert (found["State"]["Name"], found["StateReason"]["Code"]) == ("terminated", "Server.InternalError")
    assert not network(world).held


def test_what_ran_before_and_cannot_start_again_is_stopped(ec2: Ec2, world: World, client: Client) -> None:
    api = client("ec2")
    instance_id = launch(api)
    settle(world)
    api.stop_instances(InstanceIds=[instance_id])
    settle(world)
    cast(FakeMachines, world.machines).fail = "no room"
    api.start_instances(InstanceIds=[instance_id])
    settle(world)
    assert state(api, instance_id) == "stopped"


def test_terminate_while_pending_and_calls_in_the_wrong_state(ec2: Ec2, world: World, client: Client) -> None:
    """Error codes for the Amazon EC2 API, "IncorrectInstanceState"."""
    api = client("ec2")
    instance_id = launch(api)
    for call in (api.stop_instances, api.reboot_instances):
        with refused("IncorrectInstanceState"):
            call(InstanceIds=[instance_id])
    api.start_instances(InstanceIds=[instance_id])  # no effect
    api.terminate_instances(InstanceIds=[instance_id])
    settle(world)
    assert state(api, instance_id) == "terminated"
    assert machines(world) == []
    for call in (api.stop_instances, api.start_instances, api.reboot_instances):
        with refused("IncorrectInstanceState"):
            call(InstanceIds=[instance_id])
    api.terminate_instances(InstanceIds=[instance_id])  # "This operation is idempotent"
    for call in (api.stop_instances, api.terminate_instances, api.describe_instances, api.describe_instance_status):
        with refused("InvalidInstanceID.NotFound"):
            call(InstanceIds=["i-0123456789abcdef0"])


def test_a_protected_instance_is_not_terminated_nor_those_beside_it(ec2: Ec2, world: World, client: Client) -> None:
    """EC2 User Guide, "Change instance termination protection"."""
    api = client("ec2")
    protected, other = launch(api, DisableApiTermination=True), launch(api)
    with refused("OperationNotPermitted"):
        api.terminate_instances(InstanceIds=[other, protected])
    assert state(api, other) == "pending"
    api.modify_instance_attribute(InstanceId=protected, DisableApiTermination={"Value": False})
    api.terminate_instances(InstanceIds=[other, protected])


def test_a_launch_that_is_sent_twice_is_one_launch(ec2: Ec2, world: World, client: Client) -> None:
    """EC2 API Reference, "Ensuring idempotency in Amazon EC2 API requests"."""
    api = client("ec2")
    words = {"ImageId": IMAGE, "MinCount": 1, "MaxCount": 2, "ClientToken": "once"}
    first, second = api.run_instances(**words), api.run_instances(**words)
    assert first["ReservationId"] == second["ReservationId"]
    assert len(first["Instances"]) == len(second["Instances"]) == 2
    with refused("IdempotentParameterMismatch"):
        api.run_instances(**{**words, "MaxCount": 1})
    assert len(api.describe_instances()["Reservations"]) == 1


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ({"ImageId": "ami-00000000000000000"}, "InvalidAMIID.NotFound"),
        ({"InstanceType": "t3.enormous"}, "InvalidParameterValue"),
        ({"KeyName": "lost"}, "InvalidKeyPair.NotFound"),
        ({"IamInstanceProfile": {"Name": "none"}}, "InvalidParameterValue"),
        ({"SecurityGroupIds": ["sg-0123456789abcdef0"]}, "InvalidGroup.NotFound"),
        ({"SubnetId": "subnet-0123456789abcdef0"}, "InvalidSubnetID.NotFound"),
        ({"MinCount": 3, "MaxCount": 2}, "InvalidParameterValue"),
        ({"PrivateIpAddress": "10.1.2.3"}, "InvalidParameterValue"),
        ({"LaunchTemplate": {"LaunchTemplateName": "none"}}, "InvalidLaunchTemplateName.NotFoundException"),
        ({"DryRun": True}, "DryRunOperation"),
        ({"DryRun": True, "ImageId": "ami-00000000000000000"}, "InvalidAMIID.NotFound"),
        (
            {"TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "aws:x", "Value": "1"}]}]},
            "InvalidParameterValue",
        ),
    ],
)
def test_what_cannot_be_launched_is_refused_and_leaves_nothing(
    ec2: Ec2, world: World, client: Client, words: dict[str, Any], code: str
) -> None:
    api = client("ec2")
    with refused(code):
        launch(api, **words)
    assert api.describe_instances()["Reservations"] == []
    assert not network(world).held


def test_a_launch_that_breaks_half_way_launches_nothing(ec2: Ec2, world: World, client: Client) -> None:
    api = client("ec2")
    network(world).held = {f"127.77.0.{number}" for number in range(11, 255)}  # one is left
    with refused("InsufficientAddressCapacity"):
        api.run_instances(ImageId=IMAGE, MinCount=2, MaxCount=2)
    assert api.describe_instances()["Reservations"] == []
    assert len(network(world).held) == 244


def test_the_machine_is_as_large_as_its_type_and_finds_the_api(ec2: Ec2, world: World, client: Client) -> None:
    api = client("ec2")
    launch(api, InstanceType="t3.small")
    settle(world)
    spec = machines(world)[0].spec
    assert spec.memory == 2 << 30
    assert spec.environment["AWS_ENDPOINT_URL"] == "http://127.77.0.1:4566"
    assert spec.environment["AWS_REGION"] == spec.environment["AWS_DEFAULT_REGION"] == "us-east-1"
    assert (spec.wants, spec.files, spec.binds) == ((), {}, ())


def test_a_key_pair_opens_the_machine_by_ssh(ec2: Ec2, world: World, client: Client) -> None:
    """EC2 User Guide, "Amazon EC2 key pairs and Amazon EC2 instances"."""
    api = client("ec2")
    api.create_key_pair(KeyName="mine", KeyType="ed25519")
    instance_id = launch(api, KeyName="mine")
    api.delete_key_pair(KeyName="mine")  # "doesn't affect the public key on the instance"
    settle(world)
    spec = machines(world)[0].spec
    key = spec.files["/run/bakeboot-key/authorized_keys"]
    assert key.startswith(b"ssh-ed25519 ")
    assert spec.metadata is not None
    assert spec.metadata.extra["public-keys/0/openssh-key"].encode() == key
    assert describe(api, instance_id)["KeyName"] == "mine"


def test_security_groups_say_which_ports_are_open(ec2: Ec2, world: World, client: Client) -> None:
    """EC2 User Guide, "Amazon EC2 security groups": changes take effect at once."""
    api = client("ec2")
    group = api.create_security_group(GroupName="web", Description="web")["GroupId"]
    instance_id = launch(api, SecurityGroupIds=[group])
    settle(world)
    body = ec2.instance(instance_id).body
    assert body is not None
    assert list(body.open_ports) == []
    rule = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 90, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    api.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    world.tick()
    assert list(body.open_ports) == [(80, 90)]
    assert describe(api, instance_id)["SecurityGroups"] == [{"GroupId": group, "GroupName": "web"}]


def test_user_data_and_type_change_only_while_stopped(ec2: Ec2, world: World, client: Client) -> None:
    """ModifyInstanceAttribute."""
    api = client("ec2")
    instance_id = launch(api, UserData="first")
    settle(world)
    with refused("IncorrectInstanceState"):
        api.modify_instance_attribute(InstanceId=instance_id, UserData={"Value": b"second"})
    api.modify_instance_attribute(InstanceId=instance_id, InstanceInitiatedShutdownBehavior={"Value": "terminate"})
    api.stop_instances(InstanceIds=[instance_id])
    settle(world)
    api.modify_instance_attribute(InstanceId=instance_id, UserData={"Value": b"second"})
    said = api.describe_instance_attribute(InstanceId=instance_id, Attribute="userData")["UserData"]["Value"]
    assert base64.b64decode(said) == b"second"
    api.start_instances(InstanceIds=[instance_id])
    settle(world)
    metadata = machines(world)[-1].spec.metadata
    assert metadata is not None
    assert metadata.user_data == b"second"


def test_filters_are_those_of_ec2(ec2: Ec2, world: World, client: Client) -> None:
    """DescribeInstances, "Filters"."""
    api = client("ec2")
    one, two = launch(api), launch(api, InstanceType="t3.micro")
    api.create_tags(Resources=[two], Tags=[{"Key": "Name", "Value": "box one"}])

    def found(**filters: list[str]) -> set[str]:
        asked = [{"Name": name.replace("_", "-"), "Values": values} for name, values in filters.items()]
        answer = api.describe_instances(Filters=asked)["Reservations"]
        return {instance["InstanceId"] for reservation in answer for instance in reservation["Instances"]}

    assert found(instance_type=["t3.*"], instance_state_name=["pending", "running"]) == {one, two}
    assert found(**{"tag:Name": ["box*"]}) == {two}
    assert found(tag_key=["Name"], instance_type=["t3.small"]) == set()
    with refused("InvalidParameterValue"):
        found(colour=["red"])


def test_the_end_of_the_region_kills_every_machine(ec2: Ec2, world: World, client: Client) -> None:
    api = client("ec2")
    api.run_instances(ImageId=IMAGE, MinCount=3, MaxCount=3)
    settle(world)
    ec2.close()
    ec2.close()
    assert [machine.held for machine in machines(world)] == [False] * 3
    settle(world)
    assert len(machines(world)) == 3
