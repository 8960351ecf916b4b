"""Connections taken on a port of the loopback interface: what goes wrong with one is not the end of the others."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from collections.abc import Iterator

import pytest

from region.acceptor import Acceptor

pytestmark = pytest.mark.network


class Listener(socket.socket):
    """One whose first calls of `accept` end with these errors."""

    def __init__(self, *errors: int) -> None:
        super().__init__()
        self.bind(("127.0.0.1", 0))
        self.listen()
        self.errors = list(errors)

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        if self.errors:
            code = self.errors.pop(0)
            raise OSError(code, errno.errorcode[code])
        return super().accept()


class Greeter:
    """Says where each connection comes from and waits for its end, or first runs into an error."""

    def __init__(self, *errors: int, troubles: int = 0) -> None:
        self.troubles = troubles
        self.acceptor = Acceptor(Listener(*errors), self.serve, "greeter")

    def serve(self, connection: socket.socket, source: str) -> None:
        if self.troubles:
            self.troubles -= 1
            raise ConnectionResetError
        connection.sendall(f"{source}\n".encode())
        assert connection.recv(1) == b""

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.acceptor.port), timeout=5)


@contextlib.contextmanager
def started(greeter: Greeter) -> Iterator[Greeter]:
    greeter.acceptor.start()
    yield greeter
    greeter.acceptor.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("greeter")]


def heard(connection: socket.socket) -> bytes:
    return connection.makefile("rb").readline()


def test_a_connection_that_could_not_be_taken_is_not_the_last() -> None:
    with started(Greeter(errno.EMFILE, errno.ECONNABORTED)) as greeter, greeter.connect() as connection:
        assert heard(connection) == b"127.0.0.1\n"


def test_an_error_of_a_connection_ends_that_one_alone() -> None:
    with started(Greeter(troubles=1)) as greeter:
        with greeter.connect() as first:
            assert heard(first) == b""
        with greeter.connect() as second:
            assert heard(second) == b"127.0.0.1\n"


def test_closing_ends_what_is_open_and_watches_nothing_more() -> None:
    with started(Greeter()) as greeter, greeter.connect() as one, greeter.connect() as other:
        assert heard(one) == heard(other) == b"127.0.0.1\n"
        greeter.acceptor.close()
        assert heard(one) == heard(other) == b""
        with socket.socket() as late, pytest.raises(ConnectionAbortedError), greeter.acceptor.watched(late):
            pass
        with pytest.raises(ConnectionRefusedError):
            greeter.connect()
