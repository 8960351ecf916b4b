"""``examples/shop/order.py`` against a storefront on loopback that answers as the real one does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.examples.loading import load

order = load("order.py")

pytestmark = [pytest.mark.network, pytest.mark.sleep]


@contextmanager
def storefront(*statuses: str, refuse: int = 0) -> Iterator[str]:
    """One whose order has these statuses, one a request, the last for ever; or one that refuses every order."""
    left = list(statuses)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if refuse:
                self.answer(refuse, {"error": "we don't sell that"})
            else:
                self.answer(201, {"order": "4f1c", "status": "new", "url": "/orders/4f1c"})

        def do_GET(self) -> None:
            status = left.pop(0) if len(left) > 1 else left[0]
            self.answer(200, {"status": status, "packed_by": "box", "parcel": "P-1", "total_cents": 5600})

        def answer(self, status: int, body: object) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_request(self, code: object = "-", size: object = "-") -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_order_that_comes_out_done(capsys: pytest.CaptureFixture[str]) -> None:
    with storefront("new", "done") as url:
        assert order.main([url + "/"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"ordered   2 teapot at {url}: new, 4f1c"
    assert lines[1] == "packed    by box, parcel P-1"
    assert lines[2].startswith("done ")


def test_an_order_that_is_never_done(capsys: pytest.CaptureFixture[str]) -> None:
    with storefront("new") as url:
        assert order.main([url, "--wait", "0.1"]) == 1
    assert "NOT done" in capsys.readouterr().out


def test_an_order_that_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with storefront("new", refuse=422) as url:
        assert order.main([url, "--product", "coffee"]) == 1
    assert "422" in capsys.readouterr().out


def test_a_storefront_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert order.main(["http://127.0.0.1:9"]) == 1
    assert capsys.readouterr().out.startswith("failed ")
