"""Which images and layers can go: decided from what is there, carried out apart.

Nothing goes that is in use: an image that a machine runs or that a region stands on, one that a bake is making, the
newest verified ones of each stack; and no layer that an image which stays refers to, or a region.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from bake.images import Image, ImageStore, State, layer_ids
from bake.layers import Layer

KEEP = 3
"""Verified images of each stack that stay, unless told otherwise."""


@dataclass(frozen=True)
class Kept:
    image: Image
    why: str


@dataclass(frozen=True)
class KeptLayer:
    """A layer that stays although no image that stays needs it."""

    layer: Layer
    why: str


@dataclass(frozen=True)
class PrunePlan:
    """What would go and what stays, with the reason."""

    images: tuple[Image, ...]
    layers: tuple[Layer, ...]
    kept: tuple[Kept, ...]
    kept_layers: tuple[KeptLayer, ...] = ()


def plan_prune(
    images: Sequence[Image],
    layers: Iterable[Layer],
    *,
    running: Iterable[str],
    references: Mapping[Path, str] = MappingProxyType({}),
    keep: int = KEEP,
) -> PrunePlan:
    """Decide. ``images`` the oldest first; ``running`` are names of images that machines run; ``references`` are the
    folders of layers that something beside the images stands on, and what.

    Of each stack the ``keep`` newest verified ones and the newest failed one stay.
    """
    in_use, layers = set(running), list(layers)
    needed = {one.id: references[one.root.resolve()] for one in layers if one.root.resolve() in references}
    kept: dict[str, Kept] = {}
    for stack in sorted({image.stack for image in images}):
        mine = [image for image in images if image.stack == stack]
        for image in _newest(mine, "verified", keep):
            kept[image.name] = Kept(image, f"one of the {keep} newest verified")
        for image in _newest(mine, "failed", 1):
            kept[image.name] = Kept(image, "the newest that failed")
    for image in images:
        if image.name in in_use:
            kept[image.name] = Kept(image, "a machine runs it")
        elif image.layers and needed.keys() >= set(image.layers):
            kept[image.name] = Kept(image, needed[image.layers[-1]])
        elif image.state in ("baking", "built"):
            kept[image.name] = Kept(image, "a bake is making it")
    doomed = tuple(image for image in images if image.name not in kept)
    wanted = layer_ids(one.image for one in kept.values())
    return PrunePlan(
        images=doomed,
        layers=tuple(layer for layer in layers if layer.id not in wanted and layer.id not in needed),
        kept=tuple(kept.values()),
        kept_layers=tuple(
            KeptLayer(one, needed[one.id]) for one in layers if one.id in needed and one.id not in wanted
        ),
    )


def prune(store: ImageStore, plan: PrunePlan) -> None:
    """Carry a plan out: images first, so that none is ever left without its layers."""
    for image in plan.images:
        store.remove(image)
    for layer in plan.layers:
        store.layers.remove(layer)


def _newest(images: Sequence[Image], state: State, count: int) -> Sequence[Image]:
    fitting = [image for image in images if image.state == state]
    return fitting[max(0, len(fitting) - count) :]
