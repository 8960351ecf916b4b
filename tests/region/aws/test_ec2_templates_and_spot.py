"""Launch templates, fleets and spot, on machines that only say that they run."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, cast

import pytest

from region.aws.ec2 import Ec2
from region.aws.world import World
from region.errors import RegionError
from tests.region.aws.ec2_calls import describe, launch, refused, state, tags
from tests.region.aws.fakes import IMAGE, FakeClock, FakeMachines, settle

pytestmark = pytest.mark.network
Client = Callable[..., Any]
DATA: dict[str, Any] = {
    "ImageId": IMAGE,
    "InstanceType": "t3.micro",
    "UserData": base64.b64encode(b"hello").decode(),
    "MetadataOptions": {"HttpTokens": "required", "InstanceMetadataTags": "enabled"},
    "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "bakeboot:mode", "Value": "production"}]}],
    "BlockDeviceMappings": [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 5}}],
}
SPOT = {"MarketType": "spot"}


@pytest.fixture
def api(ec2: Ec2, client: Client) -> Any:
    found = client("ec2")
    found.create_launch_template(LaunchTemplateName="web-v1", LaunchTemplateData=DATA)
    return found


def test_a_version_inherits_from_its_source(api: Any) -> None:
    """CreateLaunchTemplateVersion, SourceVersion."""
    words = {"LaunchTemplateName": "web-v1", "LaunchTemplateData": {"InstanceType": "t3.large"}}
    inherited = api.create_launch_template_version(**words, SourceVersion="1")["LaunchTemplateVersion"]
    assert inherited["VersionNumber"] == 2
    assert inherited["LaunchTemplateData"]["UserData"] == DATA["UserData"]
    assert inherited["LaunchTemplateData"]["InstanceType"] == "t3.large"
    alone = api.create_launch_template_version(**words)["LaunchTemplateVersion"]
    assert alone["LaunchTemplateData"] == {"InstanceType": "t3.large"}


def test_a_call_that_is_sent_twice_makes_one_version(api: Any) -> None:
    """EC2 API Reference, "Ensuring idempotency in Amazon EC2 API requests"."""
    words = {"LaunchTemplateName": "web-v1", "LaunchTemplateData": {"KeyName": "x"}, "ClientToken": "t"}
    numbers = [api.create_launch_template_version(**words)["LaunchTemplateVersion"]["VersionNumber"] for _ in range(2)]
    assert numbers == [2, 2]
    with refused("IdempotentParameterMismatch"):
        api.create_launch_template_version(**{**words, "LaunchTemplateData": {"KeyName": "y"}})


@pytest.mark.parametrize(
    ("version", "number", "kind"), [("1", 1, "t3.micro"), ("$Latest", 2, "t3.large"), (None, 1, "t3.micro")]
)
def test_a_launch_is_of_the_version_that_was_asked_for(
    api: Any, ec2: Ec2, world: World, version: str | None, number: int, kind: str
) -> None:
    """RunInstances, LaunchTemplateSpecification: "$Latest", "$Default" or a number; by default the default one."""
    api.create_launch_template_version(
        LaunchTemplateName="web-v1", SourceVersion="1", LaunchTemplateData={"InstanceType": "t3.large"}
    )
    asked = {"LaunchTemplateName": "web-v1", **({"Version": version} if version else {})}
    answer = api.run_instances(MinCount=1, MaxCount=1, LaunchTemplate=asked)
    instance_id = answer["Instances"][0]["InstanceId"]
    settle(world)
    found = describe(api, instance_id)
    assert found["InstanceType"] == kind
    assert tags(found)["aws:ec2launchtemplate:version"] == str(number)
    assert tags(found)["bakeboot:mode"] == "production"
    assert found["MetadataOptions"]["HttpTokens"] == "required"
    assert [device["DeviceName"] for device in found["BlockDeviceMappings"]] == ["/dev/xvda", "/dev/sdf"]
    metadata = ec2.machine_of(instance_id).spec.metadata
    assert metadata is not None
    assert metadata.user_data == b"hello"
    assert metadata.tokens_required
    assert metadata.tags is not None
    assert metadata.tags["bakeboot:mode"] == "production"


def test_lists_of_templates_and_versions_are_whole_or_paged(api: Any) -> None:
    """DescribeLaunchTemplates, DescribeLaunchTemplateVersions: MaxResults and NextToken."""
    for number in range(20):
        api.create_launch_template(LaunchTemplateName=f"t-{number}", LaunchTemplateData={"KeyName": "x"})
        api.create_launch_template_version(LaunchTemplateName="web-v1", LaunchTemplateData={"KeyName": "x"})
    assert len(api.describe_launch_templates()["LaunchTemplates"]) == 21
    pages = api.get_paginator("describe_launch_templates").paginate(PaginationConfig={"PageSize": 5})
    assert len({one["LaunchTemplateName"] for page in pages for one in page["LaunchTemplates"]}) == 21
    words = {"LaunchTemplateName": "web-v1"}
    versions = api.describe_launch_template_versions(**words)["LaunchTemplateVersions"]
    assert [version["VersionNumber"] for version in versions] == list(range(21, 0, -1))
    some = api.describe_launch_template_versions(**words, MinVersion="3", MaxVersion="4")["LaunchTemplateVersions"]
    assert [version["VersionNumber"] for version in some] == [4, 3]
    for asked in ("$Latest", "21"):
        (one,) = api.describe_launch_template_versions(**words, Versions=[asked])["LaunchTemplateVersions"]
        assert one["VersionNumber"] == 21


def test_a_version_is_deleted_and_its_number_never_comes_again(api: Any) -> None:
    """DeleteLaunchTemplateVersions: not the default version."""
    words = {"LaunchTemplateName": "web-v1"}
    for _ in range(2):
        api.create_launch_template_version(**words, LaunchTemplateData={"KeyName": "x"})
    answer = api.delete_launch_template_versions(**words, Versions=["1", "3", "7"])
    assert [one["VersionNumber"] for one in answer["SuccessfullyDeletedLaunchTemplateVersions"]] == [3]
    failed = {
        one["VersionNumber"]: one["ResponseError"]["Code"]
        for one in answer["UnsuccessfullyDeletedLaunchTemplateVersions"]
    }
    assert failed == {1: "unexpectedError", 7: "launchTemplateVersionDoesNotExist"}
    made = api.create_launch_template_version(**words, LaunchTemplateData={"KeyName": "x"})
    assert made["LaunchTemplateVersion"]["VersionNumber"] == 4
    with refused("InvalidLaunchTemplateId.VersionNotFound"):
        api.run_instances(MinCount=1, MaxCount=1, LaunchTemplate={**words, "Version": "3"})


def test_an_interruption_has_its_notice_and_then_its_reason(api: Any, ec2: Ec2, world: World, clock: FakeClock) -> None:
    """EC2 User Guide, "Spot Instance interruption notices": the notice is in the metadata, two minutes before."""
    instance_id = launch(api, InstanceMarketOptions=SPOT)
    settle(world)
    found = describe(api, instance_id)
    assert found["InstanceLifecycle"] == "spot"
    address = found["PrivateIpAddress"]
    ec2.interrupt(instance_id, 120, rebalance=True)
    ec2.interrupt(instance_id, 120)
    told = cast(FakeMachines, world.machines).told[address]
    assert told is not None
    assert told.spot_action is not None
    assert told.spot_action[0] == "terminate"
    assert told.rebalance is not None
    assert told.life_cycle == "spot"
    clock.now += 119
    settle(world)
    assert state(api, instance_id) == "running"
    (request,) = api.describe_spot_instance_requests()["SpotInstanceRequests"]
    assert (request["State"], request["Status"]["Code"]) == ("active", "marked-for-termination")
    clock.now += 1
    settle(world)
    ended = describe(api, instance_id)
    assert ended["State"]["Name"] == "terminated"
    assert ended["StateReason"]["Code"] == "Server.SpotInstanceTermination"
    (request,) = api.describe_spot_instance_requests()["SpotInstanceRequests"]
    assert (request["State"], request["Status"]["Code"]) == ("closed", "instance-terminated-no-capacity")


def test_only_spot_is_interrupted_and_one_time_spot_is_not_stopped(api: Any, ec2: Ec2, world: World) -> None:
    """EC2 User Guide, "Stop a Spot Instance"."""
    plain, spot = launch(api), launch(api, InstanceMarketOptions=SPOT)
    settle(world)
    with pytest.raises(RegionError, match="is no spot instance"):
        ec2.interrupt(plain, 10)
    with refused("UnsupportedOperation"):
        api.stop_instances(InstanceIds=[spot])
    api.terminate_instances(InstanceIds=[spot])
    settle(world)
    (request,) = api.describe_spot_instance_requests()["SpotInstanceRequests"]
    assert request["Status"]["Code"] == "instance-terminated-by-user"
    with pytest.raises(RegionError, match="is terminated"):
        ec2.interrupt(spot, 10)


def test_one_that_is_to_stop_when_it_is_taken_back_stops(api: Any, ec2: Ec2, world: World, clock: FakeClock) -> None:
    """EC2 User Guide, "Behavior of Spot Instance interruptions": stop, of a persistent request."""
    options = {"SpotInstanceType": "persistent", "InstanceInterruptionBehavior": "stop"}
    instance_id = launch(api, InstanceMarketOptions={**SPOT, "SpotOptions": options})
    settle(world)
    ec2.interrupt(instance_id, 120)
    told = cast(FakeMachines, world.machines).told[describe(api, instance_id)["PrivateIpAddress"]]
    assert told is not None
    assert told.spot_action is not None
    assert told.spot_action[0] == "stop"
    clock.now += 120
    settle(world)
    found = describe(api, instance_id)
    assert (found["State"]["Name"], found["StateReason"]["Code"]) == ("stopped", "Server.SpotInstanceShutdown")
    (request,) = api.describe_spot_instance_requests()["SpotInstanceRequests"]
    assert (request["State"], request["Status"]["Code"]) == ("disabled", "instance-stopped-no-capacity")


def test_a_spot_request_is_fulfilled_by_an_instance(api: Any, ec2: Ec2, world: World) -> None:
    """RequestSpotInstances, and the waiter that Packer and others use."""
    group = api.create_security_group(GroupName="web", Description="web")["GroupId"]
    (request,) = api.request_spot_instances(
        LaunchSpecification={"ImageId": IMAGE, "InstanceType": "t3.micro", "SecurityGroupIds": [group]},
        TagSpecifications=[{"ResourceType": "spot-instances-request", "Tags": [{"Key": "a", "Value": "b"}]}],
    )["SpotInstanceRequests"]
    request_id = request["SpotInstanceRequestId"]
    api.get_waiter("spot_instance_request_fulfilled").wait(SpotInstanceRequestIds=[request_id])
    found = describe(api, request["InstanceId"])
    assert found["SpotInstanceRequestId"] == request_id
    assert found["SecurityGroups"][0]["GroupId"] == group
    assert tags(request) == {"a": "b"}
    api.cancel_spot_instance_requests(SpotInstanceRequestIds=[request_id])
    (request,) = api.describe_spot_instance_requests(SpotInstanceRequestIds=[request_id])["SpotInstanceRequests"]
    assert request["State"] == "cancelled"
    with refused("InvalidSpotInstanceRequestID.NotFound"):
        api.describe_spot_instance_requests(SpotInstanceRequestIds=["sir-00000000"])


def test_an_instant_fleet_is_launched_by_its_template(api: Any, ec2: Ec2, world: World) -> None:
    """CreateFleet, "instant": instances and errors are in the answer; an override that can't be is passed over."""
    words: dict[str, Any] = {
        "Type": "instant",
        "TargetCapacitySpecification": {"TotalTargetCapacity": 2, "DefaultTargetCapacityType": "spot"},
        "LaunchTemplateConfigs": [
            {
                "LaunchTemplateSpecification": {"LaunchTemplateName": "web-v1", "Version": "1"},
                "Overrides": [{"InstanceType": "t9.none"}, {"InstanceType": "t3.large"}],
            }
        ],
        "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "Packer"}]}],
    }
    answer = api.create_fleet(**words)
    (entry,) = answer["Instances"]
    assert (entry["Lifecycle"], entry["InstanceType"], len(entry["InstanceIds"])) == ("spot", "t3.large", 2)
    assert [error["ErrorCode"] for error in answer["Errors"]] == ["InvalidParameterValue"]
    found = describe(api, entry["InstanceIds"][0])
    assert tags(found)["Name"] == "Packer"
    assert tags(found)["aws:ec2:fleet-id"] == answer["FleetId"]
    assert tags(found)["bakeboot:mode"] == "production"
    assert found["InstanceLifecycle"] == "spot"
    (fleet,) = api.describe_fleets()["Fleets"]
    assert fleet["FulfilledCapacity"] == 2.0
    with refused("UnsupportedOperation"):
        api.create_fleet(**{**words, "Type": "maintain"})
    api.delete_fleets(FleetIds=[answer["FleetId"]], TerminateInstances=True)
    settle(world)
    assert state(api, entry["InstanceIds"][0]) == "terminated"


def test_prices_of_spot_are_told(api: Any) -> None:
    """DescribeSpotPriceHistory."""
    history = api.describe_spot_price_history(
        InstanceTypes=["t3.micro"],
        ProductDescriptions=["Linux/UNIX"],
        Filters=[{"Name": "product-description", "Values": ["Linux/UNIX"]}],
    )["SpotPriceHistory"]
    assert {price["InstanceType"] for price in history} == {"t3.micro"}
    assert all(float(price["SpotPrice"]) > 0 for price in history)
