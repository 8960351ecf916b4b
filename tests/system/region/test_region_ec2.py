"""EC2 on real machines: what they write and keep, who ends them, and the AMIs that are made of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from bake.home import Home
from tests.system.region.worlds import Made, RegionWorld, bakeboot, region_up

pytestmark = pytest.mark.system

TOKEN = (
    "curl -s -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token > /run/token"
)
DATA_DEVICE = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1, "DeleteOnTermination": True}}


class Box:
    """An instance that is reached as its owner would: by SSH at its public address, with its key pair's key."""

    def __init__(self, region: RegionWorld, made: Made, folder: Path, ami: str, **options: Any) -> None:
        self.region, self.ec2 = region, region.client("ec2")
        name = made.name("key")
        self.key = folder / name
        self.key.write_text(self.ec2.create_key_pair(KeyName=name, KeyType="ed25519")["KeyMaterial"])
        self.key.chmod(0o600)
        made.later(lambda: self.ec2.delete_key_pair(KeyName=name))
        self.id = made.instance(ami, KeyName=name, **options)
        self.wait_up()

    def ssh(self, command: str) -> subprocess.CompletedProcess[str]:
        options = ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
        flags = [word for option in (*options, "ConnectTimeout=2") for word in ("-o", option)]
        address = self.region.instance(self.id).get("PublicIpAddress", "127.0.0.1")
        argv = ["ssh", "-i", str(self.key), *flags, f"root@{address}", command]
        return subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)

    def run(self, command: str) -> str:
        done = self.ssh(command)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def wait_up(self) -> None:
        self.region.wait(f"{self.id} answers by SSH", lambda: self.ssh("true").returncode == 0)

    def wait_other(self, boot: str) -> None:
        """Until it has booted anew: `boot` is the earlier boot's id."""
        self.region.wait(f"{self.id} has booted anew", lambda: self.boot not in ("", boot))

    @property
    def boot(self) -> str:
        """The id of its latest boot; "" while nobody answers."""
        done = self.ssh("journalctl --list-boots --output=json")
        return str(json.loads(done.stdout)[-1]["boot_id"]) if done.returncode == 0 else ""

    def metadata(self, path: str) -> str:
        self.run(TOKEN)
        ask = f'curl -s -H "X-aws-ec2-metadata-token: $(cat /run/token)" http://169.254.169.254/latest/{path}'
        return self.run(ask)


@pytest.fixture
def box(region: RegionWorld, made: Made, web_ami: str, tmp_path: Path) -> Box:
    options = {
        "BlockDeviceMappings": [DATA_DEVICE],
        "MetadataOptions": {"InstanceMetadataTags": "enabled"},
        "UserData": "hello",
    }
    return Box(region, made, tmp_path, web_ami, **options)


def image_of(region: RegionWorld, made: Made, instance_id: str, **options: Any) -> str:
    """An AMI of it, once it is available."""
    ec2 = region.client("ec2")
    image_id = str(ec2.create_image(InstanceId=instance_id, Name=made.name("box"), **options)["ImageId"])
    made.later(lambda: ec2.deregister_image(ImageId=image_id))
    region.wait(f"{image_id} is available", lambda: image_state(region, image_id) == "available")
    return image_id


def image_state(region: RegionWorld, image_id: str) -> str:
    return str(region.client("ec2").describe_images(ImageIds=[image_id])["Images"][0]["State"])


@pytest.mark.aws("https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Stop_Start.html")
def test_a_stopped_instance_starts_again_with_what_it_wrote(box: Box, region: RegionWorld) -> None:
    before = region.instance(box.id)
    assert box.run("hostname").strip() == f"ip-{before['PrivateIpAddress'].replace('.', '-')}"
    assert f"AWS_ENDPOINT_URL={region.endpoint}" in box.run("systemctl show-environment; env")
    assert box.metadata("user-data") == "hello"
    assert box.metadata("meta-data/public-ipv4") == before["PublicIpAddress"]
    assert box.run("ip -o link show eth0").split("link/ether ")[1].split()[0] == box.metadata("meta-data/mac")
    box.run("echo root > /root/kept; echo data > /var/lib/bakeboot/data/kept")
    box.ec2.stop_instances(InstanceIds=[box.id])
    region.wait_state(box.id, "stopped")
    box.ec2.start_instances(InstanceIds=[box.id])
    after = region.wait_state(box.id, "running")
    box.wait_up()
    assert box.run("cat /root/kept /var/lib/bakeboot/data/kept") == "root\ndata\n"
    assert after["PrivateIpAddress"] == before["PrivateIpAddress"]


@pytest.mark.aws("https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-reboot.html")
def test_a_reboot_from_outside_and_from_inside_keeps_everything(box: Box, region: RegionWorld) -> None:
    before, boot = region.instance(box.id), box.boot
    box.run("echo root > /root/kept")
    box.ec2.reboot_instances(InstanceIds=[box.id])
    box.wait_other(boot)
    boot = box.boot
    box.ssh("systemctl reboot")
    box.wait_other(boot)
    assert box.run("cat /root/kept") == "root\n"
    after = region.instance(box.id)
    assert after["State"]["Name"] == "running"
    assert [after[name] for name in ("PublicIpAddress", "LaunchTime")] == [
        before[name] for name in ("PublicIpAddress", "LaunchTime")
    ]


@pytest.mark.aws("https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/creating-an-ami-ebs.html")
@pytest.mark.parametrize("no_reboot", [False, True])
def test_an_image_holds_the_root_and_not_the_data(
    box: Box, region: RegionWorld, made: Made, tmp_path: Path, no_reboot: bool
) -> None:
    boot = box.boot
    box.run("echo root > /root/kept; rm /opt/web/mark; echo data > /var/lib/bakeboot/data/kept")
    image_id = image_of(region, made, box.id, NoReboot=no_reboot)
    box.wait_up()
    assert (box.boot == boot) == no_reboot
    assert box.run("cat /root/kept /var/lib/bakeboot/data/kept") == "root\ndata\n"
    layer = region.directory / "images" / image_id / "layer"
    left = [layer / path for path in ("var/lib/bakeboot", "etc/resolv.conf", "etc/ssh", "run/bakeboot-key")]
    assert [path for path in left if os.path.lexists(path)] == []
    other = Box(region, made, tmp_path, image_id)
    assert other.run("cat /root/kept; ls /opt/web") == "root\nweb.py\n"
    assert other.ssh("ls /var/lib/bakeboot/data").returncode != 0
    assert other.run("cat /etc/machine-id") == box.run("cat /etc/machine-id")  # as on AWS: sealing is the bake's


@pytest.mark.aws(
    "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_ChangingInstanceInitiatedShutdownBehavior.html"
)
def test_a_machine_that_powers_itself_off_stops_its_instance(box: Box, region: RegionWorld) -> None:
    box.ssh("systemctl poweroff")
    found = region.wait_state(box.id, "stopped")
    assert found["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
    assert "Reached target poweroff.target" in box.ec2.get_console_output(InstanceId=box.id)["Output"]
    box.ec2.modify_instance_attribute(InstanceId=box.id, InstanceInitiatedShutdownBehavior={"Value": "terminate"})
    box.ec2.start_instances(InstanceIds=[box.id])
    region.wait_state(box.id, "running")
    box.wait_up()
    box.ssh("systemctl poweroff")
    region.wait_state(box.id, "terminated")
    assert "Reached target poweroff.target" in box.ec2.get_console_output(InstanceId=box.id)["Output"]


@pytest.mark.aws("https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-system-instance-status-check.html")
def test_a_power_cut_is_seen_by_the_status_checks_and_mended_by_a_reboot(box: Box, region: RegionWorld) -> None:
    def status() -> str:
        (told,) = box.ec2.describe_instance_status(InstanceIds=[box.id])["InstanceStatuses"]
        assert told["InstanceState"]["Name"] == "running"
        return str(told["InstanceStatus"]["Status"])

    region.wait("its boot is done", lambda: status() == "ok")
    box.run("echo root > /root/kept")
    region.control.kill_machine(box.id)
    region.wait("it is impaired", lambda: status() == "impaired")
    box.ec2.reboot_instances(InstanceIds=[box.id])
    region.wait("its boot is done", lambda: status() == "ok")
    box.wait_up()
    assert box.run("cat /root/kept") == "root\n"


@pytest.mark.aws("https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html")
def test_an_interruption_is_told_in_the_metadata_before_it_comes(
    region: RegionWorld, made: Made, web_ami: str, tmp_path: Path
) -> None:
    box = Box(region, made, tmp_path, web_ami, InstanceMarketOptions={"MarketType": "spot"})
    assert box.metadata("meta-data/instance-life-cycle") == "spot"
    assert "404" in box.metadata("meta-data/spot/instance-action")
    region.control.interrupt(box.id, 2.0)
    assert '"action": "terminate"' in box.metadata("meta-data/spot/instance-action")
    found = region.wait_state(box.id, "terminated")
    assert found["StateReason"]["Code"] == "Server.SpotInstanceTermination"
    with pytest.raises(Exception, match="no spot instance"):
        region.control.interrupt(made.instance(web_ami), 2.0)


def test_eight_machines_start_at_once(region: RegionWorld, made: Made, web_ami: str) -> None:
    ids = made.instances(web_ami, count=8, wait=False)
    began = time.monotonic()
    for one in ids:
        region.wait_state(one, "running")
    assert time.monotonic() - began < 20
    addresses = {region.instance(one)["PrivateIpAddress"] for one in ids}
    assert len(addresses) == 8


def test_images_are_there_after_down_and_up_and_after_a_kill_while_one_is_made(
    home: Home, web_ami: str, tmp_path: Path
) -> None:
    with region_up(home, "tests-images") as region:
        made = Made(region)
        box = Box(region, made, tmp_path, web_ami)
        box.run("echo root > /root/kept; dd if=/dev/zero of=/root/big bs=1M count=300 status=none")
        whole = image_of(region, made, box.id)
        box.wait_up()
        box.ec2.create_tags(Resources=[whole], Tags=[{"Key": "bakeboot:verified", "Value": "yes"}])
        half = box.ec2.create_image(InstanceId=box.id, Name="half", NoReboot=True)["ImageId"]
        folder = region.directory / "images" / half
        region.wait("the copy has begun", folder.exists, pause=0.001)
        os.kill(region.control.record.pid, signal.SIGKILL)
        assert not (folder / "record.json").exists()
        bakeboot(home, "region", "up", "--name", region.name)
        again = RegionWorld(home, region.name)
        assert not folder.exists()
        images = {one["ImageId"]: one for one in again.client("ec2").describe_images(Owners=["self"])["Images"]}
        assert half not in images
        assert {"Key": "bakeboot:verified", "Value": "yes"} in images[whole]["Tags"]
        other = Box(again, Made(again), tmp_path, whole)
        assert other.run("cat /root/kept") == "root\n"


def test_a_local_image_is_not_deregistered_here(region: RegionWorld, web_ami: str) -> None:
    with pytest.raises(ClientError, match="bakeboot images prune"):
        region.client("ec2").deregister_image(ImageId=web_ami)
