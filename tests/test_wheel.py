"""A wheel holds what a checkout does: the packages, and the data beside them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.test_house import ROOT, files

pytestmark = pytest.mark.house

SHIPPED = ("agent", "bake", "region", "templates", "packer")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: setuptools leaves a `build/` where it works, and takes over what an earlier one left there.

    The home of the system tests lies in `build/` too, with links in circles: whoever follows them comes to no end.
    """
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for path in files():
        target = source / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    circles = source / "build" / "test-home"
    circles.mkdir(parents=True)
    for name in ("one", "another"):
        (circles / name).symlink_to(".")
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation")
    subprocess.run([*pip, "--wheel-dir", str(out), str(source)], check=True, timeout=300)
    (built,) = out.glob("bakeboot-*.whl")
    return built


def test_a_wheel_holds_every_file_that_is_needed_and_no_other(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    shipped = {str(path.relative_to(ROOT)) for top in SHIPPED for path in files(f"{top}/*")}
    assert held == shipped | {"bakeboot.py"}


def test_what_is_installed_finds_its_data_as_a_checkout_does(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import bake; from pathlib import Path\n"
        "root = Path(bake.__file__).parent.parent\n"
        "print(root, *sorted(path.name for path in (root / 'packer').glob('*.pkr.hcl')))\n"
    )
    argv = [sys.executable, "-I", "-c", program, str(tmp_path)]
    said = subprocess.run(argv, check=True, capture_output=True, text=True, cwd="/").stdout.split()
    assert said[0] == str(tmp_path)
    assert said[1:]
