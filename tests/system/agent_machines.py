"""Machines of the agent's test stack: started by tags on a site of their own, looked at, removed.

A plugin of the test modules that name it. PostgreSQL, Redis and nginx come in a layer of their own over the base, kept
in the home of the tests.

PYTEST_DONT_REWRITE: the test modules import it before pytest can take it as a plugin.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bake.home import Home
from region.faults import Faults
from region.machine import Machine, MachineSpec
from region.metadata import InstanceMetadata
from region.site import Site
from tests.system.agent_stack import Stack, make_layer
from tests.system.bakery import install_script, layer_by, wait_until

SCRIPT = f"""\
mkdir -p /etc/postgresql-common
echo create_main_cluster = false >/etc/postgresql-common/createcluster.conf
{install_script("postgresql-15", "redis-server", "nginx-light")}"""
INSTANCE = "i-0123456789abcdef0"
CONFIG = {
    "DATABASE_URL": "postgres://elsewhere/db",
    "REDIS_URL": "redis://elsewhere/0",
    "WWW_URL": "https://www.example.com",
    "SECRET_KEY": "a-secret-from-config",
}
SERVICES = ("bakeboot-svc-web.service", "bakeboot-svc-worker.service", "bakeboot-svc-www.service")
DATASTORES = ("bakeboot-data-db.service", "bakeboot-data-queue.service")


@pytest.fixture(scope="module")
def agent_root(home: Home, base_root: Path) -> tuple[Path, ...]:
    """The base with the datastores' and nginx's packages."""
    return (base_root, layer_by(home, (base_root,), SCRIPT))


class Instances:
    """Starts machines of the test stack on one site, and looks at what became of them."""

    def __init__(self, site: Site, root: tuple[Path, ...], folder: Path) -> None:
        self.site, self.root, self.folder = site, root, folder
        self._made: dict[str, Path] = {}

    def layers(self, stack: Stack) -> tuple[Path, ...]:
        name = repr(stack)
        if name not in self._made:
            self._made[name] = make_layer(self.folder / f"stack-{len(self._made)}", self.root, stack)
        return (*self.root, self._made[name])

    @contextmanager
    def start(
        self,
        tags: Mapping[str, str] | None,
        *,
        stack: Stack | None = None,
        config: Mapping[str, bytes] | None = None,
        faults: Faults | None = None,
        above: tuple[Path, ...] = (),
        instance: str = INSTANCE,
        **spec: Any,
    ) -> Iterator[Booted]:
        """A machine with these tags (``bakeboot:`` is put in front), stopped and removed after the block."""
        named = None if tags is None else {f"bakeboot:{name}": value for name, value in tags.items()}
        files = {f"/run/bakeboot/config.d/{name}.env": text for name, text in (config or {}).items()}
        machine = self.site.start(
            MachineSpec(
                "agent",
                (*self.layers(stack or Stack()), *above),
                metadata=InstanceMetadata(instance, "ami-1", named),
                files=files,
                faults=faults or Faults(),
                **spec,
            )
        )
        try:
            yield Booted(self.site, machine)
        finally:
            machine.discard()


class Booted:
    """A started machine."""

    def __init__(self, site: Site, machine: Machine) -> None:
        self.site, self.machine = site, machine

    def wait(self, timeout: float = 40.0) -> dict[str, Any]:
        """Until ``agent boot`` has come to an end; what it wrote."""
        wait_until(
            lambda: self.show("bakeboot-boot.service", "ActiveState") in ("active", "failed"),
            lambda: f"the boot ends: {self.status()}\n{self.journal()}",
            timeout,
            pause=0.1,
        )
        return self.status()

    def status(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(self.machine.read("/run/bakeboot/status.json"))
        return facts

    def show(self, unit: str, name: str) -> str:
        done = self.machine.run(["systemctl", "show", "--value", f"--property={name}", unit], check=False)
        return done.stdout.strip()

    def running(self) -> set[str]:
        """The units of the stack that systemd has started, in whatever state they are now."""
        listed = self.machine.run(["systemctl", "list-units", "--plain", "--no-legend", "--full", "bakeboot-[sd]*"])
        return {line.split()[0] for line in listed.stdout.splitlines() if line.split()[2] in ("active", "activating")}

    def shell(self, script: str) -> str:
        return self.machine.run(["bash", "-ec", script]).stdout.strip()

    def agent(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.machine.run(["agent", *arguments], check=False)

    def journal(self, unit: str = "bakeboot-*") -> str:
        """Empty while no such unit has said anything."""
        return self.machine.run(["journalctl", "--no-pager", "-o", "cat", "-u", unit], check=False).stdout

    def environment(self, service: str = "web") -> dict[str, str]:
        """What the service's process really has."""
        pid = self.show(f"bakeboot-svc-{service}.service", "MainPID")
        lines = Path(f"/proc/{self.machine.leader}/root/proc/{pid}/environ").read_bytes().split(b"\0")
        return dict(line.decode().split("=", 1) for line in lines if line)

    def retag(self, **tags: str) -> None:
        named = {f"bakeboot:{name}": value for name, value in tags.items()}
        self.site.metadata.set(self.machine.address, InstanceMetadata(INSTANCE, "ami-1", named))

    def boot_again(self) -> dict[str, Any]:
        self.machine.run(["systemctl", "restart", "--no-block", "bakeboot-boot.service"])
        return self.wait()


@pytest.fixture(scope="module")
def instances(agent_root: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instances]:
    folder = tmp_path_factory.mktemp("agent")
    with Site.open(folder / "state", folder / "runtime") as site:
        yield Instances(site, agent_root, folder)


@pytest.fixture(scope="module")
def review(instances: Instances) -> Iterator[Booted]:
    with instances.start({"stack": "shop", "mode": "review"}) as booted:
        assert booted.wait()["phase"] == "ready", booted.journal()
        yield booted
