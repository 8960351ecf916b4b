"""Mirrors of real repositories: what is fetched, found, read, and told when it isn't there."""

from __future__ import annotations

import fcntl
import shutil
import threading
from pathlib import Path

import pytest

from agent.errors import SourceError
from bake.git import Git
from bake.mirror import Logged
from bake.mirrors import Mirrors
from tests.bake.repositories import ENVIRONMENT, Repository, mirrors, repo

pytestmark = pytest.mark.subprocess


@pytest.fixture
def origin(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "origin", {"Procfile": "web: ./run\n", "services/api/app.py": "pass\n"})


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_branch_a_tag_and_a_commit_are_found_by_path_and_by_file_url(
    tmp_path: Path, origin: Repository, scheme: str
) -> None:
    first = origin.git("rev-parse", "HEAD")
    origin.git("tag", "-a", "v1", "-m", "one")
    origin.git("branch", "develop")
    second = origin.commit({"new": ""})
    at = repo(f"{scheme}{origin.path}")
    mirror = mirrors(tmp_path).update([at])["storefront"]
    refs = ("HEAD", "main", "refs/heads/main", "develop", "v1", "refs/tags/v1", first)
    assert [mirror.resolve(ref) for ref in refs] == [second, second, second, first, first, first, first]


def test_an_update_follows_moved_and_removed_refs(tmp_path: Path, origin: Repository) -> None:
    held = mirrors(tmp_path)
    origin.git("branch", "old")
    held.update([repo(origin.path)])
    origin.git("branch", "-D", "old")
    moved = origin.commit({"a": "1"})
    origin.git("branch", "old/but-new")
    mirror = held.update([repo(origin.path)])["storefront"]
    assert mirror.refs() == {"refs/heads/main": moved, "refs/heads/old/but-new": moved}


def test_the_default_branch_is_the_one_that_the_remote_has_now(tmp_path: Path, origin: Repository) -> None:
    held = mirrors(tmp_path)
    held.update([repo(origin.path)])
    origin.git("checkout", "--quiet", "-b", "trunk")
    commit = origin.commit({"a": "1"})
    assert held.update([repo(origin.path)])["storefront"].resolve("HEAD") == commit
    origin.git("symbolic-ref", "HEAD", "refs/heads/nowhere")
    with pytest.raises(SourceError) as told:
        held.update([repo(origin.path)])["storefront"].resolve("HEAD")
    assert "no default branch; it has main, trunk" in told.value.what
    assert told.value.hint == 'ref = "main"'


def test_a_ref_that_is_not_there_is_told_with_the_nearest(tmp_path: Path, origin: Repository) -> None:
    origin.git("branch", "develop")
    origin.git("tag", "v1.2.0")
    mirror = mirrors(tmp_path).update([repo(origin.path)])["storefront"]
    told = {}
    for ref in ("develp", "v1.2", "mian", "ab" * 20, "abcdef1"):
        with pytest.raises(SourceError) as error:
            mirror.resolve(ref)
        assert error.value.where == "storefront"
        told[ref] = (error.value.what.removeprefix(f"{origin.path} "), error.value.hint)
    assert told == {
        "develp": ("has no ref develp; nearest: develop", 'ref = "develop"'),
        "v1.2": ("has no ref v1.2; nearest: v1.2.0", 'ref = "v1.2.0"'),
        "mian": ("has no ref mian; nearest: main", 'ref = "main"'),
        "ab" * 20: (f"has no commit {'ab' * 20}; nearest: develop, main, v1.2.0", 'ref = "develop"'),
        "abcdef1": (
            "has no ref abcdef1: a commit is written with all its 40 digits",
            "git rev-parse abcdef1",
        ),
    }


def test_a_name_that_is_branch_and_tag_is_refused_when_they_differ(tmp_path: Path, origin: Repository) -> None:
    origin.git("tag", "main")
    held = mirrors(tmp_path)
    assert held.update([repo(origin.path)])["storefront"].resolve("main")
    origin.commit({"a": "1"})
    with pytest.raises(SourceError, match="a branch and a tag"):
        held.update([repo(origin.path)])["storefront"].resolve("main")


@pytest.mark.parametrize(
    "ref", ["--upload-pack=touch /tmp/x", "-x", "a b", "a\nb", "a..b", "main^{tree}", "main:Procfile", "@{-1}", ""]
)
def test_a_hostile_ref_never_reaches_git(tmp_path: Path, origin: Repository, ref: str) -> None:
    mirror = mirrors(tmp_path).update([repo(origin.path)])["storefront"]
    with pytest.raises(SourceError, match="can't be a ref"):
        mirror.resolve(ref)


@pytest.mark.parametrize(
    "location", ["--upload-pack=touch {marker}", "ext::sh -c touch% {marker}", "-oProxyCommand=touch {marker}:x"]
)
def test_a_hostile_location_runs_nothing_even_past_the_reader(tmp_path: Path, location: str) -> None:
    marker = tmp_path / "marker"
    with pytest.raises(SourceError):
        mirrors(tmp_path).update([repo(location.format(marker=marker))])
    assert not marker.exists()


def test_hooks_and_upload_pack_settings_of_the_source_run_nothing(tmp_path: Path, origin: Repository) -> None:
    marker = tmp_path / "marker"
    for setting in ("uploadpack.packObjectsHook", "core.fsmonitor", "core.sshCommand", "core.hooksPath"):
        origin.git("config", setting, f"touch {marker}; true")
    held = mirrors(tmp_path)
    held.update([repo(origin.path)])
    held.uncommitted(repo(origin.path))
    assert not marker.exists()


def test_a_locked_commit_is_kept_when_its_branch_is_rewritten(tmp_path: Path, origin: Repository) -> None:
    held = mirrors(tmp_path)
    pinned = origin.commit({"a": "1"})
    held.update([repo(origin.path)])
    origin.git("reset", "--quiet", "--hard", "HEAD~1")
    origin.commit({"b": "1"})
    mirror = held.update([repo(origin.path)])["storefront"]
    assert mirror.has(pinned)
    assert not mirror.contains("main", pinned)
    assert held.hold([repo(origin.path)], {"storefront": pinned})["storefront"].read(pinned, "a") == b"1"


def test_a_locked_commit_that_is_gone_is_told(tmp_path: Path, origin: Repository) -> None:
    pinned = origin.commit({"a": "1"})
    origin.git("reset", "--quiet", "--hard", "HEAD~1")
    now = origin.commit({"b": "1"}, "Rewrite it")
    origin.git("reflog", "expire", "--expire=now", "--all")
    origin.git("gc", "--quiet", "--prune=now")
    with pytest.raises(SourceError) as told:
        mirrors(tmp_path).hold([repo(origin.path, ref="main")], {"storefront": pinned})
    expected = f"commit {pinned[:12]} of stack.lock is gone: main was rewritten, and is now {now[:12]} (Rewrite it)"
    assert told.value.what == expected
    assert told.value.hint == "bakeboot lock --update storefront"


def test_a_commit_that_no_ref_leads_to_is_fetched_by_name(tmp_path: Path, origin: Repository) -> None:
    commit = origin.commit({"a": "1"})
    origin.git("reset", "--quiet", "--hard", "HEAD~1")
    mirror = mirrors(tmp_path).update([repo(origin.path, ref=commit)])["storefront"]
    assert mirror.resolve(commit) == commit


def test_what_is_held_asks_nobody(tmp_path: Path, origin: Repository) -> None:
    held = mirrors(tmp_path)
    commit = origin.git("rev-parse", "HEAD")
    held.update([repo(origin.path)])
    shutil.rmtree(origin.path)
    assert held.hold([repo(origin.path)], {"storefront": commit})["storefront"].has(commit)


def test_a_fetch_that_was_killed_leaves_nothing_in_the_way(tmp_path: Path, origin: Repository) -> None:
    held = mirrors(tmp_path)
    path = held.mirror(repo(origin.path)).path
    (path.with_suffix(".new") / "refs").mkdir(parents=True)  # killed while the mirror was made
    held.update([repo(origin.path)])
    for name in ("refs/heads/main.lock", "packed-refs.lock", "config.lock"):  # killed while refs were written
        (path / name).touch()
    commit = origin.commit({"a": "1"})
    assert held.update([repo(origin.path)])["storefront"].resolve("main") == commit
    assert sorted(each.name for each in path.parent.iterdir()) == [path.name, path.with_suffix(".lock").name]


def test_a_failed_first_fetch_leaves_no_mirror(tmp_path: Path) -> None:
    held = mirrors(tmp_path)
    at = repo(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="there is no git repository"):
        held.update([at])
    assert not held.mirror(at).path.exists()


def test_many_are_fetched_at_once_and_every_failure_is_told(tmp_path: Path, origin: Repository) -> None:
    at = [repo(origin.path, name=f"part-{n}", subdirectory="services/api") for n in range(6)]  # one mirror for all
    held = mirrors(tmp_path)
    assert set(held.update(at)) == {each.name for each in at}
    lost = [repo(tmp_path / "lost-1", name="one"), repo(tmp_path / "lost-2", name="two")]
    with pytest.raises(SourceError) as told:
        held.update([*at, *lost])
    assert "one: " in str(told.value)
    assert "two: " in str(told.value)


def test_two_bakes_make_one_mirror(tmp_path: Path, origin: Repository) -> None:
    found: list[str] = []

    def update() -> None:
        found.append(mirrors(tmp_path).update([repo(origin.path)])["storefront"].resolve("main"))

    threads = [threading.Thread(target=update) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [origin.git("rev-parse", "main")] * 4


def test_who_waits_for_another_fetch_waits_and_not_for_ever(tmp_path: Path, origin: Repository) -> None:
    lock = mirrors(tmp_path).mirror(repo(origin.path)).path.with_suffix(".lock")
    lock.parent.mkdir()
    naps: list[float] = []
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = Mirrors(tmp_path / "mirrors", Git(ENVIRONMENT), sleep=naps.append)
        with pytest.raises(SourceError, match="another bakeboot has been fetching") as told:
            waiting.update([repo(origin.path)])
    assert told.value.hint == f"fuser -v {lock}"
    assert sum(naps) == pytest.approx(1800)
    assert waiting.update([repo(origin.path)])


def test_an_empty_repository_is_told(tmp_path: Path) -> None:
    origin = Repository(tmp_path / "origin")
    mirror = mirrors(tmp_path).update([repo(origin.path)])["storefront"]
    with pytest.raises(SourceError, match="nothing was committed"):
        mirror.resolve("HEAD")


def test_commits_trees_and_files_are_read_without_a_checkout(tmp_path: Path, origin: Repository) -> None:
    first = origin.git("rev-parse", "HEAD")
    (origin.path / "link").symlink_to("Procfile")
    (origin.path / "run").write_text("#!/bin/sh\n")
    (origin.path / "run").chmod(0o755)
    second = origin.commit({'naïve "name"': "ü"}, "Second \x1b[31m line\n\nmore")
    mirror = mirrors(tmp_path).update([repo(origin.path)])["storefront"]
    assert mirror.subject(first) == "first line"
    assert mirror.subject(second) == "Second  [31m line"
    assert mirror.time(first) == 1795435200
    assert mirror.tree(first) == origin.git("rev-parse", f"{first}^{{tree}}")
    assert mirror.tree(first, "services/api") == origin.git("rev-parse", f"{first}:services/api")
    assert mirror.log(first, second) == [Logged(second, "Second  [31m line")]
    assert mirror.log(first, second, subdirectory="services") == []
    assert mirror.listing(second) == {
        "Procfile": "100644",
        "link": "120000",
        'naïve "name"': "100644",
        "run": "100755",
        "services/api/app.py": "100644",
    }
    assert mirror.listing(second, "services/api") == {"app.py": "100644"}
    assert mirror.read(second, "Procfile") == b"web: ./run\n"
    assert mirror.read(second, 'naïve "name"') == "ü".encode()
    assert mirror.read(second, "link") == b"web: ./run\n"
    assert [mirror.read(second, path) for path in ("services", "none", "", "../x", "a\0b")] == [None] * 5


def test_symlinks_are_followed_inside_the_repository_only(tmp_path: Path) -> None:
    links = {"down": "a/file", "up": "a/../a/file", "out": "../../etc/passwd", "abs": "/etc/passwd", "loop": "loop"}
    origin = Repository(tmp_path / "origin", {"a/file": "1"})
    for name, target in links.items():
        (origin.path / name).symlink_to(target)
    commit = origin.commit({})
    mirror = mirrors(tmp_path).update([repo(origin.path)])["storefront"]
    assert {name: mirror.read(commit, name) for name in links} == {
        "down": b"1",
        "up": b"1",
        "out": None,
        "abs": None,
        "loop": None,
    }


def test_a_subdirectory_that_is_not_there_is_told_with_the_nearest(tmp_path: Path, origin: Repository) -> None:
    mirror = mirrors(tmp_path).update([repo(origin.path)])["storefront"]
    commit = mirror.resolve("HEAD")
    for wrong in ("service/api", "Procfile", "services/api/app.py"):
        with pytest.raises(SourceError, match="has no directory"):
            mirror.tree(commit, wrong)
    with pytest.raises(SourceError) as told:
        mirror.tree(commit, "service/api")
    assert told.value.hint == 'subdirectory = "services/api"'


def test_a_file_too_large_to_be_read_is_refused(tmp_path: Path, origin: Repository) -> None:
    commit = origin.commit({"Procfile": "x" * 11})
    mirror = mirrors(tmp_path).update([repo(origin.path)])["storefront"]
    assert mirror.read(commit, "Procfile", longest=11) == b"x" * 11
    with pytest.raises(SourceError, match="11 bytes"):
        mirror.read(commit, "Procfile", longest=10)


def test_a_commit_that_is_none_is_refused_by_every_reader(tmp_path: Path, origin: Repository) -> None:
    mirror = mirrors(tmp_path).update([repo(origin.path)])["storefront"]
    for commit in ("--all", "main", "0" * 40, origin.git("rev-parse", "HEAD^{tree}")):
        assert not mirror.has(commit)
        with pytest.raises(SourceError, match="has no commit"):
            mirror.subject(commit)


def test_changes_that_no_commit_has_are_told(tmp_path: Path, origin: Repository) -> None:
    held = mirrors(tmp_path)
    assert held.uncommitted(repo(origin.path)) is None
    origin.write({"Procfile": "changed", "new/a": "", "services/api/app.py": "changed"})
    assert held.uncommitted(repo(origin.path)) == (
        f"storefront: 3 files in {origin.path} not committed: an image gets commits only"
    )
    told = held.uncommitted(repo(f"file://{origin.path}", subdirectory="services"))
    assert told is not None
    assert told.startswith("storefront: 1 file in ")
    assert held.uncommitted(repo("https://example.org/x.git")) is None


def test_a_broken_mirror_says_how_to_be_rid_of_it(tmp_path: Path, origin: Repository) -> None:
    mirror = mirrors(tmp_path).update([repo(origin.path)])["storefront"]
    (mirror.path / "HEAD").unlink()
    with pytest.raises(SourceError, match="can't be read") as told:
        mirror.refs()
    assert told.value.hint.startswith(f"rm -r {mirror.path}")
