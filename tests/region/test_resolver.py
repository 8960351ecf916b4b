"""The resolver's messages, and its doors on the loopback interface."""

from __future__ import annotations

import socket
import struct
from typing import Any

import dnslib
import pytest

from region.names import Record, Zone
from region.resolver import Resolver, data, reply, texts

ZONE = Zone(
    "example.com",
    (
        Record("example.com", "SOA", ("ns-1.example. root.example. 1 7200 900 1209600 86400",), 900),
        Record("web.example.com", "A", ("10.0.0.1",), 30),
        Record("bad.example.com", "A", ("nonsense", "10.0.0.2")),
        Record("big.example.com", "TXT", tuple(f'"{n:0200}"' for n in range(9))),
    ),
)


def ask(name: str, kind: str = "A", limit: int | None = None, edns: int = 0) -> Any:
    question = dnslib.DNSRecord.question(name, kind)
    if edns:
        question.add_ar(dnslib.EDNS0(udp_len=edns))
    answered = reply(question.pack(), [ZONE], limit=limit)
    assert answered is not None
    return dnslib.DNSRecord.parse(answered)


def test_an_answer_is_of_the_zone_and_says_how_long_it_holds() -> None:
    said = ask("web.example.com")
    assert (said.header.rcode, said.header.aa, said.header.ra) == (dnslib.RCODE.NOERROR, 1, 1)
    assert [(str(rr.rname), str(rr.rdata), rr.ttl) for rr in said.rr] == [("web.example.com.", "10.0.0.1", 30)]


def test_a_name_of_no_zone_does_not_exist() -> None:
    said = ask("google.com")
    assert (said.header.rcode, said.header.aa, said.rr, said.auth) == (dnslib.RCODE.NXDOMAIN, 0, [], [])


def test_no_record_of_that_type_is_no_error_and_the_zone_says_so() -> None:
    said = ask("web.example.com", "AAAA")
    assert (said.header.rcode, said.rr, len(said.auth)) == (dnslib.RCODE.NOERROR, [], 1)


def test_a_value_that_makes_no_sense_hides_no_other() -> None:
    assert [str(rr.rdata) for rr in ask("bad.example.com").rr] == ["10.0.0.2"]


@pytest.mark.parametrize(("limit", "edns", "cut"), [(512, 0, True), (512, 4096, False), (None, 0, False)])
def test_what_is_too_long_for_a_datagram_is_asked_for_again_over_tcp(limit: int | None, edns: int, cut: bool) -> None:
    said = ask("big.example.com", "TXT", limit, edns)
    assert (said.header.tc, len(said.rr)) == ((1, 0) if cut else (0, 9))


@pytest.mark.parametrize("message", [b"", b"nonsense", bytes(12), dnslib.DNSRecord.question("a").reply().pack()])
def test_what_is_no_question_is_not_answered(message: bytes) -> None:
    assert reply(message, [ZONE]) is None


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("A", "10.0.0.1", "10.0.0.1"),
        ("AAAA", "fd00::1", "fd00::1"),
        ("CNAME", "a.example.com", "a.example.com."),
        ("MX", "10 mail.example.com", "10 mail.example.com."),
        ("SRV", "1 10 5269 x.example.com.", "1 10 5269 x.example.com."),
        ("TXT", '"a b" "c"', '"a b","c"'),
        ("CAA", '0 issue "ca.example"', '0 issue "ca.example"'),
    ],
)
def test_values_as_route_53_writes_them(kind: str, value: str, text: str) -> None:
    assert str(data(kind, value)) == text


@pytest.mark.parametrize(("kind", "value"), [("A", "x"), ("MX", "mail"), ("SRV", "a b c d"), ("NAPTR", "1")])
def test_values_that_make_no_sense(kind: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        data(kind, value)


@pytest.mark.parametrize(
    ("value", "strings"),
    [('"a"', [b"a"]), (r'"say \"x\"" "\101\\"', [b'say "x"', b"A\\"]), ("bare", [b"bare"]), ('""', [b""])],
)
def test_the_strings_of_a_text(value: str, strings: list[bytes]) -> None:
    assert texts(value) == strings


@pytest.mark.network
def test_it_answers_over_udp_and_tcp_and_ends() -> None:
    question = bytes(dnslib.DNSRecord.question("web.example.com").pack())
    with Resolver(lambda: [ZONE], [(None, "127.0.0.1")], port=0) as resolver:
        where = ("127.0.0.1", resolver.port)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            datagrams.settimeout(5)
            datagrams.sendto(b"nonsense", where)
            datagrams.sendto(question, where)
            assert dnslib.DNSRecord.parse(datagrams.recv(512)).rr[0].rdata.data == (10, 0, 0, 1)
        with socket.create_connection(where, timeout=5) as stream, stream.makefile("rb") as read:
            for _ in range(2):
                stream.sendall(struct.pack("!H", len(question)) + question)
                (length,) = struct.unpack("!H", read.read(2))
                assert dnslib.DNSRecord.parse(read.read(length)).rr[0].rdata.data == (10, 0, 0, 1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(where, timeout=5)


@pytest.mark.network
def test_a_place_that_is_taken_is_told_of_where_it_is_only_wished_for() -> None:
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            Resolver(lambda: [], [(None, "127.0.0.1")], port=port)
        Resolver(lambda: [], [], wishes=[(None, "127.0.0.1")], say=said.append, port=port).close()
    (line,) = said
    assert line.startswith("no names are answered at 127.0.0.1: Address already in use")
