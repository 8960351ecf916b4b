"""What a build needs to know, and which commands it is made of. Pure.

``BuildRequest`` is one repo to build; its keys say whether an earlier build is the same; ``plan`` gives
the commands in order, each with its directory and its whole environment.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent.detect import COMMAND, HOOKS, NODE, PYTHON, Detected
from agent.errors import BuildError
from agent.runtimes import RUNTIMES, Base, environment, node_directory
from agent.steps import Step

FORMAT = 1
"""Raised when the same inputs give another checkout than before: older checkouts are then built again."""

_NEED_DEVELOPMENT = frozenset(
    ("heroku-prebuild", "heroku-postbuild", "build", "preinstall", "install", "postinstall", "prepare")
)
"""Scripts that may use development dependencies; Heroku installs those for every repo and prunes them."""

_BUILD_SCRIPTS = _NEED_DEVELOPMENT | {"heroku-cleanup"}

_SETTING = re.compile(r"(PIP|NPM_CONFIG|npm_config)_[A-Za-z0-9_]+|(https?|no|HTTPS?|NO)_(proxy|PROXY)")
_CA_SETTINGS = (
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO",
)  # fmt: skip
_ELSEWHERE = re.compile(r"PIP_(TARGET|PREFIX|USER|ROOT|PYTHON)|NPM_CONFIG_(PREFIX|GLOBAL|LOCATION)", re.IGNORECASE)


@dataclass(frozen=True)
class BuildRequest:
    """One repo to build.

    ``source``: a tar file, or a directory that the build user can read, of the tree that becomes the
    checkout (a subdirectory already chosen). ``root``: ``/srv/bakeboot/<repo>``. ``command``: the stack's ``build``.
    ``settings``: package settings for the build alone. ``reuse``: directories like ``root`` with earlier
    builds. ``durable``: flush to disk before anything counts as complete.
    """

    repo: str
    source: Path
    commit: str
    tree: str
    root: Path
    detected: Detected
    base: Base
    processes: Mapping[str, str] = field(default_factory=dict)
    command: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    reuse: tuple[Path, ...] = ()
    runtimes: Path = RUNTIMES
    durable: bool = False

    @property
    def checkout(self) -> Path:
        return self.root / self.commit

    @property
    def python_version(self) -> str:
        return self.detected.python or ".".join(self.base.python.split(".")[:2])

    @property
    def node_version(self) -> str:
        return self.detected.node or (self.base.node or "").partition(".")[0]

    @property
    def dependency_keys(self) -> dict[str, str]:
        """A key for each language that the repo has dependencies in: ``{"python": "<16 hex>"}``."""
        runtimes = {PYTHON: self.python_version, NODE: self.node_version}
        return {
            part: dependency_key(part, self.detected, f"{self.base.abi}-{runtimes[part]}", self.tree, self.commit)
            for part in self.detected.parts
            if part in runtimes
        }

    @property
    def dependencies(self) -> Path:
        """Where the virtual environment's key puts it; only for a repo with a Python part."""
        return self.root / f"deps-{self.dependency_keys[PYTHON]}"

    @property
    def venv(self) -> Path:
        return self.dependencies / "venv"


def dependency_key(part: str, detected: Detected, abi: str, tree: str, commit: str) -> str:
    """16 hex digits of all that decides what is installed for ``part`` (``"python"`` or ``"node"``).

    Where dependencies lie in the repo's own tree, the tree counts, and for Python the commit too:
    an editable install points to the checkout by name.
    """
    inputs, local = {
        PYTHON: (detected.python_inputs, detected.python_local),
        NODE: (detected.node_inputs, detected.node_local),
    }[part]
    own = [tree, commit if part == PYTHON and detected.requirements != "pyproject.toml" else ""] if local else []
    return _digest([FORMAT, part, abi, dict(inputs), own])


def checkout_key(request: BuildRequest) -> str:
    """16 hex digits of all that decides what the checkout is. Settings don't: they say where packages come from."""
    return _digest(
        [
            FORMAT,
            request.commit,
            request.tree,
            request.dependency_keys,
            [request.detected.build, request.detected.static, request.detected.node, request.base.abi],
            [name for name in request.detected.scripts if name in _BUILD_SCRIPTS],
            request.command,
            dict(request.processes),
        ]
    )


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def package_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that say where packages come from: pip's, npm's, proxies, CA bundles. No others get to a build."""
    return {name: value for name, value in environ.items() if is_setting(name)}


def is_setting(name: str) -> bool:
    return (bool(_SETTING.fullmatch(name)) or name in _CA_SETTINGS) and not _ELSEWHERE.fullmatch(name)


# The plan


@dataclass(frozen=True)
class Kept:
    """What of an earlier build serves again: the environment as it is, or a directory to copy."""

    venv_complete: bool = False
    dependencies: Path | None = None
    modules: Path | None = None


def plan(request: BuildRequest, scratch: Path, kept: Kept) -> tuple[Step, ...]:
    """The commands that build ``request``, in order. Raises ``BuildError``: the machine lacks a runtime."""
    return (
        *_unpack(request, scratch),
        *_node(request, scratch, kept),
        *_python(request, scratch, kept),
        *_command(request, scratch),
    )


def _unpack(request: BuildRequest, scratch: Path) -> Iterator[Step]:
    source, goal = str(request.source), str(request.checkout)
    env = environment(scratch, {})
    if request.source.suffix == ".tar":
        argv = ("tar", "-x", "--no-same-owner", "-f", "-", "-C", goal)
        yield Step("unpack", argv, scratch, env, stdin=request.source)
    else:
        yield Step("copy", ("cp", "-a", "--no-preserve=ownership", "--reflink=auto", f"{source}/.", goal), scratch, env)


def _node(request: BuildRequest, scratch: Path, kept: Kept) -> Iterator[Step]:
    if NODE not in request.detected.parts:
        return
    if not request.node_version:
        raise BuildError(
            "needs Node, and the base has none", where=request.repo, hint='apt_packages = ["nodejs", "npm"]'
        )
    scripts = request.detected.scripts
    at = request.checkout
    env = {**_node_environment(request, scratch), "NODE_ENV": "production"}  # as on Heroku
    quiet = ("--no-audit", "--no-fund")

    def script(name: str) -> Iterator[Step]:
        if name in scripts:
            yield Step(f"npm run {name}", ("npm", "run", name), at, env)

    yield from script("heroku-prebuild")
    development = not _NEED_DEVELOPMENT.isdisjoint(scripts)
    if kept.modules is not None:
        yield Step(
            "reuse node_modules", ("cp", "-aT", "--reflink=auto", str(kept.modules), str(at / "node_modules")), at, env
        )
    else:
        yield Step("npm ci", ("npm", "ci", "--include=dev" if development else "--omit=dev", *quiet), at, env)
    yield from script("heroku-postbuild" if "heroku-postbuild" in scripts else "build")
    if development:
        yield Step("npm prune", ("npm", "prune", "--omit=dev", "--ignore-scripts", *quiet), at, env)
    yield from script("heroku-cleanup")


def _node_environment(request: BuildRequest, scratch: Path) -> dict[str, str]:
    """Native modules find the headers of the Node that they will run with."""
    headers = {"npm_config_nodedir": str(node_home(request))} if request.detected.node else {}
    path = (node_home(request) / "bin",) if request.detected.node else ()
    return environment(scratch, {**request.settings, **headers}, path=path)


def node_home(request: BuildRequest) -> Path:
    return node_directory(request.node_version, request.runtimes)


def _python(request: BuildRequest, scratch: Path, kept: Kept) -> Iterator[Step]:
    if PYTHON not in request.detected.parts:
        return
    at, venv = request.checkout, request.venv
    python = str(venv / "bin/python")
    env = environment(scratch, request.settings, path=(venv / "bin",))
    yield from _hook(request, env, HOOKS[0])
    if kept.dependencies is not None:
        copy = ("cp", "-a", "--reflink=auto", str(kept.dependencies / "venv"), str(venv))
        yield Step("reuse the virtual environment", copy, at, env)
    elif not kept.venv_complete:
        yield from _virtual_environment(request, scratch, env)
    yield from _hook(request, env, HOOKS[1])
    own_code = r"(^|/)(\.venv|node_modules|\.git)/"
    yield Step("bytecode", (python, "-m", "compileall", "-q", "-x", own_code, "."), at, env, must=False)


def _hook(request: BuildRequest, env: Mapping[str, str], name: str) -> Iterator[Step]:
    if name in request.detected.hooks:
        # Heroku makes them executable too. The name is one of our own two words.
        yield Step(name, ("/bin/sh", "-c", f"chmod +x {name} && exec {name}"), request.checkout, env)


def _virtual_environment(request: BuildRequest, scratch: Path, env: Mapping[str, str]) -> Iterator[Step]:
    at, venv = request.checkout, str(request.venv)
    python = f"{venv}/bin/python"
    pip: tuple[str, ...]
    if request.detected.python is None:
        # Debian's own pip works on the new environment from outside: ensurepip would cost 4 s of CPU.
        yield Step("python -m venv", ("python3", "-m", "venv", "--without-pip", venv), at, env)
        pip = ("/usr/bin/python3", "-m", "pip", "--python", python)
    else:
        _check_python(request)
        yield Step("python -m venv", (f"python{request.python_version}", "-m", "venv", venv), at, env)
        pip = (python, "-m", "pip")
    install = (*pip, "install", "--no-input", "--disable-pip-version-check", "--no-warn-script-location")
    if request.detected.requirements == "pyproject.toml":
        # Installed from a copy: setuptools leaves build/ and *.egg-info where it builds.
        copy = str(scratch / "project")
        yield Step("copy", ("cp", "-a", "--reflink=auto", ".", copy), at, env)
        yield Step("pip install", (*install, copy), at, env)
    else:
        yield Step("pip install", (*install, "-r", "requirements.txt"), at, env)


def _check_python(request: BuildRequest) -> None:
    if request.python_version not in request.base.pythons:
        there = ", ".join(request.base.pythons) or "none"
        raise BuildError(
            f"asks for Python {request.python_version}; to be had on this base: {there}",
            where=request.repo,
            hint=f'apt_packages = ["python{request.python_version}-venv"]    with an apt source that has it',
        )


def _command(request: BuildRequest, scratch: Path) -> Iterator[Step]:
    if COMMAND in request.detected.parts and request.command is not None:
        env = _node_environment(request, scratch)
        yield Step("build", ("/bin/bash", "-c", request.command), request.checkout, env)


def modules_stay_the_same(detected: Detected) -> bool:
    """Scripts may have built anything into node_modules, and local packages point back into the tree."""
    return not detected.node_local and _NEED_DEVELOPMENT.isdisjoint(detected.scripts)
