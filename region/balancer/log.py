"""Reads the log of HAProxy's processes from a pipe that they inherit, on a thread of its own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Sequence

_SIZE = 1 << 20  # bytes of the pipe: some seconds of lines, should this process be busy


class LogReader:
    """`take` gets whole lines, many at once, until `close`. `descriptor` is the end that HAProxy writes to."""

    def __init__(self, take: Callable[[Sequence[str]], None]) -> None:
        self._reading, self.descriptor = os.pipe2(os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # a host that allows no such size: lines may be lost under load
            fcntl.fcntl(self.descriptor, fcntl.F_SETPIPE_SZ, _SIZE)
        self._take = take
        self._thread = threading.Thread(target=self._read, name="balancer-log", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        rest = b""
        while data := os.read(self._reading, 1 << 16):
            *lines, rest = (rest + data).split(b"\n")
            self._take([line.decode("utf-8", "replace") for line in lines])
        os.close(self._reading)

    def close(self) -> None:
        """To be called when no process of HAProxy is left; returns when all that they wrote is taken."""
        os.close(self.descriptor)
        self._thread.join()
