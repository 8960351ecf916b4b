"""The peer of the bake: mkosi (Debian's, version 14), building the same content into a directory, incrementally.

The same packages are in its image, the six repos, and their dependencies from the same locks. mkosi gets the better of
every choice: packages, wheels and npm's cache are warm and local, no build stage (which would copy the tree twice),
repos side by side as in ours. Two ways to use it, since mkosi has no notion of a repo:

- `every`: dependencies are installed by the step after its cache. Right for every change.
- `cached`: dependencies are installed by `mkosi.prepare`, which its cache holds. A change of code costs the copy of
  the tree and little more; a changed lock goes unnoticed until somebody builds with `-ff`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from bake.base import PACKAGES
from bake.host_apt import apt_source_files
from bake.plan import TOOLKIT_PACKAGES
from tests.benchmarks import six_repos

SUITE = "bookworm"
EVERY, CACHED = "mkosi -i", "mkosi -i, dependencies in its cache"

# Runs inside the image. /warm holds locks, wheels and npm's cache; $1 is where each repo's dependencies go.
INSTALL = """\
#!/bin/sh -eu
export HOME=/tmp LC_ALL=C.UTF-8 PIP_NO_INDEX=1 PIP_FIND_LINKS=$1/wheels PIP_NO_CACHE_DIR=1
export npm_config_cache=$1/npm npm_config_offline=true npm_config_update_notifier=false
python() {
  mkdir -p "$2"
  python3 -m venv --without-pip "$2/venv"
  python3 -m pip --python "$2/venv/bin/python" install -q --no-input --disable-pip-version-check \\
    --root-user-action=ignore -r "$1/requirements.txt"
}
node() {
  mkdir -p "$2"
  cp "$1/package.json" "$1/package-lock.json" "$2/"
  cd "$2" && npm ci --omit=dev --no-audit --no-fund --silent
}
(for repo in PYTHONS; do python "$1/locks/$repo" "$2/$repo"; done) & one=$!
(for repo in NODES; do node "$1/locks/$repo" "$2/$repo"; done) & other=$!
wait $one
wait $other
"""

# Runs on the host, with the finished tree in $BUILDROOT.
FINALIZE = """\
#!/bin/sh -eu
for repo in REPOS; do
  mkdir -p "$BUILDROOT/srv/$repo"
  git -C "COMPANY/repos/$repo" archive HEAD | tar -x -C "$BUILDROOT/srv/$repo"
done
INSTALLING
for repo in PYTHONS; do
  ln -s "/srv/deps/$repo/venv" "$BUILDROOT/srv/$repo/.venv"
  chroot "$BUILDROOT" "/srv/deps/$repo/venv/bin/python" -m compileall -q -x '[.]venv/' "/srv/$repo"
done
for repo in NODES; do ln -s "/srv/deps/$repo/node_modules" "$BUILDROOT/srv/$repo/node_modules"; done
"""

INSTALLING = (
    'systemd-nspawn --quiet --directory="$BUILDROOT" --as-pid2 --register=no --keep-unit --link-journal=no '
    "--bind=WARM:/mnt /mnt/install.sh /mnt /srv/deps"
)


def mkosi_version() -> str:
    """Of the mkosi on this host; empty where there is none."""
    if shutil.which("mkosi") is None:
        return ""
    return subprocess.run(["mkosi", "--version"], capture_output=True, text=True, check=True).stdout.strip()


class Peer:
    """One way to use mkosi, in a folder of its own below `work`."""

    def __init__(self, name: str, work: Path, company: Path) -> None:
        self.name = name
        self._folder = work / ("mkosi-every" if name == EVERY else "mkosi-cached")
        self._warm = work / "warm"
        self._company = company

    @property
    def ready(self) -> bool:
        """Whether its cache is there: the next build is an incremental one."""
        return any(self._folder.glob("*.cache-pre-inst"))

    def prepare(self) -> None:
        """Write its configuration, and have its cache made (minutes, once)."""
        self._folder.mkdir(exist_ok=True)
        (self._folder / "packages").mkdir(exist_ok=True)
        make_warm(self._warm)
        for name, text in self._files().items():
            (self._folder / name).write_text(text)
            (self._folder / name).chmod(0o755)
        if not self.ready:
            self.build()

    def build(self) -> None:
        """One incremental build. Raises CalledProcessError, its output in mkosi.log."""
        with (self._folder / "mkosi.log").open("w") as log:
            command = ["mkosi", "--directory", str(self._folder), "--force", "build"]
            subprocess.run(command, check=True, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self._folder)

    def _files(self) -> dict[str, str]:
        words = {
            "PYTHONS": " ".join(six_repos.PYTHON),
            "NODES": " ".join(six_repos.NODE),
            "REPOS": " ".join(six_repos.REPOS),
            "COMPANY": str(self._company),
            "WARM": str(self._warm),
        }
        installing = INSTALLING if self.name == EVERY else ""
        files = {"mkosi.finalize": _filled(FINALIZE.replace("INSTALLING", installing), words)}
        if self.name == CACHED:
            files["mkosi.prepare"] = "#!/bin/sh -eu\n/root/src/install.sh /root/src /srv/deps\n"
        (self._warm / "install.sh").write_text(_filled(INSTALL, words))
        (self._warm / "install.sh").chmod(0o755)
        packages = sorted({*PACKAGES, *TOOLKIT_PACKAGES, "nodejs", "npm", "nginx-light"})
        files["mkosi.default"] = "\n".join(
            (
                "[Distribution]",
                "Distribution=debian",
                f"Release={SUITE}",
                f"Mirror={mirror()}",
                "[Output]",
                "Format=directory",
                "Output=image",
                "Incremental=yes",
                "Bootable=no",
                "NspawnKeepUnit=yes",
                "[Content]",
                "Packages=" + "\n         ".join(packages),
                f"Cache={self._folder / 'packages'}",
                f"BuildSources={self._warm}",
                "",
            )
        )
        return files


def mirror() -> str:
    """The mirror that this host's apt uses for Debian itself."""
    text = "\n".join(content for _, content in apt_source_files(SUITE))
    found = re.search(r"(?m)^(?:URIs:\s*|deb\s+(?:\[[^]]*\]\s*)?)(\S+)", text)
    if found is None:
        raise SystemExit(f"no apt source of this host serves {SUITE}")
    return found[1]


def make_warm(warm: Path) -> None:
    """Locks, wheels and npm's cache, fetched once by pip and npm as this host has them set up."""
    if (warm / "complete").exists():
        return
    shutil.rmtree(warm, ignore_errors=True)
    for repo in (*six_repos.PYTHON, *six_repos.NODE):
        shutil.copytree(six_repos.CONTENT / repo, warm / "locks" / repo)
    locks = [f"--requirement={warm}/locks/{repo}/requirements.txt" for repo in six_repos.PYTHON]
    for lock in locks:
        _quietly("/usr/bin/python3", "-m", "pip", "download", "--dest", str(warm / "wheels"), lock)
    for repo in six_repos.NODE:
        shutil.copytree(six_repos.CONTENT / repo, warm / "fill" / repo)
        _quietly("npm", "ci", "--cache", str(warm / "npm"), "--no-audit", "--no-fund", cwd=warm / "fill" / repo)
    shutil.rmtree(warm / "fill")
    (warm / "complete").touch()


def _filled(text: str, words: dict[str, str]) -> str:
    return re.sub("|".join(words), lambda match: words[match[0]], text)


def _quietly(*command: str, cwd: Path | None = None) -> None:
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=dict(os.environ), check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:4])} failed:\n{done.stderr[-2000:]}")
