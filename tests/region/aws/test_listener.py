"""HTTP/1.1 as the API's clients speak it."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from region.aws.listener import CLOSING, CONTROL, ApiServer, CutConnection

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

pytestmark = pytest.mark.network


def echo(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """Says what it was asked."""
    if environ["PATH_INFO"] == "/cut":
        raise CutConnection
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Header", environ.get("HTTP_X_ONE", ""))])
    said = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} {environ['QUERY_STRING']} {environ[CONTROL]} "
    return [said.encode(), environ["wsgi.input"].read()]


@contextlib.contextmanager
def serving(app: WSGIApplication, *, control: bool = False) -> Iterator[int]:
    """The port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = ApiServer(app, [listener], control=control)
        try:
            yield listener.getsockname()[1]
        finally:
            server.close()


@pytest.fixture
def port() -> Iterator[int]:
    with serving(echo) as port:
        yield port


def exchanged(port: int, sent: bytes) -> bytes:
    """All that comes back until the connection ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_connection_carries_many_requests(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection):
        connection.connect()
        first = connection.sock
        for number in range(3):
            connection.request("POST", f"/a%20b?n={number}", b"body", {"X-One": "1"})
            answer = connection.getresponse()
            assert answer.read() == f"POST /a b n={number} False body".encode()
            assert (answer.headers["X-Header"], answer.headers["Connection"]) == ("1", "keep-alive")
        assert connection.sock is first


def test_a_host_s_own_socket_is_told_apart() -> None:
    with serving(echo, control=True) as port:
        assert b" True " in exchanged(port, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize(
    ("request_", "ends"),
    [
        (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", b"GET /  False "),
        (b"GET / HTTP/1.0\r\n\r\n", b"GET /  False "),
        (b"GET http://127.0.0.1:4566/x?y HTTP/1.0\r\n\r\n", b"GET /x y False "),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nab\r\n1\r\nc\r\n0\r\n\r\n", b" abc"),
        (b"POST / HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nab", b" ab"),
        (b"HEAD / HTTP/1.0\r\n\r\n", b"Content-Length: 14\r\n\r\n"),
        (b"GET / HTTP/1.0\r\nX_One: spoofed\r\n\r\n", b"GET /  False "),
        (b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n", b"Content-Length is no number."),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\n", b"A chunk has no size."),
        (b"nonsense\r\n", b"This is not HTTP/1.1."),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 300, b"There are too many headers."),
        (b"GET /cut HTTP/1.1\r\n\r\n", b""),
    ],
)
def test_a_request_is_answered(port: int, request_: bytes, ends: bytes) -> None:
    answer = exchanged(port, request_)
    assert answer.endswith(ends)
    assert b"spoofed" not in answer


def test_an_answer_says_what_it_is(port: int) -> None:
    head, _, body = exchanged(port, b"GET /x HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 200 OK"
    assert {"Content-Type: text/plain", f"Content-Length: {len(body)}", "Connection: close"} <= set(lines)
    assert any(line.startswith("Date: ") for line in lines)


def test_it_closes_at_once_whatever_its_connections_do() -> None:
    waits = threading.Event()

    def slow(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        waits.set()
        environ[CLOSING].wait(30)
        return echo(environ, start_response)

    with contextlib.ExitStack() as stack:
        port = stack.enter_context(serving(slow))
        idle, busy = (stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(2))
        busy.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert waits.wait(5)
        assert idle.fileno() > 0
        began = time.monotonic()
    assert time.monotonic() - began < 0.3
