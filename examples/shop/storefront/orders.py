"""What a customer may order: reading and checking the body of an order. Pure: no network, no database."""

from __future__ import annotations

from dataclasses import dataclass

MOST = 100
"""So many of a product go into one order."""


class BadOrder(ValueError):
    """An order that can't be taken; the message is for the customer."""


@dataclass(frozen=True)
class Order:
    product: str
    quantity: int


def read_order(body: object) -> Order:
    """The order in a decoded JSON body: ``{"product": "teapot", "quantity": 2}``; the quantity may be left out.

    Raises BadOrder. Whether the product is one that we sell is known by the database alone.
    """
    if not isinstance(body, dict):
        raise BadOrder('expected a JSON object like {"product": "teapot", "quantity": 2}')
    product = body.get("product")
    if not isinstance(product, str) or not product:
        raise BadOrder("expected the name of a product")
    quantity = body.get("quantity", 1)
    # In Python True is an int: "quantity": true would be one teapot.
    if not isinstance(quantity, int) or isinstance(quantity, bool) or not 1 <= quantity <= MOST:
        raise BadOrder(f"expected a quantity from 1 to {MOST}")
    return Order(product, quantity)
