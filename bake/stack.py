"""The words of `stack.toml`: everything that one company runs, read and checked.

    Stack ─┬─ Boot              how long an instance waits for its tags
           ├─ AptSource …       where Debian packages come from besides the base
           ├─ Repo …            a git repository: where it is, which ref, how it is built
           ├─ Service ─ Health  one long-running process of a repo
           └─ Datastore …       PostgreSQL or Redis, for self-contained machines

`bake/reader.py` makes them. Whoever holds a Stack may rely on all that the reader checks: names exist and are valid,
ports are unique, text holds no control characters. Times are seconds, sizes bytes, CPU a number of CPUs.
`stack_example.toml`, next to this file, explains every key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

ServiceKind = Literal["web", "worker", "clock"]
DatastoreKind = Literal["postgresql", "redis"]

SERVICE_KINDS: tuple[ServiceKind, ...] = ("web", "worker", "clock")
DATASTORE_KINDS: tuple[DatastoreKind, ...] = ("postgresql", "redis")

BASES = ("debian:bookworm",)
"""The base systems that a bake can start from."""

DEFAULT_REF = "HEAD"
"""The remote's default branch."""

FIRST_WEB_PORT = 8000
FIRST_DATASTORE_PORT: Mapping[DatastoreKind, int] = {"postgresql": 5432, "redis": 6379}


@dataclass(frozen=True)
class Boot:
    """How long an instance waits when it boots, in seconds."""

    metadata_wait: float = 120.0
    """For the metadata service to answer."""
    tags_wait: float = 60.0
    """For valid tags to appear, once it answers."""


@dataclass(frozen=True)
class AptSource:
    """One more place that Debian packages come from."""

    name: str
    uri: str
    suite: str
    """Ends in `/` for a flat repository, which has no components."""
    components: tuple[str, ...] = ("main",)
    key: Path | None = None
    """The public key that signs it, as an absolute path on the baking host. None: one of Debian's own keys."""


@dataclass(frozen=True)
class Repo:
    """A git repository, or a directory of one."""

    name: str
    url: str
    """As written in stack.toml: what `stack.lock` and `image.json` say."""
    location: str
    """What git is given: `url`, a relative path made absolute."""
    ref: str = DEFAULT_REF
    subdirectory: str = ""
    """"" is the whole repository."""
    build: str | None = None
    """A shell command that builds it, in place of what would be detected."""
    static: str | None = None
    """The directory below `subdirectory` that nginx serves; "." is all of it."""

    @property
    def local_path(self) -> Path | None:
        """The directory, when the repository is on this machine."""
        if self.location.startswith("file://"):
            return Path(self.location.removeprefix("file://"))
        return Path(self.location) if self.location.startswith("/") else None


@dataclass(frozen=True)
class Health:
    """When a service counts as healthy: it answered, and stayed so for `settle`."""

    path: str | None = None
    """Asked by HTTP GET on the service's port; None for workers and clocks."""
    status: int = 200
    interval: float = 0.5
    settle: float = 2.0
    deadline: float = 60.0
    """A service that isn't healthy this long after its start has failed."""


@dataclass(frozen=True)
class Service:
    """One long-running process of a repo."""

    name: str
    repo: str
    process: str
    """The name of its line in the repo's Procfile."""
    kind: ServiceKind
    port: int | None = None
    """Set for web services, and for them alone."""
    health: Health = field(default_factory=Health)
    check: str | None = None
    """Workers and clocks: a shell command that exits 0 when the service is healthy."""
    env: Mapping[str, str] = field(default_factory=dict)
    memory: int | None = None
    """Bytes; None is no limit."""
    cpu: float | None = None
    """How many CPUs' time it may use: 0.5 is half of one; None is no limit."""
    calls: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    databases_of: str | None = None
    """The service whose databases it uses where both need a datastore; None is its own."""
    loosen: tuple[str, ...] = ()
    """Names of hardening options (see HARDENING) that its unit goes without."""
    stop_timeout: float = 30.0


@dataclass(frozen=True)
class Datastore:
    name: str
    kind: DatastoreKind
    port: int
    version: str | None = None
    """None: the version that the base, or an apt source, has."""
    shared: bool = False
    """One database for all services that need it, in place of one for each."""


@dataclass(frozen=True)
class Stack:
    """Everything that one company runs. Mappings are by name, in the order of the file."""

    name: str
    directory: Path
    """The directory of stack.toml: what its relative paths start from."""
    base: str = BASES[0]
    apt_packages: tuple[str, ...] = ()
    apt_sources: Mapping[str, AptSource] = field(default_factory=dict)
    boot: Boot = field(default_factory=Boot)
    repos: Mapping[str, Repo] = field(default_factory=dict)
    services: Mapping[str, Service] = field(default_factory=dict)
    datastores: Mapping[str, Datastore] = field(default_factory=dict)

    def services_of(self, repo: str) -> tuple[Service, ...]:
        return tuple(service for service in self.services.values() if service.repo == repo)


HARDENING = (
    "NoNewPrivileges",
    "CapabilityBoundingSet",
    "AmbientCapabilities",
    "ProtectSystem",
    "ProtectHome",
    "PrivateTmp",
    "PrivateDevices",
    "PrivateUsers",
    "ProtectHostname",
    "ProtectClock",
    "ProtectKernelTunables",
    "ProtectKernelModules",
    "ProtectKernelLogs",
    "ProtectControlGroups",
    "ProtectProc",
    "RestrictAddressFamilies",
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "RemoveIPC",
    "KeyringMode",
    "SystemCallArchitectures",
    "SystemCallFilter",
    "UMask",
)
"""What `loosen` may name: the options that `templates/hardening.j2` sets, as systemd.exec(5) calls them."""
