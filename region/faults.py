"""What can be wrong with an instance's metadata service: one plan for each machine, pure in the time since it began."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

Stage = Literal["hang", "unavailable", "unauthorized", "none"]
FOREVER = math.inf


@dataclass(frozen=True)
class Faults:
    """All times in seconds; `FOREVER` is allowed. With several at once the earliest named here wins.

    They run from the machine's first request (`since="request"`), so that a slow boot doesn't outlast them, or from the
    moment they are set (`since="start"`); `refused` always from the latter, since nothing that is refused is seen.

    - `refused`: connections are refused.
    - `hang`: connections are accepted, and nothing is answered until the time is over; then they are closed.
    - `unavailable`: every answer is 503, with `retry_after` (seconds) in its header where that is not None.
    - `disabled`: 403 for everything, as with the service turned off for the instance.
    - `unauthorized`: 401 for every read, although its token is fresh.
    - `tags_late`: until then tags/instance answers 404, as it does for an instance without tags.
    - `tags_gone`: so for good.
    - `broken_tags`: keys that are listed and answer 404.
    - `slow`: every answer comes this much later.
    - `wrong`: paths below meta-data/ that answer this text instead; a path that is not there gets it too.
    - `gone`: paths below meta-data/ (or `user-data`) that answer 404, with all below them, although they are listed.
    """

    refused: float = 0.0
    hang: float = 0.0
    unavailable: float = 0.0
    retry_after: int | None = 1
    disabled: bool = False
    unauthorized: float = 0.0
    tags_late: float = 0.0
    tags_gone: bool = False
    broken_tags: frozenset[str] = frozenset()
    slow: float = 0.0
    wrong: Mapping[str, str] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()
    since: Literal["request", "start"] = "request"

    def stage(self, elapsed: float) -> Stage:
        """What stands in the way of an answer, `elapsed` seconds after the plan began."""
        if elapsed < self.hang:
            return "hang"
        if elapsed < self.unavailable:
            return "unavailable"
        if elapsed < self.unauthorized:
            return "unauthorized"
        return "none"

    def tags_hidden(self, elapsed: float) -> bool:
        return self.tags_gone or elapsed < self.tags_late

    def hides(self, path: str) -> bool:
        """Whether this path below meta-data/ is gone."""
        return any(path == gone or path.startswith(f"{gone}/") for gone in self.gone)


def faults_to(faults: Faults) -> dict[str, Any]:
    """What is wrong as JSON can hold it: the fields that differ from none, and "forever" for FOREVER."""

    def plain(value: object) -> object:
        if value == FOREVER:
            return "forever"
        return sorted(value) if isinstance(value, frozenset) else value

    none = asdict(Faults())
    return {name: plain(value) for name, value in asdict(faults).items() if value != none[name]}


def faults_from(told: Mapping[str, Any]) -> Faults:
    """The reverse. Raises ValueError for a field that there is not, or a value of another kind."""
    known = {one.name: getattr(Faults(), one.name) for one in fields(Faults)}
    read: dict[str, Any] = {}
    for name, value in told.items():
        match known.get(name), value:
            case float(), "forever":
                read[name] = FOREVER
            case float(), int() | float() if not isinstance(value, bool) and value >= 0:
                read[name] = float(value)
            case frozenset(), list() if all(isinstance(one, str) for one in value):
                read[name] = frozenset(value)
            case dict(), dict() if all(isinstance(one, str) for pair in value.items() for one in pair):
                read[name] = dict(value)
            case bool(), bool():
                read[name] = value
            case _, "start" | "request" if name == "since":
                read[name] = value
            case _, int() | None if name == "retry_after" and not isinstance(value, bool):
                read[name] = value
            case _:
                raise ValueError(f"metadata faults: {name}: did not expect {value!r}")
    return Faults(**read)
