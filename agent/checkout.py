"""A repo's code on an instance: where it lies, what its record says, which one is in use.

    /srv/bakeboot/<repo>/<commit>/                         the code, built; root's, readable by all
    /srv/bakeboot/<repo>/<commit>/.bakeboot/processes/…    one file for each process: its line, whole
    /srv/bakeboot/<repo>/<commit>/.bakeboot/checkout.json  the record, written last
    /srv/bakeboot/<repo>/deps-<key>/venv, .complete        a virtual environment, and its mark, written last
    /srv/bakeboot/<repo>/current                           a symlink to the commit in use

A directory without its record or mark is not there: the next build removes it and starts anew. So a
build can lie at its final path from the start, which is what tools that note absolute paths need.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from agent.errors import BuildError
from agent.names import RECORD

PROCESSES = ".bakeboot/processes"
CURRENT = "current"
COMPLETE = ".complete"

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def read_record(checkout: Path) -> dict[str, object] | None:
    """The record of a checkout; None where there is none, or none that can be read: it isn't complete."""
    try:
        document = json.loads((checkout / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def write_record(checkout: Path, record: Mapping[str, object], processes: Mapping[str, str]) -> None:
    """Make the checkout complete: its processes, then its record. Whatever the repo brought as ``.bakeboot`` goes."""
    home = checkout / ".bakeboot"
    remove(home)
    (checkout / PROCESSES).mkdir(parents=True)
    for name, line in processes.items():
        (checkout / PROCESSES / name).write_text(f"{line}\n", encoding="utf-8")
    for directory in (home, checkout / PROCESSES):
        directory.chmod(0o755)
    for file in (checkout / PROCESSES).iterdir():
        file.chmod(0o644)
    write_atomically(checkout / RECORD, json.dumps(record, indent=1, sort_keys=True) + "\n")


def write_atomically(path: Path, text: str) -> None:
    """The whole text or nothing, world readable, on disk when this returns."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fchmod(file.fileno(), 0o644)
        os.fsync(file.fileno())
    partial.rename(path)


def remove(path: Path) -> None:
    """Remove a file, a symlink (never what it points to) or a whole directory; nothing there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def checkouts(repo: Path) -> list[str]:
    """Commits of the complete checkouts below ``/srv/bakeboot/<repo>``, sorted."""
    found = repo.iterdir() if repo.is_dir() else ()
    return sorted(path.name for path in found if _COMMIT.fullmatch(path.name) and read_record(path) is not None)


def current(repo: Path) -> str | None:
    """The commit in use, or None."""
    try:
        return os.readlink(repo / CURRENT)
    except OSError:
        return None


def switch(repo: Path, commit: str) -> None:
    """Put ``commit`` into use: one rename, so that ``current`` is always the old or the new one.

    Raises ``BuildError`` when there is no complete checkout of it.
    """
    if not _COMMIT.fullmatch(commit) or read_record(repo / commit) is None:
        raise BuildError(f"no complete checkout of {commit!r}", where=str(repo), hint=f"ls {repo}")
    if current(repo) == commit:
        return
    fresh = repo / f".{CURRENT}.{os.getpid()}"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(commit)
    fresh.rename(repo / CURRENT)
    directory = os.open(repo, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


# What is installed in one


def python_packages(venv: Path) -> dict[str, str]:
    """Name to version, from the names of ``*.dist-info`` (packaging.python.org, recording-installed-packages)."""
    found = {}
    for directory in venv.glob("lib/python3*/site-packages/*.dist-info"):
        name, dash, version = directory.name.removesuffix(".dist-info").partition("-")
        if dash:
            found[re.sub(r"[-_.]+", "-", name).lower()] = version
    return dict(sorted(found.items()))


def node_packages(modules: Path) -> dict[str, str]:
    """Name to version of all packages below ``node_modules``; several versions of one are joined by ``", "``."""
    found: dict[str, set[str]] = {}
    for manifest in _manifests(modules):
        try:
            package = json.loads(manifest.read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(package, dict) and isinstance(package.get("version"), str):
            found.setdefault(_package_name(manifest.parent), set()).add(package["version"])
    return {name: ", ".join(sorted(versions)) for name, versions in sorted(found.items())}


def _manifests(modules: Path) -> list[Path]:
    """Each package's ``package.json``: in ``node_modules/NAME``, in ``node_modules/@scope/NAME``, nested in these."""
    found: list[Path] = []
    for entry in sorted(modules.iterdir()) if modules.is_dir() else ():
        if entry.name.startswith(".") or not entry.is_dir() or entry.is_symlink():
            continue
        packages = sorted(entry.iterdir()) if entry.name.startswith("@") else [entry]
        for package in packages:
            if package.is_dir() and not package.is_symlink():
                found.append(package / "package.json")
                found.extend(_manifests(package / "node_modules"))
    return found


def _package_name(directory: Path) -> str:
    scope = directory.parent.name
    return f"{scope}/{directory.name}" if scope.startswith("@") else directory.name
