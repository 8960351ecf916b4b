"""kill -9 of a region's process at many moments: the next `up` works, and after `down` nothing of it is left.

Each has a home of its own, so that all that is left on this host would be seen.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bake.home import Home
from bake.images import Image, ImageStore
from region.region_state import Place
from tests.system.bakery import BAKEBOOT, ROOT, remove_home, sibling, wait_until
from tests.system.conftest import left_behind, names_in_use
from tests.system.region.web_image import ami_of, web_image
from tests.system.region.worlds import Made, RegionWorld, answers, bakeboot

pytestmark = pytest.mark.system

NAME = "killed"


@pytest.fixture(scope="module")
def alone(home: Home, base_root: Path) -> Iterator[tuple[Home, str]]:
    """A home that holds the base and the web image alone, and the AMI's id."""
    base = next(layer for layer in ImageStore(home).layers.all() if layer.root == base_root)
    other = sibling(home, "region-killed", [base])
    image: Image = web_image(other, other.layers / base.id / "root")
    yield other, ami_of(image)
    remove_home(other)


def remains(home: Home, before: set[str]) -> list[str]:
    """All that is left of a region, on this host and in the home; the images that were made whole may be."""
    region = Place(home.root, NAME).directory
    kept = {"region.lock", "region.log", "region.err", "number", "images", "balancers"}
    found = [f"file {entry}" for entry in region.iterdir() if entry.name not in kept]
    found += [f"folder {entry}" for entry in (region / "balancers").glob("*/")]
    found += [f"image {entry}" for entry in (region / "images").glob("*") if not (entry / "record.json").exists()]
    return found + left_behind(home, before)


# --- moments: each brings a region to a point, where it is killed ---


def machines_start(world: RegionWorld, ami: str) -> None:
    Made(world).instances(ami, count=4, wait=False)
    world.wait("the first has a folder", lambda: list(world.home.machines.glob("i-*")), pause=0.001)


def a_machine_boots(world: RegionWorld, ami: str) -> None:
    Made(world).instances(ami, count=2, wait=False)
    world.wait("its PID 1 is started", lambda: list(world.home.machines.glob("i-*/machine.log")), pause=0.001)


def an_ami_is_made_of_one_that_is_held_still(world: RegionWorld, ami: str) -> None:
    one = Made(world).instance(ami)
    (world.home.machines / world.machine(one) / "root" / "big").write_bytes(bytes(300 << 20))
    made = world.client("ec2").create_image(InstanceId=one, Name="half", NoReboot=True)["ImageId"]
    world.wait("the copy has begun", (world.directory / "images" / made).exists, pause=0.001)


def one_stops_and_one_starts_again(world: RegionWorld, ami: str) -> None:
    ec2 = world.client("ec2")
    one, two = Made(world).instances(ami, count=2)
    ec2.stop_instances(InstanceIds=[one])
    world.wait_state(one, "stopped")
    ec2.start_instances(InstanceIds=[one])
    ec2.stop_instances(InstanceIds=[two])


def a_load_balancer_answers(world: RegionWorld, ami: str) -> None:
    group = Made(world).web_group(ami, 2, wait=False)
    world.wait("it answers, if only that nobody is healthy", lambda: answers(group.url))
    world.wait_in_service(group.name, 2)


def it_goes_down(world: RegionWorld, ami: str) -> None:
    a_load_balancer_answers(world, ami)
    before = len(list(world.home.machines.glob("i-*")))
    os.kill(world.control.record.pid, signal.SIGTERM)
    world.wait("a machine has gone", lambda: len(list(world.home.machines.glob("i-*"))) < before, pause=0.001)


MOMENTS: list[Callable[[RegionWorld, str], None]] = [
    machines_start,
    a_machine_boots,
    an_ami_is_made_of_one_that_is_held_still,
    one_stops_and_one_starts_again,
    a_load_balancer_answers,
    it_goes_down,
]


def kill(world: RegionWorld) -> None:
    os.kill(world.control.record.pid, signal.SIGKILL)
    wait_until(lambda: not Place(world.home.root, world.name).is_alive(), "it is dead")


def kill_at(moment: Callable[[RegionWorld, str], None], home: Home, ami: str) -> None:
    """Brings a region up, and kills it when it has come to that moment."""
    bakeboot(home, "region", "up", "--name", NAME)
    world = RegionWorld(home, NAME)
    moment(world, ami)
    kill(world)


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.__name__)
def test_after_a_kill_the_next_up_works_and_down_leaves_nothing(
    alone: tuple[Home, str], moment: Callable[[RegionWorld, str], None]
) -> None:
    home, ami = alone
    before = names_in_use()
    kill_at(moment, home, ami)
    bakeboot(home, "region", "up", "--name", NAME)
    again = RegionWorld(home, NAME)
    assert again.control.status()["instances"] == []
    bakeboot(home, "region", "down", "--name", NAME)
    assert remains(home, before) == []


@pytest.mark.parametrize("moment", [a_load_balancer_answers, an_ami_is_made_of_one_that_is_held_still])
def test_after_a_kill_down_alone_or_any_sweep_leaves_nothing(
    alone: tuple[Home, str], moment: Callable[[RegionWorld, str], None]
) -> None:
    home, ami = alone
    before = names_in_use()
    kill_at(moment, home, ami)
    if moment is a_load_balancer_answers:
        said = bakeboot(home, "region", "down", "--name", NAME).stdout
        assert said.startswith(f"region {NAME} is not up\nremoved what a dead owner left: ")
    else:
        bakeboot(home, "sweep")
    assert remains(home, before) == []


def test_a_sweep_touches_nothing_of_a_region_that_lives(alone: tuple[Home, str]) -> None:
    home, ami = alone
    bakeboot(home, "region", "up", "--name", NAME)
    world = RegionWorld(home, NAME)
    group = Made(world).web_group(ami, 1, wait=False)
    ec2, one = world.client("ec2"), Made(world).instance(ami)
    ec2.stop_instances(InstanceIds=[one])
    world.wait_state(one, "stopped")
    assert bakeboot(home, "sweep").stdout == "nothing was left behind\n"
    assert bakeboot(home, "region", "down", "--name", "another").stdout == "region another is not up\n"
    world.wait_healthy(group.target_group, 1)
    ec2.start_instances(InstanceIds=[one])
    world.wait_state(one, "running")
    bakeboot(home, "region", "down", "--name", NAME)


@pytest.mark.parametrize("step", ["holds its lock", "has a site", "is ready"])
def test_one_killed_while_it_comes_up_is_swept(alone: tuple[Home, str], step: str) -> None:
    home, _ = alone
    before = names_in_use()
    place = Place(home.root, NAME)
    seen: dict[str, Callable[[], object]] = {
        "holds its lock": place.is_alive,
        "has a site": lambda: list((home.root / "sites").glob("*/record.json")),
        "is ready": place.read,
    }
    command = [*BAKEBOOT, "region", "serve", "--name", NAME]
    environment = {**os.environ, "BAKEBOOT_HOME": str(home.root)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as process:
        wait_until(seen[step], "it is there", pause=0.001)
        process.kill()
    bakeboot(home, "region", "up", "--name", NAME)
    bakeboot(home, "region", "down", "--name", NAME)
    assert remains(home, before) == []
