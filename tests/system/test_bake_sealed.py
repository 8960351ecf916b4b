"""What of the baking host is in an image: nothing. Searched byte by byte, after a bake with settings that stand out.

The one bake of this file makes everything anew (`--scratch`), the base included, for nothing that was made with other
settings would show what these leave behind. Its stack pins a Node that the base lacks.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.seal import leftovers
from bake.home import Home
from bake.images import Image
from bake.view import merged
from tests.bake.repositories import Repository
from tests.system.bakery import ASK, Bakery, remove_home, sibling, wheel
from tests.system.conftest import left_behind, names_in_use
from tests.system.planted_host import PlantedHost, certificates, keys_of_a_bake, package_lock, planted_host

STACK = """\
[stack]
name = "sealed"

[repos.web]
url = "repos/web"

[repos.job]
url = "repos/job"

[services.web]
health = { path = "/", settle = "100ms" }

[services.job]
kind = "worker"
health = { settle = "100ms" }
"""

SERVER = """\
const leaf = require('@canary/leaf');
const answer = (request, response) => response.end(`node ${process.versions.node}, ${leaf}`);
require('http').createServer(answer).listen(process.env.PORT);
"""


@dataclass
class Baked:
    """The image, the host it was baked on, and what could be seen of the run's SSH keys while it was made."""

    bakery: Bakery
    host: PlantedHost
    image: Image
    said: str
    keys: dict[Path, str]

    def traces(self, words: set[str]) -> list[str]:
        """Files of the image's layers that hold one of the words, in their content or their name."""
        roots = [str(root) for root in self.bakery.store.roots(self.image)]
        patterns = self.host.folder / "patterns"
        patterns.write_text("".join(f"{word}\n" for word in sorted(words)))
        grep = [
            "grep",
            "--recursive",
            "--files-with-matches",
            "--text",
            "--fixed-strings",
            f"--file={patterns}",
            *roots,
        ]
        found = subprocess.run(grep, capture_output=True, text=True, check=False)
        assert found.returncode in (0, 1), found.stderr
        named = subprocess.run(["find", *roots], capture_output=True, text=True, check=True).stdout.splitlines()
        return found.stdout.splitlines() + [name for name in named if any(word in Path(name).name for word in words)]


@pytest.fixture(scope="module")
def baked(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Baked]:
    before = names_in_use()
    own = sibling(home, "sealed")
    folder = tmp_path_factory.mktemp("planted")
    keys: dict[Path, str] = {}

    with planted_host(folder, f"canary{secrets.token_hex(6)}", lambda: keys.update(keys_of_a_bake(own))) as host:
        wheel(folder / f"{host.canary}-links", "leaf", "1.0")
        stack = folder / "stack"
        stack.mkdir()
        (stack / "stack.toml").write_text(STACK)
        web = {"Procfile": "web: node server.js\n", "server.js": SERVER, **package_lock(host, "20.x")}
        Repository(stack / "repos" / "web", web)
        job = {"Procfile": "job: python -c 'import leaf, time; time.sleep(9999)'\n"}
        Repository(stack / "repos" / "job", {**job, "requirements.txt": "--no-index\nleaf==1.0\n"})
        bakery = Bakery(own, host.environment, host.prefix)
        image, said = bakery.bake(stack, "--scratch")
        yield Baked(bakery, host, image, said, keys)
    left = left_behind(own, before)
    remove_home(own)
    assert left == []


@pytest.fixture(scope="module")
def root(baked: Baked) -> Iterator[Path]:
    """The image as one tree."""
    with (
        baked.bakery.home.run("test-look") as run,
        merged(baked.bakery.store.roots(baked.image), run.folder / "view") as root,
    ):
        yield root


def test_a_bake_from_scratch_makes_everything_anew(baked: Baked) -> None:
    for made in ("making the base debian:bookworm", "packages: done", "Node 20: done", "web: done", "job: done"):
        assert made in baked.said
    kinds = [layer.kind for layer in map(baked.bakery.layers.get, baked.image.layers)]
    assert kinds[:2] == ["base", "system"]
    assert {layer.made for layer in map(baked.bakery.layers.get, baked.image.layers)} == {baked.image.time}


def test_the_build_used_the_hosts_settings(baked: Baked) -> None:
    asked = dict(baked.host.requests)
    assert asked[f"/{baked.host.canary}-archives/leaf-1.0.0.tgz"] == f"Bearer {baked.host.canary}-token"
    assert any(path.startswith(f"/{baked.host.canary}-index/") for path in asked), "pip asked the index of the host"


def test_no_byte_of_the_hosts_settings_is_in_any_layer(baked: Baked) -> None:
    assert baked.traces({baked.host.canary, str(baked.host.folder)}) == []


def test_a_trace_would_be_found(baked: Baked) -> None:
    assert baked.traces({"a leaf of npm"}) != []
    assert baked.traces({"image.json"}) != []


def test_no_certificate_of_the_host_is_in_any_layer(baked: Baked) -> None:
    """The planted one, and what this host itself was given besides Debian's."""
    given = [file.read_text() for file in Path("/usr/local/share/ca-certificates").rglob("*.crt")]
    bodies = [body.splitlines() for text in (baked.host.certificate, *given) for body in certificates(text)]
    # A line from the middle: the key of that certificate, which no other one shares.
    assert baked.traces({lines[len(lines) // 2] for lines in bodies}) == []


def test_no_ssh_key_of_the_run_is_in_any_layer(baked: Baked) -> None:
    names = {file.name for file in baked.keys}
    assert {"client_key", "authorized_keys", "host_key", "host_key.pub"} <= names
    lines = {line for text in baked.keys.values() for line in text.splitlines() if "-----" not in line}
    public = {word for line in lines for word in line.split() if word.startswith("AAAA")}
    private = {line for line in lines if " " not in line and len(line) > 40}
    assert len(public) >= 2
    assert len(private) >= 2
    assert baked.traces(public | private) == []


def test_nothing_of_the_build_machine_or_of_a_person_is_left(root: Path) -> None:
    assert leftovers(root) == []
    assert (root / "etc/machine-id").read_bytes() == b""
    gone = (
        "etc/ssh/ssh_host_*",
        "root/.ssh",
        "root/.*_history",
        "root/.cache",
        "root/.npm",
        "root/.npmrc",
        "etc/resolv.conf",
        "etc/hostname",
        "etc/pip.conf",
        "var/lib/apt/lists/*_*",
        "var/cache/apt/archives/*.deb",
        "var/cache/apt/*.bin",
        "var/lib/systemd/random-seed",
        "var/lib/bakeboot/data/*",
        "run/*",
        "tmp/*",
        "var/tmp/*",
    )
    assert [str(path) for pattern in gone for path in root.glob(pattern)] == []
    logs = [path for path in (root / "var/log").rglob("*") if path.is_file() and path.stat().st_size]
    assert logs == []
    enabled = [line.split(":")[0] for line in (root / "etc/shadow").read_text().splitlines() if ":$" in line]
    assert enabled == []


def test_a_pinned_node_comes_from_npm_and_runs_the_service(baked: Baked) -> None:
    ask = (sys.executable, "-c", ASK, "WEB_URL")
    done = baked.bakery.run("boot", baked.image.name, "--mode", "production", "--service", "web", "--", *ask)
    assert "node 20." in done.stdout
    assert "a leaf of npm" in done.stdout
    assert "package.json asks for Node 20.x: met by any 20" in baked.said
