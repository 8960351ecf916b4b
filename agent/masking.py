"""Keeping secrets out of what is written down: a command may print its environment, a record may not hold it."""

from __future__ import annotations

from agent.image import Service

OPEN = ("PATH", "HOME", "PORT", "LANG", "NODE_ENV", "PYTHONUNBUFFERED")
"""What the agent sets itself, besides ``BAKEBOOT_*``: no secrets."""

SHORTEST_SECRET = 8
"""Values shorter than this are not hidden: they would hit ordinary words."""


def secrets_of(service: Service, variables: dict[str, str]) -> frozenset[str]:
    """The values in a service's environment that came from elsewhere than the image, the passwords in its URLs, and
    each line of those with several: what is written down comes by line.
    """
    open_names = {*OPEN, *service.env}
    values = [value for name, value in variables.items() if name not in open_names and not name.startswith("BAKEBOOT_")]
    passwords = [value.split("@")[0].rpartition(":")[2] for value in values if "://" in value and "@" in value]
    lines = [line.strip() for value in values for line in value.splitlines()]
    return frozenset(value for value in (*values, *passwords, *lines) if len(value) >= SHORTEST_SECRET)


def masked(text: str, secrets: frozenset[str]) -> str:
    """``text`` without any of ``secrets``: a command may print its environment, a record may not hold it."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "[hidden]")
    return text
