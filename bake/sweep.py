"""Clean up after runs that died: machines, mounts, half-made layers, half images. Safe beside live ones."""

from __future__ import annotations

from bake.home import Home, try_locked
from bake.images import ImageStore
from region.sweep import sweep as sweep_machines


def sweep(home: Home) -> list[str]:
    """Remove what no living process owns; returns what was removed, a line each."""
    swept = [f"machine {name}" for name in sweep_machines(home.root, home.runtime)]
    store = ImageStore(home)
    swept += [f"image {name}" for name in store.sweep()]
    swept += [f"run {name}" for name in home.sweep_runs()]
    with try_locked(home.layers / ".lock") as alone:  # every living bake holds it shared
        if alone:
            swept += [f"layer {name}" for name in store.layers.sweep()]
    return swept
