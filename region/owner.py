"""Directories that belong to a living process: each machine's, each site's.

`owner.lock` in the directory is flock'd for as long as the owner lives; the kernel drops the lock with the process,
however it ends. A lock on the directory above closes the window between making a directory and locking it, so whoever
finds a directory that it can lock has found what a dead owner left. `record.json` says what there is to remove, and is
written before any of it is made.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path


@dataclass(frozen=True)
class Record:
    """What an owner makes outside its directory: control groups and a network namespace. `pid` is the owner's."""

    cgroups: list[str] = field(default_factory=list)
    netns: str = ""
    pid: int = 0


class Owned:
    """A directory held by this process, or one of a dead owner's that this process took over."""

    def __init__(self, directory: Path, lock: int) -> None:
        self.directory = directory
        self._lock = lock

    @property
    def record(self) -> Record:
        """What the owner wrote; empty when it died before it made anything."""
        try:
            return Record(**json.loads((self.directory / "record.json").read_text()))
        except FileNotFoundError:
            return Record()

    def remove(self) -> None:
        """Removes the directory, its lock last, and lets go of it."""
        with contextlib.suppress(FileNotFoundError):
            for entry in list(self.directory.iterdir()):
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                elif entry.name != "owner.lock":
                    entry.unlink(missing_ok=True)
            with _all(self.directory.parent):  # so that no sweep sees it without its lock
                (self.directory / "owner.lock").unlink(missing_ok=True)
                self.directory.rmdir()
        self.release()

    def release(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


@contextlib.contextmanager
def _all(parent: Path) -> Iterator[None]:
    parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(parent / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def claim(parent: Path, name: str, record: Callable[[str], Record]) -> Owned:
    """Makes `parent`/NAME-XXXXXX for this process and writes the record made from that full name."""
    with _all(parent):
        while True:
            directory = parent / f"{name}-{secrets.token_hex(3)}"
            with contextlib.suppress(FileExistsError):
                directory.mkdir(mode=0o700)
                break
        lock = os.open(directory / "owner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
    owned = Owned(directory, lock)
    try:
        (directory / "record.new").write_text(
            json.dumps(asdict(replace(record(directory.name), pid=os.getpid())), indent=1)
        )
        (directory / "record.new").replace(directory / "record.json")
    except BaseException:
        owned.remove()
        raise
    return owned


def abandoned(parent: Path) -> list[Owned]:
    """The directories whose owners are dead, each now held by this process."""
    if not parent.is_dir():
        return []
    found = []
    with _all(parent):
        for directory in sorted(entry for entry in parent.iterdir() if entry.is_dir()):
            lock = os.open(directory / "owner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            owned = Owned(directory, lock)
            if _locked(lock, owned.record.pid):
                found.append(owned)
            else:
                owned.release()
    return found


def _locked(lock: int, pid: int) -> bool:
    """Whether the lock is now ours: its owner is dead.

    A child that its owner was just about to start holds a copy of the lock until it has become its program, which is a
    matter of milliseconds: so where the owner's process has gone, its lock is waited for.
    """
    deadline = time.monotonic() + 2.0
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if Path(f"/proc/{pid}").exists() or time.monotonic() > deadline:
            return False
        time.sleep(0.005)
