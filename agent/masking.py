"""Keeping secrets out of what is written down: a command may print its environment, a record may not hold it."""

from __future__ import annotations

from agent.image import Service

SHORTEST_SECRET = 8
"""Values shorter than this are not hidden: they would hit ordinary words."""


def secrets_of(service: Service, variables: dict[str, str]) -> frozenset[str]:
    """The values in a service's environment that came from elsewhere than the image, and the passwords in its URLs."""
    open_names = {"PATH", "HOME", "PORT", "LANG", *service.env}
    values = [value for name, value in variables.items() if name not in open_names and not name.startswith("BAKEBOOT_")]
    passwords = [value.split("@")[0].rpartition(":")[2] for value in values if "://" in value and "@" in value]
    return frozenset(value for value in (*values, *passwords) if len(value) >= SHORTEST_SECRET)


def masked(text: str, secrets: frozenset[str]) -> str:
    """``text`` without any of ``secrets``: a command may print its environment, a record may not hold it."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "[hidden]")
    return text
