"""The images that a home holds: one folder each, with what it holds, how it was made, how it fared.

    images/<name>/image.json    what the image holds, the same file as inside it
    images/<name>/record.json   its state, the layers it is a stack of, its digest
    images/<name>/*.log         everything that was said while it was baked and verified

A name is ``<stack>-<date>.<n>``. The folder is made first, as the reservation of the name, with the
state ``baking`` and a lock held by the bake; a reservation whose bake died is swept. A folder whose
name starts with a dot is on its way out.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from agent.errors import ImageError
from agent.image import ImageManifest
from bake.home import Home, locked, take_lock, try_locked, write_atomically
from bake.layers import Layer, LayerStore

State = Literal["baking", "built", "verified", "failed", "unreadable"]
"""``built`` is made and not yet verified; only ``verified`` may serve; ``failed`` is kept to look at;
``unreadable``, never written, is an image whose record is broken."""

_NAME = re.compile(r"[a-z][a-z0-9-]*-\d{4}-\d\d-\d\d\.\d+")


@dataclass(frozen=True)
class Image:
    """One image of this home. ``layers`` are ids, the lowest first; ``time`` is RFC 3339, UTC."""

    name: str
    stack: str
    state: State
    time: str
    build: str
    digest: str
    layers: tuple[str, ...]
    reason: str
    folder: Path

    def manifest(self) -> ImageManifest:
        """What the image holds; raises ImageError while it is baking."""
        try:
            return ImageManifest.parse((self.folder / "image.json").read_text())
        except FileNotFoundError:
            what = "it is not built yet" if self.state == "baking" else "its image.json is gone"
            raise ImageError(what, where=self.name, hint="bakeboot images list") from None


class ImageStore:
    """The registry of one home's images."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.layers = LayerStore(home)

    @contextmanager
    def reserve(self, stack: str, *, time: str, build: str) -> Iterator[Image]:
        """Take the next free name of the day for a bake, for as long as the block runs.

        An image that is still ``baking`` at the end of the block (a bake that failed before there was
        anything to look at) is removed.
        """
        day = time[:10]
        with ExitStack() as held:
            with locked(self.home.images / ".lock"):
                taken = [_number(name) for name in self._names() if name.startswith(f"{stack}-{day}.")]
                name = f"{stack}-{day}.{max(taken, default=0) + 1}"
                folder = self.home.images / name
                folder.mkdir()
                owner = take_lock(folder / "owner.lock", wait=False)
                assert owner is not None  # a new folder, made under the lock on all of them
                held.callback(os.close, owner)
                held.callback(self._drop_unbuilt, name)
                image = self._write(Image(name, stack, "baking", time, build, "", (), "", folder))
            yield image

    def _drop_unbuilt(self, name: str) -> None:
        image = self._read(name)
        if image.state in ("baking", "unreadable"):
            self.remove(image)

    def _write(self, image: Image) -> Image:
        record = {key: value for key, value in asdict(image).items() if key != "folder"}
        write_atomically(image.folder / "record.json", json.dumps(record, indent=1) + "\n")
        return image

    def built(self, image: Image, layers: Sequence[Layer], manifest: str) -> Image:
        """Say of a baking image what it is made of."""
        write_atomically(image.folder / "image.json", manifest)
        digest = hashlib.sha256("".join(layer.digest for layer in layers).encode()).hexdigest()
        ids = tuple(layer.id for layer in layers)
        return self._write(replace(image, state="built", digest=f"sha256:{digest}", layers=ids))

    def judged(self, image: Image, state: Literal["verified", "failed"], reason: str = "") -> Image:
        return self._write(replace(image, state=state, reason=reason))

    def get(self, name: str) -> Image:
        """The image of this exact name; raises ImageError where there is none."""
        if name not in self._names():
            raise ImageError(f"no image {name!r}", where=str(self.home.images), hint="bakeboot images list")
        return self._read(name)

    def _read(self, name: str) -> Image:
        """An image by its record; one whose record tells nothing is ``unreadable``, and can be pruned."""
        folder = self.home.images / name
        try:
            record = json.loads((folder / "record.json").read_text())
            return Image(**{**record, "layers": tuple(record["layers"]), "folder": folder})
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = f"record.json tells nothing ({type(error).__name__})"
            return Image(name, name.rsplit("-", 3)[0], "unreadable", "", "", "", (), reason, folder)

    def find(self, word: str, *, stack: str | None = None) -> Image:
        """The image that a person means: its name, the end of its name (``2026-11-23.1``), or ``latest``.

        ``latest`` is the newest verified one (of ``stack`` where it is given). Raises ImageError where
        none or several fit.
        """
        images = [image for image in self.all() if stack is None or image.stack == stack]
        if word == "latest":
            verified = [image for image in images if image.state == "verified"]
            if not verified:
                raise ImageError("there is no verified image yet", where="latest", hint="bakeboot bake")
            return verified[-1]
        exact = [image for image in images if image.name == word]
        fitting = exact or [image for image in images if image.name.endswith(f"-{word}")]
        if len(fitting) > 1:
            names = ", ".join(image.name for image in fitting)
            raise ImageError(f"several images fit: {names}", where=word, hint="give one's whole name")
        if not fitting:
            raise ImageError(f"no image {word!r}", where=str(self.home.images), hint="bakeboot images list")
        return fitting[0]

    def all(self) -> list[Image]:
        """Every image, the oldest first (by time, then by number)."""
        return sorted(map(self._read, self._names()), key=lambda image: (image.time, _number(image.name)))

    def newest_verified(self, stack: str) -> Image | None:
        verified = [image for image in self.all() if image.stack == stack and image.state == "verified"]
        return verified[-1] if verified else None

    def roots(self, image: Image) -> tuple[Path, ...]:
        """The folders of its layers, the lowest first; raises ImageError where one is gone."""
        return tuple(self.layers.get(identifier).root for identifier in image.layers)

    def remove(self, image: Image) -> None:
        """Delete an image, at once for whoever looks; its layers stay."""
        with locked(self.home.images / ".lock"):
            doomed = self._doom(image)
        shutil.rmtree(doomed)

    def _doom(self, image: Image) -> Path:
        return image.folder.rename(self.home.images / f".doomed-{secrets.token_hex(6)}")

    def sweep(self) -> list[str]:
        """Remove the reservations of bakes that died; a half-verified image is kept as failed."""
        swept = []
        with locked(self.home.images / ".lock"):
            for name in self._names():
                with try_locked(self.home.images / name / "owner.lock") as dead:
                    if dead and self._sweep_one(self._read(name)):
                        swept.append(name)
        for doomed in self.home.images.glob(".doomed-*"):
            shutil.rmtree(doomed, ignore_errors=True)  # whoever renamed it may be at it too
        return swept

    def _sweep_one(self, image: Image) -> bool:
        if image.state == "built":
            self.judged(image, "failed", "the bake was killed before it had verified this image")
        elif image.state == "baking" or not (image.folder / "record.json").exists():
            self._doom(image)
        else:
            return False
        return True

    def _names(self) -> list[str]:
        """Of all images: folders whose name is made as ``reserve`` makes it."""
        entries = [entry for entry in self.home.images.iterdir() if _NAME.fullmatch(entry.name) and entry.is_dir()]
        return sorted(entry.name for entry in entries)


def ami_id(digest: str) -> str:
    """The AMI's id of what has this digest (`sha256:…`): the same on every host and at every time."""
    return f"ami-{digest.removeprefix('sha256:')[:17]}"


def layer_ids(images: Iterable[Image]) -> set[str]:
    """The ids of all layers that these images refer to."""
    return {identifier for image in images for identifier in image.layers}


def _number(name: str) -> int:
    return int(name.rpartition(".")[2])
