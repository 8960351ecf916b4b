"""What must be true of every machine of every image, whatever the stack."""

from __future__ import annotations

import json

import pytest
from testinfra.host import Host

from agent.image import ImageManifest
from agent.names import SELF_CONTAINED


@pytest.fixture(scope="module")
def mine(image: ImageManifest, machine_mode: str, machine_service: str | None) -> list[str]:
    return list(image.services) if machine_mode in SELF_CONTAINED else [str(machine_service)]


def test_the_agent_says_that_it_is_ready(host: Host, machine_mode: str, machine_service: str | None) -> None:
    status = json.loads(host.check_output("agent status --json"))
    assert status["phase"] == "ready", status
    assert (status["mode"], status["service"]) == (machine_mode, machine_service)


def test_no_unit_has_failed(host: Host) -> None:
    assert host.check_output("systemctl list-units --state=failed --plain --no-legend") == ""


def test_its_services_run_each_as_its_own_user(host: Host, image: ImageManifest, mine: list[str]) -> None:
    for name in mine:
        service = image.services[name]
        shown = host.check_output("systemctl show --property=ActiveState,User %s", service.unit)
        assert set(shown.splitlines()) == {"ActiveState=active", f"User={service.user}"}


def test_no_other_service_and_no_datastore_runs(
    host: Host, image: ImageManifest, machine_mode: str, mine: list[str]
) -> None:
    units = "'bakeboot-svc-*' 'bakeboot-data-*'"
    listed = host.check_output(f"systemctl list-units --plain --no-legend --state=active {units}")
    running = {line.split()[0] for line in listed.splitlines()}
    wanted = {image.services[name].unit for name in mine}
    if machine_mode in SELF_CONTAINED:
        wanted |= {datastore.unit for datastore in image.datastores.values()}
    assert running == wanted


def test_the_code_is_at_the_commit_that_the_image_names(host: Host, image: ImageManifest) -> None:
    for name, repo in image.repos.items():
        assert host.check_output("readlink /srv/bakeboot/%s/current", name) == repo.commit


def test_no_service_may_write_to_its_code(host: Host, image: ImageManifest, mine: list[str]) -> None:
    for name in mine:
        service = image.services[name]
        found = host.check_output(
            "find -L /srv/bakeboot/%s/current -maxdepth 1 '(' -not -user root -o -perm -0002 ')' -print", service.repo
        )
        assert found == ""


def test_environment_files_are_roots_alone(host: Host, mine: list[str]) -> None:
    for name in mine:
        file = host.file(f"/run/bakeboot/env/{name}.env")
        assert (file.user, file.mode) == ("root", 0o600)
        assert host.check_output("findmnt --noheadings --output FSTYPE --target %s", file.path) == "tmpfs"
