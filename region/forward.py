"""A TCP forwarder between two places, each this host's own network or a namespace: the one door into a site."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator
from types import TracebackType

from region import netns

Place = tuple[str | None, str, int]  # namespace (None: this process's own network), host, port
_CHUNK = 65536


class Forward:
    """Listens at one place and connects to the other for each connection, until `close`. Raises OSError.

    `host` and `port` are where it listens: port 0 became a free one.
    """

    def __init__(self, listen: Place, connect: Place) -> None:
        self._connect = connect
        self._listener = netns.listen(*listen)
        self.host, self.port = listen[1], int(self._listener.getsockname()[1])
        self._closing = False
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._acceptor = threading.Thread(target=self._accept, name=f"forward-{self.port}", daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        """Ends all connections and returns when no thread is left. Twice is no error."""
        with self._lock:
            self._closing = True
            for connection in self._open:
                _shut(connection, socket.SHUT_RDWR)
        _shut(self._listener, socket.SHUT_RDWR)  # wakes the thread in accept
        self._listener.close()
        self._acceptor.join()
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join()

    def __enter__(self) -> Forward:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._carry, args=(near,), name=f"forward-{self.port}", daemon=True)
            with self._lock:
                self._threads.add(thread)
            thread.start()

    def _carry(self, near: socket.socket) -> None:
        namespace, host, port = self._connect
        try:
            with near, contextlib.suppress(OSError):
                netns.enter(namespace)  # this thread's alone, and it ends with the connection
                with socket.create_connection((host, port), timeout=5) as far, self._watched(near, far):
                    far.settimeout(None)
                    for connection in (near, far):  # what is small and answered is not to wait for an acknowledgement
                        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    _pump(near, far)
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    @contextlib.contextmanager
    def _watched(self, *pair: socket.socket) -> Iterator[None]:
        with self._lock:
            if self._closing:
                raise ConnectionAbortedError
            self._open.update(pair)
        try:
            yield
        finally:
            with self._lock:
                self._open.difference_update(pair)


def _pump(near: socket.socket, far: socket.socket) -> None:
    """Carries bytes both ways until both sides have ended theirs; the end of one is passed on and the other goes on."""
    with selectors.DefaultSelector() as selector:
        selector.register(near, selectors.EVENT_READ, (near, far))
        selector.register(far, selectors.EVENT_READ, (far, near))
        while selector.get_map():
            for key, _ in selector.select():
                source, target = key.data
                data = source.recv(_CHUNK)
                if data:
                    target.sendall(data)
                else:
                    selector.unregister(source)
                    _shut(target, socket.SHUT_WR)


def _shut(connection: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(how)
