"""A look at an image as one tree: its layers mounted over each other, for the length of a block."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from agent.errors import HostError
from region.mounts import mount_overlay, unmount_below


@contextmanager
def merged(layers: Sequence[Path], folder: Path) -> Iterator[Path]:
    """Mount ``layers`` (the lowest first) below ``folder``, made here; what is written there is thrown away.

    Raises HostError where overlayfs can't write to the home's file system.
    """
    folder.mkdir(parents=True)
    try:
        try:
            mount_overlay(folder, layers)
        except OSError as error:
            what = f"overlayfs can't be mounted there: {error.strerror}"
            raise HostError(what, where=str(folder), hint="bakeboot doctor") from error
        yield folder / "root"
    finally:
        unmount_below(folder)
        shutil.rmtree(folder)
