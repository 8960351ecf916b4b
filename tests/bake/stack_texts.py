"""Texts of stack files for tests, and the mistakes that are told about them."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.errors import StackError
from bake.reader import parse_stack
from bake.stack import Stack

HERE = Path("/srv/acme")

LEAST = """
[stack]
name = "shop"
[repos.web]
url = "../web"
[services.web]
health = { path = "/" }
"""


def parse(text: str) -> Stack:
    return parse_stack(text, HERE)


def mistakes(text: str) -> dict[str, tuple[str, str]]:
    """Path to (what, hint) of every mistake."""
    with pytest.raises(StackError) as told:
        parse(text)
    return {mistake.path: (mistake.expected, mistake.hint) for mistake in told.value.mistakes}


def mistake(text: str) -> tuple[str, str, str]:
    found = mistakes(text)
    assert len(found) == 1, found
    ((path, (what, hint)),) = found.items()
    return path, what, hint


def with_service(lines: str) -> str:
    """The least stack, these lines added to its service."""
    return LEAST + lines + "\n"


def with_repo(line: str) -> str:
    return LEAST.replace('url = "../web"', line)


def with_worker(lines: str) -> str:
    return f'{LEAST}\n[services.job]\nrepo = "web"\nkind = "worker"\n{lines}\n'
