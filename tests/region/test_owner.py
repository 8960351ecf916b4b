"""A directory belongs to whoever holds its lock; without its holder it can be taken over, once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from region import owner
from region.owner import Record


def test_what_is_held_is_not_abandoned(tmp_path: Path) -> None:
    held = owner.claim(tmp_path, "web", lambda name: Record(netns=name))
    assert held.directory.name.startswith("web-")
    assert held.record == Record([], held.directory.name, os.getpid())
    assert owner.abandoned(tmp_path) == []
    held.remove()
    assert [entry.name for entry in tmp_path.iterdir()] == [".lock"]


def test_what_nobody_holds_is_taken_over_by_one(tmp_path: Path) -> None:
    held = owner.claim(tmp_path, "web", lambda name: Record(["/sys/fs/cgroup/x"], name))
    held.release()  # as the kernel does when its holder dies
    (left,) = owner.abandoned(tmp_path)
    assert left.record == Record(["/sys/fs/cgroup/x"], left.directory.name, os.getpid())
    assert owner.abandoned(tmp_path) == []
    (left.directory / "upper" / "a").mkdir(parents=True)
    (left.directory / "link").symlink_to(tmp_path)
    left.remove()
    assert not left.directory.exists()


def test_a_holder_that_died_before_it_wrote_anything_left_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "web-000000").mkdir()
    (left,) = owner.abandoned(tmp_path)
    assert left.record == Record()
    left.remove()


def test_a_record_that_can_not_be_made_leaves_no_directory(tmp_path: Path) -> None:
    def refuse(name: str) -> Record:
        raise ValueError(name)

    with pytest.raises(ValueError, match="web-"):
        owner.claim(tmp_path, "web", refuse)
    assert [entry.name for entry in tmp_path.iterdir()] == [".lock"]


@pytest.mark.subprocess
@pytest.mark.sleep
def test_the_lock_of_a_dead_owner_is_waited_for_while_a_child_of_its_still_has_a_copy(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys; from pathlib import Path; from region import owner;"
        "held = owner.claim(Path(sys.argv[1]), 'web', lambda name: owner.Record());"
        "subprocess.Popen(['sleep', '0.3'], pass_fds=[held._lock], stdout=subprocess.DEVNULL)"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-Wignore", "-c", code, str(tmp_path)], check=True, cwd=root)
    (left,) = owner.abandoned(tmp_path)
    left.remove()


def test_nothing_is_abandoned_where_nothing_ever_was(tmp_path: Path) -> None:
    assert owner.abandoned(tmp_path / "absent") == []
