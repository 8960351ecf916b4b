"""CloudWatch of a region: what users put is moto's, what load balancers counted comes from their log.

moto gives wrong statistics where several metrics share a name or a period (it compares dimensions loosely, takes a
period's beginning from the first value, and knows no percentiles), so both ways to ask are made anew here. AWS: API
references of GetMetricData and GetMetricStatistics; "CloudWatch statistics definitions".
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

from moto.cloudwatch import models, responses, urls
from moto.cloudwatch.exceptions import InvalidParameterCombination, InvalidParameterValue, ValidationError
from moto.cloudwatch.models import CloudWatchBackend, MetricAggregatedDatum, MetricDatum, MetricDatumBase
from moto.core.responses import ActionResult

from region.aws.world import World
from region.balancer.metrics import MINUTE, NAMESPACE, Metrics

_STATISTICS = ("Sum", "Average", "Minimum", "Maximum", "SampleCount")
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d{1,10})?|100)")

Dimensions = frozenset[tuple[str, str]]


@dataclass
class Window:
    """The values of one metric in one period. `counts` says how often each was seen; sets have no single values."""

    counts: Counter[float] = field(default_factory=Counter)
    sets: list[MetricAggregatedDatum] = field(default_factory=list)
    unit: str | None = None

    def statistic(self, name: str) -> float | None:
        """None where it can't be told: a percentile of what came as a set. ValidationError for no statistic at all."""
        if percentile := _PERCENTILE.fullmatch(name):
            return self._percentile(float(percentile[1])) if not self.sets else None
        count = self.counts.total() + sum(each.sample_count for each in self.sets)
        total = sum(value * times for value, times in self.counts.items()) + sum(each.sum for each in self.sets)
        match name:
            case "SampleCount":
                return float(count)
            case "Sum":
                return float(total)
            case "Average":
                return total / count
            case "Minimum":
                return float(min([*self.counts, *(each.min for each in self.sets)]))
            case "Maximum":
                return float(max([*self.counts, *(each.max for each in self.sets)]))
            case _:
                raise ValidationError(f"The value {name} for parameter Stat is not supported by a local region.")

    def _percentile(self, percent: float) -> float:
        """The least value that so many percent of all values do not exceed."""
        rank = max(1, math.ceil(percent / 100 * self.counts.total()))
        for value in sorted(self.counts):
            rank -= self.counts[value]
            if rank <= 0:
                return value
        raise AssertionError("a window without a value")


@dataclass(frozen=True)
class Asked:
    """One metric and the times asked for; `start` and `end` are seconds, `period` too."""

    namespace: str
    name: str
    dimensions: Dimensions
    start: int
    end: int
    period: int
    unit: str | None = None


def rounded_start(start: float, period: int) -> int:
    """AWS, GetMetricStatistics, StartTime: down to the minute, or to the period where that is less."""
    step = period if period < MINUTE else MINUTE
    return int(start) // step * step


class RegionCloudWatch(CloudWatchBackend):
    __module__ = "moto.cloudwatch.models"
    metrics: ClassVar[Metrics]

    def windows(self, asked: Asked) -> dict[int, Window]:
        """The periods in which there is a value, by their first second, in order."""
        found: dict[int, Window] = {}
        for second, unit, counts, aggregated in self._values(asked):
            if asked.unit and unit != asked.unit:
                continue
            begins = asked.start + (int(second) - asked.start) // asked.period * asked.period
            window = found.setdefault(begins, Window(unit=unit))
            window.counts.update(counts)
            if aggregated is not None:
                window.sets.append(aggregated)
        return dict(sorted(found.items()))

    def _values(
        self, asked: Asked
    ) -> Iterator[tuple[float, str | None, Mapping[float, int], MetricAggregatedDatum | None]]:
        """Time, unit, and single values or a set of values, of what is asked for."""
        if asked.namespace == NAMESPACE:
            for series in self.metrics.series(asked.start, asked.end):
                if (series.metric, frozenset(series.dimensions)) == (asked.name, asked.dimensions):
                    yield series.minute, series.unit, series.counts, None
        for datum in [*self.metric_data, *self.aws_metric_data]:
            second = _seconds(datum.timestamp)
            if (
                (datum.namespace, datum.name) == (asked.namespace, asked.name)
                and asked.start <= second < asked.end
                and frozenset((str(each.name), str(each.value)) for each in datum.dimensions) == asked.dimensions
            ):
                if isinstance(datum, MetricAggregatedDatum):
                    yield second, datum.unit, {}, datum
                elif isinstance(datum, MetricDatum):
                    yield second, datum.unit, {datum.value: 1}, None

    def get_metric_data(
        self, queries: list[dict[str, Any]], start_time: datetime, end_time: datetime, scan_by: str = ""
    ) -> list[dict[str, Any]]:
        if end_time <= start_time:
            raise ValidationError("The parameter EndTime must be greater than StartTime.")
        results = [self._result(query, start_time, end_time) for query in queries]
        for result in results:
            if scan_by != "TimestampAscending":
                result["timestamps"].reverse()
                result["values"].reverse()
        wanted = {query["Id"] for query in queries if str(query.get("ReturnData", True)).lower() != "false"}
        return [result for result in results if result["id"] in wanted]

    def _result(self, query: dict[str, Any], start_time: datetime, end_time: datetime) -> dict[str, Any]:
        if "MetricStat" not in query:
            raise ValidationError("a local region does not rehearse metric math and Metrics Insights (Expression)")
        stat = query["MetricStat"]
        metric, period = stat["Metric"], _period(stat["Period"])
        asked = Asked(
            metric["Namespace"],
            metric["MetricName"],
            _dimensions(metric.get("Dimensions") or []),
            rounded_start(_seconds(start_time), period),
            math.ceil(_seconds(end_time)),
            period,
            stat.get("Unit"),
        )
        values = {begins: window.statistic(stat["Stat"]) for begins, window in self.windows(asked).items()}
        known = {begins: value for begins, value in values.items() if value is not None}
        return {
            "id": query["Id"],
            "label": query.get("Label") or metric["MetricName"],
            "timestamps": [datetime.fromtimestamp(begins, UTC) for begins in known],
            "values": list(known.values()),
            "status_code": "Complete",
        }

    def get_all_metrics(self) -> list[MetricDatumBase]:
        """What ListMetrics looks through: of the load balancers' one for each metric."""
        names = {(each.metric, each.dimensions): each for each in self.metrics.series(0, math.inf)}
        own = [
            MetricDatumBase(
                NAMESPACE,
                name,
                [{"Name": key, "Value": value} for key, value in dimensions],
                datetime.fromtimestamp(series.minute, UTC),
            )
            for (name, dimensions), series in names.items()
        ]
        return [*super().get_all_metrics(), *own]


class RegionCloudWatchResponse(responses.CloudWatchResponse):
    def get_metric_statistics(self) -> ActionResult:
        params = self._get_params()
        statistics: Sequence[str] = params.get("Statistics") or []
        extended: Sequence[str] = params.get("ExtendedStatistics") or []
        if bool(statistics) == bool(extended):
            raise InvalidParameterCombination("Must specify either Statistics or ExtendedStatistics")
        for name in [*statistics, *extended]:
            if name not in _STATISTICS and not _PERCENTILE.fullmatch(name):
                raise InvalidParameterValue(f"The value {name} for parameter ExtendedStatistics is not supported.")
        period, start, end = _period(params["Period"]), _seconds(params["StartTime"]), _seconds(params["EndTime"])
        if start >= end:
            raise InvalidParameterValue("The parameter StartTime must be less than the parameter EndTime.")
        asked = Asked(
            params["Namespace"],
            params["MetricName"],
            _dimensions(params.get("Dimensions") or []),
            rounded_start(start, period),
            math.ceil(end),
            period,
            params.get("Unit"),
        )
        backend = self.cloudwatch_backend
        assert isinstance(backend, RegionCloudWatch)
        points = [_point(begins, window, statistics, extended) for begins, window in backend.windows(asked).items()]
        return ActionResult({"Label": asked.name, "Datapoints": points})


def _point(begins: int, window: Window, statistics: Sequence[str], extended: Sequence[str]) -> dict[str, Any]:
    point: dict[str, Any] = {"Timestamp": datetime.fromtimestamp(begins, UTC), "Unit": window.unit or "None"}
    point |= {name: window.statistic(name) for name in statistics}
    if extended:
        values = {name: window.statistic(name) for name in extended}
        point["ExtendedStatistics"] = {name: value for name, value in values.items() if value is not None}
    return point


def _period(period: Any) -> int:
    if int(period) not in (1, 5, 10, 30) and (int(period) <= 0 or int(period) % MINUTE):
        raise InvalidParameterValue("The parameter Period must be 1, 5, 10, 30 or a multiple of 60.")
    return int(period)


def _dimensions(given: Sequence[Mapping[str, str]]) -> Dimensions:
    return frozenset((each["Name"], each["Value"]) for each in given)


def _seconds(time: datetime) -> float:
    """moto's times are of UTC, said or not."""
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def install(world: World, metrics: Metrics) -> None:
    """`metrics` are those of the load balancers."""
    RegionCloudWatch.metrics = metrics
    models.cloudwatch_backends.backend = RegionCloudWatch
    for account, _, backend in list(models.cloudwatch_backends.iter_backends()):
        if not isinstance(backend, RegionCloudWatch):  # made before us: moto's own, which holds nothing yet
            models.cloudwatch_backends.pop(account, None)
    urls.url_paths = {"{0}/$": RegionCloudWatchResponse.dispatch}
