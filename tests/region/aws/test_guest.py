"""What a machine finds because it is an instance."""

from __future__ import annotations

from pathlib import Path

from region.aws.guest import SSH_UNIT, guest
from region.nspawn import MachineSpec, command


def test_the_endpoint_is_in_every_unit_s_environment() -> None:
    """systemd(1), "Kernel Command Line": systemd.setenv=."""
    found = guest("http://127.77.1.1:4566", "us-east-1", None)
    assert (found.files, found.units, found.wants, found.masks) == ({}, {}, (), ())
    argv = command(MachineSpec("i-1", (), environment=found.environment), "i-1", Path("/root"), None, [])
    assert "systemd.setenv=AWS_ENDPOINT_URL=http://127.77.1.1:4566" in argv
    assert "systemd.setenv=AWS_REGION=us-east-1" in argv


def test_a_key_starts_an_sshd_that_leaves_nothing_on_the_disk() -> None:
    found = guest("http://127.77.1.1:4566", "us-east-1", "ssh-ed25519 AAAA mine\n")
    assert found.files["/run/bakeboot-key/authorized_keys"] == b"ssh-ed25519 AAAA mine\n"
    assert all(path.startswith("/run/") for path in found.files)
    assert "HostKey /run/" in found.files["/run/bakeboot-key/sshd_config"].decode()
    assert found.wants == (SSH_UNIT,)
    assert "ssh.service" in found.masks
