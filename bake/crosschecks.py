"""What must hold between the tables of a stack file. Pure: a Stack in, mistakes out.

The reader calls it when each table is right by itself, so that one slip isn't told twice.
"""

from __future__ import annotations

from collections.abc import Iterator

from agent.environment import datastore_variables
from agent.errors import Mistake
from agent.names import variable
from bake.stack import Service, Stack


def check_stack(stack: Stack) -> list[Mistake]:
    return [
        *_contents(stack),
        *_names(stack),
        *_ports(stack),
        *_repos(stack),
        *(mistake for service in stack.services.values() for mistake in _service(stack, service)),
    ]


def _contents(stack: Stack) -> Iterator[Mistake]:
    if not stack.services:
        yield Mistake("services", "expected at least one service, got none", "[services.web]")


def _names(stack: Stack) -> Iterator[Mistake]:
    """A service and a datastore keep their data under their names, in the same folder."""
    for name in stack.datastores:
        if name in stack.services:
            what = "a service has this name too, and both keep their data under it"
            yield Mistake(f"datastores.{name}", what, f"[datastores.{name[:21].rstrip('-')}-db]")


def _ports(stack: Stack) -> Iterator[Mistake]:
    """Self-contained machines run everything side by side: each port is used once."""
    listeners = [(f"services.{s.name}", s.port) for s in stack.services.values() if s.port is not None]
    listeners += [(f"datastores.{d.name}", d.port) for d in stack.datastores.values()]
    owners: dict[int, str] = {}
    taken = {port for _, port in listeners}
    for owner, port in listeners:
        if port in owners:
            free = next(candidate for candidate in range(port + 1, port + len(taken) + 2) if candidate not in taken)
            hint = f"port = {free}" if free <= 65535 else "choose another port"
            what = f"expected a port of its own, got {port}, which is that of {owners[port]}"
            yield Mistake(f"{owner}.port", what, hint)
        owners.setdefault(port, owner)


def _repos(stack: Stack) -> Iterator[Mistake]:
    for repo in stack.repos.values():
        kinds = {service.kind for service in stack.services_of(repo.name)}
        if repo.static is not None and kinds - {"web"}:
            what = "nginx serves this repo, and it has a service that is no web service"
            yield Mistake(f"repos.{repo.name}.static", what, "make it two repos")


def _service(stack: Stack, service: Service) -> Iterator[Mistake]:
    path = f"services.{service.name}"
    for index, called in enumerate(service.calls):
        if called == service.name:
            yield Mistake(f"{path}.calls[{index}]", "a service does not call itself", "leave it out")
        elif stack.services[called].kind != "web":
            kind = stack.services[called].kind
            yield Mistake(f"{path}.calls[{index}]", f"{called} is a {kind}, and has no URL to call", "leave it out")
    health = service.health
    if health.deadline < health.settle + health.interval:
        least = int(health.settle + health.interval) + 1
        what = f"expected more than settle and interval together, got {health.deadline:g}s"
        yield Mistake(f"{path}.health.deadline", what, f'deadline = "{least * 2}s"')
    yield from _databases(stack, service)
    yield from _variables(stack, service)


def _databases(stack: Stack, service: Service) -> Iterator[Mistake]:
    if service.databases_of is None:
        return
    path, further = f"services.{service.name}.databases_of", stack.services[service.databases_of].databases_of
    if service.databases_of == service.name:
        yield Mistake(path, "a service uses its own databases anyway", "leave it out")
    elif further is not None:
        what = f"{service.databases_of} has none of its own: it uses those of {further}"
        yield Mistake(path, what, f'databases_of = "{further}"')


def _variables(stack: Stack, service: Service) -> Iterator[Mistake]:
    """Two things that a service is told by environment must not have the same variable."""
    path = f"services.{service.name}"
    needed: dict[str, str] = {need: stack.datastores[need].kind for need in service.needs}
    givers = {name: f"the datastore {need}" for name, need in datastore_variables(needed).items()}
    for index, called in enumerate(service.calls):
        name = variable(called)
        if name in givers:
            what = f"{name} would be both {givers[name]} and the service {called}"
            yield Mistake(f"{path}.calls[{index}]", what, f"rename the service {called}, or the datastore")
    for name in service.env:
        called_by = next((called for called in service.calls if variable(called) == name), None)
        if name in givers or called_by:
            giver = givers.get(name) or f"the service {called_by}"
            yield Mistake(f"{path}.env.{name}", f"{name} is made by the agent: {giver}", "leave it out")
