"""The files of an image: one unit for each kind as a golden text, and nothing of a value where it can't be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import pytest

from agent.detect import Detected
from agent.heroku import AppJson
from bake.files import image_files
from bake.render import Renderer
from tests.agent.hostile import HOSTILE
from tests.bake.planning import STACK, planned

GOLDEN = Path(__file__).parent / "golden"
UNITS = "/etc/systemd/system"


def rendered(stack: str = STACK, **changes: Any) -> dict[str, str]:
    return {file.path: file.text for file in image_files(planned(stack, **changes), Renderer())}


@pytest.mark.parametrize(
    ("path", "golden"),
    [
        (f"{UNITS}/bakeboot-svc-storefront.service", "web.service"),
        (f"{UNITS}/bakeboot-svc-jobs.service", "worker.service"),
        (f"{UNITS}/bakeboot-svc-www.service", "static.service"),
        ("/etc/bakeboot/nginx/www.conf", "static.conf"),
    ],
)
def test_what_is_rendered_is_the_golden_file(path: str, golden: str) -> None:
    assert rendered()[path] == (GOLDEN / golden).read_text()


def test_every_service_and_datastore_has_its_unit_and_nothing_else_is_there() -> None:
    assert set(rendered()) == {
        f"{UNITS}/bakeboot-boot.service",
        *(f"{UNITS}/bakeboot-svc-{name}.service" for name in ("storefront", "orders-api", "jobs", "www")),
        *(f"{UNITS}/bakeboot-data-{name}.service" for name in ("db", "queue")),
        "/etc/bakeboot/nginx/www.conf",
        "/usr/local/bin/agent",
        "/opt/bakeboot/bin/run-process",
        "/opt/bakeboot/bin/postgresql-init",
        "/usr/lib/sysusers.d/bakeboot.conf",
        "/usr/lib/tmpfiles.d/bakeboot.conf",
    }


def test_programs_are_executable_and_units_are_not() -> None:
    executables = {file.path for file in image_files(planned(), Renderer()) if file.executable}
    assert executables == {
        "/usr/local/bin/agent",
        "/opt/bakeboot/bin/run-process",
        "/opt/bakeboot/bin/postgresql-init",
    }


def test_no_environment_and_no_command_is_ever_in_a_unit() -> None:
    values = {f"V{number}": value for number, value in enumerate(HOSTILE)}
    hostile = rendered(storefront={"app": AppJson(env=values, datastores=("postgresql", "redis"))})
    assert hostile == rendered()
    processes = {"web": "evil\n[Service]\nExecStart=/bin/false", "worker": "%n $HOME `reboot`"}
    assert rendered(storefront={"processes": processes}) == rendered()


def test_no_unit_starts_by_itself_but_the_agents() -> None:
    installed = [path for path, text in rendered().items() if path.startswith(UNITS) and "[Install]" in text]
    assert installed == [f"{UNITS}/bakeboot-boot.service"]


@pytest.mark.parametrize(("cpu", "quota"), [("7%", "CPUQuota=7%"), ("29%", "CPUQuota=29%"), ("150%", "CPUQuota=150%")])
def test_a_share_of_cpu_is_what_was_written(cpu: str, quota: str) -> None:
    stack = STACK.replace('cpu = "50%"', f'cpu = "{cpu}"')
    assert quota in rendered(stack)[f"{UNITS}/bakeboot-svc-storefront.service"].splitlines()


def test_node_may_write_and_execute_memory_and_python_may_not() -> None:
    files = rendered()
    assert "MemoryDenyWriteExecute=yes" in files[f"{UNITS}/bakeboot-svc-storefront.service"]
    assert "MemoryDenyWriteExecute=yes" not in files[f"{UNITS}/bakeboot-svc-orders-api.service"]
    assert "MemoryDenyWriteExecute=yes" not in files[f"{UNITS}/bakeboot-svc-jobs.service"]


def test_a_repo_that_a_command_builds_for_a_pinned_node_is_loosened_as_node_is() -> None:
    unit = f"{UNITS}/bakeboot-svc-orders-api.service"
    assert rendered(orders_api={"detected": Detected(("command",), node="20")})[unit] == rendered()[unit]
    without = rendered(orders_api={"detected": Detected(("command",))})[unit]
    assert "MemoryDenyWriteExecute=yes" in without
    assert "AF_NETLINK" not in without


def test_files_that_node_built_are_served_without_netlink() -> None:
    unit = f"{UNITS}/bakeboot-svc-www.service"
    assert rendered(www={"detected": Detected(("node", "static"), static="public")})[unit] == rendered()[unit]


def test_hardening_is_not_rendered_without_knowing_whether_node_runs() -> None:
    with pytest.raises(jinja2.UndefinedError, match="node"):
        Renderer()("hardening.j2", "/x", {"loosen": ()})


def test_each_service_has_a_system_user_that_nobody_logs_in_as() -> None:
    lines = rendered()["/usr/lib/sysusers.d/bakeboot.conf"].splitlines()[1:]
    assert lines[0] == 'u bakeboot-build - "bakeboot" /nonexistent /usr/sbin/nologin'
    assert 'u bb-jobs - "bakeboot" /var/lib/bakeboot/data/jobs /usr/sbin/nologin' in lines
    assert len(lines) == 5
