"""From a stack and its sources to all that a bake does: pure, so that it can be looked at first.

Stack + Source… ─▶ BakePlan ─┬─ manifest      image.json, less what only the build can tell
                             ├─ system        apt packages, runtimes: the layer below all repos
                             └─ users         one system user a service
Source… + what the system layer has ─▶ RepoPlan…   builds, and the keys that their layers are kept under
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent.build_plan import BuildRequest, checkout_key
from agent.datastores import owner, users
from agent.detect import PYTHON
from agent.environment import datastore_variables
from agent.errors import Mistake, StackError
from agent.image import POSTGRESQL, Base, Boot, Datastore, Health, ImageManifest, Packages, Repo, Service
from agent.names import BUILD_USER, datastore_unit, service_unit, service_user, variable
from agent.releasecmd import release_service
from agent.runtimes import Base as BuildBase
from bake import stack as words
from bake.base import BASES
from bake.layers import key_of
from bake.sources import RELEASE, Source

TOOLKIT_PACKAGES = ("build-essential", "libsystemd-dev", "pkg-config", "python3-dev")
"""What the agent's environment is built with; compilers stay, as an admin rebuilds on the machine."""

DATASTORE_VERSIONS = {
    "debian:bookworm": {"postgresql": "15", "redis": "7"},
}


@dataclass(frozen=True)
class SystemPlan:
    """The layer between base and repos. ``runtimes`` are versions of Node besides the base's.

    ``pythons`` are versions of Python besides the base's, from apt, and the repos that pin each. One that
    no apt source has stops the bake, which says which are to be had.
    """

    packages: tuple[str, ...]
    pythons: Mapping[str, tuple[str, ...]]
    runtimes: tuple[str, ...]
    key: str


@dataclass(frozen=True)
class RepoPlan:
    """One repo's part: ``key`` is its code layer's, ``deps`` maps folders of dependencies to their layers' keys."""

    source: Source
    key: str
    deps: Mapping[str, str]
    request: BuildRequest

    @property
    def name(self) -> str:
        return self.source.repo.name

    def order(self) -> dict[str, object]:
        """The repo's entry in the build plan that ``agent build`` reads."""
        return {
            "name": self.name,
            "source": str(self.request.source),
            "commit": self.request.commit,
            "tree": self.request.tree,
            "processes": dict(self.request.processes),
            "build": self.request.command,
            "static": self.source.repo.static,
            "detected": self.request.detected.to_json(),
        }


@dataclass(frozen=True)
class BakePlan:
    stack: words.Stack
    manifest: ImageManifest
    system: SystemPlan
    statics: Mapping[str, str]
    """Services that nginx serves, and the folder below their checkout."""
    node: frozenset[str]
    """Repos whose processes may run on Node: their units let its JIT write memory and execute it."""
    users: tuple[tuple[str, str], ...]
    """(user, home) of every system user."""
    messages: tuple[str, ...]


@dataclass(frozen=True)
class Identity:
    """What a bake is called: the image's name, its time (RFC 3339, UTC), what it was made from."""

    image: str
    time: str
    parent: str | None
    base_digest: str
    toolkit: str
    system_inputs: Mapping[str, str]
    """Hashes of the toolkit's own files that the system layer is made with."""
    apt_keys: Mapping[str, str] = field(default_factory=dict)
    """Hashes of the keys of the stack's apt sources, by the source's name."""


def plan_bake(
    stack: words.Stack, sources: Mapping[str, Source], identity: Identity, *, where: str = "stack.toml"
) -> BakePlan:
    """Plan it all; raises StackError with every mistake that only the repos' files could show."""
    mistakes: list[Mistake] = []
    services = {
        name: _service(stack, service, sources[service.repo], mistakes) for name, service in stack.services.items()
    }
    if mistakes:
        raise StackError(mistakes, where=where)
    statics = {
        name: source.detected.static
        for name, service in stack.services.items()
        if (source := sources[service.repo]).detected.static is not None and service.process not in source.processes
    }
    manifest = ImageManifest(
        stack=stack.name,
        name=identity.image,
        time=identity.time,
        parent=identity.parent,
        box=None,
        base=Base(name=stack.base, digest=identity.base_digest),
        toolkit=identity.toolkit,
        boot=Boot(metadata_wait=stack.boot.metadata_wait, tags_wait=stack.boot.tags_wait),
        repos={name: _repo(source) for name, source in sources.items()},
        services=services,
        datastores={name: _datastore(stack, datastore) for name, datastore in stack.datastores.items()},
        packages=Packages(apt={}, python={}, node={}),
    )
    homes = ((service_user(name), f"/var/lib/bakeboot/data/{name}") for name in stack.services)
    system_users = ((BUILD_USER, "/nonexistent"), *homes)
    told = (f"{name}: {text}" for name, source in sources.items() for text in source.detected.messages)
    messages = (*told, *_unmigrated(manifest))
    system = _system(stack, sources, identity, bool(statics))
    node = frozenset(name for name, source in sources.items() if source.detected.runs_node)
    return BakePlan(stack, manifest, system, statics, node, system_users, messages)


def _service(stack: words.Stack, service: words.Service, source: Source, mistakes: list[Mistake]) -> Service:
    path = f"services.{service.name}"
    is_static = source.detected.static is not None and service.kind == "web"
    if service.process not in source.processes and not is_static:
        known = sorted(set(source.processes) - {RELEASE})
        mistakes.append(
            Mistake(
                f"{path}.process",
                f"no process {service.process!r} in the Procfile of {service.repo} "
                f"(it has: {', '.join(known) or 'none'})",
                f'process = "{known[0] if known else "web"}"    or add the line to its Procfile',
            )
        )
    health = service.health
    needs = service.needs or _implied_needs(stack, service, source, mistakes)
    addresses = _addresses(stack, service, needs)
    return Service(
        name=service.name,
        repo=service.repo,
        process=service.process,
        kind=service.kind,
        unit=service_unit(service.name),
        user=service_user(service.name),
        port=service.port,
        health=Health(
            path=health.path,
            status=health.status,
            interval=health.interval,
            settle=health.settle,
            deadline=health.deadline,
        ),
        check=service.check,
        env={**{name: value for name, value in source.app.env.items() if name not in addresses}, **service.env},
        generated=tuple(name for name in source.app.generated if name not in {*service.env, *addresses}),
        required=tuple(name for name in source.app.required if name not in {*service.env, *addresses, "PORT"}),
        calls=service.calls,
        needs=needs,
        databases_of=service.databases_of,
    )


def _unmigrated(manifest: ImageManifest) -> Iterator[str]:
    """A release command works on the databases of one service: what is told of others of its repo with their own."""
    for repo in manifest.repos.values():
        one = release_service(repo, manifest)
        if repo.release is None or one is None:
            continue
        for datastore in manifest.datastores.values():
            if datastore.kind != POSTGRESQL or datastore.shared:
                continue
            for service in users(datastore, manifest):
                if service.repo == repo.name and owner(datastore, service, manifest) != owner(datastore, one, manifest):
                    yield (
                        f"{service.name}: its database in {datastore.name} is its own, and no release command sees it; "
                        f'{one.name}\'s would be databases_of = "{one.name}"'
                    )


def _addresses(stack: words.Stack, service: words.Service, needs: tuple[str, ...]) -> frozenset[str]:
    """The variables that the agent makes of datastores and calls: what app.json says of them does not count."""
    needed: dict[str, str] = {need: stack.datastores[need].kind for need in needs}
    return frozenset((*datastore_variables(needed), *(variable(called) for called in service.calls)))


def _implied_needs(
    stack: words.Stack, service: words.Service, source: Source, mistakes: list[Mistake]
) -> tuple[str, ...]:
    """The datastores that a repo's add-ons ask for, when the stack file does not say."""
    needs = []
    for kind in source.app.datastores:
        fitting = [datastore.name for datastore in stack.datastores.values() if datastore.kind == kind]
        if len(fitting) == 1:
            needs.append(fitting[0])
        else:
            what = f"app.json of {service.repo} asks for {kind}, and the stack has {len(fitting)} of that kind"
            hint = f'needs = ["{fitting[0]}"]' if fitting else f'[datastores.{kind}]    kind = "{kind}"'
            mistakes.append(Mistake(f"services.{service.name}.needs", what, hint))
    return tuple(needs)


def _repo(source: Source) -> Repo:
    return Repo(
        name=source.repo.name,
        url=source.repo.url,
        ref=source.repo.ref,
        commit=source.commit,
        tree=source.tree,
        subject=source.subject,
        subdirectory=source.repo.subdirectory,
        build=source.detected.build,
        release=source.release,
    )


def _datastore(stack: words.Stack, datastore: words.Datastore) -> Datastore:
    return Datastore(
        name=datastore.name,
        kind=datastore.kind,
        version=_version(stack, datastore),
        unit=datastore_unit(datastore.name),
        port=datastore.port,
        shared=datastore.shared,
    )


def _version(stack: words.Stack, datastore: words.Datastore) -> str:
    return datastore.version or DATASTORE_VERSIONS[stack.base][datastore.kind]


def _system(stack: words.Stack, sources: Mapping[str, Source], identity: Identity, has_static: bool) -> SystemPlan:
    detected = [source.detected for source in sources.values()]
    packages = {*TOOLKIT_PACKAGES, *stack.apt_packages}
    for datastore in stack.datastores.values():
        packages.add(f"postgresql-{_version(stack, datastore)}" if datastore.kind == "postgresql" else "redis-server")
    if has_static:
        packages.add("nginx-light")
    if any(one.runs_node for one in detected):  # npm installs other Nodes too
        packages |= {"nodejs", "npm"}
    pinned = sorted({one.python for one in detected if one.python and one.python != BASES[stack.base].python})
    pythons = {
        version: tuple(name for name, source in sources.items() if source.detected.python == version)
        for version in pinned
    }
    runtimes = sorted({one.node for one in detected if one.node})
    inputs = {
        "base": identity.base_digest,
        "packages": sorted(packages),
        "pythons": pinned,
        "runtimes": runtimes,
        "sources": [
            [source.name, source.uri, source.suite, *source.components] for source in stack.apt_sources.values()
        ],
        "keys": dict(identity.apt_keys),
        "toolkit": dict(identity.system_inputs),
    }
    return SystemPlan(tuple(sorted(packages)), pythons, tuple(runtimes), key_of(inputs))


def plan_repos(sources: Mapping[str, Source], base: BuildBase) -> tuple[RepoPlan, ...]:
    """Each repo's keys and build, on a system that has these runtimes."""
    return tuple(_repo_plan(source, base) for source in sources.values())


def _repo_plan(source: Source, base: BuildBase) -> RepoPlan:
    name = source.repo.name
    request = BuildRequest(
        repo=name,
        source=Path(f"/run/bakeboot-build/payload/sources/{name}.tar"),
        commit=source.commit,
        tree=source.tree,
        root=Path("/srv/bakeboot") / name,
        detected=source.detected,
        base=base,
        processes=dict(source.processes),
        command=source.repo.build,
    )
    key = key_of({"repo": name, "checkout": checkout_key(request)})
    deps = {request.dependencies.name} if PYTHON in source.detected.parts else set()
    return RepoPlan(source, key, {folder: key_of({"repo": name, "dependencies": folder}) for folder in deps}, request)
