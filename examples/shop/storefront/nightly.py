"""The clock: counts the day's orders into ``day_summaries``, every minute (NIGHTLY_INTERVAL, in seconds).

Each count leaves a heartbeat, which ``check_nightly.py`` reads. A database that is away is asked again soon. SIGTERM
ends it cleanly, at once between two counts.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading

import psycopg

import database

RETRY = 5.0
"""Seconds until the next try when the database is away."""

COUNT_TODAY = """
    INSERT INTO day_summaries (day, orders, items, total_cents, counted_at)
    SELECT (now() AT TIME ZONE 'UTC')::date, count(*), coalesce(sum(quantity), 0),
           coalesce(sum(quantity * price_cents), 0), now()
    FROM orders WHERE placed_at >= date_trunc('day', now(), 'UTC')
    ON CONFLICT (day) DO UPDATE SET orders = excluded.orders, items = excluded.items,
                                    total_cents = excluded.total_cents, counted_at = excluded.counted_at
    RETURNING day, orders
"""
BEAT = """
    INSERT INTO heartbeats (host, pid, at) VALUES (%s, %s, now())
    ON CONFLICT (host, pid) DO UPDATE SET at = excluded.at
"""
FORGET = "DELETE FROM heartbeats WHERE at < now() - interval '1 day'"

log = logging.getLogger("nightly")


def count(db: database.Connection, host: str, pid: int) -> None:
    today = db.execute(COUNT_TODAY).fetchone()
    db.execute(BEAT, (host, pid))
    db.execute(FORGET)
    if today is not None:
        log.info("%s: orders so far: %d", today["day"], today["orders"])


def main() -> None:
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    interval = float(os.environ.get("NIGHTLY_INTERVAL", "60"))
    while not stop.is_set():
        try:
            with database.connect() as db:
                count(db, socket.gethostname(), os.getpid())
            pause = interval
        except psycopg.Error as error:
            log.error("the database is away, next try in %g s: %s", RETRY, error)
            pause = RETRY
        stop.wait(pause)
    log.info("stopped")


if __name__ == "__main__":
    main()
