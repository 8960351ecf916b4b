"""A region's log: a line an event with its time, for root alone, and never larger than two files of a fixed size."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from pathlib import Path

_MEETING = 500  # characters at the end of what was read, by which it is found again in what is there later


class RegionLog:
    """Call it with what happened. At `limit` bytes the file becomes `<name>.1`, whose former content goes."""

    def __init__(self, path: Path, clock: Callable[[], float], *, limit: int = 8 << 20) -> None:
        self.path = path
        self._clock = clock
        self._limit = limit
        self._lock = threading.Lock()

    def __call__(self, text: str) -> None:
        """Further lines of one event (a traceback) are indented, so that each line that is not begins an event."""
        now = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = f"{now} {text.rstrip()}".replace("\n", "\n  ") + "\n"
        # A disk that is full ends the log, and not what it is of.
        with self._lock, contextlib.suppress(OSError):
            if self.path.exists() and self.path.stat().st_size + len(line) > self._limit:
                self.path.replace(self.path.with_name(f"{self.path.name}.1"))
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(line)


def last_lines(path: Path, count: int) -> list[str]:
    """The last `count` lines of a log, also where they begin in the file before; none where there is no log."""
    lines: list[str] = []
    for file in (path, path.with_name(f"{path.name}.1")):
        if len(lines) < count and file.exists():
            lines = file.read_text(errors="replace").splitlines()[len(lines) - count :] + lines
    return lines


def news(before: str, now: str) -> str:
    """What `now` has beyond `before`, where both are the end of a text that grows; all of it where they don't meet."""
    if now.startswith(before):
        return now[len(before) :]
    meets = now.rfind(before[-_MEETING:])
    return now[meets + len(before[-_MEETING:]) :] if meets >= 0 else now


def follow(path: Path, *, sleep: Callable[[float], None] = time.sleep) -> Generator[str, None, None]:
    """Every line that is written from now on, also where the log begins anew; it never ends by itself."""
    file = path.open(errors="replace")
    file.seek(0, os.SEEK_END)
    rest = ""
    try:
        while True:
            if read := file.read():
                *lines, rest = (rest + read).split("\n")
                yield from lines
            elif path.exists() and path.stat().st_ino != os.fstat(file.fileno()).st_ino:
                file.close()
                file = path.open(errors="replace")
            else:
                sleep(0.2)
    finally:
        file.close()
