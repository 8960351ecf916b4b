"""Layers: an image is a stack of folders, each holding what one stage of a bake added.

A layer is kept under a *key*, the hash of everything that went into it, so that a stage whose inputs
did not change is not run again. Its *digest* is the hash of what came out. Layers hold whiteouts and
opaque folders as overlayfs writes them (kernel documentation, filesystems/overlayfs): character
devices 0/0 and the attribute ``trusted.overlay.opaque``.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import ImageError
from bake.home import Home, write_atomically

ATTRIBUTES = ("trusted.overlay.opaque", "security.capability")
"""The extended attributes that are content. Others of overlayfs name inodes of this host, and change by themselves."""


_NO_RECORD = (FileNotFoundError, ValueError, KeyError, TypeError)
"""What reading the record of a layer raises that is gone, or whose record a crash of this host cut short."""


@dataclass(frozen=True)
class Layer:
    """One layer: ``kind`` is base, system, agent, deps, repo or top; ``name`` the base's or the repo's, else empty."""

    id: str
    kind: str
    name: str
    digest: str
    made: str
    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "root"


def key_of(inputs: Mapping[str, Any]) -> str:
    """The key of a layer: 32 hex digits over its inputs (anything that JSON can hold)."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class LayerStore:
    """The layers that one home keeps: each in a folder of its own, and the newest for a key behind a link.

    A layer made anew (``--scratch``) takes over the key; images that hold the former one keep it.
    """

    def __init__(self, home: Home) -> None:
        self.home = home
        self.keys = home.layers / "keys"
        self.keys.mkdir(exist_ok=True)

    def find(self, key: str) -> Layer | None:
        """The newest layer made from the inputs that ``key`` stands for; None where there is none."""
        try:
            return self._read((self.keys / key).resolve(strict=True))
        except _NO_RECORD:
            return None

    def get(self, identifier: str) -> Layer:
        """The layer that an image's record names; raises ImageError where it is gone."""
        try:
            return self._read(self.home.layers / identifier)
        except _NO_RECORD:
            hint = "bakeboot bake    to make a new image"
            raise ImageError(f"layer {identifier} is gone", where=str(self.home.layers), hint=hint) from None

    def adopt(self, root: Path, *, key: str, kind: str, name: str = "", made: str) -> Layer:
        """Take the folder ``root`` (moved, not copied: it must be on the home's file system) as a layer."""
        digest = digest_of(root)
        identifier = f"{key[:16]}-{digest.removeprefix('sha256:')[:12]}"
        partial = self.home.layers / f".partial-{secrets.token_hex(6)}"
        partial.mkdir()
        root.rename(partial / "root")
        record = {"kind": kind, "name": name, "digest": digest, "made": made}
        write_atomically(partial / "layer.json", json.dumps(record, indent=1) + "\n")
        try:
            partial.rename(self.home.layers / identifier)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            if self._is_whole(identifier):
                shutil.rmtree(partial)  # the same inputs gave the same content, and it is there
            else:  # a power cut left it without its record: this one takes its place
                (self.home.layers / identifier).rename(self.home.layers / f".doomed-{secrets.token_hex(6)}")
                partial.rename(self.home.layers / identifier)
        link = self.keys / f".{key}.{secrets.token_hex(4)}"
        link.symlink_to(f"../{identifier}")
        link.replace(self.keys / key)
        return self.get(identifier)

    def _read(self, folder: Path) -> Layer:
        record = json.loads((folder / "layer.json").read_text())
        return Layer(folder.name, record["kind"], record["name"], record["digest"], record["made"], folder)

    def _is_whole(self, identifier: str) -> bool:
        try:
            self._read(self.home.layers / identifier)
        except _NO_RECORD:
            return False
        return True

    def all(self) -> list[Layer]:
        """Every whole layer, by its id."""
        found = []
        for file in sorted(self.home.layers.glob("[!.]*/layer.json")):
            with suppress(*_NO_RECORD):
                found.append(self._read(file.parent))
        return found

    def remove(self, layer: Layer) -> None:
        """Delete a layer; the caller has made sure that no image refers to it."""
        doomed = self.home.layers / f".doomed-{secrets.token_hex(6)}"
        layer.folder.rename(doomed)
        shutil.rmtree(doomed)
        for link in self.keys.iterdir():
            if not link.exists():
                link.unlink()

    def sweep(self) -> list[str]:
        """Remove half-made and half-deleted layers (of runs that died); returns their names."""
        swept = [entry for entry in self.home.layers.iterdir() if entry.name.startswith((".partial-", ".doomed-"))]
        for entry in swept:
            shutil.rmtree(entry)
        return [entry.name for entry in swept]


def digest_of(root: Path) -> str:
    """The digest of a tree: path, type, mode, owner, capabilities and content of every entry, in order.

    Times are left out: two builds of the same content are the same.
    """
    total = hashlib.sha256()
    for path, status in sorted(_entries(root)):
        total.update(_describe_entry(root, path, status))
    return f"sha256:{total.hexdigest()}"


def size_of(roots: Iterable[Path]) -> int:
    """Bytes on disk of the files below ``roots`` (512-byte blocks, as du counts them)."""
    return sum(status.st_blocks * 512 for root in roots for _, status in _entries(root))


def _entries(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(root / folder) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                status = entry.stat(follow_symlinks=False)
                yield path, status
                if stat.S_ISDIR(status.st_mode):
                    pending.append(path)


def _describe_entry(root: Path, path: str, status: os.stat_result) -> bytes:
    full = root / path
    content = ""
    if stat.S_ISREG(status.st_mode):
        with full.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    elif stat.S_ISLNK(status.st_mode):
        content = str(full.readlink())
    elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        content = str(status.st_rdev)
    line = (path, oct(status.st_mode), status.st_uid, status.st_gid, content, *_attributes(full))
    return "\0".join(map(str, line)).encode("utf-8", "surrogateescape") + b"\n"


def _attributes(path: Path) -> Iterator[str]:
    there = os.listxattr(path, follow_symlinks=False)
    for name in ATTRIBUTES:
        if name in there:
            yield f"{name}={os.getxattr(path, name, follow_symlinks=False).hex()}"
