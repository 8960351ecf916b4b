"""Overlays of many layers within one page of options, and finding what is mounted below a directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from region import mounts
from region.errors import RegionError

MOUNTINFO = """\
23 1 254:0 / / rw,relatime - ext4 /dev/vda rw
90 23 0:60 / /state/machines/a/root rw,relatime - overlay overlay rw
91 23 0:61 / /state/machines/ab/root rw,relatime - overlay overlay rw
92 90 0:62 / /state/machines/a/root/run rw - tmpfs tmpfs rw
93 23 0:63 / /state/machines/a\\040b rw - tmpfs tmpfs rw
"""


def test_the_highest_layer_is_named_first() -> None:
    assert mounts.overlay_options(3).startswith("lowerdir=l/2:l/1:l/0,upperdir=upper,workdir=work,")


def test_as_many_layers_fit_into_a_page_as_the_kernel_takes() -> None:
    assert len(mounts.overlay_options(500)) < 4096


@pytest.mark.parametrize("count", [0, 501])
def test_none_or_too_many_are_refused(count: int) -> None:
    with pytest.raises(RegionError, match="layers"):
        mounts.overlay_options(count)


def test_an_absent_layer_is_named_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(RegionError, match="/nowhere"):
        mounts.mount_overlay(tmp_path, [Path("/nowhere")])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("directory", "found"),
    [
        ("/state/machines/a", ["/state/machines/a/root/run", "/state/machines/a/root"]),
        ("/state/machines/a b", ["/state/machines/a b"]),
        ("/nowhere", []),
    ],
)
def test_mounts_below_a_directory_come_deepest_first(directory: str, found: list[str]) -> None:
    assert mounts.mounted_below(Path(directory), MOUNTINFO) == [Path(point) for point in found]
