"""Says whether this machine's nightly.py is well: 0 if it has counted lately, 1 if not or if the database is away."""

from __future__ import annotations

import os
import socket
import sys

import psycopg

import database

FRESHEST = """
    SELECT pid, extract(epoch FROM now() - at)::float AS age FROM heartbeats WHERE host = %s ORDER BY at DESC LIMIT 1
"""


def verdict(age: float | None, interval: float) -> str:
    """What is wrong with a heartbeat of this age (seconds), or nothing: one missed count is forgiven, two are not."""
    if age is None:
        return "has not counted yet"
    if age > 2 * interval + 30:
        return f"counted last {age:.0f} s ago"
    return ""


def main() -> int:
    try:
        with database.connect() as db:
            beat = db.execute(FRESHEST, (socket.gethostname(),)).fetchone()
    except psycopg.Error as error:
        print(f"nightly: the database is away: {error}")
        return 1
    wrong = verdict(None if beat is None else beat["age"], float(os.environ.get("NIGHTLY_INTERVAL", "60")))
    if beat is None or wrong:
        print(f"nightly: {wrong}")
        return 1
    print(f"nightly: process {beat['pid']} counted {beat['age']:.0f} s ago")
    return 0


if __name__ == "__main__":
    sys.exit(main())
