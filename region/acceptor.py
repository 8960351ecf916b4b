"""Takes connections on a listening socket, a thread each, until it is closed: what a forwarder and a server share."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator


class Acceptor:
    """From `start` to `close` it runs `serve(connection, source)` for each connection, in a thread of its own.

    `source` is the address that it comes from. An OSError of `serve` ends that connection alone. `closing` is set when
    `close` begins: what waits should wait for that too. Threads are called `name-PORT`.
    """

    def __init__(self, listener: socket.socket, serve: Callable[[socket.socket, str], None], name: str) -> None:
        self.port = int(listener.getsockname()[1])
        self.closing = threading.Event()
        self._retired = threading.Event()
        self._listener, self._serve = listener, serve
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._name = f"{name}-{self.port}"
        self._thread = threading.Thread(target=self._accept, name=self._name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def idle(self) -> bool:
        """Whether no connection is open."""
        with self._lock:
            return not self._threads

    def retire(self) -> None:
        """Listens no more; the connections that are open go on until they end, or until `close`. Twice is no error."""
        self._retired.set()
        shut(self._listener, socket.SHUT_RDWR)  # wakes the thread in accept
        self._thread.join()
        self._listener.close()

    def close(self) -> None:
        """Ends all connections and returns when no thread is left. Twice is no error."""
        self.closing.set()
        self.retire()
        with self._lock:
            for connection in self._open:
                shut(connection, socket.SHUT_RDWR)
            threads = list(self._threads)
        for thread in threads:
            thread.join()

    @contextlib.contextmanager
    def watched(self, connection: socket.socket) -> Iterator[None]:
        """Within it, `close` ends this connection too. ConnectionAbortedError once `close` has begun."""
        with self._lock:
            if self.closing.is_set():
                raise ConnectionAbortedError
            self._open.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(connection)

    def _accept(self) -> None:
        while not self._retired.is_set():
            try:
                connection, (source, _) = self._listener.accept()
            except OSError:  # closing, too many open files, a client that gave up: the next try may do
                self._retired.wait(0.05)
                continue
            thread = threading.Thread(target=self._run, args=(connection, source), name=self._name, daemon=True)
            with self._lock:
                self._threads.add(thread)
            thread.start()

    def _run(self, connection: socket.socket, source: str) -> None:
        try:
            with connection, contextlib.suppress(OSError), self.watched(connection):
                self._serve(connection, source)
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())


def shut(connection: socket.socket, how: int) -> None:
    """socket.shutdown, of a connection that may have ended already."""
    with contextlib.suppress(OSError):
        connection.shutdown(how)
