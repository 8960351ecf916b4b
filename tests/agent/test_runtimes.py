"""agent/runtimes.py: what a root brings of its own, and which npm a Node gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.errors import BuildError
from agent.runtimes import _no_such_node, fitting_npm, node_package, read_base
from tests.agent.building import runner

FAILED = BuildError("Node 99 failed (exit code 1)")


def test_a_base_is_read_from_its_files(tmp_path: Path) -> None:
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    packages = {"python3": "3.11.2-1+b1", "nodejs": "18.20.4+dfsg-1~deb12u1", "vim": "2:9"}
    stanzas = (
        f"Package: {name}\nStatus: install ok installed\nVersion: {version}\n" for name, version in packages.items()
    )
    (tmp_path / "var/lib/dpkg/status").write_text("\n".join(stanzas))
    (tmp_path / "usr/bin").mkdir(parents=True)
    for name in ("python3", "python3.11", "python3.9", "python3.11-config"):
        (tmp_path / "usr/bin" / name).touch()
    (tmp_path / "usr/lib").mkdir()
    (tmp_path / "usr/lib/os-release").write_text('ID=debian\nVERSION_ID="12"\n')
    base = read_base(tmp_path)
    assert (base.python, base.node, base.pythons) == ("3.11.2", "18.20.4", ("3.9", "3.11"))
    assert base.abi.startswith("debian-12-")


@pytest.mark.parametrize(
    ("node", "npm"), [(12, "6"), (16, "8"), (18, "10"), (20, "10"), (22, "10"), (24, "11"), (26, "11")]
)
def test_a_node_gets_the_npm_that_it_shipped_with(node: int, npm: str) -> None:
    assert fitting_npm(node) == npm


def npm(folder: Path, script: str) -> dict[str, str]:
    """The environment in which npm is this script."""
    (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "npm").chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


@pytest.mark.subprocess
def test_a_node_that_is_not_to_be_had_is_told_with_those_that_are(tmp_path: Path) -> None:
    env = npm(tmp_path, """test "$2" = """ + node_package() + """ && echo '["18.1.0", "20.2.0"]'""")
    told = _no_such_node("99", FAILED, runner(tmp_path), env)
    assert told.what == "npm's node package has no 99; to be had: 18, 20"


@pytest.mark.subprocess
@pytest.mark.parametrize("script", ["exec sleep 60", "echo nonsense; exit 1"])
def test_a_registry_that_does_not_answer_leaves_the_failure_as_it_is(tmp_path: Path, script: str) -> None:
    assert _no_such_node("99", FAILED, runner(tmp_path, 0.3), npm(tmp_path, script)) is FAILED


@pytest.mark.subprocess
def test_without_npm_the_failure_is_told_as_it_is(tmp_path: Path) -> None:
    assert _no_such_node("99", FAILED, runner(tmp_path), {"PATH": str(tmp_path)}) is FAILED


@pytest.mark.subprocess
def test_nobody_is_asked_once_the_build_was_stopped_or_its_time_is_over(tmp_path: Path) -> None:
    env = npm(tmp_path, "touch asked")
    stopped = runner(tmp_path)
    stopped.stop.set()
    for ended in (stopped, runner(tmp_path, -1.0)):
        assert _no_such_node("99", FAILED, ended, env) is FAILED
    assert not (tmp_path / "asked").exists()
