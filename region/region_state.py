"""What a region keeps on disk for those who look for it: `<home>/regions/<name>/`, which is root's alone.

    region.lock   held by the region's process for as long as it lives: the kernel drops it, however that ends
    region.json   where it answers, its process and the token of its control; there once it is ready
    number        N of the addresses 127.77.N.M that it had last, and gets again where they are free
    region.log    what happened
    images/       the images that were made in it; they survive `down`

Whether a region is up is what the lock says, and nothing else: a region that was killed leaves its region.json.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import time
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from region.errors import RegionError

DEFAULT_NAME = "local"
# Who only asks (`is_alive`) holds the lock for a moment, and so does a child that a killed region was just starting.
_TRIES = 10
_NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,22}[a-z0-9])?")


@dataclass(frozen=True)
class Record:
    """A region that is ready. `token` opens its control (`region.control`); `started` is a Unix time in seconds.

    `site` is the name of the network namespace of its machines; `access_key` and `secret_key` are of an account's
    administrator in its API.
    """

    name: str
    pid: int
    endpoint: str
    token: str
    started: float
    prefix: str
    site: str
    aws_region: str
    access_key: str = "AKIAIOSFODNN7EXAMPLE"
    secret_key: str = "bakeboot"  # noqa: S105 - the API looks at no signature: any will do, and one must be there


class Place:
    """One region's folder; it need not exist."""

    def __init__(self, home: Path, name: str) -> None:
        """Raises RegionError for what is no name of a region."""
        if not _NAME.fullmatch(name):
            what = f"expected a region's name of a-z, 0-9 and -, 24 characters at most, got {name!r}"
            raise RegionError(what, where="--name", hint=f"--name {DEFAULT_NAME}")
        self.name = name
        self.directory = home.absolute() / "regions" / name
        self.log = self.directory / "region.log"
        self._lock = self.directory / "region.lock"
        self._file = self.directory / "region.json"

    def make(self) -> None:
        for folder in (self.directory.parent, self.directory):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)

    @contextlib.contextmanager
    def held(self) -> Iterator[bool]:
        """Holds the lock for the length of the block; False where another process does."""
        self.make()
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        for _ in range(_TRIES):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(0.01)
        else:
            os.close(descriptor)
            yield False
            return
        try:
            yield True
        finally:
            os.close(descriptor)

    def is_alive(self) -> bool:
        """Whether a process holds it: it is up, or coming up, or going down."""
        try:
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two that ask are in nobody's way
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def write(self, record: Record) -> None:
        partial = self._file.with_name(".region.json.new")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(record), file, indent=1)
        partial.replace(self._file)

    @property
    def number(self) -> int:
        """The one that it had last, else one that follows from its place, which regions of other places rarely want."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int((self.directory / "number").read_text())
        return zlib.crc32(str(self.directory).encode()) % 254 + 1

    def remember(self, number: int) -> None:
        (self.directory / "number").write_text(f"{number}\n")

    @property
    def written(self) -> bool:
        """Whether there is a region.json, be it of a region that was killed."""
        return self._file.exists()

    def forget(self) -> None:
        """The region is not ready any more."""
        self._file.unlink(missing_ok=True)

    def read(self) -> Record | None:
        """The region that is ready here; None where there is none."""
        if not self.is_alive():
            return None
        with contextlib.suppress(FileNotFoundError):  # it is coming up, or going down
            try:
                return Record(**json.loads(self._file.read_text()))
            except (ValueError, TypeError) as error:
                told = f"region.json can't be read ({error}): another version of bakeboot may have brought it up"
                hint = f"with that version: bakeboot region down{self.option}"
                raise RegionError(told, where=f"region {self.name}", hint=hint) from error
        return None

    def up(self) -> Record:
        """The same, or RegionError."""
        record = self.read()
        if record is None:
            raise RegionError("is not up", where=f"region {self.name}", hint=f"bakeboot region up{self.option}")
        return record

    @property
    def option(self) -> str:
        """What to add to a command that is about this region: nothing for the default one."""
        return "" if self.name == DEFAULT_NAME else f" --name {self.name}"


def places(home: Path) -> list[Place]:
    """Every region that this home knows of, up or down."""
    folder = home.absolute() / "regions"
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []
    return [Place(home, name) for name in names if _NAME.fullmatch(name)]
