"""Reads a mirror: refs, commits, trees and files, without a checkout. `bake/mirrors.py` makes and updates them.

Every value that comes from outside is checked here (a ref, a commit) and stands behind `--end-of-options`.
"""

from __future__ import annotations

import difflib
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.errors import SourceError
from bake.fields import escaped, quoted
from bake.git import Git, GitFailed
from bake.git_errors import said
from bake.source_values import is_commit, is_ref

HEAD = "refs/bakeboot/HEAD"
"""Where a mirror keeps the remote's default branch."""
LONGEST_FILE = 64 * 1024**2
"""Bytes of a file that `Mirror.read` gives; the lock file of a large Node project has some megabytes."""
LONGEST_LOG = 1000
"""Commits that `Mirror.log` tells."""
MOST_LINKS = 8
"""How many symlinks in a row are followed."""


@dataclass(frozen=True)
class Logged:
    """One line of a history."""

    commit: str
    subject: str


@dataclass(frozen=True)
class Entry:
    """One file of a tree: git's mode ("100644", "100755", "120000" a symlink, "160000" a submodule)."""

    path: str
    """Bytes that are no UTF-8 are kept as surrogates (os.fsdecode)."""
    mode: str
    object: str
    size: int


class Mirror:
    """A mirror, for reading. Raises SourceError, with the repo's name as `where`.

    What git said of a commit is remembered: it can't change.
    """

    def __init__(self, name: str, location: str, path: Path, git: Git) -> None:
        self.name = name
        self.location = location
        self.path = path
        self.git = git
        self._there: set[str] = set()
        self._trees: dict[tuple[str, str], str] = {}
        self._entries: dict[tuple[str, str], list[Entry]] = {}
        self._abouts: dict[str, tuple[str, str]] = {}

    def has(self, commit: str) -> bool:
        if commit in self._there:
            return True
        if not is_commit(commit) or self._parse(f"{commit}^{{commit}}") != commit:
            return False
        self._there.add(commit)
        return True

    def resolve(self, ref: str) -> str:
        """The commit of a branch, a tag, refs/heads/…, refs/tags/…, HEAD, or a whole commit."""
        if not is_ref(ref):
            raise self._error(f"{quoted(ref)} can't be a ref", 'ref = "main"')
        if is_commit(ref) and self.has(ref):
            return ref
        names = (
            [HEAD] if ref == "HEAD" else [ref] if ref.startswith("refs/") else [f"refs/heads/{ref}", f"refs/tags/{ref}"]
        )
        found = {name: commit for name in names if (commit := self._parse(f"{name}^{{commit}}"))}
        match sorted(set(found.values())):
            case []:
                raise self._vanished(ref)
            case [commit]:
                return commit
            case _:
                raise self._error(f"{ref} is a branch and a tag, of different commits", f'ref = "refs/heads/{ref}"')

    def refs(self) -> dict[str, str]:
        """Each branch and tag with its commit (or what else a tag points to)."""
        listed = self._read(
            "for-each-ref", "--format=%(refname) %(objectname) %(*objectname)", "refs/heads", "refs/tags"
        )
        lines = (line.split(" ") for line in listed.decode(errors="replace").splitlines())
        return {line[0]: line[2] or line[1] for line in lines}

    def contains(self, ref: str, commit: str) -> bool:
        """Whether `commit` is part of the history of `ref`."""
        try:
            self.git.read(self.path, "merge-base", "--is-ancestor", "--end-of-options", commit, self.resolve(ref))
        except GitFailed as failed:
            if failed.status == 1 or not self.has(commit):
                return False
            raise self._failed(failed) from None
        return True

    def subject(self, commit: str) -> str:
        """The first line of its message, without control characters, 200 characters at most."""
        return _line(self._about(commit)[1])

    def time(self, commit: str) -> int:
        """When it was committed, in seconds since 1970."""
        return max(0, int(self._about(commit)[0]))

    def tree(self, commit: str, subdirectory: str = "") -> str:
        """The hash of its tree, or of one directory in it."""
        if (commit, subdirectory) not in self._trees:
            self._trees[commit, subdirectory] = self._tree(commit, subdirectory)
        return self._trees[commit, subdirectory]

    def _tree(self, commit: str, subdirectory: str) -> str:
        found = self._parse(f"{self._known(commit)}:{subdirectory}")
        if found is not None and (not subdirectory or self._read("cat-file", "-t", found).strip() == b"tree"):
            return found
        directories = {path.rpartition("/")[0] for path in self.listing(commit)}
        near = difflib.get_close_matches(subdirectory, sorted(directories - {""}), n=1)
        hint = f"subdirectory = {quoted(near[0])}" if near else f"git ls-tree -d -r {commit}"
        raise self._error(f"commit {commit[:12]} has no directory {quoted(subdirectory)}", hint)

    def log(self, after: str, until: str, *, subdirectory: str = "") -> list[Logged]:
        """The commits that `until` has and `after` has not, newest first; a thousand at most."""
        span = f"{self._known(after)}..{self._known(until)}"
        arguments = (
            "log",
            "-z",
            "--no-show-signature",
            "--format=%H %s",
            f"--max-count={LONGEST_LOG}",
            "--end-of-options",
            span,
            "--",
        )
        listed = self._read(*arguments, *([subdirectory] if subdirectory else []))
        lines = (_line(record).partition(" ") for record in listed.decode(errors="replace").split("\0") if record)
        return [Logged(commit, subject) for commit, _, subject in lines]

    def entries(self, commit: str, subdirectory: str = "") -> Sequence[Entry]:
        """All files of its tree, by path, submodules included."""
        if (commit, subdirectory) not in self._entries:
            tree = self.tree(commit, subdirectory)
            listed = self._read("ls-tree", "-r", "-z", "--long", "--full-tree", "--end-of-options", tree)
            self._entries[commit, subdirectory] = [self._entry(record) for record in listed.split(b"\0") if record]
        return self._entries[commit, subdirectory]

    def listing(self, commit: str, subdirectory: str = "") -> dict[str, str]:
        """Path to git's mode, for all files."""
        return {entry.path: entry.mode for entry in self.entries(commit, subdirectory)}

    def read(self, commit: str, path: str, *, longest: int = LONGEST_FILE) -> bytes | None:
        """The content of a file, symlinks inside the repository followed; None where there is none.

        Raises SourceError for more than `longest` bytes.
        """
        self._known(commit)
        for _ in range(MOST_LINKS):
            entry = self._entry_at(commit, path)
            if entry is None or entry.mode not in ("100644", "100755", "120000"):
                return None
            if entry.size > longest:
                what = f"{quoted(path)} has {entry.size} bytes, and is read up to {longest}"
                raise self._error(what, f"git cat-file -p {commit}:{path}")
            content = self._read("cat-file", "blob", entry.object)
            if entry.mode != "120000":
                return content
            target = content.decode(errors="surrogateescape")
            if target.startswith("/"):
                return None
            path = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        return None

    def _entry_at(self, commit: str, path: str) -> Entry | None:
        if not path or "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
            return None
        for (listed, subdirectory), entries in self._entries.items():
            inside = path.removeprefix(f"{subdirectory}/") if subdirectory else path
            if listed == commit and (not subdirectory or inside != path):
                return next((entry for entry in entries if entry.path == inside), None)
        told = self._read("ls-tree", "-z", "--long", "--full-tree", "--end-of-options", commit, path)
        entry = self._entry(told.rstrip(b"\0")) if told else None
        return entry if entry is not None and entry.path == path else None

    def _about(self, commit: str) -> tuple[str, str]:
        """When it was committed and the first line of its message, as git tells them."""
        if commit not in self._abouts:
            form = (
                "log",
                "--no-walk",
                "--no-show-signature",
                "--format=%ct %s",
                "--end-of-options",
                self._known(commit),
            )
            time, _, subject = self._read(*form).decode(errors="replace").strip("\n").partition(" ")
            self._abouts[commit] = (time, subject)
        return self._abouts[commit]

    def _known(self, commit: str) -> str:
        if not self.has(commit):
            raise self._error(
                f"{self.location} has no commit {quoted(commit[:40])}", f"bakeboot lock --update {self.name}"
            )
        return commit

    def _parse(self, expression: str) -> str | None:
        try:
            output = self.git.read(self.path, "rev-parse", "--verify", "--quiet", "--end-of-options", expression)
        except GitFailed as failed:
            if failed.status == 1 or "bad revision" in failed.message or not failed.message:
                return None
            raise self._failed(failed) from None
        return output.decode().strip()

    def _read(self, *arguments: str) -> bytes:
        try:
            return self.git.read(self.path, *arguments)
        except GitFailed as failed:
            raise self._failed(failed) from None

    def _entry(self, record: bytes) -> Entry:
        about, _, path = record.partition(b"\t")
        mode, _, name, size = about.decode().split()
        if size == "BAD":  # how ls-tree says that the object isn't there
            raise self._failed(GitFailed(0, f"object {name} is missing"))
        return Entry(path.decode(errors="surrogateescape"), mode, name, 0 if size == "-" else int(size))

    def _failed(self, failed: GitFailed) -> SourceError:
        """A mirror of ours that git can't read is broken, and easily made anew."""
        return self._error(f"its mirror can't be read: {said(failed)}", f"rm -r {self.path}    (it is fetched anew)")

    def _vanished(self, ref: str) -> SourceError:
        refs = self.refs()
        if not refs:
            return self._error(f"{self.location} has no branch and no tag: nothing was committed", "commit, and push")
        short = [name.split("/", 2)[2] for name in refs]
        near = difflib.get_close_matches(ref, short, n=3, cutoff=0.4) or sorted(short)[:3]
        listed = ", ".join(escaped(name) for name in near)
        if ref == "HEAD":
            return self._error(f"{self.location} has no default branch; it has {listed}", f"ref = {quoted(near[0])}")
        if re.fullmatch(r"[0-9a-f]{7,39}", ref):
            return self._error(
                f"{self.location} has no ref {ref}: a commit is written with all its 40 digits", f"git rev-parse {ref}"
            )
        what = "commit" if is_commit(ref) else "ref"
        return self._error(
            f"{self.location} has no {what} {escaped(ref)}; nearest: {listed}", f"ref = {quoted(near[0])}"
        )

    def _error(self, what: str, hint: str) -> SourceError:
        return SourceError(what, where=self.name, hint=hint)


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text).strip()[:200]
