"""Which images and layers can go: decided from what is there, carried out apart.

Nothing goes that is in use: an image that a machine runs, one that a bake is making, the newest
verified ones of each stack; and no layer that an image which stays refers to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bake.images import Image, ImageStore, State, layer_ids
from bake.layers import Layer

KEEP = 3
"""Verified images of each stack that stay, unless told otherwise."""


@dataclass(frozen=True)
class Kept:
    image: Image
    why: str


@dataclass(frozen=True)
class PrunePlan:
    """What would go and what stays, with the reason."""

    images: tuple[Image, ...]
    layers: tuple[Layer, ...]
    kept: tuple[Kept, ...]


def plan_prune(
    images: Sequence[Image],
    layers: Iterable[Layer],
    *,
    running: Iterable[str],
    keep: int = KEEP,
) -> PrunePlan:
    """Decide. ``images`` the oldest first; ``running`` are names of images that machines run.

    Of each stack the ``keep`` newest verified ones and the newest failed one stay.
    """
    in_use = set(running)
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
        elif image.state in ("baking", "built"):
            kept[image.name] = Kept(image, "a bake is making it")
    doomed = tuple(image for image in images if image.name not in kept)
    wanted = layer_ids(one.image for one in kept.values())
    return PrunePlan(doomed, tuple(layer for layer in layers if layer.id not in wanted), tuple(kept.values()))


def prune(store: ImageStore, plan: PrunePlan) -> None:
    """Carry a plan out: images first, so that none is ever left without its layers."""
    for image in plan.images:
        store.remove(image)
    for layer in plan.layers:
        store.layers.remove(layer)


def _newest(images: Sequence[Image], state: State, count: int) -> Sequence[Image]:
    fitting = [image for image in images if image.state == state]
    return fitting[max(0, len(fitting) - count) :]
