"""A region's control over HTTP, as its client and the commands see it, with a region behind it that only notes."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from region.aws.listener import ApiServer
from region.client import RegionClient
from region.control import Control
from region.errors import RegionError
from region.faults import Faults
from region.region_state import Place, Record

TOKEN = "s3cret"
ID = "i-0123456789abcdef0"
STATUS: dict[str, Any] = {
    "name": "local",
    "endpoint": "http://127.77.1.1:4566",
    "started": 0.0,
    "groups": [],
    "instances": [],
    "load_balancers": [],
    "images": [{"id": "ami-1", "name": "shop-2026-11-24.1", "state": "available", "created": "2026-11-24T12:00:00Z"}],
    "faults": [],
}


class FakeRegion:
    """Notes what it was asked, and knows one instance."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def _note(self, *asked: Any) -> str:
        if ID not in asked:
            raise RegionError("there is no such instance", where=str(asked[1]), hint="bakeboot region status")
        self.asked.append(asked)
        return ID

    def status(self) -> dict[str, Any]:
        return STATUS

    def interrupt(self, instance: str, notice: float, *, rebalance: bool) -> str:
        return self._note("interrupt", instance, notice, rebalance)

    def kill_machine(self, instance: str) -> str:
        return self._note("kill", instance)

    def console(self, instance: str) -> str:
        self._note("console", instance)
        return "Welcome"

    def set_metadata_faults(self, instance: str, faults: Faults) -> str:
        return self._note("metadata", instance, faults)

    def add_api_fault(self, plan: Mapping[str, Any]) -> str:
        self.asked.append(("fault", dict(plan)))
        return "fault-1"

    def faults(self) -> list[dict[str, Any]]:
        return [{"id": "fault-1"}]

    def clear_faults(self, fault: str | None) -> list[str]:
        self.asked.append(("clear", fault))
        return ["fault-1"]

    def settings(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        return dict(changes)

    def references(self) -> list[str]:
        return ["/layers/a"]


@contextmanager
def serving(home: Path, region: FakeRegion, name: str = "local") -> Iterator[RegionClient]:
    """The region is up in that home for the length of the block."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = ApiServer(Control(region, TOKEN), [listener])
    endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
    place = Place(home, name)
    try:
        with place.held():
            place.write(Record(name, 1, endpoint, TOKEN, 1.0, "bb", "bb-0", "us-east-1", secret_key="it's $5"))
            yield RegionClient.open(home, name)
    finally:
        server.close()
        listener.close()
