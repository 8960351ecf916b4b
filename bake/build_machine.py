"""A machine to build or to verify in: it is up, and answers on SSH with a key that lives for one run.

sshd comes from outside: its unit, its configuration, its host key and the one authorized key are
mounts below ``/run``, so nothing of them is ever on the image's disk. A build machine shares the host's
network for the package registries; its sshd listens on loopback alone.
"""

from __future__ import annotations

import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.errors import HostError, MachineError
from bake.home import Home, Run
from bake.host import HostSettings
from region.machine import Bind, Machine, MachineSpec, start_machine
from region.netns import free_port

SSH_MOUNT = "/run/bakeboot-ssh"
BUILD_MOUNT = "/run/bakeboot-build"
SSH_UNIT = "bakeboot-ssh.service"

_UNIT = f"""\
[Unit]
Description=SSH for the run that started this machine
DefaultDependencies=no
After=systemd-tmpfiles-setup.service local-fs.target
Conflicts=shutdown.target
Before=shutdown.target

[Service]
RuntimeDirectory=sshd
RuntimeDirectoryMode=0755
RuntimeDirectoryPreserve=yes
ExecStart=/usr/sbin/sshd -D -e -f {SSH_MOUNT}/sshd_config
"""


@dataclass(frozen=True)
class SshAccess:
    """How to reach a machine's sshd: ``key`` is the private key's file, ``port`` where sshd listens."""

    folder: Path
    key: Path
    host_key: str
    port: int
    token: str
    """A word in the banner of this sshd."""

    @property
    def bind(self) -> Bind:
        return Bind(self.folder, SSH_MOUNT)

    @property
    def units(self) -> dict[str, str]:
        return {SSH_UNIT: _UNIT}


def make_ssh_access(folder: Path, *, address: str, port: int) -> SshAccess:
    """Make a host key, a client key and sshd's configuration in ``folder`` (on tmpfs); raises HostError."""
    inside, token = folder / "machine", f"bakeboot-{secrets.token_hex(8)}"
    inside.mkdir(parents=True, mode=0o700)
    for file in (inside / "host_key", folder / "client_key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bakeboot", "-f", str(file)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
        if done.returncode:
            raise HostError(f"ssh-keygen: {done.stderr.strip()}", where=str(file), hint="bakeboot doctor")
    (folder / "client_key.pub").rename(inside / "authorized_keys")
    lines = (
        f"ListenAddress {address}:{port}",
        f"HostKey {SSH_MOUNT}/host_key",
        f"AuthorizedKeysFile {SSH_MOUNT}/authorized_keys",
        "PermitRootLogin prohibit-password",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "StrictModes yes",
        "UsePAM no",
        "UseDNS no",
        "PidFile none",
        "Subsystem sftp internal-sftp",
        f"VersionAddendum {token}",
        "MaxSessions 64",
        "MaxStartups 64",
    )
    (inside / "sshd_config").write_text("\n".join(lines) + "\n")
    return SshAccess(inside, folder / "client_key", (inside / "host_key.pub").read_text().strip(), port, token)


def wait_for_ssh(machine: Machine, access: SshAccess, timeout: float = 60.0) -> None:
    """Until the machine's own sshd answers on this host's loopback: long before its boot is done.

    Its banner holds a word of this run's: another program that took the port meanwhile is not talked to.
    Raises MachineError after ``timeout`` seconds, or when the machine ended.
    """
    deadline = time.monotonic() + timeout
    while machine.poll() is None and time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", access.port), timeout=1) as probe:
                if access.token.encode() in probe.recv(256):
                    return
        except OSError:
            pass  # it does not listen yet
        time.sleep(0.01)
    what = f"its sshd does not answer; its last lines:\n{machine.last_words()}"
    raise MachineError(what, where=machine.spec.name)


@contextmanager
def build_machine(
    home: Home, run: Run, layers: tuple[Path, ...], settings: HostSettings, *, stage: str
) -> Iterator[tuple[Machine, SshAccess]]:
    """A build machine over ``layers`` for the length of the block; stopped clean after it.

    Its upper folder (what the build added) is the machine's to hand over until it is discarded.
    """
    access = make_ssh_access(run.runtime / stage / "ssh", address="127.0.0.1", port=free_port())
    caches = []
    for name in ("pip", "npm"):
        (home.cache / name).mkdir(exist_ok=True)
        caches.append(Bind(home.cache / name, f"{BUILD_MOUNT}/cache/{name}", read_only=False))
    spec = MachineSpec(
        name=f"{run.name}-{stage}",
        layers=layers,
        hostname="build",
        network="host",
        binds=(access.bind, settings.write(run.runtime / stage / "host"), *settings.binds, *caches),
        units=access.units,
        wants=(SSH_UNIT,),
        masks=("ssh.service", "ssh.socket"),
        sync=False,
    )
    machine = start_machine(spec, home.root, home.runtime)
    try:
        yield machine, access
    finally:
        machine.stop()
        machine.discard()
