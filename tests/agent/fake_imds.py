"""A metadata service in memory: what ``Imds`` would reach through a socket, and a clock that only sleeping moves.

Held to the real thing by tests/system/test_agent_refuses.py, which runs the same client against region's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from agent.imds import Imds

Handler = Callable[[str, str, dict[str, str]], "bytes | OSError | None"]
"""Method, path and headers to: the bytes of an answer, an error of the socket, or None: it never answers."""

INSTANCE = "i-0123456789abcdef0"


class Time:
    """A clock, in seconds, and what was slept."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def answer(status: int, body: str | bytes = b"", headers: str = "") -> bytes:
    data = body if isinstance(body, bytes) else body.encode()
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(data)}\r\n{headers}\r\n".encode() + data


class FakeSocket:
    """Sends a request to ``handler`` when it is whole; gives its answer in pieces of ``piece`` bytes."""

    def __init__(self, handler: Handler, time: Time, piece: int) -> None:
        self._handler, self._time, self._piece = handler, time, piece
        self._timeout = 0.0
        self._data = b""
        self._failure: OSError | None = None
        self._silent = False
        self.closed = False

    def settimeout(self, seconds: float, /) -> None:
        assert seconds > 0, "a time-out of 0 would not block at all"
        self._timeout = seconds

    def sendall(self, data: bytes, /) -> None:
        assert not self.closed
        first, *lines = data.decode("ascii").removesuffix("\r\n\r\n").split("\r\n")
        method, path, version = first.split(" ")
        assert version == "HTTP/1.1"
        headers = dict(line.split(": ", 1) for line in lines)
        outcome = self._handler(method, path, headers)
        self._silent = outcome is None
        if isinstance(outcome, OSError):
            self._failure = outcome
        else:
            self._data += outcome or b""

    def recv(self, size: int, /) -> bytes:
        if self._failure is not None:
            raise self._failure
        if self._silent:
            self._time.now += self._timeout
            raise TimeoutError("timed out")
        data, self._data = self._data[: min(size, self._piece)], self._data[min(size, self._piece) :]
        return data

    def close(self) -> None:
        self.closed = True


class FakeImds:
    """A metadata service that holds ``values`` by path below ``/latest/``; ``plan`` overrules it, one by one."""

    def __init__(self, values: dict[str, str] | None = None, *, plan: Iterable[Handler | None] = ()) -> None:
        self.time = Time()
        self.values = {} if values is None else values
        self.plan = list(plan)
        self.log: list[str] = []
        self.token = "first"
        self.connections: list[FakeSocket] = []
        self.refuse: list[OSError] = []
        self.piece = 65536
        self.waited: list[str] = []

    def connect(self, seconds: float) -> FakeSocket:
        assert 0 < seconds <= 1
        if self.refuse:
            raise self.refuse.pop(0)
        self.connections.append(FakeSocket(self._answer, self.time, self.piece))
        return self.connections[-1]

    def client(self, budget: float = 10.0) -> Imds:
        return Imds(
            budget=budget,
            connect=self.connect,
            monotonic=self.time.monotonic,
            sleep=self.time.sleep,
            jitter=lambda: 0.5,
            waiting=self.waited.append,
        )

    def _answer(self, method: str, path: str, headers: dict[str, str]) -> bytes | OSError | None:
        self.log.append(f"{method} {path.removeprefix('/latest/')}")
        planned = self.plan.pop(0) if self.plan else None
        return planned(method, path, headers) if planned else self.usual(method, path, headers)

    def usual(self, method: str, path: str, headers: dict[str, str]) -> bytes:
        """As EC2's does."""
        assert headers["Host"] == "169.254.169.254"
        if method == "PUT":
            assert path == "/latest/api/token"
            assert headers["X-aws-ec2-metadata-token-ttl-seconds"] == "21600"
            return answer(200, self.token)
        if headers["X-aws-ec2-metadata-token"] != self.token:
            return answer(401)
        value = self.values.get(path.removeprefix("/latest/"))
        return answer(404) if value is None else answer(200, value)


def say(status: int, body: str | bytes = b"", headers: str = "") -> Handler:
    return lambda method, path, received: answer(status, body, headers)


def raw(data: bytes) -> Handler:
    return lambda method, path, received: data


def fail(error: OSError) -> Handler:
    return lambda method, path, received: error


def silence(method: str, path: str, headers: dict[str, str]) -> None:
    """Accepts, and never answers."""


def instance(tags: dict[str, str] | None) -> dict[str, str]:
    """What EC2 says of an instance with these tags; None: the option InstanceMetadataTags is off."""
    values = {"meta-data/instance-id": INSTANCE, "meta-data/": "ami-id\ninstance-id"}
    if tags is not None:
        values["meta-data/"] += "\ntags/"
    if tags:
        values["meta-data/tags/instance"] = "\n".join(tags)
        values |= {f"meta-data/tags/instance/{key}": value for key, value in tags.items()}
    return values
