"""The verification of an image: it is booted as what it is for, and asked, before it counts.

First as a review machine, all health checks and specs; then once for each service as a production
machine, whose datastores and called services are those of the review machine. While a worker or a
clock is verified, the review machine's own stands still, so that only the one that is verified can
have done the work.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.errors import BakebootError, VerifyError
from agent.image import WEB
from bake.boot import patience
from bake.build_machine import SshAccess, make_ssh_access
from bake.contained import contained
from bake.home import Run
from bake.images import Image, ImageStore
from bake.local import LocalInstance, Request, lent, local_instance
from bake.voice import Voice
from region.errors import RegionError
from region.site import Site

OUR_SPECS = Path(__file__).parent / "specs"
AT_ONCE = 2
"""Production machines that are verified side by side."""

SPECS_TIME = 900
"""Seconds that the specs of one machine may take."""


@dataclass(frozen=True)
class Verification:
    """What every part of one verification shares. ``specs`` may not exist: a stack need not have any."""

    run: Run
    images: ImageStore
    image: Image
    site: Site
    specs: Path
    voice: Voice
    log: Path
    log_lock: threading.Lock
    stopped: threading.Event

    def nap(self, seconds: float) -> None:
        """Sleep, unless the whole verification was stopped: then no thread of it waits for anything more."""
        if self.stopped.wait(seconds):
            raise VerifyError("the verification was stopped", where=self.image.name)

    def note(self, text: str) -> None:
        with self.log_lock, self.log.open("a") as log:
            log.write(text.rstrip("\n") + "\n")


def verify_image(images: ImageStore, image: Image, run: Run, specs: Path, voice: Voice) -> None:
    """Boot and ask ``image``; raises VerifyError that names the machine and what it did not do."""
    log = image.folder / "verify.log"
    with Site.open(images.home.root, images.home.runtime) as site:
        check = Verification(run, images, image, site, specs, voice, log, threading.Lock(), threading.Event())
        with _machine(check, "review", None, {}) as (review, access):
            _run_specs(check, review, access, review)
            services = review.manifest.services.values()
            webs = [service.name for service in services if service.kind == WEB]
            others = [service.name for service in services if service.kind != WEB]
            for group in (webs, others):
                _verify_group(check, review, group)


def _verify_group(check: Verification, review: LocalInstance, group: list[str]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            list(pool.map(lambda name: _verify_production(check, review, name), group))
        except KeyboardInterrupt:
            check.stopped.set()  # else the pool would wait for machines to become ready
            raise


def _verify_production(check: Verification, review: LocalInstance, service: str) -> None:
    with lent(review, service) as config, _machine(check, "production", service, config) as (machine, access):
        _run_specs(check, machine, access, review)


@contextmanager
def _machine(
    check: Verification, mode: str, service: str | None, config: dict[str, str]
) -> Iterator[tuple[LocalInstance, SshAccess]]:
    """A machine of the image, ready; what it had to say goes into the log when it fails."""
    called = f"{mode} {service}" if service else mode
    folder = check.run.runtime / "verify" / called.replace(" ", "-")
    access = make_ssh_access(folder, address="127.0.0.1", port=22)
    request = Request(mode, service, config=config, ssh=access)
    with local_instance(check.site, check.images, check.image, request) as instance:
        try:
            seconds = instance.wait_ready(patience(instance.manifest), sleep=check.nap)
            check.voice.say(f"{called}: ready in {seconds:.1f} s")
            yield instance, access
        except (BakebootError, RegionError) as error:
            check.note(f"\n=== {called}, when this was found: {error}\n{_last_words(instance)}")
            if isinstance(error, VerifyError):  # it says which machine: the review machine hears of all others'
                raise
            raise VerifyError(error.what, where=called) from error


def _last_words(instance: LocalInstance) -> str:
    try:
        return instance.journal(lines=200)
    except RegionError as error:
        return f"(no journal: {error.what})"


def _run_specs(check: Verification, machine: LocalInstance, access: SshAccess, review: LocalInstance) -> None:
    """Our specs and the stack's own, by pytest in a process of its own, over paramiko."""
    called = f"{machine.request.mode} {machine.request.service or ''}".strip()
    folders = [str(OUR_SPECS), *([str(check.specs)] if check.specs.is_dir() else [])]
    facts = check.run.runtime / f"facts-{called.replace(' ', '-')}.json"
    facts.write_text(json.dumps(_facts(machine, access, review)))
    facts.chmod(0o600)
    service = [f"--machine-service={machine.request.service}"] if machine.request.service else []
    command = [
        *(sys.executable, "-m", "pytest", "-p", "bake.specs_plugin", "-p", "no:cacheprovider", "-q", "--tb=short"),
        *("--rootdir", str(check.specs.parent), "-c", "/dev/null", "--import-mode=importlib", "--color=no"),
        *(f"--bakeboot-facts={facts}", f"--machine-mode={machine.request.mode}", *service, *folders),
    ]
    # Without plugins of the host's environment: testinfra's own would give the specs this host, not the machine.
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    try:
        done = subprocess.run(
            contained(command),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=environment,
            check=False,
            timeout=SPECS_TIME,
        )
    except subprocess.TimeoutExpired as error:
        raise VerifyError(f"its specs did not end in {SPECS_TIME} s", where=called) from error
    finally:
        facts.unlink()
    check.note(f"\n=== {called}: specs\n{done.stdout}{done.stderr}")
    lines = done.stdout.strip().splitlines() or [done.stderr.strip()]
    if done.returncode:
        failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))] or lines[-5:]
        raise VerifyError("its specs failed:\n    " + "\n    ".join(failed), where=called)
    check.voice.say(f"{called}: {lines[-1].strip('= ')}")


def _facts(machine: LocalInstance, access: SshAccess, review: LocalInstance) -> dict[str, object]:
    manifest = machine.manifest
    webs = [name for name, service in manifest.services.items() if service.port is not None]
    return {
        "image": manifest.render(),
        "ssh": {"port": machine.port(22), "key": str(access.key), "host_key": access.host_key},
        "services": {name: machine.url(name) for name in webs if name in machine.services},
        "review": {name: review.url(name) for name in webs},
        "datastores": {name: machine.reachable(name) for name in machine.services},
    }
