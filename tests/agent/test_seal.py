"""agent/seal.py: what a root file system loses before it is an image, and what is said of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.errors import MachineError
from agent.seal import leftovers, main, seal

PASSWD = """\
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
postgres:x:100:100::/var/lib/postgresql:/bin/bash
odd:x:101:101::/home/../etc:/bin/sh
bakeboot-build:x:102:102::/nonexistent:/bin/sh
"""


def write(root: Path, *names: str, text: str = "something\n") -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with nothing to seal."""
    write(tmp_path, "etc/passwd", text=PASSWD)
    write(tmp_path, "etc/shadow", text="root:*:19000:0:99999:7:::\npostgres:!:19000::::::\n")
    write(tmp_path, "etc/machine-id", text="")
    write(
        tmp_path,
        "etc/apt/apt.conf.d/01autoremove",
        text='APT::NeverAutoRemove "linux";\n// Acquire::http::Proxy "x";\n',
    )
    write(tmp_path, "srv/bakeboot/web/" + "c" * 40 + "/.bakeboot/checkout.json", "srv/bakeboot/web/.gitkeep")
    write(tmp_path, "etc/bakeboot/image.json", "var/lib/dpkg/status", "home/ada/work.txt", "root/notes.txt")
    for directory in (
        "var/log/apt",
        "var/lib/bakeboot/data",
        "var/lib/apt/lists/partial",
        "var/cache/apt/archives/partial",
    ):
        (tmp_path / directory).mkdir(parents=True)
    return tmp_path


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def test_a_sealed_root_is_left_alone(root: Path) -> None:
    before = files(root)
    assert leftovers(root) == []
    assert seal(root) == []
    assert files(root) == before


GONE = [
    "var/lib/dbus/machine-id",
    "etc/ssh/ssh_host_ed25519_key",
    "etc/ssh/ssh_host_ed25519_key.pub",
    "root/.ssh/authorized_keys",
    "home/ada/.ssh/id_ed25519",
    "var/lib/postgresql/.psql_history",
    "root/.bash_history",
    "root/.python_history",
    "root/.node_repl_history",
    "home/ada/.lesshst",
    "home/ada/.viminfo",
    "home/ada/.wget-hsts",
    "root/.npmrc",
    "root/.netrc",
    "root/.pip/pip.conf",
    "root/.config/pip/pip.conf",
    "root/.aws/credentials",
    "root/.git-credentials",
    "root/.docker/config.json",
    "root/.cache/pip/http/x",
    "root/.npm/_cacache/x",
    "root/a/b/__pycache__/x.pyc",
    "etc/pip.conf",
    "etc/npmrc",
    "usr/etc/npmrc",
    "etc/hostname",
    "etc/resolv.conf",
    "etc/shadow-",
    "etc/passwd-",
    "etc/default/grub.dpkg-old",
    "etc/x.ucf-dist",
    "etc/apt/auth.conf",
    "etc/apt/auth.conf.d/x.conf",
    "var/lib/apt/lists/a_dists_b_InRelease",
    "var/cache/apt/archives/x.deb",
    "var/cache/apt/pkgcache.bin",
    "var/lib/dpkg/status-old",
    "var/lib/systemd/random-seed",
    "var/lib/systemd/credential.secret",
    "var/lib/systemd/timers/stamp-x.timer",
    "var/lib/bakeboot/i-0123/releases.json",
    "var/lib/bakeboot/data/db/PG_VERSION",
    "var/lib/bakeboot/dump",
    "var/lib/cloud/instance/x",
    "var/log/journal/0123/system.journal",
    "var/log/dpkg.log.1",
    "var/log/apt/term.log.2.gz",
    "tmp/script_12.sh",
    "var/tmp/bakeboot-build-x/home/x",
    "srv/bakeboot/web/.current.12",
    "opt/bakeboot/runtimes/.node-20.partial/bin/node",
    "opt/bakeboot/runtimes/node-20/etc/npmrc",
]


@pytest.mark.parametrize("name", GONE)
def test_what_belongs_to_one_machine_person_or_bake_goes(name: str, root: Path) -> None:
    write(root, name)
    assert leftovers(root)
    assert all(line.startswith("/") and ": " in line for line in leftovers(root))
    assert (root / name).exists()
    assert seal(root)
    assert not (root / name).exists()
    assert leftovers(root) == []


@pytest.mark.parametrize("name", ["var/log/dpkg.log", "var/log/wtmp", "var/log/apt/history.log", "etc/machine-id"])
def test_logs_and_the_machine_id_are_emptied_and_stay(name: str, root: Path) -> None:
    write(root, name)
    assert any(line.startswith(f"/{name}: ") for line in leftovers(root))
    assert seal(root) == [f"/{name} emptied"]
    assert (root / name).read_bytes() == b""
    assert leftovers(root) == []


def test_a_missing_machine_id_would_make_the_next_boot_the_first(root: Path) -> None:
    (root / "etc/machine-id").unlink()
    assert "counts as the first" in leftovers(root)[0]
    assert seal(root) == ["/etc/machine-id made, empty"]


def test_links_to_what_a_boot_makes_stay(root: Path) -> None:
    (root / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    (root / "var/lib/dbus").mkdir()
    (root / "var/lib/dbus/machine-id").symlink_to("/etc/machine-id")
    assert leftovers(root) == []


def test_no_symlink_leads_out_of_the_root(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    write(outside, ".bash_history", "log/x.log", "journal/x", ".ssh/id")
    (root / "home/eve").symlink_to(outside)
    (root / "tmp").symlink_to(outside)
    (root / "var/log/deep").symlink_to(outside)
    (root / "root/.cache").symlink_to(outside)
    before = files(outside)
    seal(root)
    assert files(outside) == before
    assert (outside / "log/x.log").read_text() == "something\n"
    assert not (root / "root/.cache").is_symlink()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("etc/shadow", "root:$y$j9T$x:19000::::::\n", "/etc/shadow: root has a password"),
        ("etc/shadow", "ada::19000::::::\n", "/etc/shadow: ada has an empty password"),
        ("etc/apt/sources.list.d/x.list", "deb https://me:secret@host/ x main\n", "a password in an apt source"),
    ],
)
def test_what_a_removal_cant_put_right_is_told(name: str, text: str, words: str, root: Path) -> None:
    write(root, name, text=text)
    seal(root)
    assert [line for line in leftovers(root) if words in line]


def test_a_proxy_of_the_bake_goes(root: Path) -> None:
    write(root, "etc/apt/apt.conf.d/99x", text='Acquire::https::Proxy "http://proxy:3128";\n')
    assert leftovers(root) == ["/etc/apt/apt.conf.d/99x: a proxy of the bake"]
    assert seal(root) == ["/etc/apt/apt.conf.d/99x removed"]


def test_the_command_seals_or_checks(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(root, "root/.bash_history")
    assert main(["--root", str(root), "--check"]) == 13
    assert capsys.readouterr().err == "left: /root/.bash_history: a history\n"
    assert main(["--root", str(root)]) == 0
    assert capsys.readouterr().out == "/root/.bash_history removed\n"
    assert main(["--root", str(root), "--check"]) == 0


@pytest.mark.parametrize("more", [[], ["--check"]])
def test_a_root_that_is_none_is_told(tmp_path: Path, more: list[str]) -> None:
    with pytest.raises(MachineError, match="no such directory"):
        main(["--root", str(tmp_path / "none"), *more])


def test_a_machine_of_somebody_else_is_not_sealed(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="was not made by bakeboot"):
        main(["--root", "/"], made_by_us=tmp_path / "none")
