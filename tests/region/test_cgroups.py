"""Where a machine's control groups go, on the kinds of hosts there are, and how a command enters them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from region import cgroups
from region.errors import RegionError

HYBRID_OWN = "9:name=systemd:/\n8:pids:/\n4:memory:/jobs/7\n3:cpuset:/\n2:cpuacct:/\n1:cpu:/\n0::/\n"
HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime shared:4 - cgroup systemd rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
SYSTEMD_V1_OWN = (
    "4:cpu,cpuacct:/user.slice\n3:memory:/user.slice/user-0.slice\n"
    "1:name=systemd:/user.slice/user-0.slice/session-1.scope\n"
)
SYSTEMD_V1 = """\
30 25 0:26 / /sys/fs/cgroup/systemd rw,nosuid shared:9 - cgroup cgroup rw,xattr,release_agent=/x,name=systemd
34 25 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:15 - cgroup cgroup rw,cpu,cpuacct
35 25 0:31 / /sys/fs/cgroup/memory rw,nosuid shared:16 - cgroup cgroup rw,memory
36 25 0:32 / /sys/fs/cgroup/freezer rw,nosuid shared:17 - cgroup cgroup rw,freezer
"""
V2_OWN = "0::/user.slice/user-0.slice/session-1.scope\n"
V2 = "26 20 0:24 / /sys/fs/cgroup rw,nosuid,nodev shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"
IN_DOCKER_OWN = "11:memory:/docker/abc\n1:name=systemd:/docker/abc\n"
IN_DOCKER = """\
50 40 0:31 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
51 40 0:26 /docker/abc /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
"""

PLANS = {
    "hybrid: below our own group, which may differ by hierarchy": (
        HYBRID_OWN,
        HYBRID,
        ["cpu/m", "cpuacct/m", "memory/jobs/7/m", "pids/m", "systemd/m", "unified/m"],
    ),
    "v1 of a systemd host: controllers mounted together, freezer left alone": (
        SYSTEMD_V1_OWN,
        SYSTEMD_V1,
        ["systemd/user.slice/user-0.slice/session-1.scope/m", "cpu,cpuacct/user.slice/m",
         "memory/user.slice/user-0.slice/m"],
    ),
    "pure v2: below the root": (V2_OWN, V2, ["m"]),
    "a mount of a part of the hierarchy: seen from its root": (IN_DOCKER_OWN, IN_DOCKER, ["memory/m", "systemd/m"]),
    "one hierarchy mounted twice: made once": (V2_OWN, V2 + V2.replace("/sys/fs/cgroup", "/mnt/cgroup"), ["m"]),
}  # fmt: skip


@pytest.mark.parametrize(("own", "mountinfo", "expected"), PLANS.values(), ids=PLANS.keys())
def test_a_group_is_planned_in_every_hierarchy_that_a_systemd_manages(
    own: str, mountinfo: str, expected: list[str]
) -> None:
    paths = [str(group.path.relative_to("/sys/fs/cgroup")) for group in cgroups.plan("m", own, mountinfo)]
    assert paths == expected


def test_on_v2_commands_join_a_group_beside_the_machine_and_on_v1_the_machine() -> None:
    (v2,) = cgroups.plan("m", V2_OWN, V2)
    assert (v2.guest, v2.visitors) == (v2.path, v2.path / "visitors")
    v1 = cgroups.plan("m", HYBRID_OWN, HYBRID)[0]
    assert v1.guest == v1.visitors == v1.path / "guest"


def test_a_host_without_control_groups_is_told_so() -> None:
    with pytest.raises(RegionError, match="no control groups"):
        cgroups.plan("m", "", "31 23 0:28 / /tmp rw - tmpfs tmpfs rw\n")


def v2_host(root: Path, controllers: str) -> tuple[cgroups.Group, ...]:
    """A directory that looks like a v2 hierarchy, as far as files that are written and read go."""
    (root / "cgroup.controllers").write_text(controllers)
    (root / "cgroup.subtree_control").write_text("")
    return cgroups.plan("m", V2_OWN, V2.replace("/sys/fs/cgroup", str(root)))


def test_on_v2_controllers_are_handed_down_and_limits_are_v2s(tmp_path: Path) -> None:
    groups = v2_host(tmp_path, "cpuset cpu io memory pids\n")
    # The kernel makes these files with the directory; here it is made with the first of two steps.
    with pytest.raises(RegionError, match="memory controller"):
        cgroups.create(groups, memory=1 << 20, cpus=None)
    assert (tmp_path / "cgroup.subtree_control").read_text() in ("+cpu", "+io", "+memory", "+pids")
    for name in ("memory.max", "cpu.max"):
        (tmp_path / "m" / name).write_text("max")
    cgroups.set_limits(groups, memory=512 << 20, cpus=1.5)
    assert (tmp_path / "m" / "memory.max").read_text() == str(512 << 20)
    assert (tmp_path / "m" / "cpu.max").read_text() == "150000 100000"


def test_a_machine_without_limits_needs_no_controller(tmp_path: Path) -> None:
    groups = v2_host(tmp_path, "\n")
    cgroups.create(groups, memory=None, cpus=None)
    assert (tmp_path / "m" / "visitors").is_dir()
    cgroups.remove([group.path for group in groups])
    assert not (tmp_path / "m").exists()


@pytest.mark.subprocess
def test_joining_writes_to_every_group_before_the_command_starts_and_splices_nothing(tmp_path: Path) -> None:
    groups = [cgroups.Group(tmp_path / name, 2, frozenset()) for name in ("a", "b $(touch x)")]
    for group in groups:
        group.visitors.mkdir(parents=True)
    argv = cgroups.joining(groups, ["printf", "%s|", "$HOME", "a b", "';"], visiting=True)
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "$HOME|a b|';|"
    assert [(group.visitors / "cgroup.procs").read_text() for group in groups] == ["0\n", "0\n"]
    assert not (tmp_path / "x").exists()


@pytest.mark.subprocess
def test_a_command_does_not_start_outside_its_group(tmp_path: Path) -> None:
    group = cgroups.Group(tmp_path / "absent", 1, frozenset())
    done = subprocess.run(cgroups.joining([group], ["echo", "ran"], visiting=False), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (125, "")


def test_members_are_found_at_any_depth(tmp_path: Path) -> None:
    below = tmp_path / "m" / "payload" / "system.slice"
    below.mkdir(parents=True)
    (tmp_path / "m" / "cgroup.procs").write_text("")
    (below / "cgroup.procs").write_text(f"{os.getpid()}\n0\n")
    assert cgroups.members([tmp_path / "m", tmp_path / "absent"]) == {os.getpid()}
