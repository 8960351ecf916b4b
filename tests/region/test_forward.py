"""A forwarder between two ports of the loopback interface: bytes both ways, half-closed sides, a clean end."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from region.forward import Forward

pytestmark = pytest.mark.network


def answer_upper(listener: socket.socket) -> None:
    """Reads to the end of what a client says, and only then says it back in capitals."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            said = b""
            while more := connection.recv(65536):
                said += more
            connection.sendall(said.upper())


@pytest.fixture
def upper() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer_upper, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture
def forward(upper: int) -> Iterator[Forward]:
    with Forward((None, "127.0.0.1", 0), (None, "127.0.0.1", upper)) as forward:
        yield forward


def converse(port: int, said: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
        heard = b""
        while more := connection.recv(65536):
            heard += more
    return heard


def test_a_side_that_ended_still_hears_the_other(forward: Forward) -> None:
    assert converse(forward.port, b"an order") == b"AN ORDER"


def test_large_bodies_pass_whole(forward: Forward) -> None:
    assert converse(forward.port, b"x" * 1_000_000) == b"X" * 1_000_000


def test_many_at_once(forward: Forward) -> None:
    heard: list[bytes] = []
    threads = [threading.Thread(target=lambda n=n: heard.append(converse(forward.port, b"a%d" % n))) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(heard) == sorted(b"A%d" % n for n in range(20))


def test_nobody_behind_it_closes_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with Forward((None, "127.0.0.1", 0), (None, "127.0.0.1", port)) as forward:
        assert converse(forward.port, b"") == b""


def test_closing_ends_open_connections_and_leaves_no_thread(upper: int) -> None:
    forward = Forward((None, "127.0.0.1", 0), (None, "127.0.0.1", upper))
    with socket.create_connection(("127.0.0.1", forward.port), timeout=5) as connection:
        connection.sendall(b"and then")
        forward.close()
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(10) == b""
    forward.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("forward")]
    with pytest.raises(OSError, match=r"refused"):
        socket.create_connection(("127.0.0.1", forward.port), timeout=5)
