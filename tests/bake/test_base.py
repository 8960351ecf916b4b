"""The base: its key, and what is taken from a fresh root file system."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.errors import HostError
from bake.base import BASES, NOT_STARTED, _finish, base_key, make_base
from bake.layers import LayerStore
from bake.stack import BASES as NAMES
from tests.bake.planning import a_home, a_tree


def test_every_base_that_a_stack_may_name_can_be_made() -> None:
    assert set(NAMES) == set(BASES)


def test_a_base_that_is_there_is_taken(tmp_path: Path) -> None:
    home = a_home(tmp_path)
    name = NAMES[0]
    root = a_tree(tmp_path / "root", {"etc/os-release": "x"})
    layer = LayerStore(home).adopt(root, key=base_key(name), kind="base", name=name, made="then")
    said: list[str] = []
    found = make_base(
        home, name, made="now", scratch=False, work=tmp_path, private=tmp_path, log=tmp_path / "log", say=said.append
    )
    assert (found, said) == (layer, [])


def test_without_mmdebstrap_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError, match="not installed") as told:
        make_base(
            a_home(tmp_path),
            NAMES[0],
            made="",
            scratch=False,
            work=tmp_path,
            private=tmp_path,
            log=tmp_path / "log",
            say=print,
        )
    assert told.value.hint == "apt-get install mmdebstrap"


def test_nothing_of_the_host_stays_and_nothing_starts_that_nobody_asked_for(tmp_path: Path) -> None:
    units = "etc/systemd/system"
    files = {
        "etc/hostname": "host",
        "etc/resolv.conf": "nameserver 10.0.0.1",
        "etc/fstab": "UUID=1 / ext4\n",
        "etc/apt/sources.list": "deb https://me:pw@mirror.example.org bookworm main",
        "etc/apt/sources.list.d/host.list": "deb https://mirror.example.org bookworm main",
        "etc/apt/apt.conf.d/99mmdebstrap": 'Acquire::http::Proxy "http://proxy";',
        "etc/machine-id": "0" * 32,
        f"{units}/multi-user.target.wants/.keep": "",
    }
    root = a_tree(tmp_path / "root", files)
    wants = root / units / "multi-user.target.wants"
    for name in (NOT_STARTED[0], "dbus.service"):
        (wants / name).symlink_to(f"/lib/systemd/system/{name}")  # dangling, seen from here
    _finish(root)
    for name in ("etc/hostname", "etc/resolv.conf", "etc/apt/sources.list.d/host.list"):
        assert not (root / name).exists()
    assert not (root / "etc/apt/apt.conf.d/99mmdebstrap").exists()
    assert "mirror" not in (root / "etc/apt/sources.list").read_text().replace("the mirrors of", "")
    assert (root / "etc/fstab").read_text() == ""
    assert not (wants / NOT_STARTED[0]).is_symlink()
    assert (wants / "dbus.service").is_symlink()
    assert str((root / units / "apt-daily.timer").readlink()) == "/dev/null"
