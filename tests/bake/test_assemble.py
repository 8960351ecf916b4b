"""Assembling an image: what is read, written and cut for it."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from agent.errors import StackError
from bake.assemble import (
    IMAGE_SCRIPTS,
    SYSTEM_SCRIPTS,
    Assembly,
    _deb822,
    _earlier_checkouts,
    apt_key_hashes,
    toolkit_hashes,
)
from bake.images import ImageStore
from bake.stack import AptSource, Stack
from bake.stage import PACKER, Workshop
from tests.bake.planning import a_home, a_layer, an_image, planned, repo_plans
from tests.bake.test_verify import Mute


def stack(key: Path | None) -> Stack:
    return Stack("shop", Path("/"), apt_sources={"more": AptSource("more", "https://a", "bookworm", key=key)})


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        (
            AptSource("more", "https://apt.example.org", "bookworm", ("main", "extra"), Path("/k/more.asc")),
            ["Suites: bookworm", "Signed-By: /etc/apt/keyrings/more.asc", "Components: main extra"],
        ),
        (
            AptSource("flat", "https://apt.example.org", "./", (), None),
            ["Suites: ./", "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg"],
        ),
    ],
    ids=["own key", "flat"],
)
def test_an_apt_source_is_written_as_apt_reads_it(source: AptSource, lines: list[str]) -> None:
    assert _deb822(source).splitlines() == ["Types: deb", "URIs: https://apt.example.org", *lines]
    assert _deb822(source).endswith("\n")


def test_another_key_of_an_apt_source_is_another_system(tmp_path: Path) -> None:
    key = tmp_path / "more.asc"
    key.write_text("one")
    before = apt_key_hashes(stack(key))
    key.write_text("other")
    assert before.keys() == apt_key_hashes(stack(key)).keys() == {"more"}
    assert before != apt_key_hashes(stack(key))
    assert apt_key_hashes(stack(None)) == {}


def test_a_key_that_can_not_be_read_is_a_mistake_of_the_stack(tmp_path: Path) -> None:
    with pytest.raises(StackError) as told:
        apt_key_hashes(stack(tmp_path / "gone.asc"))
    (mistake,) = told.value.mistakes
    assert mistake.path == "stack.apt_sources.more.key"
    assert "No such file" in mistake.expected


def test_an_earlier_commit_is_taken_from_the_layers_that_are_there(tmp_path: Path) -> None:
    store = ImageStore(a_home(tmp_path))
    gone, there = (a_layer(store, tmp_path, name) for name in ("storefront", "orders-api"))
    an_image(store, [gone, there])
    store.layers.remove(gone)
    workshop = cast("Workshop", None)
    assembly = Assembly(workshop, store, planned(), {}, Mute(), "2026-11-23T18:00:00Z", scratch=False)
    assert _earlier_checkouts(assembly, list(repo_plans().values())) == [there]


def test_the_toolkits_own_files_count_and_every_script_is_there() -> None:
    hashes = toolkit_hashes()
    assert {"10-packages.sh", "20-toolkit.sh", "requirements.lock"} <= hashes.keys()
    assert all(len(digest) == 64 for digest in hashes.values())
    assert hashes.keys() >= set(SYSTEM_SCRIPTS) - {"00-payload.sh"}
    there = {script.name for script in (PACKER / "scripts").iterdir()}
    assert there == {*SYSTEM_SCRIPTS, *IMAGE_SCRIPTS}
