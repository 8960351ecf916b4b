from __future__ import annotations

import socket
from pathlib import Path

import pytest

from agent.errors import UnitError
from agent.systemd import Systemd, UnitState

SHOWN = """\
Id=bakeboot-svc-web.service
LoadState=loaded
ActiveState=activating
SubState=auto-restart
Result=exit-code
NRestarts=4
ExecMainStatus=1
ExecMainStartTimestampMonotonic=123456

Id=bakeboot-data-db.service
LoadState=not-found
ActiveState=inactive
SubState=dead
Result=success
"""


class Systemctl:
    def __init__(self, status: int = 0, output: str = "") -> None:
        self.calls: list[list[str]] = []
        self._answer = (status, output)

    def __call__(self, arguments: list[str]) -> tuple[int, str]:
        self.calls.append(arguments)
        return self._answer


def test_all_units_are_queued_in_one_call_that_waits_for_none() -> None:
    systemctl = Systemctl()
    Systemd(systemctl).start(["a.service", "b.service"])
    assert systemctl.calls == [["start", "--no-block", "--", "a.service", "b.service"]]


def test_no_units_need_no_call() -> None:
    systemctl = Systemctl()
    Systemd(systemctl).start([])
    assert (Systemd(systemctl).show([]), systemctl.calls) == ({}, [])


def test_a_unit_that_is_not_taken_is_told() -> None:
    with pytest.raises(UnitError, match=r"did not take a\.service: Unit a\.service not found\."):
        Systemd(Systemctl(5, "Unit a.service not found.\n")).start(["a.service"])


def test_the_states_of_units() -> None:
    states = Systemd(Systemctl(0, SHOWN)).show(["bakeboot-svc-web.service", "bakeboot-data-db.service"])
    assert states["bakeboot-svc-web.service"] == UnitState(
        unit="bakeboot-svc-web.service", load="loaded", active="activating", sub="auto-restart", result="exit-code",
        restarts=4, status=1, started=123456,
    )  # fmt: skip
    assert [str(state) for state in states.values()] == ["activating (auto-restart, exit-code 1)", "not-found"]


@pytest.mark.parametrize(("status", "output"), [(1, "Failed to connect to bus"), (0, ""), (0, SHOWN.split("\n\n")[1])])
def test_a_systemd_that_does_not_answer_is_told(status: int, output: str) -> None:
    with pytest.raises(UnitError, match="does not say how its units are"):
        Systemd(Systemctl(status, output)).show(["bakeboot-svc-web.service"])


def test_a_restart_also_takes_one_that_gave_up() -> None:
    systemctl = Systemctl()
    Systemd(systemctl).restart("x.service")
    assert [call[0] for call in systemctl.calls] == ["reset-failed", "restart"]


def test_what_is_told_to_pid_1(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address)
        systemd = Systemd(Systemctl(), notify_socket=address)
        systemd.progress("waiting for the tag\nREADY=1")
        systemd.ready("review")
        systemd.failed("tag x: bad\n  try   y", 22)
        told = [receiver.recv(4096).decode() for _ in range(3)]
    assert told == [
        "EXTEND_TIMEOUT_USEC=120000000\nSTATUS=waiting for the tag READY=1",
        "READY=1\nSTATUS=review",
        "EXIT_STATUS=22\nSTATUS=tag x: bad try y",
    ]


def test_started_by_hand_there_is_nobody_to_tell() -> None:
    Systemd(Systemctl()).ready("x")
