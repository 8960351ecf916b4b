"""The environment of each service: its layers, and what must be there before anything starts. Pure.

Later wins: what the runtime wants < the stack file's and app.json's env < made by the agent (PORT, PATH,
HOME, addresses of datastores and called services, BAKEBOOT_*) < config for all services < config for
this one. PORT and PATH are the agent's alone.

On the boot path: imports nothing outside of the agent.
"""

from __future__ import annotations

from agent.errors import ConfigError
from agent.image import POSTGRESQL, REDIS
from agent.names import variable
from agent.word import Word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.assignment import Assignment
    from agent.image import ImageManifest, Service
    from agent.state import Places

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DATASTORE_VARIABLES = {POSTGRESQL: "DATABASE_URL", REDIS: "REDIS_URL"}
AGENTS_ALONE = ("PORT", "PATH")


class Checkout(Word):
    """What is known of a repo's code on this machine: ``checkout.json`` of what ``current`` points to.

    ``path`` are directories for PATH, relative to the checkout or absolute.
    """

    commit: str
    path: tuple[str, ...] = ()
    python: bool = False
    node: bool = False


class Config(Word):
    """Variables from outside of the image: for every service, and by service."""

    everyone: dict[str, str]
    services: dict[str, dict[str, str]]

    def of(self, service: str) -> dict[str, str]:
        return self.everyone | self.services.get(service, {})


class Given(Word):
    """What this machine adds in the self-contained modes, both empty elsewhere.

    ``datastores``: URL by service, then by datastore. ``generated``: value by repo, then by variable (the
    processes of one repo share a secret, as those of one Heroku app do).
    """

    datastores: dict[str, dict[str, str]]
    generated: dict[str, dict[str, str]]


NOTHING_GIVEN = Given(datastores={}, generated={})


def environments(
    image: ImageManifest,
    assignment: Assignment,
    *,
    places: Places,
    checkouts: dict[str, Checkout],
    config: Config,
    given: Given = NOTHING_GIVEN,
) -> dict[str, dict[str, str]]:
    """The whole environment of every service of the assignment, by service.

    Raises ConfigError, which names every variable that is missing, for all services at once.
    """
    complaints = [
        complaint
        for service in assignment.services(image)
        for complaint in _complaints(service, image, assignment, config, given, places)
    ]
    if complaints:
        raise ConfigError("\n".join(what for what, _hint in complaints), where=str(assignment), hint=complaints[0][1])
    return {
        service.name: _layers(service, image, assignment, places, checkouts[service.repo], config, given)
        for service in assignment.services(image)
    }


def _layers(
    service: Service,
    image: ImageManifest,
    assignment: Assignment,
    places: Places,
    checkout: Checkout,
    config: Config,
    given: Given,
) -> dict[str, str]:
    runtime = {"LANG": "C.UTF-8"}
    if checkout.python:
        runtime["PYTHONUNBUFFERED"] = "1"
    if checkout.node:
        runtime["NODE_ENV"] = "production"
    current = places.checkout(service.repo)
    made = {
        "PATH": ":".join([*(_absolute(part, current) for part in checkout.path), SYSTEM_PATH]),
        "HOME": places.data(service.name),
        "BAKEBOOT_STACK": image.stack,
        "BAKEBOOT_MODE": assignment.mode,
        "BAKEBOOT_SERVICE": service.name,
        "BAKEBOOT_COMMIT": checkout.commit,
    }
    if service.port is not None:
        made["PORT"] = str(service.port)
    if assignment.self_contained:
        made |= dict(_local_addresses(service, image))
        for name, datastore in datastore_variables(needed_datastores(service, image)).items():
            made[name] = given.datastores[service.name][datastore]
    generated = {name: given.generated[service.repo][name] for name in service.generated if assignment.self_contained}
    return runtime | generated | service.env | made | config.of(service.name)


def _absolute(part: str, checkout: str) -> str:
    return part if part.startswith("/") else f"{checkout}/{part}"


def _local_addresses(service: Service, image: ImageManifest) -> list[tuple[str, str]]:
    """The variable and the address of each service that this one calls, all on this machine."""
    called = [image.services[name] for name in service.calls]
    return [(variable(other.name), f"http://127.0.0.1:{other.port}") for other in called if other.port is not None]


def needed_datastores(service: Service, image: ImageManifest) -> dict[str, str]:
    """The kind of each datastore that ``service`` needs, by name, in the order of ``needs``."""
    return {name: image.datastores[name].kind for name in service.needs}


def datastore_variables(needed: dict[str, str]) -> dict[str, str]:
    """Which variable names which datastore, of those ``needed`` (kind by name, in the order of ``needs``).

    The first of a kind has the usual name; where there are more of one kind, each has its own besides:
    ``DATABASE_URL``, ``DB_URL`` and ``ANALYTICS_URL``.
    """
    variables: dict[str, str] = {}
    for kind, usual in DATASTORE_VARIABLES.items():
        names = [name for name, its_kind in needed.items() if its_kind == kind]
        if names:
            variables[usual] = names[0]
        if len(names) > 1:
            variables |= {variable(name): name for name in names}
    return variables


def _complaints(
    service: Service, image: ImageManifest, assignment: Assignment, config: Config, given: Given, places: Places
) -> list[tuple[str, str]]:
    """What keeps a service from starting, each with a line to type."""
    configured = config.of(service.name)
    complaints = [
        (f"{service.name}: {name} is set by the agent, config can't change it", f"remove {name} from the config")
        for name in AGENTS_ALONE
        if name in configured
    ]
    for name in _needed(service, image, assignment):
        present = configured if not assignment.self_contained else service.env | configured
        if present.get(name):
            continue
        if assignment.self_contained:
            hint = f'in stack.toml, [services.{service.name}]: env = {{ {name} = "…" }}'
        else:
            hint = f"a line {name}=… in {places.config_file(service.name)}, then: systemctl restart bakeboot-boot"
        complaints.append((f"{service.name}: {name} has no value", hint))
    return complaints


def _needed(service: Service, image: ImageManifest, assignment: Assignment) -> list[str]:
    """The variables that must have a value from outside, each once."""
    if assignment.self_contained:
        return list(service.required)
    called = [variable(name) for name in service.calls if image.services[name].port is not None]
    addresses = [*datastore_variables(needed_datastores(service, image)), *called]
    return list(dict.fromkeys([*addresses, *service.required, *service.generated]))
