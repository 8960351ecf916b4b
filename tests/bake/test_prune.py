"""What a prune takes and what it leaves: a table of homes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bake.images import ImageStore
from bake.layers import Layer
from bake.local import running_images
from bake.prune import plan_prune, prune
from tests.bake.planning import a_home, a_layer, an_image


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(a_home(tmp_path))


def planned(store: ImageStore, *, running: tuple[str, ...] = (), keep: int = 3) -> tuple[list[str], dict[str, str]]:
    plan = plan_prune(store.all(), store.layers.all(), running=running, keep=keep)
    return [image.name for image in plan.images], {one.image.name: one.why for one in plan.kept}


def test_the_newest_verified_of_each_stack_stay(store: ImageStore) -> None:
    for stack in ("shop", "shop", "shop", "store"):
        an_image(store, [], stack=stack)
    gone, kept = planned(store, keep=2)
    assert gone == ["shop-2026-11-23.1"]
    assert kept == dict.fromkeys(
        ["shop-2026-11-23.2", "shop-2026-11-23.3", "store-2026-11-23.1"], "one of the 2 newest verified"
    )


@pytest.mark.parametrize(
    ("keep", "gone"), [(0, [1, 2, 3, 4]), (1, [1, 2, 3]), (3, [1]), (4, []), (9, [])], ids=lambda value: str(value)
)
def test_keep_is_a_number_of_images(store: ImageStore, keep: int, gone: list[int]) -> None:
    for _ in range(4):
        an_image(store, [])
    assert planned(store, keep=keep)[0] == [f"shop-2026-11-23.{number}" for number in gone]


def test_one_failed_image_stays_to_be_looked_at(store: ImageStore) -> None:
    for _ in range(3):
        an_image(store, [], "failed")
    assert planned(store) == (
        ["shop-2026-11-23.1", "shop-2026-11-23.2"],
        {"shop-2026-11-23.3": "the newest that failed"},
    )


def test_what_a_region_stands_on_stays_and_says_so(store: ImageStore, tmp_path: Path) -> None:
    base, old, new, shared, alone = (
        a_layer(store, tmp_path, name) for name in ("base", "old", "new", "shared", "alone")
    )
    for layers in ([base, old], [base, shared], [base, new]):
        an_image(store, layers)
    why = "region local has an AMI or an instance that stands on it"
    references = {layer.root: why for layer in (base, old, alone)}
    plan = plan_prune(store.all(), store.layers.all(), running=(), references=references, keep=1)
    assert [image.name for image in plan.images] == ["shop-2026-11-23.2"]
    assert {one.image.name: one.why for one in plan.kept}["shop-2026-11-23.1"] == why
    assert plan.layers == (shared,)
    assert [(one.layer, one.why) for one in plan.kept_layers] == [(alone, why)]


def test_what_a_machine_runs_stays_however_old(store: ImageStore) -> None:
    for _ in range(3):
        an_image(store, [])
    gone, kept = planned(store, running=("shop-2026-11-23.1",), keep=1)
    assert gone == ["shop-2026-11-23.2"]
    assert kept["shop-2026-11-23.1"] == "a machine runs it"


def test_what_a_bake_is_making_stays(store: ImageStore) -> None:
    an_image(store, [], "built")
    with store.reserve("shop", time="2026-11-23T12:00:00Z", build="bake-1"):
        gone, kept = planned(store, keep=0)
    assert gone == []
    assert set(kept.values()) == {"a bake is making it"}


def test_an_unreadable_image_goes(store: ImageStore) -> None:
    (an_image(store, []).folder / "record.json").write_text("")
    assert planned(store)[0] == ["shop-2026-11-23.1"]


def test_layers_go_with_the_last_image_that_needs_them(store: ImageStore, tmp_path: Path) -> None:
    base, old, new, stray = (a_layer(store, tmp_path, name) for name in ("base", "old", "new", "stray"))
    an_image(store, [base, old])
    an_image(store, [base, new])
    plan = plan_prune(store.all(), store.layers.all(), running=(), keep=1)
    assert {layer.id for layer in plan.layers} == {old.id, stray.id}
    prune(store, plan)
    assert left(store) == {base.id, new.id}
    assert store.roots(store.find("latest")) == (base.root, new.root)


def test_nothing_to_do_is_a_plan_too(store: ImageStore, tmp_path: Path) -> None:
    layer: Layer = a_layer(store, tmp_path, "base")
    an_image(store, [layer])
    plan = plan_prune(store.all(), store.layers.all(), running=())
    assert (plan.images, plan.layers) == ((), ())


def left(store: ImageStore) -> set[str]:
    return {layer.id for layer in store.layers.all()}


def test_the_images_of_machines_are_read_from_their_folders(tmp_path: Path) -> None:
    for machine, image in (("a", "shop-2026-11-23.1\n"), ("b", "shop-2026-11-23.1\n"), ("c", "shop-2026-11-23.2\n")):
        (tmp_path / machine).mkdir()
        (tmp_path / machine / "image").write_text(image)
    (tmp_path / "a-build-machine").mkdir()
    (tmp_path / "just-stopped").mkdir()
    (tmp_path / "just-stopped" / "image").symlink_to("gone")
    assert running_images(tmp_path) == {"shop-2026-11-23.1", "shop-2026-11-23.2"}
