"""What a repo written for Heroku says about itself: its ``Procfile`` and its ``app.json``.

Pure: text in, words out. Formats: devcenter.heroku.com/articles/procfile and .../app-json-schema.
Both readers tell every mistake at once, as ``StackError`` does for the stack file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from agent.errors import Mistake, StackError

POSTGRESQL = "postgresql"
REDIS = "redis"

_ADDONS = {
    "heroku-postgresql": POSTGRESQL,
    "crunchy-postgres": POSTGRESQL,
    "elephantsql": POSTGRESQL,
    "heroku-redis": REDIS,
    "openredis": REDIS,
    "rediscloud": REDIS,
    "redisgreen": REDIS,
    "redistogo": REDIS,
    "stackhero-redis": REDIS,
    "upstash-redis": REDIS,
}

_PROCESS = re.compile(r"([A-Za-z0-9_-]+):\s*(.+)")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST_PROCESS_NAME = 63
_UNUSED_SECTIONS = ("environments", "formation", "scripts")


@dataclass(frozen=True)
class AppJson:
    """What ``app.json`` asks for.

    ``env`` holds the variables with a value; ``generated`` the names with ``"generator": "secret"``;
    ``required`` those that someone must set (Heroku's default for a variable without value);
    ``datastores`` kinds, each once; ``unknown_addons`` names of add-ons that no datastore stands for;
    ``ignored`` the sections that mean something to Heroku and nothing here.
    """

    env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    generated: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    datastores: tuple[str, ...] = ()
    unknown_addons: tuple[str, ...] = ()
    buildpacks: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def parse_procfile(text: str, *, where: str = "Procfile") -> dict[str, str]:
    """Process name to its line, in the file's order (``release`` included).

    Heroku drops a line that it can't read; here that is a ``StackError`` which names it, because a
    service that silently isn't there is worse.
    """
    processes: dict[str, str] = {}
    mistakes: list[Mistake] = []
    for number, raw in enumerate(text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n"), 1):
        line = raw.rstrip()
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, command, expected, hint = _read_process(line)
        if not expected and name in processes:
            expected, hint = f"{name} stands here a second time", "give each process one line"
        if expected:
            mistakes.append(Mistake(f"line {number}", expected, hint))
        else:
            processes[name] = command
    if mistakes:
        raise StackError(mistakes, where=where)
    return processes


def _read_process(line: str) -> tuple[str, str, str, str]:
    """``(name, command, "", "")``, or ``("", "", what was expected, hint)``."""
    match = _PROCESS.fullmatch(line)
    if match is None:
        return "", "", f"expected NAME: COMMAND, got {_short(line)}", "web: gunicorn app:app"
    name, command = match.groups()
    if any(character < " " and character != "\t" for character in command) or "\x7f" in command:
        return "", "", f"{name} has a control character in its command", "write the command in plain text, on one line"
    if len(name) > _LONGEST_PROCESS_NAME:
        return (
            "",
            "",
            f"a process name has at most {_LONGEST_PROCESS_NAME} characters",
            f"{name[:20]}: {_short(command)}",
        )
    return name, command, "", ""


def parse_app_json(text: str, *, where: str = "app.json") -> AppJson:
    """Read ``app.json``. Unknown keys are ignored; wrong types are a ``StackError``."""
    mistakes: list[Mistake] = []
    document = _load(text, where)
    env: dict[str, str] = {}
    generated: list[str] = []
    required: list[str] = []
    for name, entry in _table(document, "env", mistakes).items():
        match _read_variable(name, entry, mistakes):
            case ("value", value):
                env[name] = value
            case ("generated", _):
                generated.append(name)
            case ("required", _):
                required.append(name)
    datastores, unknown = _read_addons(document, mistakes)
    if mistakes:
        raise StackError(mistakes, where=where)
    return AppJson(
        env=MappingProxyType(env),
        generated=tuple(generated),
        required=tuple(required),
        datastores=datastores,
        unknown_addons=unknown,
        buildpacks=_read_buildpacks(document),
        ignored=tuple(name for name in _UNUSED_SECTIONS if document.get(name)),
    )


def _load(text: str, where: str) -> dict[str, object]:
    try:
        document = json.loads(text.removeprefix("\ufeff"))
    except ValueError as error:
        raise StackError([Mistake("", f"not JSON: {error}", "python3 -m json.tool app.json")], where=where) from None
    except RecursionError:
        raise StackError([Mistake("", "nested too deeply to be read")], where=where) from None
    if not isinstance(document, dict):
        raise StackError([Mistake("", "expected an object", '{"env": {}, "addons": []}')], where=where)
    return document


def _table(document: Mapping[str, object], key: str, mistakes: list[Mistake]) -> dict[str, object]:
    value = document.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        mistakes.append(Mistake(key, f"expected an object, got {_short(value)}", f'"{key}": {{}}'))
        return {}
    return value


def _read_variable(name: str, entry: object, mistakes: list[Mistake]) -> tuple[str, str]:
    """``("value", text)``, ``("generated", "")``, ``("required", "")``, or two empty strings.

    The last stands for a variable that may stay unset, and for a mistake.
    """
    path = f"env.{name}"
    if not _VARIABLE.fullmatch(name):
        mistakes.append(Mistake(path, "expected a name of letters, digits and _", '"LOG_LEVEL": {"value": "info"}'))
        return "", ""
    if not isinstance(entry, dict):
        return _read_value(path, entry, mistakes)
    if entry.get("value") is not None:
        return _read_value(f"{path}.value", entry["value"], mistakes)
    generator = entry.get("generator")
    if generator == "secret":
        return "generated", ""
    if generator is not None:
        mistakes.append(Mistake(f"{path}.generator", f'expected "secret", got {_short(generator)}'))
        return "", ""
    return ("", "") if entry.get("required") is False else ("required", "")


def _read_value(path: str, value: object, mistakes: list[Mistake]) -> tuple[str, str]:
    match value:
        case bool():
            return "value", "true" if value else "false"
        case int() | float():
            return "value", str(value)
        case str() if not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in value):
            return "value", value
    mistakes.append(Mistake(path, f"expected a string, got {_short(value)}", '"value": "info"'))
    return "", ""


def _read_addons(document: Mapping[str, object], mistakes: list[Mistake]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Datastore kinds and the names of add-ons that none stands for, each once, in the file's order."""
    entries = document.get("addons") or []
    if not isinstance(entries, list):
        mistakes.append(Mistake("addons", f"expected a list, got {_short(entries)}", '"addons": ["heroku-postgresql"]'))
        return (), ()
    kinds: dict[str, None] = {}
    unknown: dict[str, None] = {}
    for number, entry in enumerate(entries):
        plan = entry.get("plan") if isinstance(entry, dict) else entry
        if not isinstance(plan, str) or not plan:
            hint = '"heroku-postgresql"'
            mistakes.append(Mistake(f"addons[{number}]", f"expected an add-on's name, got {_short(entry)}", hint))
            continue
        addon = plan.partition(":")[0]
        if addon in _ADDONS:
            kinds[_ADDONS[addon]] = None
        else:
            unknown[addon] = None
    return tuple(kinds), tuple(unknown)


def _read_buildpacks(document: Mapping[str, object]) -> tuple[str, ...]:
    """Informative only: builds are detected from the repo's files. Odd entries are left out."""
    entries = document.get("buildpacks")
    urls = (
        [entry.get("url") if isinstance(entry, dict) else entry for entry in entries]
        if isinstance(entries, list)
        else []
    )
    return tuple(url for url in urls if isinstance(url, str))


def _short(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
