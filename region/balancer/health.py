"""Whether a target is healthy: what checks answered, and how often in a row. Pure.

AWS: "Health checks for Application Load Balancer target groups".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["initial", "healthy", "unhealthy"]


@dataclass(frozen=True)
class Check:
    """How a group's targets are checked. `port` 0 is the port that the target gets its requests on; times in seconds.

    `codes` are ranges of statuses, both ends included, that say that a target is well.
    """

    path: str = "/"
    port: int = 0
    interval: float = 30.0
    timeout: float = 5.0
    healthy_after: int = 5
    unhealthy_after: int = 2
    codes: tuple[tuple[int, int], ...] = ((200, 200),)


@dataclass(frozen=True)
class Answered:
    """The target gave this status."""

    status: int


@dataclass(frozen=True)
class TimedOut:
    """No answer within the timeout."""


@dataclass(frozen=True)
class Failed:
    """No connection, or no answer that is HTTP."""


Outcome = Answered | TimedOut | Failed


@dataclass(frozen=True)
class Health:
    """`streak` counts the checks in a row that speak for another state than this one."""

    state: State = "initial"
    reason: str = "Elb.RegistrationInProgress"
    description: str = "Target registration is in progress"
    streak: int = 0


HEALTHY = Health("healthy", "", "")
CHECKING = Health("initial", "Elb.InitialHealthChecking", "Initial health checks in progress")


def codes(matcher: str) -> tuple[tuple[int, int], ...]:
    """The ranges of a matcher as "200", "200,202" or "200-399". ValueError when it is none."""
    ranges = []
    for part in matcher.split(","):
        first, _, last = part.strip().partition("-")
        ranges.append((int(first), int(last or first)))
    return tuple(ranges)


def after(health: Health, outcome: Outcome, check: Check) -> Health:
    """The target's health after one more check.

    One success makes a new target healthy; one that was unhealthy needs `healthy_after` in a row.
    """
    well = isinstance(outcome, Answered) and any(low <= outcome.status <= high for low, high in check.codes)
    match health.state, well:
        case ("initial", True) | ("healthy", True):
            return HEALTHY
        case "unhealthy", True:
            if health.streak + 1 >= check.healthy_after:
                return HEALTHY
            return Health("unhealthy", health.reason, health.description, health.streak + 1)
        case "unhealthy", False:
            return Health("unhealthy", *_complaint(outcome))
        case _:
            streak = health.streak + 1
            if streak >= check.unhealthy_after:
                return Health("unhealthy", *_complaint(outcome))
            still = CHECKING if health.state == "initial" else health
            return Health(still.state, still.reason, still.description, streak)


def _complaint(outcome: Outcome) -> tuple[str, str]:
    """Reason and description, word for word as AWS says them."""
    match outcome:
        case Answered():
            return "Target.ResponseCodeMismatch", f"Health checks failed with these codes: [{outcome.status}]"
        case TimedOut():
            return "Target.Timeout", "Request timed out"
        case Failed():
            return "Target.FailedHealthChecks", "Health checks failed"
