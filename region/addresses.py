"""The addresses that a region shares with this host: 127.77.N.0/24, with N claimed by one region at a time.

They are loopback addresses on both sides, so nothing of them ever leaves this machine, and no interface of the host is
touched. `.1` is the API's, `.2` the resolver's, and `.10` to `.254` are for load balancers and instances.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

from region import listening, netns, wiring
from region.errors import RegionError
from region.exposure import Exposures
from region.machine import Machine
from region.names import Zone
from region.resolver import Resolver
from region.site import Site

PORT = 4566
"""The API's: that of the AWS emulators before us, which clients know."""
_NUMBERS = range(1, 255)
_FIRST, _LAST = 10, 254


class Addresses:
    """A region's, from `open` to `close`. `shared` is their first three numbers, as `127.77.3`."""

    def __init__(self, site: Site, shared: str, api: Sequence[socket.socket]) -> None:
        self.site = site.name
        self.shared = shared
        self.endpoint = f"http://{shared}.1:{PORT}"
        self._api = list(api)
        self._site = site
        self._exposures = Exposures(site)
        self._lock = threading.Lock()
        self._held: set[str] = set()
        self._given = 0

    @classmethod
    def open(cls, site: Site, *, prefer: int | None = None, taken: Sequence[int] = ()) -> Addresses:
        """Claims the first N that is free from `prefer` on, and makes its addresses known to the site.

        `taken` are those that other regions hold though they are not heard of. Raises RegionError when none is free.
        """
        inside: socket.socket | None = None
        claimed, host = _claim(prefer, taken)
        try:
            site.share(claimed)
            inside = netns.listen(site.name, f"{claimed}.1", PORT)
            return cls(site, claimed, [host, inside])
        except BaseException:
            for listener in filter(None, (host, inside)):
                listener.close()
            raise

    @property
    def number(self) -> int:
        return int(self.shared.rpartition(".")[2])

    def api_sockets(self) -> list[socket.socket]:
        """The API's listening sockets: this host's first, then the site's own. They are closed by `close`."""
        return list(self._api)

    def resolver(self, zones: Callable[[], Sequence[Zone]], say: Callable[[str], None]) -> Resolver:
        """Answers names in the site, and on this host at `.2` where that is not taken; the caller closes it."""
        here = f"{self.shared}.2"
        places = [(self.site, wiring.RESOLVER), (self.site, here)]
        return Resolver(zones, places, wishes=[(None, here)], say=say, networks=lambda: self._site.subnets)

    def allocate(self) -> str:
        """A free address; one that was given back rests for as long as there are others. RegionError if none is."""
        with self._lock:
            span = _LAST - _FIRST + 1
            for offset in range(span):
                address = f"{self.shared}.{_FIRST + (self._given + offset) % span}"
                if address not in self._held:
                    self._held.add(address)
                    self._given += offset + 1
                    return address
        raise RegionError(f"all {span} public addresses are in use", where=self.shared)

    def free(self, address: str) -> None:
        """Gives an address back. One that is not held is no error."""
        self.hide(address)
        with self._lock:
            self._held.discard(address)

    def expose(self, address: str, machine: Machine, allowed: Callable[[], Sequence[tuple[int, int]]]) -> None:
        """As `region.aws.world.Network` says. Raises RegionError when the machine is not running."""
        self._exposures.expose(address, machine, allowed)

    def hide(self, address: str) -> None:
        self._exposures.hide(address)

    def close(self) -> None:
        """Ends everything; the addresses are another's to claim. Twice is no error."""
        self._exposures.close()
        for listener in self._api:
            listener.close()

    def __enter__(self) -> Addresses:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def candidates(prefer: int | None, taken: Sequence[int], busy: set[str]) -> Iterator[str]:
    """The first three numbers of the blocks to try, in order; `busy` are addresses of this host that are listened on.

    What a region that was killed has left (its load balancer) may still listen: its block is passed over.
    """
    start = _NUMBERS.index(prefer) if prefer is not None and prefer in _NUMBERS else 0
    numbers = [*_NUMBERS[start:], *_NUMBERS[:start]]
    in_use = {address.rpartition(".")[0] for address in busy}
    return (f"127.77.{number}" for number in numbers if number not in taken and f"127.77.{number}" not in in_use)


def _claim(prefer: int | None, taken: Sequence[int]) -> tuple[str, socket.socket]:
    """Binding is the claim: there is no moment between looking and taking, and it ends with this process."""
    busy = {address for address, _ in listening.of_table(Path("/proc/net/tcp").read_text())}
    for shared in candidates(prefer, taken, busy):
        with contextlib.suppress(OSError):
            return shared, netns.listen(None, f"{shared}.1", PORT)
    raise RegionError(
        f"port {PORT} is taken on every address 127.77.N.1", where="this host", hint=f"ss -ltnp 'sport = :{PORT}'"
    )
