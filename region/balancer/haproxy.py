"""The door to HAProxy: its processes, their sockets, and the table that they choose by.

One process serves; those before it end when their last connection has. All of them are told every new table, since a
connection may stay with an earlier one for long. The listening sockets are this process's, which hands them on: so
what connects while a process starts, or after one died, waits in their queue and is not refused.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from region import cgroups, netns, owner
from region.acceptor import shut
from region.balancer.config import Frontend, Inherited, config_of, error_pages, frontend_of
from region.balancer.log import LogReader
from region.balancer.table import table_of
from region.balancer.words import Plan
from region.errors import RegionError

_BACKLOG = 1024
_ANSWER = (
    5.0  # seconds for a command on the admin socket; usually it is a millisecond, at the start a tenth of a second
)
_PAUSE = 1.0  # seconds between two starts, where one dies again and again


class Door(Protocol):
    """What shows a plan to the world: HAProxy, or a fake that its tests hold to the same."""

    def bind(self, address: str, port: int) -> None:
        """Takes the address, on this host and in the site. Raises RegionError where it is taken by somebody else."""

    def show(self, plan: Plan) -> None:
        """From now on requests are answered by this plan. Its listeners' addresses are bound. Raises RegionError."""

    def outstanding(self) -> dict[str, int]:
        """How many requests each target (by key) is answering now; those with none may be missing.

        Raises RegionError where that can't be told.
        """

    def cut(self, address: str, port: int) -> None:
        """Ends the requests that the target there is answering: who has got nothing of an answer gets a 502."""

    def look(self) -> None:
        """Ends what has finished and starts what died."""

    def close(self) -> None:
        """Ends all. Twice is no error."""


def release(record: owner.Record) -> None:
    """Ends what a dead owner's record tells of. Raises RegionError."""
    cgroups.remove([Path(path) for path in record.cgroups])


@dataclass
class _Process:
    """One HAProxy; `number` names its files.

    `admin` is a connection that stays: a process that is to end takes no new one, and has to hear of changes all the
    same. It ends when its other connections have, and then we hang up.
    """

    process: subprocess.Popen[bytes]
    number: int
    admin: socket.socket

    @property
    def lives(self) -> bool:
        return self.process.poll() is None


class HAProxy:
    """The real door. `directory` is the region's, `site` the namespace of the targets.

    It is called under the world's lock: its conversations with HAProxy are one after another.
    """

    def __init__(self, directory: Path, site: str, log: Callable[[str], None], access: Callable[[Sequence[str]], None]):
        def record(name: str) -> owner.Record:
            return owner.Record([str(group.path) for group in cgroups.discover(f"bakeboot-{name}")])

        self._owned = owner.claim(directory.absolute() / "balancers", "haproxy", record)
        self._site, self._say = site, log
        self._groups = cgroups.discover(f"bakeboot-{self._owned.directory.name}")
        self._log = LogReader(access)
        self._sockets: dict[tuple[str, int], list[socket.socket]] = {}
        self._processes: list[_Process] = []
        self._certificates: dict[str, int] = {}
        self._table = -1
        self._frontends: tuple[Frontend, ...] = ()  # those wanted, and those that the newest process has
        self._running: tuple[Frontend, ...] = ()
        self._plan = Plan()
        self._started = 0
        self._failed = -math.inf
        self._closed = False
        try:
            cgroups.create(self._groups, memory=None, cpus=None)
            self._here = os.open(self._owned.directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            for name, page in error_pages().items():
                (self._owned.directory / name).write_text(page)
        except BaseException:
            self._log.close()
            self._owned.remove()
            raise

    # --- the plan ------------------------------------------------------------------------------------------------

    def bind(self, address: str, port: int) -> None:
        if (address, port) in self._sockets:
            return
        made: list[socket.socket] = []
        try:
            for place in (None, self._site):
                made.append(netns.inside(place, lambda: socket.create_server((address, port), backlog=_BACKLOG)))
        except OSError as error:
            for each in made:
                each.close()
            raise RegionError(f"can't listen: {error.strerror}", where=f"{address}:{port}") from error
        self._sockets[address, port] = made

    def show(self, plan: Plan) -> None:
        for listener in plan.listeners:
            self.bind(listener.address, listener.port)
        frontends = tuple(
            frontend_of(
                listener,
                [each.fileno() for each in self._sockets[listener.address, listener.port]],
                self._certificate(listener.certificate),
            )
            for listener in plan.listeners
        )
        self._plan, self._frontends = plan, frontends
        self._write_table()
        self._tell_all()
        if self._frontends != self._running and time.monotonic() > self._failed + _PAUSE:
            self._replace()
        self._close_unused()

    def _tell_all(self) -> None:
        """Every process takes the newest table. Raises RegionError when the newest process does not.

        An earlier one that does not would go on by what was: its last connections are ended instead.
        """
        for process in self._heard():
            try:
                self._load(process)
            except RegionError as error:
                if process is self._processes[-1]:
                    raise
                self._say(str(error))
                process.process.kill()

    def _write_table(self) -> None:
        """A file in memory for each table: what a rule asks for may be a secret, and a half-written one is not read."""
        before, self._table = self._table, _in_memory("routes", table_of(self._plan))
        if before >= 0:
            os.close(before)

    def _certificate(self, pem: str) -> str:
        """The path by which HAProxy reads it: a key lies in no file."""
        if not pem:
            return ""
        if pem not in self._certificates:
            self._certificates[pem] = _in_memory("certificate", pem)
        return _path(self._certificates[pem])

    def _close_unused(self) -> None:
        used = {(listener.address, listener.port) for listener in self._plan.listeners}
        for place in self._sockets.keys() - used:
            for each in self._sockets.pop(place):
                shut(each, socket.SHUT_RDWR)  # for all who hold it: a process on its way out keeps it, and takes nobody
                each.close()

    def _load(self, process: _Process) -> None:
        """The process takes the newest table; RegionError where it does not, though it lives."""
        answer = self._ask(process, f"routes load {_path(self._table)}").strip()
        if answer != "ok" and process.lives:
            raise RegionError(
                f"did not take its routes: {answer or 'no answer'}", where=f"HAProxy {process.process.pid}"
            )

    # --- processes -----------------------------------------------------------------------------------------------

    def _replace(self) -> None:
        """Starts a process with the configuration of now, which sends the ones before it to their end.

        Returns when it takes connections, in a tenth of a second. Raises RegionError when it does not: then the ones
        before it go on.
        """
        before = [each.process for each in self._processes if each.lives]
        if not self._frontends:
            for old in before:
                old.send_signal(signal.SIGUSR1)  # it ends with its last connection
            self._running = ()
            return
        self._started += 1
        name = f"{self._started}.sock"
        with socket.socket(socket.AF_UNIX) as admin:
            # By way of the directory's descriptor: the path of a region may be longer than a socket's may (107).
            admin.bind(f"/proc/self/fd/{self._here}/{name}")
            (self._owned.directory / name).chmod(0o600)
            admin.listen(16)
            inherited = Inherited(self._log.descriptor, admin.fileno(), _path(self._table))
            path = self._owned.directory / f"{self._started}.cfg"
            path.write_text(config_of(self._frontends, inherited, self._owned.directory))
            argv = ["haproxy", "-db", "-f", str(path), *(["-sf", *(str(old.pid) for old in before)] if before else [])]
            listeners = [each.fileno() for sockets in self._sockets.values() for each in sockets]
            passed = [self._log.descriptor, admin.fileno(), *listeners]
            started = netns.inside(self._site, lambda: self._spawn(argv, passed))
        self._processes.append(_Process(started, self._started, self._connect(self._started)))
        self._failed = time.monotonic()  # unless it turns out well
        self._load(self._processes[-1])
        if not self._processes[-1].lives:
            raise RegionError(self._last_words(self._processes[-1]), where="haproxy")
        self._failed, self._running = -math.inf, self._frontends

    def _spawn(self, argv: Sequence[str], passed: Sequence[int]) -> subprocess.Popen[bytes]:
        with (self._owned.directory / f"{self._started}.log").open("wb") as log:
            return subprocess.Popen(
                cgroups.joining(self._groups, argv, visiting=False),
                pass_fds=passed,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            )

    def _connect(self, number: int) -> socket.socket:
        """A connection to the process of that number; a closed one where it doesn't answer."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_ANSWER)
        try:
            connection.connect(f"/proc/self/fd/{self._here}/{number}.sock")
            connection.sendall(b"prompt\n")
            _read_answer(connection)
        except OSError:
            connection.close()
        return connection

    def _ask(self, process: _Process, command: str) -> str:
        """What the process answers; "" where it has ended or doesn't answer, which ends the connection.

        A late answer would be taken for that to the next question.
        """
        try:
            process.admin.sendall(f"{command}\n".encode())
            return _read_answer(process.admin)
        except OSError:
            process.admin.close()
            return ""

    def outstanding(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for process in self._heard():
            answer = self._ask(process, "show table outstanding data.conn_cur gt 0")
            if not answer and process.lives:
                raise RegionError("doesn't say what it is doing", where=f"HAProxy {process.process.pid}")
            for line in answer.splitlines():
                words = dict(word.split("=", 1) for word in line.split() if "=" in word)
                if "key" in words and "conn_cur" in words:
                    counts[words["key"]] = counts.get(words["key"], 0) + int(words["conn_cur"])
        return counts

    def _heard(self) -> list[_Process]:
        """Those that are told what changes; another was found without a connection, and is about to end.

        The newest is always one: where it did not answer in time, it is connected to anew.
        """
        newest = self._processes[-1] if self._processes and self._running else None
        if newest is not None and newest.lives and newest.admin.fileno() < 0:
            newest.admin = self._connect(newest.number)
        return [each for each in self._processes if each.admin.fileno() >= 0]

    def cut(self, address: str, port: int) -> None:
        for process in self._heard():
            for session in sessions_to(address, port, self._ask(process, "show sess all")):
                self._ask(process, f"shutdown session {session}")

    def look(self) -> None:
        for process in self._heard():
            leaving = process is not self._processes[-1] or not self._running
            if leaving and _connections(self._ask(process, "show info")) <= 1:
                process.admin.close()
        for process in [each for each in self._processes if not each.lives]:
            if process is self._processes[-1]:
                self._running = ()  # those before it take no new connection any more
            self._processes.remove(process)
            process.admin.close()
            if process.process.returncode:
                self._say(f"HAProxy {process.process.pid} ended: {self._last_words(process)}")
            for left in ("sock", "cfg", "log"):
                (self._owned.directory / f"{process.number}.{left}").unlink(missing_ok=True)
        if self._frontends != self._running and time.monotonic() > self._failed + _PAUSE:
            self._replace()

    def _last_words(self, process: _Process) -> str:
        log = (self._owned.directory / f"{process.number}.log").read_text(errors="replace").splitlines()
        return "\n".join([f"exit code {process.process.returncode}", *log[-10:]])

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        with contextlib.ExitStack() as last_first:
            last_first.callback(self._owned.remove)
            last_first.callback(os.close, self._here)
            for descriptor in [self._table, *self._certificates.values()]:
                if descriptor >= 0:
                    last_first.callback(os.close, descriptor)
            for sockets in self._sockets.values():
                for each in sockets:
                    last_first.callback(each.close)
            last_first.callback(self._log.close)
            for process in self._processes:
                last_first.callback(process.process.wait)
                last_first.callback(process.admin.close)
            last_first.callback(cgroups.remove, [group.path for group in self._groups])


def _read_answer(connection: socket.socket) -> str:
    """Up to the next prompt. Raises OSError where none comes."""
    answer = b""
    while not answer.endswith(b"\n> "):
        data = connection.recv(65536)
        if not data:
            raise ConnectionResetError
        answer += data
    return answer[:-3].decode()


def sessions_to(address: str, port: int, told: str) -> list[str]:
    """The names of the sessions with a server at this address, in HAProxy's own words on all sessions."""
    sessions = re.split(r"^(?=0x)", told, flags=re.MULTILINE)
    server = re.compile(rf"^\s+server=any .* addr={re.escape(address)}:{port}$", re.MULTILINE)
    return [each.partition(":")[0] for each in sessions if server.search(each)]


def _connections(info: str) -> int:
    """How many the process has, ours included; a process that doesn't say has ended, or is asked again later."""
    found = re.search(r"^CurrConns: (\d+)$", info, re.MULTILINE)
    return int(found[1]) if found else 2


def _in_memory(name: str, text: str) -> int:
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    os.write(descriptor, text.encode())
    return descriptor


def _path(descriptor: int) -> str:
    return f"/proc/{os.getpid()}/fd/{descriptor}"
