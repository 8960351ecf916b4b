"""The AMIs that a region made, on disk: they survive `down` and `up`, and a daemon that is killed.

`images/<ami>/layer` is what the machine wrote that it was made of; `record.json` beside it says what the AMI is, and is
written last and in one go. So a folder without a record is an AMI half made, or one that is deregistered and whose
layer something else stands on: it goes with the last that does.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from region.errors import RegionError

FORMAT = 1
_LISTS = ("layers", "launch_permissions", "devices")


@dataclass(frozen=True)
class Record:
    """What there is to know of an AMI. `layers` the lowest first, absolute; `created` is RFC 3339, UTC.

    A `local` record is of an image of this host's: only what was changed of it in the region counts, and `tags` says
    nothing; `tag_changes` are keys and their new values, None for one that was taken away.
    """

    image_id: str
    name: str
    created: str
    snapshot_id: str
    description: str = ""
    layers: tuple[str, ...] = ()
    local: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    tag_changes: Mapping[str, str | None] = field(default_factory=dict)
    snapshot_tags: Mapping[str, str] = field(default_factory=dict)
    snapshot_description: str = ""
    launch_permissions: tuple[Mapping[str, str], ...] = ()
    devices: tuple[Mapping[str, Any], ...] = ()
    """Block devices besides what the root's snapshot says, as in the API."""
    state: str = "available"
    source_instance_id: str | None = None
    source_image_id: str | None = None
    encrypted: bool = False
    kms_key_id: str | None = None
    deprecation_time: str | None = None
    protection: str = "disabled"

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Raises ValueError for what is no record of this format."""
        read = json.loads(text)
        if not isinstance(read, dict) or read.pop("format", None) != FORMAT:
            raise ValueError("not a record of this version")
        try:
            return cls(**{**read, **{name: tuple(read[name]) for name in _LISTS}})
        except (TypeError, KeyError) as error:
            raise ValueError(f"not a record: {error}") from error


def changed_tags(original: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str | None]:
    """What makes `now` of `original`; None takes a key away. Pure."""
    changes: dict[str, str | None] = {key: value for key, value in now.items() if original.get(key) != value}
    return changes | {key: None for key in original if key not in now}


def with_changes(original: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """The inverse of `changed_tags`. Pure."""
    return {key: value for key, value in {**original, **changes}.items() if value is not None}


class ImageStore:
    """The folder `images` of a region's directory. Its callers hold the world's lock, except for `copy`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "images"

    def layer(self, image_id: str) -> Path:
        return self.directory / image_id / "layer"

    def load(self, log: Callable[[str], None] = lambda line: None) -> list[Record]:
        """All AMIs that are whole. One whose record can't be read, or whose layers are gone, is left out and told."""
        found = []
        for file in sorted(self.directory.glob("ami-*/record.json")):
            try:
                record = Record.from_json(file.read_text())
            except (OSError, ValueError) as error:
                log(f"{file} is not read: {error}")
                continue
            gone = [layer for layer in record.layers if not Path(layer).is_dir()]
            if gone:
                log(f"{record.image_id} is left out: its layer {gone[0]} is gone")
            else:
                found.append(record)
        return found

    def write(self, record: Record) -> None:
        folder = self.directory / record.image_id
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "record.new").write_text(record.to_json())
        (folder / "record.new").replace(folder / "record.json")

    def forget(self, image_id: str) -> None:
        """It is no AMI any more. Its layer stays until `collect`."""
        (self.directory / image_id / "record.json").unlink(missing_ok=True)

    def garbage(self, used: Iterable[Path], making: Iterable[str] = ()) -> list[Path]:
        """Folders without a record that nothing stands on and that nobody is making."""
        if not self.directory.is_dir():
            return []
        needed = {path.parent for path in used} | {self.directory / name for name in making}
        folders = [entry for entry in self.directory.iterdir() if entry.is_dir()]
        return [folder for folder in folders if folder not in needed and not (folder / "record.json").exists()]


def references(directory: Path) -> list[Path]:
    """The layers that the AMIs of a region stand on, from its directory alone: for one that is down."""
    return sorted({Path(layer) for record in ImageStore(directory).load() for layer in record.layers})


def leftovers(directory: Path) -> list[Path]:
    """What a region has no use for any more once it has gone, of its folder: its instances' storage, AMIs half made."""
    storage = [directory / name for name in ("instances", "volumes")]
    return [folder for folder in storage if folder.is_dir()] + ImageStore(directory).garbage(references(directory))


def remove(folder: Path) -> None:
    """Removes a folder; what can't be removed is there for the next sweep."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)


def copy(source: Path, target: Path, hurried: Callable[[], bool] = lambda: False) -> None:
    """Copies a layer with all that is particular to one: whiteouts, opaque directories, owners. Raises RegionError.

    By cp(1), which shares the blocks where the file system can; it ends with this process, and when `hurried` says so.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    argv = ["setpriv", "--pdeathsig=KILL", "cp", "--archive", "--reflink=auto", "--", str(source), str(target)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace") as cp:
        while True:
            try:
                _, said = cp.communicate(timeout=0.2)
                break
            except subprocess.TimeoutExpired:
                if hurried():
                    cp.kill()
    if cp.returncode:
        raise RegionError(said.strip() or f"cp ended with exit code {cp.returncode}", where=str(target))


def without_stubs(layer: Path, targets: Iterable[str], below: Iterable[Path]) -> None:
    """Removes the empty files and directories that nspawn made in `layer` for binds at `targets`.

    None that is also in `below`, where it covers what is there.
    """
    lower = list(below)
    for target in targets:
        path = Path(target.lstrip("/"))
        for part in (path, *path.parents):
            if part == Path() or any(os.path.lexists(other / part) for other in lower):
                break
            stub = layer / part
            try:
                if stub.is_file() and not stub.is_symlink() and not stub.stat().st_size:
                    stub.unlink()
                else:
                    stub.rmdir()
            except OSError:  # there is something in it, or it is none
                break
