"""What a region's figures are held against: bare systemd-nspawn machines, and moto's own server."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from region import cgroups, mounts, netns

POLL = 0.005

IMPORTS = "import moto.moto_server.werkzeug_app, moto.ec2, moto.autoscaling, moto.elbv2, moto.route53, moto.dynamodb"


@dataclass(frozen=True)
class Bare:
    """A machine by hand: its name, its process, where it lies, its control groups."""

    name: str
    process: subprocess.Popen[bytes]
    folder: Path
    groups: tuple[cgroups.Group, ...]


def empty_region() -> float:
    """Seconds that a Python takes to import moto's services, and a namespace with a bridge to be made."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)
    name = f"bench-{secrets.token_hex(3)}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    subprocess.run(["ip", "-n", name, "link", "add", "br0", "type", "bridge"], check=True)
    took = time.monotonic() - began
    subprocess.run(["ip", "netns", "delete", name], check=True)
    return took


def start(work: Path, layers: Sequence[Path]) -> Bare:
    """An overlay, a namespace with nothing but loopback, and systemd-nspawn: what every machine here needs."""
    name = f"bench-{secrets.token_hex(3)}"
    folder = work / name
    folder.mkdir()
    mounts.mount_overlay(folder, layers)
    netns.add(name)
    netns.configure(name, ["link set lo up"])
    groups = cgroups.discover(f"bakeboot-{name}")
    cgroups.create(groups, memory=None, cpus=None)
    command = [
        *("systemd-nspawn", "--quiet", "--boot", f"--directory={folder}/root", "--register=no", "--keep-unit"),
        *("--console=pipe", f"--network-namespace-path=/run/netns/{name}", "--link-journal=no", f"--machine={name}"),
        *("--resolv-conf=off", "--timezone=off"),
    ]
    with (folder / "console").open("wb") as console:
        process = subprocess.Popen(
            cgroups.joining(groups, command, visiting=False), stdin=subprocess.DEVNULL, stdout=console, stderr=console
        )
    return Bare(name, process, folder, groups)


def end(bare: Bare) -> None:
    cgroups.remove([group.path for group in bare.groups])
    bare.process.wait()
    netns.delete(bare.name)
    mounts.unmount_below(bare.folder)
    shutil.rmtree(bare.folder)


def wait_port(address: tuple[str, int], namespace: str | None = None, timeout: float = 60) -> None:
    """Until something listens there, seen from inside the namespace where one is named."""

    def connect() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(address, timeout=1):
            return True
        return False

    deadline = time.monotonic() + timeout
    while not netns.inside(namespace, connect):
        if time.monotonic() > deadline:
            raise SystemExit(f"nothing listens at {address}")
        time.sleep(POLL)


def bare_machines(work: Path, layers: Sequence[Path], count: int, port: int) -> float:
    """Seconds until so many, started at once, all listen on the port."""
    began = time.monotonic()
    with ThreadPoolExecutor(count) as pool:
        found = list(pool.map(lambda number: start(work, layers), range(count)))
        list(pool.map(lambda bare: wait_port(("127.0.0.1", port), bare.name), found))
        took = time.monotonic() - began
        list(pool.map(end, found))
    return took


@contextlib.contextmanager
def moto_server() -> Iterator[str]:
    """moto's own server as it comes; its address."""
    port = netns.free_port()
    program = Path(sys.executable).with_name("moto_server")
    command = [str(program), "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as process:
        try:
            wait_port(("127.0.0.1", port))
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def memory(*pids: int) -> float:
    """MiB that processes hold, what they share with others counted in part (proc(5), Pss)."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):  # it has just ended
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def descendants(pid: int) -> list[int]:
    """The processes that a process started, and theirs."""
    children = [
        int(child) for tasks in Path(f"/proc/{pid}/task").glob("*/children") for child in tasks.read_text().split()
    ]
    return [*children, *(deeper for child in children for deeper in descendants(child))]
