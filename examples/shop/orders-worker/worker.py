"""The orders-worker: takes jobs off the queue ``orders`` at REDIS_URL and runs them. They are in ``tasks.py``.

SIGTERM lets the job in hand end first.
"""

from __future__ import annotations

import logging
import os
import sys

from redis import Redis, RedisError
from rq import Queue, Worker
from rq.serializers import JSONSerializer

TTL = 30
"""Seconds; RQ's heartbeat comes every TTL - 15 when there is nothing to do. check.py looks for it."""


def main() -> None:
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    connection = Redis.from_url(os.environ["REDIS_URL"])
    # JSON, not pickle: what lies on a shared queue must never be able to become code.
    queue = Queue("orders", connection=connection, serializer=JSONSerializer)
    Worker([queue], connection=connection, serializer=JSONSerializer, worker_ttl=TTL).work()


if __name__ == "__main__":
    try:
        main()
    except RedisError as error:  # at the start or the end; in between RQ waits for a Redis that is away
        sys.exit(f"orders-worker: Redis is away: {error}")
