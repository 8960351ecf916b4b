"""The front door as the system tests use it: `bakeboot` run as a person runs it, on stacks that the tests write.

`Bakery` runs commands with one home. `TinyStack` is a stack of two small repos without datastores, so that baking and
verifying it takes seconds: `hello`, a web service in Python with one dependency, and `ticker`, a worker.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from pathlib import Path
from typing import IO, Any

from bake.build_machine import BUILD_MOUNT, build_machine
from bake.home import Home
from bake.host import host_settings
from bake.host_apt import MOUNT
from bake.images import Image, ImageStore
from bake.layers import Layer, LayerStore, key_of
from bake.local import LocalInstance, Request, local_instance
from region.machine import Machine
from region.site import Site
from tests.bake.repositories import Repository

ROOT = Path(__file__).resolve().parent.parent.parent
BAKEBOOT = (sys.executable, "-m", "bakeboot")
PYTHON = "/usr/bin/python3"

MOST_EXPOSED = 2.0
"""What `exposure` may be at most, of a unit of ours."""

ASK = "import os, sys, urllib.request as web; print(web.urlopen(os.environ[sys.argv[1]], timeout=10).read().decode())"
"""A Python program that prints what the address in an environment variable answers: this host may have no curl."""


class Bakery:
    """Runs `bakeboot` with one home, and looks at what came out."""

    def __init__(self, home: Home, environment: Mapping[str, str] | None = None, prefix: Sequence[str] = ()) -> None:
        """`prefix` is a command that runs `bakeboot` in other surroundings."""
        self.home = home
        self.command = (*prefix, *BAKEBOOT)
        self.environment = {**os.environ, **(environment or {}), "BAKEBOOT_HOME": str(home.root), "COLUMNS": "300"}

    @property
    def store(self) -> ImageStore:
        return ImageStore(self.home)

    @property
    def layers(self) -> LayerStore:
        return LayerStore(self.home)

    def run(
        self, *arguments: str, cwd: Path = ROOT, stdin: str = "", code: int | None = 0, timeout: float = 400
    ) -> subprocess.CompletedProcess[str]:
        """One command to its end; it has failed the test when its exit code is not `code` (None: any)."""
        done = subprocess.run(
            [*self.command, *arguments],
            cwd=cwd,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert code is None or done.returncode == code, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def bake(self, stack: Path, *options: str) -> tuple[Image, str]:
        """Bake the stack of that directory to `verified`: the image, and what was said meanwhile."""
        done = self.run("bake", "--json", *options, cwd=stack)
        told = json.loads(done.stdout)
        assert told["state"] == "verified"
        return self.store.get(told["image"]), done.stderr

    def start(self, *arguments: str, cwd: Path, output: IO[str]) -> subprocess.Popen[str]:
        """The command in a process group of its own, as a shell on a terminal starts it; it writes into `output`.

        SIGINT ends it also where these tests run in the background: there a process inherits that it is ignored.
        """
        return subprocess.Popen(
            ["env", "--default-signal=INT", *self.command, *arguments],
            cwd=cwd,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def json(self, *arguments: str, cwd: Path = ROOT) -> Any:
        return json.loads(self.run(*arguments, "--json", cwd=cwd).stdout)

    @contextmanager
    def review(self, image: Image, timeout: float) -> Iterator[LocalInstance]:
        """A review machine of the image, ready within `timeout` seconds."""
        with (
            Site.open(self.home.root, self.home.runtime) as site,
            local_instance(site, self.store, image, Request("review")) as instance,
        ):
            instance.wait_ready(timeout)
            yield instance

    def layer_of(self, image: Image, kind: str, name: str) -> Layer:
        """The one layer of that kind (base, system, deps, repo, top) and repo in the image."""
        (layer,) = [layer for layer in map(self.layers.get, image.layers) if (layer.kind, layer.name) == (kind, name)]
        return layer


def sibling(home: Home, name: str, layers: Iterable[Layer] = ()) -> Home:
    """A new home beside `home` without any image, that shows these layers of it, so that they are not made again.

    Its path is longer than that of a socket may be, as those of some users are.
    """
    root = home.root.with_name(f"{home.root.name}-{re.sub('[^a-z]+', '-', name)}{'-and-a-long-path' * 7}")
    shutil.rmtree(root, ignore_errors=True)
    other = Home.open(root)
    (other.layers / "keys").mkdir()
    for layer in layers:
        (other.layers / layer.id).symlink_to(layer.folder)
    for link in LayerStore(home).keys.iterdir():
        if (other.layers / "keys" / link.readlink()).exists():
            (other.layers / "keys" / link.name).symlink_to(link.readlink())
    return other


def remove_home(home: Home) -> None:
    shutil.rmtree(home.root)
    shutil.rmtree(home.runtime)


def wait_until(
    what: Callable[[], object], why: str | Callable[[], str], timeout: float = 60, *, pause: float = 0.01
) -> None:
    """Ask every `pause` seconds until `what` holds; fails with `why` when it does not within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not what():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {why if isinstance(why, str) else why()}")
        time.sleep(pause)


def command_lines(*words: str) -> dict[str, str]:
    """The command lines of all processes that hold one of the words, by process id."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if any(word in line for word in words):
                found[folder.name] = line
    return found


def exposure(machine: Machine, unit: str) -> float:
    """How exposed systemd finds a unit of the machine: 0 (not at all) to 10."""
    said = machine.run(["systemd-analyze", "security", "--no-pager", unit]).stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found, said
    return float(found[1])


def install_script(*packages: str) -> str:
    """Shell lines that install Debian packages in a build machine and start nothing that is in them."""
    return f"""\
. {MOUNT}/environment
export DEBIAN_FRONTEND=noninteractive
mkdir -p {BUILD_MOUNT}/apt/lists/partial {BUILD_MOUNT}/apt/cache/archives/partial
printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
apt-get -q update
apt-get -qy install --no-install-recommends {" ".join(packages)}
rm /usr/sbin/policy-rc.d
"""


@contextmanager
def added_by(home: Home, below: Sequence[Path], script: str) -> Iterator[Path]:
    """The folder of what a shell script (`sh -eu`) adds to a machine over the layers `below` (the lowest first).

    It is there for the length of the block, to be moved away, on the home's file system.
    """
    settings = host_settings("bookworm")
    with home.run("test") as run:
        with build_machine(home, run, tuple(below), settings, stage="script") as (machine, _):
            machine.wait_booted(60)
            machine.run(["/bin/sh", "-euc", script], timeout=600)
            machine.stop()
            machine.take_upper(run.folder / "added")
        yield run.folder / "added"


def layer_by(home: Home, below: Sequence[Path], script: str) -> Path:
    """A layer of the home with what the script adds to `below`; made again when it or they are others."""
    layers = LayerStore(home)
    key = key_of({"test": script, "below": [str(layer) for layer in below]})
    layer = layers.find(key)
    if layer is None:
        with added_by(home, below, script) as added:
            layer = layers.adopt(added, key=key, kind="system", made="2026-01-01T00:00:00Z")
    return layer.root


def wheel(folder: Path, name: str, version: str) -> Path:
    """A wheel of a package with one module, whose VERSION says which it is (PEP 427)."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(file, text)
    return path


STACK = """\
[stack]
name = "tiny"
# The same packages as the shop's stack has: so the two share the layer that holds them.
apt_packages = ["nginx-light", "nodejs", "npm", "postgresql-15", "redis-server"]

[stack.boot]
tags_wait = "1s"

[repos.hello]
url = "repos/hello"

[repos.ticker]
url = "repos/ticker"
build = "sh build.sh"

[services.hello]
health = { path = "/", interval = "100ms", settle = "100ms", deadline = "4s" }
memory = "96M"

[services.ticker]
check = "test -e $HOME/heartbeat"
kind = "worker"
loosen = ["MemoryDenyWriteExecute"]
health = { interval = "100ms", settle = "100ms", deadline = "4s" }
"""

HELLO = '''\
"""Answers on $PORT: / with the status in the file `answer`, /try/NAME with what became of an attempt."""

import http.server
import json
import mmap
import os
import pwd
import socket

import leaf


def write_code():
    open("app.py", "a")


def write_elsewhere():
    open("/etc/written", "w")


def connect():
    socket.create_connection(("192.0.2.1", 80), timeout=2)


def execute():
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)


def take_memory():
    bytearray(400 * 2**20)


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/try/"):
            try:
                globals()[self.path.removeprefix("/try/")]()
                came = "done"
            except OSError as error:
                came = type(error).__name__ + " " + str(error.errno)
            self.say(200, {"came": came, "user": pwd.getpwuid(os.getuid()).pw_name})
        else:
            self.say(int(open("answer").read()), {"leaf": leaf.VERSION, "greeting": open("greeting").read()})

    def say(self, status, body):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Answer).serve_forever()
'''

TICKER = """\
import mmap, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
home = pathlib.Path.home()
mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)  # its stack file allows it
while True:
    (home / "heartbeat").touch()
    time.sleep(0.2)
"""


class TinyStack:
    """The stack in a directory of its own. Its commits are new in every run, so that no earlier bake has built them."""

    def __init__(self, folder: Path, hello: Repository, ticker: Repository) -> None:
        self.folder, self.hello, self.ticker = folder, hello, ticker

    @classmethod
    def make(cls, folder: Path, wheels: Path) -> TinyStack:
        """Write it into `folder`, which must not be there, and its dependency into the folder `wheels`."""
        folder.mkdir()
        (folder / "stack.toml").write_text(STACK)
        for version in ("1.0", "2.0"):
            wheel(wheels, "leaf", version)
        greeting = secrets.token_hex(8)
        hello = Repository(
            folder / "repos" / "hello",
            {
                "Procfile": f"web: {PYTHON} -c 'import sys' && python app.py\n",
                "requirements.txt": f"--no-index\nleaf==1.0  # {greeting}\n",
                "app.py": HELLO,
                "answer": "200",
                "greeting": greeting,
            },
        )
        ticker = Repository(
            folder / "repos" / "ticker",
            {"Procfile": "ticker: python3 worker.py\n", "worker.py": TICKER, "build.sh": f"echo {greeting} >built\n"},
        )
        return cls(folder, hello, ticker)

    def copy(self, folder: Path) -> TinyStack:
        """The same stack elsewhere, with repos of its own; a bake of it finds everything built."""
        shutil.copytree(self.folder, folder)
        hello, ticker = copy(self.hello), copy(self.ticker)
        hello.path, ticker.path = folder / "repos" / "hello", folder / "repos" / "ticker"
        return TinyStack(folder, hello, ticker)


def built(said: str) -> set[str]:
    """The repos that a bake built, by what it said."""
    return {line.split(":")[0].strip() for line in said.splitlines() if ": done in " in line} & {"hello", "ticker"}
