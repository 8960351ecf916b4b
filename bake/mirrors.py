"""Mirrors: a bare copy of each repository on the baking side, so that no credential ever enters an image.

    <home>/mirrors/<16 hex of the location's sha256>.git   branches, tags, the remote's default as refs/bakeboot/HEAD
    <home>/mirrors/<16 hex …>.lock                         held (flock) by whoever creates or updates it

A mirror is made next to its place and renamed into it, so half a mirror is never seen. Nothing is ever pruned from it
but refs: a commit that `stack.lock` names stays even when its branch was rewritten. Reading needs no lock.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from agent.errors import HostError, SourceError
from bake.git import REMOTE_TIMEOUT, Git, GitFailed
from bake.git_errors import explain
from bake.home import take_lock
from bake.mirror import HEAD, Mirror
from bake.source_values import is_commit
from bake.stack import Repo

PARALLEL = 8
_NAP = 0.05  # seconds between two looks at a lock that somebody else holds

_BRANCHES_AND_TAGS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")


class Mirrors:
    """All mirrors of a home. Fetches many at once."""

    def __init__(self, directory: Path, git: Git, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._directory = directory
        self._git = git
        self._sleep = sleep

    def path_of(self, location: str) -> Path:
        return self._directory / f"{hashlib.sha256(location.encode()).hexdigest()[:16]}.git"

    def mirror(self, repo: Repo) -> Mirror:
        """The mirror of a repo, whether it exists yet or not."""
        return Mirror(repo.name, repo.location, self.path_of(repo.location), self._git)

    def all(self) -> list[Mirror]:
        """Every mirror that there is, whatever stack it serves."""
        return [Mirror(path.stem, str(path), path, self._git) for path in sorted(self._directory.glob("*.git"))]

    def update(self, repos: Iterable[Repo]) -> dict[str, Mirror]:
        """Fetches them all."""
        return self._each(repos, lambda repo: self._fetch(repo, None))

    def hold(self, repos: Iterable[Repo], commits: Mapping[str, str]) -> dict[str, Mirror]:
        """Mirrors that have these commits (by repo name): fetches only what is missing.

        Raises SourceError for a commit that can't be had any more.
        """
        return self._each(repos, lambda repo: self._fetch(repo, commits[repo.name]))

    def uncommitted(self, repo: Repo) -> str | None:
        """A sentence about changes in a working copy on this machine that no commit has; None when there are none."""
        path = repo.local_path
        if path is None or not (path / ".git").exists():
            return None
        arguments = (
            "status",
            "--porcelain=v1",
            "-z",
            "--no-renames",
            "--ignore-submodules",
            "--",
            repo.subdirectory or ".",
        )
        try:
            output = self._git.remote(None, "-C", str(path), *arguments)
        except GitFailed:
            return None  # the fetch tells why
        count = len([record for record in output.split(b"\0") if record])
        files = "1 file" if count == 1 else f"{count} files"
        return f"{repo.name}: {files} in {path} not committed: an image gets commits only" if count else None

    def _each(self, repos: Iterable[Repo], work: Callable[[Repo], Mirror]) -> dict[str, Mirror]:
        """Runs `work` for all, several at a time, and tells every failure, not the first."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except OSError as failed:
            reason = (failed.strerror or "it can't be made").lower()
            raise HostError(reason, where=str(self._directory), hint="BAKEBOOT_HOME=DIRECTORY bakeboot …") from None
        futures: dict[str, Future[Mirror]] = {}
        with ThreadPoolExecutor(PARALLEL) as pool:
            try:
                futures = {repo.name: pool.submit(work, repo) for repo in repos}
                errors = [error for future in futures.values() if (error := future.exception()) is not None]
            except BaseException:
                self._git.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        if errors:
            raise joined(errors)
        return {name: future.result() for name, future in futures.items()}

    def _fetch(self, repo: Repo, commit: str | None) -> Mirror:
        mirror = self.mirror(repo)
        if commit is not None and mirror.path.exists() and mirror.has(commit):
            return mirror
        wanted = commit or (repo.ref if is_commit(repo.ref) else None)
        with self._locked(mirror):
            if commit is not None and mirror.path.exists() and mirror.has(commit):
                return mirror  # somebody else fetched it meanwhile
            try:
                self._refresh(mirror)
            except GitFailed as failed:
                raise explain(repo.location, failed, where=repo.name) from None
            if wanted is not None and not mirror.has(wanted):
                self._fetch_commit(mirror, wanted)
        if commit is not None and not mirror.has(commit):
            raise _lost(repo, mirror, commit)
        return mirror

    def _refresh(self, mirror: Mirror) -> None:
        """Creates or updates a mirror. The caller holds its lock."""
        fresh = mirror.path.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        if mirror.path.exists():
            _remove_locks(mirror.path)
            self._fetch_refs(mirror.path, mirror.location)
            return
        self._git.read(fresh, "init", "--quiet", "--bare", "--template=")
        try:
            self._fetch_refs(fresh, mirror.location)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        fresh.rename(mirror.path)

    def _fetch_refs(self, path: Path, location: str) -> None:
        try:
            self._fetch_into(path, location, *_BRANCHES_AND_TAGS, f"+HEAD:{HEAD}")
        except GitFailed as failed:
            if "couldn't find remote ref HEAD" not in failed.message:
                raise
            # No default branch: that matters only to a repo without `ref`, and resolve says so.
            self._fetch_into(path, location, *_BRANCHES_AND_TAGS)
            self._git.read(path, "update-ref", "-d", HEAD)

    def _fetch_commit(self, mirror: Mirror, commit: str) -> None:
        """A commit that no branch or tag leads to: many servers give it all the same."""
        try:
            self._fetch_into(mirror.path, mirror.location, commit)
        except GitFailed:
            return  # whoever wanted it says what is missing, and what there is instead

    def _fetch_into(self, path: Path, location: str, *what: str) -> None:
        options = ("--quiet", "--no-tags", "--prune", "--force", "--no-write-fetch-head", "--no-recurse-submodules")
        self._git.remote(path, "fetch", *options, "--end-of-options", location, *what)

    @contextmanager
    def _locked(self, mirror: Mirror) -> Iterator[None]:
        """Holds a mirror's lock; waits for another bakeboot that fetches the same repository."""
        path = mirror.path.with_suffix(".lock")
        for _ in range(int(REMOTE_TIMEOUT / _NAP)):
            if self._git.stopped:
                raise SourceError("stopped while it waited for another fetch", where=mirror.name)
            lock = take_lock(path, wait=False)
            if lock is not None:
                break
            self._sleep(_NAP)
        else:
            what = f"another bakeboot has been fetching {mirror.location} for {REMOTE_TIMEOUT / 60:g} minutes"
            raise SourceError(what, where=mirror.name, hint=f"fuser -v {path}")
        try:
            yield
        finally:
            os.close(lock)


def _lost(repo: Repo, mirror: Mirror, commit: str) -> SourceError:
    """A locked commit that isn't to be had: its branch was rewritten, or the repository is another one."""
    update = f"bakeboot lock --update {repo.name}"
    try:
        now = mirror.resolve(repo.ref)
    except SourceError as error:
        return SourceError(
            f"commit {commit[:12]} of stack.lock is gone, and so is its ref: {error.what}",
            where=repo.name,
            hint=error.hint,
        )
    what = f"commit {commit[:12]} of stack.lock is gone: {repo.ref} was rewritten, and is now {now[:12]}"
    return SourceError(f"{what} ({mirror.subject(now)})", where=repo.name, hint=update)


def joined(errors: Sequence[BaseException]) -> BaseException:
    """One error for all: those of sources are told together; anything else comes first."""
    sources = [error for error in errors if isinstance(error, SourceError)]
    others = [error for error in errors if not isinstance(error, SourceError)]
    if others or len(sources) == 1:
        return (others or errors)[0]
    return SourceError("\n".join(str(error) for error in sources))


def _remove_locks(path: Path) -> None:
    """Lock files of a git that was killed. Ours is held, so no git is at work in there."""
    for lock in (*path.glob("*.lock"), *(path / "refs").rglob("*.lock")):
        lock.unlink(missing_ok=True)
