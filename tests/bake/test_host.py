"""The baking host's package settings: what of them a build machine gets, out of given texts."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from bake.host import INDEXES, HostSettings, local_folders, npm_config, pip_config, relocate
from bake.host import settings_from as gather
from bake.host_apt import MOUNT, apt_secrets, apt_source_files, trust_line, with_keyrings
from region.machine import Bind


def settings(environ: Mapping[str, str] | None = None, *, pip: str = "", npm: str = "", ca: str = "") -> HostSettings:
    return gather(
        environ or {}, ['Acquire::http::Proxy "http://proxy:3128";'], {"debian.list": "deb x\n"}, pip, npm, ca
    )


# --- apt --------------------------------------------------------------------------------------------------------------

DEB822 = """\
# the base
Types: deb
URIs: https://mirror.example.org/debian
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: https://mirror.example.org/other
Suites: nodistro
Components: main

Enabled: no
Types: deb
URIs: https://mirror.example.org/off
Suites: bookworm

Types: deb-src
URIs: https://mirror.example.org/sources
Suites: bookworm
"""


@pytest.mark.parametrize(
    ("name", "text", "kept"),
    [
        ("sources.list", "deb https://m.example.org/debian bookworm main\n", ["bookworm main"]),
        ("sources.list", "deb https://m.example.org/debian bookworm-security main\n", ["bookworm-security"]),
        ("sources.list.d/a.list", "deb [signed-by=/k.gpg arch=amd64] https://m bookworm/updates main\n", ["/updates"]),
        ("sources.list", "deb-src https://m.example.org/debian bookworm main\n", []),
        ("sources.list", "deb https://m.example.org/debian trixie main\n# deb https://m bookworm main\n", []),
        ("sources.list", "deb https://m.example.org/debian bookwormish main\n", []),
        ("sources.list", "deb\n\ndeb https://m\n", []),
        ("sources.list.d/a.sources", DEB822, ["bookworm bookworm-updates"]),
        ("sources.list.d/a.sources", "Types: deb\nURIs: https://m\nSuites: trixie\n", []),
        ("sources.list.d/a.list.save", "deb https://m.example.org/debian bookworm main\n", []),
        ("sources.list.d/empty.list", "", []),
    ],
)
def test_only_sources_that_serve_the_suite_come_in(tmp_path: Path, name: str, text: str, kept: list[str]) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / name).write_text(text)
    found = apt_source_files("bookworm", tmp_path)
    assert [file for file, _ in found] == ([Path(name).name] if kept else [])
    for part in kept:
        assert part in found[0][1]
    assert not any(word in content for _, content in found for word in ("other", "/off", "sources\n"))


def test_a_host_without_sources_has_none(tmp_path: Path) -> None:
    assert apt_source_files("bookworm", tmp_path) == []


def test_apt_is_told_the_hosts_settings_and_to_keep_no_trace() -> None:
    lines = settings().files["apt/apt.conf"].splitlines()
    assert lines[0] == 'Acquire::http::Proxy "http://proxy:3128";'
    assert f'Dir::Etc::sourceparts "{MOUNT}/apt/sources.list.d";' in lines
    assert [line for line in lines if line.startswith(("Dir::State", "Dir::Cache")) and "/run/" not in line] == []
    assert settings().files["apt/sources.list.d/debian.list"] == "deb x\n"
    assert settings().environment["APT_CONFIG"] == f"{MOUNT}/apt/apt.conf"


# --- pip, npm, the environment ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listed", "config"),
    [
        ("", ""),
        (
            "global.index-url='https://me:pw@pip.example.org/simple'\n",
            "index-url = https://me:pw@pip.example.org/simple",
        ),
        ("install.find-links='/opt/wheels\\n/opt/more'\n", "find-links = /opt/wheels\n    /opt/more"),
        ("user.timeout='60'\n", "timeout = 60"),
        ("global.cert='/etc/ssl/x'\nglobal.cache-dir='/c'\nglobal.target='/t'\nuser.prefix='/p'\n", ""),
        (":env:.index-url='https://x.example.org'\nWARNING: nothing\n", ""),
    ],
)
def test_pips_settings_become_one_file(listed: str, config: str) -> None:
    assert pip_config(listed) == (f"[global]\n{config}\n" if config else "")


def test_npms_settings_become_one_file_without_the_hosts_own_paths() -> None:
    own = ["cafile=/etc/ssl/x", "  prefix = /usr", "cache=/c", "globalconfig=/g", "userconfig=/u", "nodedir=/n"]
    wanted = ["registry=https://npm.example.org/", "//npm.example.org/:_authToken=secret", "strict-ssl=true"]
    assert npm_config(["\n".join([*own, "init-author-name=x", wanted[0]]), "\n".join(wanted[1:])]) == (
        "\n".join([*wanted, ""])
    )
    assert npm_config([]) == npm_config(["cache=/c\n"]) == ""


@pytest.mark.parametrize(
    ("name", "passed"),
    [
        ("https_proxy", True),
        ("HTTP_PROXY", True),
        ("no_proxy", True),
        ("PIP_INDEX_URL", True),
        ("pip_timeout", True),
        ("npm_config_registry", True),
        ("NPM_CONFIG_REGISTRY", True),
        ("PIP_TARGET", False),
        ("PIP_CONFIG_FILE", False),
        ("npm_config_cache", False),
        ("NPM_CONFIG_USERCONFIG", False),
        ("AWS_SECRET_ACCESS_KEY", False),
        ("GITHUB_TOKEN", False),
        ("SSH_AUTH_SOCK", False),
        ("PATH", False),
        ("MY_PIP_THING", False),
    ],
)
def test_which_variables_are_passed_on(name: str, passed: bool) -> None:
    assert (settings({name: "value"}).environment.get(name) == "value") is passed


def test_the_files_that_are_there_are_named_in_the_environment() -> None:
    assert set(settings().environment) == {"APT_CONFIG"}
    whole = settings(pip="[global]\n", npm="x=y\n", ca="-----BEGIN-----")
    assert {"pip.conf", "npmrc", "ca.crt"} <= set(whole.files)
    for name, file in (
        ("PIP_CONFIG_FILE", "pip.conf"),
        ("NPM_CONFIG_USERCONFIG", "npmrc"),
        ("NODE_EXTRA_CA_CERTS", "ca.crt"),
    ):
        assert whole.environment[name] == f"{MOUNT}/{file}"


def test_no_credential_is_in_the_repr() -> None:
    whole = settings({"PIP_INDEX_URL": "https://me:hunter2@x"}, pip="[global]\nindex-url = https://me:hunter2@y\n")
    assert "hunter2" not in repr(whole)
    assert "hunter2" in whole.shell()


def test_the_environment_is_quoted_for_the_shell() -> None:
    whole = settings({"PIP_INDEX_URL": "https://x/$(reboot) 'a'"})
    assert "export PIP_INDEX_URL='https://x/$(reboot) '\"'\"'a'\"'\"''\n" in whole.shell()


def test_the_settings_are_written_where_the_mount_shows_them(tmp_path: Path) -> None:
    whole = settings(pip="[global]\n")
    bind = whole.write(tmp_path / "host")
    assert bind == Bind(tmp_path / "host", MOUNT)
    assert (tmp_path / "host/apt/sources.list.d/debian.list").read_text() == "deb x\n"
    assert (tmp_path / "host/environment").read_text() == whole.shell()
    assert stat.S_ISDIR((tmp_path / "host").stat().st_mode)


# --- local indexes ----------------------------------------------------------------------------------------------------


@pytest.fixture
def index(tmp_path: Path) -> Path:
    for name in ("pypi/simple", "wheels", "my wheels"):
        (tmp_path / "opt" / name).mkdir(parents=True)
    return tmp_path / "opt"


def test_folders_that_settings_point_at_come_in(index: Path) -> None:
    text = f"find-links = {index}/wheels\nindex-url = file://{index}/pypi/simple https://x/opt {index}/nowhere / /etc"
    assert local_folders(text) == [index / "pypi", index / "wheels"]
    assert local_folders(f"{index}/wheels {index}") == [index]
    assert local_folders(f"file://{index}/my%20wheels") == [index]
    assert local_folders("/etc/ssl /run file:///etc/ssl relative/x --flag") == []


@pytest.mark.parametrize(
    ("text", "moved"),
    [
        ("{}/wheels", f"{INDEXES}/0/wheels"),
        ("{}/wheels/", f"{INDEXES}/0/wheels/"),
        ("file://{}/pypi/simple", f"file://{INDEXES}/0/pypi/simple"),
        ("file://{}/my%20wheels", f"file://{INDEXES}/0/my%20wheels"),
        ("a = {}\n    {}/b", f"a = {INDEXES}/0\n    {INDEXES}/0/b"),
        ("https://mirror.example.org{}/wheels", None),
        ("{}-more/wheels", None),
        ("/elsewhere", None),
    ],
)
def test_paths_lead_to_where_the_folder_is_mounted(text: str, moved: str | None) -> None:
    text = text.replace("{}", "/srv/opt")
    assert relocate(text, [Bind(Path("/srv/opt"), f"{INDEXES}/0")]) == (moved or text)


def test_a_local_index_is_bound_and_the_settings_lead_there(index: Path) -> None:
    whole = settings({"PIP_FIND_LINKS": f"{index}/wheels"}, pip=f"[global]\nindex-url = file://{index}/pypi/simple\n")
    assert whole.binds == (Bind(index / "pypi", f"{INDEXES}/0"), Bind(index / "wheels", f"{INDEXES}/1"))
    assert whole.environment["PIP_FIND_LINKS"] == f"{INDEXES}/1"
    assert whole.files["pip.conf"] == f"[global]\nindex-url = file://{INDEXES}/0/simple\n"


# --- keyrings and passwords -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "brought"),
    [
        ("Types: deb\nSigned-By: /usr/share/keyrings/a.gpg\n", f"Types: deb\nSigned-By: {MOUNT}/apt/keyrings/a.gpg\n"),
        (
            "deb [arch=amd64 signed-by=/k/a.gpg] x y z\n",
            f"deb [arch=amd64 signed-by={MOUNT}/apt/keyrings/a.gpg] x y z\n",
        ),
        ("deb [signed-by=/k/gone.gpg] x y z\n", "deb [signed-by=/k/gone.gpg] x y z\n"),
        ("Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n", "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n"),
    ],
)
def test_keyrings_that_a_source_names_come_along(text: str, brought: str) -> None:
    sources, keyrings = with_keyrings({"a": text}, lambda path: None if "gone" in path else b"key of " + path.encode())
    assert sources == {"a": brought}
    assert bool(keyrings) == (brought != text)


def test_passwords_and_trusted_keys_of_apt_come_along(tmp_path: Path) -> None:
    (tmp_path / "auth.conf.d").mkdir()
    (tmp_path / "trusted.gpg.d").mkdir()
    assert apt_secrets(tmp_path) == {}
    assert trust_line({}) == ""
    (tmp_path / "auth.conf.d/mirror.conf").write_bytes(b"machine mirror login ci password x")
    (tmp_path / "trusted.gpg").write_bytes(b"\x99key")
    found = apt_secrets(tmp_path)
    assert found == {
        "apt/auth.conf.d/mirror.conf": b"machine mirror login ci password x",
        "apt/trusted.gpg.d/00-host.gpg": b"\x99key",
    }
    assert "trustedparts" in trust_line(found)
