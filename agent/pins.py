"""Which Python and which Node a repo asks for, read from the files that its tools read.

Pure. A pin is met by any patch of its major.minor for Python and by any release of its major for
Node, and a message says so. Ranges are tried against the base's own version first; otherwise the
nearest newer version that fits is asked for, else the newest older one.

Sources: devcenter.heroku.com/articles/python-runtimes and .../nodejs-support, peps.python.org/pep-0440,
docs.npmjs.com/cli/v9/configuring-npm/package-json#engines and github.com/npm/node-semver#ranges.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from agent.errors import BuildError

Version = tuple[int, int, int]
Test = Callable[[Version], bool]

PYTHON_MINORS = range(6, 31)
"""Minor versions of Python 3 that a range is tried with."""

NODE_MAJORS = range(4, 61)
"""Major versions of Node that a range is tried with."""

_MOST = 10**6
_LTS = {
    "argon": 4, "boron": 6, "carbon": 8, "dubnium": 10, "erbium": 12, "fermium": 14,
    "gallium": 16, "hydrogen": 18, "iron": 20, "jod": 22, "krypton": 24,
}  # fmt: skip
_ANY_NODE = ("node", "stable", "current", "latest", "lts/*", "lts", "*", "")
_NUMBERS = re.compile(r"v?(\d{1,6})(?:\.(\d{1,6}|[xX*]))?(?:\.(\d{1,6}|[xX*]))?(?:[-+][0-9A-Za-z.+-]*)?")


@dataclass(frozen=True)
class Pin:
    """A runtime that is wanted (``None``: the base's), and what to tell the user about it."""

    wanted: str | None
    messages: tuple[str, ...] = ()


def python_pin(version_file: tuple[str, str] | None, requires: str | None, *, base: str) -> Pin:
    """The Python that is wanted, as ``"3.12"``, or None where the base's does.

    ``version_file`` is the name and text of ``runtime.txt`` or ``.python-version``; ``requires`` is
    ``requires-python`` of ``pyproject.toml``; ``base`` the base's version (``"3.11"`` or ``"3.11.2"``).
    Raises ``BuildError`` for what can't be read and for a range that no Python 3 is in.
    """
    if version_file is not None:
        where, text = version_file
        found = _read_python_file(where, text)
        if found is not None:
            minor, exact = found
            said = (f"{where} asks for Python {exact}: met by any {minor}",) if exact != minor else ()
            return Pin(None if minor == _first(base, 2) else minor, said)
    if requires is None or not requires.strip():
        return Pin(None)
    test = _python_range(requires)
    own = _version(base)
    if _any_patch(test, own[0], own[1]):
        return Pin(None)
    fitting = [minor for minor in PYTHON_MINORS if _any_patch(test, 3, minor)]
    newer = [minor for minor in fitting if minor > own[1]]
    if fitting:
        taken = f"3.{min(newer) if newer else max(fitting)}"
        return Pin(taken, (f"pyproject.toml asks for Python {requires}: taking {taken}",))
    raise BuildError(
        f"no Python 3 meets requires-python = {requires!r}",
        where="pyproject.toml",
        hint=f'requires-python = ">={_first(base, 2)}"',
    )


def node_pin(engines: str | None, version_file: tuple[str, str] | None, *, base: str) -> Pin:
    """The Node major that is wanted, as ``"20"``, or None where the base's does.

    ``engines`` is ``engines.node`` of ``package.json``, which Heroku goes by; ``version_file`` the name
    and text of ``.nvmrc`` or ``.node-version``, which says which release within that range.
    """
    own = _version(base)
    test = _node_range(engines) if engines is not None and engines.strip() else _always
    if version_file is not None:
        where, text = version_file
        major = _read_node_file(where, text)
        if major is not None and _any_release(test, engines or "", major):
            said = (
                ()
                if text.strip().removeprefix("v") == str(major)
                else (f"{where} asks for Node {text.strip()}: met by any {major}",)
            )
            return Pin(None if major == own[0] else str(major), said)
        if major is not None:
            return _with_message(
                _node_from_range(engines or "", test, own),
                f"{where} says Node {text.strip()}, package.json says {engines}: package.json counts",
            )
    return _node_from_range(engines or "", test, own)


def _node_from_range(engines: str, test: Test, own: Version) -> Pin:
    if _any_release(test, engines, own[0]):
        exact = own[1:] == (0, 0) or test(own)
        return Pin(None, () if exact else (f"package.json asks for Node {engines}: met by any {own[0]}",))
    fitting = [major for major in NODE_MAJORS if _any_release(test, engines, major)]
    if not fitting:
        raise BuildError(
            f"no Node meets engines.node = {engines!r}",
            where="package.json",
            hint=f'"engines": {{"node": "{own[0]}.x"}}',
        )
    newer = [major for major in fitting if major > own[0]]
    even = [major for major in newer or fitting if major % 2 == 0]
    # Even majors are the ones with long-term support; upwards, the nearest; downwards, the newest.
    taken = min(even or newer) if newer else max(even or fitting)
    return Pin(str(taken), (f"package.json asks for Node {engines}: met by any {taken}",))


def _with_message(pin: Pin, message: str) -> Pin:
    return Pin(pin.wanted, (message, *pin.messages))


def _read_python_file(where: str, text: str) -> tuple[str, str] | None:
    """``("3.11", "3.11.4")`` from ``python-3.11.4`` or ``3.11.4``; None when it names nothing."""
    lines = [line.partition("#")[0].strip() for line in text.removeprefix("\ufeff").splitlines()]
    for line in filter(None, lines):
        match = re.fullmatch(r"(?:python-|cpython-)?(3\.(\d{1,2}))(\.\d{1,3})?", line)
        if match is None:
            raise BuildError(f"expected a version of Python 3, got {line[:60]!r}", where=where, hint="3.11")
        return match[1], match[1] + (match[3] or "")
    return None


def _read_node_file(where: str, text: str) -> int | None:
    """The major that ``.nvmrc`` names; None for ``lts/*``, ``node`` and an empty file, which any meets."""
    lines = [line.partition("#")[0].strip() for line in text.removeprefix("\ufeff").splitlines()]
    word = next(filter(None, lines), "").lower()
    if word in _ANY_NODE:
        return None
    if word.startswith("lts/") and word[4:] in _LTS:
        return _LTS[word[4:]]
    match = _NUMBERS.fullmatch(word)
    if match is None:
        raise BuildError(f"expected a version of Node, got {word[:60]!r}", where=where, hint="20")
    return int(match[1])


# Python: PEP 440 version specifiers, at the grain of releases


def _python_range(text: str) -> Test:
    return _all([_python_clause(clause.strip(), text) for clause in text.split(",") if clause.strip()])


def _python_clause(clause: str, whole: str) -> Test:
    match = re.fullmatch(
        r"(===|~=|==|!=|<=|>=|<|>)\s*v?(\d{1,4}(?:\.\d{1,6}){0,2})(\.\*)?(?:\.?(?:a|b|rc|dev|post)\d*)*", clause
    )
    if match is None or (match[3] and match[1] not in ("==", "!=")):
        raise BuildError(
            f"requires-python can't be read: {whole!r}", where="pyproject.toml", hint='requires-python = ">=3.11"'
        )
    operator, numbers, star = match[1], match[2], match[3]
    bound = _version(numbers)
    parts = numbers.count(".") + 1
    match operator:
        case "~=":
            return _between(bound, _bump(bound, max(parts - 1, 1)))
        case "==" | "===":
            return _between(bound, _bump(bound, parts if star else 3))
        case "!=":
            return _not(_between(bound, _bump(bound, parts if star else 3)))
    return _compare(operator, bound)


def _any_patch(test: Test, major: int, minor: int) -> bool:
    return any(test((major, minor, patch)) for patch in (*range(64), _MOST))


# Node: semver ranges as npm reads them, at the grain of releases


def _node_range(text: str) -> Test:
    return _some([_node_alternative(alternative.strip(), text) for alternative in text.split("||")])


def _node_alternative(text: str, whole: str) -> Test:
    hyphen = re.fullmatch(r"(\S+)\s+-\s+(\S+)", text)
    if hyphen:
        low, _ = _node_bounds(hyphen[1], whole)
        _, high = _node_bounds(hyphen[2], whole)
        return _between(low, high)
    clauses = re.findall(r"(?:<=|>=|<|>|=|\^|~>|~)?\s*[^\s<>=^~]+", text)
    if "".join(clauses).replace(" ", "") != text.replace(" ", ""):
        raise _unreadable_engines(whole)
    return _all([_node_clause(clause, whole) for clause in clauses])


def _node_clause(clause: str, whole: str) -> Test:
    match = re.fullmatch(r"(<=|>=|<|>|=|\^|~>|~)?\s*(\S+)", clause.strip())
    if match is None:
        raise _unreadable_engines(whole)
    operator, word = match[1] or "=", match[2]
    if word.lower() in (*_ANY_NODE, "x"):
        return _always
    low, high = _node_bounds(word, whole)
    match operator:
        case ">=":
            return _compare(">=", low)
        case ">":
            return _compare(">=", high)
        case "<":
            return _compare("<", low)
        case "<=":
            return _compare("<", high)
        case "^":
            return _between(low, _bump(low, 1) if low[0] else high)
        case "~" | "~>":
            return _between(low, _bump(low, 1 if high == _bump(low, 1) else 2))
    return _between(low, high)


def _node_bounds(word: str, whole: str) -> tuple[Version, Version]:
    """The first version that ``word`` covers and the first after it: ``"20.1"`` gives 20.1.0 and 20.2.0."""
    match = _NUMBERS.fullmatch(word)
    if match is None:
        raise _unreadable_engines(whole)
    numbers: list[int] = []
    for part in match.groups():
        if part is None or not part.isdigit():
            break
        numbers.append(int(part))
    low = _pad(numbers)
    return low, _bump(low, len(numbers))


def _any_release(test: Test, text: str, major: int) -> bool:
    """Whether any release of ``major`` passes: tried at its ends and at every number the range itself names."""
    named = [
        _pad([int(part) for part in match.groups() if part and part.isdigit()]) for match in _NUMBERS.finditer(text)
    ]
    near = [version for bound in named for version in (bound, _bump(bound, 3), _bump(bound, 2))]
    tried = [(major, 0, 0), (major, _MOST, _MOST), *(version for version in near if version[0] == major)]
    return any(test(version) for version in tried)


def _unreadable_engines(text: str) -> BuildError:
    return BuildError(
        f"engines.node can't be read: {text[:80]!r}", where="package.json", hint='"engines": {"node": "20.x"}'
    )


# Small parts of both


def _version(text: str) -> Version:
    return _pad([int(part) for part in re.findall(r"\d+", text)[:3]])


def _pad(numbers: list[int]) -> Version:
    major, minor, patch = (*numbers, 0, 0, 0)[:3]
    return major, minor, patch


def _first(text: str, count: int) -> str:
    return ".".join(text.split(".")[:count])


def _bump(version: Version, parts: int) -> Version:
    """The first version that differs in one of the first ``parts`` numbers."""
    return _pad([*version[: parts - 1], version[parts - 1] + 1])


def _always(version: Version) -> bool:
    return True


def _between(low: Version, high: Version) -> Test:
    return lambda version: low <= version < high


def _compare(operator: str, bound: Version) -> Test:
    match operator:
        case "<":
            return lambda version: version < bound
        case "<=":
            return lambda version: version <= bound
        case ">":
            return lambda version: version > bound
    return lambda version: version >= bound


def _not(test: Test) -> Test:
    return lambda version: not test(version)


def _all(tests: Iterable[Test]) -> Test:
    kept = tuple(tests)
    return lambda version: all(test(version) for test in kept)


def _some(tests: Iterable[Test]) -> Test:
    kept = tuple(tests)
    return lambda version: any(test(version) for test in kept)
