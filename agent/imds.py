"""The instance metadata service, version 2 of it only: one connection, a budget in seconds, clear ends.

Waits as long as its budget lasts for a service that is not there yet, hangs, throttles or refuses a
token; ends at once where waiting can't help: metadata turned off, or somebody else on that address.
No proxy is ever asked. What the service does: EC2 User Guide, "Use the Instance Metadata Service".

On the boot path: a bare ``_socket``, since ``http.client`` would cost more than all the rest.
"""

from __future__ import annotations

import _socket
import os
import time

from agent.errors import MetadataDisabled, MetadataError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Connection(Protocol):
        """What is used of a connected socket."""

        def settimeout(self, seconds: float, /) -> None: ...
        def sendall(self, data: bytes, /) -> None: ...
        def recv(self, size: int, /) -> bytes: ...
        def close(self) -> None: ...


ADDRESS = ("169.254.169.254", 80)
TOKEN_SECONDS = 21600
CONNECT_SECONDS = 1.0
ANSWER_SECONDS = 2.0
FIRST_DELAY, DELAY_GROWTH, LONGEST_DELAY = 0.02, 1.5, 1.0
LONGEST_REST = 60.0
"""Seconds that a ``Retry-After`` may ask for: systemd hears from the boot more often than its patience lasts."""

LARGEST_ANSWER = 65536


class _Trouble(Exception):
    """Something that may pass. ``after`` is how many seconds the service asked us to wait, or None."""

    def __init__(self, what: str, after: float | None = None) -> None:
        super().__init__(what)
        self.after = after


def connect(seconds: float, address: tuple[str, int] = ADDRESS) -> Connection:
    """A TCP connection to the metadata service, made within ``seconds``; OSError otherwise."""
    connection = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    try:
        connection.settimeout(seconds)
        connection.connect(address)
        connection.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    except OSError:
        connection.close()
        raise
    return connection


def jitter() -> float:
    """A random number from 0 to 1. (``random`` would import ``hashlib``.)"""
    return os.urandom(1)[0] / 255


class Imds:
    """Reads one path after the other over one kept connection. ``requests`` counts what was sent.

    ``budget`` seconds, counted from the making, are all that may be lost to trouble; ``extend`` grants
    more. ``waiting`` is told why, each time before a wait.
    """

    def __init__(
        self,
        *,
        budget: float,
        connect: Callable[[float], Connection] = connect,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = jitter,
        waiting: Callable[[str], None] = lambda why: None,
    ) -> None:
        self._connect = connect
        self._monotonic = monotonic
        self._sleep = sleep
        self._jitter = jitter
        self._waiting = waiting
        self._deadline = monotonic() + budget
        self._began = monotonic()
        self._delay = FIRST_DELAY
        self._connection: Connection | None = None
        self._token: str | None = None
        self.requests = 0

    def extend(self, seconds: float) -> None:
        """Grant at least ``seconds`` from now."""
        self._deadline = max(self._deadline, self._monotonic() + seconds)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def get(self, path: str) -> str | None:
        """The text at ``/latest/`` + ``path``, or None where there is none (404).

        Raises MetadataDisabled when the service refuses (403), MetadataError when the budget is spent or
        what answers can't be EC2's metadata service.
        """
        while True:
            try:
                answer = self._get(path)
            except _Trouble as trouble:
                self.close()
                self._wait(trouble)
            else:
                self._delay = FIRST_DELAY
                return answer

    def _get(self, path: str) -> str | None:
        fresh = self._token is None
        if self._token is None:
            self._token = self._new_token()
        status, headers, body = self._exchange(f"GET /latest/{path}", f"X-aws-ec2-metadata-token: {self._token}")
        if status == 200:
            return _text(body, path)
        if status == 404:
            return None
        if status == 401:
            self._token = None
            if fresh:
                raise _Trouble("it refuses the token that it has just given (401)")
            return self._get(path)  # the token had ended; with a fresh one this can't come back here
        raise _refusal(status, headers, path)

    def _new_token(self) -> str:
        status, headers, body = self._exchange(
            "PUT /latest/api/token", f"X-aws-ec2-metadata-token-ttl-seconds: {TOKEN_SECONDS}\r\nContent-Length: 0"
        )
        if status == 401:
            raise _Trouble("it answers 401 to a request for a token")
        if status != 200:
            raise _refusal(status, headers, "api/token")
        token = _text(body, "api/token")
        if not token or len(token) > 4096 or not (token.isascii() and token.isprintable()) or " " in token:
            raise _stranger("gave a token that is none")
        return token

    def _exchange(self, request: str, header: str) -> tuple[int, dict[str, str], bytes]:
        """Send a request, read its answer: status, headers in lower case, body."""
        now = self._monotonic()
        try:
            if self._connection is None:
                self._connection = self._connect(max(0.001, min(CONNECT_SECONDS, self._deadline - now)))
                now = self._monotonic()
            self.requests += 1
            until = min(now + ANSWER_SECONDS, max(self._deadline, now + 0.001))
            self._connection.settimeout(until - now)
            self._connection.sendall(f"{request} HTTP/1.1\r\nHost: {ADDRESS[0]}\r\n{header}\r\n\r\n".encode("ascii"))
            status, headers, body = _Answer(self._connection, self._monotonic, until).read()
        except OSError as error:
            what = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
            raise _Trouble(f"{what} to {request.split()[0]} {request.split()[1]}") from error
        if headers.get("connection", "").lower() == "close":
            self.close()
        return status, headers, body

    def _wait(self, trouble: _Trouble) -> None:
        now = self._monotonic()
        delay = self._delay * (0.75 + self._jitter() / 2)
        self._delay = min(self._delay * DELAY_GROWTH, LONGEST_DELAY)
        if trouble.after is not None:
            delay = max(delay, min(trouble.after, LONGEST_REST))
        if now + delay >= self._deadline:
            raise MetadataError(
                f"no use of the metadata service within {now - self._began:.0f} s; the last trouble: {trouble}",
                where=ADDRESS[0],
                hint="systemctl restart bakeboot-boot   (once the network is up; where nothing answers a PUT, "
                "the hop limit of the instance's metadata options may be too small)",
            ) from trouble
        self._waiting(f"waiting for the metadata service: {trouble}")
        self._sleep(delay)


class _Answer:
    """One HTTP answer, read to its end and no further. What is too long, chunked or no HTTP is refused."""

    def __init__(self, connection: Connection, monotonic: Callable[[], float], until: float) -> None:
        self._connection = connection
        self._monotonic = monotonic
        self._until = until
        self._read = b""

    def read(self) -> tuple[int, dict[str, str], bytes]:
        while (end := self._read.find(b"\r\n\r\n")) < 0:
            self._more()
        first, *lines = self._read[:end].decode("latin-1").split("\r\n")
        words = first.split(" ", 2)
        if not words[0].startswith("HTTP/1.") or len(words) < 2 or len(words[1]) != 3 or not words[1].isdigit():
            raise _stranger(f"does not speak HTTP: {first[:60]!a}")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if "transfer-encoding" in headers:
            raise _stranger("sends its answers in chunks")
        length = headers.get("content-length", "")
        if not (length.isascii() and length.isdigit() and len(length) <= 9):
            raise _stranger("does not say how long its answer is")
        if end + 4 + int(length) > LARGEST_ANSWER:
            raise _stranger(f"sends an answer of {int(length)} bytes")
        while len(self._read) < end + 4 + int(length):
            self._more()
        return int(words[1]), headers, self._read[end + 4 : end + 4 + int(length)]

    def _more(self) -> None:
        if len(self._read) > LARGEST_ANSWER:
            raise _stranger("sends an answer without end")
        left = self._until - self._monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        data = self._connection.recv(16384)
        if not data:
            raise ConnectionResetError(0, "the connection ended before the answer")
        self._read += data


def _refusal(status: int, headers: dict[str, str], path: str) -> Exception:
    """What a status means that is neither an answer nor "there is none"."""
    if status == 403:
        return MetadataDisabled(
            f"the metadata service refuses {path} (403): it is turned off for this instance",
            where=ADDRESS[0],
            hint="aws ec2 modify-instance-metadata-options --http-endpoint enabled --instance-id …",
        )
    if status == 429 or status >= 500:
        after = headers.get("retry-after", "")
        seconds = float(after) if after.isascii() and after.isdigit() and len(after) < 6 else None
        return _Trouble(f"it answers {status} to {path}", seconds)
    return _stranger(f"answers {status} to {path}")


def _stranger(what: str) -> MetadataError:
    return MetadataError(
        f"what answers there {what}, which EC2's metadata service (IMDSv2) never does",
        where=ADDRESS[0],
        hint="ip route get 169.254.169.254   (who is it?)",
    )


def _text(body: bytes, path: str) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MetadataError(f"{path} is not UTF-8", where=ADDRESS[0]) from error
