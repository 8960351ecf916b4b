"""Mounts: the root of a machine out of many layers, secrets on a tmpfs, and what is mounted below a directory."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from region import linux
from region.errors import RegionError

_PAGE = 4095
_MOST_LAYERS = 500  # OVL_MAX_STACK of the kernel's fs/overlayfs/params.h


def overlay_options(count: int) -> str:
    """The options of an overlay over `count` layers, lowest first, named `l/0`, `l/1`, ... below the working directory.

    The kernel takes one page of options, which six full paths can fill, and a `:` or `,` in a path would have to be
    escaped: so the layers are named by short symbolic links. The features are said one by one, because hosts differ in
    their defaults and an upper directory becomes a layer that other hosts read.
    """
    lower = ":".join(f"l/{number}" for number in reversed(range(count)))
    options = f"lowerdir={lower},upperdir=upper,workdir=work,index=off,metacopy=off,redirect_dir=off"
    if count < 1 or count > _MOST_LAYERS or len(options) > _PAGE:
        raise RegionError(f"expected 1 to {_MOST_LAYERS} layers, got {count}")
    return options


def mount_overlay(directory: Path, layers: Sequence[Path]) -> None:
    """Mounts `directory`/root: `layers` (lowest first) under `directory`/upper, which may be there already.

    Raises RegionError, OSError.
    """
    missing = [layer for layer in layers if not layer.is_dir()]
    if missing:
        raise RegionError(f"layer {missing[0]} is not a directory", where=directory.name)
    options = overlay_options(len(layers))
    for name in ("l", "work", "root"):
        (directory / name).mkdir()
    if not (directory / "upper").exists():
        (directory / "upper").mkdir()
        # The root directory of an overlay is that of its upper directory: its mode must not come from our umask.
        (directory / "upper").chmod(layers[-1].stat().st_mode & 0o7777)
    for number, layer in enumerate(layers):
        (directory / "l" / str(number)).symlink_to(layer.resolve())

    def work() -> None:
        linux.unshare(linux.CLONE_FS)  # the names in the options are relative to this thread's directory
        os.chdir(directory)
        linux.mount("overlay", Path("root"), "overlay", 0, options)

    linux.in_thread(work)


def mount_secrets(directory: Path) -> None:
    """Makes `directory` and mounts a tmpfs on it (16 MiB, root only): what is put there never reaches a disk."""
    directory.mkdir(parents=True, mode=0o700)
    flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
    linux.mount("tmpfs", directory, "tmpfs", flags, "mode=0700,size=16m")


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def mounted_below(directory: Path, mountinfo: str) -> list[Path]:
    """The mount points at or below `directory` in the text of /proc/self/mountinfo, the deepest and latest first."""
    points = [_unescape(line.split()[4]) for line in mountinfo.splitlines()]
    top = str(directory)
    return [Path(point) for point in reversed(points) if point == top or point.startswith(top + "/")]


def unmount_below(directory: Path) -> None:
    """Unmounts all that is mounted at or below `directory`."""
    for point in mounted_below(directory.resolve(), Path("/proc/self/mountinfo").read_text()):
        linux.unmount(point)
