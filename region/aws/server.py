"""The API's server: moto's applications behind the world's lock, on sockets that are handed over."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from region.aws.world import World

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class QuietHandler(MotoRequestHandler):
    """HTTP/1.1, so that clients keep their connections; nothing is printed."""

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - as werkzeug names it
        pass


class Api:
    """The region's API as a WSGI application: one call at a time."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._moto: WSGIApplication = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with self._world.lock:
            answer = list(self._moto(environ, start_response))
        self._world.wake()
        return answer


class ApiServer:
    """Serves an application on every one of the listening sockets, until `close`."""

    def __init__(self, app: WSGIApplication, sockets: Sequence[socket.socket]) -> None:
        self._servers = []
        for listener in sockets:
            host, port = listener.getsockname()[:2]
            self._servers.append(
                make_server(host, port, app, threaded=True, request_handler=QuietHandler, fd=listener.fileno())
            )
        self._threads = [
            threading.Thread(target=server.serve_forever, args=(0.1,), name=f"api-{server.port}", daemon=True)
            for server in self._servers
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """No call is taken any more. Twice is no error."""
        for server in self._servers:
            server.shutdown()
        for thread in self._threads:
            thread.join()
        for server in self._servers:
            server.server_close()
