from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent import cli
from agent.environment import Checkout
from agent.errors import ImageError, ReleaseCommandError
from agent.health import Answer
from agent.image import ImageManifest, Service
from agent.releasecmd import ReleaseRecords
from agent.report import Report, as_json, as_text, explained, look
from agent.state import Lock, Places
from agent.systemd import Systemd
from tests.agent.test_image import GOLDEN
from tests.agent.test_state import places as make_places

IMAGE = ImageManifest.read(str(GOLDEN))
INSTANCE = "i-0123456789abcdef0"
UNITS = ["bakeboot-data-db.service", "bakeboot-svc-storefront.service"]
READY = {
    "phase": "ready", "reason": "", "hint": "", "exit_code": 0, "instance_id": INSTANCE, "image": IMAGE.name,
    "assignment": {"mode": "review", "service": None, "release": None}, "since": "2026-11-23T18:00:00Z", "units": UNITS,
    "timings": {"queued_ms": 40},
}  # fmt: skip
FAILED = READY | {
    "phase": "failed", "reason": "tag bakeboot:mode: expected one of a, b, got 'x'", "hint": "do this", "exit_code": 22,
    "assignment": None, "units": [],
}  # fmt: skip


def machine(root: Path, facts: dict[str, object] | None) -> Places:
    places = make_places(root)
    Path(places.image).write_text(GOLDEN.read_text())
    if facts is not None:
        Path(places.status).write_text(json.dumps(facts))
    return places


def seen(places: Places, *, active: str = "active", healthy: bool = True) -> Report:
    def systemctl(arguments: list[str]) -> tuple[int, str]:
        units = arguments[arguments.index("--") + 1 :]
        texts = (
            f"Id={unit}\nLoadState=loaded\nActiveState={active}\nSubState=running\nResult=success\nNRestarts=2\n"
            for unit in units
        )
        return 0, "\n".join(texts)

    def ask(services: list[Service]) -> dict[str, Answer]:
        return {service.name: Answer(healthy=healthy, text="GET /healthz: ...") for service in services}

    def checkout(repo: str) -> Checkout:
        if repo == "www":
            raise ImageError("no checkout")
        return Checkout(commit="c" * 40)

    return look(places, Systemd(systemctl), ask, checkout)


def test_a_ready_machine(tmp_path: Path) -> None:
    report = seen(machine(tmp_path, READY))
    assert (report.ready, report.exit_code) == (True, 0)
    assert as_text(report) == (
        "shop review: ready since 2026-11-23T18:00:00Z\n"
        f"image shop-2026-11-23.1 on {INSTANCE}\n"
        "  db          active (running)    2 restarts\n"
        "  storefront  active (running)  storefront@cccccccccccc  GET /healthz: ...  2 restarts"
    )


@pytest.mark.parametrize(("active", "healthy"), [("failed", True), ("active", False)])
def test_a_machine_that_was_ready_and_is_no_more(tmp_path: Path, active: str, healthy: bool) -> None:
    report = seen(machine(tmp_path, READY), active=active, healthy=healthy)
    assert (report.ready, report.exit_code) == (False, 3)
    assert "storefront is not well" in explained(report)
    assert "Next: journalctl -u bakeboot-" in explained(report)


def test_for_programs(tmp_path: Path) -> None:
    found = as_json(seen(machine(tmp_path, READY)))
    assert json.loads(json.dumps(found)) == found
    assert {key: found[key] for key in ("ready", "phase", "mode", "service", "image", "stack")} == {
        "ready": True, "phase": "ready", "mode": "review", "service": None, "image": IMAGE.name, "stack": "shop",
    }  # fmt: skip
    units: Any = found["units"]
    assert units[1] == {
        "unit": "bakeboot-svc-storefront.service", "name": "storefront", "active": True, "systemd": "active (running)",
        "restarts": 2, "healthy": True, "answer": "GET /healthz: ...", "repo": "storefront", "commit": "c" * 40,
    }  # fmt: skip
    assert (units[0]["name"], units[0]["healthy"], units[0]["commit"]) == ("db", None, None)


def test_a_failed_boot_says_why_and_what_to_do(tmp_path: Path) -> None:
    report = seen(machine(tmp_path, FAILED))
    assert report.exit_code == 3
    assert "tag bakeboot:mode: expected one of a, b, got 'x'\n  try   do this" in as_text(report)
    assert explained(report) == (
        f"This is {INSTANCE}, of image shop-2026-11-23.1 (shop). Its boot has not come to an assignment, so it runs "
        "nothing. Its boot failed at 2026-11-23T18:00:00Z: tag bakeboot:mode: expected one of a, b, got 'x'. \n"
        "Next: do this"
    )


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        (None, "The agent has not run since this machine started. \nNext: systemctl status bakeboot-boot"),
        (READY, "Its tags say mode review, which is self-contained, so it runs all 5 services and 2 datastores"),
        (READY, "Since 2026-11-23T18:00:00Z it is ready."),
        (READY | {"phase": "settling"}, "Its boot is under way, in the phase settling"),
        (
            READY | {"assignment": {"mode": "production", "service": "storefront", "release": "v007"}},
            "Its tags say mode production, service storefront (release v007), so it runs that one service",
        ),
        (READY | {"assignment": {"mode": "bake"}, "phase": "idle", "units": []}, "it is a build machine"),
    ],
)
def test_explained(tmp_path: Path, facts: dict[str, object] | None, told: str) -> None:
    assert told in explained(seen(machine(tmp_path, facts)))


def test_a_repo_without_a_checkout_has_no_commit(tmp_path: Path) -> None:
    report = seen(machine(tmp_path, READY | {"units": ["bakeboot-svc-www.service"]}))
    assert report.units[0].commit is None


class Systemctl:
    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, arguments: list[str]) -> tuple[int, str]:
        self.calls.append(arguments)
        return 0, ""


def with_release(root: Path, state: str | None) -> Places:
    places = machine(root, READY)
    folder = root / "srv/bakeboot/storefront/current/.bakeboot"
    folder.mkdir(parents=True)
    (folder / "checkout.json").write_text(json.dumps({"commit": "a" * 40}))
    Path(places.instance(INSTANCE)).mkdir(parents=True)
    if state:
        releases(places).put("storefront", "a" * 40, {"state": state})
    return places


def releases(places: Places) -> ReleaseRecords:
    return ReleaseRecords(f"{places.instance(INSTANCE)}/releases.json", lambda: 0.0)


@pytest.mark.parametrize("state", ["failed", "running"])
def test_a_retry_forgets_the_failure_and_boots_anew(
    tmp_path: Path, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places, systemctl = with_release(tmp_path, state), Systemctl()
    assert cli.retry_release("storefront", places, Systemd(systemctl)) == 0
    assert releases(places).find("storefront", "a" * 40) is None
    assert systemctl.calls[-1] == ["restart", "--no-block", "--", "bakeboot-boot.service"]
    assert "journalctl -f" in capsys.readouterr().out
    assert Lock(places).take(wait=False)


@pytest.mark.parametrize(
    ("repo", "state", "told"),
    [
        ("nothing", "failed", "no repo 'nothing' on this image"),
        ("../x", "failed", "no repo '../x' on this image"),
        ("storefront", None, "has not run"),
        ("storefront", "done", "has not failed"),
    ],
)
def test_what_can_not_be_retried_is_told(tmp_path: Path, repo: str, state: str | None, told: str) -> None:
    systemctl = Systemctl()
    with pytest.raises(ReleaseCommandError, match=told):
        cli.retry_release(repo, with_release(tmp_path, state), Systemd(systemctl))
    assert systemctl.calls == []


def test_no_retry_while_a_boot_is_under_way(tmp_path: Path) -> None:
    places = with_release(tmp_path, "failed")
    boot = Lock(places)
    boot.take(wait=True)
    with pytest.raises(ReleaseCommandError, match="a boot is under way"):
        cli.retry_release("storefront", places, Systemd(Systemctl()))
    boot.release()


def test_no_retry_before_the_first_boot(tmp_path: Path) -> None:
    with pytest.raises(ReleaseCommandError, match="has not booted yet"):
        cli.retry_release("storefront", machine(tmp_path, None), Systemd(Systemctl()))


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["release"], ["release", "retry"], ["status", "--xml"]])
def test_a_command_line_that_is_none_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: agent" in capsys.readouterr().err


def test_a_machine_that_is_none_is_told_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status"]) == 14
    assert capsys.readouterr().err.startswith("agent: /etc/bakeboot/image.json: can't be read")
