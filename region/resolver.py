"""The resolver of a region: DNS over UDP and TCP, with what `region.names` answers.

A machine asks it at 169.254.169.253, as in a VPC, a person on this host at 127.77.N.2. It asks nobody else: what is in
no hosted zone does not exist, which is said at once, so that no program waits for a name of the outside.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any

import dnslib

from region import names, netns
from region.acceptor import Acceptor, shut
from region.names import Record, Zone

PORT = 53
_SMALLEST = 512  # bytes of an answer over UDP that every client takes (RFC 1035, 4.2.1)
_IDLE = 10.0  # seconds without a question, after which a connection is closed

Place = tuple[str | None, str]
"""A network namespace (None: this process's own network) and an address in it."""


class Resolver:
    """Answers at all `places` until `close`. `zones` and `networks` are asked for each question, and must be quick.

    Raises OSError when one of the places is taken; of `wishes` that are, `say` is told.
    """

    def __init__(
        self,
        zones: Callable[[], Sequence[Zone]],
        places: Sequence[Place],
        *,
        wishes: Sequence[Place] = (),
        say: Callable[[str], None] = lambda line: None,
        networks: Callable[[], Sequence[str]] = tuple,
        port: int = PORT,
    ) -> None:
        self._zones, self._networks = zones, networks
        self._closing = threading.Event()
        self._datagrams: list[socket.socket] = []
        self._acceptors: list[Acceptor] = []
        self._threads: list[threading.Thread] = []
        try:
            for namespace, host in places:
                self._open(namespace, host, port)
            for namespace, host in wishes:
                try:
                    self._open(namespace, host, port)
                except OSError as error:
                    say(f"no names are answered at {host}: {error.strerror}")
        except BaseException:
            self.close()
            raise

    @property
    def port(self) -> int:
        """The one of the first place."""
        return int(self._datagrams[0].getsockname()[1])

    def close(self) -> None:
        """Returns when no thread is left. Twice is no error."""
        self._closing.set()
        for datagrams in self._datagrams:
            shut(datagrams, socket.SHUT_RDWR)  # wakes the thread in recvfrom, with an error or with nothing
        for thread in self._threads:
            thread.join()
        for datagrams in self._datagrams:
            datagrams.close()
        for acceptor in self._acceptors:
            acceptor.close()

    def __enter__(self) -> Resolver:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _open(self, namespace: str | None, host: str, port: int) -> None:
        datagrams = netns.inside(namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        try:
            datagrams.bind((host, port))
            bound = int(datagrams.getsockname()[1])
            acceptor = Acceptor(netns.listen(namespace, host, bound), self._serve, "dns")
        except BaseException:
            datagrams.close()
            raise
        self._datagrams.append(datagrams)
        acceptor.start()
        self._acceptors.append(acceptor)
        thread = threading.Thread(target=self._datagram_loop, args=(datagrams,), name=f"dns-{bound}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _reply(self, question: bytes, limit: int | None) -> bytes | None:
        return reply(question, self._zones(), self._networks(), limit)

    def _datagram_loop(self, datagrams: socket.socket) -> None:
        while not self._closing.is_set():
            try:
                question, sender = datagrams.recvfrom(65535)
                if answer := self._reply(question, _SMALLEST):
                    datagrams.sendto(answer, sender)
            except OSError:  # the client has gone, or we are closing
                self._closing.wait(0.01)

    def _serve(self, connection: socket.socket, _source: str) -> None:
        connection.settimeout(_IDLE)
        with connection.makefile("rb") as stream:
            while len(length := stream.read(2)) == 2:
                question = stream.read(struct.unpack("!H", length)[0])
                answer = self._reply(question, None)
                if answer is None:
                    return
                connection.sendall(struct.pack("!H", len(answer)) + answer)


def reply(
    question: bytes, zones: Sequence[Zone], networks: Sequence[str] = (), limit: int | None = None
) -> bytes | None:
    """The message that answers a message; None for one that is not a question. `limit` in bytes is UDP's. Pure."""
    try:
        asked = dnslib.DNSRecord.parse(question)
    except (dnslib.DNSError, ValueError, IndexError):
        return None
    if asked.header.qr or asked.header.opcode or len(asked.questions) != 1:
        return None
    kind = dnslib.QTYPE.forward.get(asked.q.qtype, "")
    found = names.answer(zones, str(asked.q.qname), kind, networks=networks)
    message = asked.reply(ra=1, aa=int(found.zone is not None))
    message.header.rcode = dnslib.RCODE.NOERROR if found.exists else dnslib.RCODE.NXDOMAIN
    for record in found.records:
        message.add_answer(*_packed(record))
    for record in found.authority:
        message.add_auth(*_packed(record))
    packed = bytes(message.pack())
    if limit is None or len(packed) <= max(limit, _accepted(asked)):
        return packed
    return bytes(message.truncate().pack())


def _accepted(asked: Any) -> int:
    """How many bytes the client says that it takes over UDP (EDNS, RFC 6891); 0 when it says nothing."""
    return max((int(extra.rclass) for extra in asked.ar if extra.rtype == dnslib.QTYPE.OPT), default=0)


def _packed(record: Record) -> Iterator[Any]:
    for value in record.values:
        with contextlib.suppress(ValueError, TypeError, dnslib.DNSError):  # one that makes no sense is left out
            yield dnslib.RR(
                dnslib.DNSLabel(record.name),
                getattr(dnslib.QTYPE, record.type),
                ttl=record.ttl,
                rdata=data(record.type, value),
            )


def data(kind: str, value: str) -> Any:
    """A value as Route 53 writes it ("Supported DNS record types"), as dnslib's. ValueError when it makes no sense."""
    words = value.split()
    match kind, len(words):
        case "A", 1:
            return dnslib.A(value)
        case "AAAA", 1:
            return dnslib.AAAA(value)
        case "CNAME" | "NS" | "PTR", 1:
            return getattr(dnslib, kind)(value)
        case "MX", 2:
            return dnslib.MX(words[1], int(words[0]))
        case "SRV", 4:
            return dnslib.SRV(int(words[0]), int(words[1]), int(words[2]), words[3])
        case "SOA", 7:
            return dnslib.SOA(words[0], words[1], tuple(map(int, words[2:])))
        case "TXT" | "SPF", _:
            return dnslib.TXT(texts(value))
        case "CAA", 3:
            return dnslib.CAA(int(words[0]), words[1], texts(words[2])[0].decode())
    raise ValueError(f"{kind} {value!r}")


def texts(value: str) -> list[bytes]:
    r"""The strings of a TXT record: each in quotation marks, with `\"`, `\\` and `\ooo` (octal) within."""
    strings = re.findall(r'"((?:[^"\\]|\\.)*)"', value) or [value]
    unescaped = [re.sub(r"\\([0-7]{3}|.)", lambda found: _character(found[1]), string) for string in strings]
    return [string.encode("utf-8", "surrogateescape") for string in unescaped]


def _character(escaped: str) -> str:
    return chr(int(escaped, 8)) if len(escaped) == 3 else escaped
