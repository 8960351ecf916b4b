"""How a repo is built, found out from the files in it.

Pure: ``detect`` is given the names of the repo's files and a function that reads one.

    requirements.txt, or a project in pyproject.toml      python   its own virtual environment
    package.json and package-lock.json                    node     production dependencies, build scripts
    both                                                  node, then python, as Heroku's buildpacks in a row
    index.html or public/index.html, nothing else         static   served as it is
    build = "…" in the stack                              command  that command, and nothing detected
    static = "dir" in the stack                           that directory is served, whatever built it

Anything else is refused by name, with ``build = "…"`` as the way out.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import shlex
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from agent.errors import BuildError
from agent.pins import Pin, node_pin, python_pin
from agent.requirements import read_requirements

PYTHON = "python"
NODE = "node"
STATIC = "static"
COMMAND = "command"

HOOKS = ("bin/pre_compile", "bin/post_compile")
"""Programs of the repo that Heroku's Python buildpack runs before and after pip."""

Read = Callable[[str], bytes]
Result = TypeVar("Result")

_OTHER_TOOLS = {
    "Gemfile": "Ruby",
    "go.mod": "Go",
    "pom.xml": "Maven",
    "build.gradle": "Gradle",
    "build.gradle.kts": "Gradle",
    "composer.json": "PHP",
    "Cargo.toml": "Rust",
    "mix.exs": "Elixir",
    "project.clj": "Clojure",
    "build.sbt": "Scala",
    "deno.json": "Deno",
    "environment.yml": "Conda",
    "Dockerfile": "Docker",
}
_PYTHON_LOCKS = {
    "poetry.lock": "poetry export -f requirements.txt -o requirements.txt",
    "uv.lock": "uv export --format requirements-txt -o requirements.txt",
    "pdm.lock": "pdm export -o requirements.txt",
    "Pipfile.lock": "pipenv requirements > requirements.txt",
    "Pipfile": "pipenv requirements > requirements.txt",
    "pylock.toml": "write the same pins into requirements.txt",
}
_NODE_LOCKS = {"yarn.lock": "Yarn", "pnpm-lock.yaml": "pnpm", "bun.lock": "Bun", "bun.lockb": "Bun"}
_WAY_OUT = 'build = "make install"    in the stack file: the command that builds this repo'


@dataclass(frozen=True)
class Detected:
    """How to build a repo.

    ``parts`` in the order in which they are built; ``python`` and ``node`` the runtime that is wanted
    where the base's does not do (``"3.12"``, ``"20"``); ``requirements`` the file that pip reads
    (``requirements.txt`` or ``pyproject.toml``); ``scripts`` what ``package.json`` defines of the build
    and lifecycle scripts; ``static`` the directory to serve (``"."``: the checkout itself).
    ``python_inputs`` and ``node_inputs`` map the files that decide the dependencies to their sha256.
    ``python_local`` and ``node_local``: dependencies lie in the repo's own tree, which then counts whole.
    """

    parts: tuple[str, ...]
    python: str | None = None
    node: str | None = None
    requirements: str | None = None
    scripts: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    static: str | None = None
    python_inputs: Mapping[str, str] = field(default_factory=dict)
    node_inputs: Mapping[str, str] = field(default_factory=dict)
    python_local: bool = False
    node_local: bool = False
    messages: tuple[str, ...] = ()

    @property
    def build(self) -> str:
        """The word for ``image.json``: ``"python"``, ``"node+python"``, ``"command"`` …"""
        return "+".join(self.parts)

    @property
    def runs_node(self) -> bool:
        """Whether Node builds it or is put on its PATH, so that its processes may run on it."""
        return NODE in self.parts or self.node is not None

    def to_json(self) -> dict[str, object]:
        return {
            "parts": list(self.parts),
            "python": self.python,
            "node": self.node,
            "requirements": self.requirements,
            "scripts": list(self.scripts),
            "hooks": list(self.hooks),
            "static": self.static,
            "python_inputs": dict(self.python_inputs),
            "node_inputs": dict(self.node_inputs),
            "python_local": self.python_local,
            "node_local": self.node_local,
            "messages": list(self.messages),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> Detected:
        """What ``to_json`` wrote; unknown keys are ignored. Raises ``BuildError`` for anything else."""
        known: dict[str, object] = {}
        for name, value in document.items():
            if name in cls.__dataclass_fields__:
                known[name] = tuple(value) if isinstance(value, list) else value
        try:
            return cls(**known)  # type: ignore[arg-type]  # the fields are what to_json wrote
        except TypeError as error:
            raise BuildError(f"not a detection: {error}", where="build plan") from None


def detect(
    listing: Collection[str],
    read: Read,
    *,
    build: str | None = None,
    static: str | None = None,
    base_python: str = "3.11",
    base_node: str = "18",
    where: str = "",
) -> Detected:
    """How to build the repo whose files are ``listing`` (every file's path, relative to its root, ``/`` between).

    ``read(path)`` gives a listed file's bytes. ``build`` and ``static`` are the stack's. The base's
    versions decide whether a pin needs a runtime of its own. ``where`` names the repo in errors.
    Raises ``BuildError``: nothing known was found, or a file of those read is wrong.
    """
    files = frozenset(listing)
    reader = _Reader(files, read, where)
    if static is not None:
        static = _inside(static, where)
    if build is not None:
        return _command(reader, static, base_node)
    parts: list[str] = []
    node = python = None
    if "package.json" in files or _node_lock(files):
        node = _node(reader, base_node)
        parts.append(NODE)
    if _is_python(reader):
        python = _python(reader, base_python)
        parts.append(PYTHON)
    if static is None and not parts:
        static = next((directory for directory in (".", "public") if _join(directory, "index.html") in files), None)
    if static is not None:
        parts.append(STATIC)
    if not parts:
        raise _refusal(files, where)
    return _merge(parts, node, python, static)


def _merge(parts: list[str], node: Detected | None, python: Detected | None, static: str | None) -> Detected:
    node = node or Detected(())
    python = python or Detected(())
    said = (
        ("package-lock.json and a Python project: Node is built first, then Python",)
        if {NODE, PYTHON} <= set(parts)
        else ()
    )
    return Detected(
        parts=tuple(parts),
        python=python.python,
        node=node.node,
        requirements=python.requirements,
        scripts=node.scripts,
        hooks=python.hooks,
        static=static,
        python_inputs=python.python_inputs,
        node_inputs=node.node_inputs,
        python_local=python.python_local,
        node_local=node.node_local,
        messages=(*said, *node.messages, *python.messages),
    )


def _command(reader: _Reader, static: str | None, base_node: str) -> Detected:
    """A build command does everything itself; a pinned Node is put on its PATH all the same."""
    package = reader.json("package.json") if "package.json" in reader.files else {}
    pin = _node_runtime(reader, package, base_node)
    return Detected((COMMAND,), node=pin.wanted, static=static, messages=pin.messages)


# Node


def _node_lock(files: Collection[str]) -> str | None:
    """npm prefers npm-shrinkwrap.json where both are there (docs.npmjs.com, configuring-npm/npm-shrinkwrap-json)."""
    return next((name for name in ("npm-shrinkwrap.json", "package-lock.json") if name in files), None)


def _node(reader: _Reader, base: str) -> Detected:
    lock = _node_lock(reader.files)
    if "package.json" not in reader.files:
        raise reader.error(f"{lock} without package.json", "git rm package-lock.json    or commit package.json")
    if lock is None:
        found = next((f"{name} ({tool})" for name, tool in _NODE_LOCKS.items() if name in reader.files), "")
        what = f"package.json without package-lock.json{f'; {found} is not read' if found else ''}"
        raise reader.error(what, "npm install --package-lock-only && git add package-lock.json")
    package = reader.json("package.json")
    scripts = package.get("scripts") or {}
    if not isinstance(scripts, dict):
        raise reader.error("package.json: scripts: expected an object", '"scripts": {"start": "node server.js"}')
    pin = _node_runtime(reader, package, base)
    inputs = {name: reader.hash(name) for name in ("package.json", lock, ".npmrc") if name in reader.files}
    return Detected(
        (NODE,),
        node=pin.wanted,
        scripts=tuple(name for name in sorted(scripts) if isinstance(name, str) and scripts[name]),
        node_inputs=inputs,
        node_local=_has_local_packages(package),
        messages=pin.messages,
    )


def _node_runtime(reader: _Reader, package: Mapping[str, object], base: str) -> Pin:
    engines = package.get("engines") or {}
    wanted = engines.get("node") if isinstance(engines, dict) else None
    if wanted is not None and not isinstance(wanted, str):
        raise reader.error(
            f"package.json: engines.node: expected a string, got {wanted!r}", '"engines": {"node": "20.x"}'
        )
    return reader.named(lambda: node_pin(wanted, reader.first(".nvmrc", ".node-version"), base=base))


def _has_local_packages(package: Mapping[str, object]) -> bool:
    """Workspaces and ``file:`` dependencies: node_modules then points into the repo's own tree."""
    tables = [package.get(key) for key in ("dependencies", "devDependencies", "optionalDependencies")]
    wanted = [value for table in tables if isinstance(table, dict) for value in table.values()]
    return bool(package.get("workspaces")) or any(
        isinstance(value, str) and value.startswith(("file:", "link:", "./", "../", "/", "~/")) for value in wanted
    )


# Python


def _is_python(reader: _Reader) -> bool:
    if "requirements.txt" in reader.files:
        return True
    lock = next((name for name in _PYTHON_LOCKS if name in reader.files), None)
    if lock is not None:
        raise reader.error(f"{lock} without requirements.txt: pip can't install from it", _PYTHON_LOCKS[lock])
    if "pyproject.toml" not in reader.files:
        return False
    document = reader.toml("pyproject.toml")
    return "project" in document or "build-system" in document


def _python(reader: _Reader, base: str) -> Detected:
    if "requirements.txt" in reader.files:
        requirements = "requirements.txt"
        inputs, local = reader.named(lambda: read_requirements(requirements, reader.files, reader.text))
    else:
        requirements = "pyproject.toml"
        inputs, local = (requirements,), True
    version_file = reader.first("runtime.txt", ".python-version")
    pin = reader.named(lambda: python_pin(version_file, _requires_python(reader), base=base))
    django = (
        ("Django's collectstatic is not run by itself: bin/post_compile is the place",) if _is_django(reader) else ()
    )
    return Detected(
        (PYTHON,),
        python=pin.wanted,
        requirements=requirements,
        hooks=tuple(name for name in HOOKS if name in reader.files),
        python_inputs={name: reader.hash(name) for name in inputs},
        python_local=local,
        messages=(*pin.messages, *django),
    )


def _is_django(reader: _Reader) -> bool:
    return "manage.py" in reader.files and HOOKS[1] not in reader.files


def _requires_python(reader: _Reader) -> str | None:
    if "pyproject.toml" not in reader.files:
        return None
    project = reader.toml("pyproject.toml").get("project")
    wanted = project.get("requires-python") if isinstance(project, dict) else None
    return wanted if isinstance(wanted, str) else None


# Refusals


def _refusal(files: Collection[str], where: str) -> BuildError:
    found = [f"{name} ({tool})" for name, tool in _OTHER_TOOLS.items() if name in files]
    if "setup.py" in files:
        return BuildError(
            "setup.py without requirements.txt",
            where=where,
            hint="echo . > requirements.txt && git add requirements.txt",
        )
    if found:
        return BuildError(f"don't know how to build {', '.join(found)}", where=where, hint=_WAY_OUT)
    wanted = "requirements.txt, pyproject.toml, package-lock.json, index.html or public/index.html"
    return BuildError(f"nothing here says how to build it: expected {wanted}", where=where, hint=_WAY_OUT)


def _inside(path: str, where: str) -> str:
    """``path`` made normal; refused when it leaves the repo."""
    normal = posixpath.normpath(path) if path else "."
    if normal.startswith(("/", "..")) or "\0" in normal:
        raise BuildError(
            f"static: expected a directory inside the repo, got {path!r}", where=where, hint='static = "public"'
        )
    return normal


def _join(directory: str, name: str) -> str:
    return name if directory == "." else f"{directory}/{name}"


@dataclass(frozen=True)
class _Reader:
    """The repo's files, with errors that name the repo and the file."""

    files: frozenset[str]
    read: Read
    where: str

    def error(self, what: str, hint: str = "") -> BuildError:
        return BuildError(what, where=self.where, hint=hint)

    def named(self, work: Callable[[], Result]) -> Result:
        """``work()``, its errors prefixed with the repo."""
        try:
            return work()
        except BuildError as error:
            where = ": ".join(filter(None, (self.where, error.where)))
            raise BuildError(error.what, where=where, hint=error.hint) from None

    def first(self, *names: str) -> tuple[str, str] | None:
        """Name and text of the first of ``names`` that is there."""
        return next(((name, self.text(name)) for name in names if name in self.files), None)

    def text(self, name: str) -> str:
        try:
            return self.read(name).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise self.error(
                f"{name} is not UTF-8", f"iconv -t UTF-8 -o {shlex.quote(name)} {shlex.quote(name)}"
            ) from None

    def hash(self, name: str) -> str:
        return hashlib.sha256(self.read(name)).hexdigest()

    def json(self, name: str) -> dict[str, object]:
        try:
            document = json.loads(self.text(name))
        except (ValueError, RecursionError) as error:
            raise self.error(f"{name} is not JSON: {error}", f"python3 -m json.tool {name}") from None
        if not isinstance(document, dict):
            raise self.error(f"{name}: expected an object")
        return document

    def toml(self, name: str) -> dict[str, object]:
        try:
            return tomllib.loads(self.text(name))
        except (ValueError, RecursionError) as error:
            raise self.error(f"{name} is not TOML: {error}") from None
