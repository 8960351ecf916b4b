"""`bakeboot init`: from repositories as people have them to a stack.toml that reads back without a mistake."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from agent.errors import SourceError, StackError
from bake.git import Git
from bake.init import Written, init_stack
from bake.init_text import Found, stack_text
from bake.reader import parse_stack, read_stack
from tests.bake.repositories import ENVIRONMENT, Repository

PYTHON = {"requirements.txt": "flask==3.0.0\n"}
APP_JSON = {
    "addons": ["heroku-postgresql:mini", {"plan": "heroku-redis"}, "papertrail"],
    "env": {
        "LOG_LEVEL": {"value": 'in"fo\n'},
        "PORT": "5000",
        "SECRET_KEY": {"generator": "secret"},
        "STRIPE_KEY": {"description": "from the dashboard"},
        "SENTRY_DSN": "https://key:s3cret@sentry.example.org/1",
    },
}


def init(*directories: Path, output: Path, name: str | None = None) -> Written:
    return init_stack(directories, output, Git(ENVIRONMENT), name=name)


@pytest.mark.subprocess
def test_a_heroku_app_becomes_services_datastores_and_variables(tmp_path: Path) -> None:
    shop = Repository(
        tmp_path / "shop",
        {
            **PYTHON,
            "Procfile": "worker: rq worker\nrelease: ./migrate\nweb: gunicorn app:app\nclock: python clock.py\n",
            "app.json": json.dumps(APP_JSON),
        },
    )
    shop.git("remote", "add", "origin", "git@git.example.org:acme/Store_Front.git")
    output = tmp_path / "Acme Inc" / "stack.toml"
    output.parent.mkdir()
    written = init(shop.path, output=output)
    stack = read_stack(output)
    assert stack == written.stack
    assert stack.name == "acme-inc"
    (repo,) = stack.repos.values()
    assert (repo.name, repo.url, repo.subdirectory) == ("store-front", "git@git.example.org:acme/Store_Front.git", "")
    assert {name: (each.process, each.kind, each.needs) for name, each in stack.services.items()} == {
        "store-front": ("web", "web", ("db", "redis")),
        "store-front-worker": ("worker", "worker", ("db", "redis")),
        "store-front-clock": ("clock", "clock", ("db", "redis")),
    }
    assert {name: each.databases_of for name, each in stack.services.items()} == {
        "store-front": None,
        "store-front-worker": "store-front",
        "store-front-clock": "store-front",
    }
    assert {dict(each.env)["LOG_LEVEL"] for each in stack.services.values()} == {'in"fo\n'}
    assert {each.kind for each in stack.datastores.values()} == {"postgresql", "redis"}
    text = output.read_text()
    assert "# Add-ons with nothing like them here: papertrail" in text
    assert "# Made on each self-contained machine (app.json): SECRET_KEY" in text
    assert "# To be given as config (app.json): STRIPE_KEY" in text
    assert "# Left out: PORT (" in text
    assert "# Left out: SENTRY_DSN (a value with a password does not belong here)" in text
    assert "s3cret" not in text


@pytest.mark.subprocess
def test_several_repositories_get_names_of_their_own(tmp_path: Path) -> None:
    web = {**PYTHON, "Procfile": "web: ./run\nworker: ./work\n"}
    one = Repository(tmp_path / "a" / "api", web)
    two = Repository(tmp_path / "b" / "api", web)
    long = Repository(tmp_path / "c" / "The_very_long-name of a repository", web)
    init(one.path, two.path, long.path, output=tmp_path / "stack.toml")
    stack = read_stack(tmp_path / "stack.toml")
    assert {name: repo.url for name, repo in stack.repos.items()} == {
        "api": "./a/api",
        "api-2": "./b/api",
        "the-very-long-name-of-a": "./c/The_very_long-name of a repository",
    }
    assert {name: service.repo for name, service in stack.services.items()} == {
        "api": "api",
        "api-worker": "api",
        "api-2": "api-2",
        "api-2-worker": "api-2",
        "the-very-long-name-of-a": "the-very-long-name-of-a",
        "the-very-long-name-of-2": "the-very-long-name-of-a",
    }


@pytest.mark.subprocess
def test_directories_of_one_repository_are_subdirectories(tmp_path: Path) -> None:
    files: Mapping[str, str] = {"services/api/Procfile": "web: ./run\n", "services/api/requirements.txt": ""}
    mono = Repository(tmp_path / "mono", {**files, "www/index.html": "hello"})
    init(mono.path / "services/api", mono.path / "www", output=tmp_path / "stack.toml")
    stack = read_stack(tmp_path / "stack.toml")
    assert {name: (repo.url, repo.subdirectory) for name, repo in stack.repos.items()} == {
        "api": ("./mono", "services/api"),
        "www": ("./mono", "www"),
    }
    assert set(stack.services) == {"api", "www"}


@pytest.mark.subprocess
@pytest.mark.parametrize(
    ("origin", "url"),
    [
        ("https://git.example.org/acme/shop.git", "https://git.example.org/acme/shop.git"),
        ("ssh://git@git.example.org:2222/shop", "ssh://git@git.example.org:2222/shop"),
        ("../elsewhere/shop.git", "./elsewhere/shop.git"),
        ("https://mira:s3cret@git.example.org/shop.git", "./shop"),
        ("http://git.example.org/shop.git", "./shop"),
        ("ext::sh -c x", "./shop"),
    ],
)
def test_the_origin_is_used_when_a_stack_file_may_name_it(tmp_path: Path, origin: str, url: str) -> None:
    shop = Repository(tmp_path / "shop", {**PYTHON, "Procfile": "web: ./run\n"})
    shop.git("remote", "add", "origin", origin)
    written = init(shop.path, output=tmp_path / "stack.toml")
    assert [repo.url for repo in written.stack.repos.values()] == [url]
    assert "s3cret" not in (tmp_path / "stack.toml").read_text()
    assert bool(written.notices) == (url == "./shop")


@pytest.mark.subprocess
def test_what_is_not_recognized_is_told_and_left_to_be_said(tmp_path: Path) -> None:
    ruby = Repository(tmp_path / "ruby", {"Gemfile": "", "Procfile": "web: rails s\n"})
    written = init(ruby.path, output=tmp_path / "stack.toml")
    assert '\n# build = "make install"\n#   needed: ' in (tmp_path / "stack.toml").read_text()
    assert [notice.partition(":")[0] for notice in written.notices] == ["ruby"]


@pytest.mark.subprocess
def test_a_directory_without_git_is_described_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "plain/node_modules/x").mkdir(parents=True)
    for name, content in {**PYTHON, "Procfile": "web: ./run\n", "node_modules/x/Gemfile": ""}.items():
        (tmp_path / "plain" / name).write_text(content)
    written = init(tmp_path / "plain", output=tmp_path / "stack.toml")
    assert written.notices == ("plain: no git repository yet: git init, and commit",)
    assert read_stack(tmp_path / "stack.toml").repos["plain"].url == "./plain"


@pytest.mark.subprocess
def test_an_existing_file_stays(tmp_path: Path) -> None:
    shop = Repository(tmp_path / "shop", {**PYTHON, "Procfile": "web: ./run\n"})
    (tmp_path / "stack.toml").write_text("mine")
    with pytest.raises(StackError, match="there is one already") as told:
        init(shop.path, output=tmp_path / "stack.toml")
    assert "--output" in str(told.value)
    assert (tmp_path / "stack.toml").read_text() == "mine"


def test_the_only_process_of_a_repo_takes_its_name() -> None:
    for process, kind in (("worker", "worker"), ("clock", "clock"), ("jobs", "worker")):
        (service,) = parse_stack(
            stack_text("shop", [Found("jobs", "./x", processes=[process])]), Path("/")
        ).services.values()
        assert (service.name, service.process, service.kind) == ("jobs", process, kind)


@pytest.mark.subprocess
def test_the_stack_may_be_given_a_name(tmp_path: Path) -> None:
    shop = Repository(tmp_path / "shop", {**PYTHON, "Procfile": "web: ./run\n"})
    assert init(shop.path, output=tmp_path / "stack.toml", name="acme").stack.name == "acme"
    with pytest.raises(StackError, match="--name: expected a name") as told:
        init(shop.path, output=tmp_path / "other.toml", name="Acme Inc")
    assert told.value.mistakes[0].hint == "acme-inc"


@pytest.mark.subprocess
def test_every_mistake_in_every_repository_is_told(tmp_path: Path) -> None:
    one = Repository(tmp_path / "one", {"Procfile": "web gunicorn\n"})
    two = Repository(tmp_path / "two", {"Procfile": "web: ./run\n", "app.json": '{"env": 1, "addons": 2}'})
    with pytest.raises(StackError) as told:
        init(one.path, two.path, output=tmp_path / "stack.toml")
    assert [mistake.path for mistake in told.value.mistakes] == [
        f"{one.path}/Procfile: line 1",
        f"{two.path}/app.json: env",
        f"{two.path}/app.json: addons",
    ]
    assert not (tmp_path / "stack.toml").exists()


@pytest.mark.subprocess
def test_without_any_service_nothing_is_written(tmp_path: Path) -> None:
    library = Repository(tmp_path / "library", PYTHON)
    with pytest.raises(SourceError, match="there is no Procfile"):
        init(library.path, output=tmp_path / "stack.toml")
    with pytest.raises(SourceError, match="no such directory"):
        init(tmp_path / "nowhere", output=tmp_path / "stack.toml")
    assert not (tmp_path / "stack.toml").exists()


def test_an_address_that_a_datastore_gives_is_left_out() -> None:
    env = {"DATABASE_URL": "postgres://localhost/dev", "REDIS_URL": "redis://localhost", "COLOR": "blue"}
    found = Found(
        "x", "./x", processes=["web", "worker"], datastores=["postgresql"], env=env, required=["DATABASE_URL", "KEY"]
    )
    text = stack_text("shop", [found])
    assert all(each.env.keys() == {"REDIS_URL", "COLOR"} for each in parse_stack(text, Path("/")).services.values())
    assert "# Left out: DATABASE_URL (the datastore db gives it)" in text
    assert "# To be given as config (app.json): KEY\n" in text


@pytest.mark.parametrize(
    "found",
    [
        Found("x", "./x", processes=["web"], remarks=["line\nbreak = 1", "\x1b[2J"]),
        Found('"]\n[evil]', "./x", processes=["web"]),
        Found("x", './quo"te\\', processes=["web", "-dash", "__x", "release"]),
        Found("---", "./x", processes=["worker", "scheduler", "Worker"]),
        Found("x", "./x", processes=["web"], env={"A": 'a"\\\n\t\x01', "B": "ü\u202e", "bad name": "x", "C": ""}),
        Found("x", "./x", processes=["web"], not_recognized='no\n"build"', unknown_addons=["a\nb"]),
        Found("x", "./x", is_static=True, datastores=["redis", "postgresql"]),
    ],
)
def test_whatever_was_found_the_text_reads_back(found: Found) -> None:
    text = stack_text("shop", [found, found])
    stack = parse_stack(text, Path("/"))
    assert len(stack.repos) == 2
    assert {repo.url for repo in stack.repos.values()} == {found.url}
    assert {name for each in stack.services.values() for name in each.env} == set(found.env) - {"bad name"}
    assert all(each.env[name] == found.env[name] for each in stack.services.values() for name in each.env)
