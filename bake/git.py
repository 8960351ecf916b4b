"""Runs git so that nothing of a stack file or a repository becomes an option, a command or a prompt.

Two ways: `read` looks into a repository of ours and knows no configuration but that repository's; `remote` talks to
somebody else's, with the user's own credentials, proxies and ssh keys, which live in their git configuration and
~/.ssh. In both, hooks and file-system monitors are off, only https, ssh and files are spoken, and git can ask nobody
anything. A git that outlives its time-out, or us, is killed. Sources: git(1) "ENVIRONMENT VARIABLES", git-config(1).
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from agent.errors import HostError

READ_TIMEOUT = 120.0
REMOTE_TIMEOUT = 1800.0

_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "fetch.recurseSubmodules=false",
    "fetch.writeCommitGraph=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "http.lowSpeedLimit=1000",  # bytes a second, for a minute: the other side has gone
    "http.lowSpeedTime=60",
)
_PROTOCOLS = "https:ssh:file"
_USERS_OWN = re.compile(
    r"GIT_(SSH|SSH_COMMAND|SSH_VARIANT|ASKPASS|SSL_(CAINFO|CAPATH|CERT|KEY)|HTTP_PROXY_AUTHMETHOD"
    r"|CONFIG_(GLOBAL|SYSTEM|NOSYSTEM|COUNT|KEY_\d+|VALUE_\d+))"
)


def reading_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """For looking into our own mirrors: no configuration but the mirror's."""
    return {
        **_base_environment(environ),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_NO_REPLACE_OBJECTS": "1",
    }


def remote_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """For talking to other repositories: the user's configuration, credentials, proxies and ssh stay."""
    own = {name: value for name, value in environ.items() if _USERS_OWN.fullmatch(name)}
    return {**_base_environment(environ), **own}


def _base_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Everything but git's own variables, which could name hooks, other repositories, or traces that show secrets."""
    kept = {name: value for name, value in environ.items() if not name.startswith("GIT_") and name != "SSH_ASKPASS"}
    return {
        **kept,
        "LC_ALL": "C",  # messages are read by bake/git_errors.py
        "GIT_ALLOW_PROTOCOL": _PROTOCOLS,  # wins over any protocol.* setting
        "GIT_TERMINAL_PROMPT": "0",
        "SSH_ASKPASS_REQUIRE": "never",  # and a session of its own has no terminal for ssh to ask on
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_LITERAL_PATHSPECS": "1",
    }


def command(arguments: Sequence[str], *, git_dir: Path | None) -> list[str]:
    """The whole argument list. Whatever comes from outside stands behind `--end-of-options` in `arguments`."""
    settings = [part for setting in _SETTINGS for part in ("-c", setting)]
    place = [f"--git-dir={git_dir}"] if git_dir is not None else []
    # setpriv: git dies with the process that asked for it, however that ends, so its locks are never anybody's.
    return ["setpriv", "--pdeathsig", "KILL", "git", "--no-pager", *settings, *place, *arguments]


class GitFailed(Exception):
    """git's own no: its exit status and what it wrote to standard error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"git exited with {status}: {message}")
        self.status = status
        self.message = message


class Git:
    """Runs git, from several threads at once. `stop` ends them all."""

    def __init__(self, environ: Mapping[str, str], *, remote_timeout: float = REMOTE_TIMEOUT) -> None:
        self._reading = reading_environment(environ)
        self._remote = remote_environment(environ)
        self._remote_timeout = remote_timeout
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self.stopped = False

    def read(self, git_dir: Path, *arguments: str) -> bytes:
        """What git prints about a repository of ours. Raises GitFailed."""
        return self._run(command(arguments, git_dir=git_dir), self._reading, READ_TIMEOUT)

    def remote(self, git_dir: Path | None, *arguments: str) -> bytes:
        """As `read`, with the user's configuration. Raises GitFailed, SourceError on time-out."""
        return self._run(command(arguments, git_dir=git_dir), self._remote, self._remote_timeout)

    @contextlib.contextmanager
    def stream(self, git_dir: Path, *arguments: str, source: IO[bytes]) -> Iterator[IO[bytes]]:
        """Standard output of a git that reads `source`, to be read to its end. Raises GitFailed."""
        with self._started(command(arguments, git_dir=git_dir), self._reading, source) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            yield process.stdout
            message = process.stderr.read().decode(errors="replace")
            if process.wait(READ_TIMEOUT):
                raise GitFailed(process.returncode, message)

    def stop(self) -> None:
        """Kills what runs, and lets nothing start any more."""
        with self._lock:
            self.stopped = True
            for process in self._running:
                _kill(process)

    def _run(self, arguments: list[str], environment: dict[str, str], timeout: float) -> bytes:
        with self._started(arguments, environment, None) as process:
            try:
                output, message = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                raise GitFailed(-1, f"no end after {timeout:g} seconds") from None
        if process.returncode:
            raise GitFailed(process.returncode, message.decode(errors="replace"))
        return output

    @contextlib.contextmanager
    def _started(
        self, arguments: list[str], environment: dict[str, str], source: IO[bytes] | None
    ) -> Iterator[subprocess.Popen[bytes]]:
        with self._lock:
            if self.stopped:
                raise GitFailed(-1, "stopped")
            try:
                process = subprocess.Popen(
                    arguments,
                    stdin=source or subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env=environment,
                    start_new_session=True,
                )
            except FileNotFoundError:
                raise HostError("git or setpriv is missing", hint="apt-get install git util-linux") from None
            self._running.add(process)
        try:
            with process:
                try:
                    yield process
                except BaseException:
                    _kill(process)
                    raise
        finally:
            with self._lock:
                self._running.discard(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """git and what it started (ssh, index-pack): all of its session's group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
