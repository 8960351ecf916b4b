"""Turns this directory into what a company really has: a stack file, and one git repository for each repo.

    python examples/shop/publish.py DIR

DIR gets ``stack.toml``, ``image_tests/`` and the git repositories ``repos/storefront``, ``repos/orders-api``, …, each
with the branch ``main``. Run again it commits what has changed here since, and nothing where nothing has. The same
files give the same commits on every machine: author and dates are fixed, the settings of the user's git are not read.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

SHOP = Path(__file__).resolve().parent
REPOS = ("orders-api", "orders-worker", "storefront", "www")
BUILT = shutil.ignore_patterns(".venv", "node_modules", "__pycache__", "*.pyc", ".*_cache")
"""What running the services here leaves behind; none of it is source."""

AUTHOR = "The shop's engineers"
MAIL = "engineers@shop.example"
FIRST_COMMIT = 1_767_225_600
"""Seconds since 1970: 2026-01-01T00:00:00Z. Each later commit is dated one day after the one before."""

DAY = 86_400


def publish(shop: Path, target: Path) -> list[str]:
    """Writes the stack below ``target``; returns a line for each repo. Raises CalledProcessError when git fails."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(shop / "stack.toml", target / "stack.toml")
    _replace(shop / "image_tests", target / "image_tests")
    return [publish_repo(shop / name, target / "repos" / name) for name in REPOS]


def publish_repo(source: Path, repo: Path) -> str:
    """Makes the work tree of ``repo`` the files of ``source``, and commits if that changed anything."""
    if not (repo / ".git").is_dir():
        repo.mkdir(parents=True, exist_ok=True)
        _git(repo, "init", "--quiet", "--initial-branch=main", "--template=")
    for entry in repo.iterdir():
        if entry.name != ".git":
            _remove(entry)
    shutil.copytree(source, repo, ignore=BUILT, dirs_exist_ok=True)
    _git(repo, "add", "--all", "--force")
    if not _git(repo, "status", "--porcelain"):
        return f"{source.name}: {_head(repo)} (unchanged)"
    number = _commits(repo)
    subject = f"{source.name}: as in the example" if number == 0 else f"{source.name}: change {number}"
    _git(repo, "commit", "--quiet", "--no-gpg-sign", f"--message={subject}", date=FIRST_COMMIT + number * DAY)
    return f"{source.name}: {_head(repo)}"


def _git(repo: Path, *arguments: str, date: int = FIRST_COMMIT) -> str:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    stamp = f"{date} +0000"
    variables |= {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": AUTHOR,
        "GIT_AUTHOR_EMAIL": MAIL,
        "GIT_AUTHOR_DATE": stamp,
        "GIT_COMMITTER_NAME": AUTHOR,
        "GIT_COMMITTER_EMAIL": MAIL,
        "GIT_COMMITTER_DATE": stamp,
    }
    done = subprocess.run(
        ["git", "-C", str(repo), *arguments], env=variables, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout.strip()


def _commits(repo: Path) -> int:
    return len(_git(repo, "rev-list", "--all").splitlines())


def _head(repo: Path) -> str:
    return _git(repo, "rev-parse", "--short=12", "HEAD")


def _replace(source: Path, target: Path) -> None:
    if target.exists():
        _remove(target)
    shutil.copytree(source, target, ignore=BUILT)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Make the shop's stack file and git repositories below a directory.")
    parser.add_argument("directory", type=Path, metavar="DIR")
    directory: Path = parser.parse_args(arguments).directory
    for line in publish(SHOP, directory):
        print(line)
    print(f"stack file: {directory / 'stack.toml'}")


if __name__ == "__main__":
    main()
