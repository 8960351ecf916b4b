"""AMIs on disk."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from region.aws import image_store
from region.aws.image_store import ImageStore, Record
from region.errors import RegionError


def record(store: ImageStore, image_id: str, *layers: Path) -> Record:
    store.layer(image_id).mkdir(parents=True)
    return Record(
        image_id=image_id,
        name=f"name of {image_id}",
        created="2026-11-24T00:00:00Z",
        snapshot_id="snap-1",
        layers=tuple(map(str, (*layers, store.layer(image_id)))),
        tags={"a": "b"},
        launch_permissions=({"UserId": "210987654321"},),
        devices=({"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 5}},),
    )


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    written = record(store, "ami-1")
    store.write(written)
    assert store.load() == [written]
    store.write(replace(written, description="better"))
    assert [one.description for one in store.load()] == ["better"]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format": 2}', '{"format": 1, "layers": []}'])
def test_what_is_no_record_is_left_out_and_told(tmp_path: Path, text: str) -> None:
    store = ImageStore(tmp_path)
    store.layer("ami-1").mkdir(parents=True)
    (store.directory / "ami-1/record.json").write_text(text)
    said: list[str] = []
    assert store.load(said.append) == []
    assert "ami-1" in said[0]


def test_an_image_whose_layer_is_gone_is_left_out_and_told(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    store.write(record(store, "ami-1", tmp_path / "gone"))
    said: list[str] = []
    assert store.load(said.append) == []
    assert "is gone" in said[0]


def test_garbage_is_what_nothing_stands_on_and_nobody_makes(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    parent, child = record(store, "ami-parent"), record(store, "ami-child", store.layer("ami-parent"))
    for one in (parent, child):
        store.write(one)
    store.layer("ami-half").mkdir(parents=True)
    store.layer("ami-making").mkdir(parents=True)
    store.forget("ami-parent")
    used = image_store.references(tmp_path)
    assert used == [store.layer("ami-child"), store.layer("ami-parent")]
    assert store.garbage(used, making=["ami-making"]) == [store.directory / "ami-half"]
    store.forget("ami-child")
    gone = store.garbage(image_store.references(tmp_path), making=["ami-making", "ami-half"])
    assert sorted(gone) == [store.directory / "ami-child", store.directory / "ami-parent"]


def test_changes_of_tags_are_kept_beside_what_a_bake_says() -> None:
    original, now = {"a": "1", "b": "1", "c": "1"}, {"a": "1", "b": "2", "d": "1"}
    changes = image_store.changed_tags(original, now)
    assert changes == {"b": "2", "d": "1", "c": None}
    assert image_store.with_changes(original, changes) == now
    assert image_store.with_changes({**original, "late": "yes"}, changes) == {**now, "late": "yes"}


@pytest.mark.subprocess
def test_a_layer_is_copied_with_all_that_makes_it_one(tmp_path: Path) -> None:
    source, target = tmp_path / "upper", tmp_path / "images/ami-1/layer"
    (source / "etc").mkdir(parents=True)
    (source / "etc/app").write_text("x")
    (source / "etc/app").chmod(0o640)
    os.utime(source / "etc/app", (1, 1))
    (source / "etc/link").symlink_to("/nowhere")
    image_store.copy(source, target)
    found = (target / "etc/app").stat()
    assert (found.st_mode & 0o777, found.st_mtime) == (0o640, 1)
    assert (target / "etc/link").is_symlink()
    with pytest.raises(RegionError, match="upper"):
        image_store.copy(tmp_path / "none" / "upper", tmp_path / "other")


def test_stubs_of_binds_go_and_nothing_else_does(tmp_path: Path) -> None:
    layer, below = tmp_path / "layer", tmp_path / "below"
    for path in ("var/lib/bakeboot/data", "var/lib/other", "etc", "srv/full", "opt/covers"):
        (layer / path).mkdir(parents=True)
    (layer / "etc/resolv.conf").touch()
    (layer / "etc/hosts").write_text("said")
    (layer / "srv/full/file").touch()
    (below / "opt/covers").mkdir(parents=True)
    (below / "var").mkdir()
    targets = ["/var/lib/bakeboot/data", "/etc/resolv.conf", "/etc/hosts", "/srv/full", "/opt/covers", "/none"]
    image_store.without_stubs(layer, targets, [below])
    left = sorted(str(path.relative_to(layer)) for path in layer.rglob("*"))
    assert left == [
        "etc",
        "etc/hosts",
        "opt",
        "opt/covers",
        "srv",
        "srv/full",
        "srv/full/file",
        "var",
        "var/lib",
        "var/lib/other",
    ]
