"""``bakeboot doctor``: what this machine lacks for baking and booting, and how to get it.

Two halves: ``gather`` asks the machine and believes nothing it has not tried (a mount, a network namespace);
``diagnose`` reads the answers and is pure. Nothing that ``gather`` tries outlives its process.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import click

from agent.errors import HostError
from bake.home import DEFAULT_HOME
from bake.host_apt import apt_source_files
from region.mounts import overlay_options

GIB = 1 << 30
ROOM_NEEDED = 4 * GIB  # a base, the layers of a small stack and its machines
ROOM_WANTED = 10 * GIB  # and some nights of them
MEMORY_WANTED = 2 * GIB  # a build machine with two compilers at work

Version = tuple[int, ...]
Cgroups = Literal["v1", "hybrid", "v2", "none"]


@dataclass(frozen=True)
class Tool:
    """A command that is needed: how it tells its version, the oldest that will do, where Debian has it."""

    ask: tuple[str, ...]
    package: str
    oldest: Version
    why: str
    needed: bool = True

    @property
    def name(self) -> str:
        return Path(self.ask[0]).name


TOOLS = (
    # 3.11: tomllib. The one in /usr/bin, whatever comes first in PATH: it is the one that images have too.
    Tool(("/usr/bin/python3", "--version"), "python3", (3, 11), "runs the toolkit"),
    # 1.6.6: the oldest tried, Debian 12's. The `null` builder is in the core of every later one.
    Tool(("packer", "--version"), "packer", (1, 6, 6), "builds images"),
    Tool(("mmdebstrap", "--version"), "mmdebstrap", (), "makes the base"),
    # 250: --suppress-sync (systemd's NEWS).
    Tool(("systemd-nspawn", "--version"), "systemd-container", (250,), "runs machines"),
    Tool(("ip", "-Version"), "iproute2", (), "connects machines"),
    Tool(("nsenter", "--version"), "util-linux", (), "looks into machines"),
    Tool(("git", "--version"), "git", (), "fetches repos"),
    Tool(("ssh", "-V"), "openssh-client", (), "fetches repos, makes keys"),
    # 2.6: the oldest tried, Debian 12's.
    Tool(("haproxy", "-v"), "haproxy", (2, 6), "serves the load balancers of `bakeboot region`", needed=False),
    Tool(("zstd", "--version"), "zstd", (), "writes exported images", needed=False),
    # 4.4: zstd compression (the CHANGES file of squashfs-tools).
    Tool(("mksquashfs", "-version"), "squashfs-tools", (4, 4), "writes exported images", needed=False),
)


@dataclass(frozen=True)
class Facts:
    """What was found. ``commands``: name to what it says of its version, None where there is no such command.

    ``overlay``, ``network``, ``users`` (namespaces) and ``shared`` (addresses) are why a try failed, empty where it
    went well, None where it could not be tried.
    Sizes in bytes.
    """

    root: bool
    commands: Mapping[str, str | None]
    overlay: str | None
    network: str | None
    users: str | None
    shared: str | None
    cgroups: Cgroups
    home: str
    room: int
    memory: int
    suite: str
    sources: int


@dataclass(frozen=True)
class Finding:
    """One line of the report. ``get`` is a line to paste; ``package`` what it installs, where it does."""

    verdict: Literal["ok", "warning", "missing"]
    what: str
    why: str = ""
    get: str = ""
    package: str = ""


def doctor(home: Path | None = None, *, as_json: bool = False) -> int:
    """Print what this machine lacks; returns the exit code: 0, or HostError's where it lacks what is needed.

    ``home`` as in Home.open, but it need not exist, and is not made.
    """
    findings = diagnose(gather(home))
    click.echo(to_json(findings) if as_json else report(findings))
    return HostError.exit_code if lacking(findings) else 0


def diagnose(facts: Facts) -> list[Finding]:
    """The findings, in the order in which one would put things right."""
    return [
        _root(facts),
        *(_tool(tool, facts.commands.get(tool.name)) for tool in TOOLS),
        _overlay(facts),
        _tried("network namespaces, bridges", facts.network, "modprobe -a bridge veth"),
        _tried("user namespaces", facts.users, "run it outside of a chroot; sysctl user.max_user_namespaces=10000"),
        _shared(facts.shared),
        _cgroups(facts.cgroups),
        _room(facts),
        _memory(facts.memory),
        _sources(facts),
    ]


def _root(facts: Facts) -> Finding:
    if facts.root:
        return Finding("ok", "root")
    return Finding("missing", "root", "mounts, namespaces and machines need it", "sudo -i")


def _tool(tool: Tool, said: str | None) -> Finding:
    get = f"apt-get install {tool.package}"
    lacking: Literal["warning", "missing"] = "missing" if tool.needed else "warning"
    if said is None:
        return Finding(lacking, tool.name, f"not installed; {tool.why}", get, tool.package)
    version = version_in(said)
    shown = f"{tool.name} {dotted(version)}".rstrip()
    if version < tool.oldest:
        why = f"{dotted(tool.oldest)} or later is needed; {tool.why}"
        return Finding(lacking, shown, why, get, tool.package)
    return Finding("ok", shown)


def _overlay(facts: Facts) -> Finding:
    """A kernel without overlayfs says so; otherwise it is the home's file system (another overlay, NFS) that can't."""
    unknown = facts.overlay is not None and "unknown filesystem" in facts.overlay
    get = "modprobe overlay" if unknown else "export BAKEBOOT_HOME=/a/folder/on/ext4/or/xfs"
    return _tried(f"overlay mounts in {facts.home}", facts.overlay, get)


def _tried(what: str, failure: str | None, get: str) -> Finding:
    match failure:
        case None:
            return Finding("warning", what, "can't be tried without root", "sudo bakeboot doctor")
        case "":
            return Finding("ok", what)
        case _:
            return Finding("missing", what, failure, get)


def _shared(failure: str | None) -> Finding:
    """Only a region needs it: a bake and a boot do without."""
    found = _tried("addresses that a region shares with its machines", failure, "run it outside of a container")
    return replace(found, verdict="warning") if found.verdict == "missing" else found


def _cgroups(layout: Cgroups) -> Finding:
    if layout == "none":
        return Finding(
            "missing", "control groups", "none are mounted; a machine's systemd needs them", "mount | grep cgroup"
        )
    return Finding("ok", f"control groups ({layout})")


def _room(facts: Facts) -> Finding:
    what = f"{facts.room / GIB:.1f} GiB free in {facts.home}"
    get = "export BAKEBOOT_HOME=/a/folder/with/room"
    if facts.room < ROOM_NEEDED:
        return Finding("missing", what, f"a base and the layers of a stack take {ROOM_NEEDED // GIB} GiB and more", get)
    if facts.room < ROOM_WANTED:
        return Finding("warning", what, f"images add up; {ROOM_WANTED // GIB} GiB is comfortable", get)
    return Finding("ok", what)


def _memory(memory: int) -> Finding:
    what = f"{memory / GIB:.1f} GiB of memory"
    if memory < MEMORY_WANTED:
        return Finding(
            "warning", what, f"builds side by side want {MEMORY_WANTED // GIB} GiB", "a larger machine, or swap"
        )
    return Finding("ok", what)


def _sources(facts: Facts) -> Finding:
    what = f"apt sources for {facts.suite}"
    if facts.sources:
        return Finding("ok", what)
    why = "the base is made from this machine's own mirrors, and none serves it"
    return Finding("missing", what, why, f"add {facts.suite} to /etc/apt/sources.list.d/, see sources.list(5)")


def version_in(said: str) -> Version:
    """The first number with dots in what a command says of itself; () where there is none.

    A word glued to the digits (``OpenSSH_9.2p1``, ``v1.5.4``) is no part of it; a lone number (``systemd 252``) counts.
    """
    found = re.search(r"(?<![\d.])\d+(?:\.\d+)+", said) or re.search(r"(?<=\s)\d+\b", said)
    return tuple(map(int, found.group().split("."))) if found else ()


def dotted(version: Version) -> str:
    return ".".join(map(str, version))


def report(findings: Sequence[Finding]) -> str:
    """The findings as a person reads them; at the end the one line that installs all that is missing."""
    width = max(len(finding.what) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.verdict:<8} {finding.what:<{width}}  {finding.why}".rstrip())
        if finding.get and not finding.package:
            lines.append(f"           try   {finding.get}")
    packages = sorted({finding.package for finding in findings if finding.package})
    if packages:
        lines.append(f"           try   apt-get install {' '.join(packages)}")
    return "\n".join(lines)


def lacking(findings: Iterable[Finding]) -> list[Finding]:
    """Those without which nothing can be baked or booted; a warning is none of them."""
    return [finding for finding in findings if finding.verdict == "missing"]


def to_json(findings: Sequence[Finding]) -> str:
    """The findings for a program: a list of objects with the fields of Finding."""
    return json.dumps([asdict(finding) for finding in findings], indent=2)


# --- asking the machine -----------------------------------------------------------------------------------------------

Ask = Callable[[Sequence[str]], "Answer | None"]


@dataclass(frozen=True)
class Answer:
    """A command's exit code, and what it wrote to standard output and error, in that order."""

    code: int
    said: str


def ask(argv: Sequence[str]) -> Answer | None:
    """Run it, for 20 seconds at most; None where there is no such command."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "CHECKPOINT_DISABLE": "1"}  # packer would look for news of itself
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=20, check=False, stdin=subprocess.DEVNULL, env=environment
        )
    except (FileNotFoundError, PermissionError):
        return None
    except subprocess.TimeoutExpired:
        return Answer(124, "no answer within 20 s")
    return Answer(done.returncode, (done.stdout + done.stderr).strip())


def gather(home: Path | None = None, *, suite: str = "bookworm", ask: Ask = ask) -> Facts:
    """Ask this machine. ``suite`` is that of the stack's base; ``home`` as in Home.open, and it need not exist yet."""
    home = (home or Path(os.environ.get("BAKEBOOT_HOME") or DEFAULT_HOME)).absolute()
    standing = next(folder for folder in (home, *home.parents) if folder.is_dir())
    root = os.geteuid() == 0
    return Facts(
        root=root,
        commands={tool.name: answer.said if (answer := ask(tool.ask)) else None for tool in TOOLS},
        overlay=try_overlay(standing, ask) if root else None,
        network=_failure(ask(TRY_NETWORK)) if root else None,
        users=_failure(ask(TRY_USERS)) if root else None,
        shared=_failure(ask(TRY_SHARED)) if root else None,
        cgroups=cgroup_layout(Path("/proc/self/mountinfo").read_text()),
        home=str(home),
        room=shutil.disk_usage(standing).free,
        memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        suite=suite,
        sources=len(apt_source_files(suite)),
    )


TRY_NETWORK = (
    *("unshare", "--net", "/bin/sh", "-euc"),
    "ip link add br0 type bridge; ip link add v0 type veth peer name v1; ip link set v0 master br0",
)


TRY_SHARED = (
    *("unshare", "--net", "/bin/sh", "-euc"),
    "ip link set lo up; echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet;"
    " ip link add br0 type bridge; ip link set br0 up; ip route add 127.77.254.0/24 dev br0 table local scope link",
)
"""Addresses of 127.77.N.0/24 lead from a machine to its region (region/wiring.py)."""


TRY_USERS = ("unshare", "--user", "true")
"""Units of services have ``PrivateUsers=``; in a chroot the kernel gives no user namespace (unshare(2), EPERM)."""


TRY_OVERLAY = (
    *("unshare", "--mount", "/bin/sh", "-euc"),
    f'cd "$1"; exec mount -t overlay overlay -o {overlay_options(2)} root',
    "sh",
)


def try_overlay(folder: Path, ask: Ask) -> str:
    """Why a mount of two layers, made as machines make theirs, fails on this file system, or "".

    The mount ends with its process.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=folder) as place:
            for name in ("l/0", "l/1", "upper", "work", "root"):
                Path(place, name).mkdir(parents=True)
            return _failure(ask((*TRY_OVERLAY, place)))
    except OSError as error:
        return f"{folder}: {error.strerror}"


def _failure(answer: Answer | None) -> str:
    if answer is None:
        return "unshare is not installed"
    if answer.code == 0:
        return ""
    return answer.said.splitlines()[0] if answer.said else f"exit code {answer.code}"


def cgroup_layout(mountinfo: str) -> Cgroups:
    """Which control groups are mounted, from the text of /proc/self/mountinfo (proc_pid_mountinfo(5))."""
    kinds = {line.partition(" - ")[2].split(" ")[0] for line in mountinfo.splitlines()}
    match "cgroup" in kinds, "cgroup2" in kinds:
        case True, True:
            return "hybrid"
        case True, False:
            return "v1"
        case False, True:
            return "v2"
        case _:
            return "none"
