"""Git repositories for tests: real ones, in a temporary directory, that depend on nothing of this machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from bake.git import Git
from bake.mirrors import Mirrors
from bake.stack import Repo

ENVIRONMENT = {
    "PATH": os.environ.get("PATH", os.defpath),
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "maintenance.auto",  # a process less for each commit
    "GIT_CONFIG_VALUE_0": "false",
    "GIT_AUTHOR_NAME": "Mira",
    "GIT_AUTHOR_EMAIL": "mira@example.org",
    "GIT_AUTHOR_DATE": "2026-11-23T12:00:00Z",
    "GIT_COMMITTER_NAME": "Mira",
    "GIT_COMMITTER_EMAIL": "mira@example.org",
    "GIT_COMMITTER_DATE": "2026-11-23T12:00:00Z",
}


class Repository:
    """A working copy whose branch is main."""

    def __init__(self, path: Path, files: Mapping[str, str | bytes] | None = None) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main", "--template=")
        if files is not None:
            self.commit(files)

    def git(self, *arguments: str, stdin: bytes | None = None) -> str:
        """What git prints, without the last line break."""
        done = subprocess.run(
            ["git", *arguments], cwd=self.path, env=ENVIRONMENT, input=stdin, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().rstrip("\n")

    def write(self, files: Mapping[str, str | bytes]) -> None:
        for name, content in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, files: Mapping[str, str | bytes], message: str = "first line\n\nmore") -> str:
        """Commits these files, and returns the commit."""
        self.write(files)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def commit_tree(self, *entries: tuple[str, str, str]) -> str:
        """Commits a tree of (mode, name, content) as it stands: also one that git itself would not make."""
        lines = b""
        for mode, name, content in sorted(entries, key=lambda entry: entry[1]):
            given = mode == "160000"
            blob = content if given else self.git("hash-object", "-w", "--stdin", stdin=content.encode())
            lines += f"{mode} {name}\0".encode() + bytes.fromhex(blob)
        tree = self.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=lines)
        commit = self.git("commit-tree", tree, "-m", "a tree")
        self.git("update-ref", "refs/heads/main", commit)
        return commit


def repo(location: Path | str, *, name: str = "storefront", ref: str = "HEAD", subdirectory: str = "") -> Repo:
    return Repo(name=name, url=str(location), location=str(location), ref=ref, subdirectory=subdirectory)


def mirrors(home: Path, environment: Mapping[str, str] = ENVIRONMENT) -> Mirrors:
    return Mirrors(home / "mirrors", Git(environment))
