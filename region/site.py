"""A site: one network namespace with one bridge, the machines on it, and their metadata service.

Nothing in it reaches this host's network and nothing of it is reached from there, except through `region.forward`. So
any number of sites stand side by side with the same addresses.
"""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from types import TracebackType

from region import imds, netns, owner
from region.errors import RegionError
from region.faults import Faults
from region.machine import Machine, MachineSpec, Wiring, start_machine
from region.metadata import MetadataService

GATEWAY = "10.77.0.1"
_FIRST, _LAST = 10, 250
# Fixed: a bridge left alone takes the lowest address of its ports, so a machine more would change the gateway's and
# the others would keep a stale ARP entry for it. Machines have theirs from their IP address for the same reason.
_BRIDGE_MAC = "02:00:0a:4d:00:01"
# While a machine has the address itself, on its loopback where nobody listens, connections to it are refused.
_REFUSE = f"addr replace {imds.ADDRESS}/32 dev lo"
_ACCEPT = f"addr flush dev lo to {imds.ADDRESS}/32"  # no error where it is not refused


def bridge_commands() -> tuple[str, ...]:
    return (
        "link set lo up",
        f"link add br0 address {_BRIDGE_MAC} type bridge forward_delay 0 mcast_snooping 0",
        f"addr add {GATEWAY}/24 dev br0",
        f"addr add {imds.ADDRESS}/32 dev br0",
        "link set br0 addrgenmode none",
        "link set br0 up",
    )


def wiring(site: str, number: int, port: int) -> Wiring:
    """The address and the `ip` commands of machine 10.77.0.`number` on the bridge's port `port`. Pure."""
    address, mac = f"10.77.0.{number}", f"02:00:0a:4d:00:{number:02x}"
    return Wiring(
        site,
        address,
        (
            f"link add v{port} type veth peer name eth0 address {mac} netns {{netns}}",
            f"link set v{port} master br0 addrgenmode none",
            f"link set v{port} up",
        ),
        (
            "link set lo up",
            "link set eth0 addrgenmode none",  # no IPv6 link-local address, as in a VPC without IPv6
            f"addr add {address}/24 dev eth0",
            "link set eth0 up",
            f"route add {imds.ADDRESS}/32 dev eth0",
            "route add unreachable default",  # what leads out of the site fails at once, and is not waited for
        ),
    )


class Site:
    """`Site.open(state, runtime)` in a `with` statement; at its end all machines are killed and everything is removed.

    `state` holds machines' layers and logs, `runtime` is where tmpfs for their secrets are mounted; many sites, and
    machines on the host's network, share both. `metadata` answers the machines, by address.
    """

    def __init__(self, state: Path, runtime: Path, owned: owner.Owned) -> None:
        self.name = owned.directory.name
        self.metadata = MetadataService(time.monotonic)
        self._state, self._runtime, self._owned = state, runtime, owned
        self._lock = threading.Lock()
        self._machines: list[Machine] = []
        self._starting: set[str] = set()
        self._started = 0
        self._timers: dict[str, threading.Timer] = {}
        self._server: imds.MetadataServer | None = None

    @classmethod
    def open(cls, state: Path, runtime: Path, *, prefix: str = "bb") -> Site:
        """Makes the site. `prefix` begins the names of its namespace. Raises RegionError, with nothing left behind."""
        owned = owner.claim(state.absolute() / "sites", prefix, lambda name: owner.Record(netns=name))
        site = cls(state, runtime, owned)
        try:
            netns.add(site.name)
            netns.configure(site.name, bridge_commands())
            site._server = imds.MetadataServer(site.metadata, site.name)
        except BaseException:
            site.close()
            raise
        return site

    def start(self, spec: MachineSpec) -> Machine:
        """Starts a machine on this site; many may start at once, from several threads. Raises RegionError."""
        link = self._allocate()
        try:
            self.metadata.forget(link.address)
            self.metadata.set(link.address, spec.metadata)
            self.metadata.set_faults(link.address, spec.faults)
            if spec.faults.refused:
                link = Wiring(link.site, link.address, link.in_site, (*link.in_machine, _REFUSE))
            machine = start_machine(spec, self._state, self._runtime, link)
            with self._lock:
                self._machines.append(machine)
                self._accept_after(machine, spec.faults.refused)
            return machine
        finally:
            with self._lock:
                self._starting.discard(link.address)

    def set_faults(self, machine: Machine, faults: Faults) -> None:
        """Replaces what is wrong with a running machine's metadata service; its time begins now. Raises RegionError.

        `Faults()` lifts everything.
        """
        self.metadata.set_faults(machine.address, faults)
        with self._lock:
            netns.configure(machine.name, [_REFUSE if faults.refused else _ACCEPT])
            self._accept_after(machine, faults.refused)

    def close(self) -> None:
        """Kills the machines, removes their directories, and then the network. Twice is no error."""
        with contextlib.ExitStack() as last_first:  # each is done even where another fails
            last_first.callback(self._owned.remove)
            last_first.callback(netns.delete, self.name)
            if self._server is not None:
                last_first.callback(self._server.close)
            for machine in self._machines:
                last_first.callback(machine.discard)
            for timer in self._timers.values():
                last_first.callback(timer.cancel)

    def __enter__(self) -> Site:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _allocate(self) -> Wiring:
        with self._lock:
            used = {machine.address for machine in self._machines if machine.held} | self._starting
            span = _LAST - _FIRST + 1
            for offset in range(span):
                link = wiring(self.name, _FIRST + (self._started + offset) % span, self._started)
                if link.address not in used:
                    self._started += 1
                    self._starting.add(link.address)
                    return link
        raise RegionError(f"all {span} addresses are in use", where=self.name)

    def _accept_after(self, machine: Machine, seconds: float) -> None:
        """Ends a refusal then, and no longer when an earlier plan would have. The lock is held."""
        if earlier := self._timers.pop(machine.name, None):
            earlier.cancel()
        if not 0 < seconds < threading.TIMEOUT_MAX:
            return

        def accept() -> None:
            with self._lock, contextlib.suppress(RegionError):  # the machine ended, and its namespace with it
                if self._timers.get(machine.name) is threading.current_thread():
                    netns.configure(machine.name, [_ACCEPT])

        timer = self._timers[machine.name] = threading.Timer(seconds, accept)
        timer.daemon = True
        timer.start()
