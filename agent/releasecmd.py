"""The ``release:`` line of each repo, before its services start: once per instance, repo and commit.

On self-contained machines alone. The record is ``releases.json`` of this instance: running, done, or
failed with its last lines. One that failed, or that was running when the boot was cut off, is never
retried silently: the boot fails until a person types ``agent release retry``.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from agent import state
from agent.command import Outcome
from agent.environment import Checkout
from agent.errors import ReleaseCommandError
from agent.image import WEB, ImageManifest, Repo, Service

RUNNING, DONE, FAILED = "running", "done", "failed"
SECONDS = 3600.0
"""How long a release command may take: as on Heroku, an hour."""

Record = dict[str, object]
"""``state``, ``since`` (RFC 3339), and once it has ended ``status`` (None: its time was over) and ``lines``."""


class ReleaseRecords:
    """The record of this instance, by repo and commit; written to disk at each change."""

    def __init__(self, path: str, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock

    def find(self, repo: str, commit: str) -> Record | None:
        """The record of that commit, or None. One that can't be read is a ReleaseCommandError: it may have run."""
        record = self._all().get(repo, {}).get(commit)
        if record is not None and record.get("state") not in (RUNNING, DONE, FAILED):
            raise self._unreadable(f"{repo} has no known state")
        return record

    def put(self, repo: str, commit: str, record: Record) -> None:
        everything = self._all()
        everything.setdefault(repo, {})[commit] = {"since": state.utc(self._clock())} | record
        state.write_durably(self._path, json.dumps(everything, indent=1) + "\n")

    def forget(self, repo: str, commit: str) -> None:
        """Let the next boot run it again."""
        everything = self._all()
        everything.get(repo, {}).pop(commit, None)
        state.write_durably(self._path, json.dumps(everything, indent=1) + "\n")

    def _all(self) -> dict[str, dict[str, Record]]:
        try:
            found = state.read_object(self._path)
        except ValueError as error:
            raise self._unreadable(str(error)) from error
        repos = {repo: commits for repo, commits in found.items() if isinstance(commits, dict)}
        if len(repos) != len(found) or not all(isinstance(r, dict) for c in repos.values() for r in c.values()):
            raise self._unreadable("expected repos, commits, records")
        return repos

    def _unreadable(self, why: str) -> ReleaseCommandError:
        hint = f"mv {self._path} {self._path}.old   (every release command would run again)"
        return ReleaseCommandError(f"the record can't be read: {why}", where=self._path, hint=hint)


def release_service(repo: Repo, image: ImageManifest) -> Service | None:
    """The service whose user and environment the line gets: the repo's web one, else its first; None without any."""
    services = [service for service in image.services.values() if service.repo == repo.name]
    return next((service for service in services if service.kind == WEB), services[0] if services else None)


def run_all(
    image: ImageManifest,
    checkouts: dict[str, Checkout],
    releases: ReleaseRecords,
    run: Callable[[str, Service], Outcome],
) -> None:
    """Run what has not run yet, one repo after the other. ``run`` gets the line and the service that it runs as.

    Raises ReleaseCommandError for a line that fails, has failed, or was cut off.
    """
    for repo in image.repos.values():
        service = release_service(repo, image)
        if repo.release is None or service is None:
            continue
        commit = checkouts[repo.name].commit
        record = releases.find(repo.name, commit)
        if record is not None and record["state"] == DONE:
            continue
        if record is not None:
            raise _earlier(repo, commit, record)
        releases.put(repo.name, commit, {"state": RUNNING})
        outcome = run(repo.release, service)
        ended: Record = {"status": outcome.status, "lines": list(outcome.lines)}
        if outcome.status == 0:
            releases.put(repo.name, commit, ended | {"state": DONE})
        else:
            releases.put(repo.name, commit, ended | {"state": FAILED})
            raise _failure(repo, commit, _ending(outcome.status), outcome.lines)


def _ending(status: object) -> str:
    return f"did not end within {SECONDS / 60:g} minutes" if status is None else f"failed with exit status {status}"


def _earlier(repo: Repo, commit: str, record: Record) -> ReleaseCommandError:
    since, lines = record.get("since"), record.get("lines")
    if record["state"] == RUNNING:
        return _failure(repo, commit, f"was cut off: it began at {since}, how far it came is not known", ())
    said = tuple(str(line) for line in lines) if isinstance(lines, list) else ()
    return _failure(repo, commit, f"{_ending(record.get('status'))} at {since}", said)


def _failure(repo: Repo, commit: str, how: str, lines: tuple[str, ...]) -> ReleaseCommandError:
    said = "".join(f"\n  {line}" for line in lines[-5:])
    return ReleaseCommandError(
        f"the release command {how} (commit {commit[:12]}): {repo.release}{said}",
        where=repo.name,
        hint=f"agent release retry {repo.name}",
    )
