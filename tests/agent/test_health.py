from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from agent.errors import UnhealthyError, UnitError
from agent.health import Answer, Settling, ask, http_answer, settle
from agent.image import Health, Service
from agent.names import service_unit, service_user
from agent.systemd import Systemd, UnitState

WELL = Answer(healthy=True, text="200")
ILL = Answer(healthy=False, text="503, expected 200")


def service(name: str, **health: Any) -> Service:
    usual: dict[str, Any] = {"path": "/", "status": 200, "interval": 0.5, "settle": 2.0, "deadline": 10.0}
    return Service(
        name=name, repo="r", process="web", kind="web", unit=service_unit(name), user=service_user(name), port=8000,
        health=Health(**usual | health), check=None, env={}, generated=(), required=(), calls=(), needs=(),
        databases_of=None,
    )  # fmt: skip


def state(name: str = "web", active: str = "active", restarts: int = 0, started: int = 5, **rest: Any) -> UnitState:
    usual: dict[str, Any] = {"load": "loaded", "sub": "running", "result": "success", "status": 0}
    return UnitState(
        **usual | {"unit": service_unit(name), "active": active} | rest, restarts=restarts, started=started
    )


Seen = tuple[float, UnitState, Answer | None]


def course(seen: list[Seen], **health: Any) -> list[bool]:
    """Whether the service had settled, after each thing seen of it (seconds after the start, unit, answer)."""
    settling = Settling((service("web", **health),), began=0.0)
    settled = []
    for moment, unit, answer in seen:
        settling.observe(moment, {unit.unit: unit}, {"web": answer} if answer else {})
        settled.append(settling.settled(moment))
    return settled


@pytest.mark.parametrize(
    ("seen", "settled"),
    [
        ([(0, state(), WELL), (1, state(), WELL), (2, state(), WELL)], [False, False, True]),
        ([(0, state(), WELL), (2, state(), None)], [False, True]),
        ([(0, state(), WELL), (1, state(), ILL), (2, state(), WELL), (4, state(), WELL)], [False, False, False, True]),
        ([(0, state(active="activating"), None), (1, state(), WELL), (3, state(), WELL)], [False, False, True]),
        ([(0, state(active="activating"), WELL), (2, state(active="activating"), WELL)], [False, False]),
        ([(0, state(), WELL), (2, state(restarts=1, started=6), WELL), (4, state(restarts=1, started=6), WELL)],
         [False, False, True]),
        ([(0, state(), WELL), (2, state(started=9), WELL)], [False, False]),
        ([(0, state(), WELL), (2, state(), WELL), (3, state(), ILL)], [False, True, False]),
    ],
    ids=["well", "answers hold between asks", "an interruption", "a late start", "not active counts for nothing",
         "a restart", "a restart by hand", "settled and lost again"],
)  # fmt: skip
def test_settled_is_well_for_the_settle_time_without_a_break(seen: list[Seen], settled: list[bool]) -> None:
    assert course(seen) == settled


def test_past_the_deadline_it_says_who_and_what_was_last_heard() -> None:
    with pytest.raises(UnhealthyError) as caught:
        course([(0, state(), WELL), (9, state(restarts=3, started=8), ILL), (10.1, state(restarts=3, started=8), ILL)])
    assert str(caught.value) == (
        "web: not healthy within 10 s; the last answer: 503, expected 200, 3 restarts\n"
        "  try   journalctl -u bakeboot-svc-web.service -n 50"
    )


def test_a_unit_that_crashes_again_and_again_is_told_as_such() -> None:
    crashing = state(active="activating", sub="auto-restart", result="exit-code", status=1, restarts=7)
    with pytest.raises(UnhealthyError, match=r"the unit is activating \(auto-restart, exit-code 1\), 7 restarts"):
        course([(0, crashing, None), (11, crashing, None)])


def test_one_that_settled_in_time_may_wait_for_the_others() -> None:
    settling = Settling((service("web"), service("slow", settle=20.0, deadline=60.0)), began=0.0)
    units = {state(name).unit: state(name) for name in ("web", "slow")}
    for second in range(0, 21, 2):
        settling.observe(second, units, {"web": WELL, "slow": WELL})
    assert settling.settled(20)


@pytest.mark.parametrize("unit", [state(active="failed", sub="failed", result="exit-code"), state(load="not-found")])
def test_a_unit_that_systemd_gave_up_ends_it_at_once(unit: UnitState) -> None:
    with pytest.raises(UnitError) as caught:
        course([(0, unit, None)])
    assert caught.value.where == "web"
    assert caught.value.hint == "journalctl -u bakeboot-svc-web.service -n 50"


def test_each_service_is_asked_at_its_own_interval() -> None:
    settling = Settling((service("web", interval=0.5), service("slow", interval=2.0)), began=0.0)
    names = [[one.name for one in settling.due(second)] for second in (0, 0.4, 0.5, 1.0, 2.0)]
    assert names == [["web", "slow"], [], ["web"], ["web"], ["web", "slow"]]
    assert settling.pause(2.1) == pytest.approx(0.4)


def test_settle_asks_until_all_is_well() -> None:
    now = [0.0]
    answers = iter([ILL, ILL, *[WELL] * 20])
    told: list[str] = []

    class Units(Systemd):
        def show(self, units: list[str]) -> dict[str, UnitState]:
            return {unit: state() for unit in units}

        def progress(self, text: str) -> None:
            told.append(text)

    settle(
        (service("web"),),
        systemd=Units(),
        ask=lambda services: {one.name: next(answers) for one in services},
        monotonic=lambda: now[0],
        sleep=lambda seconds: now.__setitem__(0, now[0] + seconds),
    )
    assert now[0] == pytest.approx(3.0)
    assert told[0] == "waiting for health: web (503, expected 200)"


def test_nothing_to_watch_has_settled() -> None:
    assert Settling((), began=0.0).settled(0.0)


@contextmanager
def serving(answer: bytes) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.network
@pytest.mark.parametrize(
    ("data", "healthy", "text"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True, ": 200"),
        (b"HTTP/1.1 503 Busy\r\n\r\n", False, ": 503, expected 200"),
        (b"HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n", False, ": 302, expected 200"),
        (b"", False, ": no HTTP"),
        (b"hello\r\n", False, ": no HTTP"),
        (b"x" * 100_000, False, ": no HTTP"),
    ],
)
def test_an_http_answer_is_its_status(data: bytes, healthy: bool, text: str) -> None:
    with serving(data) as port:
        answer = http_answer(port, "/healthz", 200)
    assert answer == Answer(healthy=healthy, text=f"GET /healthz on port {port}{text}")


@pytest.mark.network
def test_nobody_there_is_an_answer_too() -> None:
    with serving(b"") as port:
        pass
    assert http_answer(port, "/", 200) == Answer(healthy=False, text=f"GET / on port {port}: Connection refused")


@pytest.mark.network
def test_all_are_asked_at_once() -> None:
    barrier = threading.Barrier(3, timeout=5)

    def check(_: Service) -> Answer:
        barrier.wait()
        return WELL

    def worker(name: str, check: str | None) -> Service:
        old = service(name, path=None)
        return Service(**{f: getattr(old, f) for f in old.__fields__} | {"port": None, "check": check})

    answers = ask([worker("a", "x"), worker("b", "x"), worker("c", "x"), worker("d", None)], check)
    assert answers["a"] == answers["b"] == answers["c"] == WELL
    assert answers["d"].text == "no check of its own"
