"""A forwarder between two ports of the loopback interface: bytes both ways, half-closed sides, a clean end."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from region.forward import Forward

pytestmark = pytest.mark.network

_PIECE = 65536


def answer_upper(connection: socket.socket) -> None:
    """Reads to the end of what a client says, and only then says it back in capitals."""
    said = b""
    while more := connection.recv(_PIECE):
        said += more
    connection.sendall(said.upper())


def answer_at_length(connection: socket.socket) -> None:
    """Says each piece four times over before it reads the next."""
    with connection.makefile("rb") as stream:
        while said := stream.read(_PIECE):
            connection.sendall(said * 4)


@contextlib.contextmanager
def served(answer: Callable[[socket.socket], object]) -> Iterator[int]:
    """The port of a server that takes one connection after the other."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def to(port: int) -> Forward:
    return Forward((None, "127.0.0.1", 0), (None, "127.0.0.1", port))


@pytest.fixture
def upper() -> Iterator[int]:
    with served(answer_upper) as port:
        yield port


@pytest.fixture
def forward(upper: int) -> Iterator[Forward]:
    with to(upper) as forward:
        yield forward


def converse(port: int, said: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
        heard = b""
        while more := connection.recv(_PIECE):
            heard += more
    return heard


def test_a_side_that_ended_still_hears_the_other(forward: Forward) -> None:
    assert converse(forward.port, b"an order") == b"AN ORDER"


def test_large_bodies_pass_whole(forward: Forward) -> None:
    assert converse(forward.port, b"x" * 1_000_000) == b"X" * 1_000_000


def test_both_sides_talk_at_once_however_much_they_say() -> None:
    pieces = [os.urandom(_PIECE) for _ in range(150)]  # 10 MB, answered by 40: more than the buffers on the way hold
    with (
        served(answer_at_length) as port,
        to(port) as forward,
        socket.create_connection(("127.0.0.1", forward.port), timeout=5) as connection,
    ):

        def speak() -> None:
            with contextlib.suppress(TimeoutError):  # then the other thread hears too little
                connection.sendall(b"".join(pieces))
                connection.shutdown(socket.SHUT_WR)

        speaker = threading.Thread(target=speak)
        speaker.start()
        heard = bytearray()
        try:
            while more := connection.recv(_PIECE):
                heard += more
        finally:
            speaker.join()
    assert heard == b"".join(piece * 4 for piece in pieces)


def test_many_at_once(forward: Forward) -> None:
    heard: list[bytes] = []
    threads = [threading.Thread(target=lambda n=n: heard.append(converse(forward.port, b"a%d" % n))) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(heard) == sorted(b"A%d" % n for n in range(20))


def test_a_held_one_takes_a_connection_at_once_and_carries_it_when_released() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with (
        Forward((None, "127.0.0.1", 0), (None, "127.0.0.1", port), held=True) as forward,
        socket.create_connection((forward.host, forward.port), timeout=10) as client,
    ):
        client.sendall(b"said before anybody is there")
        client.shutdown(socket.SHUT_WR)
        with socket.create_server(("127.0.0.1", port)) as late:
            late.settimeout(10)
            forward.release()
            forward.release()
            connection, _ = late.accept()
            with connection:
                answer_upper(connection)
        assert client.recv(_PIECE) == b"SAID BEFORE ANYBODY IS THERE"


def test_a_held_one_that_is_never_released_closes() -> None:
    before = threading.active_count()
    forward = Forward((None, "127.0.0.1", 0), (None, "127.0.0.1", 9), held=True)
    with socket.create_connection((forward.host, forward.port), timeout=10) as client:
        client.sendall(b"x")
        forward.close()
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
    assert threading.active_count() == before


def test_nobody_behind_it_closes_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with to(port) as forward:
        assert converse(forward.port, b"") == b""


def test_too_many_open_files_end_a_connection_and_not_the_forwarder(forward: Forward) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as client:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            client.connect(("127.0.0.1", forward.port))
            time.sleep(0.05)  # until it has tried to accept this one or the next
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert converse(forward.port, b"an order") == b"AN ORDER"


def test_closing_ends_a_connection_whose_buffers_are_full() -> None:
    closed = threading.Event()
    with (
        served(lambda _: closed.wait(10)) as port,
        to(port) as forward,
        socket.create_connection(("127.0.0.1", forward.port), timeout=0.2) as connection,
    ):
        with pytest.raises(TimeoutError):
            connection.sendall(b"x" * (64 << 20))
        forward.close()
        closed.set()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("forward")]


def test_closing_ends_open_connections_and_leaves_no_thread(upper: int) -> None:
    forward = to(upper)
    with socket.create_connection(("127.0.0.1", forward.port), timeout=5) as connection:
        connection.sendall(b"and then")
        forward.close()
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(10) == b""
    forward.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("forward")]
    with pytest.raises(OSError, match=r"refused"):
        socket.create_connection(("127.0.0.1", forward.port), timeout=5)
