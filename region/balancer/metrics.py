"""A load balancer's metrics, minute by minute, as CloudWatch shows them.

AWS: "CloudWatch metrics for your Application Load Balancer". A minute's values are kept as a histogram, so that any
percentile is exact to the millisecond in which HAProxy tells times, and an hour of load costs no more than a minute's.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from region.balancer.access import Access

NAMESPACE = "AWS/ApplicationELB"
MINUTE = 60
KEEP = 3 * 3600  # seconds: what is older than that nobody rehearses with

Dimensions = tuple[tuple[str, str], ...]
Key = tuple[str, Dimensions]


@dataclass(frozen=True)
class Series:
    """The values of one metric in one minute: `counts` says how often each was seen. `minute` is its first second."""

    metric: str
    dimensions: Dimensions
    unit: str
    minute: int
    counts: Mapping[float, int]


_UNITS = {"TargetResponseTime": "Seconds"}


def samples_of(access: Access) -> Iterator[tuple[str, Dimensions, float]]:
    """What one request adds: metric, dimensions and value."""
    balancer = (("LoadBalancer", access.balancer),)
    both = (*balancer, ("TargetGroup", access.group))
    family = f"{access.status // 100}XX"
    everywhere = [balancer, both] if access.group else [balancer]
    if access.target:  # AWS: only requests for which a target was chosen
        yield from (("RequestCount", each, 1) for each in everywhere)
        if access.unconnected:
            yield from (("TargetConnectionErrorCount", each, 1) for each in everywhere)
    if access.by_target:
        yield from ((f"HTTPCode_Target_{family}_Count", each, 1) for each in everywhere)
        if access.seconds is not None:
            yield from (("TargetResponseTime", each, access.seconds) for each in everywhere)
    elif access.kind == "fixed":
        yield "HTTP_Fixed_Response_Count", balancer, 1
    elif access.kind == "redirect":
        yield "HTTP_Redirect_Count", balancer, 1
        yield f"HTTPCode_ELB_{family}_Count", balancer, 1
    else:
        yield f"HTTPCode_ELB_{family}_Count", balancer, 1
        if access.status in (500, 502, 503, 504):
            yield f"HTTPCode_ELB_{access.status}_Count", balancer, 1


class Metrics:
    """Takes samples from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._minutes: dict[int, dict[Key, Counter[float]]] = {}

    def take(self, accesses: Iterable[Access], now: float) -> None:
        for access in accesses:
            for metric, dimensions, value in samples_of(access):
                self.add(metric, dimensions, value, now)

    def hosts(self, balancer: str, group: str, healthy: int, unhealthy: int, now: float) -> None:
        """How many targets of a group are healthy and how many are not, as seen now."""
        dimensions = (("LoadBalancer", balancer), ("TargetGroup", group))
        self.add("HealthyHostCount", dimensions, healthy, now)
        self.add("UnHealthyHostCount", dimensions, unhealthy, now)

    def add(self, metric: str, dimensions: Dimensions, value: float, now: float) -> None:
        minute = int(now) // MINUTE * MINUTE
        with self._lock:
            if minute not in self._minutes:
                self._minutes[minute] = {}
                for old in [each for each in self._minutes if each < minute - KEEP]:
                    del self._minutes[old]
            self._minutes[minute].setdefault((metric, dimensions), Counter())[value] += 1

    def series(self, start: float, end: float) -> list[Series]:
        """The minutes that begin at `start` or later and before `end`."""
        with self._lock:
            return [
                Series(metric, dimensions, _UNITS.get(metric, "Count"), minute, dict(counts))
                for minute, metrics in sorted(self._minutes.items())
                if start <= minute < end
                for (metric, dimensions), counts in metrics.items()
            ]
