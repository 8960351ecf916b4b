"""Reads `stack.toml` into a Stack, or tells every mistake in it at once.

A table of the file is a function here; what a single value may be is in `bake/values.py` and `bake/source_values.py`,
and what must hold between tables in `bake/crosschecks.py`. `stack_example.toml` mentions each key that this reader
asks for (a test compares the two). A new kind of table is one more function, called in `_stack`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import NamedTuple

from agent.errors import Mistake, StackError
from bake import source_values, values
from bake.crosschecks import check_stack
from bake.fields import Fields, Report
from bake.stack import (
    BASES,
    DATASTORE_KINDS,
    DEFAULT_REF,
    FIRST_DATASTORE_PORT,
    FIRST_WEB_PORT,
    HARDENING,
    SERVICE_KINDS,
    AptSource,
    Boot,
    Datastore,
    DatastoreKind,
    Health,
    Repo,
    Service,
    ServiceKind,
    Stack,
)

_POSITION = re.compile(r"(.*) \(at (line \d+, column \d+|end of document)\)", re.DOTALL)


def read_stack(path: Path) -> Stack:
    """The checked Stack of the file at `path`. Raises StackError with every mistake."""
    where = str(path)
    directory = path.absolute().parent
    stack = parse_stack(_text_of(path), directory, where)
    missing = [
        Mistake(f"stack.apt_sources.{source.name}.key", f"there is no file {source.key}", "put the public key there")
        for source in stack.apt_sources.values()
        if source.key is not None and not source.key.is_file()
    ]
    if missing:
        raise StackError(missing, where=where)
    return stack


def parse_stack(text: str, directory: Path, where: str = "stack.toml", report: Report | None = None) -> Stack:
    """As `read_stack`, from text, and without looking at any other file.

    `directory` is what relative paths start from; `where` names the file in messages; `report` collects
    which keys were asked for.
    """
    report = report or Report()
    root = Fields(_document(text, where), report)
    stack = _stack(root, directory)
    root.close()
    mistakes = report.mistakes or check_stack(stack)
    if mistakes:
        raise StackError(_by_table(mistakes), where=where)
    return stack


def _by_table(mistakes: list[Mistake]) -> list[Mistake]:
    """Those of one repo, service, … together, in the order in which they were found."""
    tables = [mistake.path.split(".")[:2] for mistake in mistakes]
    return [
        mistake for _, mistake in sorted(zip(tables, mistakes, strict=True), key=lambda pair: tables.index(pair[0]))
    ]


def _text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        raise _unreadable(str(path), "there is no such file", "bakeboot init DIR…    writes a first one") from None
    except OSError as error:
        raise _unreadable(str(path), (error.strerror or "it can't be read").lower(), f"ls -l {path}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        where = f"{path}: line {line}"
        raise _unreadable(where, "this is not UTF-8 text", "save the file with the encoding UTF-8") from None


def _unreadable(where: str, what: str, hint: str) -> StackError:
    return StackError([Mistake(where, what, hint)])


def _document(text: str, where: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise StackError([_syntax_mistake(str(error))], where=where) from None
    except RecursionError:
        raise _unreadable(
            where, "brackets are nested too deeply to be read", "lists and tables hold plain values"
        ) from None
    except ValueError as error:  # a number with thousands of digits
        raise _unreadable(where, str(error).partition(";")[0].lower(), "shorten the number") from None


def _syntax_mistake(message: str) -> Mistake:
    found = _POSITION.fullmatch(message)
    what, position = (found[1], found[2]) if found else (message, "")
    hints = {
        "Invalid value": 'text stands in quotes: name = "shop"',
        "Expected '='": 'a line is KEY = VALUE, or a [heading]: name = "shop"',
        "Invalid statement": 'a line is KEY = VALUE, or a [heading]: name = "shop"',
        "Unescaped '\\'": "write a backslash twice, or the text in single quotes: 'a\\b'",
        "Cannot overwrite": "each key and heading may stand once: keep one of the two",
        "Cannot declare": "each key and heading may stand once: keep one of the two",
        "Cannot mutate immutable": "a table in braces is complete: write all its keys inside them",
        "Unterminated string": "close the text with a quote",
        "Illegal character": "close the text with a quote on the same line",
        "Unclosed": "close the bracket",
        "Expected ']": "close the bracket",
        "Expected newline": "each KEY = VALUE has a line of its own",
    }
    hint = next((hint for start, hint in hints.items() if what.startswith(start)), "correct this line: it is not TOML")
    return Mistake(position, what[:1].lower() + what[1:], hint)


def _stack(root: Fields, directory: Path) -> Stack:
    head = root.table("stack")
    name = head.need("name", values.name, "x", what="the company's or product's name", example='"shop"')
    base = head.take("base", values.one_of(BASES), BASES[0])
    packages = head.items("apt_packages", values.apt_package, example='"libpq-dev"')
    sources = {key: _apt_source(key, table, directory) for key, table in head.tables("apt_sources").items()}
    boot = _boot(head.table("boot"))
    repos = {key: _repo(key, table, directory) for key, table in root.tables("repos").items()}
    datastores = _datastores(root.tables("datastores"))
    services = _services(root.tables("services"), tuple(repos), tuple(datastores))
    return Stack(
        name=name,
        directory=directory,
        base=base,
        apt_packages=packages,
        apt_sources=sources,
        boot=boot,
        repos=repos,
        services=services,
        datastores=datastores,
    )


def _apt_source(name: str, table: Fields, directory: Path) -> AptSource:
    example = '"https://apt.example.org/debian"'
    uri = table.need("uri", values.apt_uri, "", what="the archive's address", example=example)
    suite = table.need("suite", values.apt_word, "", what="the archive's suite", example='"bookworm"')
    components = table.items("components", values.apt_word, example='"main"')
    if suite.endswith("/") and components:
        table.refuse("components", f"the flat archive {suite} has none", "leave it out")
    key = table.take("key", values.text, None)
    flat = suite.endswith("/")
    return AptSource(
        name=name,
        uri=uri,
        suite=suite,
        components=components if flat else components or ("main",),
        key=directory / key if key is not None else None,
    )


def _boot(table: Fields) -> Boot:
    wait = values.duration(1, 3600, "2m")
    default = Boot()
    return Boot(
        metadata_wait=table.take("metadata_wait", wait, default.metadata_wait),
        tags_wait=table.take("tags_wait", wait, default.tags_wait),
    )


def _repo(name: str, table: Fields, directory: Path) -> Repo:
    url = table.need("url", source_values.url, "", what="where the repository is", example='"../storefront"')
    return Repo(
        name=name,
        url=url,
        location=source_values.location(url, directory),
        ref=table.take("ref", source_values.ref, DEFAULT_REF),
        subdirectory=table.take("subdirectory", source_values.inside, ""),
        build=table.take("build", values.text, None),
        static=table.take("static", lambda value: source_values.inside(value) or ".", None),
    )


def _datastores(tables: dict[str, Fields]) -> dict[str, Datastore]:
    kinds = {name: _datastore_kind(table) for name, table in tables.items()}
    given = {name: table.take("port", values.port, None) for name, table in tables.items()}
    ports = _allot(given, {name: FIRST_DATASTORE_PORT[kind] for name, kind in kinds.items()})
    return {
        name: Datastore(
            name=name,
            kind=kinds[name],
            port=ports[name],
            version=table.take("version", values.version, None),
            shared=table.take("shared", values.flag, False),
        )
        for name, table in tables.items()
    }


def _datastore_kind(table: Fields) -> DatastoreKind:
    stand_in: DatastoreKind = "redis"
    return table.need("kind", values.one_of(DATASTORE_KINDS), stand_in, what="its kind", example='"postgresql"')


class _Known(NamedTuple):
    """The names that a service may refer to."""

    repos: tuple[str, ...]
    services: tuple[str, ...]
    datastores: tuple[str, ...]


class _Role(NamedTuple):
    """What a service is: the Procfile line that it runs, and its kind (None: refused, so nothing depends on it)."""

    process: str
    kind: ServiceKind | None


def _services(tables: dict[str, Fields], repos: tuple[str, ...], datastores: tuple[str, ...]) -> dict[str, Service]:
    known = _Known(repos, tuple(tables), datastores)
    roles = {name: _role(name, table) for name, table in tables.items()}
    given = {name: _port(table, roles[name]) for name, table in tables.items()}
    webs = {name: port for name, port in given.items() if roles[name].kind == "web"}
    ports = _allot(webs, dict.fromkeys(webs, FIRST_WEB_PORT))
    return {name: _service(name, table, roles[name], ports.get(name), known) for name, table in tables.items()}


def _role(name: str, table: Fields) -> _Role:
    """A service is a web service when its process is web, or when the file says neither; else a worker."""
    process = table.take("process", values.process, None)
    kind = table.take("kind", values.one_of(SERVICE_KINDS), None)
    undecided = table.refused or table.has("kind") or (table.has("process") and process is None)
    if kind is None and not undecided:
        kind = "web" if process in ("web", None) else "worker"
    return _Role(process or ("web" if kind == "web" else name), kind)


def _port(table: Fields, role: _Role) -> int | None:
    if role.kind in ("worker", "clock") and table.has("port"):
        table.refuse("port", f"a {role.kind} has no port: only a web service is asked over HTTP", "leave it out")
    return table.take("port", values.port, None)


def _allot(given: Mapping[str, int | None], first: Mapping[str, int]) -> dict[str, int]:
    """Each one's port: the given one, else the first free one from its kind's first upwards, in the file's order."""
    taken = {port for port in given.values() if port is not None}
    ports: dict[str, int] = {}
    for name, port in given.items():
        ports[name] = port or next(free for free in count(first[name]) if free not in taken)
        taken.add(ports[name])
    return ports


def _service(name: str, table: Fields, role: _Role, port: int | None, known: _Known) -> Service:
    a_repo = values.existing("repo", known.repos)
    if name in known.repos:
        repo = table.take("repo", a_repo, name)
    else:
        repo = table.need(
            "repo", a_repo, "", what="the repo that it runs", example=f'"{next(iter(known.repos), name)}"'
        )
    return Service(
        name=name,
        repo=repo,
        process=role.process,
        kind=role.kind or "worker",
        port=port,
        health=_health(table.table("health"), role.kind),
        check=_check(table, role.kind),
        env=table.entries("env", values.variable),
        memory=table.take("memory", values.size, None),
        cpu=table.take("cpu", values.cpu, None),
        calls=table.items("calls", values.existing("service", known.services), example='"orders-api"'),
        needs=table.items("needs", values.existing("datastore", known.datastores), example='"db"'),
        databases_of=table.take("databases_of", values.existing("service", known.services), None),
        loosen=table.items("loosen", values.one_of(HARDENING), example='"MemoryDenyWriteExecute"'),
        stop_timeout=table.take("stop_timeout", values.duration(1, 7200, "30s"), Service.stop_timeout),
    )


def _health(table: Fields, kind: ServiceKind | None) -> Health:
    default = Health()
    path = table.take("path", values.health_path, None)
    if kind == "web" and not table.has("path") and not table.refused:
        what = "expected the path that this web service answers when it is well, got nothing"
        table.refuse("path", what, 'health = { path = "/healthz" }')
    for key in ("path", "status"):
        if kind in ("worker", "clock") and table.has(key):
            table.refuse(key, f"a {kind} is not asked over HTTP", 'check = "a command that exits 0 when it is well"')
    return Health(
        path=path,
        status=table.take("status", values.http_status, default.status),
        interval=table.take("interval", values.duration(0.05, 60, "500ms"), default.interval),
        settle=table.take("settle", values.duration(0, 600, "2s"), default.settle),
        deadline=table.take("deadline", values.duration(1, 3600, "60s"), default.deadline),
    )


def _check(table: Fields, kind: ServiceKind | None) -> str | None:
    if kind == "web" and table.has("check"):
        table.refuse("check", "a web service is asked over HTTP", 'health = { path = "/healthz" }')
    return table.take("check", values.text, None)
