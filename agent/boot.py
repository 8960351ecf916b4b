"""``agent boot``: what an instance does at boot. Its tags and its image say what it is; systemd runs it.

Ends in one of three ways: ready (every service healthy), idle (mode ``bake``: nothing runs), or failed, with
the reason in ``status.json``, in the journal and in ``systemctl status``. Until the first units are queued
it imports only what that takes (a test counts); the rest comes in where it is needed.
"""

from __future__ import annotations

import os
import sys
import time

from agent import imds, state
from agent.assignment import Assignment, decide, lacking
from agent.doors import Decided, Doors
from agent.envfile import render
from agent.environment import NOTHING_GIVEN, Checkout, Given, environments
from agent.errors import AssignmentError, BakebootError
from agent.image import ImageManifest
from agent.instance import read_checkouts, read_config
from agent.names import BAKE
from agent.state import Lock, Places, Status
from agent.systemd import Systemd
from agent.tags import read_tags

Environments = dict[str, dict[str, str]]


def main() -> int:
    """``agent boot``, as the unit runs it: its exit code says what kind of failure it was (``agent/errors.py``)."""
    places = Places()
    Lock(places).take(wait=True)  # for as long as this process lives
    return run(
        Doors(
            places=places,
            systemd=Systemd(notify_socket=os.environ.get("NOTIFY_SOCKET", "")),
            status=Status(places, time.time),
            connect=imds.connect,
            monotonic=time.monotonic,
            clock=time.time,
            since_boot=lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
            sleep=time.sleep,
        )
    )


def run(doors: Doors) -> int:
    """A boot, and what is told when it fails; its exit code. A bug of ours is told and raised."""
    try:
        boot(doors)
    except BakebootError as error:
        doors.status.fail(error)
        doors.systemd.failed(str(error), error.exit_code)
        sys.stderr.write(f"agent boot: {error}\n")
        return error.exit_code
    except Exception as error:
        doors.status.fail(error)
        raise
    return 0


def boot(doors: Doors) -> None:
    """The story of a boot, from its tags to READY."""
    image = ImageManifest.read(doors.places.image)
    decided = _decide(doors, image)
    if decided.assignment.mode == BAKE:
        _done(doors, "idle", "mode bake: nothing runs")
        return
    services = decided.assignment.services(image)
    checkouts = read_checkouts(doors.places, [service.repo for service in services])
    variables = environments(
        image,
        decided.assignment,
        places=doors.places,
        checkouts=checkouts,
        config=read_config(doors.places, [service.name for service in services]),
        given=_given(doors, decided),
    )
    for service, values in variables.items():
        state.write(doors.places.env_file(service), render(values, where=service))
    _prepare_services(doors, decided, checkouts, variables)
    _queue(doors, "services", [service.unit for service in services])
    _settle(doors, decided, variables)
    _done(doors, "ready", f"{decided.assignment}: every service is healthy")


def _decide(doors: Doors, image: ImageManifest) -> Decided:
    """Who this instance is and what its tags say, from the metadata service."""
    status, systemd = doors.status, doors.systemd
    status.enter("metadata", image=image.name)
    client = imds.Imds(
        budget=image.boot.metadata_wait,
        connect=doors.connect,
        monotonic=doors.monotonic,
        sleep=doors.sleep,
        waiting=systemd.progress,
    )
    instance_id = state.checked_instance_id(client.get("meta-data/instance-id"))
    status.enter("tags", instance_id=instance_id)
    tags = read_tags(
        client,
        lacking=lacking,
        wait=image.boot.tags_wait,
        monotonic=doors.monotonic,
        sleep=doors.sleep,
        waiting=systemd.progress,
    )
    client.close()
    assignment = decide(tags, image, instance_id=instance_id)
    _refuse_a_second_life(status.facts, assignment)
    state.prepare(doors.places, instance_id)
    status.enter("starting", assignment=assignment.facts(), timings={"requests": client.requests})
    return Decided(image=image, instance_id=instance_id, assignment=assignment)


def _refuse_a_second_life(before: dict[str, object], assignment: Assignment) -> None:
    """What was started as one thing can't become another without a reboot: both would run."""
    started = before["assignment"]
    if before["units"] and isinstance(started, dict) and started != assignment.facts():
        raise AssignmentError(
            f"this machine was started as {Assignment(**started)}; its tags now say {assignment}",
            where="tags",
            hint="reboot   (to become what the tags say)",
        )


def _given(doors: Doors, decided: Decided) -> Given:
    """What a self-contained machine makes for itself: its datastores' addresses, its generated secrets."""
    if not decided.assignment.self_contained:
        return NOTHING_GIVEN
    from agent.selfcontained import make_given

    return make_given(doors.places, decided.image, decided.instance_id)


def _prepare_services(doors: Doors, decided: Decided, checkouts: dict[str, Checkout], variables: Environments) -> None:
    """On a self-contained machine: datastores first, then release commands. Elsewhere they are not this machine's."""
    if not decided.assignment.self_contained:
        return
    from agent.selfcontained import run_release_commands, start_datastores

    start_datastores(doors, decided, lambda phase, units: _queue(doors, phase, units))
    doors.status.enter("release")
    run_release_commands(doors, decided, checkouts, variables)


def _queue(doors: Doors, phase: str, units: list[str]) -> None:
    """Let systemd start ``units``, and go on; what they are is written down first, for whoever comes after a crash."""
    started = doors.status.facts["units"]
    assert isinstance(started, list)
    doors.status.enter(phase, units=list(dict.fromkeys([*started, *units])))
    doors.systemd.start(units)
    timings = doors.status.facts["timings"]
    assert isinstance(timings, dict)
    if "queued_ms" not in timings:
        timings["queued_ms"] = _age_ms(doors)
        timings["queued_cpu_ms"] = round(1000 * (time.process_time() + sum(os.times()[2:4])))


def _age_ms(doors: Doors) -> int:
    """Since this process began, from proc_pid_stat(5): field 22 is its start, in ticks since the machine's."""
    with open("/proc/self/stat", "rb") as file:
        start = int(file.read().rpartition(b") ")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    return round(1000 * (doors.since_boot() - start))


def _settle(doors: Doors, decided: Decided, variables: Environments) -> None:
    """Wait until every service is active and answers its check, and stays so."""
    from agent.checks import Checks
    from agent.health import settle

    doors.status.enter("settling")
    settle(
        decided.assignment.services(decided.image),
        systemd=doors.systemd,
        ask=Checks(doors.places, variables).ask,
        monotonic=doors.monotonic,
        sleep=doors.sleep,
    )


def _done(doors: Doors, phase: str, text: str) -> None:
    timings = doors.status.facts["timings"]
    assert isinstance(timings, dict)
    timings["ready_ms"] = _age_ms(doors)
    doors.status.enter(phase)
    doors.systemd.ready(text)
    sys.stdout.write(f"agent boot: {text}\n")
