"""The plan of a bake: what it says of services, and what changes which key."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from agent.detect import Detected
from agent.errors import StackError
from agent.heroku import AppJson
from tests.bake.planning import BASE, IDENTITY, NODE_REPO, PROCESSES, PYTHON_REPO, STACK, planned, repo_plans


def mistakes(stack: str = STACK, **changes: Any) -> list[tuple[str, str, str]]:
    with pytest.raises(StackError) as told:
        planned(stack, **changes)
    return [(mistake.path, mistake.expected, mistake.hint) for mistake in told.value.mistakes]


def test_add_ons_imply_the_datastores_of_their_kind() -> None:
    services = planned().manifest.services
    assert {name: service.needs for name, service in services.items()} == {
        "storefront": ("db", "queue"),
        "orders-api": (),
        "jobs": ("db", "queue"),
        "www": (),
    }


def test_needs_that_the_stack_names_win() -> None:
    stack = STACK.replace('calls = ["orders-api"]', 'needs = ["queue"]')
    assert planned(stack).manifest.services["storefront"].needs == ("queue",)


@pytest.mark.parametrize(
    ("stack", "what", "hint"),
    [
        (
            STACK.replace('[datastores.queue]\nkind = "redis"\n', ""),
            "app.json of storefront asks for redis, and the stack has 0 of that kind",
            '[datastores.redis]    kind = "redis"',
        ),
        (
            STACK + '[datastores.cache]\nkind = "redis"\nport = 6380\n',
            "app.json of storefront asks for redis, and the stack has 2 of that kind",
            'needs = ["queue"]',
        ),
    ],
    ids=["none", "two"],
)
def test_an_add_on_without_one_datastore_of_its_kind_is_told_for_each_service(stack: str, what: str, hint: str) -> None:
    assert mistakes(stack) == [("services.storefront.needs", what, hint), ("services.jobs.needs", what, hint)]


@pytest.mark.parametrize(
    ("processes", "what", "hint"),
    [
        ({"web": "x", "release": "y"}, "no process 'worker' in the Procfile of storefront (it has: web)", '"web"'),
        ({"release": "y", "api": "z", "web": "x"}, "(it has: api, web)", '"api"'),
    ],
)
def test_a_process_that_the_procfile_lacks(processes: dict[str, str], what: str, hint: str) -> None:
    ((path, expected, told),) = mistakes(storefront={"processes": processes})
    assert path == "services.jobs.process"
    assert what in expected
    assert told == f"process = {hint}    or add the line to its Procfile"


def test_a_repo_with_no_process_at_all_is_not_told_to_run_its_release() -> None:
    told = mistakes(orders_api={"processes": {"release": "x"}})
    assert told[0][1].endswith("(it has: none)")
    assert told[0][2].startswith('process = "web"')


def test_all_mistakes_come_at_once() -> None:
    told = mistakes(storefront={"processes": {}}, orders_api={"processes": {}})
    assert [path for path, _, _ in told] == [
        "services.storefront.process",
        "services.orders-api.process",
        "services.jobs.process",
    ]


def test_a_static_service_is_served_by_nginx_and_one_with_a_process_is_not() -> None:
    plan = planned()
    assert plan.statics == {"www": "public"}
    assert "nginx-light" in plan.system.packages
    dynamic = planned(www={"processes": {"web": "serve"}})
    assert dynamic.statics == {}
    assert "nginx-light" not in dynamic.system.packages


@pytest.mark.parametrize(
    ("stack", "app", "required"),
    [
        (STACK, AppJson(required=("STRIPE_KEY", "PORT")), ("STRIPE_KEY",)),
        (STACK, AppJson(required=("LOG_LEVEL", "ORDERS_API_URL")), ()),
        (STACK, AppJson(required=("DATABASE_URL",), datastores=("postgresql",)), ()),
        (STACK, AppJson(required=("DATABASE_URL", "REDIS_URL"), datastores=("postgresql",)), ("REDIS_URL",)),
        (STACK, AppJson(required=("WWW_URL",)), ("WWW_URL",)),
    ],
    ids=["nobody gives", "env and calls give", "its datastore gives", "another's datastore doesn't", "not called"],
)
def test_what_is_required_is_what_nobody_gives(stack: str, app: AppJson, required: tuple[str, ...]) -> None:
    assert planned(stack, storefront={"app": app}).manifest.services["storefront"].required == required


def test_each_of_several_datastores_of_a_kind_gives_its_own_variable() -> None:
    stack = STACK.replace('calls = ["orders-api"]', 'needs = ["db", "analytics"]')
    stack += '[datastores.analytics]\nkind = "postgresql"\nport = 5433\n'
    app = AppJson(required=("DATABASE_URL", "DB_URL", "ANALYTICS_URL", "REDIS_URL"), datastores=("redis",))
    worker = 'databases_of = "storefront"\n'
    service = planned(stack.replace(worker, worker + 'needs = ["db"]\n'), storefront={"app": app}).manifest
    assert service.services["storefront"].required == ("REDIS_URL",)
    assert service.services["jobs"].required == ("DB_URL", "ANALYTICS_URL", "REDIS_URL")


def test_what_app_json_says_of_an_address_that_the_agent_makes_does_not_count() -> None:
    app = AppJson(
        env={"DATABASE_URL": "postgres://localhost/dev", "ORDERS_API_URL": "http://localhost:1", "COLOR": "blue"},
        generated=("REDIS_URL",),
        datastores=("postgresql", "redis"),
    )
    service = planned(storefront={"app": app}).manifest.services["storefront"]
    assert service.env == {"COLOR": "blue", "LOG_LEVEL": "info"}
    assert service.generated == ()


def test_the_stack_outranks_app_json() -> None:
    app = AppJson(env={"LOG_LEVEL": "debug", "COLOR": "blue"}, generated=("LOG_LEVEL", "SECRET_KEY"))
    service = planned(storefront={"app": app}).manifest.services["storefront"]
    assert service.env == {"LOG_LEVEL": "info", "COLOR": "blue"}
    assert service.generated == ("SECRET_KEY",)


def test_the_manifest_says_what_is_baked() -> None:
    image = planned().manifest
    assert (image.name, image.stack, image.parent, image.base.digest) == (
        *("shop-2026-11-23.1", "shop", None),
        IDENTITY.base_digest,
    )
    repo = image.repos["storefront"]
    assert (repo.commit, repo.subject, repo.build, repo.release) == (
        *("1" * 40, "about storefront", "python"),
        "python migrate.py",
    )
    assert {name: (store.kind, store.version) for name, store in image.datastores.items()} == {
        "db": ("postgresql", "15"),
        "queue": ("redis", "7"),
    }


def test_the_system_holds_what_datastores_and_runtimes_take() -> None:
    plan = planned(orders_api={"detected": Detected(("node",), node="20")})
    assert {"postgresql-15", "redis-server", "nodejs", "npm", "build-essential"} <= set(plan.system.packages)
    assert plan.system.runtimes == ("20",)
    assert plan.system.pythons == {}


def test_a_build_command_with_a_pinned_node_gets_npm_to_install_it_with() -> None:
    without = planned(orders_api={"detected": Detected(("command",))})
    assert not {"nodejs", "npm"} & set(without.system.packages)
    plan = planned(orders_api={"detected": Detected(("command",), node="20")})
    assert {"nodejs", "npm"} <= set(plan.system.packages)
    assert plan.system.runtimes == ("20",)
    assert plan.node == frozenset({"orders-api"})


def test_another_python_is_asked_for_where_a_source_has_it() -> None:
    plan = planned(storefront={"detected": Detected(("python",), python="3.12")})
    assert {version: bool(repos) for version, repos in plan.system.pythons.items()} == {"3.12": True}
    assert not any("3.12" in package for package in plan.system.packages)
    assert plan.system.key != planned().system.key


def test_every_service_has_a_user_and_so_have_builds() -> None:
    assert [user for user, _ in planned().users] == [
        "bakeboot-build",
        "bb-storefront",
        "bb-orders-api",
        "bb-jobs",
        "bb-www",
    ]


def test_messages_name_their_repo() -> None:
    detected = dataclasses.replace(NODE_REPO, messages=("Node 18 in place of 18.1",))
    assert planned(orders_api={"detected": detected}).messages == ("orders-api: Node 18 in place of 18.1",)


def test_a_service_whose_database_no_release_command_sees_is_told() -> None:
    own = STACK.replace('databases_of = "storefront"\n', "")
    (told,) = planned(own).messages
    assert told.startswith("jobs: its database in db is its own, and no release command sees it")
    assert told.endswith('databases_of = "storefront"')
    assert planned().messages == ()
    assert planned(own.replace('kind = "postgresql"', 'kind = "postgresql"\nshared = true')).messages == ()
    assert planned(own, storefront={"processes": {"web": "x", "worker": "y"}}).messages == ()


# --- keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stack", "identity", "same"),
    [
        (STACK, dataclasses.replace(IDENTITY, base_digest="sha256:" + "c" * 64), False),
        (STACK, dataclasses.replace(IDENTITY, system_inputs={"x.sh": "2"}), False),
        (STACK, dataclasses.replace(IDENTITY, apt_keys={"more": "1"}), False),
        (STACK.replace('name = "shop"', 'name = "shop"\napt_packages = ["jq"]'), IDENTITY, False),
        (
            STACK + '[stack.apt_sources.more]\nuri = "https://apt.example.org"\nsuite = "bookworm"\n',
            *(IDENTITY, False),
        ),
        (STACK, dataclasses.replace(IDENTITY, image="shop-2026-11-23.2", time="2026-11-24T00:00:00Z"), True),
        (STACK, dataclasses.replace(IDENTITY, parent="shop-2026-11-22.1"), True),
        (STACK.replace("256M", "512M"), IDENTITY, True),
    ],
    ids=["base", "toolkit", "apt key", "package", "apt source", "name and time", "parent", "memory"],
)
def test_what_changes_the_system_key(stack: str, identity: Any, same: bool) -> None:
    assert (planned(stack, identity).system.key == planned().system.key) is same


@pytest.mark.parametrize(
    ("changes", "changed"),
    [
        ({"storefront": {"commit": "9" * 40}}, {"storefront"}),
        ({"orders_api": {"commit": "9" * 40}, "www": {"commit": "8" * 40}}, {"orders-api", "www"}),
        ({"storefront": {"processes": {**PROCESSES, "worker": "rq worker -v"}}}, {"storefront"}),
        ({"storefront": {"subject": "another", "time": 5, "app": AppJson()}}, set()),
    ],
    ids=["a commit", "two commits", "a process", "what is only told"],
)
def test_what_changes_a_repos_key(changes: dict[str, Any], changed: set[str]) -> None:
    before, after = repo_plans(), repo_plans(**changes)
    assert {name for name in before if before[name].key != after[name].key} == changed


def test_a_commit_that_leaves_the_requirements_keeps_the_dependencies() -> None:
    before, after = repo_plans()["storefront"], repo_plans(storefront={"commit": "9" * 40})["storefront"]
    assert list(before.deps.values()) == list(after.deps.values())
    other = dataclasses.replace(PYTHON_REPO, python_inputs={"requirements.txt": "cc"})
    moved = repo_plans(storefront={"detected": other})["storefront"]
    assert moved.deps != before.deps
    assert moved.key != before.key


def test_the_base_counts_by_what_builds_hang_on_not_by_its_digest() -> None:
    before = repo_plans()
    assert {name: repo.key for name, repo in repo_plans(BASE).items()} == {n: repo.key for n, repo in before.items()}
    other = repo_plans(dataclasses.replace(BASE, abi="debian-12-aarch64"))
    assert other["storefront"].key != before["storefront"].key


def test_no_two_repos_share_a_key_though_they_hold_the_same() -> None:
    same = {"commit": "7" * 40, "detected": PYTHON_REPO, "processes": PROCESSES}
    plans = repo_plans(storefront=same, orders_api=same)
    assert plans["storefront"].key != plans["orders-api"].key
    assert set(plans["storefront"].deps.values()).isdisjoint(plans["orders-api"].deps.values())


def test_only_python_has_dependencies_apart_from_its_code() -> None:
    assert {name: len(repo.deps) for name, repo in repo_plans().items()} == {"storefront": 1, "orders-api": 0, "www": 0}


def test_the_order_of_a_build_names_its_source_below_run() -> None:
    order = repo_plans()["storefront"].order()
    assert order["source"] == "/run/bakeboot-build/payload/sources/storefront.tar"
    assert Detected.from_json(order["detected"]) == PYTHON_REPO  # type: ignore[arg-type]  # it is a table
