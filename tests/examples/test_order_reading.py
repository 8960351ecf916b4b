"""``examples/shop/storefront/orders.py``: what a customer may order."""

from __future__ import annotations

import pytest

from tests.examples.loading import load

orders = load("storefront/orders.py")


@pytest.mark.parametrize(
    ("body", "quantity"),
    [
        ({"product": "teapot"}, 1),
        ({"product": "teapot", "quantity": 1}, 1),
        ({"product": "teapot", "quantity": 100, "note": "a gift"}, 100),
    ],
)
def test_an_order_is_read(body: object, quantity: int) -> None:
    assert orders.read_order(body) == orders.Order("teapot", quantity)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "teapot",
        {},
        {"product": ""},
        {"product": 7},
        {"product": "teapot", "quantity": 0},
        {"product": "teapot", "quantity": 101},
        {"product": "teapot", "quantity": "2"},
        {"product": "teapot", "quantity": 1.5},
        {"product": "teapot", "quantity": True},
        {"product": "teapot", "quantity": None},
    ],
    ids=repr,
)
def test_what_is_no_order_is_refused(body: object) -> None:
    with pytest.raises(orders.BadOrder, match="expected"):
        orders.read_order(body)
