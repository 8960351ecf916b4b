"""Images once they are there: what is told of them, which of them go, and one as a file."""

from __future__ import annotations

import json
import re
import stat
import subprocess
from pathlib import Path

import pytest

from agent.errors import ImageError
from bake.images import Image
from tests.system.bakery import Bakery, TinyStack, wait_until


@pytest.fixture(scope="module")
def whole(bakery: Bakery, shop: Image) -> dict[str, object]:
    told: dict[str, object] = bakery.json("images", "show", shop.name)
    return told


def test_the_shop_is_baked_by_packer_to_an_image_that_counts(bakery: Bakery, shop: Image) -> None:
    assert shop.state == "verified"
    assert re.fullmatch(r"shop-\d{4}-\d\d-\d\d\.\d+", shop.name)
    log = (shop.folder / "bake.log").read_text()
    assert "packer build" in log
    assert "null.machine" in log or "Provisioning with shell script" in log
    (listed,) = [one for one in bakery.json("images", "list") if one["name"] == shop.name]
    assert (listed["state"], listed["stack"], listed["reason"]) == ("verified", "shop", "")
    assert listed["layers"] == list(shop.layers)
    assert json.loads((shop.folder / "record.json").read_text())["digest"] == shop.digest


def test_an_image_says_of_every_repo_where_it_came_from_and_what_it_brought(
    bakery: Bakery, shop: Image, whole: dict[str, object]
) -> None:
    image = shop.manifest()
    assert set(image.repos) == {"storefront", "orders-api", "orders-worker", "www"}
    for name, repo in image.repos.items():
        assert (repo.url, repo.ref) == (f"repos/{name}", "main")
        assert re.fullmatch("[0-9a-f]{40}", repo.commit)
        assert re.fullmatch("[0-9a-f]{40}", repo.tree)
        assert repo.subject == f"{name}: as in the example"
    assert set(image.services) == {"storefront", "orders-api", "orders-worker", "nightly", "www"}
    assert {name: datastore.kind for name, datastore in image.datastores.items()} == {
        "db": "postgresql",
        "queue": "redis",
    }
    assert image.base.name == "debian:bookworm"
    assert {"postgresql-15", "redis-server", "nginx-light", "nodejs", "systemd"} <= set(image.packages.apt)
    assert {"flask", "gunicorn", "rq"} <= set(image.packages.python["storefront"])
    assert {"express", "pg"} <= set(image.packages.node["orders-api"])
    assert whole["image"] == json.loads(image.render()), "images show --json tells all of it"
    inside = bakery.layer_of(shop, "top", "").root / "etc/bakeboot/image.json"
    assert json.loads(inside.read_text()) == json.loads(image.render()), "and so does the image itself"


def test_the_same_is_told_to_a_person(bakery: Bakery, shop: Image) -> None:
    assert shop.name in bakery.run("images", "list").stdout
    shown = bakery.run("images", "show", shop.name).stdout
    for word in ("storefront", "orders-api", "nightly", "db queue", shop.manifest().repos["www"].commit[:12]):
        assert word in shown
    assert str(shop.folder) in shown, "where the logs are"


def test_a_difference_between_two_images_that_hold_the_same_is_none(bakery: Bakery, shop: Image) -> None:
    assert "the same commits, packages and services" in bakery.run("images", "diff", shop.name, shop.name).stdout


def test_prune_says_first_and_keeps_what_a_machine_runs_and_what_images_need(
    apart: Bakery, tiny: TinyStack, tmp_path: Path
) -> None:
    stack = tiny.copy(tmp_path / "stack")
    images = []
    for greeting in ("one", "two"):
        stack.hello.commit({"greeting": greeting})
        images.append(apart.bake(stack.folder, "--update", "hello")[0])
    old, new = images
    alone = apart.layer_of(old, "repo", "hello")
    shared = apart.layer_of(old, "deps", "hello")
    assert shared.id in new.layers
    assert alone.id not in new.layers

    with (tmp_path / "log").open("w") as output:
        process = apart.start("boot", old.name, "--mode", "bake", cwd=tmp_path, output=output)
        try:
            wait_until(lambda: "stops it" in (tmp_path / "log").read_text(), "the machine is up")
            told = apart.json("images", "prune", "--keep", "1")
            assert told["done"] is False
            assert told["images"] == []
            assert "machine" in told["kept"][old.name]
            done = apart.json("images", "prune", "--keep", "1", "--yes")
            assert (done["done"], done["images"]) == (True, [])
            assert alone.folder.exists(), "a machine runs on it"
        finally:
            process.terminate()
            process.wait(timeout=60)

    told = apart.json("images", "prune", "--keep", "1")
    assert (told["done"], told["images"]) == (False, [old.name])
    assert alone.id in told["layers"]
    assert told["bytes"] > 0
    assert old.folder.exists(), "nothing goes before --yes"
    assert "bakeboot images prune --yes" in apart.run("images", "prune", "--keep", "1").stdout
    assert alone.folder.exists()

    told = apart.json("images", "prune", "--keep", "1", "--yes")
    assert (told["done"], told["images"]) == (True, [old.name])
    assert not old.folder.exists()
    assert not alone.folder.exists()
    assert shared.folder.exists()
    assert [image.name for image in apart.store.all()] == [new.name]
    apart.run("boot", new.name, "--mode", "review", "--", "true")


def test_prune_is_refused_while_a_bake_is_under_way(apart: Bakery, tiny: TinyStack, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as output:
        process = apart.start("bake", cwd=tiny.folder, output=output)
        try:
            wait_until(lambda: "preparing the base" in (tmp_path / "log").read_text(), "the bake is under way")
            refused = apart.run("images", "prune", "--yes", code=ImageError.exit_code)
        finally:
            process.terminate()
            process.wait(timeout=60)
    assert "bake" in refused.stderr
    assert "again when it has ended" in refused.stderr


@pytest.mark.parametrize("form", ["squashfs", "tar.zst"])
def test_an_export_is_one_file_with_everything_and_its_owners(
    bakery: Bakery, tiny_image: Image, form: str, tmp_path: Path
) -> None:
    bakery.run("export", tiny_image.name, "--format", form, cwd=tmp_path)
    file = tmp_path / f"{tiny_image.name}.{form}"
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    out = tmp_path / "out"
    wanted = ["etc/bakeboot/image.json", "etc/shadow", "usr/bin/sudo", "srv/bakeboot/hello", "var/lib/redis"]
    if form == "squashfs":
        command = ["unsquashfs", "-quiet", "-no-progress", "-dest", str(out), str(file), *wanted]
        described = subprocess.run(["unsquashfs", "-stat", str(file)], capture_output=True, text=True, check=True)
        assert "Compression zstd" in described.stdout
    else:
        out.mkdir()
        command = ["tar", "--extract", "--numeric-owner", "--same-owner", f"--file={file}", f"--directory={out}"]
        command += [f"./{path}" for path in wanted]
    subprocess.run(command, check=True, capture_output=True)
    assert json.loads((out / "etc/bakeboot/image.json").read_text())["name"] == tiny_image.name
    passwd = bakery.layer_of(tiny_image, "system", "").root / "etc/passwd"
    redis = next(line.split(":") for line in passwd.read_text().splitlines() if line.startswith("redis:"))
    assert (out / "var/lib/redis").stat().st_uid == int(redis[2])
    assert stat.filemode((out / "etc/shadow").stat().st_mode) == "-rw-r-----"
    assert (out / "usr/bin/sudo").stat().st_mode & stat.S_ISUID
    current = out / "srv/bakeboot/hello/current"
    assert str(current.readlink()) == tiny_image.manifest().repos["hello"].commit
    assert (current / "app.py").stat().st_uid == 0
