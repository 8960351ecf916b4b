"""Says whether this machine's orders-worker is well: 0 if it is registered in Redis with a fresh heartbeat, else 1."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable
from datetime import UTC, datetime

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Worker
from rq.serializers import JSONSerializer

FRESH = 60.0
"""Seconds: four heartbeats of an idle worker, two of one with a long job (RQ beats every 30 s then)."""


def verdict(ages: Iterable[float]) -> str:
    """What is wrong with workers whose last heartbeats are of these ages (seconds), or nothing."""
    freshest = min(ages, default=None)
    if freshest is None:
        return "none is registered"
    if freshest > FRESH:
        return f"the last heartbeat is {freshest:.0f} s old"
    return ""


def main() -> int:
    connection = Redis.from_url(
        os.environ["REDIS_URL"], socket_connect_timeout=2, socket_timeout=2, retry=Retry(NoBackoff(), retries=0)
    )
    try:
        workers = Worker.all(connection=connection, serializer=JSONSerializer)
    except RedisError as error:
        print(f"orders-worker: Redis is away: {error}")
        return 1
    now = datetime.now(UTC)
    here = [worker for worker in workers if worker.hostname == socket.gethostname()]
    wrong = verdict((now - worker.last_heartbeat).total_seconds() for worker in here if worker.last_heartbeat)
    print(f"orders-worker: {wrong or 'registered, and its heartbeat is fresh'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
