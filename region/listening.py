"""Which TCP ports are listened on: of this host by /proc, of a machine by asking the kernel for those alone.

Reading /proc/net/tcp walks the connections of the whole host, in all namespaces: some milliseconds each time. Asking by
netlink (sock_diag(7)) for listening sockets walks those.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_LISTEN = 10  # a socket's state, in /proc and in sock_diag alike
_NETLINK_SOCK_DIAG = 4
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_REQUEST = struct.Struct("=BBBBI48x")  # inet_diag_req_v2: family, protocol, extensions, -, states, id
_ANSWER = struct.Struct("!BBBBHH16s")  # inet_diag_msg: family, state, timer, retransmits, source port, -, source


def of_table(text: str) -> set[tuple[str, int]]:
    """Address and port of each listening IPv4 socket in the text of /proc/net/tcp (proc_net(5))."""
    found = set()
    for line in text.splitlines()[1:]:
        _, local, _, state = line.split()[:4]
        if int(state, 16) == _LISTEN:
            address, port = local.split(":")
            found.add((str(IPv4Address(bytes.fromhex(address)[::-1])), int(port, 16)))
    return found


def here() -> set[tuple[str, int]]:
    """Address and port of each listening TCP socket in the calling thread's network namespace. Raises OSError."""
    found: set[tuple[str, int]] = set()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(5)
        for family in (socket.AF_INET, socket.AF_INET6):
            request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, 1 << _LISTEN)
            header = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 0, 0)
            netlink.send(header + request)  # to the kernel, where no other address is given
            found |= set(_answers(netlink))
    return found


def _answers(netlink: socket.socket) -> Iterator[tuple[str, int]]:
    while True:
        data = netlink.recv(65536)
        while data:
            length, kind, *_ = _HEADER.unpack_from(data)
            if kind == _NLMSG_DONE:
                return
            if kind == _NLMSG_ERROR:
                (error,) = struct.unpack_from("=i", data, _HEADER.size)
                raise OSError(-error, "sock_diag")
            yield answer(data[_HEADER.size : length])
            data = data[(length + 3) & ~3 :]


def answer(message: bytes) -> tuple[str, int]:
    """Address and port of an inet_diag_msg."""
    family, _, _, _, port, _, source = _ANSWER.unpack_from(message)
    return str(IPv4Address(source[:4]) if family == socket.AF_INET else IPv6Address(source)), port


def reachable(sockets: set[tuple[str, int]]) -> set[int]:
    """The ports on which somebody listens beyond the loopback interface."""
    return {port for address, port in sockets if address != "::1" and not address.startswith(("127.", "::ffff:127."))}
