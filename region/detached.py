"""A region's process from outside: started so that it outlives whoever started it, and ended.

The process that is started tells by a pipe how far it is (`region.daemon`): JSON, a line each.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from region.errors import RegionError
from region.region_state import Place, Record

_UP, _DOWN = 60.0, 60.0  # seconds; both take a few


def start(place: Place, command: Sequence[str], say: Callable[[str], None]) -> tuple[Record, bool]:
    """Brings the region up by `command`, which gets the number of the pipe's end as its last argument.

    Returns what it is, and whether this call did it: it may be up already, or another may be at it. `say` is told each
    step. Raises RegionError with the region's own words when it did not come up.
    """
    deadline = time.monotonic() + _UP
    while time.monotonic() < deadline:
        if record := place.read():
            return record, False
        if place.is_alive():
            time.sleep(0.05)  # another brings it up, or it is going down
        elif _started(place, command, say, deadline):
            return place.up(), True
    raise RegionError(f"it is neither up nor down after {_UP:g} s", where=f"region {place.name}", hint=_logs(place))


def _started(place: Place, command: Sequence[str], say: Callable[[str], None], deadline: float) -> bool:
    """Starts the process and hears it out: True when it is ready, False when another has been first."""
    place.make()
    said = place.directory / "region.err"  # what a process says that dies before it has a log
    reader, writer = os.pipe()
    try:
        process = _spawn([*command, str(writer)], said, writer)
        os.close(writer)
        writer = -1
        try:
            last = _hear(reader, say, deadline)
        except BaseException:  # Ctrl-C, or too late: nothing of it stays
            os.kill(process, signal.SIGTERM)
            _reap(process)
            raise
    finally:
        for descriptor in (reader, writer):
            if descriptor >= 0:
                os.close(descriptor)
    if "ready" in last:
        return True
    code = _reap(process)
    if "held" in last:
        return False
    if "error" in last:
        where = last.get("where") or f"region {place.name}"
        raise RegionError(last["error"], where=where, hint=last.get("hint") or _logs(place))
    if "bug" not in last and code != 1:  # it was ended, or refused before it could say so
        what = (
            f"its process was ended by {signal.Signals(-code).name}" if code < 0 else said.read_text(errors="replace")
        )
        raise RegionError(what.strip() or f"its process ended with {code}", where=f"region {place.name}")
    raise RuntimeError(f"the region's process ended:\n{last.get('bug') or said.read_text(errors='replace')}")


def _reap(process: int) -> int:
    """Until a child that was told to end has ended; it is killed where that takes too long. Its exit code."""
    handle = os.pidfd_open(process)
    try:
        if not select.select([handle], [], [], _DOWN)[0]:
            os.kill(process, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    finally:
        os.close(handle)


def _spawn(command: Sequence[str], said: Path, writer: int) -> int:
    """The process in a session of its own, with nothing of ours but the pipe's end; its id."""
    os.set_inheritable(writer, True)
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(said), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(command[0], list(command), os.environ, file_actions=actions, setsid=True)


def _hear(reader: int, say: Callable[[str], None], deadline: float) -> dict[str, Any]:
    """The last line that the process tells: that it is ready, or why it is not. Empty where it died."""
    heard = b""
    while True:
        if not select.select([reader], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise RegionError(f"it did not come up in {_UP:g} s", where="region")
        read = os.read(reader, 65536)
        if not read:
            return {}
        *lines, heard = (heard + read).split(b"\n")
        for line in lines:
            told: dict[str, Any] = json.loads(line)
            if "step" not in told:
                return told
            say(told["step"])


def stop(place: Place) -> bool:
    """Takes the region down; False when it was not up. Raises RegionError when it does not end."""
    handle = _process(place)
    if handle is None:
        return False
    try:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        if not select.select([handle], [], [], _DOWN)[0]:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            what = f"did not go down in {_DOWN:g} s, and was killed; the next `up` sweeps what it left"
            raise RegionError(what, where=f"region {place.name}", hint=_logs(place))
        with contextlib.suppress(ChildProcessError):  # it is no child of this process, but for whom brought it up
            os.waitid(os.P_PIDFD, handle, os.WEXITED)
    finally:
        os.close(handle)
    return True


def _process(place: Place) -> int | None:
    """A handle of the region's process (pidfd_open(2)), once it is ready; None where there is none."""
    deadline = time.monotonic() + _UP
    while time.monotonic() < deadline:
        record = place.read()
        if record is None:
            if not place.is_alive():
                return None
            time.sleep(0.05)
            continue
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(record.pid)
            if place.is_alive():  # still: so the number has not become another's
                return handle
            os.close(handle)
    raise RegionError("is neither up nor down", where=f"region {place.name}", hint=_logs(place))


def teller(descriptor: int) -> Callable[[Any], None]:
    """How the process that is started tells: until whoever started it has gone."""
    os.set_inheritable(descriptor, False)

    def tell(told: Any) -> None:
        with contextlib.suppress(OSError):
            os.write(descriptor, json.dumps(told).encode() + b"\n")

    return tell


def _logs(place: Place) -> str:
    return f"bakeboot region logs{place.option}"
