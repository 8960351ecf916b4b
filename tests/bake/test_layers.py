"""Layers: what a digest sees, and what the store keeps under a key."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.errors import ImageError
from bake.layers import Layer, LayerStore, digest_of, key_of, size_of
from tests.bake.planning import a_home, a_tree

KEY, OTHER = "a" * 32, "b" * 32
MADE = "2026-11-23T18:00:00Z"


def tree(folder: Path) -> Path:
    root = a_tree(folder, {"etc/a": "1", "etc/b": "2", "srv/x/y": "3"})
    (root / "link").symlink_to("etc/a")
    return root


def replace_link(root: Path) -> None:
    (root / "link").unlink()
    (root / "link").symlink_to("etc/b")


def become_a_link(root: Path) -> None:
    (root / "etc/b").unlink()
    (root / "etc/b").symlink_to("2")


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "etc/a").write_text("9"),
        lambda root: (root / "etc/a").chmod(0o755),
        lambda root: (root / "etc").chmod(0o700),
        lambda root: (root / "etc/a").rename(root / "etc/c"),
        lambda root: (root / "etc/a").unlink(),
        lambda root: (root / "empty").mkdir(),
        replace_link,
        become_a_link,
        lambda root: (root / "srv").rename(root / "etc/srv"),
    ],
    ids=["content", "mode", "folder's mode", "name", "gone", "new folder", "target", "file to link", "place"],
)
def test_a_change_changes_the_digest(tmp_path: Path, change: Callable[[Path], object]) -> None:
    root = tree(tmp_path / "root")
    before = digest_of(root)
    change(root)
    assert digest_of(root) != before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_counts(tmp_path: Path) -> None:
    root = tree(tmp_path / "root")
    before = digest_of(root)
    os.chown(root / "etc/a", 0, 12)
    group = digest_of(root)
    os.chown(root / "etc/a", 12, 0)
    assert len({before, group, digest_of(root)}) == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sets trusted attributes")
def test_attributes_that_are_content_count_and_others_do_not(tmp_path: Path) -> None:
    root = tree(tmp_path / "root")
    before = digest_of(root)
    os.setxattr(root / "etc", "trusted.overlay.origin", b"an inode of this host")
    assert digest_of(root) == before
    os.setxattr(root / "etc", "trusted.overlay.opaque", b"y")
    assert digest_of(root) != before


def test_times_and_the_order_on_disk_do_not_count(tmp_path: Path) -> None:
    one, other = tree(tmp_path / "one"), tmp_path / "other"
    (other / "srv").mkdir(parents=True)
    (other / "link").symlink_to("etc/a")
    a_tree(other, {"srv/x/y": "3", "etc/b": "2", "etc/a": "1"})
    os.utime(other / "etc/a", (0, 0))
    assert digest_of(one) == digest_of(other)


def test_names_that_are_no_utf_8_have_a_digest(tmp_path: Path) -> None:
    root = tree(tmp_path / "root")
    before = digest_of(root)
    (root / "\udcff").touch()
    assert digest_of(root) != before


def test_a_key_is_of_its_inputs_whatever_their_order() -> None:
    assert key_of({"a": 1, "b": [2]}) == key_of({"b": [2], "a": 1}) != key_of({"a": 1, "b": [3]})
    assert len(key_of({})) == 32


# --- the store --------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> LayerStore:
    return LayerStore(a_home(tmp_path))


def adopt(store: LayerStore, folder: Path, content: str, key: str = KEY) -> Layer:
    return store.adopt(a_tree(folder, {"a": content}), key=key, kind="repo", name="web", made=MADE)


def test_a_layer_is_found_by_its_key_and_by_its_id(store: LayerStore, tmp_path: Path) -> None:
    layer = adopt(store, tmp_path / "one", "1")
    assert store.find(KEY) == store.get(layer.id) == layer
    assert (layer.kind, layer.name, layer.made, (layer.root / "a").read_text()) == ("repo", "web", MADE, "1")
    assert not (tmp_path / "one").exists()
    assert store.find(OTHER) is None


def test_the_same_content_twice_is_one_layer(store: LayerStore, tmp_path: Path) -> None:
    assert adopt(store, tmp_path / "one", "1") == adopt(store, tmp_path / "two", "1")
    assert len(store.all()) == 1
    assert store.sweep() == []


def test_another_content_takes_over_the_key_and_the_former_stays_by_its_id(store: LayerStore, tmp_path: Path) -> None:
    former = adopt(store, tmp_path / "one", "1")
    newer = adopt(store, tmp_path / "two", "2")
    assert store.find(KEY) == newer
    assert (store.get(former.id).root / "a").read_text() == "1"
    assert {layer.id for layer in store.all()} == {former.id, newer.id}


def test_a_folder_that_can_not_be_moved_is_an_error_and_no_layer(store: LayerStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.adopt(tmp_path / "nowhere", key=KEY, kind="repo", made=MADE)
    assert store.find(KEY) is None


def test_a_removed_layer_is_gone_by_key_and_by_id(store: LayerStore, tmp_path: Path) -> None:
    doomed, kept = adopt(store, tmp_path / "one", "1"), adopt(store, tmp_path / "two", "2", OTHER)
    store.remove(doomed)
    assert store.find(KEY) is None
    assert [link.name for link in store.keys.iterdir()] == [OTHER]
    assert store.all() == [kept]
    with pytest.raises(ImageError, match="is gone") as told:
        store.get(doomed.id)
    assert "bakeboot bake" in told.value.hint


@pytest.mark.parametrize("record", ["", "{", "[]", "{}"])
def test_a_layer_whose_record_tells_nothing_is_none(store: LayerStore, tmp_path: Path, record: str) -> None:
    layer = adopt(store, tmp_path / "one", "1")
    (layer.folder / "layer.json").write_text(record)
    assert store.find(KEY) is None
    assert store.all() == []
    with pytest.raises(ImageError):
        store.get(layer.id)


def test_a_sweep_takes_what_dead_runs_were_making_or_removing(store: LayerStore, tmp_path: Path) -> None:
    layer = adopt(store, tmp_path / "one", "1")
    a_tree(store.home.layers / ".partial-1", {"root/a": ""})
    a_tree(store.home.layers / ".doomed-2", {"root/a": "", "layer.json": json.dumps({})})
    assert store.all() == [layer]
    assert sorted(store.sweep()) == [".doomed-2", ".partial-1"]
    assert store.all() == [layer]


def test_sizes_are_as_du_counts_them(tmp_path: Path) -> None:
    root = a_tree(tmp_path / "root", {"a": "x" * 10_000})
    assert size_of([root]) == (root / "a").stat().st_blocks * 512
