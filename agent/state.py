"""What the agent keeps, and where: this boot's facts in ``/run/bakeboot``, this instance's in ``/var/lib/bakeboot``.

Every write is atomic (a temporary file, renamed), so that a reader, or a boot after a kill, sees the
old text or the new. ``/run`` is a tmpfs: what is there ends with the boot.

On the boot path: imports ``json``, ``os``, ``time``, ``fcntl``.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time

from agent.errors import BakebootError, HostError, MetadataError
from agent.word import Word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_ID_CHARACTERS = frozenset("0123456789abcdef")


class Places(Word):
    """The directories of an instance, without a slash at the end. ``under`` gives those of a root elsewhere."""

    etc: str = "/etc/bakeboot"
    run: str = "/run/bakeboot"
    var: str = "/var/lib/bakeboot"
    srv: str = "/srv/bakeboot"

    @classmethod
    def under(cls, root: str) -> Places:
        return cls(etc=f"{root}/etc/bakeboot", run=f"{root}/run/bakeboot", var=f"{root}/var/lib/bakeboot",
                   srv=f"{root}/srv/bakeboot")  # fmt: skip

    @property
    def image(self) -> str:
        return f"{self.etc}/image.json"

    @property
    def status(self) -> str:
        return f"{self.run}/status.json"

    @property
    def passwords(self) -> str:
        """Of the datastores' users, for this boot."""
        return f"{self.run}/passwords.json"

    def env_file(self, service: str) -> str:
        return f"{self.run}/env/{service}.env"

    def acl_file(self, datastore: str) -> str:
        return f"{self.run}/acl/{datastore}.acl"

    def config_file(self, name: str) -> str:
        return f"{self.run}/config.d/{name}.env"

    def checkout(self, repo: str) -> str:
        return f"{self.srv}/{repo}/current"

    def data(self, name: str) -> str:
        return f"{self.var}/data/{name}" if name else f"{self.var}/data"

    def instance(self, instance_id: str) -> str:
        return f"{self.var}/{instance_id}"


def checked_instance_id(text: str | None) -> str:
    """``text`` when it is an instance's id (``i-`` and 8 to 32 hexadecimal digits), for it names a directory."""
    if text is None or text[:2] != "i-" or not 8 <= len(text) - 2 <= 32 or not _ID_CHARACTERS.issuperset(text[2:]):
        raise MetadataError(f"expected an instance id like i-0123456789abcdef0, got {text!a}", where="instance-id")
    return text


def folder(path: str, mode: int) -> None:
    """Make the directory at ``path`` with exactly ``mode``, whatever the umask; leave one that is there alone."""
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        return
    os.chmod(path, mode)


def prepare(places: Places, instance_id: str) -> None:
    """The directories that the agent writes to. ``/var/lib/bakeboot/data`` must let each service through to its own."""
    folder(places.var, 0o755)
    folder(places.data(""), 0o755)
    for private in (f"{places.run}/env", f"{places.run}/acl", places.instance(instance_id)):
        folder(private, 0o700)


def write(path: str, text: str, *, mode: int = 0o600) -> None:
    """Replace the file at ``path`` by ``text``, all or nothing."""
    temporary = f"{path}.{os.getpid()}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with open(descriptor, "w", encoding="utf-8", newline="") as file:
        os.fchmod(descriptor, mode)
        file.write(text)
    os.replace(temporary, path)


def write_durably(path: str, text: str) -> None:
    """``write`` for a file on disk whose loss would run something twice: on the disk when this returns."""
    write(path, text)
    for name in (path, os.path.dirname(path)):
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read(path: str) -> str | None:
    """The text at ``path``, or None when there is no such file."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return None


def read_object(path: str) -> dict[str, object]:
    """The JSON object at ``path``; empty when there is no such file. ValueError when it holds something else."""
    text = read(path)
    value = {} if text is None else json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"{path}: expected an object")
    return value


def utc(seconds: float) -> str:
    """A wall time as RFC 3339 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


class Lock:
    """One ``agent boot`` at a time. Held by the process, so that a killed one holds nothing.

    Raises HostError for who is not root.
    """

    def __init__(self, places: Places) -> None:
        try:
            os.makedirs(places.run, exist_ok=True)
            os.chmod(places.run, 0o711)  # noqa: S103  status.json is for everyone to read, the rest for nobody to list
            self._file = os.open(f"{places.run}/boot.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except PermissionError as error:
            what = f"only root may boot, or have a boot begin: {error.strerror}"
            raise HostError(what, where=places.run, hint="the same command with sudo in front") from error

    def take(self, *, wait: bool) -> bool:
        """Whether it is ours now. With ``wait``, blocks until the other one has ended (which its time-outs see to)."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        os.close(self._file)


class Status:
    """``status.json``: what this boot decided, is doing, and how it ended. Holds no secret; anyone may read it.

    Its phases: metadata, tags, starting, datastores, release, services, settling; it ends as ready, idle (mode
    ``bake``: nothing runs) or failed. A second run in one boot keeps what the first has started, until it has
    decided itself.
    """

    def __init__(self, places: Places, clock: Callable[[], float]) -> None:
        self._path = places.status
        self._clock = clock
        self.facts: dict[str, object] = {
            "phase": "metadata", "reason": "", "hint": "", "exit_code": 0, "instance_id": None, "image": None,
            "assignment": None, "since": utc(clock()), "units": [], "timings": {},
        }  # fmt: skip
        self.facts |= {k: v for k, v in read_object(self._path).items() if k in ("assignment", "units")}

    def enter(self, phase: str, **facts: object) -> None:
        """Write that ``phase`` begins, with what is known now. A full disk is no reason to fail a boot."""
        self.facts.update(facts, phase=phase, since=utc(self._clock()))
        try:
            write(self._path, json.dumps(self.facts, indent=1) + "\n", mode=0o644)
        except OSError as error:
            sys.stderr.write(f"agent boot: {self._path} can't be written: {error}\n")

    def fail(self, error: Exception) -> None:
        """Write why the boot failed. What is not a BakebootError is a bug of ours: exit code 1."""
        if isinstance(error, BakebootError):
            reason = f"{error.where}: {error.what}" if error.where else error.what
            self.enter("failed", reason=reason, hint=error.hint, exit_code=error.exit_code)
        else:
            hint = "journalctl -u bakeboot-boot   (a bug of bakeboot's: please report it)"
            self.enter("failed", reason=f"{type(error).__name__}: {error}", hint=hint, exit_code=1)
