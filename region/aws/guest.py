"""What a machine finds at its start because it is an instance: where the API is, and whose key opens it. Pure.

All of it lies below /run, so that no image made of the machine holds it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_KEYS = "/run/bakeboot-key"
_HOST_KEYS = "/run/bakeboot-sshd"
SSH_UNIT = "bakeboot-key.service"

_UNIT = f"""\
[Unit]
Description=SSH for the key pair that this instance was launched with
DefaultDependencies=no
After=systemd-tmpfiles-setup.service local-fs.target
Conflicts=shutdown.target
Before=shutdown.target
ConditionPathExists=/usr/sbin/sshd
ConditionPathExists=!/usr/bin/cloud-init

[Service]
RuntimeDirectory=sshd {_HOST_KEYS.removeprefix("/run/")}
RuntimeDirectoryMode=0755
RuntimeDirectoryPreserve=restart
ExecStartPre=/bin/sh -c 'test -e {_HOST_KEYS}/host_key || ssh-keygen -q -t ed25519 -N "" -f {_HOST_KEYS}/host_key'
ExecStart=/usr/sbin/sshd -D -e -f {_KEYS}/sshd_config
Restart=on-failure
"""
"""An image with cloud-init does all this itself, by the metadata service, as AWS's own images do."""

_SSHD = f"""\
HostKey {_HOST_KEYS}/host_key
AuthorizedKeysFile {_KEYS}/authorized_keys .ssh/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PidFile none
Subsystem sftp internal-sftp
"""


@dataclass(frozen=True)
class Guest:
    """Fields of a `MachineSpec`."""

    environment: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    wants: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()


def guest(endpoint: str, aws_region: str, public_key: str | None) -> Guest:
    """`public_key` in OpenSSH's form; None starts no sshd.

    Where there is a key it is this sshd alone that listens: an image's own would take port 22 from it, and its host
    keys may be on the image.
    """
    environment = {"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": aws_region, "AWS_DEFAULT_REGION": aws_region}
    if public_key is None:
        return Guest(environment)
    pairs = " ".join(f"{name}={value}" for name, value in environment.items())
    files = {
        f"{_KEYS}/authorized_keys": f"{public_key.strip()}\n".encode(),
        f"{_KEYS}/sshd_config": f"{_SSHD}SetEnv {pairs}\n".encode(),
    }
    return Guest(environment, files, {SSH_UNIT: _UNIT}, (SSH_UNIT,), ("ssh.service", "ssh.socket"))
