from __future__ import annotations

import hashlib
import itertools
from typing import Any, TypeVar

from agent.datastores import database, passwords, postgresql_script, redis_users, urls
from agent.image import ImageManifest
from agent.word import Word
from tests.agent.test_image import GOLDEN

AnyWord = TypeVar("AnyWord", bound=Word)

IMAGE = ImageManifest.read(str(GOLDEN))
DB, QUEUE = IMAGE.datastores["db"], IMAGE.datastores["queue"]


def secrets() -> dict[str, dict[str, str]]:
    count = itertools.count()
    return passwords(IMAGE, {}, lambda: f"pw{next(count)}")


def replaced(word: AnyWord, **fields: Any) -> AnyWord:
    return type(word)(**{field: getattr(word, field) for field in word.__fields__} | fields)


def test_each_user_of_each_datastore_has_a_password_of_its_own() -> None:
    found = secrets()
    assert {name: list(users) for name, users in found.items()} == {
        "db": ["storefront", "orders-api", "orders-worker"],
        "queue": ["storefront", "orders-api", "orders-worker"],
    }
    values = [password for users in found.values() for password in users.values()]
    assert len(set(values)) == len(values)


def test_a_second_run_in_one_boot_keeps_the_passwords() -> None:
    first = secrets()
    assert passwords(IMAGE, first, lambda: "new") == first


def test_the_urls_are_what_heroku_s_are() -> None:
    assert urls(IMAGE, secrets())["orders-worker"] == {
        "db": "postgres://bb-orders-worker:pw2@127.0.0.1:5432/app_storefront",
        "queue": "redis://bb-orders-worker:pw5@127.0.0.1:6379/0",
    }


def test_each_service_has_a_database_of_its_own_but_one_that_says_whose_it_uses() -> None:
    found = urls(IMAGE, secrets())
    assert found["storefront"]["db"].endswith("/app_storefront")
    assert found["orders-api"]["db"].endswith("/app_orders-api")
    assert IMAGE.services["orders-worker"].databases_of == "storefront"
    assert found["orders-worker"]["db"].endswith("/app_storefront")


def test_one_that_uses_another_s_has_its_own_where_the_other_has_none() -> None:
    alone = replaced(IMAGE.services["storefront"], needs=("queue",))
    image = replaced(IMAGE, services=IMAGE.services | {"storefront": alone})
    assert database(DB, image.services["orders-worker"], image) == "app_orders-worker"
    assert database(replaced(QUEUE, shared=False), image.services["orders-worker"], image) == "4"


def test_a_shared_datastore_has_one_database_for_all() -> None:
    services = IMAGE.services.values()
    assert {database(replaced(DB, shared=True), service, IMAGE) for service in services} == {"shared"}
    assert {database(replaced(QUEUE, shared=True), service, IMAGE) for service in services} == {"0"}


def test_each_service_has_an_index_of_redis_by_its_name_s_place() -> None:
    own = replaced(QUEUE, shared=False)
    assert {name: database(own, service, IMAGE) for name, service in IMAGE.services.items()} == {
        "nightly": "1",
        "orders-api": "2",
        "orders-worker": "4",
        "storefront": "4",
        "www": "5",
    }


def test_redis_lets_in_nobody_else_and_gets_hashes_alone() -> None:
    lines = redis_users(QUEUE, IMAGE, secrets()).splitlines()
    assert lines[0] == "user default off"
    assert [line.split()[1] for line in lines[1:]] == ["bb-storefront", "bb-orders-api", "bb-orders-worker"]
    assert f"#{hashlib.sha256(b'pw3').hexdigest()}" in lines[1]
    assert not any(f"pw{number}" in line for number in range(6) for line in lines)


def test_postgresql_makes_what_lacks_and_sets_every_password() -> None:
    script = postgresql_script(DB, IMAGE, secrets())
    assert script.count('CREATE DATABASE "app_storefront" OWNER "app_storefront"') == 1
    assert 'GRANT "app_storefront" TO "bb-orders-worker";' in script
    assert 'ALTER ROLE "bb-orders-worker" SET role = "app_storefront";' in script
    assert "ALTER ROLE \"bb-orders-worker\" LOGIN PASSWORD 'pw2';" in script


def test_nothing_of_the_script_is_logged_by_postgresql() -> None:
    lines = postgresql_script(DB, IMAGE, secrets()).splitlines()
    settings = [number for number, line in enumerate(lines) if line.startswith("SET log_")]
    assert settings == [0, 1, 2]
