"""What the repos say of themselves at the commits that are locked: read from the mirrors, no checkout.

A repo written for Heroku needs no change: its processes come from ``Procfile``, its environment and
add-ons from ``app.json``, how it is built from the files that are there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from agent.detect import Detected, detect
from agent.errors import BuildError, Mistake, SourceError, StackError
from agent.heroku import AppJson, parse_app_json, parse_procfile
from bake.base import BASES
from bake.lock import Pin
from bake.mirror import Mirror
from bake.stack import Repo, Stack

AT_ONCE = 8
"""Repos that are read side by side: each asks git some dozen times."""

RELEASE = "release"
"""The process of a Procfile that runs once a commit, before its services start."""


@dataclass(frozen=True)
class Source:
    """One repo at its locked commit. ``time`` is the commit's, in seconds since 1970."""

    repo: Repo
    commit: str
    tree: str
    subject: str
    time: int
    detected: Detected
    processes: Mapping[str, str]
    app: AppJson

    @property
    def release(self) -> str | None:
        return self.processes.get(RELEASE)


def read_sources(
    stack: Stack, pins: Mapping[str, Pin], mirrors: Mapping[str, Mirror], *, where: str = "stack.toml"
) -> dict[str, Source]:
    """Every repo of the stack; raises StackError with the mistakes of all of them at once."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        read = pool.map(
            lambda repo: _try_source(stack, repo, pins[repo.name].commit, mirrors[repo.name]), stack.repos.values()
        )
        found = dict(zip(stack.repos, read, strict=True))
    mistakes = [mistake for one in found.values() if not isinstance(one, Source) for mistake in one]
    if mistakes:
        raise StackError(mistakes, where=where)
    return {name: one for name, one in found.items() if isinstance(one, Source)}


def _try_source(stack: Stack, repo: Repo, commit: str, mirror: Mirror) -> Source | list[Mistake]:
    try:
        return _read_source(stack, repo, commit, mirror)
    except StackError as error:
        place = f"repos.{repo.name}: {error.where or 'file'}"
        return [Mistake(f"{place}: {mistake.path}", mistake.expected, mistake.hint) for mistake in error.mistakes]
    except BuildError as error:
        return [Mistake(f"repos.{repo.name}", error.what, error.hint)]


def _read_source(stack: Stack, repo: Repo, commit: str, mirror: Mirror) -> Source:
    listing = mirror.listing(commit, repo.subdirectory)

    def read(path: str) -> bytes:
        content = mirror.read(commit, f"{repo.subdirectory}/{path}" if repo.subdirectory else path)
        if content is None:
            raise SourceError(f"{path} is not in commit {commit[:12]}", where=repo.name)
        return content

    def text(path: str) -> str:
        return read(path).decode("utf-8", "replace") if path in listing else ""

    app = parse_app_json(text("app.json")) if "app.json" in listing else AppJson()
    return Source(
        repo,
        commit,
        mirror.tree(commit, repo.subdirectory),
        mirror.subject(commit),
        mirror.time(commit),
        detect(listing, read, build=repo.build, static=repo.static, base_python=BASES[stack.base].python),
        _processes(text("Procfile"), text("package.json")),
        app,
    )


def _processes(procfile: str, package_json: str) -> Mapping[str, str]:
    """The Procfile's; without a ``web`` line a Node repo with a start script gets one, as on Heroku."""
    processes = parse_procfile(procfile)
    if "web" not in processes and package_json:
        try:
            scripts = json.loads(package_json).get("scripts") or {}
        except (ValueError, AttributeError):
            return processes
        if isinstance(scripts, dict) and scripts.get("start"):
            return {**processes, "web": "npm start"}
    return processes
