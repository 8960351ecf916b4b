"""A region's control and its client: each request reaches what it is for, and no other gets in."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from region.client import RegionClient
from region.control import Control, route
from region.errors import RegionError
from region.faults import FOREVER, Faults
from region.region_state import Place, Record
from tests.region.fake_region import ID, STATUS, TOKEN, FakeRegion, serving


def request(region: FakeRegion, method: str, path: str, body: bytes = b"", token: str = TOKEN) -> tuple[str, Any]:
    said: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None, /) -> Any:
        said.append(status)

    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": f"/_region/{path}",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        "HTTP_X_BAKEBOOT_TOKEN": token,
    }
    answer = b"".join(Control(region, TOKEN)(environ, start_response))
    return said[0], json.loads(answer)


@pytest.mark.parametrize("token", ["", "s3cre", "s3cret ", "é"])
@pytest.mark.parametrize("path", ["status", "nowhere"])
def test_without_the_token_nobody_learns_anything(token: str, path: str) -> None:
    assert request(FakeRegion(), "GET", path, token=token) == (
        "403 Forbidden",
        {"what": "this takes the token of region.json"},
    )


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "status", ""),
        ("POST", f"instances/{ID}/kill", ID),
        ("DELETE", "faults/fault%2F1", "fault/1"),
        ("DELETE", "faults", ""),
    ],
)
def test_a_request_finds_its_handler_and_its_name(method: str, path: str, name: str) -> None:
    handler, found = route(method, path)
    assert handler is not None
    assert found == name


@pytest.mark.parametrize(("method", "path"), [("POST", "status"), ("GET", "statuses"), ("GET", "instances//console")])
def test_others_find_none(method: str, path: str) -> None:
    assert request(FakeRegion(), method, path)[0] == "404 Not Found"


@pytest.mark.parametrize(
    ("path", "body", "what"),
    [
        ("instances/i-0/kill", b"", "no such instance"),
        (f"instances/{ID}/interrupt", b"{}", "expected seconds"),
        (f"instances/{ID}/interrupt", b'{"notice": -1}', "expected seconds"),
        (f"instances/{ID}/interrupt", b'{"notice": true}', "expected seconds"),
        (f"instances/{ID}/kill", b"[]", "a JSON object"),
        (f"instances/{ID}/kill", b"{", "Expecting"),
    ],
)
def test_a_mistake_is_told_in_words(path: str, body: bytes, what: str) -> None:
    status, told = request(FakeRegion(), "POST", path, body)
    assert status == "400 Bad Request"
    assert what in told["what"]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[FakeRegion, RegionClient]]:
    region = FakeRegion()
    with serving(tmp_path, region) as client:
        yield region, client


@pytest.mark.network
def test_the_client_s_methods_reach_the_region(served: tuple[FakeRegion, RegionClient]) -> None:
    region, client = served
    faults = Faults(refused=FOREVER, wrong={"ami-id": "x"}, since="start")
    assert client.status() == STATUS
    assert client.interrupt(ID, 5, rebalance=True) == ID
    assert client.kill_machine(ID) == ID
    assert client.console(ID) == "Welcome"
    assert client.fault_metadata(ID, faults) == ID
    assert client.fault_api("ec2:*", "latency", seconds=0.2, lasts=60) == "fault-1"
    assert client.faults() == [{"id": "fault-1"}]
    assert client.clear_faults() == client.clear_faults("fault-1") == ["fault-1"]
    assert client.settings(tags_delay=5) == {"tags_delay": 5}
    assert client.references() == [Path("/layers/a")]
    assert region.asked == [
        ("interrupt", ID, 5.0, True),
        ("kill", ID),
        ("console", ID),
        ("metadata", ID, faults),
        ("fault", {"calls": "ec2:*", "kind": "latency", "seconds": 0.2, "for": 60}),
        ("clear", None),
        ("clear", "fault-1"),
    ]


@pytest.mark.network
def test_the_region_s_words_come_back_as_its_error(served: tuple[FakeRegion, RegionClient]) -> None:
    with pytest.raises(RegionError, match="no such instance") as told:
        served[1].kill_machine("i-0")
    assert (told.value.where, told.value.hint) == ("i-0", "bakeboot region status")


@pytest.mark.network
def test_a_region_that_does_not_answer_says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    record = Record("two", 1, f"http://127.0.0.1:{port}", TOKEN, 1.0, "bb", "bb-0", "us-east-1")
    with pytest.raises(RegionError, match="does not answer") as told:
        RegionClient(Place(tmp_path, "two"), record).status()
    assert told.value.hint == "bakeboot region logs --name two"


def test_the_environment_is_what_any_aws_client_reads(tmp_path: Path) -> None:
    record = Record("local", 1, "http://127.77.1.1:4566", TOKEN, 1.0, "bb", "bb-0", "us-east-1")
    assert RegionClient(Place(tmp_path, "local"), record).environment() == {
        "AWS_ENDPOINT_URL": "http://127.77.1.1:4566",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": record.access_key,
        "AWS_SECRET_ACCESS_KEY": record.secret_key,
    }
