"""The files of an image besides code: units, configuration, the agent's commands. Pure but for the templates."""

from __future__ import annotations

import math
from typing import Any

from agent.names import service_user
from bake.plan import BakePlan
from bake.render import RenderedFile, Renderer
from bake.stack import Datastore, Service

UNITS = "/etc/systemd/system"

TMPFILES = """\
# tmpfiles.d(5): the agent's folders, made before it starts.
d /run/bakeboot 0711 root root -
d /var/lib/bakeboot 0755 root root -
d /var/lib/bakeboot/data 0755 root root -
"""


def image_files(plan: BakePlan, render: Renderer) -> tuple[RenderedFile, ...]:
    """Every file that ``plan`` puts on the image; raises BakebootError for what a unit can't carry."""
    files = [
        render("bakeboot-boot.service", f"{UNITS}/bakeboot-boot.service", {}),
        render("agent", "/usr/local/bin/agent", {}, executable=True),
        render("run-process", "/opt/bakeboot/bin/run-process", {}, executable=True),
        render("postgresql-init", "/opt/bakeboot/bin/postgresql-init", {}, executable=True),
        RenderedFile("/usr/lib/tmpfiles.d/bakeboot.conf", TMPFILES),
        RenderedFile("/usr/lib/sysusers.d/bakeboot.conf", _users(plan)),
    ]
    for datastore in plan.stack.datastores.values():
        files.append(_datastore_unit(plan, datastore, render))
    for service in plan.stack.services.values():
        files += _service_files(plan, service, render)
    return tuple(files)


def _users(plan: BakePlan) -> str:
    """sysusers.d(5): a system user, with a group of its own, for each service; it can't log in."""
    lines = [f'u {user} - "bakeboot" {home} /usr/sbin/nologin' for user, home in plan.users]
    return "# One system user a service, and one that builds repos.\n" + "\n".join(lines) + "\n"


def _datastore_unit(plan: BakePlan, datastore: Datastore, render: Renderer) -> RenderedFile:
    unit = plan.manifest.datastores[datastore.name]
    values = {"datastore": datastore.name, "version": unit.version, "port": datastore.port}
    return render(f"{datastore.kind}.service.j2", f"{UNITS}/{unit.unit}", values)


def _service_files(plan: BakePlan, service: Service, render: Renderer) -> list[RenderedFile]:
    baked = plan.manifest.services[service.name]
    values: dict[str, Any] = {
        "service": service.name,
        "user": service_user(service.name),
        "repo": service.repo,
        "process": service.process,
        "needs": baked.needs,
        "memory": service.memory,
        "cpu": None if service.cpu is None else max(1, round(service.cpu * 100)),
        "stop_timeout": math.ceil(service.stop_timeout),
        "loosen": service.loosen,
        "node": service.repo in plan.node,
    }
    static = plan.statics.get(service.name)
    if static is None:
        return [render("service.service.j2", f"{UNITS}/{baked.unit}", values)]
    site = {"service": service.name, "repo": service.repo, "static": static, "port": service.port}
    return [
        render("static.service.j2", f"{UNITS}/{baked.unit}", values),
        render("nginx-static.conf.j2", f"/etc/bakeboot/nginx/{service.name}.conf", site),
    ]
