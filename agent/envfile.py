"""The syntax of systemd's ``EnvironmentFile=``, both ways. Pure.

What is rendered, systemd reads back byte for byte; what systemd can't carry is refused here, as it
would drop it with no more than a line in the journal. The rules are those of systemd.exec(5) and of the
parser behind it: inside double quotes a backslash counts before ``" \\ ` $`` and a newline, nothing
else is special, and a newline may stand as it is.

On the boot path: imports nothing outside of the agent.
"""

from __future__ import annotations

from agent.errors import ConfigError

LARGEST_VARIABLE = 131071
"""Bytes of ``NAME=value`` that execve(2) takes (MAX_ARG_STRLEN, less the end mark)."""

LARGEST_ENVIRONMENT = 1 << 20
"""Bytes of a whole environment: half of what execve(2) takes with the usual stack limit."""

_FIRST = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_")
_LATER = _FIRST | frozenset("0123456789")
_BLANKS = " \t\n\r"
_ESCAPED = '"\\`$'


def is_variable_name(name: str) -> bool:
    """Whether a process environment of systemd's can hold ``name``: ``[A-Za-z_][A-Za-z0-9_]*``."""
    return name != "" and name[0] in _FIRST and _LATER.issuperset(name)


def render(variables: dict[str, str], *, where: str = "") -> str:
    """The file that gives a process exactly these variables; ConfigError names the one that it can't carry."""
    lines = []
    total = 0
    for name, value in variables.items():
        check(name, value, where=where)
        quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("`", "\\`").replace("$", "\\$")
        lines.append(f'{name}="{quoted}"\n')
        total += len(name) + len(value.encode()) + 2
    if total > LARGEST_ENVIRONMENT:
        raise ConfigError(f"{total} bytes of variables; {LARGEST_ENVIRONMENT} at most", where=where)
    return "".join(lines)


def check(name: str, value: str, *, where: str = "") -> None:
    """ConfigError when systemd could not hand the variable on as it is. The value itself is never shown."""
    if not is_variable_name(name):
        raise ConfigError(f"{name[:60]!a} is no name of a variable: letters, digits and _ only", where=where)
    if "\0" in value:
        raise ConfigError(f"{name} holds a NUL byte, which no environment can", where=where)
    if not value.isascii() and any(_is_refused(ord(character)) for character in value):
        raise ConfigError(f"{name} holds a character that systemd refuses (a surrogate or noncharacter)", where=where)
    size = len(name) + 1 + len(value.encode())
    if size > LARGEST_VARIABLE:
        raise ConfigError(f"{name} has {size} bytes; {LARGEST_VARIABLE} at most", where=where)


def _is_refused(code: int) -> bool:
    """Code points that systemd does not count as valid UTF-8 (``unichar_is_valid``)."""
    return 0xD800 <= code <= 0xDFFF or 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE


def parse(text: str, *, where: str = "") -> dict[str, str]:
    """The variables of a file, as systemd would read them; a later line wins.

    Stricter than systemd, which skips what it does not understand: a line that is no assignment, a name
    that is none, a quote without its end are ConfigErrors that name the line (and show no value).
    """
    reader = _Reader(text, where)
    variables: dict[str, str] = {}
    while (assignment := reader.assignment()) is not None:
        name, value = assignment
        check(name, value, where=reader.place)
        variables[name] = value
    return variables


class _Reader:
    """Reads assignments one after the other, keeping count of lines."""

    def __init__(self, text: str, where: str) -> None:
        self._text = text
        self._at = 0
        self._where = where
        self.place = where

    def assignment(self) -> tuple[str, str] | None:
        """The next one, or None at the end."""
        self._skip_to_name()
        if self._at >= len(self._text):
            return None
        line = self._text.count("\n", 0, self._at) + 1
        self.place = f"{self._where}:{line}" if self._where else f"line {line}"
        end = self._at
        while end < len(self._text) and self._text[end] not in "=\n\r":
            end += 1
        if self._text[end : end + 1] != "=":
            raise ConfigError("expected NAME=value", where=self.place)
        name = self._text[self._at : end].rstrip(_BLANKS)
        self._at = end + 1
        return name, self._value()

    def _skip_to_name(self) -> None:
        """Past blanks and comments. A backslash carries a comment on to the next line, as it does for systemd 252."""
        while (character := self._text[self._at : self._at + 1]) != "":
            if character in "#;":
                while (character := self._text[self._at : self._at + 1]) not in ("", "\n", "\r"):
                    self._at += 2 if character == "\\" else 1
            elif character in _BLANKS:
                self._at += 1
            else:
                return

    def _take(self) -> str:
        character = self._text[self._at : self._at + 1]
        self._at += 1
        return character

    def _value(self) -> str:
        """Up to the end of the line: quoted parts and bare ones, joined."""
        parts: list[str] = []
        while (character := self._take()) not in ("", "\n", "\r"):
            if character == "'":
                parts.append(self._until_quote("'"))
            elif character == '"':
                parts.append(self._until_quote('"'))
            elif character not in _BLANKS:
                parts.append(self._bare(character))
                break
        return "".join(parts)

    def _bare(self, character: str) -> str:
        """A value without quotes, to the end of its line: blanks there go, a backslash keeps the next character."""
        value = ""
        kept = 0
        while character not in ("", "\n", "\r"):
            if character == "\\":
                character = self._take()
                value += "" if character in ("", "\n", "\r") else character
                kept = len(value)
            else:
                value += character
                kept = kept if character in _BLANKS else len(value)
            character = self._take()
        return value[:kept]

    def _until_quote(self, quote: str) -> str:
        value = ""
        while (character := self._take()) != quote:
            if character == "":
                raise ConfigError(f"a value has no closing {quote}", where=self.place)
            if character == "\\" and quote == '"':
                character = self._take()
                if character not in _ESCAPED and character != "\n":
                    value += "\\"
                value += "" if character == "\n" else character
            else:
                value += character
        return value
