"""What is done to the machine of one instance: each on a thread of its own, one at a time for an instance, unlocked.

Records are read and changed under the world's lock, in between.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from moto.ec2.models.instance_types import INSTANCE_TYPES

from region.aws import guest
from region.aws.bodies import Body
from region.aws.instances import ON_LAUNCH
from region.errors import RegionError
from region.machine import Bind, Machine, MachineSpec

if TYPE_CHECKING:
    from region.aws.ec2 import Ec2

DATA = "/var/lib/bakeboot/data"
"""Where an instance finds its data volume: the first of its devices besides the root one."""
_AT_ONCE = 4  # machines that start at the same time; more of them on two cores only make each wait for the others
_POWER_OFF = 60.0  # seconds for a clean power-off, then it is cut


class Works:
    """Of one region's instances."""

    def __init__(self, service: Ec2) -> None:
        self._service = service
        self._world = service.world
        self._starting = threading.BoundedSemaphore(_AT_ONCE)

    def hurried(self) -> bool:
        """Whether the region goes down: then nothing is waited for."""
        return self._service.closing or self._world.closing.is_set()

    # --- begin ---------------------------------------------------------------------------------------------------

    def start(self, body: Body) -> None:
        """A machine for a pending instance. One that can't be started ends it, or stops it again if it ever ran."""
        try:
            self._begin(body)
        except (RegionError, OSError) as error:
            self._world.log(f"{body.instance.id} does not start: {error}")
            with self._world.lock:
                if body.instance.state == "pending":
                    body.instance.failed_to_start(ON_LAUNCH, for_good=not body.launched)

    def _begin(self, body: Body) -> None:
        with self._starting, self._world.catalog.hold():
            with self._world.lock:
                if self._service.closing or body.instance.state not in ("pending", "running"):
                    return  # it was ended, or stopped again, while it waited for its turn
                spec, address = self._spec(body)
                public = body.instance.public_ip
            machine = self._world.machines.start(spec, address)
            with self._world.lock:
                body.machine, body.impaired, body.launched = machine, False, True
                body.told, body.told_any = spec.metadata, True
            try:
                faults = spec.faults
                while faults != body.faults:  # they were set while it started
                    faults = body.faults
                    self._world.machines.set_faults(machine, faults)
                self._expose(body, machine, public)
            except RegionError as error:  # it ended at once: what becomes of it is for the next look to say
                self._world.log(f"{body.instance.id} ended as it started: {error}")

    def _spec(self, body: Body) -> tuple[MachineSpec, str]:
        """The machine and its address. The lock is held."""
        instance, network = body.instance, self._world.network
        within = guest.guest(network.endpoint, instance.ec2_backend.region_name, body.public_key)
        address = instance.private_ip or ""
        data = self._service.data_volume(instance)
        spec = MachineSpec(
            name=instance.id,
            layers=body.layers,
            hostname=f"ip-{address.replace('.', '-')}",
            binds=(Bind(data, DATA, read_only=False),) if data else (),
            units=within.units,
            wants=within.wants,
            masks=within.masks,
            metadata=self._service.metadata_of(body),
            faults=body.faults,
            memory=INSTANCE_TYPES[instance.instance_type]["MemoryInfo"]["SizeInMiB"] << 20,
            files=within.files,
            environment=within.environment,
            upper=body.upper if body.upper.is_dir() else None,
        )
        return spec, address

    def expose(self, body: Body) -> None:
        """Its public address has changed: an elastic one came or went."""
        with self._world.lock:
            machine, public = body.machine, body.instance.public_ip
        if machine is not None:
            self._expose(body, machine, public)

    def _expose(self, body: Body, machine: Machine, public: str | None) -> None:
        self._hide(body)
        if public:
            self._world.network.expose(public, machine, lambda: body.open_ports)
        with self._world.lock:
            body.exposed = public

    def _hide(self, body: Body) -> None:
        if body.exposed:
            self._world.network.hide(body.exposed)
        body.exposed = None

    # --- end -----------------------------------------------------------------------------------------------------

    def _switch_off(self, body: Body) -> None:
        """A clean power-off of what runs, and what it wrote is in the instance's storage."""
        machine = body.machine
        if machine is None:
            return
        machine.stop(_POWER_OFF, self.hurried)
        self._hide(body)
        body.keep(machine)
        with self._world.lock:
            body.machine = None

    def restart(self, body: Body) -> None:
        """EC2 User Guide, "Reboot your instance": it keeps its addresses and what is on its disks."""
        with self._world.lock:
            body.reboot = False
        self._switch_off(body)
        try:
            self._begin(body)
        except (RegionError, OSError) as error:
            self._world.log(f"{body.instance.id} does not start again: {error}")
            with self._world.lock:
                body.impaired = True

    def stop(self, body: Body) -> None:
        self._switch_off(body)
        with self._world.lock:
            if body.instance.state == "stopping":  # it may have been terminated meanwhile
                body.instance.entered_stopped()

    def impair(self, body: Body) -> None:
        """Its machine died: what that held is given back, and the instance stays as it is."""
        with self._world.lock:
            body.impaired = True
        self._switch_off(body)

    def end(self, body: Body) -> None:
        machine = body.machine
        if machine is not None:
            machine.stop(_POWER_OFF, self.hurried)
            self._hide(body)
            body.keep_console(machine)
            machine.discard()
        body.remove_storage()
        with self._world.lock:
            self._service.ended(body)
        self._service.collect()

    def cut(self, body: Body) -> None:
        """At the region's end: a power cut, and nothing is kept."""
        if body.machine is not None:
            body.machine.discard()
            body.machine = None

    def image(self, body: Body) -> None:
        """The next image of it that was asked for."""
        with self._world.lock:
            make = body.imaging.pop(0)
        make(body)

    def upper_of(self, body: Body, *, reboot: bool) -> tuple[Path, Machine | None]:
        """Where what it wrote lies now: of a machine that is off, or that runs on and is to be held still (then it)."""
        if reboot or body.machine is None:
            self._switch_off(body)
            return body.upper, None
        return body.machine.upper, body.machine

    def go_on(self, body: Body) -> None:
        """After an image of it was made: one that should run runs again."""
        if body.machine is None and body.instance.state == "running" and not body.impaired:
            self.restart(body)
