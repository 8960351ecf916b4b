"""How git is run: what it may know, what it may not do, how it ends, and what its failures are called."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from agent.errors import HostError, SourceError
from bake.git import Git, GitFailed, command, reading_environment, remote_environment
from bake.git_errors import explain, said
from tests.bake.repositories import ENVIRONMENT, Repository, mirrors, repo

USERS = {
    "PATH": "/usr/bin",
    "HOME": "/home/mira",
    "SSH_AUTH_SOCK": "/run/agent",
    "https_proxy": "http://proxy.example:3128",
    "SSH_ASKPASS": "/usr/bin/ask",
    "GIT_SSH_COMMAND": "ssh -i key",
    "GIT_ASKPASS": "/usr/bin/token",
    "GIT_CONFIG_GLOBAL": "/home/mira/.gitconfig",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "credential.helper",
    "GIT_CONFIG_VALUE_0": "store",
    "GIT_DIR": "/elsewhere",
    "GIT_TRACE_CURL": "1",
    "GIT_ALLOW_PROTOCOL": "ext",
    "GIT_CONFIG_PARAMETERS": "'core.pager'='x'",
    "GIT_EXEC_PATH": "/tmp",
    "GIT_PROXY_COMMAND": "x",
    "LC_ALL": "de_DE.UTF-8",
}


def test_a_fetch_keeps_the_users_own_credentials_and_ssh_and_nothing_else_of_gits() -> None:
    environment = remote_environment(USERS)
    kept = {"PATH", "HOME", "SSH_AUTH_SOCK", "https_proxy", "GIT_SSH_COMMAND", "GIT_ASKPASS", "GIT_CONFIG_GLOBAL"}
    kept |= {"GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_0"}
    assert {name for name in USERS if environment.get(name) == USERS[name]} == kept
    assert environment["GIT_ALLOW_PROTOCOL"] == "https:ssh:file"
    assert environment["GIT_TERMINAL_PROMPT"] == "0"
    assert environment["LC_ALL"] == "C"
    assert not {"GIT_DIR", "GIT_TRACE_CURL", "GIT_CONFIG_PARAMETERS", "GIT_EXEC_PATH", "SSH_ASKPASS"} & set(environment)


def test_looking_into_a_mirror_knows_no_configuration_but_the_mirrors() -> None:
    environment = reading_environment(USERS)
    assert environment["GIT_CONFIG_GLOBAL"] == os.devnull
    assert environment["GIT_CONFIG_NOSYSTEM"] == "1"
    assert not [name for name in environment if name.startswith(("GIT_CONFIG_KEY", "GIT_CONFIG_COUNT", "GIT_SSH"))]


def test_hooks_and_monitors_are_off_in_every_command() -> None:
    arguments = command(["fetch"], git_dir=Path("/m.git"))
    assert arguments[:5] == ["setpriv", "--pdeathsig", "KILL", "git", "--no-pager"]
    assert {"core.hooksPath=/dev/null", "core.fsmonitor=false"} <= set(arguments)
    assert arguments[-2:] == ["--git-dir=/m.git", "fetch"]


@pytest.mark.subprocess
def test_the_users_configuration_counts_in_a_fetch(tmp_path: Path) -> None:
    origin = Repository(tmp_path / "origin", {"a": "1"})
    settings = tmp_path / "gitconfig"
    settings.write_text(f'[url "{tmp_path}/"]\n\tinsteadOf = https://git.example.org/\n')
    environment = {**ENVIRONMENT, "GIT_CONFIG_GLOBAL": str(settings)}
    mirror = mirrors(tmp_path, environment).update([repo("https://git.example.org/origin")])["storefront"]
    assert mirror.resolve("main") == origin.git("rev-parse", "main")


@pytest.mark.subprocess
def test_a_url_that_the_configuration_turns_into_a_forbidden_one_is_refused(tmp_path: Path) -> None:
    settings = tmp_path / "gitconfig"
    settings.write_text('[url "ext::touch "]\n\tinsteadOf = https://x/\n[protocol "ext"]\n\tallow = always\n')
    environment = {**ENVIRONMENT, "GIT_CONFIG_GLOBAL": str(settings)}
    with pytest.raises(SourceError, match="neither https, ssh nor a file"):
        mirrors(tmp_path, environment).update([repo(f"https://x/{tmp_path}/marker")])
    assert not (tmp_path / "marker").exists()


@pytest.mark.subprocess
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_repository_of_another_user_is_told(tmp_path: Path) -> None:
    origin = Repository(tmp_path / "origin", {"a": "1"})
    for path in (origin.path, *origin.path.rglob("*")):
        os.chown(path, 12345, 12345)
    with pytest.raises(SourceError, match="belongs to another user") as told:
        mirrors(tmp_path).update([repo(origin.path)])
    assert told.value.hint == f"git config --global --add safe.directory {origin.path}"


def fake_git(directory: Path, script: str) -> dict[str, str]:
    """An environment whose git is this shell script."""
    directory.mkdir()
    (directory / "git").write_text(f"#!/bin/sh\n{script}\n")
    (directory / "git").chmod(0o755)
    return {**ENVIRONMENT, "PATH": f"{directory}:{ENVIRONMENT['PATH']}"}


@pytest.mark.subprocess
def test_a_fetch_has_an_end(tmp_path: Path) -> None:
    git = Git(fake_git(tmp_path / "bin", "sleep 60 & wait"), remote_timeout=0.2)
    with pytest.raises(GitFailed, match=r"no end after 0\.2 seconds"):
        git.remote(None, "fetch")


@pytest.mark.subprocess
@pytest.mark.sleep
def test_stop_ends_what_runs_and_lets_nothing_start(tmp_path: Path) -> None:
    git = Git(fake_git(tmp_path / "bin", f"echo $$ > {tmp_path}/pid; sleep 60 & wait"))
    failures: list[GitFailed] = []

    def fetch() -> None:
        with pytest.raises(GitFailed) as failed:
            git.remote(None, "fetch")
        failures.append(failed.value)

    thread = threading.Thread(target=fetch)
    thread.start()
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        time.sleep(0.01)
    git.stop()
    thread.join(5)
    assert [failed.status for failed in failures] == [-9]
    with pytest.raises(GitFailed, match="stopped"):
        git.remote(None, "fetch")


@pytest.mark.subprocess
def test_nothing_can_ask_a_person(tmp_path: Path) -> None:
    git = Git(fake_git(tmp_path / "bin", "tty; cat; echo ok >/dev/tty && echo terminal; echo end"))
    assert git.remote(None, "fetch") == b"not a tty\nend\n"


@pytest.mark.subprocess
def test_a_machine_without_git_is_told(tmp_path: Path) -> None:
    with pytest.raises(HostError) as told:
        Git({"PATH": str(tmp_path)}).remote(None, "version")
    assert told.value.hint == "apt-get install git util-linux"


URL = "https://git.example.org/acme/shop.git"


@pytest.mark.parametrize(
    ("location", "message", "meaning", "hint"),
    [
        (
            URL,
            "fatal: unable to access 'x': Could not resolve host: git.example.org",
            "its host is not known",
            "git ls",
        ),
        (
            "git@git.example.org:acme/shop.git",
            "ssh: Could not resolve hostname git.example.org: Name or service not known",
            "its host is not known",
            "git ls-remote git@git",
        ),
        (
            "git@git.example.org:acme/shop.git",
            "git@git.example.org: Permission denied (publickey).\nfatal: Could not read from remote repository.",
            "ssh has no key",
            "ssh-add -l    shows the keys at hand; then: ssh -T git@git.example.org",
        ),
        (
            "ssh://git@git.example.org:2222/acme/shop.git",
            "Host key verification failed.\nfatal: Could not read from remote repository.",
            "ssh does not know the host's key",
            "ssh git@git.example.org    once",
        ),
        (
            URL,
            "fatal: could not read Username for 'x': terminal prompts disabled",
            "it wants credentials",
            "git ls-remote",
        ),
        (URL, "fatal: unable to access 'x': The requested URL returned error: 403", "it wants credentials", "git ls"),
        (
            URL,
            f"remote: Not Found\nfatal: repository '{URL}/' not found",
            "there is no such repository",
            "git ls-remote",
        ),
        (
            "/srv/x",
            "fatal: '/srv/x' does not appear to be a git repository",
            "there is no git repository",
            "git init /srv",
        ),
        (URL, "fatal: unable to access 'x': SSL certificate problem: self-signed", "its certificate", "git ls-remote"),
        (URL, "fatal: unable to access 'x': Failed to connect to h port 443", "it does not answer", "git ls-remote"),
        (URL, "no end after 1800 seconds", "it does not answer", "git ls-remote"),
        ("/srv/x", "fatal: write error: No space left on device", "the disk is full", "df -h"),
        (URL, "fatal: the moon is in the wrong phase", "fatal: the moon is in the wrong phase", "git ls-remote"),
        (URL, "", "git failed without a word", "git ls-remote"),
    ],
)
def test_failures_are_told_by_what_to_do(location: str, message: str, meaning: str, hint: str) -> None:
    error = explain(location, GitFailed(128, message), where="shop")
    assert error.where == "shop"
    assert error.what.startswith(f"{location}: {meaning}")
    assert error.hint.startswith(hint)


def test_what_git_says_is_printed_without_credentials_and_control_characters() -> None:
    message = "remote: hello\nfatal: unable to read 'https://mira:s3cret@h/x'\x1b[2J" + "x" * 999
    told = said(GitFailed(128, message))
    assert told.startswith("fatal: unable to read 'https://***@h/x'\\u001b[2J")
    assert len(told) < 400
