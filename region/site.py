"""A site: one network namespace with one bridge, the machines on it, and their metadata service.

Nothing in it reaches this host's network and nothing of it is reached from there, except through `region.forward`. So
any number of sites stand side by side with the same addresses.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from region import imds, netns, owner, wiring
from region.errors import RegionError
from region.faults import Faults
from region.machine import Machine, MachineSpec, start_machine
from region.metadata import InstanceMetadata, MetadataService
from region.wiring import Wiring

_FIRST, _LAST = 10, 250
# While a machine has the address itself, on its loopback where nobody listens, connections to it are refused.
_REFUSE = f"addr replace {imds.ADDRESS}/32 dev lo"
_ACCEPT = f"addr flush dev lo to {imds.ADDRESS}/32"  # no error where it is not refused


class Site:
    """`Site.open(state, runtime)` in a `with` statement; at its end all machines are killed and everything is removed.

    `state` holds machines' layers and logs, `runtime` is where tmpfs for their secrets are mounted; many sites, and
    machines on the host's network, share both. `metadata` answers the machines, by address.

    A region's site has `subnets` (CIDR blocks, beside its own 10.77.0.0/24), and shares addresses with this host:
    `shared` is their first three numbers, as `127.77.3`.
    """

    def __init__(self, state: Path, runtime: Path, owned: owner.Owned) -> None:
        self.name = owned.directory.name
        self.metadata = MetadataService(time.monotonic)
        self.subnets: tuple[str, ...] = ()
        self.shared = ""
        self._state, self._runtime, self._owned = state, runtime, owned
        self._lock = threading.Lock()
        self._machines: list[Machine] = []
        self._starting: set[str] = set()
        self._started = 0
        self._ports: dict[str, str] = {}  # of each address that a machine had, the latest
        self._timers: dict[str, threading.Timer] = {}
        self._server: imds.MetadataServer | None = None

    @classmethod
    def open(
        cls, state: Path, runtime: Path, *, prefix: str = "bb", subnets: Sequence[str] = (), shared: str | None = None
    ) -> Site:
        """Makes the site. `prefix` begins the names of its namespace. Raises RegionError, with nothing left behind."""
        owned = owner.claim(state.absolute() / "sites", prefix, lambda name: owner.Record(netns=name))
        site = cls(state, runtime, owned)
        try:
            netns.add(site.name)
            netns.configure(site.name, wiring.bridge_commands())
            for subnet in subnets:
                site.add_subnet(subnet)
            if shared:
                site.share(shared)
            site._server = imds.MetadataServer(site.metadata, site.name)
        except BaseException:
            site.close()
            raise
        return site

    def share(self, shared: str) -> None:
        """Makes `127.77.N.0/24` (`shared` is its first three numbers) reachable from the machines started from now on.

        In the site they are on its own loopback, where whoever serves them listens.
        """
        netns.set_kernel(self.name, wiring.LOOPBACK_ROUTES)
        netns.configure(self.name, wiring.shared_in_site())
        self.shared = shared

    def add_subnet(self, subnet: str) -> None:
        """Adds a network (a CIDR block) to the site and to the machines that run. One that is there is no error."""
        with self._lock:
            if subnet in self.subnets:
                return
            netns.configure(self.name, [wiring.subnet_in_site(subnet)])
            self.subnets = (*self.subnets, subnet)
            for machine in self._machines:
                self._reach(machine, [subnet])

    def start(self, spec: MachineSpec, address: str | None = None) -> Machine:
        """Starts a machine on this site; many may start at once, from several threads. Raises RegionError.

        Without `address` it gets a free one of 10.77.0.0/24. One that is in no network of the site brings the private
        block that it is of. An address is free again as soon as its machine has been stopped or killed.
        """
        if self.shared:
            spec = replace(spec, nameserver=spec.nameserver or wiring.RESOLVER)
        if address is not None and not wiring.known(address, self.subnets) and (block := wiring.block_of(address)):
            self.add_subnet(block)
        link, subnets = self._allocate(address)
        try:
            self.metadata.forget(link.address)
            self.metadata.set(link.address, spec.metadata)
            self.metadata.set_faults(link.address, spec.faults)
            if spec.faults.refused:
                link = replace(link, in_machine=(*link.in_machine, _REFUSE))
            machine = start_machine(spec, self._state, self._runtime, link)
            with self._lock:
                self._machines = [one for one in self._machines if one.directory.exists()] + [machine]
                self._accept_after(machine, spec.faults.refused)
                self._reach(machine, [subnet for subnet in self.subnets if subnet not in subnets])
            return machine
        finally:
            with self._lock:
                self._starting.discard(link.address)

    def tell(self, address: str, metadata: InstanceMetadata | None) -> None:
        """From now on the machine at this address is told this; None: its metadata service is turned off."""
        self.metadata.set(address, metadata)

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

    def _allocate(self, wanted: str | None) -> tuple[Wiring, tuple[str, ...]]:
        """The wiring of the next machine, whose address is taken from now on; and the networks that it knows of."""
        with self._lock:
            used = {machine.address for machine in self._machines if machine.held} | self._starting
            address = self._free(used) if wanted is None else wanted
            if address in used:
                raise RegionError(f"{address} is in use by a machine", where=self.name)
            port = f"v{self._started}"
            try:
                link = wiring.wiring(self.name, address, port, self.subnets, self.shared)
            except ValueError as error:
                raise RegionError(str(error), where=self.name) from None
            if earlier := self._ports.pop(address, None):
                # The kernel removes the interfaces of a namespace that has gone when it finds the time: until then
                # they would answer for the address.
                with contextlib.suppress(RegionError):
                    netns.configure(self.name, [f"link del {earlier}"])
            self._ports[address] = port
            self._started += 1
            self._starting.add(address)
            return link, self.subnets

    def _free(self, used: set[str]) -> str:
        """An address of 10.77.0.0/24, each in turn, so that one that was given back rests for a while."""
        span = _LAST - _FIRST + 1
        for offset in range(span):
            address = f"10.77.0.{_FIRST + (self._started + offset) % span}"
            if address not in used:
                return address
        raise RegionError(f"all {span} addresses are in use", where=self.name)

    def _reach(self, machine: Machine, subnets: Sequence[str]) -> None:
        """Tells a machine of networks that came after it. The lock is held."""
        if subnets and machine.held:
            with contextlib.suppress(RegionError):  # it ended, and its namespace with it
                netns.configure(machine.name, [wiring.subnet_in_machine(subnet) for subnet in subnets])

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
