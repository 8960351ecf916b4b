"""A check is one connection and one answer, or none in time."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from region.balancer.health import Answered, Failed, Outcome, TimedOut
from region.balancer.prober import NamespaceProber, Probe, ask

pytestmark = pytest.mark.network


class Target:
    """Answers each connection with `answer`; None is never."""

    def __init__(self) -> None:
        self.answer: bytes | None = b"HTTP/1.1 200 OK\r\n\r\n"
        self.asked: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def probe(self) -> Probe:
        return Probe("127.0.0.1", self._listener.getsockname()[1], "/health?deep=1", interval=60, timeout=0.2)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.asked.append(connection.recv(4096))
                if self.answer is not None:
                    connection.sendall(self.answer)
                while connection.recv(4096):
                    pass

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()


@pytest.fixture
def target() -> Iterator[Target]:
    target = Target()
    yield target
    target.close()


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", Answered(503)),
        (b"SSH-2.0-OpenSSH\r\n", Failed()),
        (b"x" * 100_000 + b"\r\n", Failed()),
        (None, TimedOut()),
    ],
)
def test_an_outcome(target: Target, answer: bytes | None, outcome: Outcome) -> None:
    target.answer = answer
    assert asyncio.run(ask(target.probe)) == outcome


def test_a_refused_connection_is_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert asyncio.run(ask(Probe("127.0.0.1", port, "/", interval=60, timeout=1))) == Failed()


def test_the_target_is_asked_as_aws_asks(target: Target) -> None:
    asyncio.run(ask(target.probe))
    head = target.asked[0].decode().split("\r\n")
    assert head[0] == "GET /health?deep=1 HTTP/1.1"
    assert f"Host: 127.0.0.1:{target.probe.port}" in head
    assert "User-Agent: ELB-HealthChecker/2.0" in head


def test_who_is_new_is_asked_at_once_and_who_is_gone_no_more(target: Target) -> None:
    heard = threading.Event()
    prober = NamespaceProber(None, heard.set)
    try:
        prober.watch({"one": target.probe})
        assert heard.wait(5)
        assert prober.outcomes() == [("one", Answered(200))]
        assert prober.outcomes() == []
        prober.watch({})
    finally:
        prober.close()
    assert len(target.asked) == 1
