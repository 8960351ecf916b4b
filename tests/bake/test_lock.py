"""stack.lock: what is decided (pure, as a table), the file, and the story with real repositories."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from agent.errors import SourceError, StackError
from bake.lock import Head, Lock, Pin, lock_stack, plan_lock, read_lock, render_lock, unpinned, write_lock
from bake.stack import Repo, Stack
from tests.bake.repositories import Repository, mirrors

A, B, C = "a" * 40, "b" * 40, "c" * 40
PIN = Pin("../shop", "main", A)


def stack_of(**repos: tuple[str, str]) -> Stack:
    """A stack with these repos, each a URL and a ref."""
    return Stack("shop", Path("/"), repos={name: Repo(name, url, url, ref) for name, (url, ref) in repos.items()})


SHOP = stack_of(shop=("../shop", "main"))


@pytest.mark.parametrize(
    ("stack", "pins", "heads", "update", "verdict", "pinned", "told"),
    [
        (SHOP, {}, {"shop": Head(A)}, (), "new", A, "shop: main is aaaaaaaaaaaa"),
        (SHOP, {"shop": PIN}, {}, (), "same", A, "shop: aaaaaaaaaaaa"),
        (SHOP, {"shop": PIN}, {"shop": Head(A)}, ("shop",), "same", A, "shop: aaaaaaaaaaaa"),
        (
            SHOP,
            {"shop": PIN},
            {"shop": Head(B)},
            (),
            "held",
            A,
            "shop: stays at aaaaaaaaaaaa, while main is bbbbbbbbbbbb: bakeboot lock --update shop",
        ),
        (
            SHOP,
            {"shop": PIN},
            {"shop": Head(B, rewritten=True)},
            (),
            "held",
            A,
            "shop: stays at aaaaaaaaaaaa, while main is bbbbbbbbbbbb (its history was rewritten): "
            "bakeboot lock --update shop",
        ),
        (
            SHOP,
            {"shop": PIN},
            {"shop": Head(B)},
            ("shop",),
            "moved",
            B,
            "shop: main moved from aaaaaaaaaaaa to bbbbbbbbbbbb",
        ),
        (
            stack_of(shop=("../shop", "HEAD")),
            {"shop": Pin("../shop", "HEAD", A)},
            {"shop": Head(B, rewritten=True)},
            ("shop",),
            "moved",
            B,
            "shop: the default branch moved from aaaaaaaaaaaa to bbbbbbbbbbbb (its history was rewritten)",
        ),
        (
            stack_of(shop=("../shop", "develop")),
            {"shop": PIN},
            {"shop": Head(B)},
            (),
            "changed",
            B,
            "shop: ref is develop in stack.toml, was main: from aaaaaaaaaaaa to bbbbbbbbbbbb",
        ),
        (
            stack_of(shop=("../store", "main")),
            {"shop": PIN},
            {"shop": Head(A)},
            (),
            "changed",
            A,
            "shop: url is ../store in stack.toml, was ../shop: from aaaaaaaaaaaa to aaaaaaaaaaaa",
        ),
        (
            stack_of(),
            {"shop": PIN},
            {},
            (),
            "removed",
            None,
            "shop: not in stack.toml any more, was aaaaaaaaaaaa",
        ),
    ],
)
def test_each_pin_is_decided_and_told(
    stack: Stack,
    pins: Mapping[str, Pin],
    heads: Mapping[str, Head],
    update: tuple[str, ...],
    verdict: str,
    pinned: str | None,
    told: str,
) -> None:
    plan = plan_lock(stack, Lock(pins), heads, update)
    (change,) = plan.changes
    assert (change.verdict, str(change)) == (verdict, told)
    assert {name: pin.commit for name, pin in plan.lock.repos.items()} == ({"shop": pinned} if pinned else {})


def test_the_plan_of_what_was_locked_changes_nothing() -> None:
    stack = stack_of(b=("../b", "main"), a=("../a", "HEAD"))
    heads = {"a": Head(A), "b": Head(B)}
    plan = plan_lock(stack, Lock(), heads)
    again = plan_lock(stack, plan.lock, heads)
    assert again.lock == plan.lock
    assert {change.verdict for change in again.changes} == {"same"}
    assert unpinned(stack, plan.lock) == ()
    assert unpinned(stack, plan.lock, ("a",)) == ("a",)
    assert unpinned(stack, Lock()) == ("b", "a")


def test_the_file_is_written_to_be_read_by_people_and_read_back(tmp_path: Path) -> None:
    lock = Lock({"shop": Pin('../sh"op\\', "main", A), "api": Pin("git@example.org:acme/api.git", "HEAD", B)})
    write_lock(tmp_path / "stack.lock", lock)
    assert read_lock(tmp_path / "stack.lock") == lock
    assert [path.name for path in tmp_path.iterdir()] == ["stack.lock"]
    assert render_lock(lock).partition("\nversion")[2] == (
        " = 1\n"
        f'\n[repos.api]\nurl = "git@example.org:acme/api.git"\nref = "HEAD"\ncommit = "{B}"\n'
        f'\n[repos.shop]\nurl = "../sh\\"op\\\\"\nref = "main"\ncommit = "{A}"\n'
    )


def test_without_a_file_nothing_is_locked(tmp_path: Path) -> None:
    assert read_lock(tmp_path / "stack.lock") == Lock()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("version = 2\n", "version: expected version 1, which this bakeboot writes, got 2"),
        ("", "version: expected the version of its format, got nothing"),
        (
            'version = 1\n[repos.a]\nurl = "../a"\nref = "main"\n',
            "repos.a.commit: expected what `bakeboot lock` writes",
        ),
        (
            'version = 1\n[repos.a]\nurl = "../a"\nref = "--upload-pack=x"\ncommit = "main"\n',
            "repos.a.ref: expected a branch",
        ),
        (
            'version = 1\n[repos.a]\nurl = "ext::sh -c x"\nref = "main"\ncommit = "abc"\n',
            'repos.a.commit: expected a commit of 40 hexadecimal digits, got "abc"',
        ),
        ("version = 1\n<<<<<<< HEAD\n", "keep one side of the merge, then: bakeboot lock"),
        ("version = 1\nrepo = 1\n", "repo: unknown key"),
    ],
)
def test_a_file_that_somebody_changed_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "stack.lock").write_text(text)
    with pytest.raises(StackError) as error:
        read_lock(tmp_path / "stack.lock")
    assert told in str(error.value)
    assert str(tmp_path / "stack.lock") in str(error.value)


class Company:
    """Two repositories, and the stack that names them."""

    def __init__(self, home: Path) -> None:
        self.shop = Repository(home / "shop", {"Procfile": "web: ./run\n"})
        self.api = Repository(home / "api", {"Procfile": "web: ./run\n"})
        at = {name: Repo(name, f"../{name}", str(home / name), "main") for name in ("shop", "api")}
        self.stack = Stack("company", home, repos=at)
        self.path = home / "stack.lock"
        self.mirrors = mirrors(home)


@pytest.fixture
def company(tmp_path: Path) -> Company:
    return Company(tmp_path)


def verdicts(company: Company, *, update: tuple[str, ...] = ()) -> dict[str, str]:
    plan = lock_stack(company.stack, company.path, company.mirrors, update=update)
    return {change.repo: change.verdict for change in plan.changes}


@pytest.mark.subprocess
def test_pins_stay_until_they_are_asked_to_move(company: Company) -> None:
    assert verdicts(company) == {"shop": "new", "api": "new"}
    before = read_lock(company.path)
    company.shop.commit({"a": "1"})
    company.api.commit({"a": "1"})
    assert verdicts(company) == {"shop": "held", "api": "held"}
    assert read_lock(company.path) == before
    assert verdicts(company, update=("shop",)) == {"shop": "moved", "api": "held"}
    assert read_lock(company.path).repos["shop"].commit == company.shop.git("rev-parse", "HEAD")
    assert verdicts(company, update=tuple(company.stack.repos)) == {"shop": "same", "api": "moved"}


@pytest.mark.subprocess
def test_a_complete_lock_asks_no_repository(company: Company) -> None:
    verdicts(company)
    shutil.rmtree(company.shop.path)
    shutil.rmtree(company.api.path)
    plan = lock_stack(company.stack, company.path, company.mirrors, look="unpinned")
    assert {change.verdict for change in plan.changes} == {"same"}


@pytest.mark.subprocess
def test_a_history_that_was_rewritten_is_told(company: Company) -> None:
    company.shop.commit({"a": "1"})
    verdicts(company)
    company.shop.git("reset", "--quiet", "--hard", "HEAD~1")
    company.shop.commit({"b": "1"})
    plan = lock_stack(company.stack, company.path, company.mirrors)
    assert [change.repo for change in plan.changes if change.head and change.head.rewritten] == ["shop"]


@pytest.mark.subprocess
def test_every_ref_that_vanished_is_told_and_nothing_is_written(company: Company) -> None:
    verdicts(company)
    before = company.path.read_text()
    for repository in (company.shop, company.api):
        repository.git("branch", "-m", "main", "maine")
    with pytest.raises(SourceError) as told:
        lock_stack(company.stack, company.path, company.mirrors, update=("shop",))
    assert [line.split(": ")[0] for line in str(told.value).splitlines() if "has no ref main" in line] == [
        "shop",
        "api",
    ]
    assert 'try   ref = "maine"' in str(told.value)
    assert company.path.read_text() == before


@pytest.mark.subprocess
def test_what_is_not_committed_is_noticed(company: Company) -> None:
    company.shop.write({"new": ""})
    plan = lock_stack(company.stack, company.path, company.mirrors)
    assert [notice.partition(" in ")[0] for notice in plan.notices] == ["shop: 1 file"]


def test_a_repo_to_update_must_exist(tmp_path: Path) -> None:
    with pytest.raises(StackError) as told:
        lock_stack(SHOP, tmp_path / "stack.lock", mirrors(tmp_path), update=("shp",))
    assert str(told.value) == '--update: expected the name of a repo ("shop"), got "shp"\n  try   --update shop'


def test_a_lock_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="no such file or directory"):
        write_lock(tmp_path / "nowhere" / "stack.lock", Lock())
