"""A target's health follows from its checks as AWS says."""

from __future__ import annotations

import pytest

from region.balancer.health import Answered, Check, Failed, Health, Outcome, TimedOut, after, codes
from region.balancer.prober import status_of

OK, BAD, LATE, GONE = Answered(200), Answered(503), TimedOut(), Failed()
CHECK = Check(healthy_after=3, unhealthy_after=2, codes=codes("200-299,404"))


@pytest.mark.parametrize(
    ("outcomes", "state"),
    [
        ([OK], "healthy"),  # a new target needs one
        ([BAD], "initial"),
        ([BAD, OK], "healthy"),
        ([BAD, BAD], "unhealthy"),
        ([OK, BAD], "healthy"),
        ([OK, BAD, OK, BAD], "healthy"),  # not in a row
        ([OK, BAD, LATE], "unhealthy"),
        ([OK, GONE, BAD, OK, OK], "unhealthy"),
        ([OK, GONE, BAD, OK, OK, OK], "healthy"),
        ([OK, GONE, BAD, OK, OK, BAD, OK, OK], "unhealthy"),
        ([Answered(404)], "healthy"),
        ([Answered(299)], "healthy"),
        ([Answered(301), Answered(301)], "unhealthy"),
    ],
)
def test_the_state_follows_from_checks_in_a_row(outcomes: list[Outcome], state: str) -> None:
    health = Health()
    for outcome in outcomes:
        health = after(health, outcome, CHECK)
    assert health.state == state


@pytest.mark.parametrize(
    ("outcome", "reason", "description"),
    [
        (BAD, "Target.ResponseCodeMismatch", "Health checks failed with these codes: [503]"),
        (LATE, "Target.Timeout", "Request timed out"),
        (GONE, "Target.FailedHealthChecks", "Health checks failed"),
    ],
)
def test_an_unhealthy_target_has_the_latest_reason(outcome: Outcome, reason: str, description: str) -> None:
    health = after(after(after(Health(), BAD, CHECK), BAD, CHECK), outcome, CHECK)
    assert (health.state, health.reason, health.description) == ("unhealthy", reason, description)


@pytest.mark.parametrize(
    ("matcher", "ranges"),
    [("200", ((200, 200),)), ("200,202", ((200, 200), (202, 202))), ("200-299, 404", ((200, 299), (404, 404)))],
)
def test_a_matcher_is_ranges(matcher: str, ranges: tuple[tuple[int, int], ...]) -> None:
    assert codes(matcher) == ranges


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        (b"HTTP/1.1 200 OK\r\n", OK),
        (b"HTTP/1.0 503\r\n", BAD),
        (b"", GONE),
        (b"rubbish\r\n", GONE),
        (b"HTTP/1.1 2000 OK\r\n", GONE),
        (b"SSH-2.0-OpenSSH_9.2 200\r\n", GONE),
    ],
)
def test_the_first_line_of_an_answer_says_how_a_target_is(line: bytes, outcome: Outcome) -> None:
    assert status_of(line) == outcome
