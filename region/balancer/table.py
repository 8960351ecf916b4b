"""The table of routes as Lua source, which routes.lua takes in whole. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from region.balancer.words import Action, Condition, Fixed, Forward, Group, Listener, Plan, Redirect

# What a table is made of: the values of Lua that we write.
Value = str | int | bool | Sequence["Value"] | Mapping[str, "Value"]


def table_of(plan: Plan) -> str:
    """The source; it holds nothing but constants, so that loading it can do nothing else."""
    return "return " + lua(
        {
            "listeners": {listener.name: _listener(listener) for listener in plan.listeners},
            "groups": {group.key: _group(group) for group in plan.groups},
        }
    )


def lua(value: Value) -> str:
    """A constant of Lua. Whatever a text holds stays within its quotes: all but plain letters are written as \\ddd."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            return '"' + "".join(_character(byte) for byte in value.encode()) + '"'
        case Mapping():
            return "{" + ",".join(f"[{lua(key)}]={lua(each)}" for key, each in value.items()) + "}"
        case _:
            return "{" + ",".join(lua(each) for each in value) + "}"


def _character(byte: int) -> str:
    character = chr(byte)
    plain = character.isascii() and (character.isalnum() or character in " /:.,-_*?#{}=@+")
    return character if plain else f"\\{byte:03d}"


def _listener(listener: Listener) -> Value:
    return {
        "port": listener.port,
        "secure": bool(listener.certificate),
        "idle": listener.idle * 1000,
        "rules": [
            {"conditions": [_condition(each) for each in rule.conditions], "action": _action(rule.action)}
            for rule in listener.rules
        ],
    }


def _condition(condition: Condition) -> Value:
    values: list[Value] = []
    for value in condition.values:
        if isinstance(value, tuple):
            values.append({"key": value[0], "value": value[1]} if value[0] else {"value": value[1]})
        elif condition.kind == "source":
            network = ipaddress.IPv4Network(value, strict=False)
            values.append({"address": int(network.network_address), "mask": int(network.netmask)})
        else:
            values.append(value)
    return {"kind": condition.kind, "name": condition.name, "values": values}


def _action(action: Action) -> Value:
    match action:
        case Forward():
            return {"kind": "forward", "groups": [[key, weight] for key, weight in action.groups]}
        case Fixed():
            return {"kind": "fixed", "status": action.status, "type": action.content_type, "body": action.body}
        case Redirect():
            return {
                "kind": "redirect",
                "status": action.status,
                "protocol": action.protocol,
                "host": action.host,
                "port": action.port,
                "path": action.path,
                "query": action.query,
            }


def _group(group: Group) -> Value:
    return {
        "algorithm": group.algorithm,
        "targets": [[target.key, target.address, target.port] for target in group.targets],
    }
