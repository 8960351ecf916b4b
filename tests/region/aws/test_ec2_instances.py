"""Instances as EC2 has them, on machines that only say that they run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from region.aws.ec2 import Ec2
from region.aws.world import World
from tests.region.aws.fakes import IMAGE, settle

pytestmark = pytest.mark.network


def describe(api: Any, instance_id: str) -> Any:
    (reservation,) = api.describe_instances(InstanceIds=[instance_id])["Reservations"]
    return reservation["Instances"][0]


def launch(api: Any, **words: Any) -> str:
    answer = api.run_instances(**{"ImageId": IMAGE, "MinCount": 1, "MaxCount": 1, "InstanceType": "t3.small", **words})
    assert answer["Instances"][0]["State"]["Name"] == "pending"
    return str(answer["Instances"][0]["InstanceId"])


def test_an_instance_lives_from_pending_to_terminated(ec2: Ec2, world: World, client: Callable[..., Any]) -> None:
    """EC2 User Guide, "Amazon EC2 instance state changes"."""
    api = client("ec2")
    instance_id = launch(api)
    settle(world)
    running = describe(api, instance_id)
    assert running["State"]["Name"] == "running"
    assert running["PublicIpAddress"] in world.network.held  # type: ignore[attr-defined]
    assert ec2.machine_of(instance_id).address == running["PrivateIpAddress"]
    (change,) = api.terminate_instances(InstanceIds=[instance_id])["TerminatingInstances"]
    assert change["PreviousState"]["Name"] == "running"
    assert change["CurrentState"]["Name"] == "shutting-down"
    settle(world)
    ended = describe(api, instance_id)
    assert ended["State"]["Name"] == "terminated"
    assert ended["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    assert not world.network.held  # type: ignore[attr-defined]
