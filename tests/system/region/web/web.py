"""The service of the tests' image: it says which instance answers, and does what a test asks of a target."""

import json
import os
import socketserver
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

METADATA = "http://169.254.169.254/latest/"
KNOWN: dict[str, str] = {}


def ask(path: str) -> str:
    """What the metadata service says below meta-data/. Raises OSError."""
    token_please = urllib.request.Request(
        f"{METADATA}api/token", method="PUT", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    )
    with urllib.request.urlopen(token_please, timeout=2) as answer:
        token = answer.read().decode()
    get = urllib.request.Request(f"{METADATA}meta-data/{path}", headers={"X-aws-ec2-metadata-token": token})
    with urllib.request.urlopen(get, timeout=2) as answer:
        return str(answer.read().decode())


def metadata(path: str) -> str:
    """The same, kept once it is there; "" for what it has not."""
    if path not in KNOWN:
        try:
            KNOWN[path] = ask(path)
        except OSError:
            return ""
    return KNOWN[path]


def health() -> int:
    """The status that `/run/health` says; 200 where there is no such file."""
    try:
        with open("/run/health") as file:  # noqa: PTH123 - pathlib would cost the start 5 ms
            return int(file.read())
    except (OSError, ValueError):
        return 200


class Web(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 70

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/health":
            return self.say(health(), {"health": health()})
        if url.path == "/slow":
            time.sleep(float(parse_qs(url.query).get("s", ["1"])[0]))
        if url.path == "/headers":
            return self.say(200, dict(self.headers.items()))
        if url.path.startswith("/metadata/"):
            try:
                return self.text(200, ask(url.path.removeprefix("/metadata/")))
            except urllib.error.HTTPError as error:
                return self.text(error.code, "")
        if url.path == "/ask":
            return self.text(200, self.asked(parse_qs(url.query)["url"][0]))
        if url.path.startswith("/status/"):
            return self.say(int(url.path.rpartition("/")[2]), {})
        return self.say(
            200,
            {
                "instance": metadata("instance-id"),
                "image": metadata("ami-id"),
                "colour": metadata("tags/instance/colour"),
                "path": self.path,
                "client": self.client_address[0],
                "pid": os.getpid(),
            },
        )

    def asked(self, url: str) -> str:
        """What another server says to this machine, or why nothing."""
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return str(answer.read().decode())
        except OSError as error:
            return repr(error)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.say(200, {"instance": metadata("instance-id"), "received": len(body)})

    def say(self, status: int, told: dict[str, object]) -> None:
        self.text(status, json.dumps(told), "application/json")

    def text(self, status: int, text: str, kind: str = "text/plain") -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - as the library names it

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the library names it
        pass


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 256


if __name__ == "__main__":
    Server(("0.0.0.0", 8080), Web).serve_forever()
