"""A local instance: what it is called and runs, waiting for its agent, and addresses that lead elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.errors import MachineError
from agent.image import Service
from agent.names import TAG_MODE, TAG_SERVICE
from bake.images import Image
from bake.local import LocalInstance, Request, _label, _redirect
from region.errors import RegionError
from region.machine import Machine
from region.site import Site
from tests.bake.planning import manifest

IMAGE = Image("shop-2026-11-23.1", "shop", "verified", "", "", "", (), "", Path("/nowhere"))


class FakeMachine:
    """A machine whose agent says these things one after the other, the last of them ever after."""

    def __init__(self, log: Path, *statuses: dict[str, Any] | Exception | str, ended: bool = False) -> None:
        self.statuses = list(statuses)
        self.log = log
        self.ended = ended
        self.name = "shop-review-0a0a"

    def read(self, path: str) -> bytes:
        assert path == "/run/bakeboot/status.json"
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if isinstance(status, Exception):
            raise status
        return (status if isinstance(status, str) else json.dumps(status)).encode()

    def poll(self) -> int | None:
        return 0 if self.ended else None


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def instance(machine: FakeMachine, request: Request | None = None) -> LocalInstance:
    return LocalInstance(cast("Machine", machine), cast("Site", None), IMAGE, manifest(), request or Request("review"))


def waited(machine: FakeMachine, timeout: float = 10.0) -> tuple[float, list[str]]:
    clock, heard = Clock(), list[str]()
    seconds = instance(machine).wait_ready(timeout, clock=clock, sleep=clock.sleep, hear=heard.append)
    return round(seconds, 3), heard


@pytest.mark.parametrize(
    ("statuses", "seconds", "phases"),
    [
        ([{"phase": "ready"}], 0.0, ["ready"]),
        ([{"phase": "idle"}], 0.0, ["idle"]),
        (
            [FileNotFoundError(), {"phase": "tags"}, {"phase": "tags"}, {"phase": "services"}, {"phase": "ready"}],
            *(0.08, ["tags", "services", "ready"]),
        ),
        (["", "{", "[]", {}, {"phase": "ready"}], 0.08, ["ready"]),
    ],
    ids=["ready", "idle", "on its way", "half said"],
)
def test_it_waits_until_its_agent_is_ready(
    tmp_path: Path, statuses: Sequence[dict[str, Any] | Exception | str], seconds: float, phases: list[str]
) -> None:
    assert waited(FakeMachine(tmp_path / "log", *statuses)) == (seconds, phases)


@pytest.mark.parametrize(
    ("status", "what", "hint"),
    [
        ({"phase": "failed", "reason": "no tag", "hint": "set it"}, "no tag", "set it"),
        ({"phase": "failed"}, "its agent failed, and says no reason", ""),
        ({"phase": "tags"}, "not ready after 10 s: its agent is at 'tags'", ""),
        (FileNotFoundError(), "not ready after 10 s: its agent has said nothing", ""),
    ],
)
def test_what_keeps_it_from_being_ready_is_told(tmp_path: Path, status: Any, what: str, hint: str) -> None:
    with pytest.raises(MachineError) as told:
        waited(FakeMachine(tmp_path / "log", status))
    assert (told.value.what, told.value.where, told.value.hint) == (what, "shop-2026-11-23.1 as review", hint)


def test_a_machine_that_ended_is_told_with_its_last_lines(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("".join(f"line {number}\n" for number in range(30)))
    with pytest.raises(MachineError, match=r"the machine ended; its last lines:\nline 15\n(.|\n)*line 29") as told:
        waited(FakeMachine(tmp_path / "log", RegionError("is not running"), ended=True))
    assert "line 14" not in told.value.what


def test_a_machine_that_ended_without_a_log_is_told_too(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="no log"):
        waited(FakeMachine(tmp_path / "log", {"phase": "tags"}, ended=True))


@pytest.mark.parametrize(
    ("request_", "services"),
    [
        (Request("review"), ["storefront", "orders-api", "jobs", "www"]),
        (Request("production", "jobs"), ["jobs"]),
        (Request("bake"), []),
        (Request("review", tags={TAG_MODE: "production", TAG_SERVICE: "www"}), ["www"]),
        (Request("review", tags={TAG_MODE: "test"}), ["storefront", "orders-api", "jobs", "www"]),
        (Request("review", tags={}), []),
    ],
    ids=["review", "one", "none", "tags outrank", "tags of all", "no tags"],
)
def test_what_it_runs_is_what_its_tags_say(tmp_path: Path, request_: Request, services: list[str]) -> None:
    assert list(instance(FakeMachine(tmp_path, {}), request_).services) == services


@pytest.mark.parametrize(
    ("request_", "label"),
    [
        (Request("review"), "review"),
        (Request("production", "orders-api"), "orders-api"),
        (Request("review", tags={TAG_MODE: "Pro Duction; rm -rf /", TAG_SERVICE: ""}), "pro-duction-rm-rf"),
        (Request("review", tags={TAG_MODE: "../../etc"}), "etc"),
        (Request("review", tags={TAG_MODE: "日本"}), "machine"),
        (Request("review", tags={}), "machine"),
        (Request("production", "x" * 60), "x" * 24),
    ],
)
def test_a_machine_has_a_plain_name_whatever_its_tags_say(request_: Request, label: str) -> None:
    assert _label(request_) == label


@pytest.mark.parametrize(
    ("address", "moved"),
    [
        ("postgresql://u:p%40w@127.0.0.1:5432/db?x=1", "postgresql://u:p%40w@10.77.0.1:7000/db?x=1"),
        ("redis://:pw@localhost:6379/0", "redis://:pw@10.77.0.1:7000/0"),
        ("http://127.0.0.1:8001", "http://10.77.0.1:7000"),
        ("redis://u@h:1/0#f", "redis://u@10.77.0.1:7000/0#f"),
    ],
)
def test_an_address_leads_elsewhere_with_its_credentials(address: str, moved: str) -> None:
    assert _redirect(address, "10.77.0.1", 7000) == moved


def test_a_service_without_a_port_has_no_address(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="jobs has no port"):
        instance(FakeMachine(tmp_path, {})).url("jobs")


def test_what_is_reachable_are_datastores_and_called_services_whatever_they_are_named_in_env() -> None:
    old = manifest().services["storefront"]
    fields = {field: getattr(old, field) for field in old.__fields__}
    service = Service(**fields | {"env": {"DATABASE_URL": "from app.json"}})
    variables = {
        "DATABASE_URL": "postgres://u:p@127.0.0.1:5432/app",
        "REDIS_URL": "redis://u:p@127.0.0.1:5432/1",
        "ORDERS_API_URL": "http://127.0.0.1:5432",
        "CDN_URL": "http://127.0.0.1:5432",
    }
    text = "".join(f'{name}="{value}"\n' for name, value in variables.items())
    machine = SimpleNamespace(read=lambda path: text.encode())
    services = manifest().services | {"storefront": service}
    found = LocalInstance(
        cast("Machine", machine), cast("Site", None), IMAGE, manifest(services=services), Request("review")
    )
    found._ports[5432] = 6000
    assert found.reachable("storefront") == {
        "DATABASE_URL": "postgres://u:p@127.0.0.1:6000/app",
        "REDIS_URL": "redis://u:p@127.0.0.1:6000/1",
        "ORDERS_API_URL": "http://127.0.0.1:6000",
    }


def test_configuration_is_not_in_the_repr_of_a_request() -> None:
    assert "hunter2" not in repr(Request("production", "jobs", config={"jobs.env": "PASSWORD=hunter2"}))
