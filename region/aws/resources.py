"""What moto holds of the things that a policy may name: whose they are, and their tags. Under the world's lock.

Each backend is looked into only where its service has been used: nothing is loaded for a question.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from moto.iam.models import iam_backends

from region.aws.actions import Place


def place(account: str, aws_region: str) -> Place:
    return Place(
        account,
        aws_region,
        group=lambda name: _group_arn(account, aws_region, name),
        profile_role=lambda profile: _profile_role(account, profile),
        partition_key=lambda table, index: _partition_key(account, aws_region, table, index),
    )


def tags_of(arn: str) -> Mapping[str, str]:
    """Of an instance and the like, a group, a parameter, a table, a role, or of what Elastic Load Balancing has."""
    _, _, service, aws_region, account, rest = arn.split(":", 5)
    match service:
        case "ec2":
            ec2 = _backend("ec2", account, aws_region)
            return dict(ec2.tags.get(rest.rpartition("/")[2], {})) if ec2 else {}
        case "autoscaling":
            group = _group(account, aws_region, rest.rpartition("/")[2])
            return {key: value for key, (value, _) in group.tags.items()} if group else {}
        case "ssm":
            ssm = _backend("ssm", account, aws_region)
            name = rest.removeprefix("parameter")
            held = ssm._resource_tags.get("Parameter", {}) if ssm else {}
            return dict(held.get(name) or held.get(name.removeprefix("/")) or {})
        case "dynamodb":
            table = _table(account, aws_region, rest.split("/")[1]) if "/" in rest else None
            return _pairs(table.tags, "Key", "Value") if table else {}
        case "elasticloadbalancing":
            elb = _backend("elbv2", account, aws_region)
            return dict(elb.tagging_service.get_tag_dict_for_resource(arn)) if elb else {}
        case "iam":
            return _pairs(_role_tags(account, arn), "Key", "Value")
        case _:
            return {}


def _pairs(tags: Any, key: str, value: str) -> dict[str, str]:
    return {str(one[key]): str(one[value]) for one in tags}


def _role_tags(account: str, arn: str) -> Any:
    roles = iam_backends[account]["aws"].roles.values()
    tags = next((role.tags for role in roles if role.arn == arn), [])
    return tags.values() if isinstance(tags, dict) else tags or []


def _backend(service: str, account: str, aws_region: str) -> Any:
    """moto's, or None where nothing of it has been loaded."""
    module = sys.modules.get(f"moto.{service}.models")
    return getattr(module, f"{service}_backends")[account][aws_region] if module else None


def _group(account: str, aws_region: str, name: str) -> Any:
    """A group by its name, or by an instance that it has."""
    autoscaling = _backend("autoscaling", account, aws_region)
    groups: Mapping[str, Any] = autoscaling.groups if autoscaling else {}
    if name in groups or not name.startswith("i-"):
        return groups.get(name)
    return next((group for group in groups.values() if name in group.members), None)


def _group_arn(account: str, aws_region: str, name: str) -> str | None:
    group = _group(account, aws_region, name)
    return str(group.arn) if group else None


def _profile_role(account: str, profile: str) -> str | None:
    profiles = iam_backends[account]["aws"].instance_profiles.values()
    found = next((one for one in profiles if profile in (one.name, one.arn)), None)
    return found.roles[0].arn if found and found.roles else None


def _table(account: str, aws_region: str, name: str) -> Any:
    dynamodb = _backend("dynamodb", account, aws_region)
    return dynamodb.tables.get(name) if dynamodb else None


def _partition_key(account: str, aws_region: str, name: str, index: str) -> str | None:
    table = _table(account, aws_region, name)
    if table is None:
        return None
    schemas = {one.name: one.schema for one in [*table.indexes, *table.global_indexes]}
    schema = schemas.get(index, []) if index else table.schema
    return next((str(one["AttributeName"]) for one in schema if one["KeyType"] == "HASH"), None)
