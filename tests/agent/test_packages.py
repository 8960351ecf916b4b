"""What is installed: dpkg's database, and what the builds said of themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.image import ImageManifest
from agent.packages import apt_packages, describe, installed_packages

GOLDEN = Path(__file__).parent / "golden" / "image-v1.json"

STATUS = """\
Package: nginx-light
Status: install ok installed
Priority: optional
Version: 1.22.1-9+deb12u1
Description: small server
 Status: deinstall ok config-files
 Version: 9

Package: gone
Status: deinstall ok config-files
Version: 1

Package: half
Status: install ok half-installed
Version: 2

Package: adduser
Status: install ok installed
Version: 3.134
Conffiles:
 /etc/deluser.conf 773fb95e98a27947de4a95abb3d3f2a2
"""


def root_with(folder: Path, status: bytes = STATUS.encode()) -> Path:
    database = folder / "var/lib/dpkg/status"
    database.parent.mkdir(parents=True)
    database.write_bytes(status)
    return folder


def checkout(root: Path, repo: str, commit: str, packages: object) -> None:
    file = root / "srv/bakeboot" / repo / commit / ".bakeboot/checkout.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"commit": commit} | ({} if packages is None else {"packages": packages})))


@pytest.mark.parametrize(
    ("status", "packages"),
    [
        (STATUS.encode(), {"adduser": "3.134", "nginx-light": "1.22.1-9+deb12u1"}),
        (b"", {}),
        (b"\n\n\n", {}),
        (b"Package: a\nStatus: install ok installed\nVersion: 1:2-3~x\nMaintainer: \xff\n", {"a": "1:2-3~x"}),
    ],
    ids=["installed ones alone", "nothing", "blank", "no utf-8"],
)
def test_apt_packages_are_those_installed(tmp_path: Path, status: bytes, packages: dict[str, str]) -> None:
    assert apt_packages(root_with(tmp_path, status)) == packages


def test_repos_say_what_their_builds_installed(tmp_path: Path) -> None:
    root = root_with(tmp_path)
    checkout(root, "web", "c1", {"python": {"flask": "3"}, "node": {"esbuild": "1"}})
    checkout(root, "api", "c2", {"node": {"express": "4"}})
    checkout(root, "www", "c3", None)
    found = installed_packages(root, {"web": "c1", "api": "c2", "www": "c3"})
    assert found.python == {"web": {"flask": "3"}}
    assert found.node == {"web": {"esbuild": "1"}, "api": {"express": "4"}}


def test_describe_completes_the_manifest_and_changes_nothing_else(tmp_path: Path) -> None:
    root = root_with(tmp_path / "root")
    planned = ImageManifest.read(str(GOLDEN))
    for name, repo in planned.repos.items():
        checkout(root, name, repo.commit, {"python": {"x": name}})
    describe(GOLDEN, root, tmp_path / "image.json")
    complete = ImageManifest.read(str(tmp_path / "image.json"))
    assert set(complete.packages.apt) == {"adduser", "nginx-light"}
    assert set(complete.packages.python) == set(planned.repos)
    without = [json.loads(image.render()) | {"packages": None} for image in (planned, complete)]
    assert without[0] == without[1]
