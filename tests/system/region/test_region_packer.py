"""Real Packer with its `amazon-ebs` builder, unmodified, against the region: from RunInstances to the image's tags.

It makes a security group and a temporary key pair of its own, looks up the instance's public address, talks SSH to it,
stops the instance, makes the image, tags it, and removes what it made.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.system.region.worlds import Made, RegionWorld

pytestmark = pytest.mark.system

TEMPLATE = Path(__file__).with_name("ebs.pkr.hcl")
BASE = "bakeboot-base-*"


def packer(region: RegionWorld, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    given = [f"-var={name}={value}" for name, value in {"endpoint": region.endpoint, **variables}.items()]
    return subprocess.run(
        ["packer", "build", "-color=false", *given, str(TEMPLATE)],
        cwd=folder,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(folder), "CHECKPOINT_DISABLE": "1"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def baked(region: RegionWorld, made: Made, folder: Path, **variables: str) -> dict[str, Any]:
    """The image that a bake made, as DescribeImages tells it."""
    folder.mkdir()
    done = packer(region, folder, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    artifact = json.loads((folder / "manifest.json").read_text())["builds"][-1]["artifact_id"]
    ami = artifact.partition(":")[2]
    made.later(lambda: region.client("ec2").deregister_image(ImageId=ami))
    (image,) = region.client("ec2").describe_images(ImageIds=[ami])["Images"]
    return dict(image)


def tags(of: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in of.get("Tags", [])}


def left(region: RegionWorld, kind: str) -> list[str]:
    """Packer's own security groups, key pairs, and instances that are not terminated."""
    ec2 = region.client("ec2")
    if kind == "instances":
        states = [{"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}]
        filters = [*states, {"Name": "tag:Name", "Values": ["Packer Builder"]}]
        reservations = ec2.describe_instances(Filters=filters)["Reservations"]
        return [one["InstanceId"] for reservation in reservations for one in reservation["Instances"]]
    if kind == "keys":
        names = [pair["KeyName"] for pair in ec2.describe_key_pairs()["KeyPairs"]]
    else:
        names = [group["GroupName"] for group in ec2.describe_security_groups()["SecurityGroups"]]
    return [name for name in names if name.startswith("packer")]


@pytest.mark.aws("https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/creating-an-ami-ebs.html")
def test_packer_bakes_an_image_and_another_from_that(region: RegionWorld, made: Made, tmp_path: Path) -> None:
    ec2 = region.client("ec2")
    first = baked(region, made, tmp_path / "first", source=BASE, name="packer-first", line="first")
    second = baked(region, made, tmp_path / "second", source="packer-first", name="packer-second", line="second")
    assert [image["State"] for image in (first, second)] == ["available", "available"]
    assert tags(second) == {"bakeboot:stack": "shop", "parent": first["ImageId"]}
    assert second["Description"] == "made by Packer"
    (disk,) = second["BlockDeviceMappings"]
    (snapshot,) = ec2.describe_snapshots(SnapshotIds=[disk["Ebs"]["SnapshotId"]])["Snapshots"]
    assert tags(snapshot) == {**tags(second), "bakeboot:build": "b-1"}
    assert {kind: left(region, kind) for kind in ("instances", "keys", "groups")} == {
        "instances": [],
        "keys": [],
        "groups": [],
    }

    root = region.home.machines / region.machine(made.instance(second["ImageId"])) / "root"
    assert (root / "etc" / "shop-lines").read_text() == "first\nsecond\n"
    keys = root / "root" / ".ssh" / "authorized_keys"
    assert not keys.exists() or keys.read_text() == ""  # the temporary key did not stay


def test_a_bake_that_fails_leaves_nothing_in_the_region(region: RegionWorld, tmp_path: Path) -> None:
    before = {image["ImageId"] for image in region.client("ec2").describe_images(Owners=["self"])["Images"]}
    done = packer(region, tmp_path, source=BASE, name="packer-failing", line="failing", fail="true")
    assert done.returncode == 1
    assert "exit status: 3" in done.stdout
    assert {image["ImageId"] for image in region.client("ec2").describe_images(Owners=["self"])["Images"]} == before
    assert [left(region, kind) for kind in ("instances", "keys", "groups")] == [[], [], []]


def test_a_name_that_is_taken_is_refused_before_anything_starts(region: RegionWorld, tmp_path: Path) -> None:
    (base,) = region.client("ec2").describe_images(Filters=[{"Name": "name", "Values": [BASE]}])["Images"]
    done = packer(region, tmp_path, source=BASE, name=base["Name"], line="taken")
    assert done.returncode == 1
    assert "is used by an existing AMI" in done.stdout
