"""Makes a root file system fit to be an image: what belongs to one machine, one person or one bake goes.

One table says what, and why. ``seal`` applies it, ``leftovers`` reads it as a check: what it returns
after ``seal`` are the things that can't be put right by removing a file.

Symlinks are never followed, so that a root may be a directory on a baking host; what is mounted
inside is not the image's, and stays.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agent.errors import MachineError, VerifyError

REMOVE = "remove"
EMPTY = "empty"


@dataclass(frozen=True)
class Rule:
    """``pattern`` is relative to the root; ``*`` stays within a name, ``**`` is any number of directories.

    ``but``: a name that the pattern covers and that stays.
    """

    pattern: str
    why: str
    action: str = REMOVE
    but: str = ""


def _rules(why: str, *patterns: str, action: str = REMOVE) -> tuple[Rule, ...]:
    return tuple(Rule(pattern, why, action) for pattern in patterns)


# machine-id(5): an empty file gets an id at boot, and that boot is no "first boot". A missing one, or
# "uninitialized", is: systemd would apply all presets anew and systemd-firstboot would ask its questions.
SYSTEM = (
    *_rules("the id of the build machine", "etc/machine-id", action=EMPTY),
    *_rules("the id of the build machine", "var/lib/dbus/machine-id"),
    *_rules("the name or network of the build machine", "etc/hostname", "etc/resolv.conf"),
    *_rules("the network of the build machine", "var/lib/dhcp/*", "etc/udev/rules.d/70-persistent-net.rules"),
    *_rules("an SSH host key", "etc/ssh/ssh_host_*"),
    *_rules(
        "random state that no two machines may share", "var/lib/systemd/random-seed", "var/lib/urandom/random-seed"
    ),
    *_rules("the secret of systemd's credentials", "var/lib/systemd/credential.secret"),
    *_rules("state of the build machine", "var/lib/systemd/timers/*", "var/lib/systemd/coredump/*"),
    *_rules("state of the build machine", "var/lib/systemd/pstore/*", "var/lib/systemd/linger/*", "var/lib/cloud/*"),
    *_rules("state of the build machine", "var/lib/sudo/lectured/*", "var/lib/sudo/ts/*", "var/lib/logrotate/*"),
    Rule("var/lib/bakeboot/*", "an instance's state", but="data"),
    *_rules("data of a datastore", "var/lib/bakeboot/data/*"),
    *_rules("something half made", "srv/bakeboot/*/.current.*", "opt/bakeboot/runtimes/.*.partial"),
    *_rules("something half made", "srv/bakeboot/*/*/.bakeboot/*.partial", "srv/bakeboot/*/deps-*/*.partial"),
    *_rules(
        "a log", "var/log/journal/*", "var/log/**/*.gz", "var/log/**/*.xz", "var/log/**/*.old", "var/log/**/*.[0-9]"
    ),
    *_rules("a log", "var/log/**/*", action=EMPTY),
    *_rules("mail", "var/mail/*", "var/spool/mail/*"),
    *_rules("a temporary file", "tmp/*", "var/tmp/*", "run/*"),
    *_rules("apt's cache", "var/cache/apt/*.bin", "var/cache/apt/archives/*.deb", "var/cache/apt/archives/partial/*"),
    *_rules("apt's cache", "var/lib/apt/lists/*_*", "var/lib/apt/lists/partial/*", "var/lib/apt/lists/auxfiles/*"),
    *_rules("state of apt", "var/lib/apt/periodic/*", "var/lib/apt/daily_lock"),
    *_rules("an older version of a database", "var/cache/debconf/*-old", "var/lib/dpkg/*-old", "var/cache/ldconfig/*"),
    *_rules("an older version of a file of accounts", "etc/passwd-", "etc/shadow-", "etc/group-", "etc/gshadow-"),
    *_rules("an older version of a file of accounts", "etc/subuid-", "etc/subgid-", "etc/.pwd.lock"),
    *_rules("an older version of a setting", "etc/**/*.dpkg-*", "etc/**/*.ucf-*"),
    *_rules("a credential of apt", "etc/apt/auth.conf", "etc/apt/auth.conf.d/*"),
    *_rules("a package setting of the bake", "etc/pip.conf", "etc/xdg/pip", "etc/npmrc", "usr/etc/npmrc"),
    *_rules("a package setting of the bake", "usr/local/etc/npmrc", "opt/bakeboot/runtimes/*/etc/npmrc"),
    *_rules("a setting or credential of git", "etc/gitconfig"),
)

HOME = (
    *_rules("keys and known hosts", ".ssh"),
    *_rules("a history", ".*_history", ".lesshst", ".viminfo", ".wget-hsts", ".config/procps", ".local/share/nano"),
    *_rules("credentials", ".netrc", ".npmrc", ".pypirc", ".pgpass", ".my.cnf", ".git-credentials", ".boto", ".gnupg"),
    *_rules("credentials", ".aws", ".azure", ".docker", ".kube", ".config/gcloud", ".config/gh", ".config/git"),
    *_rules("credentials", ".gitconfig", ".cargo/credentials*", ".gem/credentials", ".vault-token", ".terraform.d"),
    *_rules("a package setting of the bake", ".pip", ".pydistutils.cfg", ".config/pip", ".config/uv", ".yarnrc*"),
    *_rules("a cache", ".cache", ".npm", ".node-gyp", ".yarn", ".ansible", ".config/configstore", "**/__pycache__"),
    *_rules("a cache", ".sudo_as_admin_successful", ".rnd"),
)

_NO_HOMES = (
    "",
    "/",
    "/bin",
    "/dev",
    "/usr/sbin",
    "/var",
    "/var/lib",
    "/nonexistent",
    "/run",
    "/proc",
    "/usr/bin",
    "/srv",
)


def seal(root: Path) -> list[str]:
    """Apply the table to ``root``. Returns what was removed or emptied, as ``"/etc/hostname removed"``."""
    done = []
    skip = _mounts(root)
    for rule in rules_for(root):
        for path in list(_matches(root, rule, skip)):
            if rule.action == EMPTY:
                os.truncate(path, 0)
                done.append(f"{_shown(root, path)} emptied")
            else:
                _remove(path, skip)
                done.append(f"{_shown(root, path)} removed")
    for path in _proxy_settings(root):
        path.unlink()
        done.append(f"{_shown(root, path)} removed")
    machine_id = root / "etc/machine-id"
    if not os.path.lexists(machine_id) and machine_id.parent.is_dir():
        machine_id.touch(0o444)
        done.append("/etc/machine-id made, empty")
    return done


def leftovers(root: Path) -> list[str]:
    """What an image may not hold and this root does, each with why; changes nothing. Empty: fit to be an image."""
    skip = _mounts(root)
    found = [
        f"{_shown(root, path)}: {rule.why}" for rule in rules_for(root) for path in sorted(_matches(root, rule, skip))
    ]
    if not os.path.lexists(root / "etc/machine-id"):
        found.append("/etc/machine-id: missing, so that the next boot counts as the first one, and asks questions")
    found += [f"{_shown(root, path)}: a proxy of the bake" for path in _proxy_settings(root)]
    found += [f"{_shown(root, path)}: a password in an apt source" for path in _sources_with_password(root)]
    found += [f"/etc/shadow: {user} has {what}" for user, what in _passwords(root)]
    return found


def rules_for(root: Path) -> tuple[Rule, ...]:
    """The table, with the rules for homes applied to each home that ``root`` has."""
    homes = (replace(rule, pattern=f"{home}/{rule.pattern}") for home in _homes(root) for rule in HOME)
    return (*SYSTEM, *homes)


def _homes(root: Path) -> list[str]:
    """Directories below the root that are somebody's home, relative: /root, those in /home, and passwd(5)'s."""
    homes = {"root", *(f"home/{path.name}" for path in _entries(root / "home"))}
    for line in _lines(root / "etc/passwd"):
        fields = line.split(":")
        if len(fields) == 7 and fields[5] not in _NO_HOMES and ".." not in fields[5]:
            homes.add(fields[5].strip("/"))
    # A name with a glob character would be read as a pattern: no home of ours has one.
    plain = (home for home in homes if not set(home) & set("*?["))
    return sorted(home for home in plain if _is_directory(root / home) and _no_symlink_on(root, home))


def _no_symlink_on(root: Path, relative: str) -> bool:
    parts = relative.split("/")
    return not any((root / "/".join(parts[:count])).is_symlink() for count in range(1, len(parts) + 1))


# Finding


def _matches(root: Path, rule: Rule, skip: frozenset[str]) -> Iterator[Path]:
    for path in _find(root, rule.pattern.split("/"), skip):
        if path.name == rule.but:
            continue
        if rule.action == EMPTY:
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_size:
                yield path
        elif _counts(path):
            yield path


def _counts(path: Path) -> bool:
    """Whether there is something to remove: not an overlay's whiteout, nor a symlink to what /run or /etc hold."""
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode) and path.name in ("resolv.conf", "machine-id"):
        return False
    return not (stat.S_ISCHR(status.st_mode) and status.st_rdev == 0)


def _find(directory: Path, parts: list[str], skip: frozenset[str]) -> Iterator[Path]:
    """Paths below ``directory`` that the pattern's ``parts`` lead to; no way leads through a symlink or a mount."""
    name, rest = parts[0], parts[1:]
    if name == "**":
        yield from _find(directory, rest, skip)
        for entry in _entries(directory):
            if _is_directory(entry) and str(entry) not in skip:
                yield from _find(entry, parts, skip)
        return
    if any(character in name for character in "*?["):
        found: Iterable[Path] = (entry for entry in _entries(directory) if fnmatch.fnmatchcase(entry.name, name))
    else:
        found = (directory / name,) if os.path.lexists(directory / name) else ()
    for path in found:
        if str(path) in skip:
            continue
        if not rest:
            yield path
        elif _is_directory(path):
            yield from _find(path, rest, skip)


def _entries(directory: Path) -> list[Path]:
    if not _is_directory(directory):
        return []
    return sorted(directory.iterdir())


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _mounts(root: Path) -> frozenset[str]:
    """Mount points below ``root`` (proc(5), mountinfo: field 5, octal escapes)."""
    top = str(root.absolute()).rstrip("/")
    points = set()
    for line in _lines(Path("/proc/self/mountinfo")):
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), line.split(" ")[4])
        if point.startswith(f"{top}/") and point != f"{top}/":
            points.add(str(root / point[len(top) + 1 :]))
    return frozenset(points)


def _remove(path: Path, skip: frozenset[str]) -> None:
    """Remove a file or a tree, but leave what is mounted in it, and the way there."""
    if not _is_directory(path):
        path.unlink(missing_ok=True)
    elif any(point.startswith(f"{path}/") for point in skip):
        for entry in _entries(path):
            if str(entry) not in skip:
                _remove(entry, skip)
    else:
        shutil.rmtree(path)


# What only reading can tell


def _proxy_settings(root: Path) -> list[Path]:
    """apt settings that name a proxy: nothing on an image needs one, and a bake sets them for itself."""
    files = [root / "etc/apt/apt.conf", *_entries(root / "etc/apt/apt.conf.d")]
    return [path for path in files if any(re.search(r"(?i)^[^#/]*acquire.*proxy", line) for line in _lines(path))]


def _sources_with_password(root: Path) -> list[Path]:
    files = [root / "etc/apt/sources.list", *_entries(root / "etc/apt/sources.list.d")]
    return [path for path in files if any(re.search(r"://[^/\s]*:[^/\s]*@", line) for line in _lines(path))]


def _passwords(root: Path) -> list[tuple[str, str]]:
    """shadow(5): a field that starts with ``!`` or ``*`` lets nobody in by password."""
    found = []
    for line in _lines(root / "etc/shadow"):
        user, _, rest = line.partition(":")
        secret = rest.partition(":")[0]
        if user and not secret.startswith(("!", "*")):
            found.append((user, "a password" if secret else "an empty password"))
    return found


def _lines(path: Path) -> list[str]:
    if path.is_symlink() or not path.is_file():
        return []
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def _shown(root: Path, path: Path) -> str:
    return f"/{path.relative_to(root)}"


def main(arguments: Sequence[str], made_by_us: Path = Path("/etc/bakeboot")) -> int:
    """``agent seal --root DIR [--check]``; exit code 13 when something is left.

    Raises MachineError for a root that is none, and for this machine where it is not one of ours.
    """
    parser = argparse.ArgumentParser(prog="agent seal", description="Make a root file system fit to be an image.")
    parser.add_argument("--root", type=Path, required=True, help="the root file system; / for this machine")
    parser.add_argument("--check", action="store_true", help="change nothing, say what is left")
    options = parser.parse_args(arguments)
    root: Path = options.root
    if not root.is_dir():
        raise MachineError("there is no such directory", where=str(root), hint="agent seal --root DIR")
    if not options.check:
        if os.path.samefile(root, "/") and not made_by_us.is_dir():
            raise MachineError("this machine was not made by bakeboot, and is not sealed", hint="agent seal --root DIR")
        sys.stdout.writelines(f"{line}\n" for line in seal(root))
    left = leftovers(root)
    sys.stderr.writelines(f"left: {line}\n" for line in left)
    return VerifyError.exit_code if left else 0
