"""agent/heroku.py: Procfile and app.json, the usual and the odd."""

from __future__ import annotations

import json

import pytest

from agent.errors import StackError
from agent.heroku import parse_app_json, parse_procfile


@pytest.mark.parametrize(
    ("text", "processes"),
    [
        ("", {}),
        ("web: gunicorn app:app\n", {"web": "gunicorn app:app"}),
        ("web: a\r\nworker: b\r\n", {"web": "a", "worker": "b"}),
        ("\ufeffweb: a", {"web": "a"}),
        ("# a comment\n\n   \n  # one more\nweb: a\n", {"web": "a"}),
        ("web:a", {"web": "a"}),
        ("web:\t a  \t\n", {"web": "a"}),
        ("web: echo a: b # kept, as on Heroku", {"web": "echo a: b # kept, as on Heroku"}),
        ("a_b-C9: x", {"a_b-C9": "x"}),
        (
            "release: python migrate.py && echo $PORT\nweb: npm start",
            {"release": "python migrate.py && echo $PORT", "web": "npm start"},
        ),
        ("web: echo '$(touch /tmp/x)' %n \\n", {"web": "echo '$(touch /tmp/x)' %n \\n"}),
        ("web: echo h\u00e9 \u2028 \u2603", {"web": "echo h\u00e9 \u2028 \u2603"}),
        ("web: " + "x" * 65536, {"web": "x" * 65536}),
    ],
)
def test_a_procfile_is_read_as_heroku_reads_it(text: str, processes: dict[str, str]) -> None:
    assert parse_procfile(text) == processes


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("web gunicorn", 1, 'got "web gunicorn"'),
        ("web: a\n web: b", 2, "expected NAME: COMMAND"),
        ("web:", 1, "expected NAME: COMMAND"),
        ("web:   ", 1, "expected NAME: COMMAND"),
        ("../../etc/x: a", 1, "expected NAME: COMMAND"),
        ("w\u00e9b: a", 1, "expected NAME: COMMAND"),
        (": a", 1, "expected NAME: COMMAND"),
        ("web: a\nweb: b", 2, "second time"),
        ("web: a\0b", 1, "control character"),
        ("web: a\rb", 1, "control character"),
        ("web: a\x1b[31m", 1, "control character"),
        ("x" * 64 + ": a", 1, "at most 63"),
    ],
)
def test_a_line_that_heroku_would_drop_is_named(text: str, line: int, words: str) -> None:
    with pytest.raises(StackError) as caught:
        parse_procfile(text, where="repos/web/Procfile")
    assert caught.value.mistakes[0].path == f"line {line}"
    assert words in str(caught.value)
    assert str(caught.value).startswith("repos/web/Procfile: line ")


def test_every_mistake_of_a_procfile_is_told_at_once() -> None:
    with pytest.raises(StackError) as caught:
        parse_procfile("web\nworker: ok\nclock\n")
    assert [mistake.path for mistake in caught.value.mistakes] == ["line 1", "line 3"]


def test_app_json_sorts_variables_by_who_sets_them() -> None:
    app = parse_app_json(
        json.dumps(
            {
                "env": {
                    "LOG_LEVEL": "info",
                    "WORKERS": {"value": 3},
                    "DEBUG": {"value": False},
                    "SECRET_KEY": {"generator": "secret", "description": "signs cookies"},
                    "STRIPE_KEY": {"description": "from the dashboard"},
                    "SENTRY_DSN": {"required": False},
                    "EMPTY": {"value": ""},
                    "BOTH": {"value": "x", "generator": "secret"},
                }
            }
        )
    )
    assert dict(app.env) == {"LOG_LEVEL": "info", "WORKERS": "3", "DEBUG": "false", "EMPTY": "", "BOTH": "x"}
    assert app.generated == ("SECRET_KEY",)
    assert app.required == ("STRIPE_KEY",)


@pytest.mark.parametrize(
    ("addons", "datastores", "unknown"),
    [
        ([], (), ()),
        (["heroku-postgresql"], ("postgresql",), ()),
        (["heroku-postgresql:essential-0", {"plan": "rediscloud:30", "as": "CACHE"}], ("postgresql", "redis"), ()),
        (["heroku-redis", "redistogo:nano"], ("redis",), ()),
        (
            ["papertrail", "papertrail:choklad", "heroku-redis", "scheduler:standard"],
            ("redis",),
            ("papertrail", "scheduler"),
        ),
    ],
)
def test_addons_become_datastores_or_are_reported(
    addons: list[object], datastores: tuple[str, ...], unknown: tuple[str, ...]
) -> None:
    app = parse_app_json(json.dumps({"addons": addons}))
    assert (app.datastores, app.unknown_addons) == (datastores, unknown)


def test_sections_that_mean_nothing_here_are_named() -> None:
    buildpacks = [{"url": "heroku/python"}, "heroku/nodejs", 3]
    app = parse_app_json(json.dumps({"buildpacks": buildpacks, "scripts": {"postdeploy": "x"}, "formation": {}}))
    assert app.buildpacks == ("heroku/python", "heroku/nodejs")
    assert app.ignored == ("scripts",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("{'a': 1}", "not JSON"),
        ("[]", "expected an object"),
        ("[" * 100_000, "app.json"),
        ('{"env": []}', "env: expected an object"),
        ('{"env": {"A B": "x"}}', "env.A B: expected a name"),
        ('{"env": {"A\\n": "x"}}', "expected a name"),
        ('{"env": {"": "x"}}', "expected a name"),
        ('{"env": {"A": ["x"]}}', "env.A: expected a string"),
        ('{"env": {"A": {"value": {}}}}', "env.A.value: expected a string"),
        ('{"env": {"A": "a\\u0000b"}}', "env.A: expected a string"),
        ('{"env": {"A": "\\ud800"}}', "env.A: expected a string"),
        ('{"env": {"A": {"generator": "uuid"}}}', 'env.A.generator: expected "secret"'),
        ('{"addons": "heroku-redis"}', "addons: expected a list"),
        ('{"addons": [{}]}', "addons[0]: expected an add-on"),
    ],
)
def test_a_wrong_app_json_is_told_by_path(text: str, words: str) -> None:
    with pytest.raises(StackError) as caught:
        parse_app_json(text)
    assert words in str(caught.value)


def test_a_byte_order_mark_is_no_mistake() -> None:
    assert parse_app_json('\ufeff{"env": {"A": "1"}}').env["A"] == "1"
