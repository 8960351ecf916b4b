"""When a scheduled action is due. Pure.

"Scheduled scaling for Amazon EC2 Auto Scaling": a start time, or a recurrence as five fields of cron (minute, hour, day
of month, month, day of week) in UTC or in a named time zone, from the start time to the end time where there are any.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("day of week", 0, 7, {name: number for number, name in enumerate(_DAYS)}),
)
_LONGEST = 366 * 8
"""Days that a next time is looked for: 29 February can be eight years away."""


@dataclass(frozen=True)
class Cron:
    """What the fields allow; of `days` (of the month) and `weekdays` (0 is Sunday) one is enough if both are given."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool

    def on(self, day: date) -> bool:
        by_date, by_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return day.month in self.months and ((by_date or by_week) if self.either else (by_date and by_week))


def parse(recurrence: str) -> Cron:
    """Raises ValueError that says what is wrong."""
    fields = recurrence.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"expected five fields (minute hour day month weekday), got {recurrence!r}")
    minutes, hours, days, months, weekdays = (
        _allowed(field, name, low, high, names) for field, (name, low, high, names) in zip(fields, _FIELDS, strict=True)
    )
    weekdays = frozenset(day % 7 for day in weekdays)
    return Cron(minutes, hours, days, months, weekdays, either=fields[2] != "*" and fields[4] != "*")


def _allowed(field: str, name: str, low: int, high: int, names: Mapping[str, int]) -> frozenset[int]:
    found: set[int] = set()
    for part in field.upper().split(","):
        match = re.fullmatch(r"(?:(\*)|(\w+)(?:-(\w+))?)(?:/(\d+))?", part)
        if not match:
            raise ValueError(f"{name}: expected *, a number, a range or a list of them, got {field!r}")
        star, first, last, step = match.groups()
        try:
            start = low if star else _number(first, names)
            end = high if star or (step and not last) else _number(last or first, names)
        except ValueError as error:
            raise ValueError(f"{name}: expected a number from {low} to {high}, got {part!r}") from error
        if not low <= start <= end <= high or step == "0":
            raise ValueError(f"{name}: expected numbers from {low} to {high}, got {part!r}")
        found.update(range(start, end + 1, int(step or 1)))
    return frozenset(found)


def _number(word: str, names: Mapping[str, int]) -> int:
    return names[word] if word in names else int(word)


def zone_of(name: str | None) -> tzinfo:
    """UTC if there is no name. Raises ValueError for a time zone that is not known."""
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"the time zone {name} is not known") from error


def next_time(cron: Cron, after: float, zone: tzinfo) -> float | None:
    """The first time after `after` (seconds) that the recurrence names; None when there is none.

    An hour that the clock leaves out in spring has no time; of one that comes twice in autumn the first is meant.
    """
    start = datetime.fromtimestamp(after, zone)
    for offset in range(_LONGEST):
        day = start.date() + timedelta(days=offset)
        if not cron.on(day):
            continue
        for hour in sorted(cron.hours):
            for minute in sorted(cron.minutes):
                local = datetime.combine(day, time(hour, minute), zone)
                found = local.timestamp()
                if found > after and datetime.fromtimestamp(found, zone).replace(tzinfo=zone) == local:
                    return found
    return None


@dataclass(frozen=True)
class Schedule:
    """Times in seconds. Without a recurrence it is due once, at `start`."""

    start: float | None = None
    end: float | None = None
    recurrence: str | None = None
    time_zone: str | None = None

    def after(self, now: float) -> float | None:
        """The first time later than `now` at which it is due, None when there is none any more. Raises ValueError."""
        if self.recurrence is None:
            return self.start if self.start is not None and self.start > now else None
        earliest = now if self.start is None else max(now, self.start - 1)
        found = next_time(parse(self.recurrence), earliest, zone_of(self.time_zone))
        return found if found is not None and (self.end is None or found <= self.end) else None
