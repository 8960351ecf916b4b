"""A control group for each machine, in every hierarchy that a systemd inside it manages.

nspawn is told to keep the group it is started in (`--keep-unit`), so each machine needs one of its own: two machines in
one group would write the same `system.slice/nginx.service`. The group is also the machine's fence: memory and CPU
limits sit on it, out of the machine's own reach, and whoever must end a machine for certain kills by membership, not
by parentage.

Where the group is made:

- cgroup v1, alone or with an empty v2 beside it ("hybrid"): below this process's own group in each hierarchy, so that
  whatever limits this process limits its machines too;
- pure v2: below the root. A controller can be handed down only from a group without processes of its own, which this
  process's group is not; the root is exempt. Docker's `cgroupfs` driver puts its containers there for the same reason.
  (docs.kernel.org, "Control Group v2", "No Internal Process Constraint".)
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from region import linux
from region.errors import RegionError

# What a systemd as PID 1 makes groups in. Others (cpuset, freezer, ...) stay as they are for the machine's processes.
_MANAGED = frozenset({"name=systemd", "cpu", "cpuacct", "blkio", "memory", "devices", "pids"})
_HANDED_DOWN = ("cpu", "memory", "pids", "io")  # on v2
_FLAGS = {"rw", "ro", "xattr", "clone_children", "noprefix", "cpuset_v2_mode", "favordynmods"}
_PERIOD = 100_000  # microseconds: the kernel's default period of a CPU quota


@dataclass(frozen=True)
class Group:
    """One directory of a machine's group. `version` is 1 or 2; `controllers` are those of its hierarchy (v1)."""

    path: Path
    version: int
    controllers: frozenset[str]

    @property
    def guest(self) -> Path:
        """Where nspawn is started. On v2 it makes a group below for the machine; on v1 it does so only in systemd's."""
        return self.path if self.version == 2 else self.path / "guest"

    @property
    def visitors(self) -> Path:
        """Where commands run in the machine are: on v2 a group that hands controllers down holds no process itself."""
        return self.path / "visitors" if self.version == 2 else self.guest


def plan(name: str, own: str, mountinfo: str) -> tuple[Group, ...]:
    """The groups of the machine `name`, from the texts of /proc/self/cgroup and /proc/self/mountinfo. Pure."""
    own_paths = _own_paths(own)
    mounts = list(_hierarchies(mountinfo))
    pure_v2 = not any(version == 1 for _, _, version, _ in mounts)
    groups = []
    for point, root, version, controllers in mounts:
        if version == 1 and not controllers & _MANAGED:
            continue
        home = "/" if pure_v2 else _relative(own_paths.get(_key(controllers), "/"), root)
        groups.append(Group(Path(f"{point}{home.rstrip('/')}/{name}"), version, controllers))
    if not groups:
        raise RegionError("no control groups are mounted", where="this host", hint="mount | grep cgroup")
    return tuple(groups)


def _key(controllers: frozenset[str]) -> str:
    return ",".join(sorted(controllers))


def _own_paths(own: str) -> dict[str, str]:
    """Controllers of a hierarchy (sorted, comma between; '' is v2) to this process's path in it."""
    paths = {}
    for line in own.splitlines():
        _, controllers, path = line.split(":", 2)
        paths[_key(frozenset(filter(None, controllers.split(","))))] = path
    return paths


def _relative(own: str, root: str) -> str:
    """This process's path seen from the mount, whose root may be a group itself (a container's host mount)."""
    if root == "/":
        return own
    return own[len(root) :] or "/" if own == root or own.startswith(root + "/") else "/"


def _hierarchies(mountinfo: str) -> Iterator[tuple[str, str, int, frozenset[str]]]:
    """Mount point, root, version and controllers of each hierarchy; one mounted twice is told once."""
    seen: set[str] = set()
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, super_options = after.split(" ", 2)
        if kind not in ("cgroup", "cgroup2"):
            continue
        root, point = before.split()[3:5]
        words = set(super_options.split(",")) - _FLAGS if kind == "cgroup" else set()
        controllers = frozenset(word for word in words if not word.startswith("release_agent="))
        if _key(controllers) not in seen:
            seen.add(_key(controllers))
            yield point, root, 1 if kind == "cgroup" else 2, controllers


def discover(name: str) -> tuple[Group, ...]:
    """`plan` for this process."""
    return plan(name, Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text())


def create(groups: Sequence[Group], *, memory: int | None, cpus: float | None) -> None:
    """Makes the groups and sets their limits: `memory` in bytes, `cpus` in whole CPUs' worth of time.

    Raises RegionError where a limit is wanted that this host does not let us set, OSError where a group exists.
    """
    for group in groups:
        if group.version == 2:
            _hand_down(group.path.parent)
        group.path.mkdir()
        group.visitors.mkdir()
    set_limits(groups, memory=memory, cpus=cpus)


def set_limits(groups: Sequence[Group], *, memory: int | None, cpus: float | None) -> None:
    """Sets the limits of groups that exist; None leaves one as it is."""
    if memory is not None:
        _limit(groups, "memory", {1: ("memory.limit_in_bytes", str(memory)), 2: ("memory.max", str(memory))})
    if cpus is not None:
        quota = max(1000, int(cpus * _PERIOD))
        _limit(groups, "cpu", {1: ("cpu.cfs_quota_us", str(quota)), 2: ("cpu.max", f"{quota} {_PERIOD}")})


def _hand_down(parent: Path) -> None:
    """Enables controllers for the children of `parent`, each on its own: one that is not to be had hinders no other.

    A missing one is no error here: a machine boots without, and a limit that needs it says so.
    """
    offered = (parent / "cgroup.controllers").read_text().split()
    for controller in _HANDED_DOWN:
        if controller in offered:
            with contextlib.suppress(OSError):
                (parent / "cgroup.subtree_control").write_text(f"+{controller}")


def _limit(groups: Sequence[Group], controller: str, files: dict[int, tuple[str, str]]) -> None:
    for group in groups:
        name, value = files[group.version]
        if (group.path / name).exists():
            (group.path / name).write_text(value)
            return
    raise RegionError(
        f"the {controller} controller is not available, so no limit can be set",
        where="this host",
        hint="cat /sys/fs/cgroup/cgroup.controllers",
    )


def joining(groups: Sequence[Group], argv: Sequence[str], *, visiting: bool) -> list[str]:
    """The command that enters the groups and then becomes `argv`.

    A process can't be moved after its start without a race against its children. The shell's script is fixed; paths and
    arguments are its positional parameters and never part of it.
    """
    script = 'while [ "$1" != -- ]; do echo 0 >"$1" || exit 125; shift; done; shift; exec "$@"'
    files = [str((group.visitors if visiting else group.guest) / "cgroup.procs") for group in groups]
    return ["/bin/sh", "-c", script, "join", *files, "--", *argv]


def open_inside(groups: Sequence[Group], leader: int) -> None:
    """Makes a machine's own part of the v1 hierarchies writable to it, as it is on an instance.

    nspawn shows all but systemd's own read only, so that `MemoryMax=` of a unit would be accepted and mean nothing.
    `leader` is the machine's PID 1, which nspawn has just told of. On v2 there is nothing to do.
    """
    ours = {_key(group.controllers) for group in groups if group.version == 1}
    mountinfo = Path(f"/proc/{leader}/mountinfo").read_text()
    points = [point for point, _, version, names in _hierarchies(mountinfo) if version == 1 and _key(names) in ours]
    namespace = os.open(f"/proc/{leader}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)

    def work() -> None:
        linux.unshare(linux.CLONE_FS)  # a thread that shares it can't change its mount namespace
        linux.set_namespace(namespace, linux.CLONE_NEWNS)
        flags = linux.MS_REMOUNT | linux.MS_BIND | linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
        for point in points:
            linux.mount("none", Path(point), "none", flags)

    try:
        if points:
            linux.in_thread(work)
    finally:
        os.close(namespace)


def freeze(groups: Sequence[Group], *, frozen: bool, timeout: float = 5.0) -> None:
    """Holds all processes of the groups still, or lets them go on. Where that can't be done they are left as they are.

    Only v2 can, and the empty v2 beside v1 too: `cgroup.freeze` belongs to no controller (docs.kernel.org, "Control
    Group v2"). A process that waits for a disk holds it up: it is waited for `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    for group in groups:
        if group.version == 2 and (group.path / "cgroup.freeze").exists():
            (group.path / "cgroup.freeze").write_text("1" if frozen else "0")
            while frozen and "frozen 1" not in (group.path / "cgroup.events").read_text():
                if time.monotonic() > deadline:
                    return
                time.sleep(0.001)


def members(paths: Sequence[Path]) -> set[int]:
    """The processes in the groups and in all groups below them."""
    found: set[int] = set()
    for top in paths:
        for directory, _, _ in os.walk(top):
            with contextlib.suppress(OSError):  # a group that went away between the walk and the look has no members
                found.update(map(int, Path(directory, "cgroup.procs").read_text().split()))
    return found - {0}


def remove(paths: Sequence[Path], *, timeout: float = 10.0) -> None:
    """Kills every process in the groups and those below, and removes them. Absent ones are no error.

    RegionError when a group stays for longer than `timeout` seconds: a process in it can't be killed.
    """
    deadline = time.monotonic() + timeout
    while left := members(paths):
        _kill(left, deadline)
    for top in paths:
        while not _removed(top):
            _kill(members([top]), deadline)  # one that joined meanwhile; and the kernel may need a moment


def _kill(pids: set[int], deadline: float) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if time.monotonic() > deadline:
        raise RegionError(f"can't be ended: {sorted(pids) or 'its control group stays busy'}", where="a machine")
    time.sleep(0.01)


def _removed(top: Path) -> bool:
    for directory, _, _ in os.walk(top, topdown=False):
        try:
            Path(directory).rmdir()
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
                return False
            raise
    return True
