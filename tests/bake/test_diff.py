"""What changed between two images, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from agent.image import ImageManifest, Packages, Repo
from bake.diff import ImageDiff, PackageChange, RepoChange, diff_images
from tests.bake.planning import manifest


def repo(**changes: str) -> dict[str, Repo]:
    made = manifest().repos["www"]
    values: dict[str, Any] = {name: getattr(made, name) for name in Repo.__fields__}
    return {"www": Repo(**{**values, **changes})}


def image(repos: Mapping[str, Repo], packages: Packages | None = None) -> ImageManifest:
    return manifest(repos=repos, packages=packages or Packages(apt={}, python={}, node={}))


def no_subjects(repo: str, old: str, new: str) -> list[tuple[str, str]]:
    return []


OLD, NEW = "3" * 40, "4" * 40


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        (repo(), repo(commit=NEW), RepoChange("www", OLD, NEW)),
        ({}, repo(), RepoChange("www", None, OLD)),
        (repo(), {}, RepoChange("www", OLD, None)),
        (repo(), repo(subject="another"), None),
        (repo(), repo(url="https://elsewhere.example.org/www"), None),
    ],
    ids=["moved", "added", "removed", "told otherwise", "another address"],
)
def test_repos(before: dict[str, Repo], after: dict[str, Repo], change: RepoChange | None) -> None:
    assert diff_images(image(before), image(after), no_subjects).repos == ((change,) if change else ())


def test_commits_between_are_those_ahead_and_those_undone() -> None:
    history = {("www", OLD, NEW): [("c" * 40, "better")], ("www", NEW, OLD): [("d" * 40, "worse")]}
    (change,) = diff_images(image(repo()), image(repo(commit=NEW)), lambda *asked: history[asked]).repos
    assert (change.commits, change.undone) == ((("c" * 40, "better"),), (("d" * 40, "worse"),))


def test_nobody_is_asked_for_the_history_of_a_new_repo() -> None:
    def refuse(repo: str, old: str, new: str) -> list[tuple[str, str]]:
        raise AssertionError(repo)

    assert diff_images(image({}), image(repo()), refuse).repos[0].commits == ()


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        (
            Packages(apt={"nginx": "1", "gone": "1", "same": "1"}, python={}, node={}),
            Packages(apt={"nginx": "2", "new": "3", "same": "1"}, python={}, node={}),
            [("apt", "gone", "1", None), ("apt", "new", None, "3"), ("apt", "nginx", "1", "2")],
        ),
        (
            Packages(apt={}, python={"web": {"flask": "3.0"}}, node={"api": {"express": "4"}}),
            Packages(apt={}, python={"web": {"flask": "3.1"}, "jobs": {"rq": "1"}}, node={}),
            [
                ("node api", "express", "4", None),
                ("python jobs", "rq", None, "1"),
                ("python web", "flask", "3.0", "3.1"),
            ],
        ),
    ],
    ids=["apt", "of repos"],
)
def test_packages(before: Packages, after: Packages, changes: list[tuple[str, str, str | None, str | None]]) -> None:
    found = diff_images(image(repo(), before), image(repo(), after), no_subjects).packages
    assert [(one.group, one.package, one.before, one.after) for one in found] == changes


def test_what_happened_to_a_package_is_a_word() -> None:
    changes = [PackageChange("apt", "x", None, "1"), PackageChange("apt", "x", "1", None)]
    assert [change.what for change in (*changes, PackageChange("apt", "x", "1", "2"))] == [
        "added",
        "removed",
        "changed",
    ]


def test_services_come_and_go() -> None:
    whole = manifest()
    less = manifest(services={name: one for name, one in whole.services.items() if name != "jobs"})
    assert diff_images(less, whole, no_subjects).services_added == ("jobs",)
    assert diff_images(whole, less, no_subjects).services_removed == ("jobs",)


def test_an_image_and_itself_differ_in_nothing() -> None:
    assert diff_images(manifest(), manifest(), no_subjects) == ImageDiff((), (), (), ())


def test_json_holds_all_of_it() -> None:
    difference = diff_images(image({}), image(repo(), Packages(apt={"a": "1"}, python={}, node={})), no_subjects)
    told = difference.json()
    assert set(told) == {"repos", "packages", "services"}
    assert told["repos"][0] == {"repo": "www", "before": None, "after": OLD, "commits": [], "undone": []}
    assert told["packages"] == [{"group": "apt", "package": "a", "before": None, "after": "1"}]
    assert told["services"] == {"added": [], "removed": []}
