"""The orders-api, at ORDERS_API_URL, as the storefront uses it."""

from __future__ import annotations

import json
import os
import urllib.request
from typing import Any

TIMEOUT = 5.0
"""Seconds: a customer is waiting."""


def create(order_id: str, product: str, quantity: int) -> None:
    """Stores the order with status ``new``. Raises OSError (urllib's errors are of its kind)."""
    _call("PUT", f"/orders/{order_id}", {"product": product, "quantity": quantity})


def read(order_id: str) -> dict[str, Any]:
    """The order with its ``status``, and once it is done its ``parcel`` and ``packed_by``. Raises OSError."""
    return _call("GET", f"/orders/{order_id}")


def _call(method: str, path: str, body: object = None) -> dict[str, Any]:
    request = urllib.request.Request(
        os.environ["ORDERS_API_URL"].rstrip("/") + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        answer: dict[str, Any] = json.load(response)
    return answer
