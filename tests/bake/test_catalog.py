"""A home's images as a region shows them."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from bake.base import base_key
from bake.catalog import LocalCatalog
from bake.images import ImageStore, ami_id
from tests.bake.planning import a_home, a_layer, a_tree, an_image


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(a_home(tmp_path))


def test_a_verified_image_is_an_ami_with_the_tags_of_its_bake(store: ImageStore, tmp_path: Path) -> None:
    layers = [a_layer(store, tmp_path, name) for name in ("one", "two")]
    image = an_image(store, layers)
    (shown,) = LocalCatalog(store.home).images()
    assert shown.image_id == ami_id(image.digest) == f"ami-{image.digest[7:24]}"
    assert (shown.name, shown.created) == (image.name, image.time)
    assert shown.layers == tuple(layer.root for layer in layers)
    assert shown.tags == {
        "bakeboot:stack": "shop",
        "bakeboot:verified": "true",
        "bakeboot:digest": image.digest,
        "bakeboot:build": "bake-1",
    }


def test_what_is_not_verified_is_no_ami(store: ImageStore) -> None:
    for state in ("built", "failed"):
        an_image(store, [], state)
    assert LocalCatalog(store.home).images() == []


def test_an_image_that_comes_or_goes_later_is_seen(store: ImageStore) -> None:
    catalog = LocalCatalog(store.home)
    assert catalog.images() == []
    image = an_image(store, [])
    assert [one.name for one in catalog.images()] == [image.name]
    store.remove(image)
    assert catalog.images() == []


def test_an_image_whose_layers_are_gone_is_left_out(store: ImageStore, tmp_path: Path) -> None:
    layer = a_layer(store, tmp_path, "one")
    an_image(store, [layer])
    store.layers.remove(layer)
    assert LocalCatalog(store.home).images() == []


def test_a_base_is_an_ami_by_its_own_name(store: ImageStore, tmp_path: Path) -> None:
    root = a_tree(tmp_path / "root", {"etc/os-release": "Debian"})
    layer = store.layers.adopt(
        root, key=base_key("debian:bookworm"), kind="base", name="debian:bookworm", made="2026-11-23T12:00:00Z"
    )
    (shown,) = LocalCatalog(store.home).images()
    assert (shown.name, shown.image_id) == ("bakeboot-base-debian-bookworm", ami_id(layer.digest))
    assert (shown.layers, shown.created, shown.tags) == ((layer.root,), "2026-11-23T12:00:00Z", {})


def test_while_it_is_held_no_prune_can_begin(store: ImageStore) -> None:
    catalog = LocalCatalog(store.home)
    other = os.open(store.home.layers / ".lock", os.O_RDWR | os.O_CREAT)
    try:
        with catalog.hold(), catalog.hold(), pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(other)
