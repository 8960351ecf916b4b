"""EC2 made real: every instance that moto records has a machine, in the state that its record says.

`install` puts subclasses into moto's place. A call changes records only; `Ec2.tick` looks at each instance, and takes
the one step that `region.aws.lifecycle` names. What takes time is on a thread of its own, one for an instance.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from moto.ec2 import urls
from moto.ec2.models import EC2Backend as MotoEC2Backend
from moto.ec2.models import ec2_backends, elastic_network_interfaces, instances, launch_templates
from moto.ec2.responses import EC2Response as MotoEC2Response

from region.aws import launching, spot
from region.aws.bodies import Body
from region.aws.credentials import instance_paths
from region.aws.ec2_backend import EC2Backend
from region.aws.ec2_responses import EC2Response
from region.aws.facts import GROUP_TAG, facts_of
from region.aws.image_store import ImageStore, leftovers, remove
from region.aws.image_works import Images
from region.aws.instance_metadata import metadata_of
from region.aws.instances import BY_ITSELF, BY_SPOT, STOPPED_BY_SPOT, Instance, NetworkInterface
from region.aws.launch_templates import LaunchTemplate
from region.aws.lifecycle import Look, next_step
from region.aws.works import Works
from region.aws.world import World
from region.errors import RegionError
from region.faults import Faults
from region.machine import Machine
from region.metadata import InstanceMetadata

_FORGOTTEN_AFTER = 3600.0  # seconds: "terminated instances remain visible for a short time (about an hour)"
_KEYS_EVERY = 30.0  # seconds between two looks at whether an instance needs new credentials
_REST = 1.0  # seconds after work on a machine failed, until it is tried again

_PLACES = (
    (instances, Instance, instances.Instance),
    (elastic_network_interfaces, NetworkInterface, elastic_network_interfaces.NetworkInterface),
    (launch_templates, LaunchTemplate, launch_templates.LaunchTemplate),
)
"""What stands in moto's place, by the module that moto looks it up in; and moto's own."""


def install(world: World) -> Ec2:
    """Puts EC2 into moto's place, for this world from now on."""
    service = Ec2(world)
    EC2Backend.service = service
    for module, mine, _ in _PLACES:
        setattr(module, mine.__name__, mine)
    ec2_backends.backend = EC2Backend
    ec2_backends.clear()
    urls.url_paths["{0}/"] = EC2Response.dispatch
    service.open()
    world.add(service)
    return service


def _uninstall() -> None:
    """Gives moto its place back: what is installed later in this process begins with that."""
    for module, mine, original in _PLACES:
        setattr(module, mine.__name__, original)
    ec2_backends.backend = MotoEC2Backend
    urls.url_paths["{0}/"] = MotoEC2Response.dispatch


class Ec2:
    """The instances of a region and their machines. Methods may be called from any thread."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.store = ImageStore(world.directory)
        self._left = False  # by `close`: a machine that would not end may still use its storage
        self.closing = False
        self._bodies: dict[str, Body] = {}
        self._works = Works(self)
        self.images = Images(self, self._works)
        self._free = threading.Condition(world.lock)
        self._dirty = False

    def open(self) -> None:
        """Sweeps what a region that was killed left of its instances, volumes and half-made images."""
        for folder in leftovers(self.world.directory):
            remove(folder)

    # --- what the others ask -------------------------------------------------------------------------------------

    @property
    def backend(self) -> EC2Backend:
        settings = self.world.settings
        return cast(EC2Backend, ec2_backends[settings.account][settings.aws_region])

    def known(self, instance_id: str) -> Instance | None:
        body = self._bodies.get(instance_id)
        return body.instance if body is not None else None

    def instance(self, instance_id: str) -> Instance:
        """Raises RegionError for one that there is not."""
        return self._body(instance_id).instance

    def machine_of(self, instance_id: str) -> Machine:
        """Raises RegionError where it has none now."""
        body = self._body(instance_id)
        if body.machine is None:
            raise RegionError(f"has no machine: it is {body.instance.state}", where=instance_id)
        return body.machine

    def refresh_metadata(self, instance_id: str) -> None:
        """Tells the instance at once what has changed; the next look would too."""
        with self.world.lock:
            self._tell(self._body(instance_id))

    def set_metadata_faults(self, instance_id: str, faults: Faults) -> None:
        """What is wrong with its metadata service, from now on and on its next machines too. `Faults()` lifts it."""
        with self.world.lock:
            body = self._body(instance_id)
            body.faults = faults
            machine = body.machine
        if machine is not None and machine.poll() is None:
            self.world.machines.set_faults(machine, faults)

    def kill_machine(self, instance_id: str) -> None:
        """A power cut: its machine ends at once, and the instance stays `running`, impaired. Raises RegionError."""
        with self._alone(instance_id) as body:
            if body.machine is None:
                raise RegionError(f"has no machine: it is {body.instance.state}", where=instance_id)
            machine = body.machine
            machine.kill()
        self.world.wake()

    def interrupt(self, instance_id: str, notice: float, *, rebalance: bool = False) -> None:
        """AWS takes a spot instance back, after a notice (seconds) in its metadata; or only recommends a rebalance.

        EC2 User Guide, "Spot Instance interruption notices", "EC2 instance rebalance recommendations". Raises
        RegionError for an instance that is not spot, or does not run.
        """
        with self.world.lock:
            body = self._body(instance_id)
            if not body.instance.is_spot:
                raise RegionError("is no spot instance: only those are taken back", where=instance_id)
            if body.instance.state not in ("pending", "running"):
                raise RegionError(f"is {body.instance.state}", where=instance_id)
            now = self.now()
            if rebalance:
                body.rebalance = f"{now:%Y-%m-%dT%H:%M:%SZ}"
            else:
                ends = self.world.clock() + notice
                action = "stop" if spot.stops(body.instance) else "terminate"
                body.spot_action = (action, f"{datetime.fromtimestamp(ends, UTC):%Y-%m-%dT%H:%M:%SZ}")
                body.ends_at = ends
                if request := spot.request_of(body.instance):
                    request.enter("active", spot.MARKED, now)
            self._tell(body)
        self.world.wake()

    def console(self, instance_id: str) -> bytes:
        """The last 64 KiB of what its machines wrote to their consoles, for as long as it is known."""
        return self._body(instance_id).console_output()

    def references(self) -> list[Path]:
        """The layers that this region's AMIs and instances stand on."""
        with self.world.lock:
            made = {layer for image in self.backend.images() if not image.local for layer in image.layers}
            live = {layer for body in self._bodies.values() if body.gone_at is None for layer in body.layers}
        return sorted(made | live)

    def close(self) -> None:
        """Ends all machines at once, as a power cut would, and gives moto its place back. Twice is no error."""
        with self.world.lock:
            self.closing = True
            bodies = list(self._bodies.values())
        threads = [threading.Thread(target=self._cut, args=(body,), name=f"cut-{body.instance.id}") for body in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if not self._left:
            for folder in leftovers(self.world.directory):
                remove(folder)
        _uninstall()

    def _cut(self, body: Body) -> None:
        try:
            with self._alone(body.instance.id):
                self._works.cut(body)
        except (RegionError, OSError) as error:
            self._left = True
            self.world.log(f"{body.instance.id} is left to the sweep: {error}")

    def _body(self, instance_id: str) -> Body:
        with self.world.lock:
            if instance_id not in self._bodies:
                raise RegionError("there is no such instance", where=instance_id)
            return self._bodies[instance_id]

    @contextlib.contextmanager
    def _alone(self, instance_id: str) -> Iterator[Body]:
        """While it is held no look and no other thread works on the instance's machine."""
        body = self._body(instance_id)
        with self._free:
            self._free.wait_for(lambda: not body.busy)
            body.busy = True
        try:
            yield body
        finally:
            with self._free:
                body.busy = False
                self._free.notify_all()

    # --- what the records ask --------------------------------------------------------------------------------------

    def adopt(self, instance: Instance, reservation_id: str) -> None:
        """From now on the instance has a body, and gets a machine at the next look."""
        now, settings = self.world.clock(), self.world.settings
        key = instance.ec2_backend.key_pairs.get(instance.key_name) if instance.key_name else None
        instance.launch_time = self.now()
        instance.body = self._bodies[instance.id] = Body(
            instance=instance,
            directory=self.world.directory / "instances" / instance.id,
            layers=instance.image.layers,
            public_key=key.public_key if key else None,
            reservation_id=reservation_id,
            pending_since=now,
            tags_due=now + settings.tags_delay if GROUP_TAG in instance.tags else now,
        )
        self.world.wake()

    def now(self) -> datetime:
        """The world's time, as moto has times: UTC, without saying so."""
        return datetime.fromtimestamp(self.world.clock(), UTC).replace(tzinfo=None)

    def ended(self, body: Body) -> None:
        """The instance's machine is gone, and with it all that the instance held."""
        body.machine = None
        body.gone_at = self.world.clock()
        body.instance.entered_terminated()
        if request := spot.request_of(body.instance):
            by_aws = body.instance.state_reason.code == BY_SPOT.code
            request.enter("closed", spot.TAKEN_BACK if by_aws else spot.BY_USER, self.now())

    def data_volume(self, instance: Instance) -> Path | None:
        """Where its data volume lies; None without one. Made when it is first wanted."""
        others = sorted(name for name in instance.block_device_mapping if name != instance.root_device_name)
        if not others:
            return None
        volume: Path = self.world.directory / "volumes" / instance.block_device_mapping[others[0]].volume_id
        volume.mkdir(parents=True, exist_ok=True)
        volume.chmod(0o755)
        return volume

    def metadata_of(self, body: Body) -> InstanceMetadata | None:
        """What it is told now, with credentials that still hold for a while. The lock is held."""
        now = self.world.clock()
        profile = body.instance.iam_instance_profile
        arn = profile["Arn"] if profile else ""
        if arn != body.iam_of or now >= body.iam_due:
            body.iam = instance_paths(self.world, body.instance.id, arn) if arn else {}
            body.iam_of, body.iam_due = arn, now + _KEYS_EVERY
        return metadata_of(facts_of(body, now))

    def collect_soon(self) -> None:
        self._dirty = True
        self.world.wake()

    def collect(self) -> None:
        """Removes layers of AMIs that are gone, and volumes that are, with the last that stands on them."""
        with self.world.lock:
            folders = self.store.garbage(self.references(), self.images.making)
            kept = {self.world.directory / "volumes" / volume_id for volume_id in self.backend.volumes}
            if (volumes := self.world.directory / "volumes").is_dir():
                folders += [folder for folder in volumes.iterdir() if folder not in kept]
        for folder in folders:
            remove(folder)

    # --- looks -----------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """One look at every instance."""
        if self.closing:
            return
        if self._dirty:
            self._dirty = False
            self.world.background(self.collect, "collect")
        for body in list(self._bodies.values()):
            if body.gone_at is not None:
                if now - body.gone_at > _FORGOTTEN_AFTER:
                    self._forget(body)
                continue
            body.open_ports = launching.open_ports(
                rule for group in body.instance.security_groups for rule in group.ingress_rules
            )
            if body.ends_at is not None and now >= body.ends_at:
                self._take_back(body)
            if not body.busy and now >= body.rests_until:
                self._step(body, now)
            if body.machine is not None:
                self._tell(body)

    def _take_back(self, body: Body) -> None:
        """A notice has run out. One whose user ended it meanwhile has ended."""
        instance, body.ends_at = body.instance, None
        if body.spot_action and body.spot_action[0] == "stop":
            if instance.state == "running":
                instance.stop(STOPPED_BY_SPOT)
                if request := spot.request_of(instance):
                    request.enter("disabled", spot.STOPPED, self.now())
            body.spot_action = body.rebalance = None
        else:
            instance.terminate(BY_SPOT)

    def _step(self, body: Body, now: float) -> None:
        instance, works = body.instance, self._works
        look = Look(
            state=instance.condition,
            power=body.power,
            due=now >= body.pending_since + self.world.settings.launch_delay,
            reboot=body.reboot,
            imaging=bool(body.imaging),
        )
        match next_step(look):
            case "wait":
                if body.machine is not None and body.power == "up" and body.exposed != instance.public_ip:
                    self._work(body, works.expose, "expose")
            case "run":
                instance.entered_running()
                self.world.wake()
            case "power-off":
                wanted = instance.instance_initiated_shutdown_behavior
                (instance.terminate if wanted == "terminate" else instance.stop)(BY_ITSELF)
                self.world.wake()
            case "start":
                self._work(body, works.start, "start")
            case "restart":
                self._work(body, works.restart, "restart")
            case "impair":
                self._work(body, works.impair, "impair")
            case "image":
                self._work(body, works.image, "image")
            case "stop":
                self._work(body, works.stop, "stop")
            case "end":
                self._work(body, works.end, "end")

    def _work(self, body: Body, work: Callable[[Body], None], word: str) -> None:
        """Runs it on a thread, with the instance's machine to itself. Where it fails it is tried again after a rest."""
        body.busy = True

        def run() -> None:
            try:
                work(body)
            except BaseException:
                body.rests_until = self.world.clock() + _REST
                raise
            finally:
                with self._free:
                    body.busy = False
                    self._free.notify_all()

        self.world.background(run, f"{word} {body.instance.id}")

    def _tell(self, body: Body) -> None:
        told = self.metadata_of(body)
        if body.machine is not None and (told != body.told or not body.told_any):
            self.world.machines.tell(body.machine.address, told)
            body.told, body.told_any = told, True

    def _forget(self, body: Body) -> None:
        del self._bodies[body.instance.id]
        self.backend.forget_instance(body.instance.id)
        shutil.rmtree(body.directory, ignore_errors=True)
