"""agent/checkout.py: which checkouts count, which is in use, what is installed in one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agent import checkout
from agent.build import build
from agent.build_plan import BuildRequest
from agent.errors import BuildError
from tests.agent.building import COMMIT, asked_of, runner


@pytest.fixture
def asked(tmp_path: Path) -> BuildRequest:
    return asked_of(tmp_path)


@pytest.mark.subprocess
def test_a_switch_puts_only_a_complete_checkout_into_use(asked: BuildRequest, tmp_path: Path) -> None:
    other = replace(asked, commit="d" * 40)
    build(asked, runner(tmp_path))
    build(other, runner(tmp_path))
    (asked.root / ("e" * 40)).mkdir()
    assert checkout.checkouts(asked.root) == [COMMIT, "d" * 40]
    assert checkout.current(asked.root) is None
    for commit in (COMMIT, "d" * 40, "d" * 40):
        checkout.switch(asked.root, commit)
        assert (asked.root / "current").readlink() == Path(commit)
    for wrong in ("e" * 40, "f" * 40, "../x", ""):
        with pytest.raises(BuildError, match="no complete checkout"):
            checkout.switch(asked.root, wrong)
    assert checkout.current(asked.root) == "d" * 40


def test_packages_are_read_from_what_is_installed(tmp_path: Path) -> None:
    site = tmp_path / "venv/lib/python3.11/site-packages"
    for name in ("Flask-3.0.0.dist-info", "ruamel.yaml-0.18.dist-info", "odd.dist-info", "flask"):
        (site / name).mkdir(parents=True)
    assert checkout.python_packages(tmp_path / "venv") == {"flask": "3.0.0", "ruamel-yaml": "0.18"}
    modules = tmp_path / "node_modules"
    for name, version in (
        ("express", "4.19.0"), ("@a/b", "1.0.0"), ("express/node_modules/ms", "2.0.0"), ("ms", "2.1.3"), (".bin", "9"),
    ):  # fmt: skip
        (modules / name).mkdir(parents=True)
        (modules / name / "package.json").write_text(json.dumps({"name": "lies", "version": version}))
    (modules / "broken").mkdir()
    (modules / "broken/package.json").write_text("{")
    (modules / "local").symlink_to("../..")
    assert checkout.node_packages(modules) == {"@a/b": "1.0.0", "express": "4.19.0", "ms": "2.0.0, 2.1.3"}
    assert checkout.node_packages(tmp_path / "none") == {}
