"""The commands about images, over a home made for the test: what they print and how they end."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from agent.errors import BakebootError, ImageError, StackError
from bake.home import Home, locked
from bake.images import Image, ImageStore
from bakeboot import program
from tests.bake.planning import STACK, a_layer, an_image


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageStore:
    monkeypatch.setenv("BAKEBOOT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return ImageStore(Home.open())


def run(*arguments: str) -> Result:
    return CliRunner().invoke(program, arguments)


def refused(*arguments: str) -> BaseException | None:
    done = run(*arguments)
    assert done.output == ""
    return done.exception


def loaded(*arguments: str) -> Any:
    done = run(*arguments, "--json")
    assert done.exception is None, done.exception
    return json.loads(done.output)


def verified(store: ImageStore, folder: Path) -> Image:
    return an_image(store, [a_layer(store, folder, "base"), a_layer(store, folder, "top")])


def test_a_homes_folders_are_for_its_owner_alone(store: ImageStore) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in store.home.root.iterdir()}
    assert set(modes.values()) == {0o700}


def test_list_tells_states_and_reasons_a_row_a_line(store: ImageStore, tmp_path: Path) -> None:
    verified(store, tmp_path)
    an_image(store, [], "failed")
    (an_image(store, [], day="24").folder / "record.json").write_text('{"name":')
    rows = [line.split("\t") for line in run("images", "list").output.splitlines()]
    assert rows[0] == ["IMAGE", "STATE", "TIME", "DIGEST", "REASON"]
    assert [(row[0], row[1], row[4]) for row in rows[1:]] == [
        ("shop-2026-11-24.1", "unreadable", "record.json tells nothing (JSONDecodeError)"),
        ("shop-2026-11-23.1", "verified", ""),
        ("shop-2026-11-23.2", "failed", "it broke"),
    ]
    assert [image["state"] for image in loaded("images", "list")] == ["unreadable", "verified", "failed"]


def test_an_empty_home_has_no_images(store: ImageStore) -> None:
    assert store.all() == []
    assert run("images", "list").output == "IMAGE\tSTATE\tTIME\tDIGEST\tREASON\n"
    assert loaded("images", "list") == []


def test_show_tells_what_an_image_holds(store: ImageStore, tmp_path: Path) -> None:
    image = verified(store, tmp_path)
    shown = run("images", "show").output
    assert shown.startswith(f"{image.name}  verified  2026-11-23T18:00:00Z\n")
    for part in ("storefront\tHEAD\t111111111111\tabout storefront", "jobs\tworker\tstorefront\t-", image.layers[0]):
        assert part in shown
    assert loaded("images", "show", "2026-11-23.1")["image"]["stack"] == "shop"


def test_show_tells_why_an_image_failed(store: ImageStore) -> None:
    image = an_image(store, [], "failed")
    assert "  it broke\n" in run("images", "show", image.name).output


@pytest.mark.parametrize("json_flag", [(), ("--json",)])
def test_show_of_what_has_no_content_tells_its_state(store: ImageStore, json_flag: tuple[str, ...]) -> None:
    broken = an_image(store, [])
    (broken.folder / "record.json").write_text("")
    assert "unreadable" in run("images", "show", broken.name, *json_flag).output
    with store.reserve("shop", time="2026-11-23T12:00:00Z", build="bake-1") as image:
        assert "baking" in run("images", "show", image.name, *json_flag).output


@pytest.mark.parametrize(
    "arguments",
    [
        ("images", "show", "nosuch"),
        ("images", "show"),
        ("images", "diff", "nosuch", "latest"),
        ("boot", "nosuch", "--mode", "review"),
        ("boot", "--mode", "review", "--", "true"),
        ("export", "nosuch"),
    ],
    ids=" ".join,
)
def test_an_unknown_image_is_an_image_error(store: ImageStore, arguments: tuple[str, ...]) -> None:
    error = refused(*arguments)
    assert isinstance(error, ImageError)
    assert error.hint.startswith("bakeboot ")
    assert len(str(error).splitlines()) == 2
    assert [entry for entry in store.home.runs.iterdir() if entry.is_dir()] == []


def test_a_mode_that_there_is_not_can_not_be_read(store: ImageStore) -> None:
    done = run("boot", "--mode", "reviw")
    assert done.exit_code == 2
    assert "'reviw' is not one of" in done.output


@pytest.mark.parametrize("command", ["boot", "images show"])
def test_an_image_whose_layer_is_gone_is_told(store: ImageStore, tmp_path: Path, command: str) -> None:
    image = verified(store, tmp_path)
    store.layers.remove(store.layers.get(image.layers[0]))
    if command == "images show":
        assert isinstance(run("images", "show", image.name).exception, ImageError)
    else:
        with pytest.raises(ImageError, match="is gone"):
            store.roots(image)


def test_diff_of_an_image_with_itself(store: ImageStore, tmp_path: Path) -> None:
    image = verified(store, tmp_path)
    done = run("images", "diff", image.name, "latest")
    assert done.output.splitlines()[1] == "the same commits, packages and services"
    assert loaded("images", "diff", image.name, "latest")["repos"] == []


def test_a_prune_is_a_dry_run_unless_told(store: ImageStore, tmp_path: Path) -> None:
    first = verified(store, tmp_path)
    second = an_image(store, [store.layers.get(first.layers[0])])
    done = run("images", "prune", "--keep", "1")
    assert done.output.splitlines() == [
        f"would remove {first.name} (verified, 2026-11-23T18:00:00Z)",
        "would remove 1 layers, 0 MiB",
        f"keeps {second.name}: one of the 1 newest verified",
        "  try   bakeboot images prune --yes",
    ]
    assert len(store.all()) == 2
    assert loaded("images", "prune", "--keep", "1", "--yes")["images"] == [first.name]
    assert [image.name for image in store.all()] == [second.name]
    assert [layer.id for layer in store.layers.all()] == list(second.layers)


def test_no_prune_beside_a_bake_a_boot_or_an_export(store: ImageStore, tmp_path: Path) -> None:
    verified(store, tmp_path)
    with locked(store.home.layers / ".lock", shared=True):
        error = refused("images", "prune", "--yes", "--keep", "0")
        assert isinstance(error, ImageError)
        assert "under way" in str(error)
        assert "would remove" in run("images", "prune", "--keep", "0").output
    assert len(store.all()) == 1


def test_sweep_of_a_tidy_home(store: ImageStore) -> None:
    assert store.all() == []
    assert run("sweep").output == "nothing was left behind\n"
    (store.home.images / "shop-2026-11-23.1").mkdir()
    (store.home.layers / ".partial-1").mkdir()
    assert loaded("sweep") == {"swept": ["image shop-2026-11-23.1", "layer .partial-1"]}


def test_a_sweep_leaves_the_layers_of_living_bakes(store: ImageStore) -> None:
    (store.home.layers / ".partial-1").mkdir()
    with locked(store.home.layers / ".lock", shared=True):
        assert loaded("sweep") == {"swept": []}


@pytest.mark.parametrize("command", ["bake", "lock"])
@pytest.mark.usefixtures("store")
def test_a_stack_file_that_is_not_there_or_unreadable_is_told(tmp_path: Path, command: str) -> None:
    for content in (None, b"[stack", b"\xff\xfe", b""):
        if content is not None:
            (tmp_path / "stack.toml").write_bytes(content)
        error = run(command).exception
        assert isinstance(error, StackError), error
        assert error.exit_code == 10
    (tmp_path / "stack.toml").unlink()
    (tmp_path / "stack.toml").mkdir()
    assert isinstance(run(command).exception, BakebootError)


@pytest.mark.parametrize("arguments", [("lock", "--update", "shp"), ("lock", "--update", "*")], ids=" ".join)
@pytest.mark.usefixtures("store")
def test_a_repo_that_there_is_not_is_told_with_the_nearest(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "stack.toml").write_text(STACK)
    error = refused(*arguments)
    assert isinstance(error, StackError)
    assert error.exit_code == 10
    assert str(error).endswith("\n  try   --update storefront")


def test_docs_prints_the_annotated_example() -> None:
    assert run("docs", "stack").output.count("[services.") >= 1
