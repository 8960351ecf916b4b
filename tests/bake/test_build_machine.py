"""Access to a build machine: keys that live for one run."""

from __future__ import annotations

import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

import pytest

from agent.errors import HostError, MachineError
from bake.build_machine import SSH_MOUNT, SSH_UNIT, SshAccess, make_ssh_access, wait_for_ssh
from region.machine import Machine, MachineSpec


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


class Mute:
    """A machine as far as waiting for its sshd needs one."""

    spec = MachineSpec("mute", (Path("/"),))

    def __init__(self, *, ended: bool = False) -> None:
        self.ended = ended

    def last_words(self) -> str:
        return "Kernel panic, as it were"

    def poll(self) -> int | None:
        return 1 if self.ended else None


@contextmanager
def answering(banner: bytes) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.sendall(banner)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def access_at(port: int) -> SshAccess:
    return SshAccess(Path("/nowhere"), Path("/nowhere/key"), "ssh-ed25519 x", port, "bakeboot-abc")


@pytest.mark.network
@pytest.mark.sleep
def test_the_sshd_of_this_run_is_known_by_its_banner() -> None:
    with answering(b"SSH-2.0-OpenSSH_9.2p1 bakeboot-abc\r\n") as port:
        wait_for_ssh(cast("Machine", Mute()), access_at(port), timeout=5)


@pytest.mark.network
@pytest.mark.sleep
def test_another_program_on_its_port_is_not_taken_for_it() -> None:
    with answering(b"SSH-2.0-OpenSSH_9.2p1\r\n") as port, pytest.raises(MachineError, match="does not answer"):
        wait_for_ssh(cast("Machine", Mute()), access_at(port), timeout=0.2)


def test_a_machine_that_ended_is_not_waited_for() -> None:
    with pytest.raises(MachineError, match="Kernel panic"):
        wait_for_ssh(cast("Machine", Mute(ended=True)), access_at(1), timeout=60)
