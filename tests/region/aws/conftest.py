"""A region's API in this process, with fakes for what needs root: machines and addresses."""

from __future__ import annotations

import importlib
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto.core.base_backend import BackendDict
from moto.core.models import botocore_stubber  # noqa: F401 - moto must be loaded before a client is made
from moto.moto_api._internal.models import moto_api_backend

from region.aws import identity
from region.aws.api_faults import ApiFaults
from region.aws.ec2 import Ec2
from region.aws.ec2 import install as install_ec2
from region.aws.server import Api, ApiServer
from region.aws.world import World
from tests.region.aws.fakes import FakeCatalog, FakeClock, FakeMachines, FakeNetwork


@pytest.fixture
def clock() -> FakeClock:
    """The world's clock: `clock.now += 3600` lets an hour pass."""
    return FakeClock()


@pytest.fixture
def lines() -> list[str]:
    """What the world logged."""
    return []


_SERVICES = (
    "autoscaling",
    "cloudwatch",
    "dynamodb",
    "ec2",
    "elb",
    "elbv2",
    "iam",
    "route53",
    "servicequotas",
    "ssm",
    "sts",
)


@pytest.fixture
def _moto_stays() -> Iterator[None]:
    """What a test installs in moto's place is gone after it: the next one finds moto as it came."""
    for service in _SERVICES:
        for part in ("models", "responses", "urls"):
            importlib.import_module(f"moto.{service}.{part}")
    prefixes = tuple(f"moto.{service}." for service in _SERVICES)
    held = {module: dict(vars(module)) for name, module in sys.modules.items() if name.startswith(prefixes)}
    backends = {one: one.backend for names in held.values() for one in names.values() if isinstance(one, BackendDict)}
    paths = [(names["url_paths"], dict(names["url_paths"])) for names in held.values() if "url_paths" in names]
    yield
    for module, names in held.items():
        for name, value in names.items():
            if vars(module).get(name) is not value:
                setattr(module, name, value)
    for path, was in paths:
        path.update(was)
    for one, backend in backends.items():
        one.backend = backend
        one.clear()


@pytest.fixture
def world(
    _moto_stays: None, tmp_path: Path, clock: FakeClock, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """A world whose clock stands until a test moves it, and whose controllers look when it calls `world.tick()`."""
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")  # 1300 of them: 60 ms a test
    moto_api_backend.reset()
    world = World("test", tmp_path, FakeMachines(), FakeNetwork(), clock=clock, log=lines.append)
    identity.install(world)
    yield world
    world.close()


@pytest.fixture
def ec2(world: World, tmp_path: Path) -> Iterator[Ec2]:
    """EC2 with one image, `fakes.IMAGE`. `settle(world)` lets instances come as far as they can."""
    world.catalog = FakeCatalog(tmp_path / "base")
    service = install_ec2(world)
    yield service
    service.close()


@pytest.fixture
def faults() -> ApiFaults:
    """What goes wrong with the calls that `client` makes."""
    return ApiFaults()


class Door:
    """Where the one server and its clients lead: to the world of the test that runs. A client takes 25 ms to make."""

    def __init__(self) -> None:
        self.api: Api | None = None
        self.endpoint = ""
        self.clients: dict[tuple[str, str], Any] = {}

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        assert self.api is not None
        return self.api(environ, start_response)


@pytest.fixture(scope="session")
def _door() -> Iterator[Door]:
    door = Door()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = ApiServer(door, [listener])
        door.endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield door
        for client in door.clients.values():
            client.close()
        server.close()


@pytest.fixture
def client(world: World, faults: ApiFaults, _door: Door) -> Iterator[Callable[..., Any]]:
    """`client("ec2")` is a boto3 client of the world's API. The test needs the mark `network`."""
    _door.api = Api(world, faults)

    def make(service: str, **settings: Any) -> Any:
        keys = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "secret", **settings}
        known = (service, repr(sorted(keys.items())))
        if known not in _door.clients:
            _door.clients[known] = boto3.client(
                service,
                region_name="us-east-1",
                endpoint_url=_door.endpoint,
                config=Config(retries={"max_attempts": 0}),
                **keys,
            )
        return _door.clients[known]

    yield make
    _door.api = None
