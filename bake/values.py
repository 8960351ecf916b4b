"""Parsers of single values: each takes what TOML gave, and returns the checked value or raises Refused.

Pure. Those for URLs, refs and paths are in `bake/source_values.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from agent.names import NAME_RULE, is_name
from bake.fields import Refused, expected, name_from, nearest, quoted, show

S = TypeVar("S", bound=str)

LEAST_PORT = 1024
"""Services and datastores run without privileges: the kernel lets them listen from here up."""
LEAST_MEMORY = 16 * 1024**2
LONGEST_TEXT = 64 * 1024

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SIZE = re.compile(r"(\d+)([KMGT])")
_CPU = re.compile(r"(\d+(?:\.\d+)?)(%?)")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PROCESS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}")
_VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){0,2}")
_HTTP_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]{0,1023}")
_APT_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+.](=[A-Za-z0-9][A-Za-z0-9.+:~-]*)?")
_APT_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*|\./")
_APT_URI = re.compile(r"https?://[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?(/[A-Za-z0-9._~+/%-]*)?")
_PASSWORD_IN_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s@:]*:[^/\s@]+@", re.IGNORECASE)

AGENT_VARIABLES = frozenset({"PORT", "PATH", "HOME"})
"""Variables that the agent makes for each service: a stack can't set them."""


def text(value: object) -> str:
    """Any text that is not empty and has no control characters (line breaks and tabs are fine)."""
    if not isinstance(value, str):
        example = quoted(str(value).lower() if isinstance(value, bool) else str(value))
        raise expected("text", value, example if isinstance(value, (bool, int, float)) else "")
    if not value.strip():
        raise expected("text", value)
    if len(value) > LONGEST_TEXT or _has_control_characters(value):
        raise expected("text without control characters", value)
    return value


def _has_control_characters(value: str) -> bool:
    return any((ord(c) < 32 and c not in "\n\t") or ord(c) == 127 for c in value)


def matching(pattern: re.Pattern[str], what: str, example: str) -> Callable[[object], str]:
    """A parser of text that `pattern` matches as a whole."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise expected(what, value, example)
        return value

    return parse


def name(value: object) -> str:
    if not isinstance(value, str) or not is_name(value):
        raise expected(f"a name ({NAME_RULE})", value, quoted(name_from(str(value))))
    return value


def one_of(options: Sequence[S]) -> Callable[[object], S]:
    def parse(value: object) -> S:
        for option in options:
            if value == option:
                return option
        near = nearest(value, options) if isinstance(value, str) else None
        raise expected(_either(options), value, quoted(near or options[0]))

    return parse


def existing(kind: str, known: Sequence[str]) -> Callable[[object], str]:
    """A parser of the name of something that the file describes elsewhere."""

    def parse(value: object) -> str:
        if isinstance(value, str) and value in known:
            return value
        near = nearest(value, known) if isinstance(value, str) else None
        if near is None and not known:
            raise expected(f"the name of a {kind} (there is none)", value, hint=f"[{kind}s.{name_from(str(value))}]")
        raise expected(f"the name of a {kind} ({_either(known)})", value, quoted(near or known[0]))

    return parse


def flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise expected("true or false", value, "true" if str(value).lower() in ("1", "yes", "on", "true") else "false")
    return value


def port(value: object) -> int:
    """A port from 1024 to 65535."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
        digits = re.fullmatch(r"\s*(\d{4,5})\s*", value) if isinstance(value, str) else None
        fits = digits is not None and LEAST_PORT <= int(digits[1]) <= 65535
        raise expected("a port from 1 to 65535", value, digits[1] if digits and fits else "8000")
    if value < LEAST_PORT:
        raise Refused(
            f"expected a port from {LEAST_PORT} up, got {value}: services run without privileges, "
            f"and the load balancer is what listens on {value}",
            "8000",
        )
    return value


def http_status(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 200 <= value <= 499:
        raise expected("an HTTP status from 200 to 499", value, "200")
    return value


def duration(least: float, most: float, example: str) -> Callable[[object], float]:
    """A parser of durations into seconds, both bounds included."""

    def parse(value: object) -> float:
        seconds = _seconds(value)
        if seconds is None:
            raise expected('a duration such as "500ms", "2s" or "5m"', value, quoted(example))
        if not least <= seconds <= most:
            raise expected(f"a duration from {_say(least)} to {_say(most)}", value, quoted(example))
        return seconds

    return parse


def _seconds(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return float(value) if math.isfinite(value) else None
    found = _DURATION.fullmatch(value) if isinstance(value, str) and len(value) < 32 else None
    return float(found[1]) * _UNITS[found[2]] if found else None


def _say(seconds: float) -> str:
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    if seconds % 3600 == 0 and seconds > 0:
        return f"{round(seconds / 3600)}h"
    return f"{round(seconds)}s"


def size(value: object) -> int:
    """Bytes, of "512M", "1G": K, M, G and T are powers of 1024, as in systemd."""
    found = _SIZE.fullmatch(value) if isinstance(value, str) and len(value) < 32 else None
    if found is None:
        raise expected('a size such as "512M" or "1G"', value, '"512M"')
    number = int(found[1]) * int(1024 ** (1 + "KMGT".index(found[2])))
    if not LEAST_MEMORY <= number <= 1024**5:
        raise expected("a size of at least 16M", value, '"512M"')
    return number


def cpu(value: object) -> float:
    """A number of CPUs, of "50%" (half of one), "2" or 2."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        share = float(value)
    else:
        found = _CPU.fullmatch(value) if isinstance(value, str) and len(value) < 32 else None
        if found is None:
            raise expected('CPU time such as "50%" (half of one CPU) or "2" (two CPUs)', value, '"100%"')
        share = float(found[1]) / (100 if found[2] else 1)
    if not 0.01 <= share <= 1024:
        raise expected('CPU time from "1%" up', value, '"100%"')
    return share


def variable(name: str, value: object) -> str:
    """The value of an environment variable. Raises Refused for a name or value that can't be one."""
    if not _VARIABLE.fullmatch(name):
        proper = re.sub(r"[^A-Za-z0-9_]", "_", name).lstrip("0123456789")
        raise Refused(f"expected a variable's name (letters, digits, _), got {show(name)}", hint=f'{proper} = "…"')
    if name in AGENT_VARIABLES or name.startswith("BAKEBOOT_"):
        raise Refused(f"{name} is made by the agent on each machine, and can't be set here", hint="leave it out")
    if isinstance(value, (bool, int, float)):
        raise expected("text", value, quoted(str(value).lower() if isinstance(value, bool) else str(value)))
    if not isinstance(value, str) or "\0" in value or len(value) > LONGEST_TEXT:
        raise expected("text without NUL", value, '"…"')
    if _PASSWORD_IN_URL.search(value):
        raise Refused(
            "expected no password: this file is committed, and what it says is on every image",
            hint=f"leave {name} out, and give it as config of the mode and service",
        )
    return value


def health_path(value: object) -> str:
    if not isinstance(value, str) or not _HTTP_PATH.fullmatch(value):
        raise expected('a path that starts with "/"', value, '"/healthz"')
    return value


def process(value: object) -> str:
    """The name of a Procfile line."""
    if not isinstance(value, str) or not _PROCESS.fullmatch(value):
        raise expected("the name of a line in the Procfile", value, '"web"')
    if value == "release":
        raise Refused('"release" runs once before the services start, and is no service', hint="leave this service out")
    return value


def apt_package(value: object) -> str:
    """A Debian package, or `package=version`. A trailing hyphen, which tells apt to remove it, is refused."""
    return matching(_APT_PACKAGE, "the name of a Debian package", '"libpq-dev"')(value)


def apt_uri(value: object) -> str:
    if isinstance(value, str) and "@" in value:
        raise Refused(f"expected an address without a user, got {show(value)}", '"https://apt.example.org/debian"')
    return matching(_APT_URI, "an https:// address", '"https://apt.example.org/debian"')(value)


def apt_word(value: object) -> str:
    """A suite or a component."""
    return matching(_APT_WORD, "a suite or component, as in an apt source", '"bookworm"')(value)


def version(value: object) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise expected("a version as text", value, f'"{value}"')
    return matching(_VERSION, "a version such as 15 or 7.2", '"15"')(value)


def _either(options: Sequence[str]) -> str:
    shown = [quoted(option) for option in options[:8]] + (["…"] if len(options) > 8 else [])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"
