"""Statistics are those of what was put and of what load balancers counted, and of nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from region.aws import cloudwatch
from region.aws.world import World
from region.balancer.metrics import NAMESPACE, Metrics

pytestmark = pytest.mark.network

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
SHOP = (("LoadBalancer", "app/shop/1"),)
BLUE = (*SHOP, ("TargetGroup", "targetgroup/blue/2"))


class Watch:
    def __init__(self, world: World, client: Callable[..., Any]) -> None:
        self.metrics = Metrics()
        cloudwatch.install(world, self.metrics)
        self.client = client("cloudwatch")

    def add(
        self, value: float, *, after: float = 0, metric: str = "TargetResponseTime", dimensions: Any = BLUE
    ) -> None:
        self.metrics.add(metric, dimensions, value, NOON.timestamp() + after)

    def data(self, stat: str, *, period: int = 60, start: float = 0, end: float = 600, **asked: Any) -> list[float]:
        query = self.query(stat, period, **asked)
        answer = self.client.get_metric_data(
            MetricDataQueries=[query],
            StartTime=NOON + timedelta(seconds=start),
            EndTime=NOON + timedelta(seconds=end),
            ScanBy="TimestampAscending",
        )
        values: list[float] = answer["MetricDataResults"][0]["Values"]
        return values

    def query(
        self,
        stat: str,
        period: int,
        namespace: str = NAMESPACE,
        name: str = "TargetResponseTime",
        dimensions: Any = BLUE,
    ) -> dict[str, Any]:
        named = [{"Name": key, "Value": value} for key, value in dimensions]
        metric = {"Namespace": namespace, "MetricName": name, "Dimensions": named}
        return {"Id": "one", "MetricStat": {"Metric": metric, "Period": period, "Stat": stat}}


@pytest.fixture
def watch(world: World, client: Callable[..., Any]) -> Watch:
    return Watch(world, client)


STATISTICS = pytest.mark.parametrize(
    ("stat", "value"),
    [
        ("Sum", 5050),
        ("Average", 50.5),
        ("Minimum", 1),
        ("Maximum", 100),
        ("SampleCount", 100),
        ("p50", 50),
        ("p90", 90),
        ("p99", 99),
        ("p99.9", 100),
        ("p100", 100),
    ],
)


@STATISTICS
def test_a_statistic_is_of_all_values(stat: str, value: float) -> None:
    assert cloudwatch.Window(Counter(range(1, 101))).statistic(stat) == value


def test_a_percentile_is_asked_for_as_any_statistic(watch: Watch) -> None:
    for number in range(1, 101):
        watch.add(number)
    assert watch.data("p99") == [99]


def test_values_of_other_times_dimensions_and_names_are_others(watch: Watch) -> None:
    watch.add(1)
    watch.add(2, after=61)
    watch.add(4, after=600)
    watch.add(8, dimensions=SHOP)
    watch.add(16, metric="RequestCount")
    assert watch.data("Sum") == [1, 2]
    assert watch.data("Sum", period=300) == [3]
    assert watch.data("Sum", dimensions=SHOP) == [8]
    assert watch.data("Sum", name="RequestCount") == [16]


def test_the_start_is_rounded_down_to_the_minute(watch: Watch) -> None:
    watch.add(1, after=10)
    assert watch.data("Sum", start=30, end=50) == [1]


def test_what_users_put_is_counted_by_its_dimensions_and_times(watch: Watch) -> None:
    for value, colour, second in ((1, "blue", 0), (2, "blue", 59), (4, "green", 0), (8, "blue", 60)):
        watch.client.put_metric_data(
            Namespace="Shop",
            MetricData=[
                {
                    "MetricName": "Orders",
                    "Dimensions": [{"Name": "Colour", "Value": colour}],
                    "Timestamp": NOON + timedelta(seconds=second),
                    "Value": value,
                }
            ],
        )
    asked: dict[str, Any] = {"namespace": "Shop", "name": "Orders", "dimensions": (("Colour", "blue"),)}
    assert watch.data("Sum", **asked) == [3, 8]
    assert watch.data("p100", period=600, **asked) == [8]


def test_get_metric_statistics_tells_all_that_is_asked_for(watch: Watch) -> None:
    for number in (0.1, 0.2, 0.9):
        watch.add(number)
    asked = {
        "Namespace": NAMESPACE,
        "MetricName": "TargetResponseTime",
        "Dimensions": [{"Name": key, "Value": value} for key, value in BLUE],
        "StartTime": NOON,
        "EndTime": NOON + timedelta(minutes=5),
        "Period": 60,
    }
    [point] = watch.client.get_metric_statistics(**asked, Statistics=["Maximum", "SampleCount"])["Datapoints"]
    assert (point["Timestamp"], point["Maximum"], point["SampleCount"], point["Unit"]) == (NOON, 0.9, 3, "Seconds")
    [point] = watch.client.get_metric_statistics(**asked, ExtendedStatistics=["p50", "p99"])["Datapoints"]
    assert point["ExtendedStatistics"] == {"p50": 0.2, "p99": 0.9}
    with pytest.raises(ClientError, match="Must specify either"):
        watch.client.get_metric_statistics(**asked)


def test_each_metric_is_listed_once(watch: Watch) -> None:
    watch.add(1)
    watch.add(1, after=120)
    [metric] = watch.client.list_metrics(Namespace=NAMESPACE)["Metrics"]
    assert metric["MetricName"] == "TargetResponseTime"


def test_an_expression_is_refused_and_not_guessed(watch: Watch) -> None:
    query = {"Id": "sum", "Expression": "SUM(METRICS())"}
    with pytest.raises(ClientError, match="does not rehearse"):
        watch.client.get_metric_data(MetricDataQueries=[query], StartTime=NOON, EndTime=NOON + timedelta(minutes=1))
