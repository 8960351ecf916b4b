"""What AWS refuses of rules, groups and load balancers is refused, and the rest means what it says."""

from __future__ import annotations

from typing import Any

import pytest
from moto.elbv2.exceptions import ELBClientError

from region.aws import elbv2_groups as groups
from region.aws import elbv2_rules as rules
from region.balancer.words import Condition, Fixed, Forward, Redirect
from tests.region.aws.elbv2_world import forward, path

BLUE, GREEN = (
    f"arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/{name}/0" for name in ("blue", "green")
)
SIX = [(f"arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/g{number}/0", 1) for number in range(6)]


def condition(field: str, config: str, **settings: Any) -> dict[str, Any]:
    return {"Field": field, config: settings}


def redirect(status: str = "HTTP_301", **config: str) -> dict[str, Any]:
    return {"Type": "redirect", "RedirectConfig": {"StatusCode": status, **config}}


@pytest.mark.parametrize(
    ("told", "means"),
    [
        (path("/a", "/b*"), Condition("path", ("/a", "/b*"))),
        (condition("host-header", "HostHeaderConfig", Values=["*.x.y"]), Condition("host", ("*.x.y",))),
        ({"Field": "host-header", "Values": ["a.b"]}, Condition("host", ("a.b",))),
        (
            condition("http-header", "HttpHeaderConfig", HttpHeaderName="X-A", Values=["b"]),
            Condition("header", ("b",), "X-A"),
        ),
        (condition("http-request-method", "HttpRequestMethodConfig", Values=["GET"]), Condition("method", ("GET",))),
        (
            condition("query-string", "QueryStringConfig", Values=[{"Key": "a", "Value": "b"}, {"Value": "c"}]),
            Condition("query", (("a", "b"), ("", "c"))),
        ),
        (condition("source-ip", "SourceIpConfig", Values=["10.0.0.0/8"]), Condition("source", ("10.0.0.0/8",))),
    ],
)
def test_each_condition_reaches_the_door(told: dict[str, Any], means: Condition) -> None:
    rules.check_conditions([told])
    assert rules.rule_of([told], [forward((BLUE, 1))]).conditions == (means,)


@pytest.mark.parametrize(
    ("told", "means"),
    [
        (
            forward((BLUE, 0), (GREEN, 999)),
            Forward((("targetgroup/blue/0", 0), ("targetgroup/green/0", 999))),
        ),
        ({"Type": "forward", "TargetGroupArn": BLUE}, Forward((("targetgroup/blue/0", 1),))),
        ({"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}, Fixed(404, "text/plain", "")),
        (
            {
                "Type": "fixed-response",
                "FixedResponseConfig": {"StatusCode": "200", "ContentType": "text/css", "MessageBody": "x"},
            },
            Fixed(200, "text/css", "x"),
        ),
        (redirect(Protocol="HTTPS", Port="443"), Redirect(301, protocol="HTTPS", port="443")),
        (redirect("HTTP_302", Path="/x", Query=""), Redirect(302, path="/x", query="")),
    ],
)
def test_each_action_reaches_the_door(told: dict[str, Any], means: Any) -> None:
    assert rules.rule_of([], rules.checked_actions([told])).action == means


def test_a_single_group_is_told_in_both_ways() -> None:
    [told] = rules.checked_actions([{"Type": "forward", "TargetGroupArn": BLUE, "Order": 1}])
    assert told == {
        "Type": "forward",
        "Order": 1,
        "TargetGroupArn": BLUE,
        "ForwardConfig": {
            "TargetGroups": [{"TargetGroupArn": BLUE, "Weight": 1}],
            "TargetGroupStickinessConfig": {"Enabled": False},
        },
    }


STICKY = {"ForwardConfig": {**forward((BLUE, 1))["ForwardConfig"], "TargetGroupStickinessConfig": {"Enabled": True}}}


@pytest.mark.parametrize(
    ("actions", "code"),
    [
        ([forward((BLUE, 1000))], "ValidationError"),
        ([forward((BLUE, -1))], "ValidationError"),
        ([forward((BLUE, 1), (BLUE, 1))], "ValidationError"),
        ([forward(*SIX)], "TooManyUniqueTargetGroupsPerLoadBalancer"),
        ([{"Type": "forward"}], "ValidationError"),
        ([{**forward((BLUE, 1)), "TargetGroupArn": GREEN}], "ValidationError"),
        ([{"Type": "forward", **STICKY}], "InvalidConfigurationRequest"),
        ([redirect("HTTP_307", Port="1")], "ValidationError"),
        ([redirect()], "InvalidLoadBalancerAction"),
        ([forward((BLUE, 1)), redirect(Port="1")], "ValidationError"),
        ([{"Type": "authenticate-oidc"}, forward((BLUE, 1))], "InvalidConfigurationRequest"),
    ],
)
def test_what_actions_can_not_be(actions: list[dict[str, Any]], code: str) -> None:
    with pytest.raises(ELBClientError) as error:
        rules.checked_actions(actions)
    assert error.value.code == code


@pytest.mark.parametrize(
    "conditions",
    [
        [path("/a"), path("/b")],
        [path(*"abcdef")],
        [path("*******")],
        [condition("source-ip", "SourceIpConfig", Values=["10.0.0.0/33"])],
        [condition("source-ip", "SourceIpConfig", Values=["::/0"])],
        [condition("host-header", "HostHeaderConfig", RegexValues=["^a$"])],
    ],
)
def test_what_conditions_can_not_be(conditions: list[dict[str, Any]]) -> None:
    with pytest.raises(ELBClientError):
        rules.check_conditions(conditions)


@pytest.mark.parametrize("priority", [0, 50001])
def test_a_priority_has_its_limits(priority: int) -> None:
    with pytest.raises(ELBClientError):
        rules.checked_priority(priority)


@pytest.mark.parametrize("name", ["x" * 33, "-shop", "shop-", "sh_op", "internal-shop", ""])
def test_what_a_load_balancer_can_not_be_called(name: str) -> None:
    with pytest.raises(ELBClientError):
        groups.check_balancer_name(name)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"healthcheck_interval_seconds": 4}, "interval must be between 5 and 300"),
        ({"healthcheck_timeout_seconds": 121}, "timeout must be between 2 and 120"),
        ({"healthy_threshold_count": 1}, "Healthy threshold count must be between 2 and 10"),
        ({"unhealthy_threshold_count": "11"}, "Unhealthy threshold count must be between 2 and 10"),
        ({"healthcheck_path": "health"}, "must begin with a '/'"),
        ({"healthcheck_path": "/a b\r\n"}, "printable"),
        ({"healthcheck_port": "http"}, "must be 'traffic-port' or"),
        ({"matcher": {"HttpCode": "500"}}, "200-499"),
        ({"matcher": {"HttpCode": "2xx"}}, "200-499"),
        ({"protocol": "HTTPS"}, "does not rehearse"),
        ({"protocol_version": "GRPC"}, "does not rehearse"),
        ({"target_type": "lambda"}, "does not rehearse"),
        ({"port": 70000}, "between 1 and 65535"),
    ],
)
def test_what_a_target_group_can_not_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ELBClientError, match=message):
        groups.check_group(settings)


@pytest.mark.parametrize(
    ("key", "value", "refused"),
    [
        ("deregistration_delay.timeout_seconds", "3600", False),
        ("deregistration_delay.timeout_seconds", "3601", True),
        ("deregistration_delay.timeout_seconds", "-1", True),
        ("slow_start.duration_seconds", "30", False),
        ("slow_start.duration_seconds", "10", True),
        ("load_balancing.algorithm.type", "least_outstanding_requests", False),
        ("load_balancing.algorithm.type", "weighted_random", True),
        ("stickiness.enabled", "false", False),
        ("stickiness.enabled", "true", True),
        ("idle_timeout.timeout_seconds", "4000", False),
        ("idle_timeout.timeout_seconds", "0", True),
    ],
)
def test_an_attribute_that_could_not_be_kept_is_refused(key: str, value: str, refused: bool) -> None:
    try:
        groups.check_attributes({key: value})
    except ELBClientError:
        assert refused
    else:
        assert not refused
