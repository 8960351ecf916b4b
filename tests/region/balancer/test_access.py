"""A line of HAProxy's log is one request as an ALB counts it."""

from __future__ import annotations

import pytest

from region.balancer.access import Access, listener_name, read_access
from region.balancer.metrics import Metrics, samples_of

NAME = listener_name("app/shop/0123", "4567")
GROUP, TARGET = "targetgroup/blue/89ab", "targetgroup/blue/89ab|i-1:8080"
CHOSEN = f"forward {GROUP} {TARGET}"


def access(status: int, kind: str = "forward", *, by_target: bool = False, **more: object) -> Access:
    chosen = {"group": GROUP, "target": TARGET} if kind == "forward" else {}
    return Access("app/shop/0123", status, kind, by_target=by_target, **{**chosen, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "read"),
    [
        (f"{NAME} 200 1 {CHOSEN} -- 0 12 121", access(200, by_target=True, seconds=0.012)),
        (f"{NAME} 503 1 {CHOSEN} -- 0 0 121", access(503, by_target=True, seconds=0.0)),
        (f"{NAME} 503 - {CHOSEN} SC -1 -1 99", access(502, unconnected=True)),  # refused
        (f"{NAME} 503 - {CHOSEN} sC -1 -1 99", access(504, unconnected=True)),  # no answer in 10 s
        (f"{NAME} 502 - {CHOSEN} SH 0 -1 99", access(502)),
        (f"{NAME} 504 - {CHOSEN} sH 0 -1 99", access(504)),
        (f"{NAME} 503 - {CHOSEN} KH 0 -1 99", access(502)),  # cut: the deregistration delay is over
        (f"{NAME} -1 - {CHOSEN} CH 0 -1 0", access(460)),
        (f"{NAME} 101 1 {CHOSEN} -- 0 1 99", access(101, by_target=True, seconds=0.001)),
        (f"{NAME} 404 - fixed - - LR -1 -1 97", access(404, "fixed")),
        (f"{NAME} 301 - redirect - - LR -1 -1 97", access(301, "redirect")),
        (f"{NAME} 503 - elb {GROUP} - LR -1 -1 97", access(503, "elb", group=GROUP)),
        (f"{NAME} 400 - - - - PR -1 -1 97", access(400, "elb")),
        (f"{NAME} 0 - - - - CR -1 -1 0", None),  # a connection on which nothing was asked
        ("Proxy targets stopped (cumulated conns: FE: 0, BE: 0).", None),
        ("", None),
    ],
)
def test_a_line_is_read(line: str, read: Access | None) -> None:
    assert read_access(line) == read


def names(entry: Access) -> set[str]:
    return {f"{metric}{'+' if len(dimensions) == 2 else ''}" for metric, dimensions, _ in samples_of(entry)}


@pytest.mark.parametrize(
    ("entry", "counted"),
    [
        (
            access(200, by_target=True, seconds=0.01),
            {"RequestCount", "HTTPCode_Target_2XX_Count", "TargetResponseTime"},
        ),
        (access(502, unconnected=True), {"RequestCount", "TargetConnectionErrorCount", "HTTPCode_ELB_5XX_Count"}),
        (access(504), {"RequestCount", "HTTPCode_ELB_5XX_Count"}),
        (access(460), {"RequestCount", "HTTPCode_ELB_4XX_Count"}),
        (access(503, "elb", group=GROUP), {"HTTPCode_ELB_5XX_Count"}),  # no target was chosen
        (access(404, "fixed"), {"HTTP_Fixed_Response_Count"}),
        (access(301, "redirect"), {"HTTP_Redirect_Count", "HTTPCode_ELB_3XX_Count"}),
    ],
)
def test_a_request_counts_for_its_load_balancer_and_what_targets_do_for_their_group_too(
    entry: Access, counted: set[str]
) -> None:
    of_the_group = {f"{name}+" for name in counted if "ELB" not in name and entry.target}
    codes = {f"HTTPCode_ELB_{entry.status}_Count"} if entry.status in (502, 503, 504) else set()
    assert names(entry) == counted | of_the_group | codes


def test_values_are_kept_by_the_minute_and_for_some_hours() -> None:
    metrics = Metrics()
    for second in (1200, 1259, 1260):
        metrics.add("RequestCount", (("LoadBalancer", "app/shop/0123"),), 1, second)
    assert [(series.minute, series.counts) for series in metrics.series(0, 10_000)] == [(1200, {1: 2}), (1260, {1: 1})]
    metrics.add("RequestCount", (), 1, 1260 + 4 * 3600)
    assert [series.dimensions for series in metrics.series(0, 100_000)] == [()]
