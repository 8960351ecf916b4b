"""One command of a build: what it is, and the door that runs it.

A step runs as the build user, in a session and process group of its own, with an environment of
its own, its output in the repo's log. When it ends, by itself, by its time or by ours, nothing of
its group is left.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import select
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from agent.errors import BuildError, HostError

LOOK_EVERY = 0.25
"""Seconds between two looks at the stop sign while a step runs; its end is seen at once."""

_SCRATCH = "bakeboot-build-"


@dataclass(frozen=True)
class Step:
    """``must``: whether its failure ends the build. The environment is the whole of it, nothing is inherited.

    ``stdin``: a file that we open, so that the build user need not be able to.
    """

    title: str
    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    must: bool = True
    stdin: Path | None = None

    @property
    def line(self) -> str:
        """To paste into a shell; without the environment, which may hold a registry's password."""
        source = f" <{shlex.quote(str(self.stdin))}" if self.stdin is not None else ""
        return f"cd {shlex.quote(str(self.cwd))} && {shlex.join(self.argv)}{source}"


@dataclass(frozen=True)
class Account:
    """The unprivileged user that steps run as."""

    name: str
    uid: int
    gid: int

    @classmethod
    def named(cls, name: str) -> Account:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise HostError(f"no user {name!r} to build as", hint=f"useradd --system --user-group {name}") from None
        return cls(name, entry.pw_uid, entry.pw_gid)


@dataclass
class Runner:
    """Runs the steps of one repo.

    ``account`` None: as the user that we are. ``deadline`` on ``clock``, for all steps together.
    ``stop`` ends the step that runs and refuses the next.
    """

    repo: str
    log: Path
    scratch: Path
    deadline: float
    account: Account | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    clock: Callable[[], float] = time.monotonic

    def run(self, step: Step) -> None:
        """Raises ``BuildError``: it failed (unless it need not succeed), took too long, or was stopped."""
        with self.log.open("ab") as log:
            log.write(f"$ {step.line}\n".encode(errors="replace"))
            log.flush()
            try:
                process = self._start(step, log.fileno())
            except OSError as error:
                raise self.error(f"{step.title}: {error.strerror}: {error.filename or step.argv[0]}") from None
            try:
                ended = self._wait(process)
            finally:
                # Before it is reaped, so that the group's number can't be another's yet.
                _kill_group(process.pid)
                process.wait()
        if not ended:
            raise self.error(f"{step.title} was stopped" if self.stop.is_set() else f"{step.title} took too long")
        if process.returncode and step.must:
            raise self.error(f"{step.title} failed ({_ending(process.returncode)})")

    def give(self, *paths: Path) -> None:
        """Hand directories that we made to the build user."""
        if self.account is not None:
            for path in paths:
                os.chown(path, self.account.uid, self.account.gid)

    def take(self, path: Path) -> None:
        """Make a tree root's again: readable by all, writable by nobody else, no set-id bits. Follows no symlink."""
        if self.account is not None:
            subprocess.run(["chown", "-hR", "root:root", "--", str(path)], check=True, capture_output=True)
        subprocess.run(["chmod", "-R", "ug-s,-t,u+rwX,go+rX,go-w", "--", str(path)], check=True, capture_output=True)

    def error(self, what: str, hint: str = "") -> BuildError:
        return BuildError(what, where=self.repo, hint=hint)

    def _start(self, step: Step, output: int) -> subprocess.Popen[bytes]:
        if self.stop.is_set():
            raise self.error(f"stopped before: {step.title}")
        user = (self.account.uid, self.account.gid, ()) if self.account is not None else (None, None, None)
        with open(step.stdin or os.devnull, "rb") as source:
            return subprocess.Popen(
                step.argv,
                cwd=step.cwd,
                env=dict(step.env),
                stdin=source,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=user[0],
                group=user[1],
                extra_groups=user[2],
                umask=0o022,
            )

    def _wait(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether it ended by itself. It is left unreaped."""
        handle = os.pidfd_open(process.pid)
        try:
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            while not self.stop.is_set() and (left := self.deadline - self.clock()) > 0:
                if poll.poll(min(left, LOOK_EVERY) * 1000):
                    return True
            return False
        finally:
            os.close(handle)


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # nobody of it is left
        os.killpg(group, signal.SIGKILL)


def _ending(code: int) -> str:
    return f"exit code {code}" if code > 0 else f"killed by {signal.Signals(-code).name}"


@contextmanager
def scratch_directory(runner_account: Account | None, parent: Path) -> Iterator[Path]:
    """A private directory for one build: ``home`` and ``tmp`` in it; removed at the end.

    It is locked while it is in use, so that the next build removes those of builds that were killed.
    """
    _sweep(parent)
    path, handle = _claim(parent)
    try:
        for directory in (path / "home", path / "tmp"):
            directory.mkdir()
        for directory in (path, path / "home", path / "tmp"):
            directory.chmod(0o700)
            if runner_account is not None:
                os.chown(directory, runner_account.uid, runner_account.gid)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(handle)


def _claim(parent: Path) -> tuple[Path, int]:
    """A new directory and the handle that holds its lock."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=parent))
        handle = _lock(path)
        if handle is not None and path.exists():  # a sweep may have come between
            return path, handle
        if handle is not None:
            os.close(handle)


def _sweep(parent: Path) -> None:
    for path in parent.glob(f"{_SCRATCH}*"):
        handle = _lock(path)
        if handle is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(handle)


def _lock(path: Path) -> int | None:
    """A handle with the directory's lock; None where another has it, or it is no directory."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def last_lines(log: Path, count: int = 30) -> list[str]:
    """The end of a log, control characters other than tabs taken out so that none reaches a terminal."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 64 * 1024))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    lines = text.replace("\r", "\n").split("\n")
    return [_printable(line) for line in lines if line.strip()][-count:]


def _printable(line: str) -> str:
    return "".join(character if character.isprintable() or character == "\t" else "?" for character in line)
