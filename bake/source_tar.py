"""Writes the tree of a commit as a tar file: the same commit gives the same bytes, on any machine.

Files come straight out of git's object store, so no filter, attribute (`export-ignore`) or configuration changes them.
Owner is root, times are the commit's, modes are 644 and 755. A tree that could do harm when it is unpacked as root (a
name such as "..", a file below a symlink) is refused, and so is what is not really there: submodules and Git LFS.
"""

from __future__ import annotations

import io
import re
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from agent.errors import SourceError
from bake.fields import escaped, quoted
from bake.git import GitFailed
from bake.git_errors import said
from bake.mirror import Entry, Mirror

_LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\n"
_LONGEST_POINTER = 1024
_LFS_FILTER = re.compile(rb"\bfilter=lfs\b")
_SYMLINK, _SUBMODULE, _EXECUTABLE = "120000", "160000", "100755"


def write_tar(mirror: Mirror, commit: str, subdirectory: str, tar_path: Path) -> None:
    """Writes the tree of `commit` (or its `subdirectory`, as the top) to `tar_path`, which appears complete or not.

    Raises SourceError for what can't be exported, and says which file.
    """
    entries = mirror.entries(commit, subdirectory)
    _refuse_harm(mirror, entries)
    partial = tar_path.with_name(tar_path.name + ".partial")
    try:
        with partial.open("wb") as file:
            _write(mirror, commit, entries, file)
        partial.replace(tar_path)
    except GitFailed as failed:
        raise SourceError(
            f"its mirror can't be read: {said(failed)}", where=mirror.name, hint=f"rm -r {mirror.path}"
        ) from None
    finally:
        partial.unlink(missing_ok=True)


def _refuse_harm(mirror: Mirror, entries: Sequence[Entry]) -> None:
    files = {entry.path for entry in entries}
    if len(files) != len(entries):
        raise SourceError("its tree names a file twice", where=mirror.name, hint=f"git -C {mirror.path} fsck")
    for entry in entries:
        path = escaped(entry.path)
        if entry.mode == _SUBMODULE:
            what = f"{path} is a submodule, whose files are not in this repository"
            hint = f"git rm {path}    and make it a repo of its own in stack.toml, or commit its files (git subtree)"
            raise SourceError(what, where=mirror.name, hint=hint)
        parts = entry.path.split("/")
        below_a_file = any("/".join(parts[:depth]) in files for depth in range(1, len(parts)))
        if below_a_file or any(part in ("", ".", "..") or part.lower() == ".git" for part in parts):
            what = f"its tree holds the path {path}, which git itself would not check out"
            raise SourceError(what, where=mirror.name, hint=f"git -C {mirror.path} fsck")


def _write(mirror: Mirror, commit: str, entries: Sequence[Entry], file: IO[bytes]) -> None:
    time = mirror.time(commit)
    pointers: list[str] = []
    directories: set[str] = set()
    with (
        _object_names(entries) as names,
        mirror.git.stream(mirror.path, "cat-file", "--batch", "--buffer", source=names) as objects,
        tarfile.open(
            fileobj=file, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape"
        ) as tar,
    ):
        for entry in entries:
            for directory in _new_directories(entry.path, directories):
                tar.addfile(_header(directory, time, tarfile.DIRTYPE, 0o755))
            content = _Content(objects, entry)
            if entry.mode == _SYMLINK:
                header = _header(entry.path, time, tarfile.SYMTYPE, 0o777)
                header.linkname = content.read(entry.size).decode(errors="surrogateescape")
                tar.addfile(header)
            else:
                header = _header(entry.path, time, tarfile.REGTYPE, 0o755 if entry.mode == _EXECUTABLE else 0o644)
                header.size = entry.size
                tar.addfile(header, content)
            content.close()
            if entry.size <= _LONGEST_POINTER and content.start.startswith(_LFS_POINTER):
                pointers.append(entry.path)
    if pointers and _uses_lfs(mirror, commit):
        raise _lfs_error(mirror, pointers)


@contextmanager
def _object_names(entries: Sequence[Entry]) -> Iterator[IO[bytes]]:
    """A file with one object's name a line: git reads it while we read git, and neither waits for the other."""
    with tempfile.TemporaryFile() as file:
        file.writelines(f"{entry.object}\n".encode() for entry in entries)
        file.seek(0)
        yield file


class _Content(io.RawIOBase):
    """One object of `git cat-file --batch`: read by tarfile in pieces, never held as a whole."""

    def __init__(self, objects: IO[bytes], entry: Entry) -> None:
        super().__init__()
        header = objects.readline().split()
        if header != [entry.object.encode(), b"blob", str(entry.size).encode()]:
            raise GitFailed(0, f"object {entry.object} is missing or broken")
        self.start = b""
        """The first piece that was read."""
        self._objects = objects
        self._left = entry.size

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        piece = self._objects.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(piece)
        self.start = self.start or piece
        return piece

    def close(self) -> None:
        """Takes the line break that git puts behind each object."""
        if not self.closed:
            self._objects.read(self._left + 1)
        super().close()


def _header(path: str, time: int, kind: bytes, mode: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(path)
    header.mtime = time
    header.type = kind
    header.mode = mode
    return header


def _new_directories(path: str, known: set[str]) -> Iterator[str]:
    """The directories above `path` that aren't in `known` yet, outermost first; they are then."""
    parts = path.split("/")
    for depth in range(1, len(parts)):
        directory = "/".join(parts[:depth])
        if directory not in known:
            known.add(directory)
            yield directory


def _uses_lfs(mirror: Mirror, commit: str) -> bool:
    """Whether some .gitattributes says so: else what looks like a pointer is just a file about them.

    All of the repository's are read: one at the top also counts for a subdirectory.
    """
    found = [entry for entry in mirror.entries(commit) if entry.path.rpartition("/")[2] == ".gitattributes"]
    return any(_LFS_FILTER.search(mirror.git.read(mirror.path, "cat-file", "blob", entry.object)) for entry in found)


def _lfs_error(mirror: Mirror, pointers: list[str]) -> SourceError:
    shown = ", ".join(escaped(path) for path in pointers[:3])
    more = f" and {len(pointers) - 3} more" if len(pointers) > 3 else ""
    return SourceError(
        f"{shown}{more}: kept in Git LFS, so that the repository holds only a pointer",
        where=mirror.name,
        hint=f"git lfs migrate export --include={quoted(pointers[0])} --everything    puts it into git itself",
    )
