"""The socket on which nspawn tells what becomes of a machine (sd_notify(3)): first its leader, then that it is up.

It costs nothing while it waits and is exact, where asking `systemctl is-active` every few milliseconds would take CPU
from the very boot that it waits for.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import socket
import subprocess
import threading
import time
from collections.abc import Callable

_LOOK_EVERY = 0.1
"""Seconds between two looks at whether nspawn itself has ended; what it tells is heard at once."""


class Notify:
    """`address` goes into NOTIFY_SOCKET. An abstract name: paths of sockets end at 107 bytes, a state's need not.

    A thread reads for as long as the machine lives: nspawn passes on every status line of its PID 1 and blocks, a
    power-off with it, when about ten of them lie unread (unix(7), net.unix.max_dgram_qlen).
    """

    def __init__(self, name: str) -> None:
        token = f"bakeboot-{name}-{secrets.token_hex(8)}"
        self.address = f"@{token}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{token}")
        self._leader = 0
        self._ready = False
        self._told = threading.Condition()
        self._reader = threading.Thread(target=self._read, name=f"notify-{name}", daemon=True)
        self._reader.start()

    def wait_leader(self, process: subprocess.Popen[bytes], timeout: float) -> int:
        """The process id of the machine's PID 1; 0 when `process` ended or `timeout` seconds passed without it."""
        self._wait(process, timeout, lambda: bool(self._leader))
        return self._leader

    def wait_ready(self, process: subprocess.Popen[bytes], timeout: float) -> bool:
        """Whether the machine's PID 1 said within `timeout` seconds that its boot is done."""
        self._wait(process, timeout, lambda: self._ready)
        return self._ready

    @property
    def ready(self) -> bool:
        """Whether the machine's PID 1 has said that its boot is done."""
        return self._ready

    def close(self) -> None:
        """Twice is no error."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)  # wakes the reader
        self._reader.join()
        self._socket.close()

    def _wait(self, process: subprocess.Popen[bytes], timeout: float, told: Callable[[], bool]) -> None:
        deadline = time.monotonic() + timeout
        with self._told:
            while not told() and process.poll() is None and time.monotonic() < deadline:
                self._told.wait(min(_LOOK_EVERY, max(0.0, deadline - time.monotonic())))

    def _read(self) -> None:
        while message := self._socket.recv(4096):
            with self._told:
                for line in message.decode("utf-8", errors="replace").splitlines():
                    key, _, value = line.partition("=")
                    if key == "X_NSPAWN_LEADER_PID":
                        self._leader = int(value)
                    elif line == "READY=1":
                        self._ready = True
                self._told.notify_all()


def wait_end(process: subprocess.Popen[bytes], timeout: float) -> bool:
    """Whether `process` ended, after `timeout` seconds at most."""
    if process.poll() is not None:
        return True
    poller = select.poll()
    descriptor = os.pidfd_open(process.pid)
    try:
        poller.register(descriptor, select.POLLIN)
        return bool(poller.poll(timeout * 1000))
    finally:
        os.close(descriptor)
