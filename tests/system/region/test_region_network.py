"""The network under a region: names, addresses that mean the same on this host and inside, and who reaches whom."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dnslib
import pytest

from region import netns
from region.acceptor import Acceptor
from region.addresses import Addresses
from region.errors import RegionError
from region.faults import FOREVER, Faults
from region.machine import Machine, MachineSpec
from region.metadata import InstanceMetadata
from region.names import Record, Zone
from region.site import Site
from tests.system.bakery import wait_until
from tests.system.region.worlds import Made, RegionWorld

pytestmark = pytest.mark.system

ZONE = Zone(
    "shop.test",
    (
        Record("web.shop.test", "A", ("172.31.20.7",)),
        Record("www.shop.test", "CNAME", ("web.shop.test",)),
        Record("lb.shop.test", "A", alias="127.77.9.9"),
    ),
)
ALL = [(1, 65535)]


@dataclass
class World:
    """A site with a region's addresses and names, and what was started in it."""

    site: Site
    addresses: Addresses
    base: Path
    servers: list[Acceptor] = field(default_factory=list)

    def start(self, name: str, address: str) -> Machine:
        machine = self.site.start(MachineSpec(name, (self.base,), metadata=InstanceMetadata(name, "ami-1")), address)
        machine.wait_booted(30)
        return machine

    def serve(self, place: str | None, host: str, port: int = 0) -> Acceptor:
        """Says who connects, on `host` of a namespace, and then repeats what it hears."""
        return self.serve_on(netns.listen(place, host, port))

    def serve_on(self, listener: socket.socket) -> Acceptor:
        def greet(connection: socket.socket, source: str) -> None:
            connection.sendall(f"{source}\n".encode())
            while heard := connection.recv(100):
                connection.sendall(heard)

        acceptor = Acceptor(listener, greet, "greeter")
        acceptor.start()
        self.servers.append(acceptor)
        return acceptor


@contextlib.contextmanager
def opened(folder: Path, base: Path, *, prefix: str = "tn") -> Iterator[World]:
    subnets = ("172.31.0.0/16",)
    with (
        Site.open(folder / "state", folder / "runtime", prefix=prefix, subnets=subnets) as site,
        Addresses.open(site) as addresses,
        addresses.resolver(lambda: [ZONE], pytest.fail),
    ):
        world = World(site, addresses, base)
        try:
            yield world
        finally:
            for server in world.servers:
                server.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, base_root: Path) -> Iterator[World]:
    with opened(tmp_path_factory.mktemp("network"), base_root) as world:
        yield world


@pytest.fixture(scope="module")
def one(world: World) -> Machine:
    return world.start("one", "172.31.5.9")


@pytest.fixture(scope="module")
def two(world: World) -> Machine:
    return world.start("two", "172.31.20.7")


@pytest.fixture
def public(world: World) -> Iterator[str]:
    address = world.addresses.allocate()
    yield address
    world.addresses.free(address)


PYTHON = """\
import socket, sys, time
began = time.monotonic()
try:
    {}
except OSError as error:
    print(type(error).__name__, "%.2f" % (time.monotonic() - began))
else:
    print(told, "%.2f" % (time.monotonic() - began))
"""


def ask(machine: Machine, statement: str) -> tuple[str, float]:
    """What a statement of Python that sets `told` says in the machine, or its error, and how long it took."""
    said = machine.run(["python3", "-c", PYTHON.format(statement)]).stdout
    text, _, seconds = said.strip().rpartition(" ")
    return text, float(seconds)


def resolve(machine: Machine, name: str, kind: str = "AF_UNSPEC") -> tuple[str, float]:
    lookup = f"socket.getaddrinfo('{name}', 80, socket.{kind}, socket.SOCK_STREAM)"
    return ask(machine, f"told = ' '.join(sorted(found[4][0] for found in {lookup}))")


def greeting(machine: Machine, host: str, port: int) -> tuple[str, float]:
    return ask(machine, f"told = socket.create_connection(('{host}', {port}), 3).recv(100).decode().strip()")


def from_host(host: str, port: int) -> str:
    """Who the server says that this host is; "" when nobody listens."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=3) as connection:
        return connection.recv(100).decode().strip()
    return ""


def from_site(world: World, host: str, port: int) -> str:
    return netns.inside(world.site.name, lambda: from_host(host, port))


def test_a_machine_has_the_address_that_it_was_given(world: World, one: Machine, two: Machine) -> None:
    server = world.serve(one.name, "0.0.0.0")
    assert one.address == "172.31.5.9"
    assert greeting(two, "172.31.5.9", server.port)[0] == "172.31.20.7"
    assert from_site(world, "172.31.5.9", server.port) == "172.31.0.1"


def test_names_resolve_and_what_is_not_there_fails_at_once(world: World, one: Machine) -> None:
    hostname = one.run(["hostname"]).stdout.strip()
    for name, expected in {
        "web.shop.test": "172.31.20.7",
        "www.shop.test": "172.31.20.7",
        "lb.shop.test": "127.77.9.9",
        "ip-172-31-5-9.ec2.internal": "172.31.5.9",
        hostname: "172.31.5.9",
        "no.shop.test": "gaierror",
        "registry.invalid": "gaierror",
        "ec2.us-east-1.amazonaws.com": "gaierror",
        "nodots": "gaierror",
    }.items():
        told, seconds = resolve(one, name)
        assert (name, told) == (name, expected)
        assert (name, seconds) < (name, 0.5)
    assert ask(one, "told = socket.gethostbyaddr('172.31.20.7')[0]")[0] == "ip-172-31-20-7.ec2.internal"


def test_a_machine_s_layer_says_nothing_of_the_resolver(one: Machine) -> None:
    # It may become an image: the file is bound over, and what stays below it is empty.
    assert one.read("/etc/resolv.conf") == b"nameserver 169.254.169.253\n"
    below = one.upper / "etc" / "resolv.conf"
    assert not below.exists() or below.read_bytes() == b""


def test_names_are_answered_on_this_host_too(world: World) -> None:
    question = dnslib.DNSRecord.question("web.shop.test")
    for tcp in (False, True):
        answered = dnslib.DNSRecord.parse(question.send(f"{world.addresses.shared}.2", 53, tcp=tcp, timeout=5))
        assert str(answered.a.rdata) == "172.31.20.7"


def test_the_api_s_address_is_the_same_inside_and_outside(world: World, one: Machine) -> None:
    outside, inside = (world.serve_on(listener) for listener in world.addresses.api_sockets())
    assert outside.port == inside.port == 4566
    host = f"{world.addresses.shared}.1"
    assert from_host(host, 4566) == "127.0.0.1"
    assert greeting(one, host, 4566)[0] == "172.31.5.9"


def test_a_public_address_is_reached_from_everywhere(world: World, one: Machine, two: Machine, public: str) -> None:
    server = world.serve(one.name, "0.0.0.0")
    world.addresses.expose(public, one, lambda: ALL)
    assert greeting(two, public, server.port)[0] == "172.31.20.7"
    assert greeting(one, public, server.port)[0] == public
    assert from_site(world, public, server.port) == "172.31.0.1"
    wait_until(lambda: from_host(public, server.port), "this host reaches it", 5)
    world.addresses.hide(public)
    assert from_host(public, server.port) == ""
    told, seconds = greeting(two, public, server.port)
    assert told == "ConnectionRefusedError"
    assert seconds < 0.5


def test_a_port_is_open_while_it_is_allowed_and_somebody_listens(world: World, one: Machine, public: str) -> None:
    allowed = [(1, 65535)]
    server, private = world.serve(one.name, "0.0.0.0"), world.serve(one.name, "127.0.0.1")
    world.addresses.expose(public, one, lambda: list(allowed))
    wait_until(lambda: from_host(public, server.port), "this host reaches it", 5)
    assert from_host(public, private.port) == ""
    with socket.create_connection((public, server.port), timeout=3) as connection:
        assert connection.recv(100)
        allowed[:] = [(22, 22)]
        wait_until(lambda: not from_host(public, server.port), "it is closed", 5)
        connection.sendall(b"still there")
        assert connection.recv(100) == b"still there"
        world.addresses.hide(public)
        assert connection.recv(100) == b""


def test_a_public_address_moves_from_one_machine_to_another_at_once(
    world: World, one: Machine, two: Machine, public: str
) -> None:
    port = world.serve(one.name, "0.0.0.0").port
    world.serve(two.name, "0.0.0.0", port)
    third = world.start("three", "172.31.6.6")
    world.addresses.expose(public, one, lambda: ALL)
    assert greeting(third, public, port)[0] == "172.31.6.6"
    world.servers[-2].close()
    world.addresses.expose(public, two, lambda: ALL)
    assert greeting(third, public, port)[0] == "172.31.6.6"
    third.discard()


def test_an_address_is_free_as_soon_as_its_machine_is_stopped(world: World, one: Machine) -> None:
    first = world.start("four", "172.31.9.9")
    with pytest.raises(RegionError, match=r"172\.31\.9\.9 is in use"):
        world.start("five", "172.31.9.9")
    assert greeting(one, "172.31.9.9", 1)[0] == "ConnectionRefusedError"
    first.kill()
    again = world.start("five", "172.31.9.9")
    port = world.serve(again.name, "0.0.0.0").port
    told, seconds = greeting(one, "172.31.9.9", port)
    assert told == "172.31.5.9"
    assert seconds < 0.5
    first.discard()
    again.discard()


def test_a_machine_of_another_vpc_is_reached_by_those_that_run_already(world: World, one: Machine) -> None:
    other = world.start("six", "10.1.2.3")
    assert greeting(one, "10.1.2.3", world.serve(other.name, "0.0.0.0").port)[0] == "172.31.5.9"
    assert greeting(other, "172.31.5.9", world.serve(one.name, "0.0.0.0").port)[0] == "10.1.2.3"
    assert from_site(world, "10.1.2.3", world.servers[-2].port) == "10.0.0.1"
    other.discard()


def test_metadata_is_told_and_is_wrong_gone_or_refused_while_a_machine_runs(world: World, one: Machine) -> None:
    root = "http://169.254.169.254/latest"

    def heard(path: str) -> str:
        put = ["curl", "-sS", "-m3", "-X", "PUT", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 60", f"{root}/api/token"]
        token = one.run(put, check=False).stdout
        header = f"X-aws-ec2-metadata-token: {token}"
        return one.run(["curl", "-fsS", "-m3", "-H", header, f"{root}/meta-data/{path}"], check=False).stdout

    tags = {"bakeboot:mode": "review"}
    world.site.tell("172.31.5.9", InstanceMetadata("i-1", "ami-1", tags))
    assert heard("local-ipv4") == "172.31.5.9"
    world.site.set_faults(one, Faults(wrong={"tags/instance/bakeboot:mode": "production", "ami-id": "ami-2"}))
    assert [heard("tags/instance/bakeboot:mode"), heard("ami-id"), heard("instance-id")] == [
        "production",
        "ami-2",
        "i-1",
    ]
    world.site.set_faults(one, Faults(gone=frozenset({"tags"})))
    assert [heard("tags/instance/bakeboot:mode"), heard("ami-id")] == ["", "ami-1"]
    world.site.set_faults(one, Faults(refused=FOREVER))
    assert heard("ami-id") == ""
    world.site.set_faults(one, Faults())
    assert heard("ami-id") == "ami-1"


def test_two_regions_do_not_see_each_other(world: World, one: Machine, base_root: Path, tmp_path: Path) -> None:
    with opened(tmp_path, base_root, prefix="tm") as other:
        assert other.addresses.shared != world.addresses.shared
        twin = other.start("one", "172.31.5.9")
        port = other.serve(twin.name, "0.0.0.0").port
        assert greeting(one, "172.31.5.9", port)[0] == "ConnectionRefusedError"
        host = f"{other.addresses.shared}.1"
        other.serve_on(other.addresses.api_sockets()[1])
        assert greeting(twin, host, 4566)[0] == "172.31.5.9"
        told, seconds = greeting(one, host, 4566)
        assert told.endswith("Error")
        assert seconds < 0.5


def test_an_address_is_not_kept_from_others_by_a_machine_that_ended(world: World, one: Machine, public: str) -> None:
    ended = world.start("seven", "172.31.7.7")
    ended.kill()
    with pytest.raises(RegionError):
        world.addresses.expose(public, ended, lambda: ALL)
    ended.discard()
    assert greeting(one, public, 8080)[0] == "ConnectionRefusedError"
    port = world.serve(one.name, "0.0.0.0").port
    world.addresses.expose(public, one, lambda: ALL)
    wait_until(lambda: from_host(public, port), "this host reaches it", 5)


@pytest.mark.aws("https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/routing-to-elb-load-balancer.html")
def test_a_name_leads_to_a_load_balancer_as_soon_as_route_53_is_told(region: RegionWorld, made: Made) -> None:
    dns, elb = region.client("route53"), region.client("elbv2")
    zone = dns.create_hosted_zone(Name="example.com", CallerReference=made.name())["HostedZone"]["Id"]
    made.later(lambda: dns.delete_hosted_zone(Id=zone))
    arn, address = made.load_balancer()
    (balancer,) = elb.describe_load_balancers(LoadBalancerArns=[arn])["LoadBalancers"]
    target = {
        "HostedZoneId": balancer["CanonicalHostedZoneId"],
        "DNSName": f"dualstack.{address}",
        "EvaluateTargetHealth": True,
    }

    def change(action: str) -> str:
        record = {"Name": "web.example.com", "Type": "A", "AliasTarget": target}
        batch = {"Changes": [{"Action": action, "ResourceRecordSet": record}]}
        answer = dns.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)
        return str(answer["ChangeInfo"]["Id"])

    resolver = region.endpoint.removeprefix("http://").rpartition(".")[0] + ".2"
    question = dnslib.DNSRecord.question("web.example.com")
    dns.get_waiter("resource_record_sets_changed").wait(Id=change("UPSERT"), WaiterConfig={"MaxAttempts": 1})
    assert str(dnslib.DNSRecord.parse(question.send(resolver, 53, timeout=5)).a.rdata) == address
    change("DELETE")
    assert dnslib.DNSRecord.parse(question.send(resolver, 53, timeout=5)).header.rcode == dnslib.RCODE.NXDOMAIN


def test_a_region_s_addresses_are_another_s_when_it_is_closed(tmp_path: Path) -> None:
    with Site.open(tmp_path / "state", tmp_path / "runtime") as site:
        with Addresses.open(site) as first, Addresses.open(site, prefer=first.number) as second:
            assert second.number != first.number
        with Addresses.open(site, prefer=first.number) as again:
            assert again.number == first.number
