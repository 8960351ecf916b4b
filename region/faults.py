"""What can be wrong with an instance's metadata service: one plan for each machine, pure in the time since it began."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

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
