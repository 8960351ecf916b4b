"""agent/build.py: the recipe, with small real repos that need no package."""

from __future__ import annotations

import tarfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agent import checkout
from agent.build import _look_around, build
from agent.build_plan import BuildRequest, checkout_key
from agent.detect import Detected
from agent.errors import BuildError
from tests.agent.building import COMMIT, NODE, TREE, asked_of, runner


@pytest.fixture
def asked(tmp_path: Path) -> BuildRequest:
    return asked_of(tmp_path)


@pytest.mark.subprocess
def test_a_build_leaves_code_processes_and_record(asked: BuildRequest, tmp_path: Path) -> None:
    assert build(asked, runner(tmp_path)) is True
    assert (asked.checkout / "public/index.html").read_text() == "hello\n"
    assert (asked.checkout / ".bakeboot/processes/web").read_text() == "serve '$PORT' && true\n"
    record = checkout.read_record(asked.checkout)
    assert record is not None
    assert record == {
        "version": 1, "repo": "web", "commit": COMMIT, "tree": TREE, "key": checkout_key(asked), "build": "static",
        "path": [], "packages": {}, "dependencies": {}, "static": "public",
    }  # fmt: skip
    assert (asked.checkout / "run.sh").stat().st_mode & 0o7777 == 0o755
    assert build(asked, runner(tmp_path)) is False


@pytest.mark.subprocess
def test_a_tar_file_is_a_source_too(asked: BuildRequest, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "web.tar", "w") as tar:
        tar.add(asked.source, ".")
    build(replace(asked, source=tmp_path / "web.tar"), runner(tmp_path))
    assert (asked.checkout / "public/index.html").exists()


@pytest.mark.subprocess
def test_a_failed_build_leaves_nothing(asked: BuildRequest, tmp_path: Path) -> None:
    failing = replace(asked, detected=Detected(("command",)), command="touch half; exit 1")
    with pytest.raises(BuildError, match=r"web: build failed \(exit code 1\)"):
        build(failing, runner(tmp_path))
    assert list(asked.root.iterdir()) == []


@pytest.mark.subprocess
def test_what_a_killed_build_left_is_made_anew(asked: BuildRequest, tmp_path: Path) -> None:
    (asked.checkout / "half").mkdir(parents=True)
    assert build(asked, runner(tmp_path)) is True
    assert not (asked.checkout / "half").exists()


@pytest.mark.subprocess
def test_a_checkout_of_other_inputs_is_made_anew(asked: BuildRequest, tmp_path: Path) -> None:
    build(asked, runner(tmp_path))
    assert build(replace(asked, processes={"web": "other"}), runner(tmp_path)) is True
    assert (asked.checkout / ".bakeboot/processes/web").read_text() == "other\n"


def test_modules_of_the_checkout_that_is_made_anew_are_not_reused(asked: BuildRequest) -> None:
    wanted = replace(asked, detected=NODE)
    keys = {"key": "another", "dependencies": wanted.dependency_keys}

    def built(commit: str) -> Path:
        modules = wanted.root / commit / "node_modules"
        modules.mkdir(parents=True)
        checkout.write_record(modules.parent, keys, {})
        return modules

    built(COMMIT)
    assert _look_around(wanted).modules is None
    assert _look_around(replace(wanted, commit="d" * 40)).modules == wanted.checkout / "node_modules"
    other = built("e" * 40)
    assert _look_around(wanted).modules == other


@pytest.mark.subprocess
def test_a_repo_cant_lead_us_out_of_its_checkout(asked: BuildRequest, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (asked.source / ".bakeboot").symlink_to(outside)
    (asked.source / "public/evil").symlink_to("/etc/shadow")
    build(asked, runner(tmp_path))
    assert list(outside.iterdir()) == []
    (asked.source / "out").symlink_to(outside)
    with pytest.raises(BuildError, match="no directory 'out' after the build"):
        build(replace(asked, commit="d" * 40, detected=Detected(("static",), static="out")), runner(tmp_path))


@pytest.mark.subprocess
def test_a_repo_is_built_once_at_a_time(asked: BuildRequest, tmp_path: Path) -> None:
    inside = replace(asked, detected=Detected(("command",)), command="sleep 60")
    running = runner(tmp_path)

    def work() -> None:
        with pytest.raises(BuildError, match="stopped"):
            build(inside, running)

    thread = threading.Thread(target=work)
    thread.start()
    while not inside.checkout.exists():
        time.sleep(0.01)
    with pytest.raises(BuildError, match="is being built by another process"):
        build(asked, runner(tmp_path))
    running.stop.set()
    thread.join()
