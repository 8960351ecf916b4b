"""HTTP/1.1 for the API: connections that stay open, a thread each, and an end whenever the application wants one.

Not werkzeug's server: that closes the connection after every answer, and has no way to end one without an answer.
"""

from __future__ import annotations

import io
import re
import socket
import sys
import threading
from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote_to_bytes

from region.acceptor import Acceptor

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

CONTROL = "bakeboot.control"  # in the environment: the request came by a socket of the host's own
CLOSING = "bakeboot.closing"  # an Event that is set when the server goes: what waits should wait for it too
_IDLE = 300.0  # seconds without a request, after which a connection is closed
_LONGEST_LINE = 65536  # bytes
_MOST_HEADERS = 200
_STATED = frozenset({"CONTENT_TYPE", "CONTENT_LENGTH"})


class CutConnection(Exception):
    """Raised by an application: the connection ends now, and the client gets no answer."""


class BadRequest(Exception):
    """It isn't HTTP, or asks for what HTTP/1.1 leaves open and this server doesn't have."""


class ApiServer:
    """Serves an application on every one of the listening sockets, until `close`.

    `control` says that they are the host's own: only by those does `Api` let anyone to what controls the region.
    """

    def __init__(self, app: WSGIApplication, sockets: Sequence[socket.socket], *, control: bool = False) -> None:
        self._app, self._control = app, control
        # A socket of its own each, so that the one who handed it over may close it when it likes.
        self._acceptors = [Acceptor(listener.dup(), self._serve, "api") for listener in sockets]
        self._closing = threading.Event()
        for acceptor in self._acceptors:
            acceptor.start()

    def close(self) -> None:
        """No call is taken any more; one that is worked on ends first. Twice is no error."""
        self._closing.set()
        for acceptor in self._acceptors:
            acceptor.close()

    def _serve(self, connection: socket.socket, source: str) -> None:
        connection.settimeout(_IDLE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection.makefile("rb") as stream:
            while self._one(connection, stream, source):
                pass

    def _one(self, connection: socket.socket, stream: BinaryIO, source: str) -> bool:
        """Answers one request; whether the connection stays open."""
        try:
            environ = _read(connection, stream)
        except BadRequest as error:
            connection.sendall(_rendered("400 Bad Request", [], str(error).encode(), head_only=False, keep=False))
            return False
        if environ is None:
            return False
        environ |= {"REMOTE_ADDR": source, CONTROL: self._control, CLOSING: self._closing}
        said: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None, /) -> BinaryIO:
            said[:] = [(status, headers)]
            return io.BytesIO()

        try:
            body = b"".join(self._app(environ, start_response))  # type: ignore[arg-type]
        except CutConnection:
            return False
        keep = _keeps(environ) and not self._closing.is_set()
        head_only = environ["REQUEST_METHOD"] == "HEAD"
        connection.sendall(_rendered(*said[0], body, head_only=head_only, keep=keep))
        return keep


def _keeps(environ: WSGIEnvironment) -> bool:
    closes: bool = environ.get("HTTP_CONNECTION", "").lower() == "close"
    return environ["SERVER_PROTOCOL"] == "HTTP/1.1" and not closes


def _read(connection: socket.socket, stream: BinaryIO) -> WSGIEnvironment | None:
    """A request with its whole body; None when the client has gone. Raises BadRequest."""
    line = stream.readline(_LONGEST_LINE)
    if not line.strip():
        return None
    words = line.decode("latin-1").split()
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise BadRequest("This is not HTTP/1.1.")
    method, target, version = words
    environ = {**_asked(method, target, version, connection), **_headers(stream)}
    if environ.get("HTTP_EXPECT", "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    if environ.pop("HTTP_TRANSFER_ENCODING", "").lower() == "chunked":
        body = _chunks(stream)
    else:
        length = environ.get("CONTENT_LENGTH", "") or "0"
        if not re.fullmatch("[0-9]{1,12}", length):
            raise BadRequest("Content-Length is no number.")
        body = stream.read(int(length))
    return {**environ, "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}


def _asked(method: str, target: str, version: str, connection: socket.socket) -> WSGIEnvironment:
    path, _, query = target.partition("?")
    if path.startswith(("http://", "https://")):  # as a proxy is asked
        path = "/" + path.split("/", 3)[3] if path.count("/") > 2 else "/"
    host, port = connection.getsockname()[:2]
    return {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "RAW_URI": target,
        "REQUEST_URI": target,
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": version,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.input_terminated": True,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


def _headers(stream: BinaryIO) -> dict[str, str]:
    """As WSGI names them (PEP 3333). One with an underscore is dropped, since it would pass for another's name."""
    found: dict[str, str] = {}
    for _ in range(_MOST_HEADERS):
        line = stream.readline(_LONGEST_LINE)
        if line in (b"\r\n", b"\n", b""):
            return found
        name, _, value = line.decode("latin-1").partition(":")
        if "_" in name:
            continue
        key = name.strip().upper().replace("-", "_")
        key = key if key in _STATED else f"HTTP_{key}"
        found[key] = f"{found[key]},{value.strip()}" if key in found else value.strip()
    raise BadRequest("There are too many headers.")


def _chunks(stream: BinaryIO) -> bytes:
    """A body in chunks (RFC 9112, 7.1). Raises BadRequest."""
    body = bytearray()
    while True:
        size = stream.readline(_LONGEST_LINE).partition(b";")[0].strip()
        if not re.fullmatch(b"[0-9a-fA-F]{1,8}", size):
            raise BadRequest("A chunk has no size.")
        if int(size, 16) == 0:
            break
        body += stream.read(int(size, 16))
        stream.readline(_LONGEST_LINE)
    while stream.readline(_LONGEST_LINE) not in (b"\r\n", b"\n", b""):
        pass
    return bytes(body)


def _rendered(status: str, headers: Sequence[tuple[str, str]], body: bytes, *, head_only: bool, keep: bool) -> bytes:
    told = {name.lower() for name, _ in headers}
    lines = [
        f"HTTP/1.1 {status}",
        *(f"{name}: {value}" for name, value in headers if name.lower() not in ("connection", "transfer-encoding")),
        f"Date: {formatdate(usegmt=True)}",
        f"Connection: {'keep-alive' if keep else 'close'}",
    ]
    if "content-length" not in told and int(status[:3]) not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join(line.replace("\r", " ").replace("\n", " ") for line in lines) + "\r\n\r\n"
    return head.encode("latin-1", "replace") + (b"" if head_only else body)
