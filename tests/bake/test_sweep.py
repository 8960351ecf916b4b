"""A sweep takes what no living process owns, of every kind, and says what it was."""

from __future__ import annotations

from pathlib import Path

from bake.home import locked
from bake.images import ImageStore
from bake.sweep import sweep
from tests.bake.planning import a_home, a_layer, an_image


def test_a_tidy_home_has_nothing_to_sweep(tmp_path: Path) -> None:
    store = ImageStore(a_home(tmp_path))
    an_image(store, [a_layer(store, tmp_path, "base")])
    assert sweep(store.home) == []


def test_all_that_dead_runs_left_goes_and_living_ones_stay(tmp_path: Path) -> None:
    store = ImageStore(a_home(tmp_path))
    home = store.home
    for folder in (
        home.images / "shop-2026-11-22.1",
        home.runs / "bake-dead",
        home.layers / ".partial-1",
        home.machines / "shop-review-dead",
    ):
        folder.mkdir()
    with home.run("bake") as run, store.reserve("shop", time="2026-11-23T12:00:00Z", build=run.name) as image:
        assert sweep(home) == [
            "machine shop-review-dead",
            "image shop-2026-11-22.1",
            "run bake-dead",
            "layer .partial-1",
        ]
        assert run.folder.exists()
        assert store.get(image.name).state == "baking"
        assert sweep(home) == []


def test_half_layers_wait_for_the_end_of_living_bakes(tmp_path: Path) -> None:
    home = a_home(tmp_path)
    (home.layers / ".partial-1").mkdir()
    with locked(home.layers / ".lock", shared=True):
        assert sweep(home) == []
    assert sweep(home) == ["layer .partial-1"]
