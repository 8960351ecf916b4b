"""The tar file of a commit: the same bytes each time, nothing changed by git's settings, nothing harmful in it."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

import pytest

from agent.errors import SourceError
from bake.mirror import Mirror
from bake.source_tar import write_tar
from tests.bake.repositories import Repository, mirrors, repo

pytestmark = pytest.mark.subprocess

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12345\n"


def fetched(origin: Repository, home: Path) -> Mirror:
    return mirrors(home).update([repo(origin.path)])["storefront"]


def unpacked(path: Path) -> dict[str, tuple[str, int, bytes]]:
    """Name to (kind, mode, content or target) of each member."""
    with tarfile.open(path) as tar:
        members = {}
        for member in tar:
            file = tar.extractfile(member) if member.isreg() else None
            content = file.read() if file else member.linkname.encode(errors="surrogateescape")
            kind = "directory" if member.isdir() else "link" if member.issym() else "file"
            members[member.name] = (kind, member.mode, content)
            assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
            assert member.mtime == 1795435200
        return members


def test_a_tree_comes_out_as_git_has_it(tmp_path: Path) -> None:
    origin = Repository(tmp_path / "origin")
    (origin.path / "bin").mkdir()
    (origin.path / "bin/run").write_text("#!/bin/sh\n")
    (origin.path / "bin/run").chmod(0o775)
    (origin.path / "absolute").symlink_to("/etc/passwd")
    (origin.path / "upwards").symlink_to("../../x")
    long = "/".join(["d" * 60] * 4) + "/ü"
    commit = origin.commit(
        {"empty": "", "big": b"\0\n" * 100_000, long: "deep", ".gitattributes": "big export-ignore\n"}
    )
    mirror = fetched(origin, tmp_path)
    write_tar(mirror, commit, "", tmp_path / "out.tar")
    members = unpacked(tmp_path / "out.tar")
    assert {name: member for name, member in members.items() if "d" * 60 not in name} == {
        ".gitattributes": ("file", 0o644, b"big export-ignore\n"),
        "absolute": ("link", 0o777, b"/etc/passwd"),
        "big": ("file", 0o644, b"\0\n" * 100_000),
        "bin": ("directory", 0o755, b""),
        "bin/run": ("file", 0o755, b"#!/bin/sh\n"),
        "empty": ("file", 0o644, b""),
        "upwards": ("link", 0o777, b"../../x"),
    }
    assert members[long] == ("file", 0o644, b"deep")


def test_a_subdirectory_becomes_the_top(tmp_path: Path) -> None:
    origin = Repository(tmp_path / "origin", {"services/api/app.py": "1", "services/api/lib/x.py": "2", "README": ""})
    mirror = fetched(origin, tmp_path)
    write_tar(mirror, mirror.resolve("HEAD"), "services/api", tmp_path / "out.tar")
    assert list(unpacked(tmp_path / "out.tar")) == ["app.py", "lib", "lib/x.py"]


def test_the_same_commit_gives_the_same_bytes(tmp_path: Path) -> None:
    origin = Repository(tmp_path / "origin", {"a/b": "1", "c": "2", "naïve": "3"})
    digests = set()
    for number in (1, 2):
        mirror = fetched(origin, tmp_path / str(number))
        write_tar(mirror, mirror.resolve("HEAD"), "", tmp_path / f"{number}.tar")
        digests.add(hashlib.sha256((tmp_path / f"{number}.tar").read_bytes()).hexdigest())
    assert len(digests) == 1


def test_filters_and_line_endings_are_left_alone(tmp_path: Path) -> None:
    attributes = "* text eol=crlf ident filter=harm\n"
    origin = Repository(tmp_path / "origin")
    commit = origin.commit_tree(("100644", ".gitattributes", attributes), ("100644", "a", "$Id$\n"))
    origin.git("config", "filter.harm.smudge", f"touch {tmp_path}/marker")
    write_tar(fetched(origin, tmp_path), commit, "", tmp_path / "out.tar")
    assert unpacked(tmp_path / "out.tar")["a"] == ("file", 0o644, b"$Id$\n")
    assert not (tmp_path / "marker").exists()


def test_names_that_are_no_utf_8_stay_as_they_are(tmp_path: Path) -> None:
    origin = Repository(tmp_path / "origin")
    (origin.path / "\udcff\udcfe").write_text("x")
    commit = origin.commit({})
    write_tar(fetched(origin, tmp_path), commit, "", tmp_path / "out.tar")
    assert unpacked(tmp_path / "out.tar")["\udcff\udcfe"] == ("file", 0o644, b"x")


def test_a_submodule_is_refused_by_name(tmp_path: Path) -> None:
    origin = Repository(tmp_path / "origin")
    commit = origin.commit_tree(("100644", "a", "1"), ("160000", "vendored", "ab" * 20))
    mirror = fetched(origin, tmp_path)
    with pytest.raises(SourceError, match="vendored is a submodule") as told:
        write_tar(mirror, commit, "", tmp_path / "out.tar")
    assert told.value.where == "storefront"
    assert told.value.hint.startswith("git rm vendored")
    assert not list(tmp_path.glob("out.tar*"))


def test_files_in_git_lfs_are_refused_by_name(tmp_path: Path) -> None:
    origin = Repository(tmp_path / "origin", {"assets/.gitattributes": "*.png filter=lfs diff=lfs merge=lfs -text\n"})
    commit = origin.commit_tree(
        ("100644", ".gitattributes", "*.png filter=lfs\n"), ("100644", "logo.png", POINTER), ("100644", "b", "1")
    )
    with pytest.raises(SourceError, match=r"logo\.png: kept in Git LFS") as told:
        write_tar(fetched(origin, tmp_path), commit, "", tmp_path / "out.tar")
    assert told.value.hint.startswith('git lfs migrate export --include="logo.png"')
    assert not list(tmp_path.glob("out.tar*"))


def test_files_in_git_lfs_are_refused_in_a_subdirectory_too(tmp_path: Path) -> None:
    files = {".gitattributes": "*.png filter=lfs\n", "services/api/logo.png": POINTER}
    origin = Repository(tmp_path / "origin")
    commit = origin.commit(files)
    with pytest.raises(SourceError, match=r"logo\.png: kept in Git LFS"):
        write_tar(fetched(origin, tmp_path), commit, "services/api", tmp_path / "out.tar")


def test_a_pointer_without_the_attribute_is_a_file_like_any_other(tmp_path: Path) -> None:
    origin = Repository(tmp_path / "origin", {"fixture": POINTER})
    mirror = fetched(origin, tmp_path)
    write_tar(mirror, mirror.resolve("HEAD"), "", tmp_path / "out.tar")
    assert unpacked(tmp_path / "out.tar") == {"fixture": ("file", 0o644, POINTER.encode())}


@pytest.mark.parametrize(
    "entries",
    [
        [("100644", "..", "1")],
        [("100644", ".", "1")],
        [("100644", ".GIT", "1")],
        [("100644", "a/../../b", "1")],
        [("100644", "/etc/x", "1")],
        [("120000", "a", "/etc"), ("100644", "a/passwd", "1")],
        [("100644", "a", "1"), ("100644", "a", "2")],
    ],
    ids=lambda entries: "+".join(name for _, name, _ in entries),
)
def test_a_tree_made_to_do_harm_is_refused(tmp_path: Path, entries: list[tuple[str, str, str]]) -> None:
    origin = Repository(tmp_path / "origin")
    commit = origin.commit_tree(*entries)
    with pytest.raises(SourceError, match="its tree"):
        write_tar(fetched(origin, tmp_path), commit, "", tmp_path / "out.tar")


def test_a_broken_mirror_leaves_the_old_tar_and_no_part_of_a_new_one(tmp_path: Path) -> None:
    origin = Repository(tmp_path / "origin", {"a": "1", "b": "2"})
    mirror = fetched(origin, tmp_path)
    commit = mirror.resolve("HEAD")
    write_tar(mirror, commit, "", tmp_path / "out.tar")
    before = (tmp_path / "out.tar").read_bytes()
    blob = origin.git("rev-parse", "HEAD:b")
    (mirror.path / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(SourceError, match="its mirror can't be read"):
        write_tar(mirror, commit, "", tmp_path / "out.tar")
    assert (tmp_path / "out.tar").read_bytes() == before
    assert [path.name for path in tmp_path.glob("out.tar*")] == ["out.tar"]
