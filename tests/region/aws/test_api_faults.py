"""Which calls a fault strikes, and what they are told."""

from __future__ import annotations

from typing import Any

import pytest

from region.aws.api_faults import ApiFault, ApiFaults, Verdict, failure_of
from region.aws.protocol import Call, Protocol
from region.errors import RegionError
from tests.region.aws.fakes import FakeClock

ADMIN = frozenset({"admin", "arn:aws:iam::1:user/admin"})
WEB = frozenset({"i-1", "web", "arn:aws:iam::1:role/web"})


@pytest.mark.parametrize(
    ("calls", "principal", "call", "names", "matches"),
    [
        ("*", "*", "ssm:GetParameter", frozenset(), True),
        ("ssm:*", "*", "ssm:GetParameter", ADMIN, True),
        ("SSM:getparameter*", "*", "ssm:GetParametersByPath", ADMIN, True),
        ("ssm:GetParameter", "*", "ssm:GetParametersByPath", ADMIN, False),
        ("ec2:*", "*", "ssm:GetParameter", ADMIN, False),
        ("*", "i-1", "ssm:GetParameter", WEB, True),
        ("*", "web", "ssm:GetParameter", WEB, True),
        ("*", "*:role/w*", "ssm:GetParameter", WEB, True),
        ("*", "i-*", "ssm:GetParameter", ADMIN, False),
        ("*", "admin", "ssm:GetParameter", ADMIN, True),
    ],
)
def test_a_fault_is_of_calls_and_callers(
    calls: str, principal: str, call: str, names: frozenset[str], matches: bool
) -> None:
    assert ApiFault("throttle", calls, principal).matches(call, names) is matches


@pytest.mark.parametrize(
    ("plan", "struck"),
    [
        ({}, "xxxxxx"),
        ({"count": 2}, "xx...."),
        ({"skip": 3}, "...xxx"),
        ({"skip": 1, "count": 2}, ".xx..."),
        ({"count": 0}, "......"),
        ({"rate": 0}, "......"),
        ({"for": 3}, "xxx..."),
        ({"rate": 0.5, "seed": 1}, "x..xxx"),
        ({"rate": 0.5, "seed": 1, "count": 1}, "x....."),
    ],
)
def test_a_fault_strikes_when_it_should(plan: dict[str, Any], struck: str) -> None:
    clock = FakeClock()
    faults = ApiFaults(clock)
    faults.add({"kind": "throttle", **plan})
    found = ""
    for _ in struck:
        found += "x" if faults.decide("ssm:GetParameter", ADMIN).fault else "."
        clock.now += 1
    assert found == struck
    (told,) = faults.list()
    assert told["struck"] == struck.count("x")


def test_delays_add_up_and_the_first_that_is_none_decides() -> None:
    faults = ApiFaults()
    error, throttle = ApiFault("error", count=1), ApiFault("throttle")
    for fault in (ApiFault("latency", seconds=1), error, throttle, ApiFault("latency", seconds=0.5)):
        faults.add(fault)
    assert faults.decide("ssm:GetParameter", ADMIN) == Verdict(1.5, error)
    assert faults.decide("ssm:GetParameter", ADMIN) == Verdict(1.5, throttle)
    assert [one["struck"] for one in faults.list()] == [2, 1, 1, 2]


def test_a_fault_is_listed_as_it_was_told() -> None:
    faults = ApiFaults()
    said = {
        "kind": "error",
        "calls": "ec2:RunInstances",
        "code": "InsufficientInstanceCapacity",
        "status": 500,
        "for": 9.0,
    }
    fault_id = faults.add(said)
    kept = {key: value for key, value in said.items() if key != "status"}  # which is 500 anyway
    assert faults.list() == [{"id": fault_id, **kept, "seen": 0, "struck": 0, "over": False}]


def test_faults_end_one_by_one_or_all() -> None:
    faults = ApiFaults()
    first, second, _ = (faults.add({"kind": "lost"}) for _ in range(3))
    assert faults.clear(second) == 1
    assert faults.clear(second) == 0
    assert faults.list()[0]["id"] == first
    assert faults.clear() == 2
    assert faults.decide("ssm:GetParameter", ADMIN) == Verdict()


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ({}, "it has no kind"),
        ({"kind": "slow"}, "there is no kind 'slow'"),
        ({"kind": "lost", "colour": 1}, "a fault has no 'colour'"),
        ({"kind": "lost", "rate": 2}, "rate is a number from 0 to 1, not 2"),
        ({"kind": "lost", "count": 1.5}, "count is a whole number from 0 to inf, not 1.5"),
        ({"kind": "lost", "count": True}, "count is a whole number from 0 to inf, not True"),
        ({"kind": "lost", "calls": ""}, "calls is a text, not ''"),
        ({"kind": "latency", "seconds": "1"}, "seconds is a number from 0 to 3600, not '1'"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(said: dict[str, Any], what: str) -> None:
    with pytest.raises(RegionError) as refused:
        ApiFaults().add(said)
    assert refused.value.what == what


@pytest.mark.parametrize(
    ("service", "spoken", "code", "status"),
    [
        ("ec2", "ec2", "RequestLimitExceeded", 503),
        ("autoscaling", "query", "Throttling", 400),
        ("dynamodb", "json", "ProvisionedThroughputExceededException", 400),
        ("ssm", "json", "ThrottlingException", 400),
        ("route53", "rest-xml", "Throttling", 400),
        ("s3", "rest-xml", "SlowDown", 503),
        ("lambda", "rest-json", "TooManyRequestsException", 429),
    ],
)
def test_each_service_throttles_in_its_own_words(service: str, spoken: Protocol, code: str, status: int) -> None:
    failure = failure_of(ApiFault("throttle"), Call(service, "X", spoken))
    assert (failure.code, failure.status) == (code, status)


def test_an_error_is_told_as_it_was_ordered() -> None:
    fault = ApiFault("error", code="InsufficientInstanceCapacity", status=500, message="none left")
    failure = failure_of(fault, Call("ec2", "RunInstances", "ec2"))
    assert (failure.code, failure.status, failure.message) == ("InsufficientInstanceCapacity", 500, "none left")
