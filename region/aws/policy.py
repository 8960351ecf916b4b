"""IAM policies: whether documents allow one action on one resource. Pure.

"Policy evaluation logic", "IAM JSON policy elements" (Action, Resource, Condition operators, Variables and tags) and
"Creating a condition with multiple keys or values" of the IAM User Guide are what it follows. A condition operator that
isn't known (`IpAddress`, `BinaryEquals`) is never met.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal

Context = Callable[[str], Sequence[str] | None]
"""The values of a condition key of a request, named in lower case; None where the request doesn't have it."""

Effect = Literal["allow", "deny", "none"]


@dataclass(frozen=True)
class Request:
    """One action on one resource. `resource` is an ARN; `*` for an action that has none; None where it isn't known.

    Of an unknown one no statement's Resource is asked: each is taken to mean it, but for a Deny of something narrower
    than `*`.
    """

    action: str
    resource: str | None = "*"
    context: Context = lambda key: None


@dataclass(frozen=True)
class Refusal:
    """Why not: `because` is the end of the sentence that AWS says."""

    request: Request
    because: str

    def sentence(self, arn: str) -> str:
        """As "Troubleshoot access denied error messages" has it."""
        resource = f" on resource: {self.request.resource}" if self.request.resource not in ("*", None) else ""
        return f"User: {arn} is not authorized to perform: {self.request.action}{resource} {self.because}"


@dataclass(frozen=True)
class Policies:
    """All documents that have a say about a session: its role's, the role's boundary, those of AssumeRole.

    `boundary` and `session` None: there is none. Where there is one, what it doesn't allow is not allowed.
    """

    identity: Sequence[str]
    boundary: Sequence[str] | None = None
    session: Sequence[str] | None = None

    def refusal(self, request: Request) -> Refusal | None:
        """None: it is allowed. An explicit deny of any document wins over every allow."""
        kinds = (
            ("identity-based policy", self.identity),
            ("permissions boundary", self.boundary),
            ("session policy", self.session),
        )
        effects = [(kind, effect(documents, request)) for kind, documents in kinds if documents is not None]
        for kind, decided in effects:
            if decided == "deny":
                return Refusal(request, f"with an explicit deny in {'an' if kind[0] in 'aeiou' else 'a'} {kind}")
        for kind, decided in effects:
            if decided == "none":
                return Refusal(request, f"because no {kind} allows the {request.action} action")
        return None


def effect(documents: Sequence[str], request: Request) -> Effect:
    found = {statement["Effect"] for document in documents for statement in _meant(document, request)}
    return "deny" if "Deny" in found else "allow" if "Allow" in found else "none"


def trusts(document: str, principals: Sequence[str], request: Request) -> bool:
    """Whether a role's trust policy lets one who is known by any of these (ARNs, account, service) do this with it."""
    found = {
        statement["Effect"] for statement in _meant(document, request, trust=True) if _names(statement, principals)
    }
    return "Allow" in found and "Deny" not in found


def _meant(document: str, request: Request, *, trust: bool = False) -> Iterator[Mapping[str, Any]]:
    """The statements of a document that speak of this request. One that makes no sense speaks of nothing."""
    for statement, variables in _statements(document):
        if statement.get("Effect") not in ("Allow", "Deny"):
            continue
        if (
            _acts(statement, request.action)
            and (trust or _covers(statement, request, variables))
            and _holds(statement.get("Condition") or {}, request.context, variables)
        ):
            yield statement


@lru_cache(maxsize=256)
def _statements(document: str) -> tuple[tuple[Mapping[str, Any], bool], ...]:
    """Each statement, and whether `${...}` in it is a variable: it is from version 2012-10-17 on."""
    try:
        read = json.loads(document)
    except ValueError:
        return ()
    variables = read.get("Version") == "2012-10-17"
    return tuple((one, variables) for one in _listed(read.get("Statement")) if isinstance(one, dict))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _acts(statement: Mapping[str, Any], action: str) -> bool:
    if "NotAction" in statement:
        return not any(_fits(pattern, action, False, fold=True) for pattern in _listed(statement["NotAction"]))
    return any(_fits(pattern, action, False, fold=True) for pattern in _listed(statement.get("Action")))


def _covers(statement: Mapping[str, Any], request: Request, variables: bool) -> bool:
    except_for = "NotResource" in statement
    patterns = [str(one) for one in _listed(statement.get("NotResource" if except_for else "Resource"))]
    if request.resource is None:
        return statement["Effect"] == "Allow" or (not except_for and "*" in patterns)
    context = request.context if variables else None
    return any(_like(pattern, request.resource, context) for pattern in patterns) is not except_for


def _names(statement: Mapping[str, Any], principals: Sequence[str]) -> bool:
    principal = statement.get("Principal")
    if principal == "*":
        return True
    if not isinstance(principal, dict):
        return False
    named = [str(one) for kind in principal.values() for one in _listed(kind)]
    return any(one == "*" or one in principals for one in named)


# Patterns. `*` is any text, `?` any one character; a variable's value stands for itself, whatever is in it.

_VARIABLE = re.compile(r"\$\{([^}]*)\}")


def _like(pattern: str, text: str, context: Context | None, *, fold: bool = False) -> bool:
    """Whether the text fits the pattern; with a context its variables are filled in first, and one without a value
    makes the pattern fit nothing."""
    if context is None or "${" not in pattern:
        return _fits(pattern, text, False, fold=fold)
    filled = _filled(pattern, context)
    return filled is not None and _fits(filled, text, True, fold=fold)


def _filled(pattern: str, context: Context) -> str | None:
    """As a regular expression's text; None where a variable has no value."""
    parts, end = [], 0
    for found in _VARIABLE.finditer(pattern):
        parts.append(_expression(pattern[end : found.start()]))
        value = _value(found[1], context)
        if value is None:
            return None
        parts.append(re.escape(value))
        end = found.end()
    return "".join((*parts, _expression(pattern[end:])))


def _value(variable: str, context: Context) -> str | None:
    """Of `aws:userid`, of `aws:PrincipalTag/team, 'none'` with what it is else, or of a `*`, `?`, `$` as such."""
    if variable in ("*", "?", "$"):
        return variable
    name, _, otherwise = variable.partition(",")
    values = context(name.strip().lower())
    if values:
        return values[0]
    otherwise = otherwise.strip()
    return otherwise[1:-1] if len(otherwise) >= 2 and otherwise[0] == otherwise[-1] == "'" else None


@lru_cache(maxsize=4096)
def _expression(pattern: str) -> str:
    return "".join(".*" if one == "*" else "." if one == "?" else re.escape(one) for one in pattern)


@lru_cache(maxsize=4096)
def _fits(pattern: str, text: str, expression: bool, *, fold: bool) -> bool:
    flags = re.DOTALL | (re.IGNORECASE if fold else 0)
    return re.fullmatch(pattern if expression else _expression(pattern), text, flags) is not None


# Conditions.


def _holds(condition: Mapping[str, Any], context: Context, variables: bool) -> bool:
    """Whether every operator holds for each of its keys."""
    return all(
        _met(
            operator, [str(_text(one)) for one in _listed(wanted)], context(key.lower()), context if variables else None
        )
        for operator, keys in condition.items()
        for key, wanted in keys.items()
    )


def _text(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def _met(operator: str, wanted: Sequence[str], values: Sequence[str] | None, context: Context | None) -> bool:
    """One operator on one key. Of several wanted values any will do; of those that are negated none may."""
    quantifier, _, name = operator.rpartition(":")
    name, if_exists = (name[: -len("IfExists")], True) if name.endswith("IfExists") else (name, False)
    if name == "Null":
        return any((one.lower() == "true") is (values is None) for one in wanted)
    negated = "Not" in name
    test = _TESTS.get(name.replace("Not", ""))
    if test is None:
        return False
    if values is None:
        return if_exists or (quantifier == "ForAllValues") or (negated and not quantifier)
    each = [any(test(one, value, context) for one in wanted) is not negated for value in values]
    return any(each) if quantifier == "ForAnyValue" else all(each)


def _string(wanted: str, value: str, context: Context | None, *, fold: bool = False) -> bool:
    """Equal, with nothing but variables filled in: `*` is a star."""
    if context is not None and "${" in wanted:
        filled = [_value(found[1], context) for found in _VARIABLE.finditer(wanted)]
        if None in filled:
            return False
        rest = iter(filled)
        wanted = _VARIABLE.sub(lambda found: str(next(rest)), wanted)
    return wanted.lower() == value.lower() if fold else wanted == value


def _arn(wanted: str, value: str, context: Context | None) -> bool:
    """Each of an ARN's six parts by itself."""
    parts, told = _arn_parts(wanted), value.split(":", 5)
    return len(parts) == len(told) == 6 and all(_like(*pair, context) for pair in zip(parts, told, strict=True))


def _arn_parts(text: str) -> list[str]:
    """Split at colons, but for those within a variable's name."""
    return re.split(r":(?![^{}]*\})", text, maxsplit=5)


def _number(compare: Callable[[float, float], bool]) -> Callable[[str, str, Context | None], bool]:
    def test(wanted: str, value: str, context: Context | None) -> bool:
        try:
            return compare(float(value), float(wanted))
        except ValueError:
            return False

    return test


def _date(compare: Callable[[float, float], bool]) -> Callable[[str, str, Context | None], bool]:
    def test(wanted: str, value: str, context: Context | None) -> bool:
        try:
            return compare(_moment(value), _moment(wanted))
        except ValueError:
            return False

    return test


def _moment(text: str) -> float:
    """ISO 8601, or seconds since 1970. Raises ValueError."""
    if re.fullmatch(r"[0-9.]+", text):
        return float(text)
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "Equals": lambda value, wanted: value == wanted,
    "LessThan": lambda value, wanted: value < wanted,
    "LessThanEquals": lambda value, wanted: value <= wanted,
    "GreaterThan": lambda value, wanted: value > wanted,
    "GreaterThanEquals": lambda value, wanted: value >= wanted,
}
# "ArnEquals" and "ArnLike" do the same, says the guide.
_TESTS: Mapping[str, Callable[[str, str, Context | None], bool]] = {
    "StringEquals": _string,
    "StringEqualsIgnoreCase": lambda wanted, value, context: _string(wanted, value, context, fold=True),
    "StringLike": _like,
    "ArnEquals": _arn,
    "ArnLike": _arn,
    "Bool": lambda wanted, value, context: wanted.lower() == value.lower(),
    **{f"Numeric{name}": _number(compare) for name, compare in _COMPARISONS.items()},
    **{f"Date{name}": _date(compare) for name, compare in _COMPARISONS.items()},
}
