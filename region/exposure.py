"""An instance's public address: on this host a forwarder for each port that is open, inside the site a route.

Which ports are open is looked at again and again: those that the machine listens on, and that the caller allows.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from region import listening, netns, wiring
from region.announce import announce
from region.errors import RegionError
from region.forward import Forward
from region.machine import Machine
from region.site import Site

LOOK = 0.3
"""Seconds between two looks at what machines listen on."""

Ranges = Sequence[tuple[int, int]]


def wanted(listened: set[int], allowed: Ranges) -> set[int]:
    """The ports to open: both ends of a range are included."""
    return {port for port in listened if any(first <= port <= last for first, last in allowed)}


@dataclass
class _Exposed:
    machine: Machine
    allowed: Callable[[], Ranges]
    forwards: dict[int, Forward] = field(default_factory=dict)
    retired: list[Forward] = field(default_factory=list)
    """Of ports that are closed now: their connections go on, as those of a security group whose rule was removed do."""


class Exposures:
    """All public addresses of a site's machines; one thread looks, for as long as there is one to look at."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._lock = threading.Lock()
        self._exposed: dict[str, _Exposed] = {}
        self._changed = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def expose(self, address: str, machine: Machine, allowed: Callable[[], Ranges]) -> None:
        """From now on. An address that another machine had is taken from it. Raises RegionError."""
        self.hide(address)
        netns.configure(self._site.name, wiring.publish_in_site(address, machine.address, self._site.subnets))
        try:
            netns.configure(machine.name, wiring.publish_in_machine(address))
        except RegionError:  # it ended meanwhile
            netns.configure(self._site.name, wiring.withdraw_in_site(address))
            raise
        _tell(machine.name, "eth0", machine.address, address)
        with self._lock:
            self._exposed[address] = _Exposed(machine, allowed)
            if self._thread is None:
                self._thread = threading.Thread(target=self._looks, name="exposure", daemon=True)
                self._thread.start()
        self._changed.set()

    def hide(self, address: str) -> None:
        """Ends it, with its connections from this host. An address that is not exposed is no error."""
        with self._lock:
            exposed = self._exposed.pop(address, None)
        if exposed is None:
            return
        for name, commands in (
            (self._site.name, wiring.withdraw_in_site(address)),
            (exposed.machine.name, wiring.withdraw_in_machine(address)),
        ):
            with contextlib.suppress(RegionError):  # it ended, and its namespace with it
                netns.configure(name, commands)
        # The site has it again, where nobody listens: so it is refused, and not waited for.
        _tell(self._site.name, "br0", wiring.GATEWAY, address)
        for forward in (*exposed.forwards.values(), *exposed.retired):
            forward.close()

    def close(self) -> None:
        """Hides all. Twice is no error."""
        self._closing.set()
        self._changed.set()
        if self._thread is not None:
            self._thread.join()
        for address in list(self._exposed):
            self.hide(address)

    def _looks(self) -> None:
        while not self._closing.is_set():
            with self._lock:
                exposed = list(self._exposed.items())
            for address, one in exposed:
                self._look(address, one)
            # With nobody exposed it sleeps until somebody is.
            self._changed.wait(LOOK if exposed else None)
            self._changed.clear()

    def _look(self, address: str, one: _Exposed) -> None:
        try:
            listened = listening.reachable(netns.inside(one.machine.name, listening.here))
        except OSError:  # the machine ended
            listened = set()
        ports = wanted(listened, one.allowed())
        with self._lock:
            if self._exposed.get(address) is not one:
                return
            one.retired += [one.forwards.pop(port) for port in set(one.forwards) - ports]
            for forward in one.retired:
                forward.retire()
            one.retired = [forward for forward in one.retired if not forward.idle]
            new = ports - set(one.forwards)
        for port in new:
            self._open(address, port, one)

    def _open(self, address: str, port: int, one: _Exposed) -> None:
        try:
            forward = Forward((None, address, port), (self._site.name, one.machine.address, port))
        except OSError:  # somebody else of this host listens there: the next look may find it free
            return
        with self._lock:
            if self._exposed.get(address) is one:
                one.forwards[port] = forward
                return
        forward.close()


def _tell(namespace: str, interface: str, holder: str, address: str) -> None:
    """Tells the machines of a site who has the address now: the one whose own is `holder`."""
    with contextlib.suppress(OSError):  # it ended meanwhile
        netns.inside(namespace, lambda: announce(interface, wiring.hardware_address(holder), address))
