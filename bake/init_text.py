"""Writes a first `stack.toml` from what was found in some repositories. Pure: findings in, text out.

The text is meant to be read and corrected, so it says in comments what could not be known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from agent.environment import datastore_variables
from agent.names import is_name
from bake.fields import Refused, name_from, quoted
from bake.stack import DatastoreKind, ServiceKind
from bake.values import process as check_process
from bake.values import variable as check_variable

_DATASTORE_NAMES: Mapping[str, str] = {"postgresql": "db", "redis": "redis"}
_CLOCKS = frozenset({"clock", "scheduler", "cron", "beat"})


@dataclass(frozen=True)
class Found:
    """What one directory holds, as far as it could be read."""

    name: str
    """Whatever it is called; not yet a valid name."""
    url: str
    subdirectory: str = ""
    processes: Sequence[str] = ()
    """The names of its Procfile's lines, without release."""
    is_static: bool = False
    datastores: Sequence[DatastoreKind] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    generated: Sequence[str] = ()
    required: Sequence[str] = ()
    unknown_addons: Sequence[str] = ()
    not_recognized: str = ""
    """Why its build was not recognized; "" when it was."""
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class _Service:
    name: str
    repo: str
    process: str
    kind: ServiceKind
    databases_of: str = ""
    """The first service of the repo, for the others: the processes of a Heroku app share its add-ons."""


def stack_text(name: str, found: Sequence[Found]) -> str:
    """The text of a stack.toml. `parse_stack` reads it without a mistake if there is a service in it."""
    repo_names: set[str] = set()
    service_names: set[str] = set()
    blocks = [_head(name)]
    for each in found:
        repo = _free(each.name, repo_names)
        blocks.append(_repo(repo, each))
        blocks.extend(_service(service, each) for service in _services(repo, each, service_names))
    kinds = dict.fromkeys(kind for each in found for kind in each.datastores)
    blocks.extend(f"[datastores.{_DATASTORE_NAMES[kind]}]\nkind = {quoted(kind)}\n" for kind in kinds)
    return "\n".join(blocks)


def _head(name: str) -> str:
    return (
        "# Written by `bakeboot init`: look through it. Every key is explained by: bakeboot docs stack\n"
        '# Who calls whom is not known yet: calls = ["other-service"] gives a service OTHER_SERVICE_URL.\n'
        f"\n[stack]\nname = {quoted(name_from(name))}\n"
    )


def _repo(name: str, found: Found) -> str:
    lines = [f"[repos.{name}]", f"url = {quoted(found.url)}"]
    if found.subdirectory:
        lines.append(f"subdirectory = {quoted(found.subdirectory)}")
    if found.not_recognized:
        lines += ['# build = "make install"', f"#   needed: {_comment(found.not_recognized)}"]
    if not found.processes and not found.is_static:
        lines.append("# It has no Procfile, so no service is made of it. One line is enough:  web: COMMAND")
    lines += [f"# {_comment(remark)}" for remark in found.remarks]
    if found.unknown_addons:
        lines.append(f"# Add-ons with nothing like them here: {_comment(', '.join(found.unknown_addons))}")
    if found.generated:
        lines.append(f"# Made on each self-contained machine (app.json): {', '.join(found.generated)}")
    required = [name for name in found.required if name not in _addresses(found)]
    if required:
        lines.append(f"# To be given as config (app.json): {', '.join(required)}")
    lines += [f"# Left out: {name} ({reason})" for name, reason in _refused_variables(found)]
    return "\n".join(lines) + "\n"


def _services(repo: str, found: Found, taken: set[str]) -> Iterator[_Service]:
    """web, or the only process, takes the repo's name; any other its own behind it."""
    processes = [process for process in found.processes if _is_process(process)] or ["web"] * found.is_static
    first = ""
    for process in sorted(processes, key=lambda process: process != "web"):
        kind: ServiceKind = "web" if process == "web" else "clock" if process.lower() in _CLOCKS else "worker"
        wanted = repo if process == "web" or len(processes) == 1 else f"{repo}-{process}"
        name = _free(wanted, taken)
        yield _Service(name, repo, process, kind, first)
        first = first or name


def _service(service: _Service, found: Found) -> str:
    lines = [f"[services.{service.name}]"]
    if service.name != service.repo:
        lines.append(f"repo = {quoted(service.repo)}")
    if service.process != ("web" if service.kind == "web" else service.name):
        lines.append(f"process = {quoted(service.process)}")
    if service.kind != "worker" and service.process != "web":
        lines.append(f"kind = {quoted(service.kind)}")
    elif service.kind == "worker" and service.process == service.name:
        lines.append('kind = "worker"')
    if service.kind == "web":
        lines.append('health = { path = "/" }  # better: a path that asks its datastores too')
    needs = [quoted(_DATASTORE_NAMES[kind]) for kind in found.datastores]
    if needs:
        lines.append(f"needs = [{', '.join(needs)}]")
    if needs and service.databases_of:
        lines.append(f"databases_of = {quoted(service.databases_of)}  # as the processes of a Heroku app share its own")
    refused = {name for name, _ in _refused_variables(found)}
    env = [f"{name} = {quoted(value)}" for name, value in found.env.items() if name not in refused]
    if env:
        lines += ["", f"[services.{service.name}.env]  # from app.json", *env]
    return "\n".join(lines) + "\n"


def _is_process(process: str) -> bool:
    try:
        check_process(process)
    except Refused:
        return False
    return True


def _addresses(found: Found) -> dict[str, str]:
    """The datastore by the variable that gives its address: these are the agent's."""
    needed: dict[str, str] = {_DATASTORE_NAMES[kind]: kind for kind in found.datastores}
    return datastore_variables(needed)


def _refused_variables(found: Found) -> Iterator[tuple[str, str]]:
    """Variables that a stack file can't hold, and why. Their values are not shown: some are passwords."""
    addresses = _addresses(found)
    for name, value in found.env.items():
        if name in addresses:
            yield name, f"the datastore {addresses[name]} gives it"
            continue
        try:
            check_variable(name, value)
        except Refused as refused:
            yield name, "a value with a password does not belong here" if "password" in refused.what else refused.what


def _free(wanted: str, taken: set[str]) -> str:
    """A valid name close to `wanted` that isn't taken; it is then."""
    base = wanted if is_name(wanted) else name_from(wanted)
    name, number = base, 2
    while name in taken:
        name = f"{base[: 24 - len(str(number)) - 1].rstrip('-')}-{number}"
        number += 1
    taken.add(name)
    return name


def _comment(text: str) -> str:
    """`text` as part of a comment: on one line, without control characters."""
    return quoted(" ".join(text.split()))[1:-1].replace('\\"', '"')
