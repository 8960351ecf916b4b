from __future__ import annotations

import random

import pytest

from agent.envfile import is_variable_name, parse, render
from agent.errors import ConfigError
from tests.agent.hostile import HOSTILE, REFUSED


@pytest.mark.parametrize("value", HOSTILE, ids=ascii)
def test_a_value_comes_back_byte_for_byte(value: str) -> None:
    assert parse(render({"BEFORE": "1", "A": value, "AFTER": "2"})) == {"BEFORE": "1", "A": value, "AFTER": "2"}


def test_any_mixture_comes_back_byte_for_byte() -> None:
    dice = random.Random(7)
    alphabet = "ab \t\n\r\"'\\$`%#;=é🎁{}()&|<>*?!~\x01\x1b\x7f\u2028\ufeff"
    for _ in range(3000):
        variables = {f"V{i}": "".join(dice.choices(alphabet, k=dice.randrange(12))) for i in range(3)}
        assert parse(render(variables)) == variables


@pytest.mark.parametrize("value", REFUSED, ids=lambda value: ascii(value)[:20])
def test_what_systemd_can_not_carry_is_refused_by_name(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        render({"SECRET": value}, where="web")
    assert caught.value.where == "web"
    assert caught.value.what.startswith("SECRET ")
    assert "secret-part" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "A=B", "É", "A\n", " A", "A\0", "A.B", "${A}"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    assert not is_variable_name(name)
    with pytest.raises(ConfigError, match="no name of a variable"):
        render({name: "x"})


def test_an_environment_too_large_for_a_process_is_refused() -> None:
    with pytest.raises(ConfigError, match="1048576 at most"):
        render({f"V{i}": "x" * 100_000 for i in range(11)})


SYNTAX = [
    ("", {}),
    ("A=1", {"A": "1"}),
    ("A=1\nB=2\n", {"A": "1", "B": "2"}),
    ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
    ("\n\n  A = 1  \n", {"A": "1"}),
    ("A=\nB=", {"A": "", "B": ""}),
    ("# A=1\n; B=2\nC=3", {"C": "3"}),
    ("# goes on \\\nB=2\nC=3", {"C": "3"}),
    ("A=1 # no comment", {"A": "1 # no comment"}),
    ("A=1\nA=2", {"A": "2"}),
    ("A='a b'", {"A": "a b"}),
    ("A='a\\n$b'", {"A": "a\\n$b"}),
    ('A="a\\"b\\\\c\\$d\\`e\\nf"', {"A": 'a"b\\c$d`e\\nf'}),
    ('A="a\nb"', {"A": "a\nb"}),
    ('A="a\\\nb"', {"A": "ab"}),
    ("A=\"a\"'b'c", {"A": "abc"}),
    ('A="a"  "b"', {"A": "ab"}),
    ("A=it's", {"A": "it's"}),
    ("A=a\\ \\\\b", {"A": "a \\b"}),
    ("A=a\\\nb", {"A": "ab"}),
    ("A=a=b", {"A": "a=b"}),
    ("A=x \t", {"A": "x"}),
    ("A=x \\ ", {"A": "x  "}),
    ('A="x "', {"A": "x "}),
]
"""Texts and what systemd makes of them; tests/system/test_agent_on_machine.py asks systemd."""


@pytest.mark.parametrize(("text", "variables"), SYNTAX)
def test_the_syntax_is_systemd_s(text: str, variables: dict[str, str]) -> None:
    assert parse(text) == variables


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("A=1\njust words\n", "f.env:2: expected NAME=value"),
        ("A=1\n\nexport B=2", "f.env:3: 'export B' is no name"),
        ("1A=x", "f.env:1: '1A' is no name"),
        ("=x", "f.env:1: '' is no name"),
        ('A="x', 'f.env:1: a value has no closing "'),
        ("A='x\n\n", "f.env:1: a value has no closing '"),
        ("\ufeffA=x", "f.env:1: '\\ufeffA' is no name"),
        ("A=x\0y", "f.env:1: A holds a NUL byte"),
    ],
)
def test_what_systemd_would_skip_is_told_by_its_line(text: str, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, where="f.env")
    assert str(caught.value).startswith(where)
