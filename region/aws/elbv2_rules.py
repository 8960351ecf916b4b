"""Conditions and actions of rules: what AWS refuses of them, how AWS tells them, and what they mean to the door. Pure.

AWS: "Listener rules for your Application Load Balancer", "Rule condition types", "Quotas for your Application Load
Balancers"; API references of CreateRule and Action.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from moto.elbv2.exceptions import ELBClientError

from region.balancer import words

Json = dict[str, Any]

GROUPS_PER_ACTION = 5
VALUES_PER_RULE = 5
WILDCARDS_PER_RULE = 6
HEAVIEST = 999
LAST_PRIORITY = 50000
_CONFIGS = {
    "host-header": "HostHeaderConfig",
    "path-pattern": "PathPatternConfig",
    "http-header": "HttpHeaderConfig",
    "http-request-method": "HttpRequestMethodConfig",
    "query-string": "QueryStringConfig",
    "source-ip": "SourceIpConfig",
}
_ONCE = ("host-header", "path-pattern", "http-request-method", "source-ip")
_FINAL = ("forward", "fixed-response", "redirect")


def invalid(message: str) -> ELBClientError:
    return ELBClientError("ValidationError", message)


def not_rehearsed(what: str) -> ELBClientError:
    """For what AWS does and this region does not: better refused than ignored."""
    return ELBClientError("InvalidConfigurationRequest", f"a local region does not rehearse {what}")


def checked_priority(priority: Any) -> int:
    if not 1 <= int(priority) <= LAST_PRIORITY:
        raise invalid(f"Priority must be between 1 and {LAST_PRIORITY}")
    return int(priority)


def checked_actions(actions: Sequence[Json]) -> list[Json]:
    """The actions as AWS tells them afterwards: a forward always has its ForwardConfig. Raises ELBClientError."""
    told = [_forward(action) if action.get("Type") == "forward" else dict(action) for action in actions]
    for action in told:
        if str(action.get("Type")).startswith("authenticate-"):
            raise not_rehearsed(f"the action {action['Type']}")
    if actions and [action.get("Type") in _FINAL for action in told] != [True]:
        raise invalid("You must specify exactly one action of type forward, redirect or fixed-response")
    for action in told:
        if action["Type"] == "redirect":
            _check_redirect(action.get("RedirectConfig") or {})
    return told


def _forward(action: Json) -> Json:
    config = action.get("ForwardConfig") or {}
    weighted = [
        {"TargetGroupArn": group["TargetGroupArn"], "Weight": int(group.get("Weight", 1))}
        for group in config.get("TargetGroups") or []
    ]
    arn = action.get("TargetGroupArn")
    if arn and weighted and [group["TargetGroupArn"] for group in weighted] != [arn]:
        raise invalid("You can specify both a target group and a forward config only if they name the same one")
    if arn and not weighted:
        weighted = [{"TargetGroupArn": arn, "Weight": 1}]
    arns = [group["TargetGroupArn"] for group in weighted]
    if not weighted:
        raise invalid("A forward action must specify a target group")
    if len(arns) > GROUPS_PER_ACTION:
        raise ELBClientError(
            "TooManyUniqueTargetGroupsPerLoadBalancer",
            f"A forward action can name {GROUPS_PER_ACTION} target groups at most",
        )
    if len(set(arns)) != len(arns):
        raise invalid("A forward action can name a target group only once")
    if any(not 0 <= group["Weight"] <= HEAVIEST for group in weighted):
        raise invalid(f"Weights must be between 0 and {HEAVIEST}")
    if (config.get("TargetGroupStickinessConfig") or {}).get("Enabled"):
        raise not_rehearsed("the stickiness of target groups in a rule")
    told = {key: value for key, value in action.items() if key not in ("TargetGroupArn", "ForwardConfig")}
    told["ForwardConfig"] = {"TargetGroups": weighted, "TargetGroupStickinessConfig": {"Enabled": False}}
    if len(arns) == 1:
        told["TargetGroupArn"] = arns[0]
    return told


def _check_redirect(config: Json) -> None:
    if config.get("StatusCode") not in ("HTTP_301", "HTTP_302"):
        raise invalid("The status code of a redirect must be HTTP_301 or HTTP_302")
    if not any(config.get(part) for part in ("Protocol", "Host", "Port", "Path", "Query")):
        raise ELBClientError("InvalidLoadBalancerAction", "The RedirectConfig values are not valid: a redirect loop")


def check_conditions(conditions: Sequence[Json]) -> None:
    """What moto lets pass and AWS does not. Raises ELBClientError."""
    fields = [condition.get("Field") for condition in conditions]
    for field in _ONCE:
        if fields.count(field) > 1:
            raise invalid(f"A rule can have only one '{field}' condition")
    values = [value for condition in conditions for value in _values(condition)]
    if len(values) > VALUES_PER_RULE:
        raise invalid(f"A rule can have {VALUES_PER_RULE} condition values at most")
    texts = [text for value in values for text in (value if isinstance(value, tuple) else (value,))]
    if sum(text.count("*") + text.count("?") for text in texts) > WILDCARDS_PER_RULE:
        raise invalid(f"A rule can have {WILDCARDS_PER_RULE} wildcards at most")
    for condition in conditions:
        config = condition.get(_CONFIGS.get(str(condition.get("Field")), "")) or {}
        if config.get("RegexValues") or condition.get("RegexValues"):
            raise not_rehearsed("conditions by regular expression")
        if condition.get("Field") == "source-ip":
            _check_networks(config["Values"])


def _check_networks(values: Sequence[str]) -> None:
    for value in values:
        try:
            version = ipaddress.ip_network(value, strict=False).version
        except ValueError:
            raise invalid(f"Condition value '{value}' is not a valid CIDR block") from None
        if version == 6:
            raise not_rehearsed("IPv6")


def _values(condition: Json) -> tuple[str, ...] | tuple[tuple[str, str], ...]:
    """A condition's values, however they were given."""
    config = condition.get(_CONFIGS.get(str(condition.get("Field")), "")) or {}
    if condition.get("Field") == "query-string":
        return tuple((pair.get("Key") or "", pair["Value"]) for pair in config.get("Values") or [])
    return tuple(config.get("Values") or condition.get("Values") or [])


def told_conditions(conditions: Sequence[Json]) -> list[Json]:
    """As AWS tells them: a host's or path's values both by themselves and in their config."""
    told = []
    for condition in conditions:
        told.append(dict(condition))
        if condition["Field"] in ("host-header", "path-pattern"):
            values = list(_values(condition))
            told[-1] |= {"Values": values, _CONFIGS[condition["Field"]]: {"Values": values}}
    return told


def groups_of(actions: Sequence[Json]) -> list[tuple[str, int]]:
    """ARN and weight of each target group that checked actions name."""
    return [
        (group["TargetGroupArn"], group["Weight"])
        for action in actions
        if action.get("Type") == "forward"
        for group in action["ForwardConfig"]["TargetGroups"]
    ]


def rule_of(conditions: Sequence[Json], actions: Sequence[Json]) -> words.Rule:
    """What a checked rule means to the door."""
    return words.Rule(_action_of(actions[0]), tuple(_condition_of(condition) for condition in conditions))


def _condition_of(condition: Json) -> words.Condition:
    values = _values(condition)
    match condition["Field"]:
        case "host-header":
            return words.Condition("host", values)
        case "path-pattern":
            return words.Condition("path", values)
        case "http-request-method":
            return words.Condition("method", values)
        case "query-string":
            return words.Condition("query", values)
        case "source-ip":
            return words.Condition("source", values)
        case _:
            return words.Condition("header", values, condition["HttpHeaderConfig"]["HttpHeaderName"])


def _action_of(action: Json) -> words.Action:
    match action["Type"]:
        case "forward":
            return words.Forward(tuple((dimension(arn), weight) for arn, weight in groups_of([action])))
        case "fixed-response":
            config = action["FixedResponseConfig"]
            return words.Fixed(
                int(config["StatusCode"]), config.get("ContentType") or "text/plain", config.get("MessageBody") or ""
            )
        case _:
            config = action["RedirectConfig"]
            parts = {part: config[part.title()] for part in ("protocol", "host", "port", "path", "query")
                     if config.get(part.title()) is not None}  # fmt: skip
            return words.Redirect(int(config["StatusCode"].removeprefix("HTTP_")), **parts)


def dimension(arn: str) -> str:
    """What CloudWatch calls a load balancer (`app/NAME/ID`) or target group (`targetgroup/NAME/ID`)."""
    return arn.rpartition(":")[2].removeprefix("loadbalancer/")
