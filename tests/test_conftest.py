"""A unit test can't reach the outside unless it is marked."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable

import pytest

from tests.conftest import DOORS, ClosedDoor, Doors, door_of


@pytest.fixture
def doors(request: pytest.FixtureRequest) -> Doors:
    return request.config.stash[DOORS]


def connect() -> None:
    with socket.socket() as client:
        client.connect(("127.0.0.1", 9))


@pytest.mark.parametrize(
    "knock",
    [
        lambda: subprocess.run(["true"], check=True),
        lambda: os.system("true"),
        lambda: time.sleep(1),
        lambda: socket.getaddrinfo("localhost", 80),
        connect,
    ],
    ids=["subprocess", "system", "sleep", "getaddrinfo", "connect"],
)
def test_knocking_on_a_closed_door_fails_even_where_exceptions_are_swallowed(
    knock: Callable[[], object], doors: Doors
) -> None:
    with pytest.raises(ClosedDoor), contextlib.suppress(Exception):
        knock()
    assert len(doors.knocks) == 1
    doors.knocks.clear()


def test_a_knock_in_a_thread_is_not_forgotten(doors: Doors) -> None:
    def knock() -> None:
        try:
            time.sleep(1)
        except ClosedDoor:
            return

    thread = threading.Thread(target=knock)
    thread.start()
    thread.join()
    assert doors.knocks
    doors.knocks.clear()


def test_a_short_nap_is_allowed() -> None:
    time.sleep(0.001)


@pytest.mark.subprocess
def test_the_mark_opens_its_door() -> None:
    subprocess.run(["true"], check=True)


@pytest.mark.network
@pytest.mark.parametrize(
    ("event", "arguments", "door"),
    [
        ("socket.connect", (None, ("127.0.0.1", 80)), "network"),
        ("socket.bind", (None, ("::1", 80, 0, 0)), "network"),
        ("socket.connect", (None, "/run/a.sock"), None),
        ("socket.connect", (None, ("192.0.2.1", 80)), "the world (never)"),
        ("socket.bind", (None, ("0.0.0.0", 80)), "the world (never)"),
        ("socket.getaddrinfo", ("example.org", 80, 0, 0, 0), "the world (never)"),
        ("open", ("/etc/passwd", "r", 0), None),
    ],
)
def test_network_means_loopback(event: str, arguments: tuple[object, ...], door: str | None) -> None:
    assert door_of(event, arguments) == door
