"""The metadata service as a machine sees it: by its own address, with a token, and with faults from before PID 1."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from region.errors import RegionError
from region.faults import FOREVER, Faults
from region.machine import Machine, MachineSpec
from region.metadata import InstanceMetadata
from region.site import Site
from tests.system.bakery import wait_until

ROOT = "http://169.254.169.254/latest"
WEB = InstanceMetadata("i-0a", "ami-1", {"bakeboot:mode": "review"}, b"{}")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site.open(tmp_path / "state", tmp_path / "runtime") as site:
        yield site


def boot(site: Site, base: Path, metadata: InstanceMetadata | None = WEB, faults: Faults | None = None) -> Machine:
    spec = MachineSpec("one", (base,), metadata=metadata, faults=faults or Faults())
    machine = site.start(spec)
    machine.wait_booted(30)
    return machine


def fetch(machine: Machine, *options: str) -> tuple[str, str]:
    """Status (000: none) and body of a request that curl makes in the machine."""
    done = machine.run(["curl", "-sS", "-m", "3", "-w", "\n%{http_code}", *options], check=False)
    body, _, status = done.stdout.rpartition("\n")
    return status, body


def ask(machine: Machine, path: str) -> tuple[str, str]:
    put = ("-X", "PUT", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 60", f"{ROOT}/api/token")
    status, token = fetch(machine, *put)
    if status != "200":
        return status, token
    return fetch(machine, "-H", f"X-aws-ec2-metadata-token: {token}", f"{ROOT}/{path}")


def test_a_machine_hears_of_itself_with_a_token_and_of_nothing_without(site: Site, base_root: Path) -> None:
    machine = boot(site, base_root)
    other = site.start(MachineSpec("two", (base_root,), metadata=replace(WEB, instance_id="i-0b", tags=None)))
    other.wait_booted(30)
    assert fetch(machine, f"{ROOT}/meta-data/instance-id")[0] == "401"
    assert ask(machine, "meta-data/instance-id") == ("200", "i-0a")
    assert ask(machine, "meta-data/local-ipv4") == ("200", machine.address)
    assert ask(machine, "meta-data/tags/instance/bakeboot:mode") == ("200", "review")
    assert ask(machine, "user-data") == ("200", "{}")
    assert ask(other, "meta-data/instance-id") == ("200", "i-0b")
    assert ask(other, "meta-data/tags/instance")[0] == "404"
    assert len(site.metadata.requests(machine.address)) == 9
    site.metadata.set(machine.address, replace(WEB, tags={"a": "b"}))
    assert ask(machine, "meta-data/tags/instance") == ("200", "a")


def test_a_machine_without_metadata_is_told_that_it_is_off(site: Site, base_root: Path) -> None:
    assert ask(boot(site, base_root, None), "meta-data/")[0] == "403"


def test_connections_are_refused_from_before_pid_1_for_as_long_as_told(site: Site, base_root: Path) -> None:
    machine = boot(site, base_root, faults=Faults(refused=2))
    assert refused(machine)
    wait_until(lambda: heard(machine), "its time is over")


def test_what_is_wrong_can_be_changed_while_the_machine_runs(site: Site, base_root: Path) -> None:
    machine = boot(site, base_root)
    for faults, status in ((Faults(unavailable=60), "503"), (Faults(hang=60), "000"), (Faults(disabled=True), "403")):
        site.set_faults(machine, faults)
        assert ask(machine, "meta-data/instance-id")[0] == status
    site.set_faults(machine, Faults())
    assert heard(machine)


def test_a_refusal_lasts_as_long_as_the_last_plan_says(site: Site, base_root: Path) -> None:
    machine = boot(site, base_root)
    site.set_faults(machine, Faults(refused=0.5))
    site.set_faults(machine, Faults(refused=FOREVER))
    time.sleep(1)
    assert refused(machine)
    site.set_faults(machine, Faults())
    assert heard(machine)
    site.set_faults(machine, Faults(refused=FOREVER))
    assert refused(machine)
    site.set_faults(machine, Faults(refused=0.5))
    assert refused(machine)
    wait_until(lambda: heard(machine), "its time is over")


def test_a_refusal_that_outlasts_its_machine_disturbs_nobody(site: Site, base_root: Path) -> None:
    machine = boot(site, base_root)
    site.set_faults(machine, Faults(refused=0.5))
    machine.kill()
    time.sleep(1)


def heard(machine: Machine) -> bool:
    return ask(machine, "meta-data/instance-id") == ("200", "i-0a")


def refused(machine: Machine) -> bool:
    told = machine.run(["curl", "-sS", "-m", "3", ROOT], check=False).stderr
    return "refused" in told or "Couldn't connect" in told


def test_what_is_wrong_with_a_machines_root_is_told_before_it_starts(site: Site) -> None:
    with pytest.raises(RegionError, match="/nowhere is not a directory"):
        site.start(MachineSpec("one", (Path("/nowhere"),)))
