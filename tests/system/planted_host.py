"""A baking host whose package settings can be told apart from anything else: to be looked for in an image afterwards.

All of it is for the length of a test and touches no setting of this machine: pip, npm and apt are pointed to files of
their own, and the CA bundle is replaced in a mount namespace of the bake alone.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bake.home import Home

CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass
class PlantedHost:
    """`canary` is in every setting; `environment` and `prefix` are what a bake needs to have them."""

    canary: str
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    """(path, Authorization) of what its registry was asked."""
    integrity: str = ""

    @property
    def prefix(self) -> tuple[str, ...]:
        mount = f'mount --bind "$0" {CA_BUNDLE} && exec "$@"'
        return ("unshare", "--mount", "--propagation=private", "sh", "-c", mount, str(self.folder / "ca.crt"))

    @property
    def certificate(self) -> str:
        return (self.folder / "own.crt").read_text()


@contextmanager
def planted_host(folder: Path, canary: str, on_request: Callable[[], None]) -> Iterator[PlantedHost]:
    """The host, and its registry on loopback, which has one npm package: `@canary/leaf`. `on_request` is called for
    each request: there is a build machine then.
    """
    host = PlantedHost(canary, folder)
    package = npm_package()
    host.integrity = "sha512-" + base64.b64encode(hashlib.sha512(package).digest()).decode()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), registry(host, package, on_request))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        plant(host, server.server_port)
        yield host
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def plant(host: PlantedHost, port: int) -> None:
    address = f"127.0.0.1:{port}"
    links = host.folder / f"{host.canary}-links"
    links.mkdir()
    links.chmod(0o755)
    pip = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.extra-index-url"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    index = f"http://{host.canary}-user:{host.canary}-password@{address}/{host.canary}-index/"
    (host.folder / "pip.conf").write_text(f"[global]\nextra-index-url = {' '.join([*pip, index])}\n")
    home = host.folder / "home"
    home.mkdir()
    own = Path("~/.npmrc").expanduser()
    settings = own.read_text() if own.exists() else ""
    token = f"//{address}/:_authToken={host.canary}-token\n"
    (home / ".npmrc").write_text(f"{settings}\n@canary:registry=http://{address}/\n{token}")
    (host.folder / "apt.conf").write_text(f'Acquire::http::User-Agent "{host.canary}-agent";\n')
    certify(host)
    host.environment |= {
        "HOME": str(home),
        "PIP_CONFIG_FILE": str(host.folder / "pip.conf"),
        "PIP_FIND_LINKS": f"{os.environ.get('PIP_FIND_LINKS', '')} {links}".strip(),
        "APT_CONFIG": str(host.folder / "apt.conf"),
    }


def certify(host: PlantedHost) -> None:
    """A CA of the company's own in the bundle: this host's bundle, and one certificate more."""
    files = ("-keyout", str(host.folder / "own.key"), "-out", str(host.folder / "own.crt"))
    options = ("-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={host.canary}-authority")
    subprocess.run(["openssl", "req", "-x509", *options, *files], check=True, capture_output=True)
    (host.folder / "ca.crt").write_text(CA_BUNDLE.read_text() + host.certificate)


def registry(
    host: PlantedHost, package: bytes, on_request: Callable[[], None]
) -> type[http.server.BaseHTTPRequestHandler]:
    class Registry(http.server.BaseHTTPRequestHandler):
        """As npm's: GET /@scope%2fname is the list of versions, and says where their archives are."""

        def do_GET(self) -> None:
            host.requests.append((self.path, self.headers.get("Authorization", "")))
            on_request()
            if self.path.lower() == "/@canary%2fleaf":
                self.answer("application/json", json.dumps(self.versions()).encode())
            elif self.path == f"/{host.canary}-archives/leaf-1.0.0.tgz":
                self.answer("application/octet-stream", package)
            else:
                self.send_error(404)

        def versions(self) -> dict[str, object]:
            archive = f"http://{self.headers['Host']}/{host.canary}-archives/leaf-1.0.0.tgz"
            dist = {"tarball": archive, "integrity": host.integrity}
            version = {"name": "@canary/leaf", "version": "1.0.0", "dist": dist}
            return {"name": "@canary/leaf", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}

        def answer(self, kind: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Registry


def npm_package() -> bytes:
    files = {
        "package/package.json": json.dumps({"name": "@canary/leaf", "version": "1.0.0", "main": "index.js"}),
        "package/index.js": "module.exports = 'a leaf of npm';\n",
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


def package_lock(host: PlantedHost, engines: str) -> dict[str, str]:
    """`package.json` and `package-lock.json` of a repo that needs the package; no address is in them."""
    root = {"name": "web", "version": "1.0.0", "engines": {"node": engines}, "dependencies": {"@canary/leaf": "1.0.0"}}
    leaf = {"version": "1.0.0", "integrity": host.integrity}
    lock = {
        "name": "web",
        "version": "1.0.0",
        "lockfileVersion": 3,
        "requires": True,
        "packages": {"": root, "node_modules/@canary/leaf": leaf},
    }
    return {"package.json": json.dumps(root), "package-lock.json": json.dumps(lock)}


def keys_of_a_bake(home: Home) -> dict[Path, str]:
    """Every key that a bake in this home now holds: seen from inside its own mount namespace."""
    found: dict[Path, str] = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"BAKEBOOT_HOME={home.root}\0".encode() in (process / "environ").read_bytes():
                runtime = process / "root" / home.runtime.relative_to("/")
                found |= {file: file.read_text() for file in runtime.glob("runs/*/*/ssh/**/*key*")}
    return found


def certificates(bundle: str) -> list[str]:
    """The PEM bodies of a bundle."""
    return re.findall(r"-----BEGIN CERTIFICATE-----\n(.+?)-----END", bundle, re.DOTALL)
