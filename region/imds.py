"""The metadata service on a socket: HTTP/1.1 with connections that stay open, a thread each.

Not `http.server`: that asks DNS for its own name at start, and its headers are not EC2's.
"""

from __future__ import annotations

import re
import socket
import threading
from email.utils import formatdate
from typing import BinaryIO

from region import netns
from region.acceptor import Acceptor
from region.metadata import MetadataService, Request, Response, failure

ADDRESS = "169.254.169.254"
PORT = 80
_IDLE = 65.0  # seconds without a request, after which a connection is closed
_LONGEST_LINE = 8192  # bytes
_LONGEST_BODY = 8192


class MetadataServer:
    """Serves until `close`. `namespace` is where it listens (None: this process's own network). Raises OSError."""

    def __init__(self, service: MetadataService, namespace: str | None, host: str = ADDRESS, port: int = PORT) -> None:
        self.service = service
        self._acceptor = Acceptor(netns.listen(namespace, host, port), self._serve, "imds")
        self.port = self._acceptor.port
        self._acceptor.start()

    def close(self) -> None:
        """Ends all connections, answered or not, and returns when no thread is left. Twice is no error."""
        self._acceptor.close()

    def _serve(self, connection: socket.socket, source: str) -> None:
        connection.settimeout(_IDLE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection.makefile("rb") as stream:
            while self._one(connection, stream, source):
                pass

    def _one(self, connection: socket.socket, stream: BinaryIO, source: str) -> bool:
        """Answers one request; whether the connection stays open."""
        parsed = _read(stream, source)
        if parsed is None:
            return False
        request, keep = parsed
        response = failure(400) if request is None else self.service.answer(request)
        if self._acceptor.closing.wait(min(response.delay, threading.TIMEOUT_MAX)) or response.hang:
            return False
        connection.sendall(_rendered(response, head_only=request is not None and request.method == "HEAD", keep=keep))
        return keep


def _read(stream: BinaryIO, source: str) -> tuple[Request | None, bool] | None:
    """A request (None for one that makes no sense) and whether the client keeps the connection; None at its end."""
    line = stream.readline(_LONGEST_LINE)
    if not line:
        return None
    words = line.decode("latin-1").split()
    headers = {}
    while (field := stream.readline(_LONGEST_LINE)) not in (b"\r\n", b"\n", b""):
        name, _, value = field.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    length = headers.get("content-length", "0")
    if len(words) != 3 or not re.fullmatch("[0-9]{1,6}", length) or int(length) > _LONGEST_BODY:
        return None, False
    stream.read(int(length))
    keep = words[2] == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
    return Request(words[0], words[1], headers, source), keep


def _rendered(response: Response, *, head_only: bool, keep: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {response.status} {response.reason}",
        *(f"{name}: {value}" for name, value in response.headers),
        f"Content-Type: {response.content_type}",
        "Accept-Ranges: none",
        f"Content-Length: {len(response.body)}",
        f"Date: {formatdate(usegmt=True)}",
        "Server: EC2ws",
        f"Connection: {'keep-alive' if keep else 'close'}",
    ]
    head = "\r\n".join(lines) + "\r\n\r\n"
    return head.encode("latin-1") + (b"" if head_only else response.body)
