"""Places an order at a storefront over HTTP and waits until it is done: through the API, the queue and the worker.

    python examples/shop/order.py http://127.0.0.1:8000

Exit code 0 when it came out done, 1 when not, with what was seen last. Standard library only.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any

TIMEOUT = 10.0
PAUSE = 0.2


def place_and_wait(
    storefront: str,
    product: str,
    quantity: int,
    wait: float,
    say: Callable[[str], None] = print,
) -> bool:
    """Whether an order placed at the URL ``storefront`` comes out done within ``wait`` seconds. Raises OSError."""
    began = time.monotonic()
    placed = call("POST", f"{storefront}/orders", {"product": product, "quantity": quantity})
    say(f"ordered   {quantity} {product} at {storefront}: {placed['status']}, {placed['order']}")
    url = f"{storefront}{placed['url']}"
    while (order := call("GET", url))["status"] != "done":
        if time.monotonic() - began > wait:
            say(f"NOT done  after {wait:g} s it is still {order['status']}: is the orders-worker running?")
            return False
        time.sleep(PAUSE)
    say(f"packed    by {order['packed_by']}, parcel {order['parcel']}")
    say(f"done      {time.monotonic() - began:.1f} s after the order, {order['total_cents'] / 100:.2f} to pay")
    return True


def call(method: str, url: str, body: object = None) -> dict[str, Any]:
    """One request and its JSON answer. Raises OSError, with the answer's own words when it is an error."""
    request = urllib.request.Request(
        url,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            answer: dict[str, Any] = json.load(response)
    except urllib.error.HTTPError as error:
        raise OSError(f"{method} {url}: {error.code} {error.read(500).decode(errors='replace').strip()}") from error
    except urllib.error.URLError as error:
        raise OSError(f"{method} {url}: {error.reason}") from error
    return answer


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Place an order at a storefront and wait until it is done.")
    parser.add_argument("storefront", help="its URL, like http://127.0.0.1:8000")
    parser.add_argument("--product", default="teapot")
    parser.add_argument("--quantity", type=int, default=2)
    parser.add_argument("--wait", type=float, default=30.0, metavar="SECONDS")
    chosen = parser.parse_args(arguments)
    try:
        done = place_and_wait(chosen.storefront.rstrip("/"), chosen.product, chosen.quantity, chosen.wait)
    except OSError as error:
        print(f"failed    {error}")
        return 1
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
