"""Brings the database at DATABASE_URL up to date: each file of ``migrations/`` once, in the order of their names.

All in one transaction: either the database is as this commit wants it, or as it was. Safe to run again.
"""

from __future__ import annotations

import os
from pathlib import Path

import psycopg

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 7_264_001  # any number: two runs at once wait for each other


def main() -> None:
    with psycopg.connect(os.environ["DATABASE_URL"], connect_timeout=10) as db:
        db.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        db.execute(
            "CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())"
        )
        done = {name for (name,) in db.execute("SELECT name FROM migrations")}
        for file in sorted(MIGRATIONS.glob("*.sql")):
            if file.name not in done:
                db.execute(file.read_bytes())
                db.execute("INSERT INTO migrations (name) VALUES (%s)", (file.name,))
                print(f"migrated: {file.name}")
    print("the database is up to date")


if __name__ == "__main__":
    main()
