"""The door to systemd: start units, look at units, tell it how the boot goes.

``systemctl`` does the talking, one call for all units: in process, a D-Bus client would save 3 ms and
cost a page. ``posix_spawn`` instead of ``subprocess``, whose import costs more than both.

On the boot path: imports ``os`` and ``_socket``.
"""

from __future__ import annotations

import _socket
import os

from agent.errors import UnitError
from agent.word import Word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SYSTEMCTL = "/usr/bin/systemctl"
START_EXTENSION = 120
"""Seconds that each report of progress grants the boot before systemd gives it up."""

_SHOWN = "Id,LoadState,ActiveState,SubState,Result,NRestarts,ExecMainStatus,ExecMainStartTimestampMonotonic"


class UnitState(Word):
    """What systemd says of a unit. ``started`` is its main process's start, in µs since boot (0: none yet)."""

    unit: str
    load: str
    active: str
    sub: str
    result: str
    restarts: int
    status: int
    started: int

    def __str__(self) -> str:
        if self.load != "loaded":
            return self.load
        why = "" if self.result in ("", "success") else f", {self.result}"
        why += f" {self.status}" if why and self.status else ""
        return f"{self.active} ({self.sub}{why})"


class Systemd:
    """PID 1, through ``run``: argument list in, exit status and output out."""

    def __init__(self, run: Callable[[list[str]], tuple[int, str]] | None = None, notify_socket: str = "") -> None:
        self._run = run or run_systemctl
        self._notify_socket = notify_socket

    def start(self, units: list[str]) -> None:
        """Queue the start of ``units``, all in one call, and wait for none. UnitError when one can't be queued."""
        if not units:
            return
        status, output = self._run(["start", "--no-block", "--", *units])
        if status != 0:
            raise UnitError(
                f"systemd did not take {', '.join(units)}: {output.strip() or f'exit status {status}'}",
                hint=f"systemctl status {units[0]}",
            )

    def show(self, units: list[str]) -> dict[str, UnitState]:
        """The state of each of ``units``, by unit. UnitError when systemd does not answer."""
        if not units:
            return {}
        status, output = self._run(["show", f"--property={_SHOWN}", "--", *units])
        states = {state.unit: state for state in _parse(output)}
        if status != 0 or not states.keys() >= set(units):
            raise UnitError(f"systemd does not say how its units are: {output.strip() or f'exit status {status}'}")
        return states

    def restart(self, unit: str) -> None:
        """Queue a restart; also of a unit that gave up after too many starts."""
        self._run(["reset-failed", "--", unit])
        status, output = self._run(["restart", "--no-block", "--", unit])
        if status != 0:
            raise UnitError(f"systemd did not restart {unit}: {output.strip()}", hint=f"systemctl status {unit}")

    def ready(self, text: str) -> None:
        self._notify("READY=1", text)

    def progress(self, text: str) -> None:
        """What the boot waits for, shown by ``systemctl status``; and another START_EXTENSION seconds for it."""
        self._notify(f"EXTEND_TIMEOUT_USEC={START_EXTENSION * 1_000_000}", text)

    def failed(self, text: str, exit_code: int) -> None:
        """Why the boot ends without being ready: ``systemctl status`` still shows it afterwards."""
        self._notify(f"EXIT_STATUS={exit_code}", text)

    def _notify(self, message: str, status: str) -> None:
        """sd_notify(3). Without a socket (started by hand) there is nobody to tell."""
        if not self._notify_socket:
            return
        path = self._notify_socket
        line = " ".join(status.split())  # a newline would begin another message
        sender = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
        try:
            sender.connect("\0" + path[1:] if path.startswith("@") else path)
            sender.send(f"{message}\nSTATUS={line}".encode())
        finally:
            sender.close()


def _parse(output: str) -> list[UnitState]:
    """``systemctl show`` of several units: blocks of KEY=value, an empty line between them."""
    states = []
    for block in output.split("\n\n"):
        found = dict(line.split("=", 1) for line in block.split("\n") if "=" in line)
        if "Id" in found:
            states.append(
                UnitState(
                    unit=found["Id"],
                    load=found.get("LoadState", ""),
                    active=found.get("ActiveState", ""),
                    sub=found.get("SubState", ""),
                    result=found.get("Result", ""),
                    restarts=int(found.get("NRestarts", "0")),
                    status=int(found.get("ExecMainStatus", "0")),
                    started=int(found.get("ExecMainStartTimestampMonotonic", "0")),
                )
            )
    return states


def run_systemctl(arguments: list[str]) -> tuple[int, str]:
    """``systemctl`` with ``arguments``: its exit status, and what it said on both outputs. Never asks or pages."""
    reader, writer = os.pipe()
    try:
        process = os.posix_spawn(
            SYSTEMCTL,
            ["systemctl", "--no-pager", "--no-ask-password", *arguments],
            {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1), (os.POSIX_SPAWN_DUP2, writer, 2)],
        )
    except OSError as error:
        os.close(reader)
        raise UnitError(f"{SYSTEMCTL} can't be run: {error}") from error
    finally:
        os.close(writer)
    with open(reader, encoding="utf-8", errors="replace") as pipe:
        output = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), output
