"""When scheduled actions are due ("Scheduled scaling for Amazon EC2 Auto Scaling")."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from region.scaling.schedule import Schedule, parse


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def told(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


NOW = at("2026-11-24 10:30")  # a Tuesday
NEXT = {
    "* * * * *": "2026-11-24 10:31",
    "30 10 * * *": "2026-11-25 10:30",
    "*/20 * * * *": "2026-11-24 10:40",
    "5/20 * * * *": "2026-11-24 10:45",
    "0 8-18/5 * * *": "2026-11-24 13:00",
    "0 9 * * MON-FRI": "2026-11-25 09:00",
    "0 9 * * 0": "2026-11-29 09:00",
    "0 9 * * 7": "2026-11-29 09:00",
    "15 4 1,15 * *": "2026-12-01 04:15",
    "0 0 1 JAN *": "2027-01-01 00:00",
    "0 0 13 * FRI": "2026-11-27 00:00",
    "0 0 29 2 *": "2028-02-29 00:00",
    "0 0 31 4 *": None,
}


@pytest.mark.parametrize("recurrence", NEXT)
def test_the_next_time_of_a_recurrence(recurrence: str) -> None:
    assert told(Schedule(recurrence=recurrence).after(NOW)) == NEXT[recurrence]


WRONG = (
    "",
    "* * * *",
    "60 * * * *",
    "* 24 * * *",
    "* * 0 * *",
    "* * * 13 *",
    "* * * * 8",
    "*/0 * * * *",
    "5-1 * * * *",
    "x * * * *",
    "* * * FOO *",
    "@daily",
)


@pytest.mark.parametrize("recurrence", WRONG)
def test_a_recurrence_that_is_none_is_refused(recurrence: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse(recurrence)


def test_once_at_its_start() -> None:
    assert Schedule(start=NOW + 60).after(NOW) == NOW + 60
    assert Schedule(start=NOW + 60).after(NOW + 60) is None
    assert Schedule().after(NOW) is None


def test_a_recurrence_from_its_start_to_its_end() -> None:
    every_hour = Schedule(start=at("2026-11-24 12:00"), end=at("2026-11-24 13:30"), recurrence="0 * * * *")
    assert told(every_hour.after(NOW)) == "2026-11-24 12:00"
    assert told(every_hour.after(at("2026-11-24 12:00"))) == "2026-11-24 13:00"
    assert every_hour.after(at("2026-11-24 13:00")) is None


def test_a_recurrence_in_a_time_zone() -> None:
    morning = Schedule(recurrence="30 2 * * *", time_zone="Europe/Berlin")
    assert told(morning.after(at("2026-11-24 00:00"))) == "2026-11-24 01:30"
    assert told(morning.after(at("2026-03-28 12:00"))) == "2026-03-30 00:30", "02:30 is no time on 29 March"


def test_a_time_zone_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        Schedule(recurrence="* * * * *", time_zone="Mars/Olympus").after(NOW)
