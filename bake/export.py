"""An image as one file: squashfs or tar.zst, both at zstd's level 3.

Level 3 costs a sixteenth of mksquashfs's default (zstd 15) for 13 % more size; ``-mem`` bounds its memory,
which is otherwise a gigabyte, at no cost in time.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Literal, get_args

from agent.errors import ExportError, HostError
from bake.contained import contained
from bake.home import Run
from bake.images import Image, ImageStore
from bake.view import merged

Format = Literal["squashfs", "tar.zst"]
FORMATS: tuple[Format, ...] = get_args(Format)


def export(store: ImageStore, image: Image, run: Run, output: Path, form: Format) -> Path:
    """Write ``image`` to ``output`` (whole or not at all); raises ExportError, HostError.

    Owners, modes and extended attributes are kept; identities were sealed away when it was baked.
    """
    if output.is_dir() or not output.parent.is_dir():
        what = "it is a directory" if output.is_dir() else "its folder does not exist"
        raise ExportError(what, where=str(output), hint="bakeboot export IMAGE --output /a/folder/FILE")
    partial = output.with_name(f".{output.name}.{secrets.token_hex(4)}")
    try:
        with merged(store.roots(image), run.folder / "export") as root:
            _write(root, partial, form)
        _publish(partial, output)
    finally:
        partial.unlink(missing_ok=True)
    return output


def _publish(partial: Path, output: Path) -> None:
    try:
        partial.replace(output)
    except OSError as error:
        raise ExportError(str(error.strerror), where=str(output), hint="choose another --output") from error


def _write(root: Path, output: Path, form: Format) -> None:
    squashfs = ["mksquashfs", str(root), str(output), "-comp", "zstd", "-Xcompression-level", "3"]
    tar = ["tar", "--zstd", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "--sort=name"]
    command = {
        "squashfs": [*squashfs, "-mem", "256M", "-noappend", "-no-progress", "-quiet"],
        "tar.zst": [*tar, "-cf", str(output), "-C", str(root), "."],
    }[form]
    needed = {"squashfs": "mksquashfs", "tar.zst": "zstd"}[form]
    if shutil.which(needed) is None:
        hint = "apt-get install squashfs-tools zstd"
        raise HostError(f"{needed} is not installed", where="export", hint=hint)
    done = subprocess.run(
        contained(command), capture_output=True, text=True, env={**os.environ, "ZSTD_CLEVEL": "3"}, check=False
    )
    if done.returncode:
        raise ExportError(done.stderr.strip()[-500:], where=command[0], hint="df -h    to see whether there is room")
