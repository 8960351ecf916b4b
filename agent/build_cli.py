"""``agent build --plan FILE``: build many repos side by side, and describe what is there then.

The plan is JSON; unknown keys are ignored:

    {"version": 1,
     "destination": "/srv/bakeboot",         where <repo>/<commit>/ is made
     "runtimes": "/opt/bakeboot/runtimes",   where Nodes from npm are put
     "user": "bakeboot-build",                     whom the builds run as; null: as the caller
     "time_limit": 1800,                     seconds for one repo
     "switch": true,                         put each checkout into use when all are built
     "durable": false,                       flush to disk before a checkout counts
     "environment": {"PIP_INDEX_URL": "…"},  package settings, for the builds; absent: our own environment's
     "repos": [{"name": "web", "source": "/run/…/web.tar or a directory", "subdirectory": "",
                "commit": "<40 hex>", "tree": "<40 hex>", "processes": {"web": "gunicorn app:app"},
                "build": null, "static": null, "detected": {…} or null,
                "reuse": ["/directories/like/destination/web"]}]}

On standard output, one line an event: ``bakeboot-progress {"repo": …, "event": …, "seconds": …}``, in seconds
since the repo's start. Events: start, step (title), message (text), done (a fresh build), kept (it was
there already), failed (reason).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TypeVar

from agent.build import build
from agent.build_plan import BuildRequest, is_setting, package_settings
from agent.checkout import switch
from agent.detect import Detected, detect
from agent.errors import BuildError
from agent.names import BUILD_USER, NAME_RULE, is_name
from agent.runtimes import RUNTIMES, Base, install_node, read_base
from agent.steps import Account, Runner, Step, last_lines, scratch_directory

DESTINATION = "/srv/bakeboot"
LOGS = "/run/bakeboot-build/logs"
SCRATCH = "/var/tmp"  # noqa: S108  # mkdtemp makes a private directory in it
TIME_LIMIT = 1800.0
"""Seconds that one repo's build may take."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class BuildPlan:
    """All that ``agent build`` does in one run."""

    requests: tuple[BuildRequest, ...]
    user: str | None
    time_limit: float
    switch: bool


def main(arguments: Sequence[str]) -> int:
    """``agent build --plan FILE [--jobs N] [--repo NAME…] [--logs DIR] [--describe PLANNED OUTPUT]``

    Exit code 12 when a repo failed; nothing is described then.
    """
    parser = argparse.ArgumentParser(prog="agent build", description="Build repos into checkouts, side by side.")
    parser.add_argument("--plan", type=Path, required=True, help="the build plan, a JSON file")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="builds at once (default: one a CPU)")
    parser.add_argument("--repo", action="append", default=[], help="build this one only; can be given again")
    parser.add_argument("--logs", type=Path, default=Path(LOGS), help="where each repo's output goes")
    parser.add_argument(
        "--describe",
        nargs=2,
        type=Path,
        metavar=("PLANNED", "OUTPUT"),
        help="then complete the planned image.json with what is installed, and write it",
    )
    options = parser.parse_args(arguments)
    plan = read_plan(_text(options.plan), read_base())
    chosen = tuple(request for request in plan.requests if not options.repo or request.repo in options.repo)
    options.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    with stopped_by_signals() as stop:
        failures = build_all(replace(plan, requests=chosen), options.logs, options.jobs, stop)
    for repo, error in failures:
        _tell_failure(repo, error, options.logs, options.plan)
    if options.describe and not failures:
        from agent.packages import describe

        describe(options.describe[0], Path("/"), options.describe[1])
    return BuildError.exit_code if failures else 0


def build_all(
    plan: BuildPlan, logs: Path, jobs: int, stop: threading.Event, scratch: Path = Path(SCRATCH)
) -> list[tuple[str, BuildError]]:
    """Build every repo of ``plan``, ``jobs`` at once, then put them into use. Gives those that failed."""
    account = Account.named(plan.user) if plan.user is not None else None

    place = Workplace(logs, account, plan.time_limit, stop, scratch, threading.Lock())
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        outcomes = list(pool.map(lambda request: _build_one(request, place), plan.requests))
    failures = [
        (request.repo, error) for request, error in zip(plan.requests, outcomes, strict=True) if error is not None
    ]
    if plan.switch and not failures:
        for request in plan.requests:
            switch(request.root, request.commit)
    return failures


@dataclass(frozen=True)
class Workplace:
    """What the builds of one run share. ``runtimes`` is held while a Node is installed: several repos may want it."""

    logs: Path
    account: Account | None
    time_limit: float
    stop: threading.Event
    scratch: Path
    runtimes: threading.Lock


def _build_one(request: BuildRequest, place: Workplace) -> BuildError | None:
    started = time.monotonic()
    log = place.logs / f"{request.repo}.log"
    log.unlink(missing_ok=True)

    def tell(event: str, **more: object) -> None:
        _tell({"repo": request.repo, "event": event, "seconds": round(time.monotonic() - started, 3), **more})

    tell("start", commit=request.commit, build=request.detected.build)
    for message in request.detected.messages:
        tell("message", text=message)
    try:
        with scratch_directory(place.account, place.scratch) as scratch:
            runner = ToldRunner(
                request.repo, log, scratch, started + place.time_limit, place.account, place.stop, tell=tell
            )
            if request.detected.node is not None:
                with place.runtimes:
                    install_node(
                        request.detected.node, runtimes=request.runtimes, runner=runner, settings=request.settings
                    )
            fresh = build(request, runner)
    except BuildError as error:
        tell("failed", reason=str(error.what))
        return error
    tell("done" if fresh else "kept")
    return None


@dataclass
class ToldRunner(Runner):
    """A runner whose steps are told as they begin."""

    tell: Callable[..., None] = lambda event, **more: None

    def run(self, step: Step) -> None:
        self.tell("step", title=step.title)
        super().run(step)


def _tell(event: Mapping[str, object]) -> None:
    # One write a line: several threads tell at once.
    sys.stdout.write(f"bakeboot-progress {json.dumps(event)}\n")
    sys.stdout.flush()


def _tell_failure(repo: str, error: BuildError, logs: Path, plan: Path) -> None:
    lines = [f"{repo} | {line}" for line in last_lines(logs / f"{repo}.log")]
    sys.stderr.write("\n".join([*lines, str(error), f"  again agent build --plan {plan} --repo {repo}", ""]))


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """An event that the first signal to end sets; the steps that run are killed then, and what they made is removed."""
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# The plan's JSON


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise BuildError(f"can't be read: {why}", where=str(path), hint=f"ls -l {path}") from None


def read_plan(text: str, base: Base) -> BuildPlan:
    """Raises ``BuildError`` that names the value. A repo without ``detected`` is looked at, if it is a directory."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise BuildError(f"not JSON: {error}", where="build plan") from None
    plan = _Fields(document, "build plan")
    if plan.get("version", int, 1) != 1:
        raise plan.error("version", "expected 1")
    given = "environment" in plan.document
    settings = plan.strings("environment") if given else package_settings(os.environ)
    for name in settings:
        if not is_setting(name):
            raise plan.error(f"environment.{name}", "expected a setting of pip, npm, a proxy or a CA bundle")
    repos = plan.get("repos", list, [])
    requests = tuple(
        _read_request(plan, _Fields(repo, f"build plan: repos[{number}]"), settings, base)
        for number, repo in enumerate(repos)
    )
    user = plan.document.get("user", BUILD_USER)
    return BuildPlan(
        requests=requests,
        user=user if isinstance(user, str) and os.geteuid() == 0 else None,
        time_limit=float(plan.get("time_limit", (int, float), TIME_LIMIT)),
        switch=plan.get("switch", bool, True),
    )


def _read_request(plan: _Fields, repo: _Fields, settings: Mapping[str, str], base: Base) -> BuildRequest:
    name = repo.get("name", str)
    if not is_name(name):
        raise repo.error("name", f"expected {NAME_RULE}")
    commit, tree = repo.get("commit", str), repo.get("tree", str)
    for key, value in (("commit", commit), ("tree", tree)):
        if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", value):
            raise repo.error(key, f"expected 40 hex digits, got {value!r}")
    processes = repo.strings("processes")
    for process in processes:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,63}", process):
            raise repo.error("processes", f"expected a process name, got {process!r}")
    command, static = repo.optional("build"), repo.optional("static")
    source = _source(repo)
    detected = repo.document.get("detected")
    return BuildRequest(
        repo=name,
        source=source,
        commit=commit,
        tree=tree,
        root=Path(plan.get("destination", str, DESTINATION)) / name,
        detected=Detected.from_json(detected)
        if isinstance(detected, dict)
        else detect_directory(source, build=command, static=static, base=base, where=name),
        base=base,
        processes=processes,
        command=command,
        settings=settings,
        reuse=tuple(Path(place) for place in repo.get("reuse", list, [])),
        runtimes=Path(plan.get("runtimes", str, str(RUNTIMES))),
        durable=plan.get("durable", bool, False),
    )


def _source(repo: _Fields) -> Path:
    source = Path(repo.get("source", str))
    subdirectory = repo.get("subdirectory", str, "")
    if not subdirectory or source.suffix == ".tar":  # a tar file holds the subdirectory alone already
        return source
    inside = (source / subdirectory).resolve()
    if not inside.is_relative_to(source.resolve()) or not inside.is_dir():
        raise repo.error("subdirectory", f"no directory {subdirectory!r} in {source}")
    return inside


def detect_directory(source: Path, *, build: str | None, static: str | None, base: Base, where: str) -> Detected:
    """``detect`` of a directory on disk. Symlinks are no files here: one may point anywhere."""
    if not source.is_dir():
        raise BuildError(f'no directory {source}; a tar file needs "detected"', where=where)
    listing = [
        os.path.relpath(os.path.join(directory, name), source)
        for directory, _, names in os.walk(source)
        for name in names
        if not os.path.islink(os.path.join(directory, name))
    ]
    return detect(
        listing,
        lambda name: (source / name).read_bytes(),
        build=build,
        static=static,
        base_python=base.python,
        base_node=base.node or "",
        where=where,
    )


class _Fields:
    """A JSON object whose values are asked for by type."""

    def __init__(self, document: object, where: str) -> None:
        if not isinstance(document, dict):
            raise BuildError("expected an object", where=where)
        self.document: dict[str, object] = document
        self.where = where

    def error(self, key: str, expected: str) -> BuildError:
        return BuildError(expected, where=f"{self.where}: {key}")

    def get(self, key: str, kind: type[Value] | tuple[type[Value], ...], default: Value | None = None) -> Value:
        value = self.document.get(key, default)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(key, f"expected {_kind_name(kind)}, got {value!r}")
        return value

    def optional(self, key: str) -> str | None:
        return None if self.document.get(key) is None else self.get(key, str)

    def strings(self, key: str) -> dict[str, str]:
        table: dict[str, object] = self.get(key, dict, {})
        for name, value in table.items():
            if not isinstance(value, str) or "\0" in value:
                raise self.error(f"{key}.{name}", "expected a string")
        return {name: str(value) for name, value in table.items()}


def _kind_name(kind: type[object] | tuple[type[object], ...]) -> str:
    names = {str: "a string", int: "a number", bool: "true or false", list: "a list", dict: "an object"}
    return names[kind[0] if isinstance(kind, tuple) else kind]
