"""``examples/shop/publish.py``, with real git: one repository for each repo, and the same commits everywhere."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.examples.loading import SHOP, load

publish = load("publish.py")

pytestmark = pytest.mark.subprocess


def git(repo: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(repo), *arguments], check=True, capture_output=True, text=True).stdout


def heads(target: Path) -> dict[str, str]:
    return {name: git(target / "repos" / name, "rev-parse", "main").strip() for name in publish.REPOS}


def test_every_repo_of_the_stack_file_is_a_clean_git_repository(tmp_path: Path) -> None:
    publish.publish(SHOP, tmp_path)
    stack = tomllib.loads((tmp_path / "stack.toml").read_text())
    assert sorted(stack["repos"]) == sorted(publish.REPOS)
    for repo in stack["repos"].values():
        assert git(tmp_path / repo["url"], "rev-parse", "--abbrev-ref", "HEAD").strip() == repo["ref"]
        assert git(tmp_path / repo["url"], "status", "--porcelain", "--ignored") == ""
    assert (tmp_path / "image_tests" / "test_shop.py").is_file()


def test_two_places_get_the_same_commits(tmp_path: Path) -> None:
    publish.publish(SHOP, tmp_path / "a")
    publish.publish(SHOP, tmp_path / "b")
    assert heads(tmp_path / "a") == heads(tmp_path / "b")


def test_a_second_run_commits_nothing_where_nothing_changed(tmp_path: Path) -> None:
    publish.publish(SHOP, tmp_path)
    before = heads(tmp_path)
    lines = publish.publish(SHOP, tmp_path)
    assert heads(tmp_path) == before
    assert all(line.endswith("(unchanged)") for line in lines)


def test_a_change_is_one_more_commit_of_that_repo_alone(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    shutil.copytree(SHOP, shop, ignore=publish.BUILT)
    publish.publish(shop, tmp_path / "out")
    before = heads(tmp_path / "out")
    (shop / "www" / "style.css").unlink()
    (shop / "www" / "new.css").write_text("p { margin: 0 }\n")
    publish.publish(shop, tmp_path / "out")
    after = heads(tmp_path / "out")
    assert {name for name in before if before[name] != after[name]} == {"www"}
    www = tmp_path / "out" / "repos" / "www"
    assert git(www, "log", "--format=%s").splitlines() == ["www: change 1", "www: as in the example"]
    assert git(www, "ls-files").split() == ["index.html", "new.css"]


def test_what_a_run_leaves_behind_is_not_published(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    shutil.copytree(SHOP, shop, ignore=publish.BUILT)
    for left in ("storefront/.venv/bin", "storefront/__pycache__", "orders-api/node_modules/express"):
        (shop / left).mkdir(parents=True)
        (shop / left / "file").write_text("built")
    publish.publish(shop, tmp_path / "out")
    publish.publish(SHOP, tmp_path / "clean")
    assert heads(tmp_path / "out") == heads(tmp_path / "clean")
