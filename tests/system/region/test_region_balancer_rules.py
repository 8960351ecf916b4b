"""A request is answered by the first rule whose conditions hold. The rules are HAProxy's to decide (routes.lua)."""

from __future__ import annotations

import http.client
import socket
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from region import netns
from region.balancer.haproxy import Door, HAProxy
from region.balancer.words import Condition, Fixed, Forward, Group, Listener, Plan, Redirect, Rule, Target
from region.errors import RegionError
from tests.region.balancer.fakes import FakeDoor

pytestmark = pytest.mark.system

ADDRESS, PORT = "127.77.254.10", 8080
NAME = "app:shop:0123456789abcdef:0123456789abcdef"
LISTENERS = "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-listeners.html"


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    netns.add("bb-lb-rules")
    try:
        netns.configure("bb-lb-rules", ["link set lo up"])
        yield "bb-lb-rules"
    finally:
        netns.delete("bb-lb-rules")


@pytest.fixture(scope="module")
def door(site: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HAProxy]:
    door = HAProxy(tmp_path_factory.mktemp("door"), site, print, lambda lines: None)
    yield door
    door.close()


def plan(*rules: Rule, groups: tuple[Group, ...] = (), port: int = PORT) -> Plan:
    return Plan((Listener(NAME, ADDRESS, port, rules),), groups)


def ask(
    target: str = "/", method: str = "GET", headers: tuple[tuple[str, str], ...] = (), port: int = PORT
) -> tuple[int, str, dict[str, str]]:
    """Status, body and headers."""
    connection = http.client.HTTPConnection(ADDRESS, port, timeout=10)
    try:
        connection.putrequest(method, target, skip_host=any(name == "Host" for name, _ in headers))
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()


def host(name: str) -> tuple[tuple[str, str], ...]:
    return (("Host", name),)


def header(*lines: str) -> tuple[tuple[str, str], ...]:
    return tuple((line.partition(": ")[0], line.partition(": ")[2]) for line in lines)


CASES = [
    (Condition("host", ("shop.example.com",)), ("/", "GET", host("shop.example.com")), True),
    (Condition("host", ("shop.example.com",)), ("/", "GET", host("SHOP.example.COM")), True),
    (Condition("host", ("shop.example.com",)), ("/", "GET", host("shop.example.com:8080")), True),
    (Condition("host", ("shop.example.com",)), ("/", "GET", host("shopXexample.com")), False),
    (Condition("host", ("*.example.com",)), ("/", "GET", host("a.b.example.com")), True),
    (Condition("host", ("*.example.com",)), ("/", "GET", host("example.com")), False),
    (Condition("host", ("shop?.example.com",)), ("/", "GET", host("shop1.example.com")), True),
    (Condition("host", ("shop?.example.com",)), ("/", "GET", host("shop.example.com")), False),
    (Condition("host", ("a.example.com", "b.example.com")), ("/", "GET", host("b.example.com")), True),
    (Condition("path", ("/img/*",)), ("/img/picture.png", "GET", ()), True),
    (Condition("path", ("/img/*",)), ("/img", "GET", ()), False),
    (Condition("path", ("/img/*",)), ("/IMG/a", "GET", ()), False),  # case-sensitive
    (Condition("path", ("/img/*/pics",)), ("/img/a/b/pics", "GET", ()), True),
    (Condition("path", ("/a",)), ("/a?query=/b", "GET", ()), True),
    (Condition("path", ("/a?c",)), ("/abc", "GET", ()), True),
    (Condition("path", ("/a.c",)), ("/abc", "GET", ()), False),
    (Condition("path", ("/100%[a-z]+(x)^$-",)), ("/100%[a-z]+(x)^$-", "GET", ()), True),
    (Condition("path", ("*",)), ("/", "GET", ()), True),
    (Condition("path", ('/"\\"',)), ("/x", "GET", ()), False),
    (Condition("header", ("*chrome*",), "User-Agent"), ("/", "GET", header("user-agent: A Chrome B")), True),
    (Condition("header", ("*chrome*",), "User-Agent"), ("/", "GET", header("user-agent: curl")), False),
    (Condition("header", ("*chrome*",), "User-Agent"), ("/", "GET", ()), False),
    (Condition("header", ("s3cret",), "X-Preview"), ("/", "GET", header("X-PREVIEW: s3cret")), True),
    (Condition("header", ("s3cret",), "X-Preview"), ("/", "GET", header("X-Preview: s3cret2")), False),
    (Condition("header", ("two",), "X-Many"), ("/", "GET", header("X-Many: one", "X-Many: two")), True),
    (Condition("method", ("PUT", "POST")), ("/", "POST", ()), True),
    (Condition("method", ("PUT", "POST")), ("/", "GET", ()), False),
    (Condition("query", (("version", "v1"),)), ("/?a=b&version=v1", "GET", ()), True),
    (Condition("query", (("version", "v1"),)), ("/?a=b&VERSION=V1", "GET", ()), True),
    (Condition("query", (("version", "v1"),)), ("/?version=v2", "GET", ()), False),
    (Condition("query", (("version", "v?"),)), ("/?version=v2", "GET", ()), True),
    (Condition("query", (("", "*example*"),)), ("/?x=an+example+y", "GET", ()), True),
    (Condition("query", (("", "*example*"),)), ("/?example=x", "GET", ()), False),
    (Condition("query", (("version", "v1"),)), ("/", "GET", ()), False),
    (Condition("source", ("127.0.0.0/8",)), ("/", "GET", ()), True),
    (Condition("source", ("10.0.0.0/8", "192.168.0.0/16")), ("/", "GET", ()), False),
    (Condition("source", ("0.0.0.0/0",)), ("/", "GET", ()), True),
]


@pytest.mark.aws(LISTENERS + "#rule-condition-types")
@pytest.mark.parametrize(("condition", "request_", "holds"), CASES)
def test_a_condition_holds(
    door: HAProxy, condition: Condition, request_: tuple[str, str, tuple[tuple[str, str], ...]], holds: bool
) -> None:
    door.show(plan(Rule(Fixed(200), (condition,)), Rule(Fixed(404))))
    assert ask(*request_)[0] == (200 if holds else 404)


@pytest.mark.aws(LISTENERS + "#listener-rule-priority")
def test_the_first_rule_decides_and_all_its_conditions_must_hold(door: HAProxy) -> None:
    both = (Condition("path", ("/a*",)), Condition("method", ("GET",)))
    first, second = Rule(Fixed(201), both), Rule(Fixed(202), (Condition("path", ("/a*",)),))
    door.show(plan(first, second, Rule(Fixed(404))))
    assert [ask("/ab")[0], ask("/ab", "POST")[0], ask("/b")[0]] == [201, 202, 404]


@pytest.mark.aws(LISTENERS + "#fixed-response-actions")
def test_a_fixed_response_is_told_as_it_is(door: HAProxy) -> None:
    door.show(plan(Rule(Fixed(418, "application/json", '{"a": "\\"\n"}'))))
    status, body, headers = ask()
    assert (status, body, headers["content-type"]) == (418, '{"a": "\\"\n"}', "application/json")


@pytest.mark.aws(LISTENERS + "#redirect-actions")
@pytest.mark.parametrize(
    ("redirect", "location"),
    [
        (Redirect(301, protocol="HTTPS", port="443"), "https://shop.example.com/a/b?c=d"),
        (Redirect(302, path="/new/#{path}"), "http://shop.example.com:8080/new/a/b?c=d"),
        (Redirect(302, host="www.#{host}", port="80", query=""), "http://www.shop.example.com/a/b"),
        (Redirect(302, query="from=#{host}&#{query}"), "http://shop.example.com:8080/a/b?from=shop.example.com&c=d"),
    ],
)
def test_a_redirect_is_made_of_the_requests_parts(door: HAProxy, redirect: Redirect, location: str) -> None:
    door.show(plan(Rule(redirect)))
    status, _, headers = ask("/a/b?c=d", headers=host("shop.example.com:8080"))
    assert (status, headers["location"]) == (redirect.status, location)


def test_without_a_target_or_a_weight_the_answer_is_503(door: HAProxy) -> None:
    groups = (Group("empty"), Group("full", (Target("full|x", "127.0.0.1", 9),)))
    for weighted in ((("empty", 1),), (("full", 0),), (("empty", 1), ("full", 0))):
        door.show(plan(Rule(Forward(weighted)), groups=groups))
        status, body, headers = ask()
        assert (status, headers["server"]) == (503, "awselb/2.0")
        assert "503 Service Temporarily Unavailable" in body


def test_trace_is_refused(door: HAProxy) -> None:
    door.show(plan(Rule(Fixed(200))))
    assert ask("/", "TRACE")[0] == 405


def test_weights_are_shares(door: HAProxy) -> None:
    """Told by the one who refuses: nobody listens on the targets' ports, and the counts are of the choice."""
    groups = tuple(Group(name) for name in ("a", "b", "c"))
    door.show(plan(Rule(Forward((("a", 900), ("b", 100), ("c", 0)))), groups=groups))
    seen: Counter[str] = Counter()
    lines: list[str] = []
    door._log._take = lines.extend
    for _ in range(300):
        ask()
    while len(lines) < 300:
        pass
    seen.update(line.split()[4] for line in lines)
    assert seen["c"] == 0
    assert 5 <= seen["b"] <= 70  # 30 expected; less likely than one in a million to be outside


def test_with_no_listener_there_is_no_process(door: HAProxy) -> None:
    door.show(plan(Rule(Fixed(200))))
    door.show(Plan())
    deadline = time.monotonic() + 10
    while door._processes and time.monotonic() < deadline:
        door.look()
    assert door._processes == []


@pytest.fixture(params=["real", "fake"])
def any_door(request: pytest.FixtureRequest) -> Door:
    """The contract: what the fake says is what HAProxy does."""
    return FakeDoor() if request.param == "fake" else request.getfixturevalue("door")


def test_a_bound_address_is_the_doors_until_a_plan_without_it(any_door: Door) -> None:
    any_door.show(plan(Rule(Fixed(200)), port=8081))
    any_door.bind(ADDRESS, 8081)  # it has it already
    any_door.show(Plan())
    assert any_door.outstanding() == {}
    any_door.look()


def test_an_address_that_somebody_has_is_refused(any_door: Door) -> None:
    with socket.create_server((ADDRESS, 8099)):
        if isinstance(any_door, FakeDoor):
            any_door.taken.add(8099)
        with pytest.raises(RegionError, match="can't listen: Address already in use"):
            any_door.bind(ADDRESS, 8099)
