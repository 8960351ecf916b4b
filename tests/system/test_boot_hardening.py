"""What a service may do on a booted machine, and how far: tried from inside the service, as its code would."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bake.build_machine import build_machine
from bake.host import host_settings
from bake.images import Image
from bake.local import LocalInstance
from tests.system.bakery import MOST_EXPOSED, Bakery, exposure, wait_until


@pytest.fixture(scope="module")
def review(bakery: Bakery, tiny_image: Image) -> Iterator[LocalInstance]:
    with bakery.review(tiny_image, 60) as instance:
        yield instance


def attempt(review: LocalInstance, name: str) -> dict[str, Any]:
    """What came of an attempt by the code of `hello` (tests/system/bakery.py)."""
    with urllib.request.urlopen(f"{review.url('hello')}/try/{name}", timeout=10) as response:
        told: dict[str, Any] = json.load(response)
    return told


def test_a_plain_web_service_is_hardened(review: LocalInstance) -> None:
    assert exposure(review.machine, "bakeboot-svc-hello.service") <= MOST_EXPOSED


def test_only_the_option_that_the_stack_loosens_is_loosened(review: LocalInstance) -> None:
    hello, ticker = (
        review.machine.read(f"/etc/systemd/system/bakeboot-svc-{name}.service") for name in ("hello", "ticker")
    )
    denied = set(hello.decode().splitlines()) - set(ticker.decode().splitlines())
    assert "MemoryDenyWriteExecute=yes" in denied
    assert [line for line in denied if line.endswith("=yes")] == ["MemoryDenyWriteExecute=yes"]
    # `ticker` maps such memory when it starts, and runs; `hello` may not.
    assert attempt(review, "execute")["came"].startswith("PermissionError")


def test_a_service_runs_as_its_own_user(review: LocalInstance) -> None:
    assert attempt(review, "execute")["user"] == "bb-hello"
    users = review.machine.run(["systemctl", "show", "--property=User", "--value", "bakeboot-svc-ticker"]).stdout
    assert users == "bb-ticker\n"


@pytest.mark.parametrize("name", ["write_code", "write_elsewhere"])
def test_a_service_cant_write_to_its_code_or_to_the_system(review: LocalInstance, name: str) -> None:
    assert attempt(review, name)["came"] in ("OSError 30", "PermissionError 13")


def test_nothing_gets_out_of_a_machine_to_the_world(review: LocalInstance) -> None:
    """Neither a service nor root. This host's own addresses are the world too: only what is lent can be reached."""
    assert attempt(review, "connect")["came"] != "done"
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        listener.listen()
        for address in ("192.0.2.1", *own_addresses()):
            url = f"http://{address}:{listener.getsockname()[1]}/"
            asked = review.machine.run(["curl", "--silent", "--connect-timeout", "1", url], check=False)
            assert asked.returncode == 7, f"{url}: {asked}"


def own_addresses() -> list[str]:
    """This host's IPv4 addresses, loopback left out: that one is each machine's own."""
    shown = json.loads(subprocess.run(["ip", "-json", "-4", "address"], capture_output=True, check=True).stdout)
    return [one["local"] for link in shown for one in link["addr_info"] if not one["local"].startswith("127.")]


def test_a_service_that_takes_more_memory_than_it_may_is_ended_and_starts_again(review: LocalInstance) -> None:
    unit = "bakeboot-svc-hello.service"
    shown = review.machine.run(["systemctl", "show", "--property=MemoryMax", "--value", unit]).stdout
    assert int(shown) == 96 * 2**20
    with pytest.raises(OSError, match=r"closed|reset"):
        attempt(review, "take_memory")

    def runs_again() -> bool:
        told = review.machine.run(["systemctl", "show", "--property=NRestarts,ActiveState", "--value", unit]).stdout
        return sorted(told.split()) == ["1", "active"]

    wait_until(runs_again, "hello is restarted", 15)


def test_sshd_of_a_build_machine_listens_on_loopback_alone(bakery: Bakery, tiny_image: Image) -> None:
    system = tuple(
        layer.root for layer in map(bakery.layers.get, tiny_image.layers) if layer.kind in ("base", "system")
    )
    with (
        bakery.home.run("test-sshd") as run,
        build_machine(bakery.home, run, system, host_settings("bookworm"), stage="look") as (machine, access),
    ):
        machine.wait_booted(60)
        listening = subprocess.run(
            ["ss", "--no-header", "--tcp", "--listening", "--numeric", f"sport = :{access.port}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert [line.split()[3] for line in listening.splitlines()] == [f"127.0.0.1:{access.port}"]
        assert Path(access.key).stat().st_mode & 0o777 == 0o600
        tmpfs = subprocess.run(
            ["findmnt", "-no", "FSTYPE", "--target", str(access.key)], capture_output=True, text=True
        )
        assert tmpfs.stdout.strip() == "tmpfs"
