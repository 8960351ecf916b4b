"""The door to shell lines that are the stack's own: ``release:`` and ``check``, run as a service's user.

The line goes to a shell whole; nothing is spliced into it. It runs in the service's environment and
directory, in a session of its own, so that what it started ends with it when its time is over.
"""

from __future__ import annotations

import os
import pwd
import select
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from agent.errors import UnitError
from agent.word import Word

KEPT_LINES = 20
LONGEST_LINE = 4096
TICK_SECONDS = 20.0
KILL_AFTER = 10.0
"""Seconds from SIGTERM to SIGKILL, when a line's time is over."""
GRACE = 1.0
"""Seconds from SIGKILL to the end of reading: what left the session and holds the output is not waited for."""


class Outcome(Word):
    """How a shell line ended. ``status`` is None when its time was over. ``lines`` are its last ones."""

    status: int | None
    lines: tuple[str, ...]


def run(
    line: str,
    *,
    user: str,
    directory: str,
    environment: dict[str, str],
    seconds: float,
    say: Callable[[str], None] = lambda text: None,
    tick: Callable[[], None] = lambda: None,
) -> Outcome:
    """Give ``line`` to bash as ``user`` in ``directory``; each line of its output also goes to ``say``.

    ``tick`` is called every TICK_SECONDS until it has ended.

    Raises UnitError when there is no such user or directory.
    """
    try:
        entry = pwd.getpwnam(user)
        _home(environment.get("HOME", ""), entry.pw_uid, entry.pw_gid)
        process = subprocess.Popen(
            ["/bin/bash", "-c", line],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env={"USER": user, "LOGNAME": user, "SHELL": "/bin/bash"} | environment,
            user=entry.pw_uid,
            group=entry.pw_gid,
            extra_groups=[],
            umask=0o027,
            start_new_session=True,
        )
    except (KeyError, OSError) as error:
        raise UnitError(f"can't run a command as {user} in {directory}: {error}") from error
    return _follow(process, seconds, say, tick)


def _home(path: str, uid: int, gid: int) -> None:
    """The service's own directory, which its unit would only make at its first start."""
    if path and not os.path.isdir(path):
        os.mkdir(path, 0o750)
        os.chown(path, uid, gid)


def _follow(
    process: subprocess.Popen[bytes], seconds: float, say: Callable[[str], None], tick: Callable[[], None]
) -> Outcome:
    """Read to the end of the output, which the timers bring about when the line doesn't, or until all time is over."""
    over, ended = threading.Event(), threading.Event()

    def tell() -> None:
        tick()
        while not ended.wait(TICK_SECONDS):
            tick()

    def end() -> None:
        over.set()
        _signal(process, signal.SIGTERM)

    timers: list[threading.Thread] = [
        threading.Thread(target=tell),
        threading.Timer(seconds, end),
        threading.Timer(seconds + KILL_AFTER, lambda: _signal(process, signal.SIGKILL)),
    ]
    for timer in timers:
        timer.daemon = True
        timer.start()
    last: deque[str] = deque(maxlen=KEPT_LINES)
    with process:
        assert process.stdout is not None
        for data in _lines(process.stdout.fileno(), time.monotonic() + seconds + KILL_AFTER + GRACE):
            text = data.decode(errors="replace").rstrip("\r\n")
            last.append(text)
            say(text)
        status = process.wait()
    ended.set()
    for timer in timers:
        if isinstance(timer, threading.Timer):
            timer.cancel()
    return Outcome(status=None if over.is_set() else status, lines=tuple(last))


def _lines(pipe: int, until: float) -> Iterator[bytes]:
    """The lines that come through ``pipe``, to its end or until that moment (monotonic); none over LONGEST_LINE."""
    held = b""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    while (left := until - time.monotonic()) > 0 and poll.poll(1000 * left):
        data = os.read(pipe, LONGEST_LINE)
        if not data:
            break
        held += data
        while end := _end_of_line(held):
            yield held[:end]
            held = held[end:]
    if held:
        yield held


def _end_of_line(held: bytes) -> int:
    """How many bytes are the first line and its end; LONGEST_LINE of a longer one; 0 while it is not all there."""
    return held.find(b"\n", 0, LONGEST_LINE) + 1 or (LONGEST_LINE if len(held) >= LONGEST_LINE else 0)


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
