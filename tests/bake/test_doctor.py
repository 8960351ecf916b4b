"""What ``bakeboot doctor`` finds, as tables: facts in, findings out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bake.doctor import (
    GIB,
    TOOLS,
    TRY_NETWORK,
    TRY_OVERLAY,
    TRY_SHARED,
    TRY_USERS,
    Answer,
    Facts,
    Finding,
    cgroup_layout,
    diagnose,
    gather,
    lacking,
    report,
    to_json,
    try_overlay,
    version_in,
)
from region.mounts import overlay_options

SAID: dict[str, str | None] = {
    "python3": "Python 3.11.2",
    "packer": "1.6.6",
    "mmdebstrap": "mmdebstrap 1.3.5",
    "systemd-nspawn": "systemd 252 (252.39-1~deb12u2)\n+PAM",
    "ip": "ip utility, iproute2-6.1.0, libbpf 1.1.2",
    "nsenter": "nsenter from util-linux 2.38.1",
    "git": "git version 2.39.5",
    "ssh": "OpenSSH_9.2p1 Debian-2+deb12u10, OpenSSL 3.0.19 27 Jan 2026",
    "haproxy": "HAProxy version 2.6.12-1+deb12u2 2025/04/23 - https://haproxy.org/",
    "zstd": "*** Zstandard CLI (64-bit) v1.5.4, by Yann Collet ***",
    "mksquashfs": "mksquashfs version 4.5.1 (2022/03/17)",
}

READY = Facts(
    root=True,
    commands=SAID,
    overlay="",
    network="",
    users="",
    shared="",
    cgroups="hybrid",
    home="/var/lib/bakeboot-home",
    room=50 * GIB,
    memory=8 * GIB,
    suite="bookworm",
    sources=1,
)


def wanting(facts: Facts) -> list[Finding]:
    return [finding for finding in diagnose(facts) if finding.verdict != "ok"]


def without(*names: str) -> Facts:
    return replace(READY, commands={**SAID, **dict.fromkeys(names)})


def test_a_ready_machine_lacks_nothing() -> None:
    assert wanting(READY) == []


@pytest.mark.parametrize(
    ("facts", "verdict", "what", "why", "get"),
    [
        (replace(READY, root=False), "missing", "root", "need it", "sudo -i"),
        (without("packer"), "missing", "packer", "not installed", "apt-get install packer"),
        (without("systemd-nspawn"), "missing", "systemd-nspawn", "runs machines", "apt-get install systemd-container"),
        (without("zstd"), "warning", "zstd", "exported images", "apt-get install zstd"),
        (
            replace(READY, commands={**SAID, "packer": "1.5.1"}),
            *("missing", "packer 1.5.1", "1.6.6 or later", "apt-get install packer"),
        ),
        (
            replace(READY, commands={**SAID, "python3": "Python 3.9.2"}),
            *("missing", "python3 3.9.2", "3.11 or later", "apt-get install python3"),
        ),
        (
            replace(READY, commands={**SAID, "systemd-nspawn": "systemd 247 (247.3-7)"}),
            *("missing", "systemd-nspawn 247.3", "250 or later", "apt-get install systemd-container"),
        ),
        (
            replace(READY, overlay="mount: unknown filesystem type 'overlay'."),
            *("missing", "overlay mounts in /var/lib/bakeboot-home", "unknown filesystem type", "modprobe overlay"),
        ),
        (
            replace(READY, overlay="mount: /home: wrong fs type, bad option, bad superblock on overlay"),
            *("missing", "overlay mounts in /var/lib/bakeboot-home", "wrong fs type", "export BAKEBOOT_HOME"),
        ),
        (
            replace(READY, network="RTNETLINK answers: Operation not supported"),
            *("missing", "network namespaces, bridges", "not supported", "modprobe -a bridge veth"),
        ),
        (
            replace(READY, users="unshare: unshare failed: Operation not permitted"),
            *("missing", "user namespaces", "not permitted", "outside of a chroot"),
        ),
        (
            replace(READY, network=None),
            "warning",
            "network namespaces, bridges",
            "without root",
            "sudo bakeboot doctor",
        ),
        (without("haproxy"), "warning", "haproxy", "bakeboot region", "apt-get install haproxy"),
        (
            replace(READY, shared="cannot create /proc/sys/net: Read-only file system"),
            *(
                "warning",
                "addresses that a region shares with its machines",
                "Read-only file system",
                "outside of a container",
            ),
        ),
        (replace(READY, cgroups="none"), "missing", "control groups", "none are mounted", "mount | grep cgroup"),
        (
            replace(READY, room=GIB),
            *("missing", "1.0 GiB free in /var/lib/bakeboot-home", "4 GiB", "export BAKEBOOT_HOME=/a/folder/with/room"),
        ),
        (
            replace(READY, room=5 * GIB),
            *("warning", "5.0 GiB free in /var/lib/bakeboot-home", "comfortable", "export BAKEBOOT_HOME"),
        ),
        (replace(READY, memory=GIB), "warning", "1.0 GiB of memory", "2 GiB", "a larger machine"),
        (replace(READY, sources=0), "missing", "apt sources for bookworm", "none serves it", "sources.list(5)"),
    ],
)
def test_what_lacks_is_named_with_how_to_get_it(facts: Facts, verdict: str, what: str, why: str, get: str) -> None:
    (finding,) = wanting(facts)
    assert (finding.verdict, finding.what) == (verdict, what)
    assert why in finding.why
    assert get in finding.get


def test_a_newer_packer_will_do() -> None:
    assert wanting(replace(READY, commands={**SAID, "packer": "Packer v1.11.2"})) == []


def test_the_report_ends_with_one_line_that_installs_everything() -> None:
    text = report(diagnose(without("packer", "zstd", "mmdebstrap")))
    assert text.splitlines()[-1].split() == ["try", "apt-get", "install", "mmdebstrap", "packer", "zstd"]
    assert text.count("apt-get") == 1


def test_a_warning_lacks_nothing_that_is_needed() -> None:
    assert lacking(diagnose(without("zstd"))) == []
    assert [finding.what for finding in lacking(diagnose(without("zstd", "git")))] == ["git"]


def test_json_holds_every_finding() -> None:
    findings = diagnose(without("git"))
    read = json.loads(to_json(findings))
    assert [Finding(**entry) for entry in read] == findings


@pytest.mark.parametrize(
    ("said", "version"),
    [
        (SAID["python3"], (3, 11, 2)),
        (SAID["packer"], (1, 6, 6)),
        (SAID["systemd-nspawn"], (252, 39)),
        ("systemd 252", (252,)),
        (SAID["ip"], (6, 1, 0)),
        (SAID["ssh"], (9, 2)),
        (SAID["zstd"], (1, 5, 4)),
        ("ip utility, iproute2-ss190107", ()),
        ("", ()),
    ],
)
def test_a_version_is_found_in_what_a_command_says(said: str, version: tuple[int, ...]) -> None:
    assert version_in(said) == version


@pytest.mark.parametrize(
    ("mountinfo", "layout"),
    [
        ("31 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw", "v2"),
        (
            "33 32 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n42 32 0:27 / /x rw - cgroup2 cgroup2 rw",
            "hybrid",
        ),
        ("33 32 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu", "v1"),
        ("22 1 254:0 / / rw - ext4 /dev/vda rw", "none"),
    ],
)
def test_the_layout_of_control_groups_is_read_from_the_mounts(mountinfo: str, layout: str) -> None:
    assert cgroup_layout(mountinfo) == layout


def test_the_machine_is_asked_for_every_tool_and_leaves_a_home_unmade(tmp_path: Path) -> None:
    answers: dict[tuple[str, ...], Answer | None] = {tool.ask: Answer(0, "tool 9.9") for tool in TOOLS}
    answers[("packer", "--version")] = None
    answers[TRY_USERS] = answers[TRY_SHARED] = Answer(0, "")
    answers[TRY_NETWORK] = Answer(2, "RTNETLINK answers: Operation not permitted\nsecond line")

    def ask(argv: Sequence[str]) -> Answer | None:
        if tuple(argv[:-1]) == TRY_OVERLAY:
            assert Path(argv[-1]).parent == tmp_path, "the overlay is tried on the file system of the home"
            return Answer(0, "")
        return answers[tuple(argv)]

    facts = gather(tmp_path / "not" / "yet", ask=ask)
    assert facts.commands["packer"] is None
    assert facts.commands["git"] == "tool 9.9"
    assert list(tmp_path.iterdir()) == []
    assert facts.home == str(tmp_path / "not" / "yet")
    assert facts.room > 0
    if facts.root:
        assert (facts.overlay, facts.network) == ("", "RTNETLINK answers: Operation not permitted")
    else:
        assert (facts.overlay, facts.network) == (None, None)


def test_the_overlay_is_tried_as_machines_mount_theirs(tmp_path: Path) -> None:
    asked: list[str] = []

    def ask(argv: Sequence[str]) -> Answer:
        asked.extend(argv)
        assert all(Path(argv[-1], name).is_dir() for name in ("l/0", "l/1", "upper", "work", "root"))
        return Answer(0, "")

    assert try_overlay(tmp_path, ask) == ""
    assert any(f"-o {overlay_options(2)} " in word for word in asked)


def test_a_folder_that_takes_nothing_is_told() -> None:
    assert try_overlay(Path("/proc"), lambda argv: Answer(0, "")).startswith("/proc: ")
