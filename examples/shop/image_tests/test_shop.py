"""The shop's own specs: what must be true of a machine before its image counts as verified."""

from __future__ import annotations

import shlex
import urllib.request
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from testinfra.host import Host

if TYPE_CHECKING:
    from conftest import AsService, PlaceOrder, ServiceUrl

Call = Callable[..., tuple[int, dict[str, Any]]]

NOWHERE = "127.0.0.1:9"
"""Nothing listens on the port `discard`: a datastore there is one that is away."""


# In review: the whole shop on one machine.


@pytest.mark.machine("review")
def test_an_order_comes_out_done(service_url: ServiceUrl, place_order: PlaceOrder) -> None:
    order = place_order(service_url("storefront"))
    assert order["parcel"].startswith("P-")
    assert order["total_cents"] == 5600


@pytest.mark.machine("review")
def test_an_order_for_something_that_we_do_not_sell_is_refused(service_url: ServiceUrl, call: Call) -> None:
    status, answer = call("POST", f"{service_url('storefront')}/orders", {"product": "coffee"})
    assert (status, answer) == (422, {"error": "we don't sell 'coffee'"})


@pytest.mark.machine("review")
def test_the_day_is_counted(service_url: ServiceUrl, call: Call) -> None:
    status, answer = call("GET", f"{service_url('storefront')}/summary")
    assert status == 200
    assert len(answer["days"]) >= 1


@pytest.mark.machine("review")
def test_the_front_page_is_there(service_url: ServiceUrl) -> None:
    assert_front_page(service_url("www"))


# In production: one service a machine, the others and the datastores being those of the review machine.


@pytest.mark.machine("production", "storefront")
def test_the_storefront_takes_an_order_that_comes_out_done(service_url: ServiceUrl, place_order: PlaceOrder) -> None:
    place_order(service_url("storefront"))


@pytest.mark.machine("production", "storefront")
def test_the_storefronts_health_names_both_datastores(service_url: ServiceUrl, call: Call) -> None:
    assert call("GET", f"{service_url('storefront')}/healthz") == (200, {"postgresql": "ok", "redis": "ok"})


ASK_THE_STOREFRONT = """
import app
answer = app.app.test_client().get("/healthz")
print(answer.status_code, *(f"{name}={said}" for name, said in answer.json.items()))
"""


@pytest.mark.machine("production", "storefront")
@pytest.mark.parametrize(
    ("variables", "answer"),
    [
        ({}, "200 postgresql=ok redis=ok"),
        ({"DATABASE_URL": f"postgresql://nobody@{NOWHERE}/none"}, "503 postgresql=out redis=ok"),
        ({"REDIS_URL": f"redis://{NOWHERE}/0"}, "503 postgresql=ok redis=out"),
    ],
    ids=["both there", "no postgresql", "no redis"],
)
def test_the_storefronts_health_really_asks_them(as_service: AsService, variables: dict[str, str], answer: str) -> None:
    line = f"python -c {shlex.quote(ASK_THE_STOREFRONT)}"
    done = as_service("storefront", "storefront", line, **variables)
    assert done.stdout.splitlines()[-1:] == [answer], done


@pytest.mark.machine("production", "orders-api")
def test_the_orders_api_stores_an_order_and_reads_it_back(service_url: ServiceUrl, call: Call) -> None:
    url = f"{service_url('orders-api')}/orders/{uuid.uuid4()}"
    assert call("GET", url)[0] == 404
    stored = call("PUT", url, {"product": "mug", "quantity": 3})
    assert stored[0] == 201
    status, order = call("GET", url)
    assert status == 200
    assert order == stored[1]
    assert (order["product"], order["quantity"], order["status"]) == ("mug", 3, "new")


ASK_THE_ORDERS_API = """
    const { Pool } = require('pg');
    const app = require('./app').createApp(new Pool({ connectionString: process.env.DATABASE_URL }));
    const server = app.listen(0, '127.0.0.1', async () => {
        console.log((await fetch('http://127.0.0.1:' + server.address().port + '/healthz')).status);
        process.exit();
    });
"""


@pytest.mark.machine("production", "orders-api")
@pytest.mark.parametrize(
    ("variables", "status"),
    [({}, "200"), ({"DATABASE_URL": f"postgresql://nobody@{NOWHERE}/none"}, "503")],
    ids=["there", "no postgresql"],
)
def test_the_orders_apis_health_really_asks_postgresql(
    as_service: AsService, variables: dict[str, str], status: str
) -> None:
    done = as_service("orders-api", "orders-api", f"node --eval {shlex.quote(ASK_THE_ORDERS_API)}", **variables)
    assert done.stdout.splitlines()[-1:] == [status], done


@pytest.mark.machine("production", "orders-worker")
def test_a_job_put_on_the_queue_from_outside_comes_out_done(
    host: Host, review_url: ServiceUrl, place_order: PlaceOrder
) -> None:
    order = place_order(review_url("storefront"))
    assert order["packed_by"] == host.check_output("uname -n")


@pytest.mark.machine("production", "orders-worker")
def test_the_orders_workers_check_passes_and_fails_without_redis(as_service: AsService) -> None:
    assert as_service("orders-worker", "orders-worker", "python check.py").rc == 0
    assert as_service("orders-worker", "orders-worker", "python check.py", REDIS_URL=f"redis://{NOWHERE}/0").rc == 1


@pytest.mark.machine("production", "nightly")
def test_nightly_has_left_its_heartbeat(host: Host, as_service: AsService) -> None:
    process = host.check_output("systemctl show --property=MainPID --value bakeboot-svc-nightly.service")
    done = as_service("nightly", "storefront", "python check_nightly.py")
    assert done.rc == 0, done
    assert done.stdout.startswith(f"nightly: process {process} counted "), done


@pytest.mark.machine("production", "nightly")
def test_nightlys_check_fails_without_its_database(as_service: AsService) -> None:
    away = f"postgresql://nobody@{NOWHERE}/none"
    assert as_service("nightly", "storefront", "python check_nightly.py", DATABASE_URL=away).rc == 1


@pytest.mark.machine("production", "www")
def test_www_serves_the_front_page(service_url: ServiceUrl) -> None:
    assert_front_page(service_url("www"))


def assert_front_page(url: str) -> None:
    with urllib.request.urlopen(f"{url}/", timeout=10) as response:
        assert response.headers["Content-Type"].startswith("text/html")
        assert b"The tea shop" in response.read()
    with urllib.request.urlopen(f"{url}/style.css", timeout=10) as response:
        assert response.headers["Content-Type"].startswith("text/css")
