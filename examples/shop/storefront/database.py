"""The storefront's PostgreSQL database, at DATABASE_URL: every SQL statement that the web process runs.

Tables are made by ``migrate.py`` from ``migrations/``.
"""

from __future__ import annotations

import os
from typing import Any

import psycopg
from psycopg.rows import dict_row

from orders import BadOrder, Order

Row = dict[str, Any]
Connection = psycopg.Connection[Row]


def connect() -> Connection:
    """A connection for a ``with`` block: committed at its end, rolled back if it raises, closed in both cases."""
    return psycopg.connect(os.environ["DATABASE_URL"], connect_timeout=3, row_factory=dict_row)


def ping() -> None:
    with connect() as db:
        db.execute("SELECT 1")


def products(db: Connection) -> list[Row]:
    return db.execute("SELECT name, price_cents FROM products ORDER BY name").fetchall()


def add_order(db: Connection, order_id: str, order: Order) -> None:
    """Writes the order at today's price. Raises BadOrder for a product that we don't sell."""
    added = db.execute(
        "INSERT INTO orders (id, product, quantity, price_cents)"
        " SELECT %s, name, %s, price_cents FROM products WHERE name = %s",
        (order_id, order.quantity, order.product),
    )
    if added.rowcount == 0:
        raise BadOrder(f"we don't sell {order.product!r}")


def order(db: Connection, order_id: str) -> Row | None:
    return db.execute(
        "SELECT id::text AS order, product, quantity, quantity * price_cents AS total_cents FROM orders WHERE id = %s",
        (order_id,),
    ).fetchone()


def summaries(db: Connection) -> list[Row]:
    """The last week's days, as ``nightly.py`` counted them, newest first."""
    return db.execute(
        "SELECT day::text, orders, items, total_cents FROM day_summaries ORDER BY day DESC LIMIT 7"
    ).fetchall()
