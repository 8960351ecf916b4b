"""Which TCP ports are listened on."""

from __future__ import annotations

import socket
import struct

import pytest

from region import listening

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 123 1 0 100 0 0 10 0
   1: 14014D7F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 124 1 0 100 0 0 10 0
   2: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 125 1 0 100 0 0 10 0
"""


def test_the_table_tells_who_listens_and_not_who_is_connected() -> None:
    assert listening.of_table(TABLE) == {("0.0.0.0", 22), ("127.77.1.20", 80)}


@pytest.mark.parametrize(
    ("family", "source", "expected"),
    [
        (socket.AF_INET, "0.0.0.0", ("0.0.0.0", 8080)),
        (socket.AF_INET, "172.31.5.9", ("172.31.5.9", 8080)),
        (socket.AF_INET6, "::", ("::", 8080)),
        (socket.AF_INET6, "::1", ("::1", 8080)),
    ],
)
def test_the_kernels_answer(family: int, source: str, expected: tuple[str, int]) -> None:
    packed = socket.inet_pton(family, source).ljust(16, b"\0")
    message = struct.pack("!BBBBHH", family, 10, 0, 0, 8080, 0) + packed + bytes(44)
    assert listening.answer(message) == expected


def test_what_listens_on_the_loopback_interface_alone_is_not_reachable() -> None:
    sockets = {
        ("0.0.0.0", 22),
        ("127.0.0.1", 5432),
        ("::1", 25),
        ("::", 80),
        ("172.31.5.9", 81),
        ("::ffff:127.0.0.1", 9),
    }
    assert listening.reachable(sockets) == {22, 80, 81}


@pytest.mark.network
def test_the_kernel_tells_of_a_socket_that_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("::1", 0), family=socket.AF_INET6) as six:
        found = listening.here()
        assert ("127.0.0.1", one.getsockname()[1]) in found
        assert ("::1", six.getsockname()[1]) in found
