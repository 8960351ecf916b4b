"""How a repo's source becomes a checkout: in a bake, and in an update on an instance.

``build`` is the recipe: look what is there, run the plan's commands as the build user, finish as
root, and only then write the record that makes the checkout count (see ``agent/checkout.py``).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent import checkout as files
from agent.build_plan import BuildRequest, Kept, checkout_key, modules_stay_the_same, node_home, plan
from agent.detect import NODE, PYTHON
from agent.errors import BuildError
from agent.steps import Runner


def build(request: BuildRequest, runner: Runner) -> bool:
    """Make ``request.checkout``. False when it was there already, built from the same inputs.

    Raises ``BuildError``; what was half made is gone then.
    """
    request.root.mkdir(mode=0o755, parents=True, exist_ok=True)
    with _alone(request):
        key = checkout_key(request)
        record = files.read_record(request.checkout)
        if record is not None and record.get("key") == key:
            return False
        kept = _look_around(request)
        steps = plan(request, runner.scratch, kept)
        try:
            _make_directories(request, runner, kept)
            for step in steps:
                runner.run(step)
            _finish(request, runner, key)
        except BaseException:
            _clear(request)
            raise
        return True


@contextmanager
def _alone(request: BuildRequest) -> Iterator[None]:
    """One build of a repo at a time: a lock on its directory, which ends with this process."""
    directory = os.open(request.root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise BuildError("is being built by another process", where=request.repo, hint="wait for it to end") from None
    finally:
        os.close(directory)


def _look_around(request: BuildRequest) -> Kept:
    keys = request.dependency_keys
    places = (request.root, *request.reuse)
    venv_complete = PYTHON in keys and (request.dependencies / files.COMPLETE).exists()
    dependencies = modules = None
    if PYTHON in keys and not venv_complete:
        earlier = (place / request.dependencies.name for place in request.reuse)
        dependencies = next((path for path in earlier if (path / files.COMPLETE).exists()), None)
    if NODE in keys and modules_stay_the_same(request.detected):
        found = (path for place in places for path in _modules_of(place, keys[NODE]))
        modules = next((path for path in found if path.parent != request.checkout), None)  # that one is made anew
    return Kept(venv_complete, dependencies, modules)


def _modules_of(place: Path, key: str) -> Iterator[Path]:
    for commit in files.checkouts(place):
        record = files.read_record(place / commit) or {}
        keys = record.get("dependencies")
        if isinstance(keys, dict) and keys.get(NODE) == key and (place / commit / "node_modules").is_dir():
            yield place / commit / "node_modules"


def _make_directories(request: BuildRequest, runner: Runner, kept: Kept) -> None:
    fresh = [request.checkout]
    if PYTHON in request.detected.parts and not kept.venv_complete:
        fresh.append(request.dependencies)
    for directory in fresh:
        files.remove(directory)
        directory.mkdir(mode=0o755)
    runner.give(*fresh)


def _clear(request: BuildRequest) -> None:
    files.remove(request.checkout)
    if PYTHON in request.detected.parts and not (request.dependencies / files.COMPLETE).exists():
        files.remove(request.dependencies)


def _finish(request: BuildRequest, runner: Runner, key: str) -> None:
    """Everything becomes root's; then, where no build can reach any more, what we add to it."""
    checkout, parts = request.checkout, request.detected.parts
    runner.take(checkout)
    if NODE in parts:
        _scrub_modules(checkout / "node_modules")
    if PYTHON in parts:
        if not (request.dependencies / files.COMPLETE).exists():
            runner.take(request.dependencies)
            _flush(request)
            files.write_atomically(request.dependencies / files.COMPLETE, f"{request.dependency_keys[PYTHON]}\n")
        files.remove(checkout / ".venv")
        (checkout / ".venv").symlink_to(f"../{request.dependencies.name}/venv")
    _check_static(request)
    _flush(request)
    files.write_record(checkout, _record(request, key), request.processes)


def _flush(request: BuildRequest) -> None:
    if request.durable:
        os.sync()


def _scrub_modules(modules: Path) -> None:
    """Take out what names the registries of the build: npm's hidden lock file, node-gyp's settings, tools' caches."""
    if modules.is_symlink():
        return
    files.remove(modules / ".cache")
    for directory, _, names in os.walk(modules):
        at = Path(directory)
        if ".package-lock.json" in names:
            files.remove(at / ".package-lock.json")
        if "config.gypi" in names and at.name == "build":
            files.remove(at / "config.gypi")


def _check_static(request: BuildRequest) -> None:
    wanted = request.detected.static
    if wanted is None:
        return
    served = (request.checkout / wanted).resolve()
    if not served.is_dir() or not served.is_relative_to(request.checkout.resolve()):
        raise BuildError(
            f"static: no directory {wanted!r} after the build", where=request.repo, hint='static = "public"'
        )


def _record(request: BuildRequest, key: str) -> dict[str, object]:
    parts, checkout = request.detected.parts, request.checkout
    path: list[str] = []
    packages: dict[str, dict[str, str]] = {}
    runtime: dict[str, str] = {}
    if PYTHON in parts:
        path.append(".venv/bin")
        packages[PYTHON] = files.python_packages(request.venv)
        runtime[PYTHON] = request.python_version
    if NODE in parts:
        path.append("node_modules/.bin")
        packages[NODE] = files.node_packages(checkout / "node_modules")
        runtime[NODE] = request.node_version
    if request.detected.node is not None:
        path.append(str(node_home(request) / "bin"))
        runtime[NODE] = request.node_version
    return {
        "version": 1,
        "repo": request.repo,
        "commit": request.commit,
        "tree": request.tree,
        "key": key,
        "build": request.detected.build,
        **runtime,
        "path": path,
        "packages": packages,
        "dependencies": request.dependency_keys,
        "static": request.detected.static,
    }
