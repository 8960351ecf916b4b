"""The base: a root file system made once with mmdebstrap, the lowest layer of every image.

It holds an operating system and nothing of any stack. Later layers stand on it, so it is made anew
only when its recipe changes or ``--scratch`` asks for it.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.errors import BuildError, HostError
from agent.seal import seal
from bake.contained import contained
from bake.home import Home
from bake.host_apt import apt_options, apt_secrets, apt_source_files
from bake.layers import Layer, LayerStore, key_of

RECIPE = 3
"""Raised when what is made below changes, so that bases of an older recipe are not taken for it."""

PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "libnss-systemd", "tzdata"),
    *("python3", "python3-venv", "python3-pip"),
    *("openssh-server", "openssh-client", "openssh-sftp-server"),
    *("ca-certificates", "curl", "git", "iproute2", "less", "procps", "sudo", "xz-utils"),
)

NOT_STARTED = (
    *("ssh.service", "ssh.socket", "getty@.service", "console-getty.service", "systemd-networkd.service"),
    *(
        "apt-daily.timer",
        "apt-daily-upgrade.timer",
        "dpkg-db-backup.timer",
        "e2scrub_all.timer",
        "e2scrub_reap.service",
    ),
    *("fstrim.timer", "systemd-timesyncd.service", "systemd-resolved.service", "remote-fs.target", "cron.service"),
)
"""Units that Debian enables and an image does not want: whoever wants one starts it."""

SOURCES_NOTE = """\
# Packages come with the image, from the mirrors of the machine that baked it; none is recorded here.
# To have a source on the machines too, add it to stack.toml: [stack.apt_sources.NAME]
"""


@dataclass(frozen=True)
class BaseName:
    """``debian:bookworm``: a distribution and a suite of it, and the Python it comes with."""

    distribution: str
    suite: str
    python: str


BASES = {
    "debian:bookworm": BaseName("debian", "bookworm", "3.11"),
}
"""The bases that the toolkit knows how to make."""


def base_key(name: str) -> str:
    return key_of({"base": name, "recipe": RECIPE, "packages": PACKAGES, "not_started": NOT_STARTED})


def make_base(
    home: Home, name: str, *, made: str, scratch: bool, work: Path, log: Path, say: Callable[[str], None], private: Path
) -> Layer:
    """The base layer of ``name``, made when there is none yet (about a minute) or when ``scratch`` says so.

    ``work`` is a folder of this run on the home's file system, ``private`` one on tmpfs for the host's apt
    settings, which may hold passwords: they are in no argument list and in no log. Raises HostError without mmdebstrap,
    BuildError when it fails.
    """
    store = LayerStore(home)
    key = base_key(name)
    layer = None if scratch else store.find(key)
    if layer is not None:
        return layer
    if shutil.which("mmdebstrap") is None:
        raise HostError("mmdebstrap is not installed", where="base", hint="apt-get install mmdebstrap")
    say(f"making the base {name} (once)")
    root = work / "base"
    _mmdebstrap(BASES[name].suite, root, log, private)
    _finish(root)
    return store.adopt(root, key=key, kind="base", name=name, made=made)


def _mmdebstrap(suite: str, root: Path, log: Path, private: Path) -> None:
    sources = private / "base-sources"
    sources.mkdir()
    options = private / "base-apt.conf"
    options.write_text("\n".join((*apt_options(), *_netrc(private), "")))
    files = []
    for name, content in apt_source_files(suite):
        (sources / name).write_text(content)
        files.append(str(sources / name))
    command = [
        *("mmdebstrap", "--variant=minbase", "--mode=root", f"--include={','.join(PACKAGES)}"),
        f"--aptopt={options}",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        *(suite, str(root), *files),
    ]
    with log.open("a") as output:
        output.write(f"+ {' '.join(command)}\n")
        output.flush()
        done = subprocess.run(
            contained(command), stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False
        )
    if done.returncode:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise BuildError(
            f"mmdebstrap ended with {done.returncode}; its last lines:\n{last}",
            where=f"base {suite}",
            hint=f"look at {log}, mend, and run the bake again",
        )


def _netrc(private: Path) -> list[str]:
    """The line of apt.conf for the host's passwords for its sources, which are put below ``private``."""
    folder = private / "auth.conf.d"
    for name, content in apt_secrets().items():
        if name.startswith("apt/auth.conf.d/"):
            folder.mkdir(mode=0o700, exist_ok=True)
            (folder / Path(name).name).write_bytes(content)
    return [f'Dir::Etc::netrcparts "{folder}";'] if folder.is_dir() else []


def _finish(root: Path) -> None:
    """Leave nothing of the host in the base, and nothing running that nobody asked for."""
    for name in ("etc/apt/apt.conf.d/99mmdebstrap", "etc/resolv.conf", "etc/hostname"):
        (root / name).unlink(missing_ok=True)
    for leftover in (root / "etc/apt/sources.list.d").iterdir():
        leftover.unlink()
    (root / "etc/apt/sources.list").write_text(SOURCES_NOTE)
    units = root / "etc/systemd/system"
    # The links dangle as seen from here, so that glob, which follows them, would not find them.
    for wants in units.glob("*.wants"):
        for link in wants.iterdir():
            if link.name in NOT_STARTED:
                link.unlink()
    for mask in ("apt-daily.timer", "apt-daily-upgrade.timer", "systemd-firstboot.service", "getty.target"):
        (units / mask).unlink(missing_ok=True)
        (units / mask).symlink_to("/dev/null")
    (root / "etc/fstab").write_text("")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n")
    seal(root)
