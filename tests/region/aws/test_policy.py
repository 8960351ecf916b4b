"""What policies allow, as tables of documents and requests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from region.aws.policy import Policies, Request, effect, trusts

OWN = "arn:aws:ssm:us-east-1:123456789012:parameter/bakeboot/shop/production/web"
OTHER = "arn:aws:ssm:us-east-1:123456789012:parameter/bakeboot/shop/production/api"
TABLE = "arn:aws:dynamodb:us-east-1:123456789012:table/state"


def document(*statements: Mapping[str, Any], version: str = "2012-10-17") -> str:
    return json.dumps({"Version": version, "Statement": list(statements)})


def allow(action: Any = "*", resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: Any = "*", resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Deny", "Action": action, "Resource": resource, **more}


def request(action: str = "ssm:GetParameter", resource: str | None = OWN, **keys: Sequence[str] | str) -> Request:
    """A key is written with `__` for a colon and `___` for a slash."""
    context = {
        key.replace("___", "/").replace("__", ":").lower(): [value] if isinstance(value, str) else value
        for key, value in keys.items()
    }
    return Request(action, resource, context.get)


@pytest.mark.parametrize(
    ("statements", "asked", "expected"),
    [
        ([], request(), "none"),
        ([allow()], request(), "allow"),
        ([allow("ssm:Get*")], request(), "allow"),
        ([allow("SSM:getparameter")], request(), "allow"),
        ([allow("ssm:Put*")], request(), "none"),
        ([allow(["ec2:*", "ssm:Get?arameter"])], request(), "allow"),
        ([allow("ssm:*", f"{OWN}/*")], request(resource=f"{OWN}/A"), "allow"),
        ([allow("ssm:*", f"{OWN}/*")], request(), "none"),
        ([allow("ssm:*", [OWN, f"{OWN}/*"])], request(resource=f"{OTHER}/A"), "none"),
        ([allow("ssm:*", OWN.upper())], request(), "none"),
        ([allow(), deny("ssm:*", OWN)], request(), "deny"),
        ([allow(), deny("ssm:*", OTHER)], request(), "allow"),
        ([allow("ssm:*", "arn:aws:ssm:*:*:parameter/*")], request("ssm:DescribeParameters", "*"), "none"),
        ([{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}], request(), "allow"),
        ([{"Effect": "Allow", "NotAction": "ssm:*", "Resource": "*"}], request(), "none"),
        ([{"Effect": "Deny", "Action": "*", "NotResource": f"{OWN}*"}, allow()], request(), "allow"),
        ([{"Effect": "Deny", "Action": "*", "NotResource": f"{OWN}*"}, allow()], request(resource=OTHER), "deny"),
        # A resource that isn't known: Action and Effect decide.
        ([allow("ssm:*", OTHER)], request(resource=None), "allow"),
        ([allow(), deny("ssm:*", OTHER)], request(resource=None), "allow"),
        ([allow(), deny("ssm:*")], request(resource=None), "deny"),
        ([{"Effect": "allow", "Action": "*", "Resource": "*"}], request(), "none"),
    ],
)
def test_actions_and_resources_decide(statements: list[Mapping[str, Any]], asked: Request, expected: str) -> None:
    assert effect([document(*statements)], asked) == expected


@pytest.mark.parametrize(
    ("operator", "wanted", "has", "met"),
    [
        ("StringEquals", "shop", "shop", True),
        ("StringEquals", "shop", "SHOP", False),
        ("StringEquals", ["a", "shop"], "shop", True),
        ("StringEquals", "sh*", "shop", False),
        ("StringLike", "sh*", "shop", True),
        ("StringEqualsIgnoreCase", "SHOP", "shop", True),
        ("StringNotEquals", ["a", "b"], "shop", True),
        ("StringNotEquals", ["a", "shop"], "shop", False),
        ("StringNotLike", "sh*", "shop", False),
        # A key that the request doesn't have: false, but for what is negated and what says IfExists.
        ("StringEquals", "shop", None, False),
        ("StringNotEquals", "shop", None, True),
        ("StringEqualsIfExists", "shop", None, True),
        ("StringEqualsIfExists", "shop", "b", False),
        ("Null", "true", None, True),
        ("Null", True, "b", False),
        ("Null", "false", "b", True),
        ("Bool", False, "true", False),
        ("Bool", "true", "true", True),
        ("DateLessThan", "2026-11-24T13:00:00Z", "2026-11-24T12:00:00Z", True),
        ("DateLessThan", "2026-11-24T11:00:00+00:00", "2026-11-24T12:00:00Z", False),
        ("DateGreaterThan", "1700000000", "2026-11-24T12:00:00Z", True),
        ("DateGreaterThan", "next week", "2026-11-24T12:00:00Z", False),
        ("NumericLessThanEquals", 10, "11", False),
        ("NumericLessThanEquals", "10", "10", True),
        ("ArnLike", "arn:aws:iam::*:role/web*", "arn:aws:iam::1:role/web-7", True),
        ("ArnEquals", "arn:aws:iam::*:role/web", "arn:aws:iam::1:role/api", False),
        ("ArnLike", "arn:aws:*:role/web", "arn:aws:iam::1:role/web", False),  # each part by itself
        ("IpAddress", "10.0.0.0/8", "10.1.1.1", False),  # not known here
        # Keys with several values.
        ("ForAllValues:StringEquals", ["a", "b"], ["a", "b"], True),
        ("ForAllValues:StringEquals", ["a"], ["a", "b"], False),
        ("ForAllValues:StringEquals", ["a"], None, True),
        ("ForAnyValue:StringEquals", ["a"], ["a", "b"], True),
        ("ForAnyValue:StringEquals", ["c"], ["a", "b"], False),
        ("ForAnyValue:StringEquals", ["c"], None, False),
        ("ForAllValues:StringLike", ["instance#${aws:userid}"], ["instance#AROA:i-1"], True),
        ("ForAllValues:StringEquals", ["instance#${aws:userid}"], ["instance#AROA:i-1"], True),
        ("ForAllValues:StringLike", ["instance#${aws:userid}"], ["instance#AROA:i-2"], False),
    ],
)
def test_a_condition_must_hold(operator: str, wanted: Any, has: str | list[str] | None, met: bool) -> None:
    condition = {operator: {"aws:ResourceTag/Team": wanted}}
    values = [has] if isinstance(has, str) else has
    context = {"aws:userid": ["AROA:i-1"], **({"aws:resourcetag/team": values} if values else {})}
    asked = Request("ssm:GetParameter", OWN, context.get)
    assert effect([document(allow(Condition=condition))], asked) == ("allow" if met else "none")


@pytest.mark.parametrize(
    ("condition", "met"),
    [
        ({"StringEquals": {"aws:a": "1", "aws:b": "2"}}, True),
        ({"StringEquals": {"aws:a": "1", "aws:b": "3"}}, False),
        ({"StringEquals": {"aws:a": "1"}, "StringLike": {"aws:b": "3*"}}, False),
    ],
)
def test_all_conditions_must_hold(condition: Mapping[str, Any], met: bool) -> None:
    asked = request(aws__a="1", aws__b="2")
    assert effect([document(allow(Condition=condition))], asked) == ("allow" if met else "none")


@pytest.mark.parametrize(
    ("resource", "tag", "asked", "expected"),
    [
        ("parameter/${aws:PrincipalTag/path}/*", "bakeboot/shop", "parameter/bakeboot/shop/A", "allow"),
        ("parameter/${aws:PrincipalTag/path}/*", "bakeboot/api", "parameter/bakeboot/shop/A", "none"),
        ("parameter/${aws:PrincipalTag/other}/*", "bakeboot/shop", "parameter/bakeboot/shop/A", "none"),
        # What a variable stands for is no pattern, whatever is in it.
        ("parameter/${aws:PrincipalTag/path}/*", "*", "parameter/bakeboot/shop/A", "none"),
        ("parameter/bakeboot/${aws:PrincipalTag/other, 'shop'}/*", "", "parameter/bakeboot/shop/A", "allow"),
        ("parameter/${*}", "", "parameter/A", "none"),
        ("parameter/${*}", "", "parameter/*", "allow"),
    ],
)
def test_variables_are_filled_in(resource: str, tag: str, asked: str, expected: str) -> None:
    prefix = "arn:aws:ssm:us-east-1:1:"
    of = request(resource=prefix + asked, aws__PrincipalTag___path=tag)
    assert effect([document(allow("ssm:*", prefix + resource))], of) == expected


def test_an_old_documents_variables_are_plain_text() -> None:
    resource = "arn:aws:ssm:*:*:parameter/${aws:userid}"
    asked = request(resource=OWN.rpartition("parameter")[0] + "parameter/x", aws__userid="x")
    assert effect([document(allow("*", resource, Sid="new"))], asked) == "allow"
    assert effect([document(allow("*", resource), version="2008-10-17")], asked) == "none"


@pytest.mark.parametrize(
    ("policies", "because"),
    [
        (Policies([document(allow())]), None),
        (Policies([]), "because no identity-based policy allows the ssm:GetParameter action"),
        (Policies(["this is no JSON"]), "because no identity-based policy allows the ssm:GetParameter action"),
        (Policies([document(allow(), deny("ssm:*"))]), "with an explicit deny in an identity-based policy"),
        (
            Policies([document(allow())], boundary=[document(allow("ec2:*"))]),
            "because no permissions boundary allows the ssm:GetParameter action",
        ),
        (Policies([document(allow())], boundary=[document(allow("ssm:*"))]), None),
        (
            Policies([document(allow())], session=[document(allow("ec2:*"))]),
            "because no session policy allows the ssm:GetParameter action",
        ),
        (Policies([document(allow())], session=[document(deny())]), "with an explicit deny in a session policy"),
    ],
)
def test_a_refusal_says_which_policy_it_is(policies: Policies, because: str | None) -> None:
    refusal = policies.refusal(request())
    assert (refusal and refusal.because) == because


def test_a_refusal_is_the_sentence_that_aws_says() -> None:
    refusal = Policies([]).refusal(request())
    assert refusal is not None
    assert refusal.sentence("arn:aws:sts::123456789012:assumed-role/web/i-1") == (
        "User: arn:aws:sts::123456789012:assumed-role/web/i-1 is not authorized to perform: ssm:GetParameter"
        f" on resource: {OWN} because no identity-based policy allows the ssm:GetParameter action"
    )


@pytest.mark.parametrize(
    ("principal", "condition", "trusted"),
    [
        ("*", {}, True),
        ({"AWS": "*"}, {}, True),
        ({"AWS": ["123456789012"]}, {}, True),
        ({"AWS": "arn:aws:iam::123456789012:role/ci"}, {}, False),
        ({"Service": "ec2.amazonaws.com"}, {}, False),
        (None, {}, False),
        ("*", {"StringEquals": {"sts:ExternalId": "right"}}, True),
        ("*", {"StringEquals": {"sts:ExternalId": "wrong"}}, False),
    ],
)
def test_a_role_trusts_whom_it_names(principal: Any, condition: Mapping[str, Any], trusted: bool) -> None:
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal, "Condition": condition}
    asked = request("sts:AssumeRole", sts__ExternalId="right")
    assert trusts(document(statement), ["123456789012"], asked) is trusted
