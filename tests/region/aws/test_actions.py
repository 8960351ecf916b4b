"""What a call asks IAM for."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from region.aws.actions import Demand, Place, demands
from region.aws.protocol import Call

GROUP = "arn:aws:autoscaling:us-east-1:1:autoScalingGroup:7-7:autoScalingGroupName/web"
PLACE = Place(
    "1",
    "us-east-1",
    group=lambda name: GROUP if name in ("web", "i-1") else None,
    profile_role=lambda profile: "arn:aws:iam::1:role/web" if profile == "web" else None,
    partition_key=lambda table, index: {"": "pk", "by-owner": "owner"}.get(index),
)


def spoken(name: str, said: dict[str, Any], path: str = "/") -> Call:
    """A call as its service's protocol has it."""
    service, _, action = name.partition(":")
    if service in ("ssm", "dynamodb", "cloudwatch"):
        return Call(service, action, "json", body=json.dumps(said).encode())
    if service in ("route53", "s3"):
        return Call(service, action, "rest-xml", path=path)
    return Call(service, action, "ec2" if service == "ec2" else "query", body=urlencode(said).encode())


def arn(service: str, rest: str) -> str:
    return f"arn:aws:{service}:us-east-1:1:{rest}"


TABLE = arn("dynamodb", "table/state")
ITEM = {"pk": {"S": "instance#i-1"}, "sk": {"S": "x"}}


@pytest.mark.parametrize(
    ("name", "said", "resources"),
    [
        ("ssm:GetParameter", {"Name": "/a/b:3"}, [arn("ssm", "parameter/a/b")]),
        ("ssm:GetParameter", {"Name": "plain"}, [arn("ssm", "parameter/plain")]),
        ("ssm:GetParameter", {"Name": arn("ssm", "parameter/a")}, [arn("ssm", "parameter/a")]),
        ("ssm:GetParameters", {"Names": ["/a", "/b"]}, [arn("ssm", "parameter/a"), arn("ssm", "parameter/b")]),
        ("ssm:GetParametersByPath", {"Path": "/a/b/"}, [arn("ssm", "parameter/a/b/")]),
        ("ssm:DescribeParameters", {}, ["*"]),
        ("ssm:SendCommand", {"DocumentName": "x"}, [None]),
        ("dynamodb:Scan", {"TableName": "state"}, [TABLE]),
        ("dynamodb:ListTables", {}, ["*"]),
        ("autoscaling:DescribeAutoScalingGroups", {}, ["*"]),
        ("autoscaling:CompleteLifecycleAction", {"AutoScalingGroupName": "web", "InstanceId": "i-9"}, [GROUP]),
        (
            "autoscaling:RecordLifecycleActionHeartbeat",
            {"AutoScalingGroupName": "api"},
            [arn("autoscaling", "autoScalingGroup:*:autoScalingGroupName/api")],
        ),
        ("autoscaling:SetInstanceHealth", {"InstanceId": "i-1"}, [GROUP]),
        ("ec2:DescribeTags", {}, ["*"]),
        (
            "ec2:TerminateInstances",
            {"InstanceId.1": "i-1", "InstanceId.2": "i-2"},
            [arn("ec2", "instance/i-1"), arn("ec2", "instance/i-2")],
        ),
        ("ec2:GetConsoleOutput", {"InstanceId": "i-1"}, [arn("ec2", "instance/i-1")]),
        ("ec2:DeregisterImage", {"ImageId": "ami-1"}, ["arn:aws:ec2:us-east-1::image/ami-1"]),
        ("elasticloadbalancing:RegisterTargets", {"TargetGroupArn": "arn:tg"}, ["arn:tg"]),
        ("elasticloadbalancing:DescribeTargetHealth", {"TargetGroupArn": "arn:tg"}, ["*"]),
        ("sts:GetCallerIdentity", {}, []),
        ("cloudwatch:PutMetricAlarm", {"AlarmName": "x"}, [arn("cloudwatch", "alarm:x")]),
        ("sqs:SendMessage", {}, [None]),
    ],
)
def test_a_call_asks_for_resources(name: str, said: dict[str, Any], resources: list[str | None]) -> None:
    assert demands(spoken(name, said), PLACE) == [Demand(name, resource) for resource in resources]


BY_KEY = {"TableName": "state", "Key": ITEM}
QUERY = {
    "TableName": "state",
    "KeyConditionExpression": "#p = :p AND sk > :s",
    "ExpressionAttributeNames": {"#p": "pk"},
    "ExpressionAttributeValues": {":p": {"S": "instance#i-1"}, ":s": {"S": ""}},
}
BY_OWNER = {
    "TableName": "state",
    "IndexName": "by-owner",
    "KeyConditionExpression": "owner=:p",
    "ExpressionAttributeValues": {":p": {"S": "mira"}},
}
BATCH = {"RequestItems": {"state": [{"PutRequest": {"Item": ITEM}}, {"DeleteRequest": {"Key": {"pk": {"S": "b"}}}}]}}


@pytest.mark.parametrize(
    ("name", "said", "resource", "leading"),
    [
        ("dynamodb:PutItem", {"TableName": "state", "Item": ITEM}, TABLE, ["instance#i-1"]),
        ("dynamodb:GetItem", {"TableName": TABLE, "Key": ITEM}, TABLE, ["instance#i-1"]),
        ("dynamodb:Query", QUERY, TABLE, ["instance#i-1"]),
        ("dynamodb:Query", BY_OWNER, f"{TABLE}/index/by-owner", ["mira"]),
        ("dynamodb:BatchWriteItem", BATCH, TABLE, ["instance#i-1", "b"]),
    ],
)
def test_a_call_on_a_table_tells_its_leading_keys(
    name: str, said: dict[str, Any], resource: str, leading: list[str]
) -> None:
    assert demands(spoken(name, said), PLACE) == [Demand(name, resource, {"dynamodb:leadingkeys": leading})]


def test_a_transaction_asks_for_what_each_of_its_items_does() -> None:
    items = [{"Update": BY_KEY}, {"ConditionCheck": BY_KEY}, {"Get": BY_KEY}]
    asked = demands(spoken("dynamodb:TransactWriteItems", {"TransactItems": items}), PLACE)
    leading = {"dynamodb:leadingkeys": ["instance#i-1"]}
    assert asked == [Demand(f"dynamodb:{action}Item", TABLE, leading) for action in ("Update", "ConditionCheck", "Get")]


def test_tags_in_a_call_are_keys() -> None:
    said = {"ResourceId.1": "i-1", "Tag.1.Key": "bakeboot:state", "Tag.1.Value": "ready"}
    keys = {"aws:tagkeys": ["bakeboot:state"], "aws:requesttag/bakeboot:state": ["ready"]}
    assert demands(spoken("ec2:CreateTags", said), PLACE) == [
        Demand("ec2:CreateTags", arn("ec2", "instance/i-1"), keys)
    ]


def test_a_launch_asks_for_its_role_and_its_tags_too() -> None:
    tags = {"TagSpecification.1.ResourceType": "instance", "TagSpecification.1.Tag.1.Key": "a"}
    run = spoken("ec2:RunInstances", {"ImageId": "ami-1", "IamInstanceProfile.Name": "web", **tags})
    assert [(one.action, one.resource) for one in demands(run, PLACE)] == [
        ("ec2:RunInstances", None),
        ("ec2:CreateTags", None),
        ("iam:PassRole", "arn:aws:iam::1:role/web"),
    ]


def test_a_metric_tells_its_namespace() -> None:
    asked = demands(spoken("cloudwatch:PutMetricData", {"Namespace": "shop"}), PLACE)
    assert asked == [Demand("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": ["shop"]})]


@pytest.mark.parametrize(
    ("name", "path", "action", "resource"),
    [
        (
            "route53:GetHostedZone",
            "/2013-04-01/hostedzone/Z1",
            "route53:GetHostedZone",
            "arn:aws:route53:::hostedzone/Z1",
        ),
        ("route53:ListHostedZones", "/2013-04-01/hostedzone", "route53:ListHostedZones", "*"),
        ("s3:HeadObject", "/b/k/l", "s3:GetObject", "arn:aws:s3:::b/k/l"),
        ("s3:ListObjectsV2", "/b", "s3:ListBucket", "arn:aws:s3:::b"),
    ],
)
def test_a_rest_call_asks_for_what_its_path_names(name: str, path: str, action: str, resource: str) -> None:
    assert demands(spoken(name, {}, path), PLACE) == [Demand(action, resource)]
