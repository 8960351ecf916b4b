"""What HAProxy is told: the table of routes and the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from region.balancer.config import Frontend, Inherited, config_of, error_pages
from region.balancer.table import Value, lua, table_of
from region.balancer.words import Condition, Fixed, Forward, Group, Listener, Plan, Rule, Target


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7, "7"),
        (True, "true"),
        ("shop.example.com", '"shop.example.com"'),
        ('"); os.execute("x', r'"\034\041\059 os.execute\040\034x"'),
        ("a\\\n\0é", r'"a\092\010\000\195\169"'),
        ([1, "a"], '{1,"a"}'),
        ({"a": {"b": []}}, '{["a"]={["b"]={}}}'),
    ],
)
def test_a_constant_of_lua_is_never_more_than_a_constant(value: Value, text: str) -> None:
    assert lua(value) == text


def test_a_plan_is_one_table() -> None:
    rule = Rule(Forward((("g", 3),)), (Condition("source", ("10.1.2.3/8",)), Condition("query", (("", "x"),))))
    group = Group("g", (Target("g|i-1:80", "10.0.0.1", 80),), "least_outstanding_requests")
    table = table_of(Plan((Listener("l", "127.77.1.10", 80, (rule, Rule(Fixed(404)))),), (group,)))
    assert '["address"]=167772160,["mask"]=4278190080' in table
    assert '["values"]={{["value"]="x"}}' in table
    assert '["groups"]={{"g",3}}' in table
    assert '["targets"]={{"g\\124i-1:80","10.0.0.1",80}}' in table


def test_each_listener_is_a_frontend_on_the_sockets_that_it_is_handed() -> None:
    frontends = [Frontend("a", 80, 60, (7, 8)), Frontend("b", 443, 30, (9,), "/proc/1/fd/5")]
    text = config_of(frontends, Inherited(3, 4, "/proc/1/fd/6"), Path("/pages"))
    lines = [line.strip() for line in text.splitlines()]
    assert [line for line in lines if line.startswith("bind ")] == [
        "bind fd@7",
        "bind fd@8",
        'bind fd@9 ssl crt "/proc/1/fd/5" alpn h2,http/1.1',
    ]
    assert {"timeout client 60s", "timeout client 30s"} <= set(lines)
    assert 'setenv BAKEBOOT_ROUTES "/proc/1/fd/6"' in lines


def test_a_target_that_does_not_answer_is_a_502_in_the_clients_eyes() -> None:
    pages = error_pages()
    assert pages["503.http"].startswith("HTTP/1.1 502 Bad Gateway\r\n")
    for page in pages.values():
        head, _, body = page.partition("\r\n\r\n")
        assert f"Content-Length: {len(body)}" in head
