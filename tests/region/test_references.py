"""What regions stand on, told by those that are up and read from the folders of those that are down."""

from __future__ import annotations

from pathlib import Path

import pytest

from region.aws.image_store import ImageStore, Record
from region.errors import RegionError
from region.purge import forget_images, images_of
from region.references import references
from region.region_state import Place
from tests.region.fake_region import FakeRegion, serving


def an_ami(
    place: Place, image_id: str, *layers: Path, created: str = "2026-11-24T12:00:00Z", local: bool = False
) -> None:
    for layer in layers:
        layer.mkdir(parents=True, exist_ok=True)
    record = Record(image_id, "mine", created, "snap-1", layers=tuple(map(str, layers)), local=local)
    ImageStore(place.directory).write(record)


def test_a_home_without_a_region_has_none(tmp_path: Path) -> None:
    assert references(tmp_path) == {}


def test_the_amis_of_a_region_that_is_down_still_stand_on_their_layers(tmp_path: Path) -> None:
    place = Place(tmp_path, "two")
    place.make()
    an_ami(place, "ami-1", tmp_path / "layers/base", tmp_path / "layers/top")
    assert references(tmp_path) == dict.fromkeys(
        [tmp_path / "layers/base", tmp_path / "layers/top"],
        "region two has an AMI or an instance that stands on it",
    )


@pytest.mark.network
def test_one_that_is_up_is_asked(tmp_path: Path) -> None:
    with serving(tmp_path, FakeRegion()):
        assert list(references(tmp_path)) == [Path("/layers/a")]


def test_one_that_can_t_be_asked_now_is_no_reason_to_remove_anything(tmp_path: Path) -> None:
    with Place(tmp_path, "local").held(), pytest.raises(RegionError, match="coming up or going down"):
        references(tmp_path)


def test_a_region_s_own_images_are_known_and_forgotten_the_home_s_are_not_its(tmp_path: Path) -> None:
    place = Place(tmp_path, "local")
    place.make()
    assert images_of(place) == []
    an_ami(place, "ami-2", created="2026-11-24T13:00:00Z")
    an_ami(place, "ami-1")
    an_ami(place, "ami-3", local=True)
    assert [image["id"] for image in images_of(place)] == ["ami-1", "ami-2"]
    with place.held(), pytest.raises(RegionError, match="in use"):
        forget_images(place)
    forget_images(place)
    assert images_of(place) == []
