"""What a load balancer's door is told: the listeners, their rules, and the target groups with who may be chosen now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Algorithm = Literal["round_robin", "least_outstanding_requests"]


@dataclass(frozen=True)
class Target:
    """`key` names it in the door's counts: it is a target of one group. `address` is in the site."""

    key: str
    address: str
    port: int


@dataclass(frozen=True)
class Group:
    """A target group: `targets` are those that a request may go to now, none of the others."""

    key: str
    targets: tuple[Target, ...] = ()
    algorithm: Algorithm = "round_robin"


@dataclass(frozen=True)
class Condition:
    """One of a rule's conditions, which holds when one of its values does.

    `values` are wildcards (`*`, `?`) of a host, path or header, whole methods, or CIDR blocks of the source; of a query
    they are pairs of key ("" for any) and value, both wildcards. `name` is the header's.
    """

    kind: Literal["host", "path", "header", "method", "query", "source"]
    values: tuple[str, ...] | tuple[tuple[str, str], ...]
    name: str = ""


@dataclass(frozen=True)
class Forward:
    """To one of the groups, at random by weight (0 to 999; a group of weight 0 gets nothing)."""

    groups: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Fixed:
    """An answer of the load balancer's own."""

    status: int
    content_type: str = "text/plain"
    body: str = ""


@dataclass(frozen=True)
class Redirect:
    """Where else to ask: parts of a URL, in which `#{host}` and kin stand for the request's own."""

    status: int
    protocol: str = "#{protocol}"
    host: str = "#{host}"
    port: str = "#{port}"
    path: str = "/#{path}"
    query: str = "#{query}"


Action = Forward | Fixed | Redirect


@dataclass(frozen=True)
class Rule:
    """`action` is done when every condition holds. The default rule has no condition and is a listener's last."""

    action: Action
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class Listener:
    """Where a load balancer listens; `rules` are in the order in which they are tried.

    `name` names it in the door's log (`region.balancer.access` reads it back). `idle` in seconds. `certificate` is a
    PEM of key and certificates, for HTTPS; "" is HTTP.
    """

    name: str
    address: str
    port: int
    rules: tuple[Rule, ...]
    idle: int = 60
    certificate: str = ""


@dataclass(frozen=True)
class Plan:
    """All that the door is to show."""

    listeners: tuple[Listener, ...] = ()
    groups: tuple[Group, ...] = ()
