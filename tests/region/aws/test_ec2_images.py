"""AMIs as EC2 has them, of machines that only say that they run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from region.aws import ec2 as ec2_service
from region.aws.ec2 import Ec2
from region.aws.image_store import references
from region.aws.world import LocalImage, World
from tests.region.aws.ec2_calls import image, launch, refused, state, tags
from tests.region.aws.fakes import IMAGE, FakeCatalog, settle

pytestmark = [pytest.mark.network, pytest.mark.subprocess]  # a layer is copied by cp(1)
Client = Callable[..., Any]


def create(api: Any, world: World, instance_id: str, name: str = "box-1", **words: Any) -> str:
    image_id = str(api.create_image(InstanceId=instance_id, Name=name, **words)["ImageId"])
    settle(world)
    return image_id


@pytest.fixture
def running(ec2: Ec2, world: World, client: Client) -> str:
    instance_id = launch(client("ec2"))
    settle(world)
    return instance_id


def test_a_local_image_is_an_ami_of_the_account_s_own(ec2: Ec2, client: Client) -> None:
    """DescribeImages."""
    api = client("ec2")
    (found,) = api.describe_images(Owners=["self"])["Images"]
    assert (found["ImageId"], found["Name"], found["State"]) == (IMAGE, "shop", "available")
    assert found["RootDeviceType"] == "ebs"
    assert found["CreationDate"] == "2026-11-23T12:00:00.000Z"
    assert tags(found) == {"bakeboot:stack": "shop"}
    (device,) = found["BlockDeviceMappings"]
    assert device["DeviceName"] == found["RootDeviceName"]
    assert api.describe_snapshots(SnapshotIds=[device["Ebs"]["SnapshotId"]])["Snapshots"]
    assert api.describe_images(Owners=["amazon"])["Images"] == []


def test_images_are_those_that_this_host_has_now(ec2: Ec2, world: World, client: Client, tmp_path: Path) -> None:
    api, catalog = client("ec2"), world.catalog
    assert isinstance(catalog, FakeCatalog)
    later = LocalImage("ami-0000000000000000b", "later", catalog.found[0].layers, "2026-11-24T00:00:00Z")
    catalog.found = [*catalog.found, later]
    assert {one["Name"] for one in api.describe_images()["Images"]} == {"shop", "later"}
    api.create_tags(Resources=[later.image_id], Tags=[{"Key": "mine", "Value": "yes"}])
    later = replace(later, tags={"bakeboot:verified": "yes"})
    catalog.found = [later]
    assert tags(image(api, later.image_id)) == {"mine": "yes", "bakeboot:verified": "yes"}
    assert {one["Name"] for one in api.describe_images()["Images"]} == {"later"}
    with refused("InvalidAMIID.NotFound"):
        launch(api)


def test_an_image_of_a_machine_is_pending_then_available(ec2: Ec2, world: World, client: Client, running: str) -> None:
    """CreateImage, and "Create an Amazon EBS-backed AMI": the instance is rebooted unless NoReboot says not to."""
    api = client("ec2")
    specifications = [{"ResourceType": kind, "Tags": [{"Key": "of", "Value": kind}]} for kind in ("image", "snapshot")]
    image_id = api.create_image(InstanceId=running, Name="box-1", TagSpecifications=specifications)["ImageId"]
    assert image(api, image_id)["State"] == "pending"
    with refused("InvalidAMIID.Unavailable"):
        launch(api, ImageId=image_id)
    settle(world)
    made = image(api, image_id)
    assert (made["State"], made["SourceInstanceId"], tags(made)) == ("available", running, {"of": "image"})
    snapshot = made["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    assert tags(api.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]) == {"of": "snapshot"}
    assert state(api, running) == "running"
    assert (ec2.store.layer(image_id) / "wrote").exists()
    child = launch(api, ImageId=image_id)
    settle(world)
    base = ec2.instance(running).image.layers
    assert ec2.machine_of(child).spec.layers == (*base, ec2.store.layer(image_id))


def test_images_outlive_the_region_with_all_that_was_changed_of_them(
    ec2: Ec2, world: World, client: Client, running: str
) -> None:
    api = client("ec2")
    image_id = create(api, world, running)
    snapshot = image(api, image_id)["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    api.create_tags(Resources=[image_id, snapshot, IMAGE], Tags=[{"Key": "bakeboot:verified", "Value": "yes"}])
    api.modify_image_attribute(ImageId=image_id, LaunchPermission={"Add": [{"UserId": "210987654321"}]})
    api.modify_image_attribute(ImageId=image_id, Description={"Value": "better"})
    api.enable_image_deprecation(ImageId=image_id, DeprecateAt="2030-01-01T00:00:00Z")
    api.enable_image_deregistration_protection(ImageId=image_id)
    api.delete_tags(Resources=[IMAGE], Tags=[{"Key": "bakeboot:stack"}])
    assert references(world.directory) == sorted([ec2.store.layer(image_id), *ec2.instance(running).image.layers])
    ec2.close()
    again = ec2_service.install(world)
    found = image(api, image_id)
    assert tags(found) == {"bakeboot:verified": "yes"}
    assert (found["Description"], found["DeprecationTime"]) == ("better", "2030-01-01T00:00:00.000Z")
    assert found["DeregistrationProtection"] == "enabled"
    permissions = api.describe_image_attribute(ImageId=image_id, Attribute="launchPermission")["LaunchPermissions"]
    assert permissions == [{"UserId": "210987654321"}]
    assert tags(api.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]) == {"bakeboot:verified": "yes"}
    assert tags(image(api, IMAGE)) == {"bakeboot:verified": "yes"}
    child = launch(api, ImageId=image_id)
    settle(world)
    assert again.machine_of(child).spec.layers[-1] == ec2.store.layer(image_id)


def test_a_half_made_image_is_swept_at_the_next_start(ec2: Ec2, world: World, client: Client, running: str) -> None:
    image_id = create(client("ec2"), world, running)
    half = ec2.store.layer("ami-0123456789abcdef0")
    half.mkdir(parents=True)
    ec2.close()
    again = ec2_service.install(world)
    assert not half.exists()
    assert again.store.layer(image_id).exists()


def test_the_layer_of_a_deregistered_image_stays_for_those_that_stand_on_it(
    ec2: Ec2, world: World, client: Client, running: str
) -> None:
    """DeregisterImage: "it can't be used to launch new instances, but it doesn't affect any instances"."""
    api = client("ec2")
    image_id = create(api, world, running)
    copied = api.copy_image(SourceImageId=image_id, SourceRegion="us-east-1", Name="copied", Encrypted=True)["ImageId"]
    child = launch(api, ImageId=copied)
    settle(world)
    assert image(api, copied)["BlockDeviceMappings"][0]["Ebs"]["Encrypted"]
    snapshot = image(api, image_id)["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    with refused("InvalidSnapshot.InUse"):
        api.delete_snapshot(SnapshotId=snapshot)
    for gone in (image_id, copied):
        api.deregister_image(ImageId=gone)
        settle(world)
        assert ec2.store.layer(image_id).exists()
    api.delete_snapshot(SnapshotId=snapshot)
    with refused("InvalidAMIID.NotFound"):
        launch(api, ImageId=image_id)
    with refused("InvalidAMIID.Unavailable"):
        api.deregister_image(ImageId=image_id)
    api.terminate_instances(InstanceIds=[child])
    settle(world)
    assert not ec2.store.layer(image_id).exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ({"Name": "shop"}, "InvalidAMIName.Duplicate"),
        ({"Name": "semi;colon"}, "InvalidAMIName.Malformed"),
        ({"DryRun": True}, "DryRunOperation"),
        ({"TagSpecifications": [{"ResourceType": "instance", "Tags": []}]}, "InvalidParameterValue"),
        ({"InstanceId": "i-0123456789abcdef0"}, "InvalidInstanceID.NotFound"),
    ],
)
def test_what_is_no_image_is_refused(
    ec2: Ec2, world: World, client: Client, running: str, words: dict[str, Any], code: str
) -> None:
    api = client("ec2")
    with refused(code):
        api.create_image(**{"InstanceId": running, "Name": "box-1", **words})
    assert len(api.describe_images()["Images"]) == 1


def test_a_local_image_is_not_deregistered_and_a_protected_one_neither(
    ec2: Ec2, world: World, client: Client, running: str
) -> None:
    """EC2 User Guide, "Protect an Amazon EC2 AMI from deregistration"."""
    api = client("ec2")
    with pytest.raises(Exception, match="bakeboot images prune"):
        api.deregister_image(ImageId=IMAGE)
    image_id = create(api, world, running)
    api.enable_image_deregistration_protection(ImageId=image_id)
    with refused("OperationNotPermitted"):
        api.deregister_image(ImageId=image_id)
    api.disable_image_deregistration_protection(ImageId=image_id)
    api.deregister_image(ImageId=image_id, DeleteAssociatedSnapshots=True)
    assert len(api.describe_images()["Images"]) == 1


def test_two_images_at_once_and_an_end_that_comes_between(ec2: Ec2, world: World, client: Client, running: str) -> None:
    api = client("ec2")
    first = api.create_image(InstanceId=running, Name="box-1")["ImageId"]
    second = api.create_image(InstanceId=running, Name="box-2", NoReboot=True)["ImageId"]
    with refused("InvalidAMIName.Duplicate"):
        api.create_image(InstanceId=running, Name="box-1")
    api.terminate_instances(InstanceIds=[running])
    settle(world)
    assert [image(api, one)["State"] for one in (first, second)] == ["available", "available"]
    assert state(api, running) == "terminated"


def test_an_image_that_cannot_be_made_has_failed_and_its_instance_goes_on(
    ec2: Ec2, world: World, client: Client, running: str
) -> None:
    api = client("ec2")
    (ec2.store.directory).parent.mkdir(exist_ok=True)
    ec2.store.directory.write_text("in the way")
    image_id = create(api, world, running)
    found = image(api, image_id)
    assert (found["State"], found["StateReason"]["Code"]) == ("failed", "Server.InternalError")
    assert state(api, running) == "running"


def test_devices_of_the_call_are_devices_of_the_image(ec2: Ec2, world: World, client: Client, running: str) -> None:
    """CreateImage, BlockDeviceMappings; an instance of the image has a data volume then, which no image holds."""
    api = client("ec2")
    data = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 20, "VolumeType": "gp3", "DeleteOnTermination": True}}
    image_id = create(api, world, running, BlockDeviceMappings=[data])
    child = launch(api, ImageId=image_id)
    settle(world)
    (bind,) = ec2.machine_of(child).spec.binds
    assert (bind.target, bind.read_only, bind.source.is_dir()) == ("/var/lib/bakeboot/data", False, True)
    plain = create(api, world, child, name="box-2")
    assert [device["DeviceName"] for device in image(api, plain)["BlockDeviceMappings"]] == ["/dev/xvda"]
    api.terminate_instances(InstanceIds=[child])
    settle(world)
    assert not bind.source.exists()


def test_a_data_volume_that_is_kept_is_there_until_it_is_deleted(ec2: Ec2, world: World, client: Client) -> None:
    """EC2 User Guide, "Preserve data when an instance is terminated": only a root volume goes by default."""
    api = client("ec2")
    child = launch(api, BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 20}}])
    settle(world)
    (bind,) = ec2.machine_of(child).spec.binds
    api.terminate_instances(InstanceIds=[child])
    settle(world)
    assert bind.source.exists()
    (volume,) = api.describe_volumes(Filters=[{"Name": "status", "Values": ["available"]}])["Volumes"]
    api.delete_volume(VolumeId=volume["VolumeId"])
    settle(world)
    assert not bind.source.exists()


def test_filters_of_images(ec2: Ec2, world: World, client: Client, running: str) -> None:
    """DescribeImages, "Filters", ExecutableUsers."""
    api = client("ec2")
    image_id = create(api, world, running)

    def found(**filters: list[str]) -> list[str]:
        asked = [{"Name": name.replace("_", "-"), "Values": values} for name, values in filters.items()]
        return sorted(one["ImageId"] for one in api.describe_images(Filters=asked)["Images"])

    assert found(name=["box-*"]) == [image_id]
    assert found(source_instance_id=[running], root_device_type=["ebs"]) == [image_id]
    assert found(**{"tag:bakeboot:stack": ["sh?p"]}) == [IMAGE]
    assert api.describe_images(ExecutableUsers=["self"])["Images"] == []
    api.disable_image(ImageId=image_id)
    assert found(name=["box-*"]) == []
    assert image(api, image_id)["State"] == "disabled"
    with refused("InvalidAMIID.Unavailable"):
        launch(api, ImageId=image_id)
    record = json.loads((ec2.store.directory / image_id / "record.json").read_text())
    assert record["state"] == "disabled"


def test_a_region_that_goes_down_leaves_its_images_and_no_storage_of_instances(
    ec2: Ec2, world: World, client: Client, running: str
) -> None:
    made = create(client("ec2"), world, running)
    assert image(client("ec2"), made)["State"] == "available"
    (world.directory / "instances" / running).mkdir(parents=True, exist_ok=True)
    ec2.close()
    assert not (world.directory / "instances").exists()
    assert (world.directory / "images" / made / "record.json").exists()
