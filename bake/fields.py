"""The checked-field reader: takes keys out of a parsed TOML table, and remembers every mistake.

A reader asks each table for the keys that it knows (`take`, `need`, `items`, …). What a parser refuses becomes a
Mistake with the value's path, and reading goes on with a stand-in, so that one run tells all mistakes. What nobody
asked for is an unknown key, told by `close` with the nearest known one.

    report = Report()
    root = Fields(document, report)
    service = root.table("service")
    port = service.take("port", parse_port, None)
    root.close()
    report.mistakes   # [Mistake("service.port", 'expected a port from 1 to 65535, got "80a"', "port = 8000")]
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

from agent.errors import Mistake
from agent.names import NAME_RULE, is_name

T = TypeVar("T")
D = TypeVar("D")

LONGEST_SHOWN = 60
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_USER_IN_URL = re.compile(r"//[^/\s@]*@")


class Refused(Exception):
    """A parser's no: what is wrong, and what to write (`example` is a TOML value, `hint` a whole line instead)."""

    def __init__(self, what: str, example: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.example = example
        self.hint = hint


def expected(what: str, value: object, example: str = "", hint: str = "") -> Refused:
    return Refused(f"expected {what}, got {show(value)}", example, hint)


def quoted(text: str) -> str:
    """`text` as a TOML string on one line: quotes, control and invisible characters escaped."""
    return f'"{escaped(text)}"'


def escaped(text: str) -> str:
    """`text` as it stands in `quoted`, without the quotes around it."""
    as_json = json.dumps(text, ensure_ascii=False)[1:-1]
    return "".join(c if c.isprintable() else _escape(c) for c in as_json)


def without_user(text: str) -> str:
    """`text`, and of each URL in it *** in place of user and password."""
    return _USER_IN_URL.sub("//***@", text)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"


def show(value: object) -> str:
    """A value from a file, safe to print: escaped, cut at 60 characters, and without the user part of a URL."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            text = without_user(value)
            return quoted(text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…")
        case int() | float():
            return str(value)[:LONGEST_SHOWN]
        case list():
            return "a list" if value else "an empty list"
        case Mapping():
            return "a table"
        case _:
            return f"a {type(value).__name__}"


def nearest(word: str, known: Collection[str]) -> str | None:
    """The known word that `word` was probably meant to be."""
    close = difflib.get_close_matches(word.lower(), sorted(known), n=1, cutoff=0.6)
    return close[0] if close else None


def name_from(text: str) -> str:
    """The valid name (of a stack, service, …) that comes closest to `text`; "x" if nothing of it can stay."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).lstrip("-0123456789")[:24].rstrip("-")
    return name or "x"


class Report:
    """What one reading found: the mistakes, and the paths of all keys that were asked for (names as `*`)."""

    def __init__(self) -> None:
        self.mistakes: list[Mistake] = []
        self.known: set[str] = set()


class Fields:
    """One table of the file. Reads each key at most once; see the module's text."""

    def __init__(self, raw: Mapping[str, object], report: Report, path: str = "", pattern: str = "") -> None:
        self.path = path
        self.refused = False
        """Whether the file has something else in this place: nothing more needs to be told about it."""
        self._raw = raw
        self._report = report
        self._pattern = pattern
        self._asked: set[str] = set()
        self._below: list[Fields] = []

    def has(self, key: str) -> bool:
        return key in self._raw

    def take(self, key: str, parse: Callable[[object], T], default: D) -> T | D:
        """The parsed value, or `default` when the key is absent or its value refused."""
        self._ask(key)
        if key not in self._raw:
            return default
        try:
            return parse(self._raw[key])
        except Refused as refused:
            self.refuse(key, refused.what, self._hint(key, refused))
            return default

    def need(self, key: str, parse: Callable[[object], T], stand_in: T, *, what: str, example: str) -> T:
        """As `take`, for a key that must be there."""
        if key not in self._raw:
            self._ask(key)
            if not self.refused:
                self.refuse(key, f"expected {what}, got nothing", f"{key} = {example}")
            return stand_in
        return self.take(key, parse, stand_in)

    def items(self, key: str, parse: Callable[[object], str], *, example: str) -> tuple[str, ...]:
        """A list of different texts; each refused item is a mistake of its own."""
        self._ask(key)
        raw = self._raw.get(key, [])
        if not isinstance(raw, list):
            self.refuse(key, f"expected a list, got {show(raw)}", f"{key} = [{example}]")
            return ()
        found: list[str] = []
        for index, value in enumerate(raw):
            try:
                item = parse(value)
            except Refused as refused:
                self.refuse(f"{key}[{index}]", refused.what, refused.hint or f"{key} = [{refused.example or example}]")
                continue
            if item in found:
                self.refuse(f"{key}[{index}]", f"{show(item)} stands twice", "name it once")
            else:
                found.append(item)
        return tuple(found)

    def entries(self, key: str, parse: Callable[[str, object], T]) -> dict[str, T]:
        """A table of free keys, such as variables; each refused one is a mistake of its own."""
        self._ask(key)
        raw = self._raw.get(key, {})
        if not isinstance(raw, Mapping):
            self.refuse(key, f"expected a table, got {show(raw)}", f'{key} = {{ NAME = "value" }}')
            return {}
        found: dict[str, T] = {}
        for name, value in raw.items():
            try:
                found[name] = parse(name, value)
            except Refused as refused:
                place = f"{key}.{_key(name)}"
                self.refuse(place, refused.what, self._hint(_key(name), refused))
        return found

    def table(self, key: str) -> Fields:
        """The table below `key`; an empty one when it is absent or no table."""
        self._ask(key, is_table=True)
        raw = self._raw.get(key, {})
        return self._child(key, raw, key, f"{key} = {{ … }}" if self.path else f"[{key}]")

    def tables(self, key: str) -> dict[str, Fields]:
        """The tables `[key.NAME]`, by name, in the order of the file. Their names are checked."""
        self._ask(key, is_table=True)
        raw = self._raw.get(key, {})
        heading = self._place(key)
        if not isinstance(raw, Mapping):
            self.refuse(key, f"expected tables, got {show(raw)}", f"[{heading}.NAME]")
            return {}
        found: dict[str, Fields] = {}
        for name, value in raw.items():
            place = f"{key}.{_key(name)}"
            if not is_name(name):
                self.refuse(place, f"expected a name ({NAME_RULE}), got {show(name)}", f"[{heading}.{name_from(name)}]")
            found[name] = self._child(place, value, f"{key}.*", f"[{heading}.{name_from(name)}]")
        return found

    def refuse(self, key: str, what: str, hint: str = "") -> None:
        """Notes a mistake about the value at `key` ("" for this table itself)."""
        self._report.mistakes.append(Mistake(self._place(key), what, hint))

    def close(self) -> None:
        """Tells all unknown keys, of this table and those below it."""
        for key in self._raw:
            if key not in self._asked:
                absent = [known for known in self._asked if known not in self._raw]
                near = nearest(key, absent) or nearest(key, self._asked)
                self.refuse(_key(key), "unknown key", near or f"one of: {', '.join(sorted(self._asked))}")
        for below in self._below:
            below.close()

    def _ask(self, key: str, *, is_table: bool = False) -> None:
        self._asked.add(key)
        if not is_table:
            self._report.known.add(f"{self._pattern}.{key}" if self._pattern else key)

    def _place(self, key: str) -> str:
        return ".".join(part for part in (self.path, key) if part)

    def _child(self, key: str, raw: object, pattern: str, hint: str) -> Fields:
        whole_pattern = f"{self._pattern}.{pattern}" if self._pattern else pattern
        child = Fields(raw if isinstance(raw, Mapping) else {}, self._report, self._place(key), whole_pattern)
        if not isinstance(raw, Mapping):
            self.refuse(key, f"expected a table, got {show(raw)}", hint)
            child.refused = True
        self._below.append(child)
        return child

    @staticmethod
    def _hint(key: str, refused: Refused) -> str:
        return refused.hint or (f"{key} = {refused.example}" if refused.example else "")


def _key(name: str) -> str:
    """A key as it stands in a path: bare when TOML allows it, else quoted, and safe to print."""
    return name if _BARE_KEY.fullmatch(name) and len(name) <= LONGEST_SHOWN else show(name)
