"""The floor of a bake, in three parts: the work itself by a shell script, Packer doing nothing, a machine that boots
and halts. A toolkit that drives Packer over SSH on a machine of its own pays all three.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bake.build_machine import SshAccess, build_machine
from bake.home import Home
from bake.host import host_settings
from bake.images import Image, ImageStore
from region import cgroups

YARDSTICK = Path(__file__).with_name("yardstick.sh")

NULL = """\
variable "port" { type = number }
variable "key" { type = string }
source "null" "machine" {
  communicator         = "ssh"
  ssh_host             = "127.0.0.1"
  ssh_port             = var.port
  ssh_username         = "root"
  ssh_private_key_file = var.key
}
build { sources = ["source.null.machine"] }
"""

HALT = """\
[Unit]
DefaultDependencies=no
After=multi-user.target
[Service]
Type=oneshot
ExecStart={before}/bin/systemctl --no-block poweroff
"""

STAMP = "/bin/sh -c 'systemctl show -P ActiveEnterTimestampMonotonic multi-user.target >/stamps/target; \
systemctl show -P UserspaceTimestampMonotonic >/stamps/userspace'\nExecStart="


@dataclass(frozen=True)
class Parts:
    """The image's folders without the code of one repo, and where that repo's dependencies are in them."""

    layers: tuple[Path, ...]
    deps: str


def parts_of(images: ImageStore, image: Image, repo: str) -> Parts:
    layers = [images.layers.get(identifier) for identifier in image.layers]
    deps = next(layer.root for layer in layers if (layer.kind, layer.name) == ("deps", repo))
    folder = next((deps / "srv/bakeboot" / repo).iterdir())
    others = tuple(layer.root for layer in layers if (layer.kind, layer.name) != ("repo", repo))
    return Parts(others, f"{folder.name}/venv")


def yardstick(work: Path, url: Path, parts: Parts) -> None:
    """The work of a one-repo change. `work` keeps its mirror from run to run; layers of earlier runs are removed."""
    shutil.rmtree(work / "layers", ignore_errors=True)
    work.mkdir(exist_ok=True)
    subprocess.run([YARDSTICK, work, url, parts.deps, *parts.layers], check=True)


@contextlib.contextmanager
def sshd_machine(home: Home, layers: Sequence[Path]) -> Iterator[SshAccess]:
    """A machine whose sshd Packer can reach, for the length of the block."""
    settings = host_settings("bookworm")
    with home.run("bench") as run, build_machine(home, run, tuple(layers), settings, stage="null") as (machine, access):
        machine.wait_booted(60)
        yield access


def packer_null(work: Path, access: SshAccess) -> None:
    """`packer build` over SSH, with nothing to do."""
    work.mkdir(exist_ok=True)
    (work / "null.pkr.hcl").write_text(NULL)
    variables = [f"-var=port={access.port}", f"-var=key={access.key}"]
    quiet: Mapping[str, str] = {"CHECKPOINT_DISABLE": "1", "PACKER_CONFIG_DIR": str(work), "HOME": str(work)}
    command = ["packer", "build", *variables, "null.pkr.hcl"]
    subprocess.run(command, check=True, cwd=work, env={**os.environ, **quiet}, stdout=subprocess.DEVNULL)


def boot_and_halt(work: Path, layers: Sequence[Path], *, stamp: bool = False) -> dict[str, int]:
    """A plain systemd-nspawn over an overlay of `layers`, to multi-user.target and off again.

    With `stamp` it notes when (µs of the monotonic clock): `userspace` and `target`.
    """
    shutil.rmtree(work, ignore_errors=True)
    for name in ("upper", "work", "root", "units/multi-user.target.wants", "stamps"):
        (work / name).mkdir(parents=True)
    (work / "units/halt.service").write_text(HALT.format(before=STAMP if stamp else ""))
    (work / "units/multi-user.target.wants/halt.service").symlink_to("../halt.service")
    lower = ":".join(str(layer) for layer in reversed(layers))
    options = f"lowerdir={lower},upperdir={work}/upper,workdir={work}/work"
    groups = cgroups.discover(f"bench-boot-{os.getpid()}")
    cgroups.create(groups, memory=None, cpus=None)
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, work / "root"], check=True)
    try:
        command = [
            *("systemd-nspawn", "--quiet", "--boot", f"--directory={work}/root", "--register=no", "--keep-unit"),
            *("--console=pipe", "--private-network", "--link-journal=no", "--machine=bench-bare"),
            *(f"--bind-ro={work}/units:/run/systemd/system", f"--bind={work}/stamps:/stamps"),
        ]
        with (work / "console").open("w") as console:
            joined = cgroups.joining(groups, command, visiting=False)
            subprocess.run(joined, check=True, stdin=subprocess.DEVNULL, stdout=console, stderr=console, timeout=120)
    finally:
        subprocess.run(["umount", work / "root"], check=True)
        cgroups.remove([group.path for group in groups])
    return {file.name: int(file.read_text()) for file in (work / "stamps").iterdir()}
