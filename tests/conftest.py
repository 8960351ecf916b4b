"""What holds for every test: the doors to the outside are shut unless a mark opens them.

A unit test that starts a process, opens a socket or sleeps is an error, so that the unit tests stay fast and a decision
stays apart from its door. Marks: ``subprocess``, ``network`` (loopback only), ``sleep``; ``system`` opens all.

The watch is an audit hook (PEP 578), which code under test can't get around or notice. A hook can't be taken out
again, so there is one for the session, and it asks which doors are shut now.
"""

from __future__ import annotations

import ipaddress
import sys
import time
from collections.abc import Iterator
from typing import SupportsIndex

import pytest

STARTS_PROCESSES = frozenset({"subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn"})
LONGEST_NAP = 0.05  # seconds: a loop that waits for a thread may nap, a test may not wait for time to pass


class ClosedDoor(BaseException):
    """Not an Exception, so that no ``except Exception`` of the code under test swallows it."""


class Doors:
    """Which doors are open, and what knocked on a closed one."""

    def __init__(self) -> None:
        self.shut = False
        self.open: frozenset[str] = frozenset()
        self.knocks: list[str] = []

    def audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.shut:
            return
        door = door_of(event, arguments)
        if door is not None and door not in self.open:
            knock = f"{event} {arguments[:2]!r:.200}"
            self.knocks.append(knock)
            raise ClosedDoor(f"{knock}: mark the test with @pytest.mark.{door}, or hand the code a fake")


def door_of(event: str, arguments: tuple[object, ...]) -> str | None:
    """The door that an audit event goes through; None for those that lead nowhere."""
    if event in STARTS_PROCESSES:
        return "subprocess"
    if event == "time.sleep":
        (seconds,) = arguments
        return "sleep" if isinstance(seconds, int | float) and seconds > LONGEST_NAP else None
    if event in ("socket.connect", "socket.bind", "socket.sendto"):
        address = arguments[1]
        if not isinstance(address, tuple):
            return None  # AF_UNIX: a file
        return "network" if is_loopback(str(address[0])) else "the world (never)"
    if event == "socket.getaddrinfo":
        return "network" if is_loopback(str(arguments[0] or "")) else "the world (never)"
    return None


def is_loopback(host: str) -> bool:
    """Whether a name or address is this machine; all its addresses (``""``, ``0.0.0.0``) are not."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


DOORS = pytest.StashKey[Doors]()


def pytest_configure(config: pytest.Config) -> None:
    doors = Doors()
    config.stash[DOORS] = doors
    sys.addaudithook(doors.audit)
    if sys.version_info < (3, 13):
        _audit_sleep(config)


def _audit_sleep(config: pytest.Config) -> None:
    """Let time.sleep tell the audit hook, as it does by itself from Python 3.13.

    Done before the code under test is imported, so that its defaults (``sleep=time.sleep``) tell too.
    """
    sleep = time.sleep

    def told(seconds: float | SupportsIndex, /) -> None:
        sys.audit("time.sleep", seconds)
        sleep(seconds)

    time.sleep = told
    config.add_cleanup(lambda: setattr(time, "sleep", sleep))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Cheap tests first: what fails in a second should not be told after minutes."""
    for item in items:
        if "system" in item.path.relative_to(item.config.rootpath).parts:
            item.add_marker(pytest.mark.system)
    items.sort(key=lambda item: item.get_closest_marker("system") is not None)


@pytest.fixture(autouse=True)
def _closed_doors(request: pytest.FixtureRequest) -> Iterator[None]:
    node = request.node
    if node.get_closest_marker("system") or node.get_closest_marker("house"):
        yield
        return
    doors = request.config.stash[DOORS]
    doors.open = frozenset(name for name in ("subprocess", "network", "sleep") if node.get_closest_marker(name))
    doors.knocks = []
    doors.shut = True
    try:
        yield
    finally:
        doors.shut = False
    # A knock in a thread, or one that was caught, has not failed the test yet.
    assert not doors.knocks, f"a closed door was knocked on: {doors.knocks}"
