"""The look at what system tests leave behind sees each kind of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bake.home import Home
from tests.system.conftest import left_behind, names_in_use


def test_a_mount_a_namespace_a_process_and_a_folder_are_seen(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", tmp_path / "runtime")
    (home.runs / "bake-0a1b2c3d").mkdir(parents=True)
    mounted = home.root / "mounted here"
    mounted.mkdir()
    before = names_in_use()
    sleeper = subprocess.Popen(["/bin/sh", "-c", 'read -r _; exit 0 # "$0"', str(home.root)], stdin=subprocess.PIPE)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(mounted)], check=True)
    subprocess.run(["ip", "netns", "add", "bb-0a1b2c"], check=True)
    try:
        seen = left_behind(home, before)
    finally:
        subprocess.run(["ip", "netns", "delete", "bb-0a1b2c"], check=True)
        subprocess.run(["umount", str(mounted)], check=True)
        sleeper.communicate()
    assert [line.split()[0] for line in seen] == ["mount", "netns", "process", "folder"]
    (home.runs / "bake-0a1b2c3d").rmdir()
    assert left_behind(home, before) == []
