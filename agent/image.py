"""What an image says it holds: ``/etc/bakeboot/image.json``, version 1.

The bake writes it, the agent decides by it. Keys that this version does not know are ignored; a key
that is missing or of the wrong type is an ImageError that names its path.

On the boot path: of the standard library, ``json`` alone.
"""

from __future__ import annotations

import json

from agent.errors import ImageError
from agent.names import NAME_RULE, datastore_unit, is_name, service_unit
from agent.word import Word

VERSION = 1

WEB, WORKER, CLOCK = KINDS = ("web", "worker", "clock")
POSTGRESQL, REDIS = DATASTORE_KINDS = ("postgresql", "redis")

_HEX = frozenset("0123456789abcdef")


class Base(Word):
    """The root file system that the image stands on."""

    name: str
    digest: str


class Boot(Word):
    """How long an instance waits at boot, in seconds: for the metadata service, and for its tags."""

    metadata_wait: float
    tags_wait: float


class Repo(Word):
    """A git repository as it was baked. ``build`` says how; ``release`` is its Procfile's ``release:`` line."""

    name: str
    url: str
    ref: str
    commit: str
    tree: str
    subject: str
    subdirectory: str
    build: str
    release: str | None


class Health(Word):
    """When a service counts as healthy. ``path`` is None for what serves no HTTP. Times in seconds.

    It must answer each ``interval`` for ``settle`` without a break, by ``deadline`` after its start.
    """

    path: str | None
    status: int
    interval: float
    settle: float
    deadline: float


class Service(Word):
    """One long-running process. ``port`` is None where it has none; ``check`` is a shell command, or None.

    ``databases_of`` names the service whose databases it uses where both need a datastore; None: its own.
    """

    name: str
    repo: str
    process: str
    kind: str
    unit: str
    user: str
    port: int | None
    health: Health
    check: str | None
    env: dict[str, str]
    generated: tuple[str, ...]
    required: tuple[str, ...]
    calls: tuple[str, ...]
    needs: tuple[str, ...]
    databases_of: str | None


class Datastore(Word):
    """A datastore on the image. ``shared``: one database for all services instead of one for each."""

    name: str
    kind: str
    version: str
    unit: str
    port: int
    shared: bool


class Packages(Word):
    """Versions by package name: of the system, and of each repo's own environment."""

    apt: dict[str, str]
    python: dict[str, dict[str, str]]
    node: dict[str, dict[str, str]]


class ImageManifest(Word):
    """The whole file. ``time`` is RFC 3339 in UTC; ``parent`` and ``box`` name what it was made from, or None."""

    stack: str
    name: str
    time: str
    parent: str | None
    box: str | None
    base: Base
    toolkit: str
    boot: Boot
    repos: dict[str, Repo]
    services: dict[str, Service]
    datastores: dict[str, Datastore]
    packages: Packages

    @classmethod
    def read(cls, path: str) -> ImageManifest:
        """The manifest in the file at ``path``; ImageError when it is not there or can't be read."""
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise ImageError(f"can't be read: {error}", where=path, hint="bakeboot bake") from error
        return cls.parse(text, where=path)

    @classmethod
    def parse(cls, text: str, *, where: str = "image.json") -> ImageManifest:
        """The manifest in ``text``; ImageError names the path of the first key that is wrong."""
        try:
            document = _Node(json.loads(text), "", where)
        except (ValueError, RecursionError) as error:
            raise ImageError(f"is not JSON: {error}", where=where) from error
        if document.whole("version") != VERSION:
            raise document.wrong("version", f"{VERSION}, the one version that this toolkit reads")
        manifest = cls(
            stack=document.name("stack"),
            name=document.text("name"),
            time=document.text("time"),
            parent=document.text_or_none("parent"),
            box=document.text_or_none("box"),
            base=_base(document.inside("base")),
            toolkit=document.text("toolkit"),
            boot=_boot(document.inside("boot")),
            repos={node.key: _repo(node) for node in document.named("repos")},
            services={node.key: _service(node) for node in document.named("services")},
            datastores={node.key: _datastore(node) for node in document.named("datastores")},
            packages=_packages(document.inside("packages")),
        )
        _check_references(manifest, where)
        return manifest

    def render(self) -> str:
        """The file's text; ``parse`` of it gives an equal manifest."""
        return json.dumps({"version": VERSION} | _plain(self, keep_name=True), indent=2, ensure_ascii=False) + "\n"


def _plain(word: Word, *, keep_name: bool = False) -> dict[str, object]:
    """A word as JSON's own types. The name of a repo, service or datastore is its key, so not inside again."""
    listed = type(word) in (Repo, Service, Datastore) and not keep_name
    return {field: _plain_value(getattr(word, field)) for field in word.__fields__ if not (listed and field == "name")}


def _plain_value(value: object) -> object:
    if isinstance(value, Word):
        return _plain(value)
    if isinstance(value, dict):
        return {key: _plain_value(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return [_plain_value(inner) for inner in value]
    return value


def _base(node: _Node) -> Base:
    return Base(name=node.text("name"), digest=node.text("digest"))


def _boot(node: _Node) -> Boot:
    return Boot(metadata_wait=node.seconds("metadata_wait"), tags_wait=node.seconds("tags_wait"))


def _repo(node: _Node) -> Repo:
    return Repo(
        name=node.key,
        url=node.text("url"),
        ref=node.text("ref"),
        commit=node.object_id("commit"),
        tree=node.object_id("tree"),
        subject=node.text("subject"),
        subdirectory=node.text("subdirectory"),
        build=node.text("build"),
        release=node.text_or_none("release"),
    )


def _service(node: _Node) -> Service:
    return Service(
        name=node.key,
        repo=node.name("repo"),
        process=node.text("process"),
        kind=node.one_of("kind", KINDS),
        unit=node.exactly("unit", service_unit(node.key)),
        user=node.text("user"),
        port=node.whole("port", 1, 65535) if node.has("port") else None,
        health=_health(node.inside("health")),
        check=node.text_or_none("check"),
        env=node.texts_by_key("env"),
        generated=node.texts("generated"),
        required=node.texts("required"),
        calls=node.texts("calls"),
        needs=node.texts("needs"),
        databases_of=node.text_or_none("databases_of"),
    )


def _health(node: _Node) -> Health:
    path = node.text_or_none("path")
    if path is not None and not (path.startswith("/") and path.isascii() and path.isprintable() and " " not in path):
        raise node.wrong("path", "an absolute URL path in printable ASCII without blanks")
    return Health(
        path=path,
        status=node.whole("status", 100, 599),
        interval=node.seconds("interval"),
        settle=node.seconds("settle"),
        deadline=node.seconds("deadline"),
    )


def _datastore(node: _Node) -> Datastore:
    return Datastore(
        name=node.key,
        kind=node.one_of("kind", DATASTORE_KINDS),
        version=node.text("version"),
        unit=node.exactly("unit", datastore_unit(node.key)),
        port=node.whole("port", 1, 65535),
        shared=node.flag("shared"),
    )


def _packages(node: _Node) -> Packages:
    return Packages(
        apt=node.texts_by_key("apt"),
        python={repo.key: repo.all_texts() for repo in node.named("python")},
        node={repo.key: repo.all_texts() for repo in node.named("node")},
    )


def _check_references(manifest: ImageManifest, where: str) -> None:
    """Every name that a service refers to is there, and no two things want one directory."""
    for service in manifest.services.values():
        path = f"services.{service.name}"
        if service.repo not in manifest.repos:
            raise ImageError(f"{path}.repo: no repo named {service.repo!r}", where=where)
        if service.kind == WEB and (service.port is None or service.health.path is None):
            raise ImageError(f"{path}: expected a port and a health path, as kind is web", where=where)
        if service.name in manifest.datastores:
            raise ImageError(f"{path}: a datastore has that name too; both keep data under it", where=where)
        for field, names, known in (
            ("calls", service.calls, manifest.services),
            ("needs", service.needs, manifest.datastores),
            ("databases_of", (service.databases_of,) if service.databases_of else (), manifest.services),
        ):
            for name in names:
                if name not in known:
                    raise ImageError(f"{path}.{field}: no {name!r} on this image", where=where)


class _Node:
    """A JSON value with the path that leads to it; every reader raises ImageError with that path."""

    def __init__(self, value: object, path: str, where: str) -> None:
        self.path = path
        self.where = where
        self.key = path.rpartition(".")[2]
        if not isinstance(value, dict):
            raise ImageError(f"{path or 'the file'}: expected an object, got {_shown(value)}", where=where)
        self._value: dict[str, object] = value

    def wrong(self, key: str, expected: str) -> ImageError:
        path = f"{self.path}.{key}" if self.path else key
        if key not in self._value:
            return ImageError(f"{path}: missing; expected {expected}", where=self.where)
        return ImageError(f"{path}: expected {expected}, got {_shown(self._value[key])}", where=self.where)

    def has(self, key: str) -> bool:
        """Whether the value is not null. A key that is missing altogether is an error."""
        if key not in self._value:
            raise self.wrong(key, "a value or null")
        return self._value[key] is not None

    def inside(self, key: str) -> _Node:
        if not isinstance(self._value.get(key), dict):
            raise self.wrong(key, "an object")
        return _Node(self._value[key], f"{self.path}.{key}" if self.path else key, self.where)

    def named(self, key: str) -> list[_Node]:
        """The objects of a mapping whose keys are names, each with its own path."""
        outer = self.inside(key)
        for name in outer._value:
            if not is_name(name):
                raise ImageError(f"{outer.path}: {_shown(name)} is no name ({NAME_RULE})", where=self.where)
        return [outer.inside(name) for name in outer._value]

    def text(self, key: str) -> str:
        value = self._value.get(key)
        if not isinstance(value, str):
            raise self.wrong(key, "a text")
        return value

    def text_or_none(self, key: str) -> str | None:
        return self.text(key) if self.has(key) else None

    def name(self, key: str) -> str:
        value = self.text(key)
        if not is_name(value):
            raise self.wrong(key, f"a name ({NAME_RULE})")
        return value

    def exactly(self, key: str, expected: str) -> str:
        if self.text(key) != expected:
            raise self.wrong(key, _shown(expected))
        return expected

    def one_of(self, key: str, allowed: tuple[str, ...]) -> str:
        value = self.text(key)
        if value not in allowed:
            raise self.wrong(key, f"one of {', '.join(allowed)}")
        return value

    def object_id(self, key: str) -> str:
        value = self.text(key)
        if len(value) != 40 or not _HEX.issuperset(value):
            raise self.wrong(key, "40 hexadecimal digits")
        return value

    def whole(self, key: str, low: int = 0, high: int = 2**31) -> int:
        value = self._value.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.wrong(key, f"a whole number from {low} to {high}")
        return value

    def seconds(self, key: str) -> float:
        value = self._value.get(key)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 86400:
            raise self.wrong(key, "a number of seconds from 0 to 86400")
        return float(value)

    def flag(self, key: str) -> bool:
        value = self._value.get(key)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._value.get(key)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(key, "a list of texts")
        return tuple(value)

    def texts_by_key(self, key: str) -> dict[str, str]:
        return self.inside(key).all_texts()

    def all_texts(self) -> dict[str, str]:
        return {key: self.text(key) for key in self._value}


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
