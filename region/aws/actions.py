"""What a call asks IAM for: the actions, the resource of each, and what a policy's conditions may read of it. Pure.

"Service Authorization Reference" is the source: each service's page lists its actions, their resources and condition
keys. Told here are those that machines and a coordinator use: parameters of SSM, tables and leading keys of DynamoDB,
Auto Scaling groups by name, EC2's instances, tags and all that is told by an id, target groups and rules, roles,
alarms, hosted zones, buckets. Of a call that isn't told the resource is None: then a statement's Action and Effect
decide alone (`region.aws.policy.Request`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from region.aws.protocol import Call

Keys = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Demand:
    """One action on one resource (`*`: it has none; None: not known). `keys`: condition keys, in lower case."""

    action: str
    resource: str | None = "*"
    keys: Keys = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Where a call is made, and how what it names is found (None: there is none): `group` tells a group's ARN by its
    name or an instance's id, `profile_role` the ARN of the role of an instance profile by the profile's name or ARN,
    `partition_key` the attribute by a table's name and an index's ("": the table itself)."""

    account: str
    region: str
    group: Callable[[str], str | None] = lambda name: None
    profile_role: Callable[[str], str | None] = lambda profile: None
    partition_key: Callable[[str, str], str | None] = lambda table, index: None

    def arn(self, service: str, rest: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{rest}"


def demands(call: Call, place: Place) -> list[Demand]:
    """All that it asks for; every one must be allowed."""
    told = _SERVICES.get(call.service)
    return list(told(call, place)) if told else [Demand(call.name, None)]


def _ssm(call: Call, place: Place) -> Iterator[Demand]:
    """ "GetParametersByPath" asks for the path itself, as it is written ("Restricting access to parameters")."""
    said = call.parameters
    if call.action.startswith(("Describe", "List")) and "ResourceId" not in said:
        yield Demand(call.name)
        return
    names = [said.get("Name"), said.get("Path"), said.get("ResourceId"), *_listed(said.get("Names"))]
    resources = [_parameter(name, place) for name in names if isinstance(name, str)]
    tags = {str(one.get("Key")): str(one.get("Value")) for one in _listed(said.get("Tags")) if isinstance(one, dict)}
    if not resources or ("Parameter" not in call.action and said.get("ResourceType") != "Parameter"):
        yield Demand(call.name, None, _tag_keys(tags))
        return
    yield from (Demand(call.name, resource, _tag_keys(tags)) for resource in resources)


def _parameter(name: str, place: Place) -> str:
    """Its ARN; a version or label after the name is not part of it."""
    if name.startswith("arn:"):
        return name
    return place.arn("ssm", f"parameter/{name.partition(':')[0].removeprefix('/')}")


_TRANSACTED = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}


def _dynamodb(call: Call, place: Place) -> Iterator[Demand]:
    """A transaction asks for each of its items' actions; leading keys are the values of the partition key."""
    said = call.parameters
    if call.action in ("TransactWriteItems", "TransactGetItems"):
        for one in _listed(said.get("TransactItems")):
            for kind, item in one.items() if isinstance(one, dict) else ():
                action = _TRANSACTED.get(kind, "GetItem")
                yield _table(f"dynamodb:{action}", item, [item.get("Key") or item.get("Item")], place)
    elif call.action in ("BatchGetItem", "BatchWriteItem"):
        items = said.get("RequestItems")
        for table, asked in items.items() if isinstance(items, dict) else ():
            keys = asked.get("Keys", []) if isinstance(asked, dict) else [_written(one) for one in _listed(asked)]
            yield _table(call.name, {"TableName": table}, keys, place)
    elif call.action in ("ListTables", "DescribeLimits", "DescribeEndpoints"):
        yield Demand(call.name)
    elif isinstance(said.get("TableName"), str):
        yield _table(call.name, said, [said.get("Key") or said.get("Item") or _queried(said)], place)
    else:
        arn = said.get("ResourceArn")
        yield Demand(call.name, arn if isinstance(arn, str) else None)


def _written(request: Any) -> Any:
    put, delete = request.get("PutRequest") or {}, request.get("DeleteRequest") or {}
    return put.get("Item") or delete.get("Key")


def _table(action: str, said: Mapping[str, Any], items: Sequence[Any], place: Place) -> Demand:
    name, index = str(said.get("TableName", "")).rpartition("/")[2], str(said.get("IndexName") or "")
    arn = place.arn("dynamodb", f"table/{name}")
    partition_key = place.partition_key(name, index)
    leading = [_scalar(item.get(partition_key)) for item in items if isinstance(item, dict)]
    values = [value for value in leading if value is not None]
    return Demand(action, f"{arn}/index/{index}" if index else arn, {"dynamodb:leadingkeys": values} if values else {})


def _scalar(value: Any) -> str | None:
    return next((str(value[kind]) for kind in ("S", "N", "B") if isinstance(value, dict) and kind in value), None)


def _queried(said: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that a Query wants to be equal to something, which the partition key must be among."""
    names, values = said.get("ExpressionAttributeNames") or {}, said.get("ExpressionAttributeValues") or {}
    equal = re.findall(r"([#\w.-]+)\s*=\s*(:\w+)", str(said.get("KeyConditionExpression", "")))
    found = {names.get(name, name): values.get(value) for name, value in equal}
    for name, one in (said.get("KeyConditions") or {}).items():
        if one.get("ComparisonOperator") == "EQ":
            found[name] = next(iter(_listed(one.get("AttributeValueList"))), None)
    return found


def _autoscaling(call: Call, place: Place) -> Iterator[Demand]:
    said = call.parameters
    if call.action.startswith("Describe"):
        yield Demand(call.name)
        return
    names = [text for key, text in said.items() if key == "AutoScalingGroupName" or re.fullmatch(_TAGGED_GROUP, key)]
    if not names and "InstanceId" in said:
        names = [said["InstanceId"]]
    tags = _numbered_tags(said, "Tags.member", "Key", "Value")
    for name in dict.fromkeys(names) or [None]:
        group = f"autoScalingGroup:*:autoScalingGroupName/{name}"
        resource = None if name is None else place.group(name) or place.arn("autoscaling", group)
        yield Demand(call.name, resource, _tag_keys(tags))


_TAGGED_GROUP = r"Tags\.member\.[0-9]+\.ResourceId"
_EC2_KINDS = {
    "i": "instance", "vol": "volume", "snap": "snapshot", "sg": "security-group", "subnet": "subnet", "vpc": "vpc",
    "eni": "network-interface", "lt": "launch-template", "sir": "spot-instances-request", "rtb": "route-table",
    "igw": "internet-gateway", "eipalloc": "elastic-ip", "key": "key-pair", "fleet": "fleet", "acl": "network-acl",
}  # fmt: skip
_EC2_IDS = re.compile(r"(InstanceId|ImageId|VolumeId|SnapshotId|GroupId|ResourceId|LaunchTemplateId|SubnetId|VpcId)")


def _ec2(call: Call, place: Place) -> Iterator[Demand]:
    """Descriptions have no resource; RunInstances asks for many, of which only what else it needs is told."""
    said = call.parameters
    described = call.action.startswith(("Describe", "Get")) and not call.action.startswith("GetConsole")
    if described and call.action not in ("GetPasswordData", "GetLaunchTemplateData"):
        yield Demand(call.name)
        return
    if call.action in ("CreateTags", "DeleteTags"):
        tags = _tag_keys(_numbered_tags(said, "Tag", "Key", "Value"))
        for resource_id in call.members("ResourceId"):
            yield Demand(call.name, _ec2_arn(resource_id, place), tags)
        return
    tags = _numbered_tags(said, r"TagSpecification\.[0-9]+\.Tag", "Key", "Value")
    ids = [] if call.action.startswith(("Run", "Create")) else [text for key, text in said.items() if _is_id(key)]
    for resource in dict.fromkeys(_ec2_arn(one, place) for one in ids) or [None]:
        yield Demand(call.name, resource, _tag_keys(tags))
    if tags:
        yield Demand("ec2:CreateTags", None, {**_tag_keys(tags), "ec2:createaction": [call.action]})
    profile = said.get("IamInstanceProfile.Name") or said.get("IamInstanceProfile.Arn")
    if profile and (role := place.profile_role(profile)):
        yield Demand("iam:PassRole", role, {"iam:passedtoservice": ["ec2.amazonaws.com"]})


def _is_id(key: str) -> bool:
    return _EC2_IDS.fullmatch(re.sub(r"\.[0-9]+$", "", key)) is not None


def _ec2_arn(resource_id: str, place: Place) -> str:
    prefix = resource_id.partition("-")[0]
    if prefix == "ami":
        return f"arn:aws:ec2:{place.region}::image/{resource_id}"
    if prefix == "snap":
        return f"arn:aws:ec2:{place.region}::snapshot/{resource_id}"
    return place.arn("ec2", f"{_EC2_KINDS.get(prefix, '*')}/{resource_id}")


def _elb(call: Call, place: Place) -> Iterator[Demand]:
    """Each ARN that it names at its top; descriptions have no resource."""
    said = call.parameters
    if call.action.startswith("Describe"):
        yield Demand(call.name)
        return
    arns = [text for key, text in said.items() if re.fullmatch(r"\w+Arns?(\.member\.[0-9]+)?", key)]
    arns += [text for key, text in said.items() if re.fullmatch(r"RulePriorities\.member\.[0-9]+\.RuleArn", key)]
    tags = _tag_keys(_numbered_tags(said, r"Tags\.member", "Key", "Value"))
    yield from (Demand(call.name, arn, tags) for arn in dict.fromkeys(arns) or [None])


def _sts(call: Call, place: Place) -> Iterator[Demand]:
    if call.action.startswith("AssumeRole"):
        tags = _tag_keys(_numbered_tags(call.parameters, r"Tags\.member", "Key", "Value"))
        external = {"sts:externalid": [call.parameters["ExternalId"]]} if "ExternalId" in call.parameters else {}
        name = {"sts:rolesessionname": [str(call.parameters.get("RoleSessionName", ""))]}
        yield Demand(call.name, str(call.parameters.get("RoleArn", "")), {**tags, **external, **name})
    elif call.action != "GetCallerIdentity":  # which needs no permission
        yield Demand(call.name)


def _cloudwatch(call: Call, place: Place) -> Iterator[Demand]:
    said = call.parameters
    if call.action == "PutMetricData":
        yield Demand(call.name, "*", {"cloudwatch:namespace": [str(said.get("Namespace", ""))]})
        return
    one = said.get("AlarmName")
    named = [one] if isinstance(one, str) else [*_listed(said.get("AlarmNames")), *call.members("AlarmNames")]
    if not named or call.action.startswith(("Describe", "Get", "List")):
        yield Demand(call.name)
        return
    yield from (Demand(call.name, place.arn("cloudwatch", f"alarm:{name}")) for name in named)


def _route53(call: Call, place: Place) -> Iterator[Demand]:
    found = re.search(r"/(hostedzone|change|healthcheck)/([A-Za-z0-9-]+)", call.path)
    yield Demand(call.name, f"arn:aws:route53:::{found[1]}/{found[2]}" if found else "*")


_S3 = {
    "ListObjects": "ListBucket", "ListObjectsV2": "ListBucket", "HeadBucket": "ListBucket", "HeadObject": "GetObject",
    "CopyObject": "PutObject", "CreateMultipartUpload": "PutObject", "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject", "DeleteObjects": "DeleteObject", "ListBuckets": "ListAllMyBuckets",
}  # fmt: skip


def _s3(call: Call, place: Place) -> Iterator[Demand]:
    action = f"s3:{_S3.get(call.action, call.action)}"
    bucket, _, key = call.path.strip("/").partition("/")
    if call.action == "DeleteObjects":
        key = "*"
    resource = f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket}"
    yield Demand(action, resource if bucket else "*", {})


def _iam(call: Call, place: Place) -> Iterator[Demand]:
    name = call.parameters.get("RoleName")
    yield Demand(call.name, f"arn:aws:iam::{place.account}:role/{name}" if name else None)


_SERVICES: Mapping[str, Callable[[Call, Place], Iterator[Demand]]] = {
    "ssm": _ssm,
    "dynamodb": _dynamodb,
    "autoscaling": _autoscaling,
    "ec2": _ec2,
    "elasticloadbalancing": _elb,
    "sts": _sts,
    "cloudwatch": _cloudwatch,
    "route53": _route53,
    "s3": _s3,
    "iam": _iam,
}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _numbered_tags(said: Mapping[str, Any], name: str, key: str, value: str) -> dict[str, str]:
    """The tags of a query call: `Name.N.Key` with `Name.N.Value`; `name` is a pattern."""
    found = {match[1]: text for one, text in said.items() if (match := re.fullmatch(rf"({name}\.[0-9]+)\.{key}", one))}
    return {text: str(said.get(f"{at}.{value}", "")) for at, text in found.items()}


def _tag_keys(tags: Mapping[str, str]) -> Keys:
    """`aws:RequestTag/KEY` of each, and all their keys in `aws:TagKeys`."""
    if not tags:
        return {}
    return {"aws:tagkeys": list(tags), **{f"aws:requesttag/{key.lower()}": [value] for key, value in tags.items()}}
