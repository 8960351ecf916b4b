"""What lies on this instance and the boot decides by: the checkouts' facts, the config files.

On the boot path: imports ``json``.
"""

from __future__ import annotations

import json

from agent import envfile, state
from agent.environment import Checkout, Config
from agent.errors import ConfigError, ImageError
from agent.names import RECORD
from agent.state import Places

EVERYONE = "_all"


def read_checkouts(places: Places, repos: list[str]) -> dict[str, Checkout]:
    """What ``current`` of each of ``repos`` says of itself; ImageError when one can't be read."""
    return {repo: _checkout(f"{places.checkout(repo)}/{RECORD}") for repo in repos}


def _checkout(path: str) -> Checkout:
    text = state.read(path)
    if text is None:
        raise ImageError("no checkout is current", where=path, hint="bakeboot bake   (this image lacks it)")
    try:
        found = json.loads(text)
        commit, folders = found["commit"], found.get("path", [])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ImageError(f"can't be read: {error}", where=path) from error
    if not isinstance(commit, str) or not isinstance(folders, list) or not all(isinstance(p, str) for p in folders):
        raise ImageError("expected a commit, and path as a list of directories", where=path)
    return Checkout(commit=commit, path=tuple(folders), python=bool(found.get("python")), node=bool(found.get("node")))


def read_config(places: Places, services: list[str]) -> Config:
    """The variables that a runner placed in ``config.d`` before the boot; ConfigError for a file that is none."""
    return Config(
        everyone=_variables(places.config_file(EVERYONE)),
        services={service: _variables(places.config_file(service)) for service in services},
    )


def _variables(path: str) -> dict[str, str]:
    try:
        text = state.read(path)
    except UnicodeDecodeError as error:
        raise ConfigError("is not UTF-8", where=path) from error
    return {} if text is None else envfile.parse(text, where=path)
