"""What a bake builds again and what it takes from before: by what it says, and by the layers of the images."""

from __future__ import annotations

from pathlib import Path

import pytest

from bake.images import Image
from tests.system.bakery import Bakery, TinyStack, built


def kinds(bakery: Bakery, first: Image, second: Image) -> set[str]:
    """The layers that two images share, as `repo hello`."""
    shared = set(first.layers) & set(second.layers)
    return {f"{layer.kind} {layer.name}".strip() for layer in map(bakery.layers.get, shared)}


@pytest.fixture
def stack(tiny: TinyStack, tiny_image: Image, tmp_path: Path) -> TinyStack:
    return tiny.copy(tmp_path / "stack")


def test_where_nothing_changed_no_repo_is_built(bakery: Bakery, stack: TinyStack, tiny_image: Image) -> None:
    image, said = bakery.bake(stack.folder)
    assert built(said) == set()
    assert "packages: done" not in said
    assert image.name != tiny_image.name
    assert kinds(bakery, tiny_image, image) >= {"system", "deps hello", "repo hello", "repo ticker"}


def test_a_commit_in_one_repo_builds_that_repo_alone_and_installs_no_dependency_again(
    bakery: Bakery, stack: TinyStack, tiny_image: Image
) -> None:
    commit = stack.hello.commit({"greeting": "good morning"}, "Say good morning")
    unlocked, _ = bakery.bake(stack.folder)
    assert unlocked.manifest().repos["hello"].commit != commit, "the lock pins the commit until it is told to move"

    image, said = bakery.bake(stack.folder, "--update", "hello")
    assert built(said) == {"hello"}
    assert image.manifest().repos["hello"].commit == commit
    shared = kinds(bakery, tiny_image, image)
    assert shared >= {"system", "deps hello", "repo ticker"}
    assert "repo hello" not in shared
    assert image.manifest().parent == unlocked.name

    difference = bakery.json("images", "diff", tiny_image.name, image.name, cwd=stack.folder)
    (moved,) = difference["repos"]
    assert moved["repo"] == "hello"
    assert moved["before"] == tiny_image.manifest().repos["hello"].commit
    assert moved["after"] == commit
    assert moved["commits"] == [{"commit": commit, "subject": "Say good morning"}]
    assert difference["packages"] == []


def test_a_dependency_that_moved_is_installed_anew_and_told_by_the_diff(
    bakery: Bakery, stack: TinyStack, tiny_image: Image
) -> None:
    stack.hello.commit({"requirements.txt": "--no-index\nleaf==2.0\n"}, "Upgrade leaf")
    image, said = bakery.bake(stack.folder, "--update-all")
    assert built(said) == {"hello"}
    assert "deps hello" not in kinds(bakery, tiny_image, image)
    difference = bakery.json("images", "diff", tiny_image.name, image.name, cwd=stack.folder)
    assert difference["packages"] == [{"group": "python hello", "package": "leaf", "before": "1.0", "after": "2.0"}]
    plain = bakery.run("images", "diff", tiny_image.name, image.name, cwd=stack.folder).stdout
    assert "leaf 1.0 -> 2.0" in plain
    assert "Upgrade leaf" in plain
