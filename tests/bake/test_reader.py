"""stack.toml: what it may say, what each default is, and what is told about every mistake."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import StackError
from bake.reader import read_stack
from bake.stack import HARDENING, Boot, Datastore, Health, Repo, Service, Stack
from tests.bake.stack_texts import HERE, LEAST, mistake, mistakes, parse, with_service, with_worker


def test_the_least_stack_gets_every_default() -> None:
    assert parse(LEAST) == Stack(
        name="shop",
        directory=HERE,
        base="debian:bookworm",
        boot=Boot(metadata_wait=120.0, tags_wait=60.0),
        repos={"web": Repo("web", "../web", "/srv/web", ref="HEAD", subdirectory="", build=None, static=None)},
        services={
            "web": Service(
                "web",
                repo="web",
                process="web",
                kind="web",
                port=8000,
                health=Health("/", status=200, interval=0.5, settle=2.0, deadline=60.0),
                stop_timeout=30.0,
            )
        },
    )


@pytest.mark.parametrize(
    ("lines", "process", "kind"),
    [
        ("", "web", "web"),
        ('kind = "web"', "web", "web"),
        ('process = "web"', "web", "web"),
        ('process = "api"\nkind = "web"', "api", "web"),
        ('kind = "worker"', "job", "worker"),
        ('kind = "clock"', "job", "clock"),
        ('process = "mailer"', "mailer", "worker"),
        ('process = "web"\nkind = "worker"', "web", "worker"),
    ],
)
def test_process_and_kind_follow_from_each_other(lines: str, process: str, kind: str) -> None:
    health = 'health = { path = "/" }' if kind == "web" else ""
    service = parse(f'{LEAST}\n[services.job]\nrepo = "web"\n{lines}\n{health}\n').services["job"]
    assert (service.process, service.kind) == (process, kind)


def test_ports_that_are_not_given_are_the_first_free_ones() -> None:
    web = 'repo = "web"\nhealth = { path = "/" }\n'
    services = f"[services.a]\n{web}\n[services.b]\n{web}port = 8001\n[services.c]\n{web}"
    worker = '[services.job]\nrepo = "web"\nkind = "worker"\n'
    kinds = {"one": "postgresql", "two": "postgresql", "three": "redis"}
    stores = "".join(f'[datastores.{name}]\nkind = "{kind}"\n' for name, kind in kinds.items())
    stack = parse(f"{LEAST}\n{services}{worker}{stores}")
    assert {name: service.port for name, service in stack.services.items()} == {
        "web": 8000,
        "a": 8002,
        "b": 8001,
        "c": 8003,
        "job": None,
    }
    assert list(stack.datastores.values()) == [
        Datastore("one", "postgresql", 5432),
        Datastore("two", "postgresql", 5433),
        Datastore("three", "redis", 6379),
    ]


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ('memory = "512M"', "memory", 512 * 1024**2),
        ('memory = "2G"', "memory", 2 * 1024**3),
        ('cpu = "50%"', "cpu", 0.5),
        ('cpu = "2"', "cpu", 2.0),
        ("cpu = 1.5", "cpu", 1.5),
        ('stop_timeout = "500ms"', "stop_timeout", None),
        ('stop_timeout = "1.5m"', "stop_timeout", 90.0),
        ("stop_timeout = 45", "stop_timeout", 45.0),
        ('stop_timeout = "2h"', "stop_timeout", 7200.0),
        ('loosen = ["ProtectHome", "UMask"]', "loosen", ("ProtectHome", "UMask")),
        ('env = { A = "", B_2 = "x y\\n" }', "env", {"A": "", "B_2": "x y\n"}),
    ],
)
def test_sizes_shares_and_durations_become_numbers(line: str, field: str, value: object) -> None:
    if value is None:
        assert mistake(with_service(line))[0] == f"services.web.{field}"
    else:
        assert getattr(parse(with_service(line)).services["web"], field) == value


SERVICE_MISTAKES = [
    ('port = "80a"', "port", 'expected a port from 1 to 65535, got "80a"', "port = 8000"),
    ('port = "8080"', "port", 'expected a port from 1 to 65535, got "8080"', "port = 8080"),
    ("port = 70000", "port", "expected a port from 1 to 65535, got 70000", "port = 8000"),
    ("port = true", "port", "expected a port from 1 to 65535, got true", "port = 8000"),
    ("port = 80", "port", "expected a port from 1024 up, got 80", "port = 8000"),
    ("prot = 8000", "prot", "unknown key", "port"),
    ('repo = "wbe"', "repo", 'expected the name of a repo ("web"), got "wbe"', 'repo = "web"'),
    ('process = "we b"', "process", "expected the name of a line in the Procfile", 'process = "web"'),
    ('process = "release"', "process", '"release" runs once before', "leave this service out"),
    ('kind = "wroker"', "kind", 'expected "web", "worker" or "clock", got "wroker"', 'kind = "worker"'),
    ('check = "true"', "check", "a web service is asked over HTTP", 'health = { path = "/healthz" }'),
    ("memory = 512", "memory", 'expected a size such as "512M" or "1G", got 512', 'memory = "512M"'),
    ('memory = "512"', "memory", "expected a size", 'memory = "512M"'),
    ('memory = "1M"', "memory", "expected a size of at least 16M", 'memory = "512M"'),
    ('cpu = "fast"', "cpu", 'expected CPU time such as "50%"', 'cpu = "100%"'),
    ("cpu = nan", "cpu", "expected CPU time", 'cpu = "100%"'),
    ("cpu = 0", "cpu", 'expected CPU time from "1%" up, got 0', 'cpu = "100%"'),
    ('stop_timeout = "2d"', "stop_timeout", 'expected a duration such as "500ms"', 'stop_timeout = "30s"'),
    ("stop_timeout = inf", "stop_timeout", "expected a duration such as", 'stop_timeout = "30s"'),
    ("stop_timeout = -1", "stop_timeout", "expected a duration from 1s to 2h, got -1", 'stop_timeout = "30s"'),
    ('calls = ["web"]', "calls[0]", "a service does not call itself", "leave it out"),
    (
        'databases_of = "wbe"',
        "databases_of",
        'expected the name of a service ("web"), got "wbe"',
        'databases_of = "web"',
    ),
    ('calls = ["wbe"]', "calls[0]", 'expected the name of a service ("web"), got "wbe"', 'calls = ["web"]'),
    ('calls = "web"', "calls", 'expected a list, got "web"', 'calls = ["orders-api"]'),
    ('needs = ["db"]', "needs[0]", 'expected the name of a datastore (there is none), got "db"', "[datastores.db]"),
    ('loosen = ["UMask", "UMask"]', "loosen[1]", '"UMask" stands twice', "name it once"),
    ('loosen = ["ProtectHom"]', "loosen[0]", "expected ", 'loosen = ["ProtectHome"]'),
    ("env = { A = 5 }", "env.A", "expected text, got 5", 'A = "5"'),
    ("env = { A = true }", "env.A", "expected text, got true", 'A = "true"'),
    ('env = { "A B" = "x" }', 'env."A B"', "expected a variable's name", 'A_B = "…"'),
    ('env = { PORT = "1" }', "env.PORT", "PORT is made by the agent", "leave it out"),
    ('env = { BAKEBOOT_MODE = "x" }', "env.BAKEBOOT_MODE", "BAKEBOOT_MODE is made by the agent", "leave it out"),
    ('env = { A = "x\\u0000" }', "env.A", "expected text without NUL", 'A = "…"'),
    ('env = { U = "redis://:pw@h/0" }', "env.U", "expected no password", "leave U out"),
    ("env = 5", "env", "expected a table, got 5", 'env = { NAME = "value" }'),
]


@pytest.mark.parametrize(
    ("line", "place", "what", "hint"), SERVICE_MISTAKES, ids=[case[0] for case in SERVICE_MISTAKES]
)
def test_a_mistake_in_a_service_is_told_by_its_path(line: str, place: str, what: str, hint: str) -> None:
    path, told, tried = mistake(with_service(line))
    assert path == f"services.web.{place}"
    assert told.startswith(what)
    assert tried.startswith(hint)


HEALTH_MISTAKES = [
    ("status = 200", "path", "expected the path that this web service answers", 'health = { path = "/healthz" }'),
    ('path = "healthz"', "path", 'expected a path that starts with "/", got "healthz"', 'path = "/healthz"'),
    ('path = "/a b"', "path", "expected a path that starts", 'path = "/healthz"'),
    ('path = "/"\nstatus = 503', "status", "expected an HTTP status from 200 to 499, got 503", "status = 200"),
    ('path = "/"\ninterval = "1ms"', "interval", "expected a duration from 50ms to 60s", 'interval = "500ms"'),
    (
        'path = "/"\nsettle = "90s"',
        "deadline",
        "expected more than settle and interval together, got 60s",
        "deadline =",
    ),
    ('path = "/"\ntimeout = "1s"', "timeout", "unknown key", "one of: deadline, interval, path, settle, status"),
]


@pytest.mark.parametrize(("lines", "place", "what", "hint"), HEALTH_MISTAKES, ids=[case[0] for case in HEALTH_MISTAKES])
def test_a_mistake_in_a_health_check_is_told_by_its_path(lines: str, place: str, what: str, hint: str) -> None:
    text = LEAST.replace('health = { path = "/" }', f"[services.web.health]\n{lines}")
    path, told, tried = mistake(text)
    assert path == f"services.web.health.{place}"
    assert told.startswith(what)
    assert tried.startswith(hint)


@pytest.mark.parametrize(
    ("lines", "place", "what"),
    [
        ("port = 8000", "port", "a worker has no port"),
        ('health = { path = "/" }', "health.path", "a worker is not asked over HTTP"),
        ("health = { status = 204 }", "health.status", "a worker is not asked over HTTP"),
        ('check = ""', "check", 'expected text, got ""'),
    ],
)
def test_a_worker_is_not_asked_over_http(lines: str, place: str, what: str) -> None:
    path, told, _ = mistake(with_worker(lines))
    assert (path, told.startswith(what)) == (f"services.job.{place}", True)


def test_a_worker_may_say_how_it_is_checked() -> None:
    service = parse(with_worker('check = "./ok"\nhealth = { interval = "1s" }')).services["job"]
    assert (service.check, service.health.path, service.health.interval) == ("./ok", None, 1.0)


@pytest.mark.parametrize(
    ("lines", "path", "what"),
    [
        ('base = "ubuntu:24.04"', "stack.base", 'expected "debian:bookworm", got "ubuntu:24.04"'),
        ('apt_packages = ["vim-"]', "stack.apt_packages[0]", "expected the name of a Debian package"),
        ('apt_packages = ["-o=x"]', "stack.apt_packages[0]", "expected the name of a Debian package"),
        ('apt_packages = ["a b"]', "stack.apt_packages[0]", "expected the name of a Debian package"),
        ("boot = { tags_wait = 0 }", "stack.boot.tags_wait", "expected a duration from 1s to 1h, got 0"),
        (
            'apt_sources.x = { uri = "https://u:p@h/", suite = "s" }',
            "stack.apt_sources.x.uri",
            'expected an address without a user, got "https://***@h/"',
        ),
        (
            'apt_sources.x = { uri = "https://h/\\n", suite = "s" }',
            "stack.apt_sources.x.uri",
            "expected an https:// address",
        ),
        (
            'apt_sources.x = { uri = "https://h/" }',
            "stack.apt_sources.x.suite",
            "expected the archive's suite, got nothing",
        ),
        (
            'apt_sources.x = { uri = "https://h/", suite = "a/", components = ["main"] }',
            "stack.apt_sources.x.components",
            "the flat archive a/ has none",
        ),
    ],
)
def test_a_mistake_in_the_stack_itself_is_told(lines: str, path: str, what: str) -> None:
    told = mistake(LEAST.replace('name = "shop"', f'name = "shop"\n{lines}'))
    assert (told[0], told[1].startswith(what)) == (path, True)


def test_all_mistakes_are_told_at_once_those_of_one_table_together() -> None:
    text = """
        stak = 1
        [stack]
        name = "Shop"
        [repos.web]
        url = "http://h/x"
        [services.job]
        kind = "cron"
        memory = 1
        [services.web]
        port = 0
        health = 5
    """
    assert list(mistakes(text)) == [
        "stack.name",
        "repos.web.url",
        "services.job.kind",
        "services.job.repo",
        "services.job.memory",
        "services.web.port",
        "services.web.health",
        "stak",
    ]


def test_a_stack_without_services_is_refused() -> None:
    assert mistake('[stack]\nname = "x"\n') == ("services", "expected at least one service, got none", "[services.web]")
    assert list(mistakes("")) == ["stack.name"]


@pytest.mark.parametrize(
    ("text", "path", "hint"),
    [
        ("[stack]\nname = shop\n", "line 2, column 8", "text stands in quotes"),
        ("[stack\n", "line 1, column 7", "close the bracket"),
        ("a = 1\na = 2\n", "line 2, column 6", "each key and heading may stand once"),
        ("[a]\n[a]\nx = 1\n", "line 2, column 3", "each key and heading may stand once"),
        ('a = "x\n', "line 1, column 7", "close the text with a quote on the same line"),
        ("a = 1 b = 2\n", "line 1, column 7", "each KEY = VALUE has a line of its own"),
        ("name\n", "line 1, column 5", "a line is KEY = VALUE"),
        ('a = "\\d"\n', "line 1, column 8", "write a backslash twice"),
        ("=\n", "line 1, column 1", "a line is KEY = VALUE"),
    ],
)
def test_what_is_not_toml_is_told_by_line_and_column(text: str, path: str, hint: str) -> None:
    told = mistake(text)
    assert told[0] == path
    assert told[2].startswith(hint)


@pytest.mark.parametrize("text", ["a = " + "[" * 5000 + "]" * 5000, "a = " + "1" * 5000])
def test_what_python_cannot_read_is_a_mistake_too(text: str) -> None:
    with pytest.raises(StackError):
        parse(text)


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    path = tmp_path / "stack.toml"
    told = {}
    with pytest.raises(StackError) as error:
        read_stack(path)
    told["missing"] = str(error.value)
    path.write_bytes(b"# ok\nname = '\xff'\n")
    with pytest.raises(StackError) as error:
        read_stack(path)
    told["latin"] = str(error.value)
    with pytest.raises(StackError) as error:
        read_stack(tmp_path)
    told["directory"] = str(error.value)
    assert told == {
        "missing": f"{path}: there is no such file\n  try   bakeboot init DIR…    writes a first one",
        "latin": f"{path}: line 2: this is not UTF-8 text\n  try   save the file with the encoding UTF-8",
        "directory": f"{tmp_path}: is a directory\n  try   ls -l {tmp_path}",
    }


def test_the_key_of_an_apt_source_must_be_there(tmp_path: Path) -> None:
    path = tmp_path / "stack.toml"
    source = 'apt_sources.x = { uri = "https://h/", suite = "s", key = "x.asc" }'
    path.write_text(LEAST.replace('name = "shop"', f'name = "shop"\n{source}'))
    with pytest.raises(StackError, match=re.escape(f"stack.apt_sources.x.key: there is no file {tmp_path}/x.asc")):
        read_stack(path)
    (tmp_path / "x.asc").touch()
    assert read_stack(path).apt_sources["x"].key == tmp_path / "x.asc"


def test_what_is_shown_is_escaped_and_cut() -> None:
    _, told, _ = mistake(with_service('kind = "\\u001b[31m\\u202e' + "x" * 500 + '"'))
    assert told == 'expected "web", "worker" or "clock", got "\\u001b[31m\\u202E' + "x" * 54 + '…"'


def test_the_names_to_loosen_are_those_that_the_unit_sets() -> None:
    template = Path(__file__).parents[2] / "templates" / "hardening.j2"
    assert set(re.findall(r'(?m)^  "(\w+)=', template.read_text())) - {"SystemCallErrorNumber"} == set(HARDENING)


TOML_VALUE = st.recursive(
    st.one_of(
        st.integers().map(str),
        st.sampled_from(
            ["true", "1.5", "nan", "inf", "2026-11-23", '"x"', '"web"', '""', '"-x"', '"8000"', '"2s"', "[]"]
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda values: f"[{', '.join(values)}]"),
        st.dictionaries(st.sampled_from(["path", "url", "web", "A", '"ü"']), inner, max_size=3).map(
            lambda table: "{" + ", ".join(f"{key} = {value}" for key, value in table.items()) + "}"
        ),
    ),
    max_leaves=6,
)
KEYS = ["stack", "repos", "services", "datastores", "stack.name", "repos.web", "services.web", "services.web.env"]
KEYS += ["services.web.health", "services.web.calls", "datastores.db", "datastores.db.kind", "stack.apt_sources", "x"]


@settings(deadline=None, max_examples=100)
@given(st.dictionaries(st.sampled_from(KEYS), TOML_VALUE, max_size=6))
def test_whatever_a_file_says_it_is_read_or_refused(document: dict[str, str]) -> None:
    text = "\n".join(f"{key} = {value}" for key, value in document.items())
    try:
        parse(text)
    except StackError as error:
        told = error
    else:
        return
    assert told.mistakes
    assert all(mistake.expected for mistake in told.mistakes)
    assert str(told).replace("\n", "").isprintable()
