"""The main job, end to end: the example's image as a review machine and as single services of production."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from bake.images import Image
from bake.local import LocalInstance
from tests.system.bakery import MOST_EXPOSED, PYTHON, ROOT, Bakery, exposure

ORDER = f"exec {PYTHON} {ROOT / 'examples' / 'shop' / 'order.py'}"
SERVICES = {"storefront", "orders-api", "orders-worker", "nightly", "www"}


@pytest.fixture(scope="module")
def review(bakery: Bakery, shop: Image) -> Iterator[LocalInstance]:
    with bakery.review(shop, 120) as instance:
        yield instance


def test_an_order_placed_over_http_at_a_review_machine_comes_out_done(bakery: Bakery, shop: Image) -> None:
    command = ("sh", "-c", f'{ORDER} "$STOREFRONT_URL"')
    done = bakery.run("boot", shop.name, "--mode", "review", "--", *command)
    assert "packed    by review" in done.stdout
    assert "done  " in done.stdout
    for name in ("storefront", "orders-api", "www"):
        assert f"{name}  http://127.0.0.1:" in done.stdout


def test_production_storefront_answers_with_the_datastores_of_a_review_machine(bakery: Bakery, shop: Image) -> None:
    command = ("sh", "-c", f'test -z "$ORDERS_API_URL" && {ORDER} "$STOREFRONT_URL"')
    arguments = ("--mode", "production", "--service", "storefront", "--with-review")
    done = bakery.run("boot", shop.name, *arguments, "--", *command)
    assert "packed    by review" in done.stdout


def test_a_job_on_the_queue_of_the_review_machine_is_done_by_the_production_orders_worker(
    bakery: Bakery, shop: Image
) -> None:
    command = ("sh", "-c", f'{ORDER} "$REVIEW_STOREFRONT_URL"')
    arguments = ("--mode", "production", "--service", "orders-worker", "--with-review")
    done = bakery.run("boot", shop.name, *arguments, "--", *command)
    assert "packed    by orders-worker" in done.stdout


def test_production_without_its_configuration_runs_nothing_and_names_what_is_missing(
    bakery: Bakery, shop: Image
) -> None:
    done = bakery.run("boot", shop.name, "--mode", "production", "--service", "storefront", code=23)
    assert "DATABASE_URL" in done.stderr


def test_agent_status_shows_each_unit_with_its_health_and_commit(review: LocalInstance, shop: Image) -> None:
    done = review.machine.run(["agent", "status", "--json"])
    status = json.loads(done.stdout)
    manifest = shop.manifest()
    assert (status["ready"], status["phase"], status["mode"]) == (True, "ready", "review")
    assert (status["stack"], status["image"]) == ("shop", shop.name)
    units = {unit["name"]: unit for unit in status["units"]}
    assert set(units) == SERVICES | {"db", "queue"}
    assert all(unit["active"] for unit in units.values())
    for name in SERVICES:
        service = manifest.services[name]
        assert units[name]["unit"] == service.unit
        assert units[name]["commit"] == manifest.repos[service.repo].commit
        assert units[name]["healthy"] is True, units[name]

    plain = review.machine.run(["agent", "status"]).stdout
    assert plain.startswith("shop review: ready since ")
    assert f"storefront@{manifest.repos['storefront'].commit[:12]}" in plain


def test_agent_explain_says_why_the_machine_is_what_it_is(review: LocalInstance, shop: Image) -> None:
    explained = review.machine.run(["agent", "explain"]).stdout
    assert f"of image {shop.name} (shop)" in explained
    assert "mode review" in explained
    assert "all 5 services and 2 datastores" in explained


def test_a_service_that_stops_is_seen_and_named(review: LocalInstance, shop: Image) -> None:
    unit = shop.manifest().services["www"].unit
    review.machine.run(["systemctl", "stop", unit])
    try:
        done = review.machine.run(["agent", "status", "--json"], check=False)
        assert done.returncode == 3
        assert json.loads(done.stdout)["ready"] is False
        explained = review.machine.run(["agent", "explain"]).stdout
        assert "www is not well" in explained
        assert f"journalctl -u {unit}" in explained
    finally:
        review.machine.run(["systemctl", "start", unit])


def test_a_release_command_ran_before_its_services_started_and_does_not_run_again(
    review: LocalInstance, shop: Image
) -> None:
    manifest = shop.manifest()
    released = {name: repo for name, repo in manifest.repos.items() if repo.release}
    assert set(released) == {"storefront", "orders-api"}
    record = releases(review)
    assert {repo: list(commits) for repo, commits in record.items()} == {
        name: [repo.commit] for name, repo in released.items()
    }
    for service in manifest.services.values():
        if service.repo in released:
            done = record[service.repo][released[service.repo].commit]
            assert (done["state"], done["status"]) == ("done", 0)
            assert datetime.fromisoformat(done["since"]).timestamp() <= started(review, service.unit)
    review.machine.run(["agent", "boot"])
    assert releases(review) == record


def releases(review: LocalInstance) -> dict[str, dict[str, dict[str, Any]]]:
    """What the machine has on record: repo, commit, what became of its release command and when it ended."""
    text = review.machine.run(["sh", "-c", "cat /var/lib/bakeboot/i-*/releases.json"]).stdout
    record: dict[str, dict[str, dict[str, Any]]] = json.loads(text)
    return record


def started(review: LocalInstance, unit: str) -> float:
    """When the unit's process began, in whole seconds of wall time, as the record has them."""
    show = ["systemctl", "show", "--timestamp=unix", "--property=ExecMainStartTimestamp", "--value", unit]
    return float(review.machine.run(show).stdout.removeprefix("@"))


@pytest.mark.parametrize("service", ["storefront", "orders-api", "www"])
def test_every_web_service_of_the_shop_is_hardened(review: LocalInstance, service: str) -> None:
    assert exposure(review.machine, f"bakeboot-svc-{service}.service") <= MOST_EXPOSED


def test_each_service_has_a_login_and_a_database_of_its_own_but_one_that_says_whose_it_uses(
    review: LocalInstance,
) -> None:
    names = ("storefront", "nightly", "orders-api")
    urls = {name: review.environment(name)["DATABASE_URL"] for name in names}
    users = {name: url.split("//")[1].split(":")[0] for name, url in urls.items()}
    databases = {name: url.rpartition("/")[2] for name, url in urls.items()}
    assert len(set(users.values())) == 3
    assert databases["storefront"] == databases["nightly"] != databases["orders-api"]
