from __future__ import annotations

from collections.abc import Callable

import pytest

from agent.errors import ConfigError
from agent.unitfile import nginxvalue, unitvalue, unitword

CONTROL = ["a\nExecStart=/bin/sh", "a\rb", "a\0b", "a\x1bb", "\x7f", "a\tb", "\ud800"]


@pytest.mark.parametrize("function", [unitvalue, unitword, nginxvalue])
@pytest.mark.parametrize("text", CONTROL)
def test_what_a_line_can_not_carry_is_refused(function: Callable[[object], str], text: str) -> None:
    with pytest.raises(ConfigError):
        function(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("plain", "plain"), ("100%", "100%%"), ("%n %i", "%%n %%i"), ("é $x 'q' \"d\"", "é $x 'q' \"d\""), ("", "")],
)
def test_a_value_keeps_all_but_specifiers(text: str, value: str) -> None:
    assert unitvalue(text) == value


@pytest.mark.parametrize("text", ["a\\", " a", "a ", " "])
def test_a_value_that_systemd_would_change_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        unitvalue(text)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("web", '"web"'),
        ("", '""'),
        ("a b", '"a b"'),
        ("%n", '"%%n"'),
        ("$HOME ${X}", '"$$HOME $${X}"'),
        ('say "hi"', '"say \\"hi\\""'),
        ("back\\slash", '"back\\\\slash"'),
        (";", '";"'),
    ],
)
def test_a_word_is_quoted_whole(text: str, word: str) -> None:
    assert unitword(text) == word


def test_nginx_gets_a_quoted_parameter() -> None:
    assert nginxvalue('/srv/a "b"\\c; }') == '"/srv/a \\"b\\"\\\\c; }"'


def test_nginx_would_expand_a_dollar_so_it_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"can't hold '\$'"):
        nginxvalue("/srv/$host")
