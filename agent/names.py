"""The words that cross a wall as plain strings: names, modes, tag keys, variables, paths.

On the boot path: imports nothing.
"""

from __future__ import annotations

SELF_CONTAINED = ("development", "test", "review")
"""Modes that run every service and every datastore on one machine."""

ENVIRONMENTS = ("staging", "production")
"""Modes that run the one service that the tag names, and no datastore."""

BAKE = "bake"
"""The mode of a build machine: it starts nothing."""

MODES = (*SELF_CONTAINED, *ENVIRONMENTS, BAKE)

TAG_STACK = "bakeboot:stack"
TAG_MODE = "bakeboot:mode"
TAG_SERVICE = "bakeboot:service"
TAG_RELEASE = "bakeboot:release"

BUILD_USER = "bakeboot-build"
"""The system user that builds run as."""

RECORD = ".bakeboot/checkout.json"
"""Below a checkout: what it says of itself (see ``agent/checkout.py``)."""

NAME_RULE = "a-z, 0-9 and hyphens, 1 to 24 characters, starting with a letter, no hyphen at the end"

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz")
_NAME_CHARACTERS = _LETTERS | frozenset("0123456789-")


def is_name(text: str) -> bool:
    """Whether ``text`` may name a stack, service, repo, datastore or box: ``[a-z][a-z0-9-]{0,23}``."""
    return 1 <= len(text) <= 24 and text[0] in _LETTERS and text[-1] != "-" and _NAME_CHARACTERS.issuperset(text)


def service_unit(service: str) -> str:
    return f"bakeboot-svc-{service}.service"


def datastore_unit(datastore: str) -> str:
    return f"bakeboot-data-{datastore}.service"


def service_user(service: str) -> str:
    """The system user that a service runs as (28 characters at most; useradd allows 32)."""
    return f"bb-{service}"


def variable(name: str) -> str:
    """The environment variable for the address of a service or datastore: ``orders-api`` gives ``ORDERS_API_URL``."""
    return f"{name.replace('-', '_').upper()}_URL"
