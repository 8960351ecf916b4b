"""The dependency locks of the example's repos: complete, exact, and silent about where packages are fetched from."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.examples.loading import SHOP

PYTHON = ["storefront", "orders-worker"]


def pins(repo: str) -> dict[str, str]:
    lines = (SHOP / repo / "requirements.txt").read_text().splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    return dict(line.split("==") for line in wanted)


@pytest.mark.parametrize("repo", PYTHON)
def test_every_python_requirement_is_pinned_and_nothing_names_an_index(repo: str) -> None:
    for name, version in pins(repo).items():
        assert re.fullmatch(r"[a-z][a-z0-9-]*(\[binary\])?", name)
        assert re.fullmatch(r"[0-9]+(\.[0-9]+)+", version)


def test_the_two_sides_of_the_queue_speak_the_same_rq() -> None:
    storefront, worker = (pins(repo) for repo in PYTHON)
    assert {name: storefront[name] for name in worker} == worker


def package_lock() -> dict[str, dict[str, Any]]:
    lock = json.loads((SHOP / "orders-api" / "package-lock.json").read_text())
    packages: dict[str, dict[str, Any]] = lock["packages"]
    return packages


def test_every_node_package_is_pinned_by_its_digest_and_names_no_registry() -> None:
    packages = package_lock()
    root = packages.pop("")
    assert root["dependencies"] == json.loads((SHOP / "orders-api" / "package.json").read_text())["dependencies"]
    for path, package in packages.items():
        assert package["integrity"].startswith("sha512-"), path
        assert "resolved" not in package, path


def test_the_node_lock_is_complete() -> None:
    packages = package_lock()
    for path, package in packages.items():
        for name in package.get("dependencies", {}):
            found = any(f"{parent}node_modules/{name}" in packages for parent in parents(path))
            assert found, f"{path or 'the root'} needs {name}"


def parents(path: str) -> list[str]:
    """Where node looks for what the package at ``path`` needs: its own directory first, the root last."""
    pieces = path.split("node_modules/")
    return ["node_modules/".join(pieces[:end]).rstrip("/") + "/" for end in range(len(pieces), 1, -1)] + [""]
