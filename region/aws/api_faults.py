"""What can go wrong with calls of the API, on demand: which calls a plan strikes, how, how often and for how long.

Words and decisions; `region.aws.server` carries them out. Of several plans the delays add up, and the first one that
isn't a delay decides what becomes of the call.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

from region.aws.protocol import Call, Failure
from region.errors import RegionError

Kind = Literal["latency", "throttle", "error", "lost", "refuse"]


@dataclass(frozen=True)
class ApiFault:
    """One plan. In JSON, `lasts` is called `for`.

    - `calls`: which, by service and action as IAM names them: `ec2:RunInstances`, `ssm:*`, `*`; case is ignored.
    - `principal`: whose: an instance's id, a role's name, `admin`, an ARN; `*` in it is any text.
    - `kind`: `latency` (the answer comes `seconds` later), `throttle` (refused as the service refuses one call too
      many), `error` (`code`, `status`, `message`), `lost` (the call is applied, then the connection ends without an
      answer), `refuse` (the connection ends, and nothing is applied).
    - `rate`: the share of the calls that it strikes, from 0 to 1, drawn from `seed`.
    - `skip`: so many calls are let through first; `count`: it strikes so many and no more; `lasts`: seconds.
    """

    kind: Kind
    calls: str = "*"
    principal: str = "*"
    seconds: float = 0.0
    code: str = "InternalError"
    status: int = 500
    message: str = "An internal error has occurred"
    rate: float = 1.0
    skip: int = 0
    count: int | None = None
    lasts: float | None = None
    seed: int = 0

    def matches(self, call: str, names: frozenset[str]) -> bool:
        """`call` is `service:Action`, `names` all that its caller is known by."""
        return fnmatchcase(call.lower(), self.calls.lower()) and (
            self.principal == "*" or any(fnmatchcase(name, self.principal) for name in names)
        )

    def to_json(self) -> dict[str, Any]:
        """What was said of it: without what is as it is anyway."""
        every = {one.name: getattr(self, one.name) for one in fields(self) if getattr(self, one.name) != one.default}
        return {("for" if name == "lasts" else name): value for name, value in every.items()}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> ApiFault:
        """Raises RegionError, which says what of it makes no sense."""
        known = {("for" if one.name == "lasts" else one.name): one for one in fields(cls)}
        values: dict[str, Any] = {}
        for name, value in said.items():
            if name not in known:
                raise RegionError(f"a fault has no {name!r}", where="fault", hint=f"it has {', '.join(known)}")
            values[known[name].name] = _read(name, value)
        if "kind" not in values:
            raise RegionError("it has no kind", where="fault", hint=f"one of {', '.join(get_args(Kind))}")
        return cls(**values)


_TEXTS = frozenset({"calls", "principal", "code", "message"})
_NUMBERS: Mapping[str, tuple[float, float]] = {
    "seconds": (0, 3600),
    "rate": (0, 1),
    "for": (0, float("inf")),
    "skip": (0, float("inf")),
    "count": (0, float("inf")),
    "status": (400, 599),
    "seed": (float("-inf"), float("inf")),
}
_WHOLE = frozenset({"skip", "count", "status", "seed"})


def _read(name: str, value: object) -> object:
    if name == "kind":
        if value not in get_args(Kind):
            raise RegionError(f"there is no kind {value!r}", where="fault", hint=f"one of {', '.join(get_args(Kind))}")
        return value
    if name in _TEXTS:
        if not isinstance(value, str) or not value:
            raise RegionError(f"{name} is a text, not {value!r}", where="fault")
        return value
    if value is None and name in ("count", "for"):
        return None
    low, high = _NUMBERS[name]
    whole = name in _WHOLE
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not low <= value <= high:
        raise RegionError(
            f"{name} is a {'whole ' if whole else ''}number from {low:g} to {high:g}, not {value!r}", where="fault"
        )
    return value if whole else float(value)


@dataclass(frozen=True)
class Verdict:
    """What becomes of a call: it waits for `delay` seconds, then `fault` (None: nothing, it is carried out)."""

    delay: float = 0.0
    fault: ApiFault | None = None


NOTHING = Verdict()


@dataclass
class _Plan:
    """A fault at work: what it has seen and struck so far."""

    fault: ApiFault
    since: float
    seen: int = 0
    struck: int = 0
    dice: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.fault.seed)  # noqa: S311 - a fault that can be repeated, not a secret

    def over(self, now: float) -> bool:
        fault = self.fault
        return (fault.count is not None and self.struck >= fault.count) or (
            fault.lasts is not None and now - self.since >= fault.lasts
        )

    def strikes(self, now: float) -> bool:
        """Whether it strikes a call that it matches, which is counted."""
        if self.over(now):
            return False
        self.seen += 1
        if self.seen <= self.fault.skip or self.dice.random() >= self.fault.rate:
            return False
        self.struck += 1
        return True


class ApiFaults:
    """The plans of a region, each with an id. Any thread may ask and change them. `clock` in seconds, any origin."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._plans: dict[str, _Plan] = {}
        self._made = 0

    def add(self, fault: ApiFault | Mapping[str, Any]) -> str:
        """From now on. Its id. Raises RegionError for JSON that is none."""
        fault = fault if isinstance(fault, ApiFault) else ApiFault.from_json(fault)
        with self._lock:
            self._made += 1
            fault_id = f"fault-{self._made}"
            self._plans[fault_id] = _Plan(fault, self._clock())
            return fault_id

    def clear(self, fault_id: str | None = None) -> int:
        """Ends one, or all; how many. One that is not there is no error."""
        with self._lock:
            ended = list(self._plans) if fault_id is None else [fault_id] if fault_id in self._plans else []
            for one in ended:
                del self._plans[one]
            return len(ended)

    def list(self) -> list[dict[str, Any]]:
        """Each with its `id`, how many calls it has `seen` and `struck`, and whether it is `over`; the oldest first."""
        with self._lock:
            now = self._clock()
            return [
                {
                    "id": fault_id,
                    **plan.fault.to_json(),
                    "seen": plan.seen,
                    "struck": plan.struck,
                    "over": plan.over(now),
                }
                for fault_id, plan in self._plans.items()
            ]

    def decide(self, call: str, names: frozenset[str]) -> Verdict:
        """What becomes of this call of a caller who is known by these names."""
        if not self._plans:
            return NOTHING
        with self._lock:
            delay, decided, now = 0.0, None, self._clock()
            for plan in self._plans.values():
                delays = plan.fault.kind == "latency"
                # One that comes second has not struck: its count is for calls that it changes.
                if (decided is None or delays) and plan.fault.matches(call, names) and plan.strikes(now):
                    if delays:
                        delay += plan.fault.seconds
                    else:
                        decided = plan.fault
            return Verdict(delay, decided)


def throttled(call: Call) -> Failure:
    """One call too many, as the service says it ("Common Errors" of each API reference, "Request throttling")."""
    match call.protocol:
        case "ec2":
            return Failure("RequestLimitExceeded", "Request limit exceeded.", 503)
        case "json" if call.service == "dynamodb":
            message = (
                "The level of configured provisioned throughput for the table was exceeded. "
                "Consider increasing your provisioning level with the UpdateTable API."
            )
            return Failure("ProvisionedThroughputExceededException", message)
        case "json" | "cbor":
            return Failure("ThrottlingException", "Rate exceeded")
        case "rest-json":
            return Failure("TooManyRequestsException", "Rate exceeded", 429)
        case "rest-xml" if call.service == "s3":
            return Failure("SlowDown", "Please reduce your request rate.", 503)
        case _:
            return Failure("Throttling", "Rate exceeded")


def failure_of(fault: ApiFault, call: Call) -> Failure:
    """What a call is told that a `throttle` or an `error` strikes."""
    return throttled(call) if fault.kind == "throttle" else Failure(fault.code, fault.message, fault.status)
