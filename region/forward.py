"""A TCP forwarder between two places, each this host's own network or a namespace: the one door into a site."""

from __future__ import annotations

import socket
import threading
from types import TracebackType

from region import netns
from region.acceptor import Acceptor, shut

Place = tuple[str | None, str, int]  # namespace (None: this process's own network), host, port
_CHUNK = 65536


class Forward:
    """Listens at one place and connects to the other for each connection, until `close`. Raises OSError.

    `host` and `port` are where it listens: port 0 became a free one. With `held` it takes connections at once, and
    carries them from `release` on: for a client that would be long in trying again.
    """

    def __init__(self, listen: Place, connect: Place, *, held: bool = False) -> None:
        self._connect = connect
        self._released = threading.Event()
        if not held:
            self._released.set()
        self._acceptor = Acceptor(netns.listen(*listen), self._carry, "forward")
        self.host, self.port = listen[1], self._acceptor.port
        self._acceptor.start()

    def release(self) -> None:
        """The other place answers now. Twice is no error."""
        self._released.set()

    @property
    def idle(self) -> bool:
        """Whether no connection is open."""
        return self._acceptor.idle

    def retire(self) -> None:
        """Listens no more; the connections that are open go on until they end, or until `close`. Twice is no error."""
        self._acceptor.retire()

    def close(self) -> None:
        """Ends all connections and returns when no thread is left. Twice is no error."""
        self._acceptor.closing.set()
        self._released.set()
        self._acceptor.close()

    def __enter__(self) -> Forward:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _carry(self, near: socket.socket, _source: str) -> None:
        self._released.wait()
        if self._acceptor.closing.is_set():
            return
        namespace, host, port = self._connect
        netns.enter(namespace)  # this thread's alone, and it ends with the connection
        with socket.create_connection((host, port), timeout=5) as far, self._acceptor.watched(far):
            far.settimeout(None)
            for connection in (near, far):  # what is small and answered is not to wait for an acknowledgement
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # A thread for each direction: one that waits until it may write must not keep the other from being read.
            name = threading.current_thread().name
            back = threading.Thread(target=_pour, args=(far, near), name=name, daemon=True)
            back.start()
            _pour(near, far)
            back.join()


def _pour(source: socket.socket, target: socket.socket) -> None:
    """Carries bytes one way until the source has ended its side, and passes that on. What breaks ends both ways."""
    try:
        while data := source.recv(_CHUNK):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        shut(source, socket.SHUT_RDWR)
        shut(target, socket.SHUT_RDWR)
