"""What a region keeps on disk, and how one tells whether it is up."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from region.errors import RegionError
from region.region_state import Place, Record, places

RECORD = Record("local", 42, "http://127.77.3.1:4566", "token", 1.0, "bb", "bb-0a1b2c", "us-east-1")


def test_a_region_is_up_while_its_lock_is_held_and_it_said_where(tmp_path: Path) -> None:
    place = Place(tmp_path, "local")
    assert (place.is_alive(), place.read()) == (False, None)
    with place.held() as held:
        assert held
        assert (place.is_alive(), place.read()) == (True, None)
        place.write(RECORD)
        assert place.read() == RECORD == place.up()
    assert (place.is_alive(), place.read()) == (False, None), "a record without its owner says nothing"


def test_only_one_can_hold_it(tmp_path: Path) -> None:
    with Place(tmp_path, "local").held() as one, Place(tmp_path, "local").held() as other:
        assert (one, other) == (True, False)


def test_what_tells_its_token_is_root_s_alone(tmp_path: Path) -> None:
    place = Place(tmp_path, "local")
    place.make()
    place.write(RECORD)
    assert stat.S_IMODE((place.directory / "region.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(place.directory.stat().st_mode) == 0o700


@pytest.mark.parametrize(("name", "hint"), [("local", "bakeboot region up"), ("two", "bakeboot region up --name two")])
def test_one_that_is_not_up_says_how_to_get_it_up(tmp_path: Path, name: str, hint: str) -> None:
    with pytest.raises(RegionError, match="is not up") as told:
        Place(tmp_path, name).up()
    assert told.value.hint == hint


@pytest.mark.parametrize("name", ["", "Local", "a/b", "..", "a" * 25, "a-", "1a"])
def test_what_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RegionError, match="name"):
        Place(tmp_path, name)


def test_a_record_of_another_version_is_told_with_what_to_do(tmp_path: Path) -> None:
    place = Place(tmp_path, "local")
    with place.held():
        for text in ('{"name": "local", "colour": "red"}', "{"):
            (place.directory / "region.json").write_text(text)
            with pytest.raises(RegionError, match="another version") as told:
                place.read()
            assert told.value.hint == "with that version: bakeboot region down"


def test_a_home_knows_its_regions_and_where_they_were(tmp_path: Path) -> None:
    assert places(tmp_path) == []
    for name in ("two", "one"):
        Place(tmp_path, name).make()
    assert [place.name for place in places(tmp_path)] == ["one", "two"]
    place = Place(tmp_path, "one")
    assert place.number == Place(tmp_path, "one").number in range(1, 255)
    assert Place(Path("/a"), "one").number != Place(Path("/b"), "one").number
    place.remember(7)
    assert place.number == 7
