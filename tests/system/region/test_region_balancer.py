"""Load balancers answer as an ALB does: HAProxy in front of targets in a site, told by the API what to do."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bake.home import Home
from region import cgroups, netns
from region.balancer import haproxy
from region.balancer.words import Fixed, Listener, Plan, Rule
from region.errors import RegionError
from region.sweep import sweep
from tests.system.region.balancer_site import Shop, Web, opened, request, wait

pytestmark = pytest.mark.system

AWS = "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/"


@pytest.fixture(scope="module")
def shop(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with opened(home, tmp_path_factory.mktemp("balancer")) as shop:
        yield shop


@pytest.fixture(scope="module")
def pair(shop: Shop) -> tuple[Web, Web]:
    """The two targets of the group `blue`."""
    return shop.web("one", shop.blue), shop.web("two", shop.blue)


@pytest.fixture
def rule(shop: Shop) -> Iterator[Any]:
    """`rule(group, weight, …)` forwards /rule* by weights, `rule.modify(…)` changes that; gone after the test."""
    made: list[str] = []

    class Made:
        def __call__(self, *weighted: tuple[str, int]) -> None:
            answer = shop.elb.create_rule(
                ListenerArn=shop.listener,
                Priority=100,
                Conditions=[{"Field": "path-pattern", "Values": ["/rule*"]}],
                Actions=[_forward(*weighted)],
            )
            made.append(answer["Rules"][0]["RuleArn"])

        def modify(self, *weighted: tuple[str, int]) -> None:
            shop.elb.modify_rule(RuleArn=made[-1], Actions=[_forward(*weighted)])

    yield Made()
    for arn in made:
        shop.elb.delete_rule(RuleArn=arn)


def _forward(*weighted: tuple[str, int]) -> dict[str, Any]:
    groups = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in weighted]
    return {"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}


@pytest.mark.aws(AWS + "introduction.html")
def test_requests_go_to_the_targets_in_turn_from_this_host_and_from_the_site(shop: Shop, pair: tuple[Web, Web]) -> None:
    assert sorted(shop.get()[1] for _ in range(4)) == ["one", "one", "two", "two"]
    assert sorted(netns.inside(shop.site.name, shop.get)[1] for _ in range(2)) == ["one", "two"]


@pytest.mark.aws(AWS + "x-forwarded-headers.html")
def test_the_target_hears_who_asks_how_and_gets_a_trace(shop: Shop, pair: tuple[Web, Web]) -> None:
    headers = dict(json.loads(shop.get("/headers", x_forwarded_for="192.0.2.1, 192.0.2.2")[1]))
    assert headers["x-forwarded-for"] == "192.0.2.1, 192.0.2.2, 127.0.0.1"
    assert (headers["x-forwarded-proto"], headers["x-forwarded-port"]) == ("http", "80")
    assert headers["host"] == shop.address
    assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24}", headers["x-amzn-trace-id"])
    root = "Root=1-67891233-abcdef012345678912345678"
    headers = dict(json.loads(shop.get("/headers", x_amzn_trace_id=root)[1]))
    assert re.fullmatch(rf"Self=1-[0-9a-f]{{8}}-[0-9a-f]{{24}};{root}", headers["x-amzn-trace-id"])


@pytest.mark.aws(AWS + "load-balancer-troubleshooting.html#http-400-issues")
def test_headers_may_be_long_but_not_longer_than_64k(shop: Shop, pair: tuple[Web, Web]) -> None:
    headers = {f"x-{number}": "y" * 10_000 for number in range(7)}
    assert request(shop.address, 80, "/", headers)[0] == 400
    del headers["x-5"], headers["x-6"]
    assert request(shop.address, 80, "/", headers)[0] == 200


@pytest.mark.aws(AWS + "load-balancer-troubleshooting.html")
@pytest.mark.parametrize("path", ["/cut", "/rubbish"])
def test_a_bad_answer_is_a_502_and_is_not_asked_for_again(shop: Shop, pair: tuple[Web, Web], path: str) -> None:
    before = sum(web.requests for web in pair)
    assert shop.get(path)[0] == 502
    assert sum(web.requests for web in pair) == before + 1


@pytest.mark.aws(AWS + "load-balancer-troubleshooting.html")
def test_a_targets_own_503_stays_and_a_refused_connection_is_a_502(
    shop: Shop, pair: tuple[Web, Web], rule: Any
) -> None:
    assert {shop.get("/?code=503") for _ in range(2)} == {(503, "one"), (503, "two")}
    nobody = shop.group("nobody")
    rule((nobody, 1))
    status, body = shop.get("/rule")
    assert (status, "503 Service Temporarily Unavailable" in body) == (503, True)  # no target at all
    shop.elb.register_targets(TargetGroupArn=nobody, Targets=[{"Id": "10.77.0.1", "Port": 9}])
    status, body = shop.get("/rule")  # it fails open: the only target, though it never was healthy
    assert (status, "502 Bad Gateway" in body) == (502, True)


@pytest.mark.aws(AWS + "application-load-balancers.html#connection-idle-timeout")
def test_a_target_that_is_slower_than_the_idle_timeout_is_a_504(shop: Shop, pair: tuple[Web, Web]) -> None:
    attribute = {"Key": "idle_timeout.timeout_seconds", "Value": "1"}
    shop.elb.modify_load_balancer_attributes(LoadBalancerArn=shop.arn, Attributes=[attribute])
    try:
        began = time.monotonic()
        assert shop.get("/?s=3")[0] == 504
        assert 0.9 < time.monotonic() - began < 2
    finally:
        shop.elb.modify_load_balancer_attributes(LoadBalancerArn=shop.arn, Attributes=[attribute | {"Value": "60"}])


@pytest.mark.aws(AWS + "load-balancer-listeners.html")
def test_websockets_pass_and_outlive_a_change_of_rules(shop: Shop, pair: tuple[Web, Web], rule: Any) -> None:
    with socket.create_connection((shop.address, 80), timeout=5) as connection:
        key = base64.b64encode(os.urandom(16)).decode()
        connection.sendall(
            f"GET /websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 101 ")
        rule((shop.blue, 1))
        shop.elb.delete_listener(ListenerArn=shop.listen(8085, shop.blue))
        for word in (b"hello", b"again"):
            connection.sendall(word)
            assert connection.recv(4096) == word


@pytest.mark.aws(AWS + "edit-target-group-attributes.html#deregistration-delay")
def test_a_draining_target_finishes_its_request_and_gets_no_other(shop: Shop, pair: tuple[Web, Web]) -> None:
    third = shop.web("third", shop.blue)
    answers: list[tuple[int, str]] = []
    slow = [threading.Thread(target=lambda: answers.append(shop.get("/?s=1"))) for _ in range(3)]
    for thread in slow:
        thread.start()
    wait("each target has one", lambda: len(shop.outstanding()) == 3)
    shop.elb.deregister_targets(TargetGroupArn=shop.blue, Targets=[{"Id": third.address}])
    assert shop.service.state_of(shop.blue, third.address) == "draining"
    assert not shop.service.drained(shop.blue, third.address)
    assert {shop.get()[1] for _ in range(6)} == {"one", "two"}
    for thread in slow:
        thread.join()
    assert sorted(answers) == [(200, "one"), (200, "third"), (200, "two")]
    wait("it is drained", lambda: shop.service.drained(shop.blue, third.address), timeout=2)


@pytest.mark.aws(AWS + "load-balancer-troubleshooting.html#http-502-issues")
def test_a_request_that_outlasts_the_delay_is_a_502(shop: Shop, rule: Any) -> None:
    group = shop.group("short")
    delay = {"Key": "deregistration_delay.timeout_seconds", "Value": "0"}
    shop.elb.modify_target_group_attributes(TargetGroupArn=group, Attributes=[delay])
    rule((group, 1))
    web = shop.web("short", group)
    answers: list[tuple[int, str]] = []
    slow = threading.Thread(target=lambda: answers.append(shop.get("/rule?s=5")))
    slow.start()
    wait("it has its request", lambda: shop.outstanding())
    shop.elb.deregister_targets(TargetGroupArn=group, Targets=[{"Id": web.address}])
    slow.join(timeout=3)
    assert [status for status, _ in answers] == [502]


@pytest.mark.aws(AWS + "edit-target-group-attributes.html#modify-routing-algorithm")
def test_least_outstanding_requests_goes_round_the_busy_one(shop: Shop, rule: Any) -> None:
    group = shop.group("least")
    algorithm = {"Key": "load_balancing.algorithm.type", "Value": "least_outstanding_requests"}
    shop.elb.modify_target_group_attributes(TargetGroupArn=group, Attributes=[algorithm])
    rule((group, 1))
    for name in ("left", "right"):
        shop.web(name, group)
    busy: list[str] = []
    slow = threading.Thread(target=lambda: busy.append(shop.get("/rule?s=1")[1]))
    slow.start()
    wait("one is busy", lambda: shop.outstanding())
    others = {shop.get("/rule")[1] for _ in range(5)}
    slow.join()
    assert others == {"left", "right"} - set(busy)


@pytest.mark.aws(AWS + "target-group-health-checks.html")
def test_a_target_whose_checks_fail_is_left_out_and_comes_back(shop: Shop, pair: tuple[Web, Web]) -> None:
    _, two = pair
    two.health = 500
    wait("two is unhealthy", lambda: shop.service.state_of(shop.blue, two.address) == "unhealthy")
    health = shop.elb.describe_target_health(TargetGroupArn=shop.blue, Targets=[{"Id": two.address}])
    assert health["TargetHealthDescriptions"][0]["TargetHealth"] == {
        "State": "unhealthy",
        "Reason": "Target.ResponseCodeMismatch",
        "Description": "Health checks failed with these codes: [500]",
    }
    assert {shop.get()[1] for _ in range(4)} == {"one"}
    two.health = 200
    wait("two is back", lambda: {shop.get()[1] for _ in range(4)} == {"one", "two"})


@pytest.mark.aws(AWS + "create-https-listener.html")
def test_https_ends_at_the_load_balancer(shop: Shop, pair: tuple[Web, Web]) -> None:
    acm = shop.client("acm")
    certificate = acm.request_certificate(DomainName="shop.example.com")["CertificateArn"]
    listener = shop.elb.create_listener(
        LoadBalancerArn=shop.arn,
        Protocol="HTTPS",
        Port=443,
        Certificates=[{"CertificateArn": certificate}],
        DefaultActions=[_forward((shop.blue, 1))],
    )["Listeners"][0]["ListenerArn"]
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(shop.address, 443, timeout=5, context=context)
    connection.request("GET", "/headers")
    headers = dict(json.loads(connection.getresponse().read()))
    connection.close()
    assert (headers["x-forwarded-proto"], headers["x-forwarded-port"]) == ("https", "443")
    shop.elb.delete_listener(ListenerArn=listener)


@pytest.mark.aws(AWS + "load-balancer-cloudwatch-metrics.html")
def test_what_was_answered_is_counted(shop: Shop, pair: tuple[Web, Web], rule: Any) -> None:
    group = shop.group("counted")
    rule((group, 1))
    assert shop.get("/rule")[0] == 503
    shop.web("counted", group)
    for query in ["", "", "?code=404", "?code=500", "?s=0.2"]:
        shop.get(f"/rule{query}")
    both = {"LoadBalancer": shop.arn.partition("loadbalancer/")[2], "TargetGroup": group.rpartition(":")[2]}

    def statistic(metric: str, name: str = "Sum", dimensions: dict[str, str] = both) -> float | None:
        now = datetime.now(UTC)
        values = shop.cloudwatch.get_metric_data(
            MetricDataQueries=[
                {
                    "Id": "x",
                    "MetricStat": {
                        "Metric": {
                            "Namespace": "AWS/ApplicationELB",
                            "MetricName": metric,
                            "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
                        },
                        "Period": 3600,
                        "Stat": name,
                    },
                }
            ],
            StartTime=now - timedelta(minutes=30),
            EndTime=now + timedelta(minutes=1),
        )["MetricDataResults"][0]["Values"]
        return values[0] if values else None

    wait("all are counted", lambda: statistic("RequestCount") == 5)
    assert statistic("HTTPCode_Target_2XX_Count") == 3
    assert statistic("HTTPCode_Target_4XX_Count") == 1
    assert statistic("HTTPCode_Target_5XX_Count") == 1
    wait("its host is counted", lambda: statistic("HealthyHostCount", "Maximum") == 1)
    assert 0.2 <= (statistic("TargetResponseTime", "p99") or 0) < 0.4
    assert (statistic("TargetResponseTime", "p50") or 0) < 0.1
    balancer = {"LoadBalancer": both["LoadBalancer"]}
    assert (statistic("HTTPCode_ELB_503_Count", dimensions=balancer) or 0) >= 1
    assert statistic("HTTPCode_ELB_5XX_Count", dimensions=balancer) == sum(
        statistic(f"HTTPCode_ELB_{code}_Count", dimensions=balancer) or 0 for code in (502, 503, 504)
    )


@pytest.mark.aws(AWS + "application-load-balancers.html")
def test_a_second_load_balancer_has_its_own_address_which_is_free_again_when_it_goes(shop: Shop) -> None:
    balancer = shop.elb.create_load_balancer(Name="second", Subnets=shop.subnets, Scheme="internal")["LoadBalancers"][0]
    assert balancer["DNSName"] != shop.address
    assert balancer["State"]["Code"] == "provisioning"
    shop.elb.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"],
        Protocol="HTTP",
        Port=80,
        DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}],
    )
    connection = http.client.HTTPConnection(balancer["DNSName"], 80, timeout=5)
    connection.request("GET", "/")
    assert connection.getresponse().status == 404
    connection.close()
    shop.elb.get_waiter("load_balancer_available").wait(Names=["second"])
    shop.elb.delete_load_balancer(LoadBalancerArn=balancer["LoadBalancerArn"])
    wait("nobody listens there", lambda: _refused(balancer["DNSName"], 80))


def _refused(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_port_that_is_taken_on_this_host_is_told(shop: Shop) -> None:
    with socket.create_server((shop.address, 8086)), pytest.raises(Exception, match="Address already in use"):
        shop.listen(8086, shop.blue)


def test_haproxy_that_is_killed_is_started_again_and_who_connects_meanwhile_waits(
    shop: Shop, pair: tuple[Web, Web]
) -> None:
    door = shop.service._door
    assert isinstance(door, haproxy.HAProxy)
    os.kill(door._processes[-1].process.pid, 9)
    assert shop.get()[0] == 200


def test_haproxy_that_hangs_is_asked_again_and_hears_the_right_answer(
    shop: Shop, pair: tuple[Web, Web], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(haproxy, "_ANSWER", 0.2)
    door = shop.service._door
    assert isinstance(door, haproxy.HAProxy)
    with shop.world.lock:
        door._processes[-1].admin.settimeout(0.2)
        process = door._processes[-1].process.pid
        os.kill(process, signal.SIGSTOP)
        with pytest.raises(RegionError):
            door.outstanding()
        os.kill(process, signal.SIGCONT)
        assert door.outstanding() == {}  # the late answer is nobody's
    shop.elb.delete_listener(ListenerArn=shop.listen(8087, shop.blue))
    assert shop.get()[0] == 200


def test_haproxy_that_is_killed_is_started_again_while_one_before_it_still_has_a_connection(
    shop: Shop, pair: tuple[Web, Web]
) -> None:
    door = shop.service._door
    assert isinstance(door, haproxy.HAProxy)
    with contextlib.closing(http.client.HTTPConnection(shop.address, 80, timeout=5)) as kept:
        kept.request("GET", "/")
        kept.getresponse().read()
        shop.elb.delete_listener(ListenerArn=shop.listen(8088, shop.blue))
        wait("one ended", lambda: len(door._processes) == 2)
        os.kill(door._processes[-1].process.pid, 9)
        assert shop.get()[0] == 200


def test_haproxy_on_its_way_out_hears_nothing_of_listeners_that_it_has_closed(
    shop: Shop, pair: tuple[Web, Web]
) -> None:
    """It would be told again and again, which took a processor, and of a connection that got the number since."""
    door = shop.service._door
    assert isinstance(door, haproxy.HAProxy)
    listener = shop.listen(8089, shop.blue)
    with contextlib.closing(http.client.HTTPConnection(shop.address, 80, timeout=5)) as kept:
        kept.request("GET", "/")
        kept.getresponse().read()
        leaving = door._processes[-1].process.pid
        shop.elb.delete_listener(ListenerArn=listener)
        before = _processor_time(leaving)
        time.sleep(0.5)
        assert _processor_time(leaving) - before < 0.2


def _processor_time(pid: int) -> float:
    """Seconds that a process was running."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_what_a_dead_owner_left_is_swept(shop: Shop, tmp_path: Path) -> None:
    """The owner is a process that makes a door and dies without a word."""
    directory = tmp_path / "regions" / "left"
    child = os.fork()
    if not child:
        door = haproxy.HAProxy(directory, shop.site.name, print, lambda lines: None)
        name = "app:left:0123456789abcdef:0123456789abcdef"
        door.show(Plan((Listener(name, "127.77.254.20", 8080, (Rule(Fixed(200)),)),)))
        os._exit(0)
    os.waitpid(child, 0)
    assert not _refused("127.77.254.20", 8080)  # HAProxy is still there
    [left] = [entry.name for entry in (directory / "balancers").iterdir() if entry.is_dir()]
    assert sweep(tmp_path, tmp_path / "runtime") == [left]
    assert _refused("127.77.254.20", 8080)
    assert not any(group.path.exists() for group in cgroups.discover(f"bakeboot-{left}"))
