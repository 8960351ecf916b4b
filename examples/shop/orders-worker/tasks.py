"""The jobs that others put on the queue ``orders``. The storefront names them as strings: ``tasks.pack``."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable

PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds between tries: an orders-api that is being restarted is back within them."""

TIMEOUT = 5.0

log = logging.getLogger("orders-worker")


def pack(order_id: str) -> str:
    """Packs one order and tells the orders-api that it is done. Returns the parcel's number, which RQ keeps as result.

    Safe to run twice for one order: the parcel is the same.
    """
    parcel = parcel_number(order_id)
    done = {"status": "done", "parcel": parcel, "packed_by": socket.gethostname()}
    persistently(lambda: _call("PATCH", f"/orders/{order_id}", done))
    log.info("order %s is packed: parcel %s", order_id, parcel)
    return parcel


def parcel_number(order_id: str) -> str:
    return f"P-{zlib.crc32(order_id.encode()):08X}"


def persistently(call: Callable[[], None], sleep: Callable[[float], None] = time.sleep) -> None:
    """Calls until it works. Raises at once when refused (4xx), and the last OSError after the last of PAUSES."""
    for pause in PAUSES:
        try:
            call()
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise
            log.warning("orders-api: %s, next try in %g s", error, pause)
        except OSError as error:
            log.warning("orders-api: %s, next try in %g s", error, pause)
        else:
            return
        sleep(pause)
    call()


def _call(method: str, path: str, body: object) -> None:
    request = urllib.request.Request(
        os.environ["ORDERS_API_URL"].rstrip("/") + path,
        method=method,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        response.read()
