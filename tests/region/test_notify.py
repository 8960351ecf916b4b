"""The socket on which nspawn tells what becomes of a machine."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from region.notify import Notify

pytestmark = [pytest.mark.subprocess, pytest.mark.network]


@contextmanager
def a_process() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def tell(notify: Notify, *messages: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(2)
        for message in messages:
            sender.sendto(message, "\0" + notify.address[1:])


def test_leader_and_ready_are_heard() -> None:
    notify = Notify("test")
    with a_process() as process:
        tell(notify, b"X_NSPAWN_LEADER_PID=4711\nSTATUS=Container running.", b"READY=1")
        assert notify.wait_leader(process, 2) == 4711
        assert notify.wait_ready(process, 2)
    notify.close()


def test_a_machine_that_talks_on_is_never_blocked() -> None:
    notify = Notify("test")
    tell(notify, *(b"STATUS=line %d" % number for number in range(2000)))
    notify.close()


def test_a_process_that_ends_without_a_word_ends_the_wait() -> None:
    notify = Notify("test")
    with a_process() as process:
        process.kill()
        assert notify.wait_leader(process, 5) == 0
        assert not notify.wait_ready(process, 5)
    notify.close()


def test_closing_twice_is_no_error() -> None:
    notify = Notify("test")
    notify.close()
    notify.close()
