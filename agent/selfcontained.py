"""What a self-contained machine does besides: its own secrets, its datastores, its release commands.

Not on the boot path of a staging or production machine.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from agent import datastores, releasecmd, state
from agent.command import Outcome, run
from agent.environment import Checkout, Given
from agent.errors import ConfigError, UnitError
from agent.image import REDIS, ImageManifest, Service
from agent.masking import masked, secrets_of
from agent.state import Places
from agent.systemd import Systemd

if TYPE_CHECKING:
    from agent.doors import Decided, Doors

ACTIVE_SECONDS = 150.0
"""How long a datastore may take to its first READY; its unit gives up earlier, with a better reason."""


def new_secret() -> str:
    return os.urandom(32).hex()


def make_given(places: Places, image: ImageManifest, instance_id: str) -> Given:
    """The datastores' addresses with this boot's passwords, and this instance's generated secrets.

    Passwords last for the boot, on tmpfs; generated secrets for the instance's life, as sessions signed
    with one must outlive a reboot.
    """
    passwords = datastores.passwords(image, _known(places.passwords), new_secret)
    state.write(places.passwords, json.dumps(passwords))
    path = f"{places.instance(instance_id)}/generated.json"
    known = _known(path)
    generated: dict[str, dict[str, str]] = {}
    for service in image.services.values():
        for name in service.generated:
            value = known.get(service.repo, {}).get(name) or new_secret()
            generated.setdefault(service.repo, {}).setdefault(name, value)
    if generated != known:
        state.write_durably(path, json.dumps(generated))
    return Given(datastores=datastores.urls(image, passwords), generated=generated)


def _known(path: str) -> dict[str, dict[str, str]]:
    """Secrets by owner, then by name, as an earlier run left them."""
    try:
        found = state.read_object(path)
    except ValueError as error:
        raise ConfigError(f"can't be read: {error}", where=path, hint=f"mv {path} {path}.old") from error
    return {
        owner: {name: value for name, value in values.items() if isinstance(value, str)}
        for owner, values in found.items()
        if isinstance(values, dict)
    }


def start_datastores(doors: Doors, decided: Decided, queue: Callable[[str, list[str]], None]) -> None:
    """Every datastore active, with its databases and its users of this boot."""
    image, places = decided.image, doors.places
    passwords = _known(places.passwords)
    for datastore in image.datastores.values():
        if datastore.kind == REDIS:
            state.write(places.acl_file(datastore.name), datastores.redis_users(datastore, image, passwords))
    units = [datastore.unit for datastore in decided.assignment.datastores(image)]
    queue("datastores", units)
    wait_active(units, systemd=doors.systemd, monotonic=doors.monotonic, sleep=doors.sleep)
    datastores.create_databases(image, passwords)


def wait_active(
    units: list[str], *, systemd: Systemd, monotonic: Callable[[], float], sleep: Callable[[float], None]
) -> None:
    """Wait until all ``units`` are active; UnitError for one that fails, or is not within ACTIVE_SECONDS."""
    began = monotonic()
    while waiting := [state for state in systemd.show(units).values() if state.active != "active"]:
        for unit in waiting:
            if unit.active == "failed" or unit.load != "loaded" or monotonic() - began > ACTIVE_SECONDS:
                raise UnitError(f"is {unit}", where=unit.unit, hint=f"journalctl -u {unit.unit} -n 50")
        systemd.progress(f"waiting for {', '.join(str(unit.unit) for unit in waiting)}")
        sleep(0.05)


def run_release_commands(
    doors: Doors, decided: Decided, checkouts: dict[str, Checkout], variables: dict[str, dict[str, str]]
) -> None:
    """The ``release:`` lines that this instance has not run yet; their output goes to the journal."""
    releases = releasecmd.ReleaseRecords(releases_path(doors.places, decided.instance_id), doors.clock)

    def run_line(line: str, service: Service) -> Outcome:
        secrets = secrets_of(service, variables[service.name])
        outcome = run(
            line,
            user=service.user,
            directory=doors.places.checkout(service.repo),
            environment=variables[service.name],
            seconds=releasecmd.SECONDS,
            say=lambda text: _say(f"release {service.repo}: {masked(text, secrets)}"),
            tick=lambda: doors.systemd.progress(f"release command of {service.repo}: {line}"),
        )
        return Outcome(status=outcome.status, lines=tuple(masked(text, secrets) for text in outcome.lines))

    releasecmd.run_all(decided.image, checkouts, releases, run_line)


def releases_path(places: Places, instance_id: str) -> str:
    return f"{places.instance(instance_id)}/releases.json"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
