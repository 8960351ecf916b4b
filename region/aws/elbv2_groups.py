"""What AWS refuses of a target group's and a load balancer's settings, and moto does not. Pure.

AWS: API references of CreateTargetGroup, ModifyTargetGroup, CreateLoadBalancer; "Health check settings".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from moto.elbv2.exceptions import ELBClientError

from region.aws.elbv2_rules import invalid, not_rehearsed
from region.balancer.health import codes

_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,32}(?<!-)")
_RANGES = {
    "healthcheck_interval_seconds": ("Health check interval", 5, 300),
    "healthcheck_timeout_seconds": ("Health check timeout", 2, 120),
    "healthy_threshold_count": ("Healthy threshold count", 2, 10),
    "unhealthy_threshold_count": ("Unhealthy threshold count", 2, 10),
}
# What these say is kept and told, and nothing here depends on it; any other value than AWS's default is refused.
_ONLY = {
    "stickiness.enabled": "false",
    "target_group_health.dns_failover.minimum_healthy_targets.count": "1",
    "load_balancing.algorithm.anomaly_mitigation": "off",
    "routing.http.drop_invalid_header_fields.enabled": "false",
    "routing.http.preserve_host_header.enabled": "false",
    "routing.http.xff_client_port.enabled": "false",
    "routing.http.xff_header_processing.mode": "append",
    "routing.http.x_amzn_tls_version_and_cipher_suite.enabled": "false",
    "access_logs.s3.enabled": "false",
    "connection_logs.s3.enabled": "false",
}


def check_balancer_name(name: str) -> None:
    if len(name) > 32:
        raise invalid(f"The load balancer name '{name}' cannot be longer than '32' characters")
    if not _NAME.fullmatch(name):
        raise invalid(
            f"The load balancer name '{name}' can only contain characters that are alphanumeric characters and "
            "hyphens(-), and cannot begin or end with a hyphen(-)"
        )
    if name.startswith("internal-"):
        raise invalid(f"The load balancer name '{name}' cannot begin with 'internal-'")


def check_group(settings: Mapping[str, Any]) -> None:
    """Settings by the names of moto's create_target_group; None is not given. Raises ELBClientError."""
    if settings.get("target_type") not in (None, "instance", "ip"):
        raise not_rehearsed(f"targets of type {settings['target_type']}")
    for name in ("protocol", "healthcheck_protocol"):
        if settings.get(name) not in (None, "HTTP"):
            raise not_rehearsed(f"target groups with the protocol {settings[name]}")
    if settings.get("protocol_version") not in (None, "HTTP1"):
        raise not_rehearsed(f"the protocol version {settings['protocol_version']}")
    if settings.get("port") is not None and not 1 <= int(settings["port"]) <= 65535:
        raise invalid("Port must be between 1 and 65535")
    check_health(settings)


def check_health(settings: Mapping[str, Any]) -> None:
    for name, (what, low, high) in _RANGES.items():
        if settings.get(name) is not None and not low <= int(settings[name]) <= high:
            raise invalid(f"{what} must be between {low} and {high}, got '{settings[name]}'")
    path = settings.get("healthcheck_path")
    if path is not None and (not re.fullmatch(r"/[!-~]*", path) or len(path) > 1024):
        raise invalid(f"Health check path '{path}' must begin with a '/' and have at most 1024 printable characters")
    port = settings.get("healthcheck_port")
    if port is not None and port != "traffic-port" and not (str(port).isdigit() and 1 <= int(port) <= 65535):
        raise invalid(f"Health check port '{port}' must be 'traffic-port' or between 1 and 65535")
    matcher = (settings.get("matcher") or {}).get("HttpCode")
    if matcher:
        check_matcher(matcher)


def check_matcher(matcher: str) -> None:
    try:
        ranges = codes(matcher)
    except ValueError:
        ranges = ()
    if not ranges or any(not 200 <= low <= high <= 499 for low, high in ranges):
        raise invalid(f"Health check matcher HTTP code '{matcher}' must be within '200-499' inclusive")


def check_attributes(attributes: Mapping[str, Any]) -> None:
    """Of a group or of a load balancer. Raises ELBClientError."""
    for key, value in attributes.items():
        text = str(value).lower()
        if key in _ONLY and text != _ONLY[key]:
            raise not_rehearsed(f"{key} = {value}")
        if key == "deregistration_delay.timeout_seconds" and not _within(value, 0, 3600):
            raise invalid(f"'{key}' value '{value}' must be between '0-3600' inclusive")
        if key == "idle_timeout.timeout_seconds" and not _within(value, 1, 4000):
            raise ELBClientError(
                "InvalidConfigurationRequest", f"'{key}' value '{value}' must be between '1-4000' inclusive"
            )
        if key == "load_balancing.algorithm.type" and text not in ("round_robin", "least_outstanding_requests"):
            raise not_rehearsed(f"the algorithm {value}")
        if key == "slow_start.duration_seconds" and text != "0" and not _within(value, 30, 900):
            raise invalid(f"'{key}' value '{value}' must be 0 or between '30-900' inclusive")


def _within(value: Any, low: int, high: int) -> bool:
    return str(value).isdigit() and low <= int(value) <= high
