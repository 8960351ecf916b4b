"""``bakeboot boot``: an image as a running machine here, for as long as somebody looks at it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from agent.errors import MachineError
from agent.image import WEB, ImageManifest
from agent.names import ENVIRONMENTS, MODES, variable
from bake.home import Home
from bake.images import Image, ImageStore
from bake.local import LocalInstance, Request, config_files, lent, local_instance
from bake.voice import Voice
from region.faults import FOREVER, Faults
from region.machine import Machine
from region.site import Site


@dataclass(frozen=True)
class BootOrder:
    """What is asked for. ``tags`` are further tags, or (with ``bare``) all of them; ``tags_late`` in seconds.

    ``command`` runs on this host once the machine is ready, with the addresses of its services in its
    environment; ``shell`` opens a root shell inside, ready or not.
    """

    mode: str
    service: str | None = None
    tags: Mapping[str, str] | None = None
    tags_late: float = 0.0
    no_tags: bool = False
    variables: Mapping[str, str] | None = None
    with_review: bool = False
    command: tuple[str, ...] = ()
    shell: bool = False


def boot(home: Home, image: Image, order: BootOrder, voice: Voice) -> int:
    """Boot ``image``, say where it answers, wait for Ctrl-C (or the command, or the shell), stop it clean.

    Returns the command's exit code, else 0. Raises MachineError with the agent's reason when the
    instance did not become what its tags say; with ``shell`` the shell is opened all the same.
    """
    manifest = image.manifest()
    _check(order, manifest)
    images = ImageStore(home)
    with ExitStack() as stack:
        stack.enter_context(_unhurried_end())
        site = stack.enter_context(Site.open(home.root, home.runtime))
        config = config_files(order.service or "_all", order.variables) if order.variables else {}
        review = None
        if order.with_review:
            voice.step("starting a review machine for its datastores")
            review = stack.enter_context(local_instance(site, images, image, Request("review")))
            review.wait_ready(patience(manifest))
            borrowed = stack.enter_context(lent(review, str(order.service)))
            config = {name: borrowed.get(name, "") + config.get(name, "") for name in {*borrowed, *config}}
        voice.step(f"starting {image.name} as {order.mode} {order.service or ''}".rstrip())
        instance = stack.enter_context(local_instance(site, images, image, _request(order, config)))
        try:
            seconds = instance.wait_ready(patience(manifest), hear=lambda phase: None)
            voice.say(f"ready in {seconds:.1f} s")
            _say_where(instance, voice)
        except MachineError as error:
            if not order.shell:
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
    inside = ["nsenter", f"--target={machine.leader}", "--all", "--root", "--wd=/root", "--", *command]
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
    environment["TERM"] = os.environ.get("TERM", "dumb")
    return subprocess.run(inside, env=environment, check=False).returncode


def _check(order: BootOrder, manifest: ImageManifest) -> None:
    """Refuse on this side what only costs a boot to find out; tags given whole are left to the agent."""
    if order.tags is not None or order.no_tags:
        return
    if order.mode not in MODES:
        raise MachineError(f"no mode {order.mode!r}", where="--mode", hint=f"one of {', '.join(MODES)}")
    if order.mode in ENVIRONMENTS and order.service not in manifest.services:
        known = ", ".join(manifest.services)
        what = f"no service {order.service!r}" if order.service else f"{order.mode} runs one service"
        raise MachineError(what, where="--service", hint=f"one of {known}")


def _request(order: BootOrder, config: Mapping[str, str]) -> Request:
    faults = Faults(tags_late=FOREVER if order.no_tags else order.tags_late)
    return Request(order.mode, order.service, tags=order.tags, faults=faults, config=config)


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
    threading.Event().wait()  # until a signal: see _unhurried_end
    return 0


def _addresses(instance: LocalInstance) -> dict[str, str]:
    return {variable(name): instance.url(name) for name, service in instance.services.items() if service.port}


@contextmanager
def _unhurried_end() -> Iterator[None]:
    """Turn SIGTERM into the same clean end that Ctrl-C has."""

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)
