"""What must hold between the tables of stack.toml."""

from __future__ import annotations

import pytest

from tests.bake.stack_texts import LEAST, mistake, parse


@pytest.mark.parametrize(
    ("more", "path", "what"),
    [
        ('[datastores.db]\nkind = "mysql"', "datastores.db.kind", 'expected "postgresql" or "redis", got "mysql"'),
        ("[datastores.db]", "datastores.db.kind", "expected its kind, got nothing"),
        ('[datastores.db]\nkind = "redis"\nport = 8000', "datastores.db.port", "expected a port of its own, got 8000"),
        ('[datastores.db]\nkind = "redis"\nversion = 7', "datastores.db.version", "expected a version as text, got 7"),
        ('[datastores.db]\nkind = "redis"\nshared = "yes"', "datastores.db.shared", "expected true or false"),
        ('[services.Job_1]\nrepo = "web"\nkind = "worker"', "services.Job_1", "expected a name (a-z"),
        ('[services."x\\n"]\nrepo = "web"\nkind = "worker"', 'services."x\\n"', "expected a name (a-z"),
        ("[service.x]", "service", "unknown key"),
        ('services.x = "y"', "services.x", 'expected a table, got "y"'),
        ('[services.a]\nhealth = { path = "/" }', "services.a.repo", "expected the repo that it runs, got nothing"),
        (
            '[services.a]\nrepo = "web"\nkind = "clock"\n[services.b]\nrepo = "web"\nhealth.path = "/"\ncalls = ["a"]',
            "services.b.calls[0]",
            "a is a clock, and has no URL to call",
        ),
        (
            'port = 8000\n[services.a]\nrepo = "web"\nhealth.path = "/"\nport = 8000',
            "services.a.port",
            "expected a port of its own, got 8000, which is that of services.web",
        ),
        (
            '[services.redis]\nrepo = "web"\nhealth.path = "/"\n[datastores.q]\nkind = "redis"\n'
            '[services.b]\nrepo = "web"\nkind = "worker"\ncalls = ["redis"]\nneeds = ["q"]',
            "services.b.calls[0]",
            "REDIS_URL would be both the datastore q and the service redis",
        ),
        (
            '[datastores.q]\nkind = "redis"\n[services.b]\nrepo = "web"\nkind = "worker"\nneeds = ["q"]\n'
            'env = { REDIS_URL = "x" }',
            "services.b.env.REDIS_URL",
            "REDIS_URL is made by the agent: the datastore q",
        ),
        (
            '[datastores.db]\nkind = "postgresql"\n[datastores.analytics]\nkind = "postgresql"\nport = 5433\n'
            '[services.b]\nrepo = "web"\nkind = "worker"\nneeds = ["db", "analytics"]\nenv = { DB_URL = "x" }',
            "services.b.env.DB_URL",
            "DB_URL is made by the agent: the datastore db",
        ),
        (
            '[services.b]\nrepo = "web"\nkind = "worker"\ndatabases_of = "b"',
            "services.b.databases_of",
            "a service uses its own databases anyway",
        ),
        (
            '[services.b]\nrepo = "web"\nkind = "worker"\ndatabases_of = "web"\n'
            '[services.c]\nrepo = "web"\nkind = "worker"\ndatabases_of = "b"',
            "services.c.databases_of",
            "b has none of its own: it uses those of web",
        ),
        (
            '[repos.w]\nurl = "../w"\nstatic = "."\n[services.b]\nrepo = "w"\nkind = "worker"',
            "repos.w.static",
            "nginx serves this repo",
        ),
    ],
)
def test_a_mistake_between_tables_is_told(more: str, path: str, what: str) -> None:
    text = f"{more}\n{LEAST}" if more.startswith("services.x") else f"{LEAST}\n{more}\n"
    told = mistake(text)
    assert told[0] == path
    assert told[1].startswith(what)


def test_a_service_may_call_one_that_calls_it() -> None:
    one, two = (
        '[services.{}]\nrepo = "web"\nhealth.path = "/"\ncalls = ["{}"]\n'.format(*pair) for pair in ("ab", "ba")
    )
    assert parse(f"{LEAST}\n{one}{two}").services["a"].calls == ("b",)


def test_a_service_and_a_datastore_of_one_name_would_share_their_data() -> None:
    told = mistake(f'{LEAST}\n[datastores.web]\nkind = "redis"\n')
    assert told[0] == "datastores.web"
    assert "both keep their data under it" in told[1]
