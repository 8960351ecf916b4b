"""The metadata service over a real socket: connections that stay open, odd requests, slow answers, a clean end."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from region.faults import FOREVER, Faults
from region.imds import MetadataServer
from region.metadata import InstanceMetadata, MetadataService

pytestmark = pytest.mark.network


@pytest.fixture
def server() -> Iterator[MetadataServer]:
    service = MetadataService(time.monotonic)
    service.set("127.0.0.1", InstanceMetadata("i-1", "ami-1", {"Name": "x"}, b"data"))
    server = MetadataServer(service, None, "127.0.0.1", 0)
    yield server
    server.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("imds")]


@pytest.fixture
def client(server: MetadataServer) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    yield connection
    connection.close()


def ask(client: http.client.HTTPConnection, method: str, path: str, **headers: str) -> tuple[int, bytes]:
    client.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = client.getresponse()
    return response.status, response.read()


def test_token_and_values_come_over_one_connection(client: http.client.HTTPConnection) -> None:
    status, token = ask(client, "PUT", "/latest/api/token", X_aws_ec2_metadata_token_ttl_seconds="60")
    assert status == 200
    used = client.sock
    for path, expected in (("/latest/meta-data/instance-id", b"i-1"), ("/latest/user-data", b"data")):
        assert ask(client, "GET", path, X_aws_ec2_metadata_token=token.decode()) == (200, expected)
    assert ask(client, "HEAD", "/latest/user-data", X_aws_ec2_metadata_token=token.decode()) == (200, b"")
    assert ask(client, "GET", "/latest/user-data")[0] == 401
    assert client.sock is used


def test_headers_are_ec2s(client: http.client.HTTPConnection) -> None:
    client.request("PUT", "/latest/api/token", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"})
    response = client.getresponse()
    response.read()
    assert response.headers["Server"] == "EC2ws"
    assert response.headers["X-aws-ec2-metadata-token-ttl-seconds"] == "60"


def raw(server: MetadataServer, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(data)
        answer = b""
        while more := connection.recv(4096):
            answer += more
    return answer


@pytest.mark.parametrize(
    ("data", "begins"),
    [
        (b"nonsense\r\n\r\n", b"HTTP/1.1 400 "),
        (b"PUT /latest/api/token HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"HTTP/1.1 400 "),
        ("PUT /latest/api/token HTTP/1.1\r\nContent-Length: ²\r\n\r\n".encode("latin-1"), b"HTTP/1.1 400 "),
        (b"PUT /latest/api/token HTTP/1.1\r\nContent-Length: " + b"1" * 5000 + b"\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.1 401 "),
        (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", b"HTTP/1.1 401 "),
        (b"PUT /latest/api/token HTTP/1.0\r\nContent-Length: 2\r\n\r\nab", b"HTTP/1.1 400 "),
    ],
)
def test_odd_requests_get_an_answer_and_the_connection_ends(server: MetadataServer, data: bytes, begins: bytes) -> None:
    assert raw(server, data).startswith(begins)


def test_slow_answers_are_slow_and_a_hang_ends_with_the_connection(server: MetadataServer) -> None:
    server.service.set_faults("127.0.0.1", Faults(slow=0.2))
    before = time.monotonic()
    assert raw(server, b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 401")
    assert time.monotonic() - before >= 0.2
    server.service.set_faults("127.0.0.1", Faults(hang=0.1))
    assert raw(server, b"GET / HTTP/1.0\r\n\r\n") == b""


def test_closing_ends_a_hang_that_would_last_forever() -> None:
    service = MetadataService(time.monotonic)
    service.set("127.0.0.1", None)
    service.set_faults("127.0.0.1", Faults(hang=FOREVER))
    server = MetadataServer(service, None, "127.0.0.1", 0)
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        while not service.requests("127.0.0.1"):
            time.sleep(0.005)
        server.close()
        assert connection.recv(1) == b""
