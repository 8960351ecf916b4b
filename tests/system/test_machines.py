"""Machines and sites for real: what PID 1 finds, what limits it, what runs beside it, and that nothing is left."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from region import cgroups, linux, netns
from region.errors import RegionError
from region.forward import Forward
from region.machine import Bind, Machine, MachineSpec, start_machine
from region.site import Site
from region.sweep import sweep
from tests.system.bakery import command_lines, wait_until

ONESHOT = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n"


@dataclass(frozen=True)
class Place:
    """Where the machines of one test live, and what this host held before it."""

    state: Path
    runtime: Path
    base: Path

    def spec(self, name: str = "one", **more: object) -> MachineSpec:
        values: dict[str, object] = {"name": name, "layers": (self.base,), **more}
        return MachineSpec(**values)  # type: ignore[arg-type]

    def site(self) -> Site:
        return Site.open(self.state, self.runtime)

    def left(self) -> list[str]:
        """What the machines and sites of this place hold on the host: all of it, to the last directory."""
        names = {path.name for kind in ("machines", "sites") for path in (self.state / kind).glob("*-*")}
        mountinfo = Path("/proc/self/mountinfo").read_text()
        mounts = [line.split()[4] for line in mountinfo.splitlines() if str(self.state.parent) in line.split()[4]]
        secrets = [str(path) for path in (self.runtime / "machines").glob("*")]
        return sorted(names) + mounts + secrets


@pytest.fixture
def place(tmp_path: Path, base_root: Path) -> Iterator[Place]:
    place = Place(tmp_path / "state", tmp_path / "runtime", base_root)
    yield place
    sweep(place.state, place.runtime)
    assert place.left() == []


@pytest.fixture
def site(place: Place) -> Iterator[Site]:
    with place.site() as site:
        yield site


def holdings(machine: Machine) -> list[str]:
    """What one machine still holds on this host."""
    groups = [str(group.path) for group in cgroups.discover(f"bakeboot-{machine.name}") if group.path.exists()]
    spaces = [str(path) for path in [netns.path(machine.name)] if path.exists()]
    mounted = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if machine.name in line]
    processes = list(command_lines(machine.name))
    nspawns = [str(path) for path in Path("/run/systemd/nspawn").glob(f"*/{machine.name}")]
    return groups + spaces + mounted + processes + nspawns


def read_or_nothing(path: Path) -> bytes:
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""


def test_a_machine_boots_to_running_and_a_stop_leaves_only_its_upper_layer(place: Place) -> None:
    with place.site() as site:
        machine = site.start(place.spec())
        machine.wait_booted(30)
        assert machine.run(["systemctl", "is-system-running"]).stdout == "running\n"
        assert machine.run(["cat"], input="€").stdout == "€"
        machine.run(["touch", "/var/written"])
        assert machine.read("/etc/os-release")
        assert machine.poll() is None
        machine.stop()
        assert machine.poll() == 0
        assert holdings(machine) == []
        assert (machine.upper / "var" / "written").exists()
        assert "Reached target multi-user.target" in machine.log.read_text()
        machine.take_upper(place.state / "layer")
        machine.stop()
        machine.discard()
        assert not machine.directory.exists()
        second = site.start(place.spec("two", layers=(place.base, place.state / "layer")))
        assert second.run(["ls", "/var/written"]).stdout == "/var/written\n"
    assert holdings(second) == []
    assert place.left() == []


def test_a_stop_right_after_the_start_is_as_quick_as_any_other(place: Place, site: Site) -> None:
    """PID 1 does not hear what it is told before it is ready to; that must not cost the whole time-out."""
    for name in ("first", "second", "third"):
        machine = site.start(place.spec(name))
        begun = time.monotonic()
        machine.stop(timeout=60)
        assert time.monotonic() - begun < 10
        assert machine.poll() == 0


def test_nothing_of_this_host_is_written_into_the_upper_layer(place: Place, site: Site) -> None:
    machine = site.start(place.spec(hostname="shop", files={"/run/bakeboot/config.d/x.env": b""}))
    machine.wait_booted(30)
    assert machine.run(["hostname"]).stdout == "shop\n"
    assert machine.run(["getent", "hosts", "shop"]).stdout.split()[0] == machine.address
    machine.stop()
    etc = {path.name for path in (machine.upper / "etc").iterdir()}
    assert etc & {"hosts", "hostname", "resolv.conf", "localtime"} == set()
    assert not (machine.upper / "run").exists()


def test_files_are_there_before_pid_1_root_only_read_only_and_on_a_tmpfs(place: Place, site: Site) -> None:
    early = "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nRemainAfterExit=yes\n" + (
        "ExecStart=/bin/cp /run/bakeboot/config.d/storefront.env /run/seen-early\n"
    )
    files = {"/run/bakeboot/config.d/storefront.env": b"KEY=s3cret\n"}
    machine = site.start(
        place.spec(files=files, units={"early.service": early}, wants=("sysinit.target/early.service",))
    )
    machine.wait_booted(30)
    assert machine.read("/run/seen-early") == b"KEY=s3cret\n"
    assert machine.run(["stat", "-c", "%a %U", "/run/bakeboot/config.d/storefront.env"]).stdout == "600 root\n"
    assert "Read-only" in machine.run(["touch", "/run/bakeboot/config.d/y"], check=False).stderr
    machine.run(["touch", "/run/bakeboot/status.json"])
    for path in (*machine.directory.iterdir(), *machine.upper.rglob("*")):
        if stat.S_ISREG(path.lstat().st_mode):
            assert b"s3cret" not in path.read_bytes()


def test_units_are_added_wanted_and_masked_whatever_the_image_says(place: Place, site: Site) -> None:
    units = {"a.service": ONESHOT, "b.service": ONESHOT, "a.service.d/x.conf": "[Unit]\nDescription=changed\n"}
    machine = site.start(place.spec(units=units, wants=("a.service",), masks=("ssh.service", "dbus.service")))
    machine.wait_booted(30)

    def shown(unit: str, what: str) -> str:
        return machine.run(["systemctl", "show", "--value", "-p", what, unit]).stdout.strip()

    assert (shown("a", "ActiveState"), shown("a", "Description")) == ("active", "changed")
    assert shown("b", "ActiveState") == "inactive"
    assert [shown(unit, "LoadState") for unit in ("ssh.service", "dbus.service")] == ["masked", "masked"]


def test_two_sites_have_the_same_addresses_and_do_not_see_each_other(place: Place) -> None:
    with place.site() as one, place.site() as other:
        here, there = one.start(place.spec("here")), other.start(place.spec("there"))
        neighbour = one.start(place.spec("neighbour"))
        assert here.address == there.address
        for machine in (here, there, neighbour):
            machine.wait_booted(30)
        assert neighbour.run(["hostname"]).stdout == "neighbour\n"
        assert linux.call(["ip", "-n", one.name, "route"]).split("\n") == [
            "10.77.0.0/24 dev br0 proto kernel scope link src 10.77.0.1 ",
            "",
        ]  # no way out of the site, whatever a machine sends to its gateway
        assert "10.77.0." not in linux.call(["ip", "addr"])  # and this host is not in it


def test_machines_of_a_site_reach_each_other_and_a_forwarder_reaches_them_from_here(place: Place, site: Site) -> None:
    server = "[Service]\nExecStart=/usr/bin/python3 -m http.server 8000 --directory /run/who\n"
    one = site.start(
        place.spec(units={"w.service": server}, wants=("w.service",), files={"/run/who/hostname": b"one\n"})
    )
    two = site.start(place.spec("two"))
    for machine in (one, two):
        machine.wait_booted(30)
    url = f"http://{one.address}:8000/hostname"
    fetch = ["curl", "-sS", "--retry", "20", "--retry-delay", "0", "--retry-connrefused", url]
    assert two.run(fetch).stdout == "one\n"
    with (
        Forward((None, "127.0.0.1", 0), (one.name, "127.0.0.1", 8000)) as forward,
        socket.create_connection((forward.host, forward.port), timeout=5) as connection,
    ):
        connection.sendall(b"GET /hostname HTTP/1.0\r\n\r\n")
        assert connection.makefile("rb").read().endswith(b"one\n")


def test_memory_is_limited_for_the_machine_and_for_a_unit_in_it(place: Place, site: Site) -> None:
    greedy = "[Service]\nType=oneshot\nMemoryMax=50M\nExecStart=/usr/bin/python3 -c 'x = bytearray(90 << 20)'\n"
    machine = site.start(place.spec(memory=192 << 20, cpus=1.0, units={"greedy.service": greedy}))
    machine.wait_booted(30)
    assert machine.run(["python3", "-c", "x = bytearray(90 << 20)"]).returncode == 0
    assert machine.run(["python3", "-c", "x = bytearray(400 << 20)"], check=False).returncode == -signal.SIGKILL
    assert machine.run(["systemctl", "start", "greedy"], check=False).returncode == 1


OPTIONS = (
    "DynamicUser=yes PrivateTmp=yes PrivateDevices=yes PrivateUsers=yes PrivateIPC=yes ProtectSystem=strict"
    " ProtectHome=yes ProtectHostname=yes ProtectClock=yes ProtectKernelTunables=yes ProtectKernelModules=yes"
    " ProtectKernelLogs=yes ProtectControlGroups=yes ProtectProc=invisible ProcSubset=pid RestrictNamespaces=yes"
    " RestrictRealtime=yes RestrictSUIDSGID=yes LockPersonality=yes MemoryDenyWriteExecute=yes NoNewPrivileges=yes"
    " CapabilityBoundingSet= SystemCallArchitectures=native SystemCallFilter=@system-service KeyringMode=private"
    " RemoveIPC=yes UMask=0077 DevicePolicy=closed StateDirectory=hardened MemoryMax=200M TasksMax=100"
).replace(" ", "\n")
HARDENED = f"""\
[Service]
ExecStart=/usr/bin/python3 -m http.server 8000 --directory /srv
{OPTIONS}
SystemCallFilter=~@privileged @resources
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
"""


def test_a_service_hardened_to_the_last_option_runs_as_it_would_on_an_instance(place: Place, site: Site) -> None:
    machine = site.start(place.spec(units={"hard.service": HARDENED}, wants=("hard.service",)))
    machine.wait_booted(30)
    url = "http://127.0.0.1:8000/"
    fetch = ["curl", "-sSf", "-o", "/dev/null", "--retry", "20", "--retry-delay", "0", "--retry-connrefused", url]
    machine.run(fetch)


def test_a_bind_is_read_only_unless_told(place: Place, site: Site, tmp_path: Path) -> None:
    for name in ("in", "out"):
        (tmp_path / f"{name}: x").mkdir()
    binds = (Bind(tmp_path / "in: x", "/run/in"), Bind(tmp_path / "out: x", "/run/out", read_only=False))
    machine = site.start(place.spec(binds=binds))
    assert machine.run(["touch", "/run/in/a"], check=False).returncode == 1
    machine.run(["touch", "/run/out/a"])
    assert (tmp_path / "out: x" / "a").exists()


def test_many_layers_make_one_root(place: Place, site: Site, tmp_path: Path) -> None:
    layers = [tmp_path / f"layer-{number}-{'x' * 150}" for number in range(60)]
    for number, layer in enumerate(layers):
        (layer / "srv").mkdir(parents=True)
        (layer / "srv" / "top").write_text(str(number))
        (layer / "srv" / str(number)).touch()
    machine = site.start(place.spec(layers=(place.base, *layers)))
    assert machine.read("/srv/top") == b"59"
    assert len(machine.run(["ls", "/srv"]).stdout.split()) == 61


def test_a_build_machine_shares_this_hosts_network_and_its_sshd_listens_on_loopback_alone(place: Place) -> None:
    port = netns.free_port()
    start = f"/usr/sbin/sshd -D -o ListenAddress=127.0.0.1:{port}"
    units = {
        "build-ssh.service": "[Service]\nRuntimeDirectory=sshd\nExecStartPre=/usr/bin/ssh-keygen -A\n"
        f"ExecStart={start}\n"
    }
    spec = place.spec("build", network="host", units=units, wants=("build-ssh.service",), sync=False)
    machine = start_machine(spec, place.state, place.runtime)
    try:
        machine.wait_booted(30)
        assert machine.read("/etc/resolv.conf") == Path("/etc/resolv.conf").read_bytes()
        wait_until(lambda: banner(port).startswith(b"SSH-2.0-"), "its sshd answers", timeout=10)
        assert listens(port) == ["0100007F"]
        assert machine.run(["ip", "link", "add", "dummy0", "type", "dummy"], check=False).returncode != 0
    finally:
        machine.discard()
    assert holdings(machine) == []


def banner(port: int) -> bytes:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        return connection.recv(64)
    return b""


def listens(port: int) -> list[str]:
    """The addresses (hexadecimal, as in proc(5)) of listening sockets on the port, IPv6 included."""
    rows = [line.split() for kind in ("tcp", "tcp6") for line in Path("/proc/net", kind).read_text().splitlines()[1:]]
    return [row[1].split(":")[0] for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == port]


def test_eight_machines_start_at_once(place: Place, site: Site) -> None:
    machines: list[Machine] = []

    def start(number: int) -> None:
        machine = site.start(place.spec(f"m{number}"))
        machine.wait_booted(60)
        machines.append(machine)

    threads = [threading.Thread(target=start, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({machine.address for machine in machines}) == 8
    assert {machine.run(["systemctl", "is-system-running"]).stdout for machine in machines} == {"running\n"}


def test_a_command_that_takes_too_long_ends_and_a_machine_that_is_off_runs_none(place: Place, site: Site) -> None:
    machine = site.start(place.spec())
    machine.wait_booted(30)
    with pytest.raises(RegionError, match=r"did not end in 0\.2 s"):
        machine.run(["sleep", "1000"], timeout=0.2)
    assert "sleep 1000" not in machine.run(["ps", "-eo", "args"]).stdout
    with pytest.raises(RegionError, match="ended with exit code 3: why"):
        machine.run(["sh", "-c", "echo why >&2; exit 3"])
    machine.kill()
    with pytest.raises(RegionError, match="is not running"):
        machine.run(["true"])


def test_a_boot_that_does_not_end_says_what_it_waits_for(place: Place, site: Site) -> None:
    slow = "[Service]\nType=oneshot\nExecStart=/bin/sleep 1000\n"
    machine = site.start(place.spec(units={"slow.service": slow}, wants=("slow.service",)))
    with pytest.raises(RegionError, match=r"did not finish its boot in 1 s; systemd waits for[^!]*slow\.service"):
        machine.wait_booted(1)


def test_a_root_that_is_none_is_refused_with_nothing_left(place: Place, site: Site, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RegionError, match="OS root directory"):
        site.start(place.spec(layers=(tmp_path / "empty",)))
    assert [name for name in place.left() if name.startswith("one")] == []


# --- the owner dies ----------------------------------------------------------------------------------------------


def lives(pid: int) -> bool:
    """Whether a process is there and is more than an entry that its parent has not looked at yet."""
    words = read_or_nothing(Path(f"/proc/{pid}/stat")).rpartition(b") ")[2].split()
    return bool(words) and words[0] != b"Z"


OWNER = """
import sys, time
from pathlib import Path
from region.machine import MachineSpec, start_machine
from region.site import Site
state, runtime, base = map(Path, sys.argv[1:4])
site = Site.open(state, runtime)
spec = dict(layers=(base,), files={"/run/x/y": b"secret"})
if sys.argv[4] == "early":
    print("going", flush=True)
machine = site.start(MachineSpec("orphan", **spec))
build = start_machine(MachineSpec("build", network="host", **spec), state, runtime)
machine.wait_booted()
print("booted", machine.leader, flush=True)
time.sleep(1000)
"""


def owner(place: Place, when: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", OWNER, str(place.state), str(place.runtime), str(place.base), when]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment)


def test_machines_of_a_killed_owner_run_until_swept_and_then_nothing_is_left(place: Place, site: Site) -> None:
    mine = site.start(place.spec("mine"))
    with owner(place, "late") as process:
        assert process.stdout is not None
        leader = int(process.stdout.readline().split()[1])
        assert sweep(place.state, place.runtime) == []  # all owners live
        process.kill()
    assert lives(leader)
    (orphan,) = (path.name for path in (place.state / "machines").glob("orphan-*"))
    swept = sweep(place.state, place.runtime)
    assert sorted(name.rpartition("-")[0] for name in swept) == ["bb", "build", "orphan"]
    assert not lives(leader)
    assert not netns.path(orphan).exists()
    assert not any(group.path.exists() for group in cgroups.discover(f"bakeboot-{orphan}"))
    assert sweep(place.state, place.runtime) == []
    assert mine.run(["true"]).returncode == 0  # beside it, a live owner's goes on


@pytest.mark.parametrize("after", [0.0, 0.01, 0.03, 0.05, 0.07, 0.1, 0.2])
def test_an_owner_may_be_killed_at_any_moment_of_a_start(place: Place, after: float) -> None:
    with owner(place, "early") as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(after)
        process.kill()
    sweep(place.state, place.runtime)
    assert place.left() == []
