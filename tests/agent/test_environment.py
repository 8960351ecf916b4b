from __future__ import annotations

from typing import Any

import pytest

from agent.assignment import Assignment
from agent.environment import (
    SYSTEM_PATH,
    Checkout,
    Config,
    Given,
    datastore_variables,
    environments,
    needed_datastores,
)
from agent.errors import ConfigError
from agent.image import Datastore, ImageManifest, Service
from agent.names import datastore_unit
from agent.state import Places
from tests.agent.test_image import GOLDEN

IMAGE = ImageManifest.read(str(GOLDEN))
CHECKOUTS = {name: Checkout(commit=repo.commit, path=(".venv/bin",)) for name, repo in IMAGE.repos.items()}
REVIEW = Assignment(mode="review")
PRODUCTION = Assignment(mode="production", service="storefront")
GIVEN = Given(
    datastores={
        name: {datastore: f"url-of-{datastore}-for-{name}" for datastore in service.needs}
        for name, service in IMAGE.services.items()
    },
    generated={"storefront": {"SECRET_KEY": "made"}},
)
FULL = {
    "DATABASE_URL": "postgres://x", "REDIS_URL": "redis://x", "ORDERS_API_URL": "http://x", "STRIPE_KEY": "sk",
    "SECRET_KEY": "s",
}  # fmt: skip


def config(everyone: dict[str, str] | None = None, **services: dict[str, str]) -> Config:
    return Config(everyone=everyone or {}, services=services)


def made(assignment: Assignment, given: Config, **more: Any) -> dict[str, dict[str, str]]:
    options: dict[str, Any] = {"places": Places(), "checkouts": CHECKOUTS, "config": given, "image": IMAGE}
    if assignment.self_contained:
        options["given"] = GIVEN
    options |= more
    return environments(options.pop("image"), assignment, **options)


def changed(**fields: Any) -> ImageManifest:
    """The golden image with other fields of ``storefront``."""
    old = IMAGE.services["storefront"]
    service = Service(**{field: getattr(old, field) for field in old.__fields__} | fields)
    return with_field("services", IMAGE.services | {"storefront": service})


def with_field(name: str, value: object) -> ImageManifest:
    return ImageManifest(**{field: getattr(IMAGE, field) for field in IMAGE.__fields__} | {name: value})


def test_a_service_of_a_self_contained_machine() -> None:
    assert made(REVIEW, config({"STRIPE_KEY": "sk"}))["storefront"] == {
        "LANG": "C.UTF-8",
        "LOG_LEVEL": "info",
        "SECRET_KEY": "made",
        "STRIPE_KEY": "sk",
        "PORT": "8000",
        "PATH": f"/srv/bakeboot/storefront/current/.venv/bin:{SYSTEM_PATH}",
        "HOME": "/var/lib/bakeboot/data/storefront",
        "DATABASE_URL": "url-of-db-for-storefront",
        "REDIS_URL": "url-of-queue-for-storefront",
        "ORDERS_API_URL": "http://127.0.0.1:8001",
        "BAKEBOOT_STACK": "shop",
        "BAKEBOOT_MODE": "review",
        "BAKEBOOT_SERVICE": "storefront",
        "BAKEBOOT_COMMIT": "a" * 40,
    }


def test_every_service_gets_one_on_a_self_contained_machine() -> None:
    assert list(made(REVIEW, config({"STRIPE_KEY": "sk"}))) == list(IMAGE.services)


def test_what_has_no_port_gets_none() -> None:
    assert "PORT" not in made(REVIEW, config({"STRIPE_KEY": "sk"}))["orders-worker"]


def test_production_takes_addresses_and_secrets_from_config_alone() -> None:
    found = made(PRODUCTION, config(FULL))
    assert list(found) == ["storefront"]
    assert {name: found["storefront"][name] for name in FULL} == FULL
    assert found["storefront"]["BAKEBOOT_MODE"] == "production"


@pytest.mark.parametrize(
    ("everyone", "own", "name", "value"),
    [
        ({}, {}, "LOG_LEVEL", "info"),
        ({"LOG_LEVEL": "all"}, {}, "LOG_LEVEL", "all"),
        ({"LOG_LEVEL": "all"}, {"LOG_LEVEL": "own"}, "LOG_LEVEL", "own"),
        ({}, {"HOME": "/elsewhere"}, "HOME", "/elsewhere"),
        ({}, {"DATABASE_URL": "mine"}, "DATABASE_URL", "mine"),
        ({}, {"SECRET_KEY": "mine"}, "SECRET_KEY", "mine"),
        ({"BAKEBOOT_MODE": "x"}, {}, "BAKEBOOT_MODE", "x"),
    ],
)
def test_later_layers_win(everyone: dict[str, str], own: dict[str, str], name: str, value: str) -> None:
    given = config({"STRIPE_KEY": "sk"} | everyone, storefront=own)
    assert made(REVIEW, given)["storefront"][name] == value


def test_the_agent_wins_over_the_stack_s_env() -> None:
    image = changed(env={"PORT": "1", "PATH": "/evil", "DATABASE_URL": "x", "STRIPE_KEY": "sk"})
    found = made(REVIEW, config(), image=image)["storefront"]
    assert (found["PORT"], found["DATABASE_URL"]) == ("8000", "url-of-db-for-storefront")
    assert found["PATH"].endswith("/sbin:/bin")


def test_generated_values_give_way_to_the_stack_s_env() -> None:
    image = changed(env={"SECRET_KEY": "fixed", "STRIPE_KEY": "sk"})
    assert made(REVIEW, config(), image=image)["storefront"]["SECRET_KEY"] == "fixed"


def test_config_of_one_service_is_not_another_s() -> None:
    found = made(REVIEW, config(storefront={"STRIPE_KEY": "sk", "A": "1"}))
    assert "A" not in found["orders-worker"]


def test_the_runtimes_get_what_they_have_on_heroku() -> None:
    checkouts = CHECKOUTS | {"storefront": Checkout(commit="c", python=True, node=True)}
    found = made(REVIEW, config({"STRIPE_KEY": "sk"}), checkouts=checkouts)["storefront"]
    assert (found["PYTHONUNBUFFERED"], found["NODE_ENV"]) == ("1", "production")
    assert found["PATH"].startswith("/usr/local/sbin")


def test_an_absolute_directory_of_path_stays_so() -> None:
    checkouts = CHECKOUTS | {"storefront": Checkout(commit="c", path=("/opt/node/bin", "bin"))}
    path = made(REVIEW, config({"STRIPE_KEY": "sk"}), checkouts=checkouts)["storefront"]["PATH"]
    assert path.startswith("/opt/node/bin:/srv/bakeboot/storefront/current/bin:/usr/local/sbin")


def test_production_names_everything_that_lacks() -> None:
    with pytest.raises(ConfigError) as caught:
        made(PRODUCTION, config({"REDIS_URL": "redis://x", "STRIPE_KEY": ""}))
    assert caught.value.where == "production storefront"
    assert caught.value.what.split("\n") == [
        "storefront: DATABASE_URL has no value",
        "storefront: ORDERS_API_URL has no value",
        "storefront: STRIPE_KEY has no value",
        "storefront: SECRET_KEY has no value",
    ]
    assert "DATABASE_URL=… in /run/bakeboot/config.d/storefront.env" in caught.value.hint


def test_production_takes_no_secret_from_the_stack_s_env() -> None:
    image = changed(env=dict(FULL))
    with pytest.raises(ConfigError, match="STRIPE_KEY has no value"):
        made(PRODUCTION, config(), image=image)


def test_a_self_contained_machine_wants_only_what_nobody_can_make() -> None:
    with pytest.raises(ConfigError) as caught:
        made(REVIEW, config())
    assert caught.value.what == "storefront: STRIPE_KEY has no value"
    assert caught.value.hint == 'in stack.toml, [services.storefront]: env = { STRIPE_KEY = "…" }'


@pytest.mark.parametrize("name", ["PORT", "PATH"])
@pytest.mark.parametrize("mode", [REVIEW, PRODUCTION], ids=str)
def test_port_and_path_are_the_agent_s_alone(name: str, mode: Assignment) -> None:
    with pytest.raises(ConfigError, match=f"{name} is set by the agent"):
        made(mode, config(FULL | {name: "1"}))


def test_a_second_datastore_of_a_kind_has_a_name_of_its_own() -> None:
    more = Datastore(
        name="analytics", kind="postgresql", version="15", unit=datastore_unit("analytics"), port=5433, shared=False
    )
    image = with_field("datastores", IMAGE.datastores | {"analytics": more})
    service = IMAGE.services["storefront"]
    both = Service(**{f: getattr(service, f) for f in service.__fields__} | {"needs": ("db", "queue", "analytics")})
    assert datastore_variables(needed_datastores(both, image)) == {
        "DATABASE_URL": "db",
        "DB_URL": "db",
        "ANALYTICS_URL": "analytics",
        "REDIS_URL": "queue",
    }
