"""Access to a build machine: keys that live for one run."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from agent.errors import HostError
from bake.build_machine import SSH_MOUNT, SSH_UNIT, make_ssh_access


@pytest.mark.subprocess
def test_the_machine_gets_its_half_and_never_the_private_key(tmp_path: Path) -> None:
    access = make_ssh_access(tmp_path / "ssh", address="127.0.0.1", port=2222)
    assert {path.name for path in access.folder.iterdir()} == {
        *("host_key", "host_key.pub", "authorized_keys", "sshd_config"),
    }
    assert access.key.parent != access.folder
    assert stat.S_IMODE(access.key.stat().st_mode) == 0o600
    assert stat.S_IMODE(access.folder.stat().st_mode) == 0o700
    assert access.host_key.startswith("ssh-ed25519 ")
    assert (access.folder / "authorized_keys").read_text().startswith("ssh-ed25519 ")
    assert access.bind.read_only
    assert access.bind.target == SSH_MOUNT


@pytest.mark.subprocess
def test_sshd_takes_one_key_and_listens_in_one_place(tmp_path: Path) -> None:
    access = make_ssh_access(tmp_path / "ssh", address="127.0.0.1", port=2222)
    lines = (access.folder / "sshd_config").read_text().splitlines()
    assert {"ListenAddress 127.0.0.1:2222", "PasswordAuthentication no", "StrictModes yes"} <= set(lines)
    assert [line for line in lines if line.startswith("ListenAddress")] == lines[:1]
    assert f"-f {SSH_MOUNT}/sshd_config" in access.units[SSH_UNIT]


@pytest.mark.subprocess
def test_two_runs_have_two_keys(tmp_path: Path) -> None:
    one, other = (make_ssh_access(tmp_path / name, address="127.0.0.1", port=1) for name in ("a", "b"))
    assert one.host_key != other.host_key
    assert one.key.read_text() != other.key.read_text()


@pytest.mark.subprocess
def test_a_key_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "ssh").mkdir()
    (tmp_path / "ssh" / "client_key").mkdir()
    with pytest.raises(HostError, match="ssh-keygen") as told:
        make_ssh_access(tmp_path / "ssh", address="127.0.0.1", port=1)
    assert told.value.hint == "bakeboot doctor"
