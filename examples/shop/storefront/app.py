"""The storefront: takes orders over HTTP, and says what became of them.

    GET  /              what we sell
    POST /orders        {"product": "teapot", "quantity": 2}
    GET  /orders        the orders placed from this browser
    GET  /orders/<id>   one order: "new" until the orders-worker has packed it, then "done"
    GET  /summary       orders a day, counted by nightly.py
    GET  /healthz       200, or 503 and which datastore is out

An order is written to our PostgreSQL, handed to the orders-api, and put on the queue that the orders-worker reads.
"""

from __future__ import annotations

import logging
import os
import sys
import uuid
from collections.abc import Callable
from typing import Any

import psycopg
from flask import Flask, Response, abort, jsonify, request, session, url_for
from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue
from rq.serializers import JSONSerializer

import database
import orders_api
from orders import BadOrder, read_order

logging.basicConfig(
    stream=sys.stdout, level=os.environ.get("LOG_LEVEL", "info").upper(), format="%(levelname)s %(name)s %(message)s"
)
log = logging.getLogger("storefront")

app = Flask(__name__)
app.secret_key = os.environ["SECRET_KEY"]

# One retry at once, for a pooled connection that Redis has closed; a Redis that is away is said so at once.
redis = Redis.from_url(
    os.environ["REDIS_URL"], socket_connect_timeout=2, socket_timeout=2, retry=Retry(NoBackoff(), retries=1)
)
# JSON, not pickle: what lies on a shared queue must never be able to become code.
queue = Queue("orders", connection=redis, serializer=JSONSerializer)


@app.get("/")
def index() -> Response:
    with database.connect() as db:
        return jsonify(products=database.products(db))


@app.post("/orders")
def place_order() -> tuple[Response, int]:
    order = read_order(request.get_json(silent=True))
    order_id = str(uuid.uuid4())
    with database.connect() as db:  # all or nothing: what fails in here takes our own row back
        database.add_order(db, order_id, order)
        orders_api.create(order_id, order.product, order.quantity)
        queue.enqueue("tasks.pack", order_id)  # by name: the function lives in the orders-worker
    session["orders"] = [*session.get("orders", []), order_id][-20:]
    log.info("order %s: %d %s", order_id, order.quantity, order.product)
    url = url_for("show_order", order_id=order_id)
    answer = jsonify(order=order_id, status="new", url=url)
    answer.headers["Location"] = url
    return answer, 201


@app.get("/orders")
def my_orders() -> Response:
    return jsonify(orders=session.get("orders", []))


@app.get("/orders/<uuid:order_id>")
def show_order(order_id: uuid.UUID) -> Response:
    with database.connect() as db:
        order = database.order(db, str(order_id))
    if order is None:
        abort(404)
    made = orders_api.read(str(order_id))
    return jsonify({**order, "status": made["status"], "parcel": made["parcel"], "packed_by": made["packed_by"]})


@app.get("/summary")
def summary() -> Response:
    with database.connect() as db:
        return jsonify(days=database.summaries(db))


@app.get("/healthz")
def healthz() -> tuple[Response, int]:
    answers = {"postgresql": _answer("postgresql", database.ping), "redis": _answer("redis", redis.ping)}
    return jsonify(answers), 200 if set(answers.values()) == {"ok"} else 503


def _answer(name: str, ping: Callable[[], Any]) -> str:
    try:
        ping()
    except (psycopg.Error, RedisError) as error:
        log.error("%s is out: %s", name, error)
        return "out"
    return "ok"


@app.errorhandler(BadOrder)
def bad_order(error: BadOrder) -> tuple[Response, int]:
    return jsonify(error=str(error)), 422


@app.errorhandler(OSError)
@app.errorhandler(RedisError)
@app.errorhandler(psycopg.OperationalError)
def something_is_away(error: Exception) -> tuple[Response, int]:
    log.error("%s %s: %s", request.method, request.path, error)
    return jsonify(error="we can't do this right now, please try again"), 503
