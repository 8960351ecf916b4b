"""An exported file is there whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.errors import ExportError
from bake.export import _publish


def test_it_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    (tmp_path / "image.tar.zst").write_text("older")
    (tmp_path / ".part").write_text("new")
    _publish(tmp_path / ".part", tmp_path / "image.tar.zst")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("image.tar.zst", "new")]


def test_a_place_that_can_not_be_taken_is_told(tmp_path: Path) -> None:
    (tmp_path / "image.tar.zst" / "x").mkdir(parents=True)
    (tmp_path / ".part").write_text("new")
    with pytest.raises(ExportError, match="Is a directory") as told:
        _publish(tmp_path / ".part", tmp_path / "image.tar.zst")
    assert told.value.where == str(tmp_path / "image.tar.zst")
    assert told.value.hint == "choose another --output"
