"""``bakeboot boot``: an image as a running machine here, for as long as somebody looks at it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from agent.environment import SYSTEM_PATH
from agent.errors import MachineError
from agent.image import WEB, ImageManifest
from agent.names import ENVIRONMENTS, variable
from bake.home import Home
from bake.images import Image, ImageStore
from bake.local import LocalInstance, Request, config_files, lent, local_instance
from bake.packer import Progress
from bake.voice import Voice
from region.faults import FOREVER, Faults
from region.machine import Machine
from region.site import Site


@dataclass(frozen=True)
class BootOrder:
    """What is asked for. ``tags`` are all its tags (None: those of mode and service); ``tags_late`` in seconds.

    ``variables`` are its configuration, secrets among them. ``command`` runs on this host once the machine
    is ready, with the addresses of its services in its environment; ``shell`` opens a root shell inside,
    ready or not.
    """

    mode: str
    service: str | None = None
    tags: Mapping[str, str] | None = None
    tags_late: float = 0.0
    no_tags: bool = False
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    with_review: bool = False
    command: tuple[str, ...] = ()
    shell: bool = False


def boot(home: Home, image: Image, order: BootOrder, voice: Voice) -> int:
    """Boot ``image``, say where it answers, wait for Ctrl-C (or the command, or the shell), stop it clean.

    Returns the command's exit code or the shell's, else 0: Ctrl-C is how a person ends a machine that is
    ready. Raises MachineError with the agent's reason when the instance did not become what its tags
    say; with ``shell`` the shell is opened all the same.
    """
    manifest = image.manifest()
    _check(order, manifest)
    images = ImageStore(home)
    with ExitStack() as stack:
        site = stack.enter_context(Site.open(home.root, home.runtime))
        config = config_files(order.service or "_all", order.variables) if order.variables else {}
        review = None
        if order.with_review:
            voice.step("starting a review machine for its datastores")
            review = stack.enter_context(local_instance(site, images, image, Request("review")))
            review.wait_ready(patience(manifest))
            borrowed = stack.enter_context(lent(review, str(order.service)))
            config = {name: borrowed.get(name, "") + config.get(name, "") for name in {*borrowed, *config}}
        voice.step(f"starting {image.name} {_as_what(order)}")
        instance = stack.enter_context(local_instance(site, images, image, _request(order, config)))
        try:
            seconds = instance.wait_ready(patience(manifest), hear=_tell_phase(voice))
            voice.say(f"ready in {seconds:.1f} s")
            _say_where(instance, voice)
        except MachineError as error:
            if not order.shell or instance.machine.poll() is not None:
                raise
            voice.say(str(error))
        voice.end()
        return _attend(instance, review, order, voice)


def patience(manifest: ImageManifest) -> float:
    """Seconds after which an instance that is not ready never will be: its agent's own limits and a margin."""
    slowest = max((service.health.deadline for service in manifest.services.values()), default=0.0)
    return manifest.boot.metadata_wait + manifest.boot.tags_wait + slowest + 120


def enter(machine: Machine, command: Sequence[str] = ("/bin/bash", "-l")) -> int:
    """Run a command inside, on this terminal; returns its exit code."""
    inside = ["nsenter", f"--target={machine.leader}", "--all", "--root", "--wdns=/root", "--", *command]
    environment = {"PATH": SYSTEM_PATH, "HOME": "/root", "TERM": os.environ.get("TERM", "dumb")}
    return subprocess.run(inside, env=environment, check=False).returncode


def _as_what(order: BootOrder) -> str:
    if order.no_tags:
        return "without tags"
    if order.tags is not None:
        return "with tags " + " ".join(f"{key}={value!a}" for key, value in order.tags.items())
    return f"as {order.mode} {order.service or ''}".rstrip()


def _check(order: BootOrder, manifest: ImageManifest) -> None:
    """Refuse on this side what only costs a boot to find out; tags given whole are left to the agent."""
    if order.with_review and order.service not in manifest.services:
        known = ", ".join(manifest.services)
        raise MachineError("say which service borrows from it", where="--with-review", hint=f"--service one of {known}")
    if order.tags is not None or order.no_tags:
        return
    if order.mode in ENVIRONMENTS and order.service not in manifest.services:
        known = ", ".join(manifest.services)
        what = f"no service {order.service!r}" if order.service else f"{order.mode} runs one service"
        raise MachineError(what, where="--service", hint=f"one of {known}")


def _request(order: BootOrder, config: Mapping[str, str]) -> Request:
    faults = Faults(tags_late=FOREVER if order.no_tags else order.tags_late)
    return Request(order.mode, order.service, tags=order.tags, faults=faults, config=config)


def _tell_phase(voice: Voice) -> Callable[[str], None]:
    """What the agent is at, in the live line."""
    return lambda phase: voice.hear(Progress("its agent", "step", text=phase or "not there yet"))


def _say_where(instance: LocalInstance, voice: Voice) -> None:
    for name, service in instance.services.items():
        if service.kind == WEB:
            voice.say(f"{name}  {instance.url(name)}")
        else:
            voice.say(f"{name}  {service.kind}, active")


def _attend(instance: LocalInstance, review: LocalInstance | None, order: BootOrder, voice: Voice) -> int:
    if order.shell:
        voice.say("a root shell inside; `exit` stops the machine")
        return enter(instance.machine)
    if order.command:
        addresses = _addresses(instance)
        if review is not None:
            addresses |= {f"REVIEW_{name}": address for name, address in _addresses(review).items()}
        program = shutil.which(order.command[0])
        if program is None:
            raise MachineError(f"no command {order.command[0]!r} on this host", where="bakeboot boot")
        return subprocess.run([program, *order.command[1:]], env={**os.environ, **addresses}, check=False).returncode
    voice.say("Ctrl-C stops it" if sys.stdin.isatty() else "SIGTERM or SIGINT stops it")
    return _wait_for_the_end(instance)


def _wait_for_the_end(instance: LocalInstance, sleep: Callable[[float], None] = time.sleep) -> int:
    try:
        while instance.machine.poll() is None:
            sleep(0.5)
    except KeyboardInterrupt:
        return 0
    raise MachineError("the machine ended by itself", where=instance.image.name)


def _addresses(instance: LocalInstance) -> dict[str, str]:
    return {variable(name): instance.url(name) for name, service in instance.services.items() if service.port}
