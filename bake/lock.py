"""`stack.lock`: which commit of each repo an image is baked from.

A pin stays until somebody asks to move it (`bakeboot lock --update REPO`), or stack.toml names another URL or ref.
`plan_lock` decides, and is pure; `lock_stack` looks at the repositories, and writes what was decided.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from agent.errors import Mistake, SourceError, StackError
from bake import source_values
from bake.fields import Fields, Refused, Report, expected, quoted
from bake.home import write_atomically
from bake.mirror import Mirror
from bake.mirrors import Mirrors, joined
from bake.stack import Repo, Stack
from bake.values import existing

VERSION = 1

_HEADER = """\
# The commit of each repo that an image is baked from. Written by `bakeboot lock`; commit it next to stack.toml.
# To move a repo to where its ref is now:  bakeboot lock --update REPO
"""

Verdict = Literal["new", "same", "held", "moved", "changed", "removed"]


@dataclass(frozen=True)
class Pin:
    """One repo's line: `url` and `ref` as stack.toml had them, and the commit that `ref` was then."""

    url: str
    ref: str
    commit: str


@dataclass(frozen=True)
class Lock:
    repos: Mapping[str, Pin] = field(default_factory=dict)


@dataclass(frozen=True)
class Head:
    """Where a repo's ref is now. `rewritten`: the pinned commit is no part of its history (any more)."""

    commit: str
    rewritten: bool = False


@dataclass(frozen=True)
class Change:
    """What becomes of one repo's pin.

    new: it has none yet. same: its ref is where the pin is, or wasn't looked at. held: the ref moved, the pin stays.
    moved: the pin follows, as asked. changed: stack.toml names another URL or ref. removed: stack.toml has it no more.
    """

    repo: str
    verdict: Verdict
    before: Pin | None
    after: Pin | None
    head: Head | None = None

    def __str__(self) -> str:
        before, after = _short(self.before), _short(self.after)
        rewritten = " (its history was rewritten)" if self.head and self.head.rewritten else ""
        match self.verdict:
            case "new":
                return f"{self.repo}: {_ref(self.after)} is {after}"
            case "same":
                return f"{self.repo}: {after}"
            case "held":
                now = self.head.commit[:12] if self.head else ""
                hint = f"bakeboot lock --update {self.repo}"
                return f"{self.repo}: stays at {before}, while {_ref(self.after)} is {now}{rewritten}: {hint}"
            case "moved":
                return f"{self.repo}: {_ref(self.after)} moved from {before} to {after}{rewritten}"
            case "changed":
                what = "ref" if self.before and self.after and self.before.url == self.after.url else "url"
                old, new = (getattr(pin, what) for pin in (self.before, self.after))
                return f"{self.repo}: {what} is {new} in stack.toml, was {old}: from {before} to {after}"
            case "removed":
                return f"{self.repo}: not in stack.toml any more, was {before}"


@dataclass(frozen=True)
class LockPlan:
    """The lock as it will be, what changes for whom, and what a person should know besides."""

    lock: Lock
    changes: tuple[Change, ...]
    notices: tuple[str, ...] = ()


def plan_lock(stack: Stack, lock: Lock, heads: Mapping[str, Head], update: Collection[str] = ()) -> LockPlan:
    """Decides each repo's pin. Pure. `heads` holds at least all that `unpinned` names; `update` who may move."""
    changes = [_change(repo, lock.repos.get(repo.name), heads.get(repo.name), update) for repo in stack.repos.values()]
    changes += [Change(name, "removed", pin, None) for name, pin in lock.repos.items() if name not in stack.repos]
    return LockPlan(Lock({change.repo: change.after for change in changes if change.after}), tuple(changes))


def unpinned(stack: Stack, lock: Lock, update: Collection[str] = ()) -> tuple[str, ...]:
    """The repos that can't be pinned without a look at where their ref is."""
    return tuple(
        name for name, repo in stack.repos.items() if name in update or not _still_holds(repo, lock.repos.get(name))
    )


def _still_holds(repo: Repo, pin: Pin | None) -> bool:
    return pin is not None and (pin.url, pin.ref) == (repo.url, repo.ref)


def _change(repo: Repo, pin: Pin | None, head: Head | None, update: Collection[str]) -> Change:
    if pin is not None and _still_holds(repo, pin):
        if head is None or head.commit == pin.commit:
            return Change(repo.name, "same", pin, pin, head)
        if repo.name not in update:
            return Change(repo.name, "held", pin, pin, head)
        return Change(repo.name, "moved", pin, replace(pin, commit=head.commit), head)
    if head is None:
        raise ValueError(f"nobody looked where {repo.ref} of {repo.name} is")
    after = Pin(repo.url, repo.ref, head.commit)
    return Change(repo.name, "new" if pin is None else "changed", pin, after, head)


def lock_stack(
    stack: Stack,
    path: Path,
    mirrors: Mirrors,
    *,
    update: Collection[str] = (),
    look: Literal["all", "unpinned"] = "all",
) -> LockPlan:
    """Brings the lock file at `path` up to date with `stack`.

    `update` names the repos whose pins follow their refs. `look`: at all repositories, so that each one that moved is
    told; or only at those that need it, so that a bake from a complete lock asks nobody. Raises StackError, and
    SourceError with every ref that is gone.
    """
    _check_update(stack, update)
    lock = read_lock(path)
    names = tuple(stack.repos) if look == "all" else unpinned(stack, lock, update)
    found = mirrors.update(stack.repos[name] for name in names)
    heads = _heads(stack, lock, found)
    plan = plan_lock(stack, lock, heads, update)
    if plan.lock != lock or not path.exists():
        write_lock(path, plan.lock)
    notices = (mirrors.uncommitted(repo) for repo in stack.repos.values())
    return replace(plan, notices=tuple(notice for notice in notices if notice))


def _check_update(stack: Stack, update: Collection[str]) -> None:
    mistakes = []
    for name in update:
        try:
            existing("repo", tuple(stack.repos))(name)
        except Refused as refused:
            mistakes.append(Mistake("--update", refused.what, f"--update {refused.example.strip(chr(34))}"))
    if mistakes:
        raise StackError(mistakes)


def _heads(stack: Stack, lock: Lock, mirrors: Mapping[str, Mirror]) -> dict[str, Head]:
    heads: dict[str, Head] = {}
    errors: list[SourceError] = []
    for name, mirror in mirrors.items():
        ref, pin = stack.repos[name].ref, lock.repos.get(name)
        try:
            commit = mirror.resolve(ref)
            moved = pin is not None and _still_holds(stack.repos[name], pin) and pin.commit != commit
            heads[name] = Head(commit, rewritten=moved and pin is not None and not mirror.contains(ref, pin.commit))
        except SourceError as error:
            errors.append(error)
    if errors:
        raise joined(errors)
    return heads


def read_lock(path: Path) -> Lock:
    """The lock file at `path`; an empty lock when there is none. Raises StackError with every mistake."""
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        return Lock()
    except (OSError, UnicodeDecodeError) as error:
        raise StackError([Mistake(str(path), f"it can't be read: {error}", f"git checkout {path}")]) from None
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        hint = "keep one side of the merge, then: bakeboot lock" if "<<<<<<<" in text else f"git checkout {path}"
        raise StackError([Mistake(str(path), f"it is not TOML: {error}", hint)]) from None
    report = Report()
    root = Fields(document, report)
    root.need("version", _version, VERSION, what="the version of its format", example=str(VERSION))
    lock = Lock({name: _pin(table) for name, table in root.tables("repos").items()})
    root.close()
    if report.mistakes:
        raise StackError(report.mistakes, where=str(path))
    return lock


def _version(value: object) -> int:
    if value != VERSION or isinstance(value, bool):
        raise expected(f"version {VERSION}, which this bakeboot writes", value, hint="use the bakeboot that wrote it")
    return VERSION


def _pin(table: Fields) -> Pin:
    def text(key: str, parse: Callable[[object], str]) -> str:
        return table.need(key, parse, "", what="what `bakeboot lock` writes", example='"…"')

    return Pin(text("url", source_values.url), text("ref", source_values.ref), text("commit", _commit))


def _commit(value: object) -> str:
    if not isinstance(value, str) or not source_values.is_commit(value):
        raise expected("a commit of 40 hexadecimal digits", value, hint="bakeboot lock --update REPO    writes it")
    return value


def render_lock(lock: Lock) -> str:
    """The file's text: by name, so that a change of one repo is a change of one line."""
    tables = [
        f"\n[repos.{name}]\nurl = {quoted(pin.url)}\nref = {quoted(pin.ref)}\ncommit = {quoted(pin.commit)}\n"
        for name, pin in sorted(lock.repos.items())
    ]
    return f"{_HEADER}\nversion = {VERSION}\n{''.join(tables)}"


def write_lock(path: Path, lock: Lock) -> None:
    """Writes the file whole or not at all. Raises StackError when it can't be written."""
    try:
        write_atomically(path, render_lock(lock))
    except OSError as error:
        reason = (error.strerror or "it can't be written").lower()
        raise StackError([Mistake(str(path), reason, f"ls -ld {path.parent}")]) from None


def _short(pin: Pin | None) -> str:
    return pin.commit[:12] if pin else ""


def _ref(pin: Pin | None) -> str:
    ref = pin.ref if pin else ""
    return "the default branch" if ref == "HEAD" else ref
