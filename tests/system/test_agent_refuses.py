"""What keeps a real machine from getting ready: tags, metadata, release commands, services that are not well."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from agent.envfile import render
from region.faults import Faults
from tests.system.agent_machines import CONFIG, DATASTORES, Instances
from tests.system.agent_stack import Stack
from tests.system.bakery import wait_until

pytest_plugins = ("tests.system.agent_machines",)


# --- tags that are wrong, missing, late -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "exit_code", "told"),
    [
        ({"stack": "shop", "mode": "prodution"}, 22, "tag bakeboot:mode: expected one of development, test, review"),
        ({"stack": "shop", "mode": "review\n[Service]\nExecStart=/bin/sh"}, 22, "got 'review\\n[Service]\\nExecStart"),
        ({"stack": "other", "mode": "review"}, 22, "tag bakeboot:stack: this is an image of the stack shop"),
        ({"stack": "shop", "mode": "production", "service": "nothing"}, 22, "has no service 'nothing'"),
        ({"stack": "shop", "mode": "production"}, 22, "tag bakeboot:service: missing"),
        ({}, 22, "tag bakeboot:stack: missing; expected shop"),
        (None, 21, "the option InstanceMetadataTags is off"),
        ({"stack": "shop", "mode": "production", "service": "web"}, 23, "web: DATABASE_URL has no value"),
    ],
    ids=["mode", "hostile", "stack", "service", "no service", "none", "off", "no config"],
)
def test_without_a_valid_assignment_nothing_runs_and_a_person_learns_why(
    instances: Instances, tags: dict[str, str] | None, exit_code: int, told: str
) -> None:
    with instances.start(tags) as booted:
        status = booted.wait()
        assert (status["phase"], status["exit_code"], booted.running()) == ("failed", exit_code, set())
        assert told in status["reason"]
        assert int(booted.show("bakeboot-boot.service", "ExecMainStatus")) == exit_code
        assert booted.show("bakeboot-boot.service", "NRestarts") == "0"
        shown = booted.show("bakeboot-boot.service", "StatusText")
        assert told.replace("\\", "") in shown.replace("\\", ""), "systemd 252 drops backslashes here"
        assert told in booted.machine.log.read_text(errors="replace"), "the console shows it"
        assert told in booted.agent("status").stdout
        assert told in booted.agent("explain").stdout
        assert booted.agent("status").returncode == 3


def test_wrong_tags_set_right_are_taken_by_the_next_boot(instances: Instances) -> None:
    with instances.start({"stack": "shop", "mode": "prodution"}) as booted:
        assert booted.wait()["phase"] == "failed"
        booted.retag(stack="shop", mode="bake")
        assert booted.boot_again()["phase"] == "idle"


def test_a_running_machine_does_not_become_something_else(instances: Instances) -> None:
    config = {"_all": render(CONFIG).encode()}
    with instances.start({"stack": "shop", "mode": "production", "service": "web"}, config=config) as booted:
        assert booted.wait()["phase"] == "ready"
        booted.retag(stack="shop", mode="review")
        status = booted.boot_again()
        assert (status["exit_code"], booted.running()) == (22, {"bakeboot-svc-web.service"})
        assert "its tags now say review" in status["reason"]


@pytest.mark.parametrize(
    "faults",
    [
        Faults(tags_late=2),
        Faults(refused=1),
        Faults(hang=1),
        Faults(unavailable=1, retry_after=1),
        Faults(unauthorized=1),
        Faults(slow=0.2),
        Faults(broken_tags=frozenset({"bakeboot:release"})),
    ],
    ids=lambda faults: str({k: v for k, v in vars(faults).items() if v != getattr(Faults(), k)}),
)
def test_what_passes_is_waited_out(instances: Instances, faults: Faults) -> None:
    tags = {"stack": "shop", "mode": "bake", "release": "v1"}
    with instances.start(tags, faults=faults) as booted:
        assert booted.wait()["phase"] == "idle", booted.journal()


@pytest.mark.parametrize(
    ("faults", "exit_code", "told", "longest"),
    [
        (Faults(disabled=True), 21, "turned off for this instance", 3.0),
        (Faults(hang=float("inf")), 20, "no answer to PUT", 8.0),
        (Faults(refused=float("inf")), 20, "Connection refused", 8.0),
        (Faults(unauthorized=float("inf")), 20, "refuses the token that it has just given", 8.0),
        (Faults(tags_gone=True), 22, "tag bakeboot:stack: missing", 8.0),
    ],
    ids=["disabled", "hang", "refused", "401", "tags gone"],
)
def test_what_does_not_pass_ends_the_boot_within_its_budget(
    instances: Instances, faults: Faults, exit_code: int, told: str, longest: float
) -> None:
    stack = Stack(metadata_wait=4.0, tags_wait=3.0)
    with instances.start({"stack": "shop", "mode": "review"}, stack=stack, faults=faults) as booted:
        began = time.monotonic()
        status = booted.wait()
        assert (status["exit_code"], booted.running()) == (exit_code, set())
        assert told in status["reason"]
        assert time.monotonic() - began < longest


# --- release commands -------------------------------------------------------------------------------------------------


def test_a_failed_release_command_stops_the_boot_until_it_is_retried(instances: Instances) -> None:
    stack = Stack(release='echo "using $DATABASE_URL"; test -e "$HOME/mended" || { echo broken >&2; exit 7; }')
    stack = replace(stack, worker_check=None)
    with instances.start({"stack": "shop", "mode": "review"}, stack=stack) as booted:
        for status in (booted.wait(), booted.boot_again()):
            assert (status["phase"], status["exit_code"]) == ("failed", 25)
            assert "shop: the release command failed with exit status 7" in status["reason"]
            assert status["reason"].endswith("\n  using [hidden]\n  broken")
            assert status["hint"] == "agent release retry shop"
            assert booted.running() == set(DATASTORES)
        assert booted.journal("bakeboot-boot.service").count("release shop: broken") == 1
        assert "postgres://" not in booted.journal("bakeboot-boot.service")
        booted.shell("touch /var/lib/bakeboot/data/web/mended")
        assert booted.agent("release", "retry", "shop").returncode == 0
        assert booted.wait()["phase"] == "ready", booted.journal()
        again = booted.agent("release", "retry", "shop")
        assert (again.returncode, "has not failed" in again.stderr) == (25, True)


def test_a_release_command_that_was_cut_off_is_not_run_again(instances: Instances) -> None:
    stack = Stack(release="echo begun; sleep 60")
    with instances.start({"stack": "shop", "mode": "review"}, stack=stack) as booted:
        wait_until(
            lambda: "release shop: begun" in booted.journal(), "the release command begins", timeout=20, pause=0.1
        )
        booted.machine.run(["systemctl", "kill", "--signal=KILL", "bakeboot-boot.service"])
        time.sleep(2.5)  # RestartSec: what was killed is tried again
        status = booted.wait()
        assert status["exit_code"] == 25
        assert "was cut off" in status["reason"]
        assert booted.running() == set(DATASTORES)


# --- services that are not well ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stack", "told"),
    [
        (Stack(web_process="exec sleep 600"), "the last answer: GET /healthz on port 8000: Connection refused"),
        (Stack(web_process="exit 9"), "the unit is activating (auto-restart, exit-code 9)"),
        (Stack(worker_check="echo not now; false"), "worker: not healthy within 3 s; the last answer: its check: exit"),
    ],
    ids=["silent", "crashing", "check"],
)  # fmt: skip
def test_a_service_that_is_not_well_fails_the_boot_and_is_named(instances: Instances, stack: Stack, told: str) -> None:
    with instances.start({"stack": "shop", "mode": "test"}, stack=replace(stack, deadline=3.0)) as booted:
        status = booted.wait()
        assert (status["phase"], status["exit_code"]) == ("failed", 26)
        assert told in status["reason"]
        assert "journalctl -u bakeboot-svc-w" in status["hint"]


def test_a_crashed_agent_is_started_again(instances: Instances) -> None:
    with instances.start({"stack": "shop", "mode": "bake"}, faults=Faults(hang=2)) as booted:
        wait_until(
            lambda: booted.show("bakeboot-boot.service", "MainPID") not in ("", "0"),
            "the agent runs",
            timeout=5,
            pause=0.05,
        )
        booted.machine.run(["systemctl", "kill", "--signal=KILL", "bakeboot-boot.service"])
        wait_until(
            lambda: booted.show("bakeboot-boot.service", "ActiveState") == "active",
            "the boot ends well",
            timeout=20,
            pause=0.1,
        )
        assert booted.status()["phase"] == "idle"
        assert booted.show("bakeboot-boot.service", "NRestarts") == "1"
