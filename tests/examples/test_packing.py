"""``examples/shop/orders-worker/tasks.py``: the parcel's number, and how a call is tried again."""

from __future__ import annotations

import io
import urllib.error
from collections.abc import Callable
from email.message import Message

import pytest

from tests.examples.loading import load

tasks = load("orders-worker/tasks.py")


def test_an_order_always_gets_the_same_parcel() -> None:
    assert tasks.parcel_number("4f1c") == tasks.parcel_number("4f1c") == "P-00B13028"
    assert tasks.parcel_number("4f1d") != tasks.parcel_number("4f1c")


def refused(code: int) -> urllib.error.HTTPError:
    return urllib.error.HTTPError("http://orders-api/", code, "", Message(), io.BytesIO())


def failing(*errors: Exception) -> Callable[[], None]:
    left = list(errors)

    def call() -> None:
        if left:
            raise left.pop(0)

    return call


def test_an_api_that_is_back_in_time_is_no_failure() -> None:
    slept: list[float] = []
    tasks.persistently(failing(ConnectionRefusedError(), refused(503)), sleep=slept.append)
    assert slept == [0.5, 1.0]


def test_a_refusal_is_not_tried_again() -> None:
    slept: list[float] = []
    with pytest.raises(urllib.error.HTTPError):
        tasks.persistently(failing(refused(404)), sleep=slept.append)
    assert slept == []


def test_an_api_that_stays_away_fails_the_job() -> None:
    slept: list[float] = []
    with pytest.raises(ConnectionRefusedError):
        tasks.persistently(failing(*[ConnectionRefusedError() for _ in range(9)]), sleep=slept.append)
    assert slept == [0.5, 1.0, 2.0, 4.0]
