"""A small stack for the tests of the agent: a layer with the agent, its units and three services, made without a bake.

``web`` and ``worker`` are of the repo ``shop`` (its ``release:`` makes a table), ``www`` is static. ``db`` is
PostgreSQL, ``queue`` Redis. What the layer says is what a bake would write, through the same templates.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.image import (
    Base,
    Boot,
    Datastore,
    Health,
    ImageManifest,
    Packages,
    Repo,
    Service,
)
from agent.names import datastore_unit, service_unit, service_user
from bake.render import Renderer

ROOT = Path(__file__).resolve().parent.parent.parent
COMMIT = {"shop": "5" * 40, "www": "7" * 40}

SERVER = '''\
"""Answers /healthz with 200, /env with its environment, /slow after a while; dies at /die."""
import json, os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/die":
            os._exit(1)
        body = json.dumps(dict(os.environ)).encode() if self.path == "/env" else b"fine\\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
'''

WORKER_CHECK = 'test "$(psql -qAt "$DATABASE_URL" -c "insert into orders values (1) returning 1")" = 1'
RELEASE = 'psql -q "$DATABASE_URL" -c "create table if not exists orders (n int)" && echo migrated as "$USER"'


@dataclass(frozen=True)
class Stack:
    """What a test wants otherwise than usual."""

    release: str | None = RELEASE
    env: Mapping[str, str] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    generated: tuple[str, ...] = ("SECRET_KEY",)
    worker_check: str | None = WORKER_CHECK
    web_process: str = "exec python3 -S server.py"
    health_path: str = "/healthz"
    deadline: float = 20.0
    metadata_wait: float = 10.0
    tags_wait: float = 4.0


def manifest(stack: Stack) -> ImageManifest:
    def health(path: str | None) -> Health:
        return Health(path=path, status=200, interval=0.2, settle=0.5, deadline=stack.deadline)

    def service(name: str, repo: str, process: str, **rest: Any) -> Service:
        usual: dict[str, Any] = {
            "kind": "web", "port": None, "health": health(None), "check": None, "env": {}, "generated": (),
            "required": (), "calls": (), "needs": (), "databases_of": None,
        }  # fmt: skip
        named = {"name": name, "repo": repo, "process": process, "unit": service_unit(name), "user": service_user(name)}
        return Service(**usual | named | rest)

    def repo(name: str, release: str | None) -> Repo:
        return Repo(
            name=name, url=f"/src/{name}", ref="main", commit=COMMIT[name], tree="1" * 40, subject="Start",
            subdirectory="", build="command", release=release,
        )  # fmt: skip

    def datastore(name: str, kind: str, version: str, port: int) -> Datastore:
        return Datastore(name=name, kind=kind, version=version, unit=datastore_unit(name), port=port, shared=False)

    services = (
        service("web", "shop", "web", port=8000, health=health(stack.health_path), env=dict(stack.env),
                required=stack.required, generated=stack.generated, calls=("www",), needs=("db", "queue")),
        service("worker", "shop", "worker", kind="worker", check=stack.worker_check, generated=stack.generated,
                needs=("db", "queue"), databases_of="web"),
        service("www", "www", "web", port=8002, health=health("/")),
    )  # fmt: skip
    return ImageManifest(
        stack="shop", name="shop-test.1", time="2026-01-01T00:00:00Z", parent=None, box=None,
        base=Base(name="debian:bookworm", digest="sha256:0"), toolkit="0.1.0",
        boot=Boot(metadata_wait=stack.metadata_wait, tags_wait=stack.tags_wait),
        repos={"shop": repo("shop", stack.release), "www": repo("www", None)},
        services={service.name: service for service in services},
        datastores={
            "db": datastore("db", "postgresql", "15", 5432),
            "queue": datastore("queue", "redis", "7", 6379),
        },
        packages=Packages(apt={}, python={}, node={}),
    )  # fmt: skip


def make_layer(folder: Path, below: tuple[Path, ...], stack: Stack) -> Path:
    """The layer in ``folder``, to lie over the layers ``below`` (lowest first, only read)."""
    image = manifest(stack)
    _toolkit(folder)
    _units(folder, image)
    _users(folder, below, image)
    _code(folder, stack)
    _write(folder / "etc/bakeboot/image.json", image.render())
    return folder


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def _toolkit(folder: Path) -> None:
    library = folder / "opt/bakeboot/lib"
    shutil.copytree(ROOT / "agent", library / "agent", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "agent/launcher.py", library / "boot.py")
    for name in ("run-process", "postgresql-init"):
        _write(folder / "opt/bakeboot/bin" / name, (ROOT / "templates" / name).read_text(), 0o755)
    _write(folder / "usr/local/bin/agent", (ROOT / "templates/agent").read_text(), 0o755)


def _units(folder: Path, image: ImageManifest) -> None:
    render, units = Renderer(), folder / "etc/systemd/system"
    usual: dict[str, Any] = {"memory": None, "cpu": None, "stop_timeout": 10, "loosen": []}
    for service in image.services.values():
        values = usual | {"service": service.name, "user": service.user, "repo": service.repo}
        if service.repo == "www":
            text = render("static.service.j2", "", values).text
            site = {"service": service.name, "repo": service.repo, "static": "public", "port": service.port}
            _write(folder / f"etc/bakeboot/nginx/{service.name}.conf", render("nginx-static.conf.j2", "", site).text)
        else:
            process = {"process": service.process, "needs": list(service.needs), "node": False}
            text = render("service.service.j2", "", values | process).text
        _write(units / service.unit, text)
    for datastore in image.datastores.values():
        values = {"datastore": datastore.name, "version": datastore.version, "port": datastore.port}
        _write(units / datastore.unit, render(f"{datastore.kind}.service.j2", "", values).text)
    _write(units / "bakeboot-boot.service", (ROOT / "templates/bakeboot-boot.service").read_text())
    (units / "multi-user.target.wants").mkdir()
    (units / "multi-user.target.wants/bakeboot-boot.service").symlink_to("../bakeboot-boot.service")
    for name in ("postgresql.service", "redis-server.service", "nginx.service", "ssh.service"):
        (units / name).symlink_to("/dev/null")


def _users(folder: Path, below: tuple[Path, ...], image: ImageManifest) -> None:
    highest = next(layer for layer in reversed(below) if (layer / "etc/passwd").exists())
    passwd, group = ((highest / "etc" / name).read_text() for name in ("passwd", "group"))
    for number, service in enumerate(image.services.values(), 61000):
        passwd += f"{service.user}:x:{number}:{number}::/var/lib/bakeboot/data/{service.name}:/usr/sbin/nologin\n"
        group += f"{service.user}:x:{number}:\n"
    _write(folder / "etc/passwd", passwd)
    _write(folder / "etc/group", group)


def _code(folder: Path, stack: Stack) -> None:
    for repo, files in {
        "shop": {
            "server.py": SERVER,
            ".bakeboot/processes/web": f"{stack.web_process}\n",
            ".bakeboot/processes/worker": "exec sleep infinity\n",
        },
        "www": {"public/index.html": "<h1>www</h1>\n", "public/.secret": "no\n", ".bakeboot/processes/web": "\n"},
    }.items():
        checkout = folder / "srv/bakeboot" / repo / COMMIT[repo]
        for name, text in files.items():
            _write(checkout / name, text)
        record = {"commit": COMMIT[repo], "tree": "1" * 40, "build": "command", "path": [".venv/bin"], "packages": {}}
        _write(checkout / ".bakeboot/checkout.json", json.dumps(record))
        (folder / "srv/bakeboot" / repo / "current").symlink_to(COMMIT[repo])
