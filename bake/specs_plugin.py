"""The fixtures that image specs may use: a pytest plugin, loaded by the verification alone.

    machine_mode        "review" or "production"
    machine_service     the one service of a production machine, else None
    image               image.json of the machine that is verified
    service_url         name -> an address on this host's loopback where that service of it answers
    datastore_url       (service, variable) -> an address that this host can use of a service's datastore
    review_url          name -> an address of that service on the review machine
    host                testinfra's, over paramiko

What they need comes in a root-only JSON file: it holds addresses with passwords, which are neither
arguments nor environment of the process.
"""

from __future__ import annotations

import json
import socket
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import testinfra
from testinfra.host import Host

from agent.image import ImageManifest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--machine-mode", required=True, help="what the machine that is verified is")
    parser.addoption("--machine-service", default=None, help="the one service that it runs, in production")
    parser.addoption("--bakeboot-facts", type=Path, required=True, help="the facts of the machine that is verified")


@pytest.fixture(scope="session")
def facts(request: pytest.FixtureRequest) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(request.config.getoption("--bakeboot-facts").read_text())
    return loaded


@pytest.fixture(scope="session")
def host(facts: dict[str, Any]) -> Host:
    """testinfra's host, once the machine has shown the host key that was made for this run."""
    ssh = facts["ssh"]
    connected = testinfra.get_host(f"paramiko://root@127.0.0.1:{ssh['port']}", ssh_identity_file=ssh["key"], timeout=30)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # paramiko's, for a key that is in no file: it is compared right here
        transport = connected.backend.client.get_transport()
    transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a command costs 3 ms, not 88
    shown = transport.get_remote_server_key()
    if f"{shown.get_name()} {shown.get_base64()}" != " ".join(ssh["host_key"].split()[:2]):
        pytest.exit("another machine answers in the place of the one that is verified", returncode=3)
    return connected


@pytest.fixture(scope="session")
def machine_mode(request: pytest.FixtureRequest) -> str:
    return str(request.config.getoption("--machine-mode"))


@pytest.fixture(scope="session")
def machine_service(request: pytest.FixtureRequest) -> str | None:
    service: str | None = request.config.getoption("--machine-service")
    return service


@pytest.fixture(scope="session")
def image(facts: dict[str, Any]) -> ImageManifest:
    return ImageManifest.parse(facts["image"])


@pytest.fixture(scope="session")
def service_url(facts: dict[str, Any]) -> Callable[[str], str]:
    return lambda name: str(facts["services"][name])


@pytest.fixture(scope="session")
def review_url(facts: dict[str, Any]) -> Callable[[str], str]:
    return lambda name: str(facts["review"][name])


@pytest.fixture(scope="session")
def datastore_url(facts: dict[str, Any]) -> Callable[[str, str], str]:
    return lambda service, variable: str(facts["datastores"][service][variable])
