"""What the system tests share: one home, whose base and layers outlive the run, and a look at what is left behind.

The home is ``build/test-home`` in the checkout (or ``$BAKEBOOT_TEST_HOME``): a first run fills it, the next ones find
base and layers there and are quick. It must not lie on an overlay file system: overlays are stacked on it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bake.base import make_base
from bake.home import Home
from bake.images import Image
from tests.system.bakery import Bakery, TinyStack, command_lines, remove_home, sibling

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="session", autouse=True)
def _as_root() -> None:
    """A system test that can't run has failed: a skip would read as a pass."""
    if os.geteuid() != 0:
        pytest.fail("the system tests boot machines and need root:  sudo make test    (or: make unit)", pytrace=False)


@pytest.fixture(scope="session")
def home(_as_root: None) -> Iterator[Home]:
    """The home of all system tests. At the end nothing may be left of what they started."""
    before = names_in_use()
    home = Home.open(Path(os.environ.get("BAKEBOOT_TEST_HOME") or ROOT / "build" / "test-home"))
    yield home
    assert left_behind(home, before) == []


@pytest.fixture(scope="session")
def base_root(home: Home) -> Path:
    """The root of the base ``debian:bookworm``, made once (a minute or two). Read only: put an overlay on it."""
    with home.run("test-base") as run:
        made = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        log = home.root / "base.log"
        folders = {"work": run.folder, "private": run.runtime}
        return make_base(home, "debian:bookworm", made=made, scratch=False, log=log, say=print, **folders).root


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages that bakes find beside what this machine is set to, as a company's own may lie."""
    folder = tmp_path_factory.mktemp("wheels")
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def bakery(home: Home, base_root: Path, wheels: Path) -> Iterator[Bakery]:
    """The front door with the home of all system tests. What it bakes goes again; base and packages stay for later."""
    bakery = Bakery(home, {"PIP_FIND_LINKS": f"{os.environ.get('PIP_FIND_LINKS', '')} {wheels}".strip()})
    before = {entry for folder in (home.images, home.layers, home.mirrors) for entry in folder.iterdir()}
    yield bakery
    for image in bakery.store.all():
        if image.folder not in before:
            bakery.store.remove(image)
    for layer in bakery.layers.all():
        if layer.folder not in before and layer.kind not in ("base", "system"):
            bakery.layers.remove(layer)
    for mirror in set(home.mirrors.glob("*.git")) - before:
        shutil.rmtree(mirror)


@pytest.fixture(scope="session")
def shop(bakery: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The example's image, baked by `bakeboot bake` as its README says."""
    folder = tmp_path_factory.mktemp("shop")
    subprocess.run([sys.executable, str(ROOT / "examples" / "shop" / "publish.py"), str(folder)], check=True)
    image, _ = bakery.bake(folder)
    return image


@pytest.fixture(scope="session")
def tiny(bakery: Bakery, wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyStack:
    """A stack that bakes in seconds (tests/system/bakery.py). Copy it before changing it."""
    return TinyStack.make(tmp_path_factory.mktemp("tiny") / "stack", wheels)


@pytest.fixture(scope="session")
def tiny_image(bakery: Bakery, tiny: TinyStack) -> Image:
    image, _ = bakery.bake(tiny.folder)
    return image


@pytest.fixture
def apart(bakery: Bakery, tiny_image: Image, request: pytest.FixtureRequest) -> Iterator[Bakery]:
    """The front door with a home of its own for one test, which holds base and packages. It must end as it began."""
    before = names_in_use()
    whole = map(bakery.layers.get, tiny_image.layers)
    home = sibling(bakery.home, request.node.name[:30], [one for one in whole if one.kind in ("base", "system")])
    yield Bakery(home, bakery.environment)
    left = left_behind(home, before)
    remove_home(home)
    assert left == []


def left_behind(home: Home, before: set[str]) -> list[str]:
    """What outlived the tests, a line each: mounts, namespaces, control groups, processes, folders of runs."""
    found = [f"mount {point}" for point in mount_points() if Path(point).is_relative_to(home.root)]
    found += [f"mount {point}" for point in mount_points() if Path(point).is_relative_to(home.runtime)]
    others = owned_elsewhere(home)
    found += [
        name for name in sorted(names_in_use() - before) if name.split()[1].removeprefix("bakeboot-") not in others
    ]
    found += [f"process {process}" for process in processes_naming(home)]
    runs = (home.runs, home.machines, home.runtime / "runs", home.root / "sites")
    return found + [f"folder {folder}" for parent in runs if parent.is_dir() for folder in folders(parent)]


def mount_points() -> list[str]:
    """Every mount point (proc_pid_mountinfo(5), field 5, where a space is ``\\040``)."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4].replace("\\040", " ") for line in lines]


def names_in_use() -> set[str]:
    """Network namespaces and control groups that are named as ours are: NAME-XXXXXX (region/owner.py)."""
    ours = re.compile(r".+-[0-9a-f]{6}")
    names = {f"netns {path.name}" for path in Path("/run/netns").glob("*") if ours.fullmatch(path.name)}
    for _, children, _ in os.walk("/sys/fs/cgroup"):
        names |= {f"cgroup {child}" for child in children if ours.fullmatch(child)}
    return names


def owned_elsewhere(home: Home) -> set[str]:
    """The names that live owners with other homes hold: someone may bake here while the tests run."""
    names = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            lock = link.readlink()
            if lock.name == "owner.lock" and not lock.is_relative_to(home.root):
                names |= {lock.parent.name, f"bakeboot-{lock.parent.name}"}  # its namespace, its control group
    return names


def processes_naming(home: Home) -> list[str]:
    """Processes whose command line names the home; not this one, nor those that it descends from (make, a shell)."""
    own, naming = ancestry(), command_lines(str(home.root), str(home.runtime))
    return [f"{pid}: {line:.200}" for pid, line in naming.items() if pid not in own]


def ancestry() -> set[str]:
    pid, found = str(os.getpid()), set()
    while pid != "0":
        found.add(pid)
        status = Path("/proc", pid, "status").read_text()
        pid = next(line.split()[1] for line in status.splitlines() if line.startswith("PPid:"))
    return found


def folders(parent: Path) -> list[str]:
    return [str(path) for path in sorted(parent.iterdir()) if path.is_dir()]
