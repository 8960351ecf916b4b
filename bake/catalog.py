"""This home's images as a region shows them: AMIs of the account's own.

A region asks for them again and again, so that an image that was baked or pruned a moment ago is there or gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

from agent.errors import ImageError
from agent.names import TAG_STACK
from bake.base import BASES, base_key
from bake.home import Home, locked
from bake.images import Image, ImageStore, ami_id
from region.aws.world import LocalImage

TAG_VERIFIED, TAG_DIGEST, TAG_PARENT, TAG_BUILD = (
    f"bakeboot:{word}" for word in ("verified", "digest", "parent", "build")
)


class LocalCatalog:
    """The verified images and the bases of one home (`region.aws.world.Catalog`)."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._store = ImageStore(home)
        self._parents: dict[str, str] = {}

    def images(self) -> Sequence[LocalImage]:
        return [*self._bases(), *self._verified()]

    def hold(self) -> AbstractContextManager[None]:
        """While it is held no prune is under way."""
        return locked(self._home.layers / ".lock", shared=True)

    def _bases(self) -> Iterator[LocalImage]:
        for name in BASES:
            layer = self._store.layers.find(base_key(name))
            if layer is not None:
                called = f"bakeboot-base-{name.replace(':', '-')}"
                what = f"{name} with systemd, sshd and Python: what images stand on"
                yield LocalImage(ami_id(layer.digest), called, (layer.root,), layer.made, {}, what)

    def _verified(self) -> Iterator[LocalImage]:
        for image in self._store.all():
            if image.state == "verified":
                try:
                    roots, parent = self._store.roots(image), self._parent(image)
                except ImageError:  # a prune has just taken it
                    continue
                tags = {TAG_STACK: image.stack, TAG_VERIFIED: "true", TAG_DIGEST: image.digest, TAG_BUILD: image.build}
                tags |= {TAG_PARENT: parent} if parent else {}
                yield LocalImage(
                    ami_id(image.digest), image.name, roots, image.time, tags, f"{image.name}, verified on this machine"
                )

    def _parent(self, image: Image) -> str:
        """The name of the image that it was made from; "" where it has none. What an image holds never changes."""
        if image.digest not in self._parents:
            self._parents[image.digest] = image.manifest().parent or ""
        return self._parents[image.digest]
