"""Values that go into unit files and nginx configuration: passed byte for byte, or refused.

The templates use these as Jinja filters of the same names. Names (of services, repos, …) are
checked where they are read and need none of this; everything else that comes from a stack file goes
through one of them. What systemd does with each character: systemd.syntax(7), systemd.service(5)
"Command lines", systemd.unit(5) "Specifiers".
"""

from __future__ import annotations

from agent.errors import ConfigError

_SHOWN = 60


def _shown(text: str) -> str:
    return ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def _printable(text: str, what: str) -> str:
    """``text`` as it is, or ConfigError when a line of a configuration file can't carry it."""
    for character in text:
        if character < " " or character == "\x7f":
            raise ConfigError(f"{what} can't hold {character!a}: {_shown(text)}")
        if "\ud800" <= character <= "\udfff":
            raise ConfigError(f"{what} must be valid unicode: {_shown(text)}")
    return text


def unitvalue(value: object) -> str:
    """The right side of a directive that is free text (``Description=``): ``%`` escaped.

    Raises ConfigError for control characters, a newline above all; for a backslash at the end, which
    would join the next line; and for blanks at the ends, which systemd drops.
    """
    text = _printable(str(value), "a unit's value")
    if text.endswith("\\"):
        raise ConfigError(f"a unit's value can't end with a backslash: {_shown(text)}")
    if text != text.strip():
        raise ConfigError(f"a unit's value can't start or end with a blank: {_shown(text)}")
    return text.replace("%", "%%")


def unitword(value: object) -> str:
    """One argument of ``ExecStart=``: quoted, so that the process gets exactly this text.

    Not for the first word, the program: systemd reads ``-``, ``@``, ``+``, ``!`` and ``:`` in front of
    that one even inside quotes. Raises ConfigError for control characters.
    """
    text = _printable(str(value), "an argument")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$") + '"'


def nginxvalue(value: object) -> str:
    """One parameter of an nginx directive, quoted. nginx has no escape for ``$``, so that is refused.

    Raises ConfigError for control characters and ``$``.
    """
    text = _printable(str(value), "an nginx parameter")
    if "$" in text:
        raise ConfigError(f"an nginx parameter can't hold '$': {_shown(text)}")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
