"""What the services of one region share: its lock, clock and settings, what it stands on, and who looks at it when.

The API is moto's, which is not made for threads: every API call runs under `World.lock`, and so does every look that a
controller takes. What takes time (a machine that starts, a copy of its files) runs on a thread of `World.background`,
without the lock.

Controllers are level-triggered, as those of AWS are: each looks at what is and does one step towards what should be. So
nobody needs to hear of an event; `World.wake` only makes the next look come at once.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from region.faults import Faults
from region.machine import Machine
from region.metadata import InstanceMetadata
from region.nspawn import MachineSpec


@dataclass(frozen=True)
class Settings:
    """What a region is set to. Times in seconds.

    `tags_delay`: how much later than its launch the tags of an instance that a group launched are in its metadata.
    `launch_delay`: how long an instance is pending at least. `ttl_delay`: how much later than it expires an item of
    DynamoDB is deleted (AWS: "within a few days"). `tick`: between two looks of a controller.
    """

    account: str = "123456789012"
    aws_region: str = "us-east-1"
    tags_delay: float = 0.0
    launch_delay: float = 0.0
    ttl_delay: float = 600.0
    tick: float = 0.1


@dataclass(frozen=True)
class LocalImage:
    """An image of this host, which the region shows as an AMI of the account's own.

    `layers` the lowest first; `created` is RFC 3339, UTC; `tags` are those that a bake writes outside the image.
    """

    image_id: str
    name: str
    layers: tuple[Path, ...]
    created: str
    tags: Mapping[str, str] = field(default_factory=dict)
    description: str = ""


class Catalog(Protocol):
    """Where local images come from: the front door hands it over, since this package knows nothing of a home."""

    def images(self) -> Sequence[LocalImage]:
        """All that there are now."""

    def hold(self) -> AbstractContextManager[None]:
        """While it is held no image is removed. Whoever starts a machine holds it until the machine runs."""


class NoImages:
    """A catalog without an image."""

    def images(self) -> Sequence[LocalImage]:
        return ()

    def hold(self) -> AbstractContextManager[None]:
        return nullcontext()


class Machines(Protocol):
    """What starts machines and tells them their metadata: a site, or a fake that its tests hold to the same."""

    def start(self, spec: MachineSpec, address: str) -> Machine:
        """Starts a machine that has this address. Raises RegionError."""

    def tell(self, address: str, metadata: InstanceMetadata | None) -> None:
        """From now on the machine at this address is told this."""

    def set_faults(self, machine: Machine, faults: Faults) -> None:
        """What is wrong with a running machine's metadata service from now on. Raises RegionError."""


class Network(Protocol):
    """The addresses of a region that are the same on this host and in its machines (127.77.N.0/24)."""

    site: str
    """The network namespace of the machines; load balancers connect from there."""
    endpoint: str
    """The API's URL."""

    def allocate(self) -> str:
        """A free address. Raises RegionError when none is left."""

    def free(self, address: str) -> None:
        """Gives an address back. One that is not held is no error."""

    def expose(self, address: str, machine: Machine, allowed: Callable[[], Sequence[tuple[int, int]]]) -> None:
        """Makes the machine answer at a public address, on the TCP ports that it listens on and that are allowed.

        `allowed` gives ranges of ports, both ends included; it is asked again and again, under no lock.
        """

    def hide(self, address: str) -> None:
        """Ends `expose`, and the connections with it. An address that is not exposed is no error."""


class Controller(Protocol):
    """One that looks at what is and acts, again and again. An error is logged, and the next look comes all the same."""

    def tick(self, now: float) -> None:
        """Takes one look, under the world's lock; it must not wait for anything. `now` is the world's clock's."""


class World:
    """One region: what its services stand on. `directory` is its own on disk and survives `down`."""

    def __init__(
        self,
        name: str,
        directory: Path,
        machines: Machines,
        network: Network,
        *,
        catalog: Catalog | None = None,
        settings: Settings | None = None,
        clock: Callable[[], float] = time.time,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.name = name
        self.directory = directory
        self.machines = machines
        self.network = network
        self.catalog: Catalog = catalog or NoImages()
        self.settings = settings or Settings()
        self.clock = clock
        self.log = log
        self.lock = threading.RLock()
        self._controllers: list[Controller] = []
        self._woken = threading.Event()
        self._closing = threading.Event()
        self._looks: threading.Thread | None = None
        self._threads: set[threading.Thread] = set()

    @property
    def closing(self) -> threading.Event:
        """Set when the region goes down: what waits on a thread should wait on this too."""
        return self._closing

    def add(self, controller: Controller) -> None:
        self._controllers.append(controller)

    def wake(self) -> None:
        """Something changed: the controllers look at once."""
        self._woken.set()

    def tick(self) -> None:
        """One look of every controller. An error of one is logged with its traceback, and keeps no other from its."""
        for controller in self._controllers:
            with self.lock:
                try:
                    controller.tick(self.clock())
                except Exception:
                    self.log(f"{type(controller).__name__} failed to look:\n{traceback.format_exc()}")

    def background(self, work: Callable[[], None], name: str) -> None:
        """Runs `work` on a thread of its own, without the lock. An error is logged; then the controllers look."""

        def run() -> None:
            try:
                work()
            except Exception:
                self.log(f"{name} failed:\n{traceback.format_exc()}")
            finally:
                with self.lock:
                    self._threads.discard(threading.current_thread())
                self.wake()

        thread = threading.Thread(target=run, name=name, daemon=True)
        with self.lock:
            self._threads.add(thread)
        thread.start()

    def settle(self, timeout: float = 10.0) -> None:
        """Returns when no background work is left; for tests, which then `tick`. Raises TimeoutError."""
        deadline = time.monotonic() + timeout
        while threads := [thread for thread in list(self._threads) if thread is not threading.current_thread()]:
            threads[0].join(max(0.0, deadline - time.monotonic()))
            if time.monotonic() > deadline:
                raise TimeoutError(", ".join(thread.name for thread in threads))

    def start(self) -> None:
        """The controllers look from now on, by themselves."""

        def look() -> None:
            while not self._closing.is_set():
                self._woken.wait(self.settings.tick)
                self._woken.clear()
                self.tick()

        self._looks = threading.Thread(target=look, name="controllers", daemon=True)
        self._looks.start()

    def close(self) -> None:
        """No look is taken any more, and background work has ended or was told to."""
        self._closing.set()
        self._woken.set()
        if self._looks is not None:
            self._looks.join()
        self.settle(timeout=60.0)
