"""A launch: what a request and a launch template's version say together. Pure.

All in the words of the EC2 API (RunInstances, RequestLaunchTemplateData). EC2 User Guide, "Launch an instance from a
launch template": what the request says replaces what the template says; tags and block devices are put together.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Words = Mapping[str, Any]
"""Part of a request or an answer, in the API's own names."""
Tags = dict[str, dict[str, str]]
"""Tags by kind of resource."""

_TOGETHER = ("MetadataOptions", "Placement", "Monitoring")
_GROUPS = ("SecurityGroupIds", "SecurityGroups")
_APART = ("TagSpecifications", "BlockDeviceMappings", "NetworkInterfaces", *_TOGETHER, *_GROUPS)
ROOT_DEVICE = "/dev/xvda"
"""The root device of all AMIs of a region, as of AWS's own Debian images."""


def merge(template: Words, request: Words) -> dict[str, Any]:
    """What is launched: the version's data under the request."""
    merged = {name: value for name, value in {**template, **_said(request)}.items() if name not in _APART}
    for name in _TOGETHER:
        if both := {**(template.get(name) or {}), **_said(request.get(name) or {})}:
            merged[name] = both
    groups = request if any(request.get(name) for name in _GROUPS) else template
    merged.update({name: list(groups[name]) for name in _GROUPS if groups.get(name)})
    if cards := by_key("DeviceIndex", template.get("NetworkInterfaces"), request.get("NetworkInterfaces")):
        merged["NetworkInterfaces"] = cards
    if devices := by_key("DeviceName", template.get("BlockDeviceMappings"), request.get("BlockDeviceMappings")):
        merged["BlockDeviceMappings"] = devices
    merged["Tags"] = merge_tags(tags_of(template.get("TagSpecifications")), tags_of(request.get("TagSpecifications")))
    return merged


def inherit(source: Words, data: Words) -> dict[str, Any]:
    """The data of a version made from another (CreateLaunchTemplateVersion, SourceVersion).

    "The new version inherits the same launch parameters as the source version, except for parameters that you specify
    in LaunchTemplateData."
    """
    return {**source, **_said(data)}


def _said(words: Words) -> dict[str, Any]:
    return {name: value for name, value in words.items() if value is not None}


def by_key(key: str, *lists: Sequence[Words] | None) -> list[dict[str, Any]]:
    """Entries with the same key put together, the later over the earlier; `Ebs` within them likewise."""
    found: dict[Any, dict[str, Any]] = {}
    for entry in (entry for entries in lists for entry in entries or ()):
        earlier = found.get(entry.get(key), {})
        both = {**earlier, **_said(entry)}
        if "Ebs" in earlier and "Ebs" in entry:
            both["Ebs"] = {**earlier["Ebs"], **_said(entry["Ebs"])}
        found[entry.get(key)] = both
    return list(found.values())


def tags_of(specifications: Iterable[Words] | None) -> Tags:
    found: Tags = {}
    for entry in specifications or ():
        kind = found.setdefault(entry["ResourceType"], {})
        kind.update({tag["Key"]: tag.get("Value", "") for tag in entry.get("Tags", ())})
    return found


def specifications(tags: Mapping[str, Mapping[str, str]]) -> list[dict[str, Any]]:
    """The inverse of `tags_of`."""
    return [
        {"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in pairs.items()]}
        for kind, pairs in tags.items()
    ]


def merge_tags(*all_tags: Mapping[str, Mapping[str, str]]) -> Tags:
    found: Tags = {}
    for tags in all_tags:
        for kind, pairs in tags.items():
            found.setdefault(kind, {}).update(pairs)
    return found


def reserved_tag(tags: Mapping[str, Mapping[str, str]]) -> str | None:
    """A key that only AWS may write (EC2 User Guide, "Tag restrictions"): those that begin with `aws:`."""
    return next((key for pairs in tags.values() for key in pairs if key.lower().startswith("aws:")), None)


def block_devices(image: Sequence[Words], launch: Sequence[Words], root: str = ROOT_DEVICE) -> list[dict[str, Any]]:
    """The EBS devices that an instance starts with: its image's under those of the launch; NoDevice takes one out.

    EC2 User Guide, "Preserve data when an instance is terminated": DeleteOnTermination is by default true for the root
    volume and false for all others. `Size` and `Type` have EBS's defaults: the snapshot's size, gp2 in the API.
    """
    devices = []
    for device in by_key("DeviceName", image, launch):
        if device.get("NoDevice") is not None or device.get("VirtualName"):
            continue
        is_root = device["DeviceName"] == root
        ebs = {"DeleteOnTermination": is_root, "VolumeType": "gp2", "Encrypted": False, **_said(device.get("Ebs", {}))}
        devices.append({"DeviceName": device["DeviceName"], "Ebs": ebs})
    return sorted(devices, key=lambda device: (device["DeviceName"] != root, device["DeviceName"]))


def same_request(one: Words, other: Words) -> bool:
    """Whether two requests with the same client token are one request that was sent twice."""
    unlike = ("ClientToken", "DryRun")
    first, second = ({k: v for k, v in request.items() if k not in unlike} for request in (one, other))
    return bool(_plain(first) == _plain(second))


def _plain(value: Any) -> Any:
    match value:
        case Mapping():
            return {key: _plain(inner) for key, inner in value.items() if inner is not None}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case _:
            return str(value)


def open_ports(rules: Iterable[Any]) -> tuple[tuple[int, int], ...]:
    """The TCP ranges that a security group's inbound rules open to any addresses, both ends included.

    `rules` have `ip_protocol`, `from_port`, `to_port`, `ip_range` as moto's SecurityGroupRule. Where from does not
    matter: all that reaches a region's public addresses is this host itself.
    """
    ranges = set()
    for rule in rules:
        if rule.ip_protocol in ("tcp", "-1") and rule.ip_range:
            every = rule.ip_protocol == "-1" or rule.from_port == -1
            ranges.add((0, 65535) if every else (rule.from_port, rule.to_port))
    return tuple(sorted(ranges))


def usable(address: str, cidr: str) -> bool:
    """Whether an instance may have the address: all of a subnet's but the first four and the last are.

    VPC User Guide, "Subnet CIDR blocks".
    """
    network = ipaddress.ip_network(cidr)
    ours = ipaddress.ip_address(address)
    return ours in network and 4 <= int(ours) - int(network.network_address) < network.num_addresses - 1


def version_number(word: str | int | None) -> str | int | None:
    """A version as it may be asked for: a number, "$Latest", "$Default"; None for what is none of them."""
    text = str(word) if word not in (None, "") else "$Default"
    if text in ("$Latest", "$Default"):
        return text
    return int(text) if re.fullmatch("[0-9]{1,9}", text) and int(text) > 0 else None
