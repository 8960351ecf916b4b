"""A machine's command line, and the files that it finds before its PID 1 starts."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from region import nspawn
from region.errors import RegionError
from region.nspawn import Bind, MachineSpec


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "etc").mkdir(parents=True)
    for name in ("hosts", "hostname"):
        (tmp_path / "root" / "etc" / name).write_text("from the image\n")
    return tmp_path / "root"


@pytest.fixture
def stage_at(tmp_path: Path) -> Path:
    (tmp_path / "stage").mkdir()
    return tmp_path / "stage"


def staged(spec: MachineSpec, at: Path, root: Path) -> dict[str, Path]:
    return {bind.target: bind.source for bind in nspawn.stage(spec, at, root, "10.77.0.10")}


def test_names_are_bound_over_the_images_own_and_nothing_is_written_into_it(root: Path, stage_at: Path) -> None:
    binds = staged(MachineSpec("web", (), hostname="web.local"), stage_at, root)
    assert binds["/etc/hostname"].read_text() == "web.local\n"
    assert "10.77.0.10\tweb.local\n" in binds["/etc/hosts"].read_text()
    assert "/etc/resolv.conf" not in binds  # the image has none: nothing to hide, and nspawn would have to make it
    assert (root / "etc" / "hosts").read_text() == "from the image\n"


def test_an_isolated_machine_has_no_name_servers(root: Path, stage_at: Path) -> None:
    (root / "etc" / "resolv.conf").write_text("nameserver 192.0.2.1\n")
    assert staged(MachineSpec("web", ()), stage_at, root)["/etc/resolv.conf"].read_text() == ""


def test_a_build_machine_has_the_hosts(root: Path, stage_at: Path) -> None:
    binds = staged(MachineSpec("build", (), network="host"), stage_at, root)
    assert binds["/etc/resolv.conf"] == Path("/etc/resolv.conf").resolve()


def test_files_are_roots_alone_and_their_directory_is_what_is_bound(root: Path, stage_at: Path) -> None:
    files = {
        "/run/bakeboot/config.d/web.env": b"A=1\n",
        "/run/bakeboot/config.d/deep/x": b"",
        "/run/flag": b"",
    }
    binds = staged(MachineSpec("web", (), files=files), stage_at, root)
    assert {"/run/bakeboot/config.d", "/run/flag"} <= binds.keys()
    assert "/run/bakeboot/config.d/deep" not in binds
    directory = binds["/run/bakeboot/config.d"]
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "web.env").stat().st_mode) == 0o600
    assert (directory / "web.env").read_bytes() == b"A=1\n"


@pytest.mark.parametrize("path", ["/etc/passwd", "/run", "run/x", "/run/../etc/x", "/runner/x"])
def test_files_elsewhere_than_under_run_are_refused(root: Path, stage_at: Path, path: str) -> None:
    with pytest.raises(RegionError, match="under /run"):
        staged(MachineSpec("web", (), files={path: b""}), stage_at, root)


def test_units_are_laid_out_with_drop_ins_and_wants(root: Path, stage_at: Path) -> None:
    spec = MachineSpec(
        "web", (), units={"x.service": "[Service]\n", "ssh.service.d/port.conf": ""}, wants=("x.service", "a.target/y")
    )
    units = staged(spec, stage_at, root)["/run/systemd/system"]
    assert (units / "x.service").read_text() == "[Service]\n"
    assert (units / "ssh.service.d" / "port.conf").exists()
    assert str((units / "multi-user.target.wants" / "x.service").readlink()) == "../x.service"
    assert str((units / "a.target.wants" / "y").readlink()) == "../y"


def test_without_units_the_directory_is_the_machines_own(root: Path, stage_at: Path) -> None:
    assert "/run/systemd/system" not in staged(MachineSpec("web", ()), stage_at, root)


def test_the_command_line() -> None:
    spec = MachineSpec("web", (), masks=("ssh.service",), sync=False)
    binds = [Bind(Path("/a:b\\c"), "/run/x"), Bind(Path("/d"), "/run/y", read_only=False)]
    argv = nspawn.command(spec, "web-1", Path("/m/root"), Path("/run/netns/web-1"), binds)
    assert {"--register=no", "--keep-unit", "--notify-ready=yes", "--suppress-sync=yes"} <= set(argv)
    assert "--network-namespace-path=/run/netns/web-1" in argv
    assert "--bind-ro=/a\\:b\\\\c:/run/x" in argv
    assert "--bind=/d:/run/y" in argv
    assert argv[-1] == "systemd.mask=ssh.service"


def test_a_machine_on_the_hosts_network_has_no_namespace() -> None:
    argv = nspawn.command(MachineSpec("build", (), network="host"), "build-1", Path("/m/root"), None, [])
    assert not [word for word in argv if "network" in word]
