"""One machine's files and command line for systemd-nspawn. Words, and the staging of what PID 1 finds under /run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from region.errors import RegionError
from region.faults import Faults
from region.metadata import InstanceMetadata


@dataclass(frozen=True)
class Bind:
    """A file or directory of this host that the machine sees at `target`.

    A target that its layers lack is made by nspawn in the machine's upper directory, and stays there as an empty file
    or directory: for a machine whose upper directory becomes a layer, choose a target under /run, which is a tmpfs.
    """

    source: Path
    target: str
    read_only: bool = True


@dataclass(frozen=True)
class MachineSpec:
    """A machine to start: `layers` lowest first, none of them written to.

    - `network`: "isolated" is an address in its site and no way out; "host" is this host's own network, for builds.
    - `units`: unit files and drop-ins ("NAME.service.d/x.conf"), read only; as all of /run/systemd/system they are
      outranked by a unit of the same name in the image's /etc.
    - `wants`: units pulled in at boot: "NAME" by multi-user.target, or "sysinit.target/NAME" by another target.
    - `masks`: units that can't start, whatever the image says about them.
    - `metadata`: what the metadata service tells it; None answers as EC2 with the service turned off (403).
    - `faults`: what is wrong with that service, from before its PID 1 starts.
    - `memory` in bytes, `cpus` in whole CPUs' worth of time.
    - `files`: absolute paths under /run to contents: there before PID 1 is, mode 0600, kept on a tmpfs on this host.
      Their directory (unless it is /run itself) is read only in the machine, and holds nothing else.
    - `nameserver`: whom it asks for names; "" is nobody, and every name it doesn't know fails at once.
    - `upper`: what an earlier machine wrote (`Machine.take_upper`), on the same file system as the machines. It is
      moved in at the start; a start that fails moves it back.
    - `environment`: what PID 1 gives to all its units, besides their own (systemd.setenv= of systemd(1)).
    - `sync=False` turns fsync and kin into nothing: for builds, which a crash of this host loses anyway.
    """

    name: str
    layers: tuple[Path, ...]
    hostname: str = ""
    network: Literal["isolated", "host"] = "isolated"
    binds: tuple[Bind, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict)
    wants: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()
    metadata: InstanceMetadata | None = None
    faults: Faults = field(default_factory=Faults)
    memory: int | None = None
    cpus: float | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    nameserver: str = ""
    upper: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    sync: bool = True


def stage(spec: MachineSpec, directory: Path, root: Path, address: str) -> list[Bind]:
    """Writes what the machine finds at its start below `directory` (a tmpfs), and returns the binds that show it.

    `root` is looked at, not written to: names, hosts and resolv.conf are bound over the image's own, never written into
    it, since its upper directory may become a layer.
    """
    binds = [*_identity(spec, directory, root, address), *_files(spec.files, directory / "files")]
    if spec.units or spec.wants:
        binds.append(_units(spec, directory / "units"))
    return [*binds, *spec.binds]


def _identity(spec: MachineSpec, directory: Path, root: Path, address: str) -> list[Bind]:
    hostname = spec.hostname or spec.name
    own = f"{address}\t{hostname}\n" if address else f"127.0.1.1\t{hostname}\n"
    hosts = f"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n{own}"
    texts = {"hostname": f"{hostname}\n", "hosts": hosts, "resolv.conf": _resolv_conf(spec)}
    binds = []
    for name, text in texts.items():
        source = directory / name
        source.write_text(text)
        source.chmod(0o644)
        if name == "resolv.conf" and spec.network == "host":
            source = Path("/etc/resolv.conf").resolve()
        # Without resolv.conf nothing is asked either (127.0.0.1 refuses at once), so only one that says whom to ask
        # must be seen. Where the image has none, an empty one then stays in the upper directory, which says as much.
        said = name == "resolv.conf" and (spec.network == "host" or spec.nameserver)
        if said or os.path.lexists(root / "etc" / name):
            binds.append(Bind(source, f"/etc/{name}"))
    return binds


def _resolv_conf(spec: MachineSpec) -> str:
    return f"nameserver {spec.nameserver}\n" if spec.nameserver else ""


def _files(files: Mapping[str, bytes], directory: Path) -> list[Bind]:
    parents: set[PurePosixPath] = set()
    for name, content in files.items():
        path = PurePosixPath(name)
        if not path.is_relative_to("/run") or path == PurePosixPath("/run") or ".." in path.parts:
            raise RegionError(f"expected a path under /run, got {name!r}", where="files")
        target = directory / path.relative_to("/run")
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        # A directory bound over /run itself would hide the rest of it: a file right there is bound alone.
        parents.add(path.parent if path.parent != PurePosixPath("/run") else path)
    tops = [path for path in sorted(parents) if not any(other in path.parents for other in parents)]
    return [Bind(directory / path.relative_to("/run"), str(path)) for path in tops]


def _units(spec: MachineSpec, directory: Path) -> Bind:
    directory.mkdir(mode=0o755)
    for name, text in spec.units.items():
        (directory / name).parent.mkdir(exist_ok=True, mode=0o755)  # "ssh.service.d/port.conf" is a drop-in
        (directory / name).write_text(text)
        (directory / name).chmod(0o644)
    for want in spec.wants:
        target, _, unit = want.rpartition("/")
        wants = directory / f"{target or 'multi-user.target'}.wants"
        wants.mkdir(exist_ok=True, mode=0o755)
        (wants / unit).symlink_to(f"../{unit}")
    return Bind(directory, "/run/systemd/system")


def command(spec: MachineSpec, name: str, root: Path, netns: Path | None, binds: list[Bind]) -> list[str]:
    """The nspawn command that boots `root` as the machine `name`. Pure.

    `--register=no --keep-unit`: neither machined nor a systemd on this host is needed; the group it is started in is
    its own. `--notify-ready=yes`: its PID 1 tells when the boot is done. Masks go on PID 1's command line, which
    systemd-debug-generator(8) reads: a mask in /run would be outranked by a unit file in the image's /etc.
    `--console=read-only`: PID 1 finds a console to tell its progress on (with `pipe` it says nothing); nobody can type
    there, so it needs no login prompt.
    """
    argv = [
        "systemd-nspawn",
        "--quiet",
        "--directory",
        str(root),
        "--boot",
        f"--machine={name}",
        "--settings=no",
        f"--hostname={spec.hostname or spec.name}",
        "--register=no",
        "--keep-unit",
        "--notify-ready=yes",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        "--console=read-only",
    ]
    if netns is not None:
        argv.append(f"--network-namespace-path={netns}")
    if not spec.sync:
        argv.append("--suppress-sync=yes")
    for bind in binds:
        option = "--bind-ro" if bind.read_only else "--bind"
        argv.append(f"{option}={_escaped(str(bind.source))}:{_escaped(bind.target)}")
    masks = [f"systemd.mask={unit}" for unit in ("console-getty.service", *spec.masks)]
    return [*argv, *masks, *(f"systemd.setenv={name}={value}" for name, value in spec.environment.items())]


def _escaped(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:")
