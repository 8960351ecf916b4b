"""What the specs of this stack share: choosing those that fit the machine, HTTP, and commands run as a service.

The bake runs these specs over SSH on every machine that it verifies: the whole stack in review, then each service in
production, wired to the review machine. It gives them, beside testinfra's ``host``:

    machine_mode, machine_service    what the machine is; also the pytest options --machine-mode and --machine-service
    service_url(name)                where a service of this machine answers
    datastore_url(service, variable) a datastore that a service of this machine uses, as reached from here
    review_url(name)                 where a service of the review machine answers, behind a production machine

A spec says which machine it is for: ``@pytest.mark.machine("production", "storefront")``.
"""

from __future__ import annotations

import json
import shlex
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, Protocol

import pytest
from testinfra.backend.base import CommandResult
from testinfra.host import Host

ServiceUrl = Callable[[str], str]
PlaceOrder = Callable[[str], dict[str, Any]]
"""From a storefront's URL to the order, once it is done."""


class AsService(Protocol):
    """Runs a shell line on the machine as one of its services: its user, its checkout, its variables."""

    def __call__(self, service: str, repo: str, line: str, **variables: str) -> CommandResult: ...


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "machine(mode, service=None): the machine that this spec is for")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = (config.getoption("machine_mode"), config.getoption("machine_service"))
    others = [item for item in items if (mark := item.get_closest_marker("machine")) and not fits(mark, *here)]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]


def fits(mark: pytest.Mark, mode: str, service: str | None) -> bool:
    wanted_mode, wanted_service = (*mark.args, None)[:2]
    return wanted_mode == mode and wanted_service in (None, service)


def call(method: str, url: str, body: object = None) -> tuple[int, dict[str, Any]]:
    """Status and decoded JSON of an HTTP request; an error's status is an answer too."""
    request = urllib.request.Request(
        url,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.fixture(name="call")
def call_fixture() -> Callable[..., tuple[int, dict[str, Any]]]:
    return call


@pytest.fixture
def place_order() -> PlaceOrder:
    def place(storefront: str) -> dict[str, Any]:
        status, placed = call("POST", f"{storefront}/orders", {"product": "teapot", "quantity": 2})
        assert status == 201, placed
        deadline = time.monotonic() + 30
        while True:
            status, order = call("GET", storefront + placed["url"])
            assert status == 200, order
            if order["status"] == "done":
                return order
            assert time.monotonic() < deadline, f"still {order['status']} after 30 s"
            time.sleep(0.2)

    return place


@pytest.fixture
def as_service(host: Host) -> AsService:
    def run(service: str, repo: str, line: str, **variables: str) -> CommandResult:
        checkout = f"/srv/bakeboot/{repo}/current"
        # Set behind the service's own variables, which systemd reads from a file that only root may read.
        assignments = [f"{name}={value}" for name, value in variables.items()]
        command = [
            *("systemd-run", "--quiet", "--collect", "--pipe", "--wait", f"--uid=bb-{service}"),
            *(f"--property=EnvironmentFile=/run/bakeboot/env/{service}.env", f"--working-directory={checkout}"),
            *("/usr/bin/env", *assignments, "/bin/bash", "-c", line),
        ]
        # systemd puts its own variables into a command line; $$ is a plain $.
        return host.run(shlex.join(command).replace("$", "$$"))

    return run
