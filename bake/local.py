"""An instance on this machine: a local machine started from an image, with tags, that becomes what they say."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from agent.envfile import parse as parse_environment
from agent.envfile import render as render_environment
from agent.environment import datastore_variables, needed_datastores
from agent.errors import MachineError
from agent.image import WEB, ImageManifest, Service
from agent.names import SELF_CONTAINED, TAG_MODE, TAG_SERVICE, TAG_STACK, variable
from bake.build_machine import SSH_UNIT, SshAccess
from bake.home import locked
from bake.images import Image, ImageStore, ami_id
from region.errors import RegionError
from region.faults import Faults
from region.forward import Forward
from region.machine import Machine, MachineSpec
from region.metadata import InstanceMetadata
from region.site import Site
from region.wiring import GATEWAY

POLL = 0.02
"""Seconds between two looks at an instance that is booting."""


@dataclass(frozen=True)
class Request:
    """What to start: ``tags`` replaces the tags that mode and service make (None: those).

    ``config``: files of ``/run/bakeboot/config.d``, name to content; they hold secrets.
    """

    mode: str
    service: str | None = None
    tags: Mapping[str, str] | None = None
    faults: Faults = field(default_factory=Faults)
    """What is wrong with its metadata service: tags that come late, or never (see region.faults)."""
    config: Mapping[str, str] = field(default_factory=dict, repr=False)
    ssh: SshAccess | None = None

    @property
    def assigned(self) -> tuple[str, str | None]:
        """The mode and the service that its tags say; the mode is "" where they say none."""
        if self.tags is None:
            return self.mode, self.service
        return self.tags.get(TAG_MODE, ""), self.tags.get(TAG_SERVICE)


class LocalInstance:
    """A started instance. Its services answer on loopback of this host while it lives (``url``)."""

    def __init__(self, machine: Machine, site: Site, image: Image, manifest: ImageManifest, request: Request) -> None:
        self.machine = machine
        self.site = site
        self.image = image
        self.manifest = manifest
        self.request = request
        self._forwards = ExitStack()
        self._ports: dict[int, int] = {}

    @property
    def name(self) -> str:
        return self.machine.name

    @property
    def services(self) -> dict[str, Service]:
        """The services that it runs, by its assignment."""
        mode, wanted = self.request.assigned
        if mode in SELF_CONTAINED:
            return self.manifest.services
        return {name: service for name, service in self.manifest.services.items() if name == wanted}

    def status(self) -> dict[str, Any]:
        """What its agent last said (``status.json``); empty before it said anything."""
        try:
            told = json.loads(self.machine.read("/run/bakeboot/status.json"))
        except (OSError, ValueError, RegionError):  # RegionError: the machine ended, which is not for here to tell
            return {}
        return told if isinstance(told, dict) else {}

    def wait_ready(
        self,
        timeout: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        hear: Callable[[str], None] = lambda phase: None,
    ) -> float:
        """Wait until its agent reports ready (or idle); returns the seconds it took.

        Raises MachineError with the agent's own reason when it failed, or with what it was waiting for
        when ``timeout`` seconds have passed.
        """
        started, phase = clock(), ""
        while True:
            status = self.status()
            if status.get("phase", phase) != phase:
                phase = str(status["phase"])
                hear(phase)
            if phase in ("ready", "idle"):
                return clock() - started
            if phase == "failed":
                reason = str(status.get("reason") or "its agent failed, and says no reason")
                error = MachineError(reason, where=self._called(), hint=str(status.get("hint", "")))
                error.exit_code = int(status.get("exit_code") or error.exit_code)  # the agent's own kind
                raise error
            if self.machine.poll() is not None:
                raise MachineError(f"the machine ended; its last lines:\n{self._last_lines()}", where=self._called())
            if clock() - started > timeout:
                waiting = f"its agent is at {phase!r}" if phase else "its agent has said nothing"
                raise MachineError(f"not ready after {timeout:.0f} s: {waiting}", where=self._called())
            sleep(POLL)

    def url(self, service: str) -> str:
        """An HTTP address on loopback of this host where ``service`` answers."""
        port = self.manifest.services[service].port
        if port is None:
            raise MachineError(f"{service} has no port", where=self._called())
        return f"http://127.0.0.1:{self.port(port)}"

    def port(self, port: int) -> int:
        """A port of this host's loopback that leads to ``port`` inside (the same number where it is free)."""
        if port not in self._ports:
            inside = (self.machine.name, "127.0.0.1", port)
            try:
                forward = Forward((None, "127.0.0.1", port), inside)
            except OSError:  # that number is taken on this host
                forward = Forward((None, "127.0.0.1", 0), inside)
            self._ports[port] = self._forwards.enter_context(forward).port
        return self._ports[port]

    def environment(self, service: str) -> dict[str, str]:
        """The environment that its agent made for a service (it holds secrets: never print it)."""
        return parse_environment(self.machine.read(f"/run/bakeboot/env/{service}.env").decode())

    def journal(self, unit: str | None = None, lines: int = 30) -> str:
        """The last lines of its journal, of one unit or of all."""
        which = ["--unit", unit] if unit else []
        command = ["journalctl", "--no-pager", "--output=short-precise", f"--lines={lines}", *which]
        return str(self.machine.run(command, check=False).stdout)

    def lend(self, site: Site, service: str) -> dict[str, str]:
        """The configuration with which ``service`` of another instance in ``site`` uses this one's datastores
        and services: addresses lead here through the site's gateway, for as long as this instance lives.
        """
        wanted = self.manifest.services[service]
        own = self.environment(service)
        lent = {name: own[name] for name in (*wanted.generated, *wanted.required) if name in own}
        for name in _addresses(wanted, self.manifest):
            address = urlsplit(own.get(name, ""))
            if name in lent or address.port is None:
                continue
            inside = (self.machine.name, "127.0.0.1", address.port)
            forward = self._forwards.enter_context(Forward((site.name, GATEWAY, 0), inside))
            lent[name] = _redirect(own[name], GATEWAY, forward.port)
        return lent

    def reachable(self, service: str) -> dict[str, str]:
        """The addresses in the environment of a service, as this host can use them (they hold passwords)."""
        own, reached = self.environment(service), {}
        for name in _addresses(self.manifest.services[service], self.manifest):
            address = urlsplit(own.get(name, ""))
            if address.port and address.hostname == "127.0.0.1":
                reached[name] = _redirect(own[name], "127.0.0.1", self.port(address.port))
        return reached

    def stop(self) -> None:
        self._forwards.close()
        self.machine.stop()
        self.machine.discard()

    def _last_lines(self) -> str:
        """The end of its console; the file itself goes with the machine."""
        try:
            return "\n".join(self.machine.log.read_text(errors="replace").splitlines()[-15:])
        except OSError as error:
            return f"(no log: {error.strerror})"

    def _called(self) -> str:
        return f"{self.image.name} as {' '.join(word for word in self.request.assigned if word) or 'nothing'}"


@contextmanager
def local_instance(site: Site, images: ImageStore, image: Image, request: Request) -> Iterator[LocalInstance]:
    """Start an instance of ``image`` in ``site`` for the length of the block; stopped clean after it.

    It returns as soon as the machine runs: ``wait_ready`` waits for its agent.
    """
    manifest = image.manifest()
    with locked(images.home.layers / ".lock", shared=True):  # no prune takes its layers before it is known to run
        machine = site.start(_spec(images, image, manifest, request))
        (machine.directory / "image").write_text(image.name + "\n")
    instance = LocalInstance(machine, site, image, manifest, request)
    try:
        yield instance
    finally:
        instance.stop()


def _spec(images: ImageStore, image: Image, manifest: ImageManifest, request: Request) -> MachineSpec:
    label = _label(request)
    metadata = InstanceMetadata(
        instance_id=f"i-{secrets.token_hex(9)[:17]}",
        image_id=ami_id(image.digest),
        tags=dict(_tags(manifest, request) if request.tags is None else request.tags),
    )
    return MachineSpec(
        name=f"{manifest.stack}-{label}-{secrets.token_hex(2)}"[:40],
        layers=images.roots(image),
        hostname=label,
        binds=(request.ssh.bind,) if request.ssh else (),
        units=request.ssh.units if request.ssh else {},
        wants=(SSH_UNIT,) if request.ssh else (),
        metadata=metadata,
        faults=request.faults,
        sync=False,  # it is thrown away at its end
        files={f"/run/bakeboot/config.d/{name}": text.encode() for name, text in request.config.items()},
    )


@contextmanager
def lent(review: LocalInstance, service: str) -> Iterator[dict[str, str]]:
    """The config files with which another machine runs ``service`` on a review machine's datastores.

    The review machine's own worker or clock of that name rests meanwhile: only one may take the work.
    """
    baked = review.manifest.services[service]
    config = config_files(service, review.lend(review.site, service))
    if baked.kind == WEB:
        yield config
        return
    review.machine.run(["systemctl", "stop", baked.unit])
    try:
        yield config
    finally:
        if review.machine.poll() is None:
            review.machine.run(["systemctl", "start", baked.unit], check=False)


def config_files(service: str, variables: Mapping[str, str]) -> dict[str, str]:
    """The files of ``/run/bakeboot/config.d`` that give ``service`` these variables."""
    return {f"{service}.env": render_environment(dict(variables))}


def running_images(home_machines: Path) -> set[str]:
    """Names of the images that machines of this home run now (what a prune must not touch)."""
    found = set()
    for record in home_machines.glob("*/image"):
        with suppress(FileNotFoundError):  # it has just stopped
            found.add(record.read_text().strip())
    return found


def _label(request: Request) -> str:
    """What to call the machine on this host; tags may say anything."""
    mode, service = request.assigned
    return re.sub("[^a-z0-9]+", "-", (service or mode).lower()).strip("-")[:24] or "machine"


def _tags(manifest: ImageManifest, request: Request) -> dict[str, str]:
    tags = {TAG_STACK: manifest.stack, TAG_MODE: request.mode}
    return {**tags, TAG_SERVICE: request.service} if request.service else tags


def _redirect(address: str, host: str, port: int) -> str:
    """The same URL, credentials and all, at another host and port."""
    parts = urlsplit(address)
    credentials, mark, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{credentials}{mark}{host}:{port}"))


def _addresses(service: Service, manifest: ImageManifest) -> tuple[str, ...]:
    """The variables that hold the address of a datastore or of a service that is called."""
    datastores = datastore_variables(needed_datastores(service, manifest))
    return (*datastores, *(variable(called) for called in service.calls))
