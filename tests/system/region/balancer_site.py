"""Load balancers over real HAProxy, in this process, with targets that are threads of it in a real site.

`Shop` is a world with a load balancer; `Web` a target that does what a request's path says; `Load` many clients at once
that count what they get.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
from botocore.config import Config
from moto.moto_api._internal.models import moto_api_backend

from bake.home import Home
from region import netns
from region.addresses import Addresses
from region.aws import cloudwatch, elbv2
from region.aws.server import Api, ApiServer
from region.aws.world import World
from region.site import Site
from tests.region.aws.fakes import FakeMachines

PORT = 8080


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        web, url = self.server.web, urlsplit(self.path)
        asked = {key: values[0] for key, values in parse_qs(url.query).items()}
        web.requests += url.path != "/health"
        if "s" in asked:
            time.sleep(float(asked["s"]))
        match url.path:
            case "/health":
                self._say(web.health, web.name)
            case "/cut":
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
            case "/rubbish":
                self.close_connection = True
                self.wfile.write(b"rubbish\r\n\r\n")
            case "/headers":
                self._say(200, json.dumps([[name.lower(), value] for name, value in self.headers.items()]))
            case "/websocket":
                self._websocket()
            case _:
                self._say(int(asked.get("code", 200)), web.name)

    def _say(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def _websocket(self) -> None:
        """The handshake of RFC 6455; what comes after it is sent back as it is."""
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.close_connection = True
        while data := self.connection.recv(4096):
            self.connection.sendall(data)

    def log_message(self, *_arguments: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    web: Web

    def handle_error(self, *_arguments: Any) -> None:
        pass  # a client that went away


class Web:
    """An HTTP server in the site: answers with its name. `health` is the status of /health."""

    def __init__(self, site: str, address: str, name: str) -> None:
        self.name, self.address, self.health, self.requests = name, address, 200, 0
        listener = netns.inside(site, lambda: socket.create_server((address, PORT), backlog=1024))
        self._server = _Server((address, PORT), _Handler, bind_and_activate=False)
        self._server.socket.close()
        self._server.socket, self._server.web = listener, self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Shop:
    """A world with the load balancer `shop` on port 80 and the group `blue`, both of this region alone."""

    def __init__(self, world: World, site: Site, endpoint: str) -> None:
        self.world, self.site = world, site
        self.service = elbv2.install(world)
        cloudwatch.install(world, self.service.metrics)
        self._endpoint = endpoint
        self.elb, self.cloudwatch = self.client("elbv2"), self.client("cloudwatch")
        ec2 = self.client("ec2")
        self.vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        self.subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]][:2]
        self.webs: list[Web] = []
        self.blue = self.group("blue")
        balancer = self.elb.create_load_balancer(Name="shop", Subnets=self.subnets)["LoadBalancers"][0]
        self.arn, self.address = balancer["LoadBalancerArn"], balancer["DNSName"]
        self.listener = self.listen(80, self.blue)

    def client(self, service: str) -> Any:
        keys = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "secret"}
        config = Config(retries={"max_attempts": 0})
        return boto3.client(service, region_name="us-east-1", endpoint_url=self._endpoint, config=config, **keys)

    def group(self, name: str, **settings: Any) -> str:
        settings = {
            "Protocol": "HTTP",
            "Port": PORT,
            "VpcId": self.vpc,
            "TargetType": "ip",
            "HealthCheckPath": "/health",
            "HealthCheckIntervalSeconds": 5,
            "HealthCheckTimeoutSeconds": 2,
            "HealthyThresholdCount": 2,
            **settings,
        }
        return str(self.elb.create_target_group(Name=name, **settings)["TargetGroups"][0]["TargetGroupArn"])

    def listen(self, port: int, group: str) -> str:
        return str(
            self.elb.create_listener(
                LoadBalancerArn=self.arn,
                Protocol="HTTP",
                Port=port,
                DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
            )["Listeners"][0]["ListenerArn"]
        )

    def web(self, name: str, group: str | None = None) -> Web:
        """A target, registered and healthy where `group` is given."""
        address = f"10.77.0.{240 - len(self.webs)}"
        netns.configure(self.site.name, [f"addr replace {address}/32 dev lo"])
        web = Web(self.site.name, address, name)
        self.webs.append(web)
        if group:
            self.elb.register_targets(TargetGroupArn=group, Targets=[{"Id": address}])
            wait(f"{name} is healthy", lambda: self.service.state_of(group, address) == "healthy")
        return web

    def get(self, path: str = "/", port: int = 80, **headers: str) -> tuple[int, str]:
        """Status and text of one request on a connection of its own."""
        return request(self.address, port, path, headers)

    def outstanding(self) -> dict[str, int]:
        with self.world.lock:
            assert self.service._door is not None
            return self.service._door.outstanding()

    def close(self) -> None:
        self.service.close()
        for web in self.webs:
            web.close()


def request(address: str, port: int, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection(address, port, timeout=20)
    try:
        connection.request(
            "GET", path, headers={name.replace("_", "-"): text for name, text in (headers or {}).items()}
        )
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@contextmanager
def opened(home: Home, directory: Path) -> Iterator[Shop]:
    moto_api_backend.reset()
    runtime = home.runtime
    runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    with Site.open(directory, runtime, prefix="bb-lb") as site, Addresses.open(site) as addresses:
        world = World("lb", directory, FakeMachines(), addresses, log=print)
        server = ApiServer(Api(world), addresses.api_sockets())
        shop = Shop(world, site, addresses.endpoint)
        world.start()
        try:
            yield shop
        finally:
            world.close()
            shop.close()
            server.close()


def wait(what: str, condition: Callable[[], Any], timeout: float = 20.0) -> Any:
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(0.01)
    return found


class Load:
    """Clients that ask again and again from `with` to its end. `answers` counts statuses and bodies; `errors` the rest.

    A keep-alive client asks on one connection until it is told to close it, as a browser does. `host` is the name that
    they ask for, where it isn't the address.
    """

    def __init__(
        self, address: str, port: int = 80, *, clients: int = 8, keep_alive: bool = True, host: str = ""
    ) -> None:
        self._place, self._clients, self._keep = (address, port), clients, keep_alive
        self._headers = ({"Host": host} if host else {}) | ({} if keep_alive else {"Connection": "close"})
        self.answers: Counter[tuple[int, str]] = Counter()
        self.errors: list[str] = []
        self.slowest = 0.0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Load:
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(self._clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def total(self) -> int:
        return sum(self.answers.values())

    def more(self, count: int) -> None:
        """Returns when so many more answers have come."""
        goal = self.total + count
        wait(f"{count} more answers", lambda: self.total >= goal or self.errors)

    def _ask(self) -> None:
        connection = http.client.HTTPConnection(*self._place, timeout=20)
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                connection.request("GET", "/", headers=self._headers)
                answer = connection.getresponse()
                text = answer.read().decode()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                with self._lock:
                    self.errors.append(repr(error))
                continue
            with self._lock:
                self.answers[answer.status, text] += 1
                self.slowest = max(self.slowest, time.monotonic() - began)
        connection.close()
