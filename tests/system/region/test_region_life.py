"""A region's life and death: two side by side, images that outlive it, kill -9 and what the next `up` sweeps."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from bake.home import Home
from bake.images import Image
from region.region_state import Place
from tests.system.bakery import BAKEBOOT, ROOT, command_lines, wait_until
from tests.system.region.web_image import remove_web_image, web_image
from tests.system.region.worlds import Made, RegionWorld, answers, bakeboot, get, region_up

pytestmark = pytest.mark.system


@pytest.fixture
def own(home: Home, web: Image, request: pytest.FixtureRequest) -> Iterator[RegionWorld]:
    """A region of this test's own, which the test may take down or kill."""
    name = re.sub("[^a-z]+", "-", request.node.name)[-24:].strip("-")
    with region_up(home, name) as world:
        yield world


def again(world: RegionWorld, *options: str) -> RegionWorld:
    """The region after another `up`."""
    bakeboot(world.home, "region", "up", "--name", world.name, *options)
    return RegionWorld(world.home, world.name)


def of_a_region(world: RegionWorld) -> list[str]:
    """What there is on this host of a region and its machines: namespaces, folders, processes."""
    site, folder = world.site, str(world.directory)
    left = [f"netns {path.name}" for path in Path("/run/netns").glob(f"{site}*")]
    left += [f"machine {path.name}" for path in world.home.machines.glob("i-*")]
    left += [f"site {path.name}" for path in (world.home.root / "sites").glob(f"{site}*")]
    return left + [f"process {line:.100}" for line in command_lines(folder).values()]


def test_two_regions_stand_side_by_side(region: RegionWorld, own: RegionWorld, made: Made, web_ami: str) -> None:
    ours, theirs = made.instance(web_ami), Made(own).instance(web_ami)
    for world, mine in ((region, ours), (own, theirs)):
        address = world.instance(mine)["PublicIpAddress"]
        wait_until(partial(answers, f"http://{address}:8080/"), "the web service answers")
        assert get(f"http://{address}:8080/").json()["instance"] == mine
        assert mine in {one["id"] for one in world.control.status()["instances"]}
    assert region.endpoint != own.endpoint
    assert region.site != own.site
    assert theirs not in {one["id"] for one in region.control.status()["instances"]}


def test_down_ends_everything_and_the_images_are_there_again(own: RegionWorld, web_ami: str) -> None:
    one = Made(own).instance(web_ami)
    ec2 = own.client("ec2")
    image = ec2.create_image(InstanceId=one, Name="mine", NoReboot=True)["ImageId"]
    ec2.create_tags(Resources=[image], Tags=[{"Key": "colour", "Value": "green"}])

    def state(world: RegionWorld) -> str:
        (found,) = world.client("ec2").describe_images(ImageIds=[image])["Images"]
        assert {tag["Key"]: tag["Value"] for tag in found["Tags"]} == {"colour": "green"}
        return str(found["State"])

    own.wait("the image is available", lambda: state(own) == "available")
    before = time.monotonic()
    assert re.fullmatch(rf"region {own.name} is down \(\d\.\d s\)\n", own.run("down").stdout)
    assert time.monotonic() - before < 20  # generous: the machine may be busy; it takes about one
    assert of_a_region(own) == []

    later = again(own)
    assert later.endpoint == own.endpoint, "it gets its addresses again where they are free"
    assert state(later) == "available"
    assert later.control.status()["instances"] == []
    second = Made(later).instance(image)
    url = f"http://{later.instance(second)['PublicIpAddress']}:8080/"
    later.wait("its web service answers", lambda: answers(url))
    assert get(url).json()["image"] == image


def test_purge_says_which_images_it_would_forget_and_does_it_when_told(own: RegionWorld, web_ami: str) -> None:
    one = Made(own).instance(web_ami)
    image = own.client("ec2").create_image(InstanceId=one, Name="mine", NoReboot=True)["ImageId"]
    own.client("ec2").get_waiter("image_available").wait(ImageIds=[image], WaiterConfig={"Delay": 1})
    told = own.run("down", "--purge").stdout
    assert f"would forget {image}  mine" in told
    assert f"bakeboot region down --purge --yes --name {own.name}" in told
    assert own.state(one) == "running", "nothing happens before --yes"
    assert json.loads(own.run("down", "--purge", "--yes", "--json").stdout)["images"][0]["id"] == image
    owned = again(own).client("ec2").describe_images(Owners=["self"])["Images"]
    assert image not in {found["ImageId"] for found in owned}
    assert web_ami in {found["ImageId"] for found in owned}, "the home's own images are not the region's to forget"


def test_a_prune_leaves_what_a_region_stands_on_up_or_down(own: RegionWorld, web: Image, web_ami: str) -> None:
    """No `--yes`: the home of the tests holds what other tests need."""
    one = Made(own).instance(web_ami)
    why = f"region {own.name} has an AMI or an instance that stands on it"

    def kept() -> dict[str, str]:
        told = bakeboot(own.home, "images", "prune", "--keep", "0", "--json")
        return dict(json.loads(told.stdout)["kept"])

    assert kept().get(web.name) == why
    image = own.client("ec2").create_image(InstanceId=one, Name="mine", NoReboot=True)["ImageId"]
    own.client("ec2").get_waiter("image_available").wait(ImageIds=[image], WaiterConfig={"Delay": 1})
    own.run("down")
    assert kept().get(web.name) == why, "the AMI that was made in it is there when it is down, too"
    own.run("down", "--purge", "--yes")
    assert web.name not in kept()
    again(own)


def test_a_region_that_was_killed_is_swept_by_the_next_up(own: RegionWorld, web_ami: str) -> None:
    made = Made(own)
    group = made.web_group(web_ami, 2, wait=False)
    own.wait("the load balancer answers", lambda: answers(group.url))
    own.wait_in_service(group.name, 2)
    os.kill(own.control.record.pid, signal.SIGKILL)
    wait_until(lambda: not Place(own.home.root, own.name).is_alive(), "it is dead")
    assert "is not up" in own.run("status", code=15).stderr

    later = again(own)
    assert later.control.status()["instances"] == []
    assert of_a_region(own) == [], "nothing of the one that was killed is left"
    assert "removed what a dead owner left" in later.run("logs").stdout
    one = Made(later).instance(web_ami)
    url = f"http://{later.instance(one)['PublicIpAddress']}:8080/"
    later.wait("a new machine's web service answers", lambda: answers(url))


def test_one_killed_while_it_comes_up_is_in_nobody_s_way(home: Home, web: Image) -> None:
    name = "killed-early"
    place = Place(home.root, name)
    environment = {**os.environ, "BAKEBOOT_HOME": str(home.root)}
    for pause in (0.3, 0.6, 0.9, 1.1):  # at another point of its way each
        command = [*BAKEBOOT, "region", "serve", "--name", name]
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as process:
            time.sleep(pause)
            process.kill()
    with region_up(home, name) as world:
        assert world.client("sts").get_caller_identity()["Account"] == "123456789012"
    assert not place.directory.exists()


def test_of_two_that_bring_it_up_at_once_one_does_and_both_tell_the_truth(home: Home) -> None:
    name = "twice"

    def up(_: int) -> bool:
        return bool(json.loads(bakeboot(home, "region", "up", "--name", name, "--json").stdout)["already"])

    try:
        with ThreadPoolExecutor(3) as pool:
            assert sorted(pool.map(up, range(3))) == [False, True, True]
    finally:
        bakeboot(home, "region", "down", "--name", name)
        shutil.rmtree(Place(home.root, name).directory)


def test_ctrl_c_while_it_comes_up_leaves_nothing(home: Home) -> None:
    place = Place(home.root, "interrupted")
    environment = {**os.environ, "BAKEBOOT_HOME": str(home.root)}
    command = ["env", "--default-signal=INT", *BAKEBOOT, "region", "up", "--name", place.name]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        wait_until(place.is_alive, "it is coming up")
        process.send_signal(signal.SIGINT)
        process.wait(30)
    assert process.returncode == 130
    assert not place.is_alive()
    shutil.rmtree(place.directory)


def test_a_home_s_image_is_an_ami_from_its_verification_to_its_prune(
    region: RegionWorld, home: Home, base_root: Path
) -> None:
    late = web_image(home, base_root, mark="late")

    def names() -> set[str]:
        return {one["Name"] for one in region.client("ec2").describe_images(Owners=["self"])["Images"]}

    try:
        region.wait("it is an AMI", lambda: late.name in names())
    finally:
        remove_web_image(home, late)
    region.wait("it is an AMI no more", lambda: late.name not in names())
