"""Filters of Describe calls. Pure.

EC2 User Guide, "List and filter using the CLI and API": values of one filter are OR-ed, filters are AND-ed, they are
case-sensitive, `*` is any number of characters, `?` is one, a backslash takes the next character as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

Values = Callable[[str], Iterable[str] | None]
"""What a resource has under a filter's name; None where the name is none of its filters."""
T = TypeVar("T")


class UnknownFilter(ValueError):
    """The call has no filter of this name."""


def pattern(word: str) -> re.Pattern[str]:
    out, rest = [], iter(word)
    for character in rest:
        match character:
            case "*":
                out.append(".*")
            case "?":
                out.append(".")
            case "\\":
                out.append(re.escape(next(rest, "\\")))
            case _:
                out.append(re.escape(character))
    return re.compile("".join(out), re.DOTALL)


def passing(resources: Iterable[T], filters: Mapping[str, Sequence[str]], values: Callable[[T], Values]) -> list[T]:
    """Those that pass all filters. Raises UnknownFilter."""
    patterns = {name: [pattern(word) for word in words] for name, words in filters.items()}
    return [resource for resource in resources if _passes(values(resource), patterns)]


def _passes(values: Values, patterns: Mapping[str, list[re.Pattern[str]]]) -> bool:
    for name, wanted in patterns.items():
        found = values(name)
        if found is None:
            raise UnknownFilter(name)
        if not any(one.fullmatch(value) for value in found for one in wanted):
            return False
    return True


def tag_values(name: str, tags: Mapping[str, str]) -> Iterable[str] | None:
    """What tags say to the filters `tag:KEY`, `tag-key` and `tag-value`."""
    if name.startswith("tag:"):
        key = name.removeprefix("tag:")
        return [tags[key]] if key in tags else []
    return {"tag-key": list(tags), "tag-value": list(tags.values())}.get(name)
