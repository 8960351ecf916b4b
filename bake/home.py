"""Where the toolkit keeps things on a baking host, and how two runs stay out of each other's way.

    <home>/layers/     what the stages of a bake added, each under the key of its inputs
    <home>/logs/       the whole log of each bake, the newest fifty
    <home>/images/     one folder an image: image.json, record.json, the logs
    <home>/mirrors/    bare mirrors of the repos
    <home>/runs/       one folder a bake that is under way (owned by it through a lock)
    <home>/machines/   one folder a local machine (region's)
    <home>/sites/      one folder a network that local machines share (region's)
    <home>/regions/    one folder a region: its record, its log, the AMIs made in it (region's)
    <home>/cache/      downloads of pip and npm
    /run/bakeboot-home-<hash>/   what must never reach a disk (keys, config of machines), and Packer's sockets

All of them are root's alone: layers hold set-uid programs as old as their image, logs what an index's
address says. A folder in ``runs`` belongs to a living process, as machines and sites do (``region.owner``).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from agent.errors import HostError
from region import owner
from region.mounts import mount_secrets, unmount_below

DEFAULT_HOME = Path("/var/lib/bakeboot-home")
LOGS_KEPT = 50


@dataclass(frozen=True)
class Home:
    """The toolkit's folders: ``root`` on disk, ``runtime`` for what must never reach one.

    ``keep_secret`` makes a folder that is in memory alone, since not every host has a tmpfs at ``/run``.
    """

    root: Path
    runtime: Path
    keep_secret: Callable[[Path], None] = mount_secrets

    @classmethod
    def open(cls, root: Path | None = None) -> Home:
        """Find (and make) the home: the argument, else ``$BAKEBOOT_HOME``, else ``/var/lib/bakeboot-home``.

        Raises HostError where the folder can't be made.
        """
        root = (root or Path(os.environ.get("BAKEBOOT_HOME") or DEFAULT_HOME)).absolute()
        digest = hashlib.sha256(str(root).encode()).hexdigest()[:8]
        home = cls(root, Path(f"/run/bakeboot-home-{digest}"))
        try:
            for folder in (home.layers, home.images, home.logs, home.mirrors, home.runs, home.machines, home.cache):
                folder.mkdir(parents=True, exist_ok=True)
                folder.chmod(0o700)
        except OSError as error:
            root_or_room = "export BAKEBOOT_HOME=/a/folder/with/room" if os.geteuid() == 0 else "sudo -i"
            raise HostError(
                f"can't keep anything in {error.filename or root}: {error.strerror}",
                where="BAKEBOOT_HOME",
                hint=root_or_room,
            ) from error
        return home

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def layers(self) -> Path:
        return self.root / "layers"

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def mirrors(self) -> Path:
        return self.root / "mirrors"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def machines(self) -> Path:
        return self.root / "machines"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @contextmanager
    def run(self, kind: str) -> Iterator[Run]:
        """A folder on disk and one in memory for the length of one run; both are gone after it.

        Raises HostError where this process may not have one in memory.
        """
        owned = owner.claim(self.runs, kind, lambda name: owner.Record())
        name = owned.directory.name
        try:
            self._keep_secret(name)
            yield Run(name, owned.directory, self._secrets_of(name))
        finally:
            self._remove_run(owned)

    def _keep_secret(self, run: str) -> None:
        try:
            self.runtime.mkdir(mode=0o700, exist_ok=True)
            self.keep_secret(self._secrets_of(run))
        except OSError as error:
            what = f"can't keep keys in memory: {error.strerror}"
            hint = "bakeboot doctor" if os.geteuid() == 0 else "sudo -i"
            raise HostError(what, where=str(self._secrets_of(run)), hint=hint) from error

    def sweep_runs(self) -> list[str]:
        """Remove the folders of runs that died; returns their names. Safe beside live ones."""
        swept = []
        for left in owner.abandoned(self.runs):
            self._remove_run(left)
            swept.append(left.directory.name)
        return swept

    def _secrets_of(self, run: str) -> Path:
        return self.runtime / "runs" / run

    def _remove_run(self, owned: owner.Owned) -> None:
        """Secrets first. What is mounted goes before the folder it is mounted in, whose lock goes last."""
        secret = self._secrets_of(owned.directory.name)
        unmount_below(secret)
        shutil.rmtree(secret, ignore_errors=True)
        unmount_below(owned.directory)
        owned.remove()


@dataclass(frozen=True)
class Run:
    """One run's folders: ``folder`` on disk, ``runtime`` in memory (for keys and sockets; 16 MiB)."""

    name: str
    folder: Path
    runtime: Path


@contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold an advisory lock (flock(2)) on ``path`` for the length of the block, waiting for it."""
    descriptor = take_lock(path, wait=True, shared=shared)
    assert descriptor is not None
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def try_locked(path: Path) -> Iterator[bool]:
    """Hold the lock for the block if nobody else does; tells whether it is held."""
    descriptor = take_lock(path, wait=False)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def take_lock(path: Path, *, wait: bool, shared: bool = False) -> int | None:
    """The descriptor that holds the lock, or None where another process holds it and ``wait`` is false."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def write_atomically(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace ``path`` with ``text``: a reader sees the old content or the new, never a part."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        partial.write_text(text)
        partial.chmod(mode)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def new_log(home: Home, name: str) -> Path:
    """An empty log for one run; the oldest beyond fifty are removed."""
    logs = []
    for log in home.logs.glob("*.log"):
        with suppress(FileNotFoundError):  # another bake has just removed it
            logs.append((log.stat().st_mtime, log))
    for _, old in sorted(logs)[: max(0, len(logs) - LOGS_KEPT + 1)]:
        old.unlink(missing_ok=True)
    new = home.logs / f"{name}.log"
    new.touch(mode=0o600)
    return new
