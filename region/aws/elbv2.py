"""Elastic Load Balancing of a region: moto's API, HAProxy in front of the machines, and health that is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, cast

import moto.elbv2.models as moto_models
from moto.ec2.models import ec2_backends
from moto.elbv2.models import ELBv2Backend, FakeLoadBalancer, elbv2_backends

from region.aws import elbv2_rules as rules
from region.aws.elbv2_backend import RegionElbv2
from region.aws.elbv2_certificates import pem_of
from region.aws.elbv2_models import Listener, LoadBalancer, Look, Registration, TargetGroup
from region.aws.world import World
from region.balancer import words
from region.balancer.access import listener_name, read_access
from region.balancer.haproxy import Door, HAProxy
from region.balancer.health import CHECKING, Health, after
from region.balancer.metrics import Metrics
from region.balancer.prober import NamespaceProber, Probe, Prober
from region.errors import RegionError

TargetState = Literal["initial", "healthy", "unhealthy", "draining", "unused"]
_COUNTED = 1.0  # seconds between two looks at how many hosts are healthy


class Balancers:
    """The service. `door` and `prober` make the real ones when they are first needed, or a test's."""

    def __init__(self, world: World, door: Callable[[], Door], prober: Callable[[], Prober]) -> None:
        self._world = world
        self._account, self._aws_region = world.settings.account, world.settings.aws_region
        self._make_door, self._make_prober = door, prober
        self._door: Door | None = None
        self._prober: Prober | None = None
        self._shown: words.Plan | None = None
        self._counted = 0.0
        self.metrics = Metrics()

    # --- what others ask -----------------------------------------------------------------------------------------

    def state_of(self, target_group_arn: str, instance_id: str) -> TargetState | None:
        """What DescribeTargetHealth would say of the instance's target; None where it is not registered.

        Of an instance with several ports in the group: of the one that is furthest from taking requests.
        """
        with self._world.lock:
            group = self._backend.target_groups.get(target_group_arn)
            if not isinstance(group, TargetGroup):
                return None
            look = self.look()
            states = [
                group.standing(each, look).state
                for each in group.registrations.values()
                if each.target_id == instance_id
            ]
            order = ("draining", "unused", "initial", "unhealthy", "healthy")
            return cast(TargetState, min(states, key=order.index)) if states else None

    def drained(self, target_group_arn: str, instance_id: str) -> bool:
        """Whether no request is on its way to the instance any more, and none will come.

        AWS ("Deregistration delay"): then the deregistration is complete at once, though the target is shown as
        draining until the delay is over.
        """
        with self._world.lock:
            group = self._backend.target_groups.get(target_group_arn)
            if not isinstance(group, TargetGroup):
                return True
            left = [each for each in group.registrations.values() if each.target_id == instance_id]
            if any(each.deregistered is None for each in left):
                return False
            try:
                busy = self._door.outstanding() if self._door is not None and left else {}
            except RegionError:
                return False
            return not any(busy.get(_target_key(group, each)) for each in left)

    def close(self) -> None:
        """Ends the load balancers. Twice is no error."""
        if self._prober is not None:
            self._prober.close()
        if self._door is not None:
            self._door.close()

    # --- what the backend asks -----------------------------------------------------------------------------------

    def now(self) -> float:
        return self._world.clock()

    def allocate(self) -> str:
        return self._world.network.allocate()

    def free(self, address: str) -> None:
        self._world.network.free(address)

    def bind(self, address: str, port: int) -> None:
        if self._door is None:
            self._door = self._make_door()
        self._door.bind(address, port)

    def look(self) -> Look:
        instances = {
            instance.id: instance
            for reservation in ec2_backends[self._account][self._aws_region].reservations.values()
            for instance in reservation.instances
        }
        named: dict[str, list[FakeLoadBalancer]] = {}
        for balancer in self._balancers():
            for arn in _groups_named(balancer):
                named.setdefault(arn, []).append(balancer)
        return Look(instances, named)

    def apply(self, look: Look | None = None) -> None:
        """Shows what now is; an error is logged, and the next look tries again."""
        plan = self._plan(look or self.look())
        if plan == self._shown or (not plan.listeners and self._door is None):
            return
        if self._door is None:
            self._door = self._make_door()
        try:
            self._door.show(plan)
            self._shown = plan
        except (RegionError, OSError) as error:
            self._world.log(f"load balancers: {error}")

    # --- the controller ------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """One look: what the checks heard, what drained, who is there, and what follows for the door."""
        look = self.look()
        self._hear()
        for group in self._groups():
            for registration in list(group.registrations.values()):
                self._follow(group, registration, look, now)
        for balancer in self._balancers():
            balancer.state = "active"
        self.apply(look)
        self._watch(look)
        self._look_at_door()
        if now - self._counted >= _COUNTED or now < self._counted:
            self._counted = now
            self._count(look, now)

    def _look_at_door(self) -> None:
        if self._door is not None:
            try:
                self._door.look()
            except (RegionError, OSError) as error:
                self._world.log(f"load balancers: {error}")

    def _hear(self) -> None:
        if self._prober is None:
            return
        known = {
            _target_key(group, registration): (group, registration)
            for group in self._groups()
            for registration in group.registrations.values()
        }
        for key, outcome in self._prober.outcomes():
            if key in known:
                group, registration = known[key]
                registration.health = after(registration.health, outcome, group.check)

    def _follow(self, group: TargetGroup, registration: Registration, look: Look, now: float) -> None:
        state = group.instance_state(registration, look)
        if state == "terminated":
            group.forget(registration)
        elif registration.deregistered is not None:
            if now >= registration.deregistered + group.delay:
                group.forget(registration)
                self._cut(group.address_of(registration, look), registration.port, look)
        elif state == "shutting-down":
            group.deregister([{"Id": registration.target_id, "Port": registration.port}])
        elif group.standing(registration, look).state == "unused":
            registration.health = Health()
        elif registration.health == Health():
            registration.health = CHECKING

    def _cut(self, address: str, port: int, look: Look) -> None:
        """AWS (HTTP 502): the delay elapsed for a request that a deregistered target handles.

        A target of another group at the same place keeps its requests, since the door can't tell them apart.
        """
        places = {
            (group.address_of(each, look), each.port)
            for group in self._groups()
            for each in group.registrations.values()
        }
        if self._door is not None and (address, port) not in places:
            self._door.cut(address, port)

    def _watch(self, look: Look) -> None:
        probes = {}
        for group in self._groups():
            check = group.check
            for registration in group.registrations.values():
                address = group.address_of(registration, look)
                if address and group.standing(registration, look).state in ("initial", "healthy", "unhealthy"):
                    probes[_target_key(group, registration)] = Probe(
                        address, check.port or registration.port, check.path, check.interval, check.timeout
                    )
        if self._prober is None and probes:
            self._prober = self._make_prober()
        if self._prober is not None:
            self._prober.watch(probes)

    def _count(self, look: Look, now: float) -> None:
        for group in self._groups():
            states = [group.standing(each, look).state for each in group.registrations.values()]
            healthy = states.count("healthy")
            unhealthy = states.count("unhealthy") + states.count("initial")
            for balancer in look.named.get(group.arn, ()):
                self.metrics.hosts(rules.dimension(balancer.arn), rules.dimension(group.arn), healthy, unhealthy, now)

    # --- the plan ------------------------------------------------------------------------------------------------

    def _plan(self, look: Look) -> words.Plan:
        listeners = tuple(_listener(balancer, each) for balancer in self._balancers() for each in _listeners(balancer))
        return words.Plan(listeners, tuple(_group(each, look) for each in self._groups() if each.arn in look.named))

    @property
    def _backend(self) -> ELBv2Backend:
        return elbv2_backends[self._account][self._aws_region]

    def _balancers(self) -> list[LoadBalancer]:
        return [each for each in self._backend.load_balancers.values() if isinstance(each, LoadBalancer)]

    def _groups(self) -> Iterator[TargetGroup]:
        return (each for each in self._backend.target_groups.values() if isinstance(each, TargetGroup))


def _listeners(balancer: LoadBalancer) -> Iterator[Listener]:
    return (each for each in balancer.listeners.values() if isinstance(each, Listener))


def _groups_named(balancer: FakeLoadBalancer) -> set[str]:
    """ARNs of the target groups in the balancer's rules, those of weight 0 too."""
    return {
        arn
        for listener in balancer.listeners.values()
        for rule in listener.rules.values()
        for arn, _ in rules.groups_of([action.data for action in rule.actions])
    }


def _listener(balancer: LoadBalancer, listener: Listener) -> words.Listener:
    return words.Listener(
        name=listener_name(rules.dimension(balancer.arn), listener.arn.rpartition("/")[2]),
        address=balancer.dns_name,
        port=int(listener.port),
        rules=tuple(
            rules.rule_of(rule.conditions, [action.data for action in rule.actions]) for rule in listener.rules.values()
        ),
        idle=balancer.idle,
        certificate=pem_of(listener),
    )


def _group(group: TargetGroup, look: Look) -> words.Group:
    states = {key: group.standing(each, look).state for key, each in group.registrations.items()}
    # AWS: the healthy ones; where none is, every one that is registered ("fails open").
    wanted = ("healthy",) if "healthy" in states.values() else ("initial", "unhealthy")
    targets = [
        words.Target(_target_key(group, each), address, each.port)
        for key, each in group.registrations.items()
        if states[key] in wanted and (address := group.address_of(each, look))
    ]
    return words.Group(
        rules.dimension(group.arn),
        tuple(targets),
        cast(words.Algorithm, group.attributes["load_balancing.algorithm.type"]),
    )


def _target_key(group: TargetGroup, registration: Registration) -> str:
    return f"{rules.dimension(group.arn)}|{registration.key}"


def install(
    world: World, *, door: Callable[[], Door] | None = None, prober: Callable[[], Prober] | None = None
) -> Balancers:
    """Puts the load balancers into moto and adds their controller."""

    def take(lines: Sequence[str]) -> None:
        service.metrics.take(filter(None, map(read_access, lines)), world.clock())

    def make_door() -> Door:
        return HAProxy(world.directory, world.network.site, world.log, take)

    def make_prober() -> Prober:
        return NamespaceProber(world.network.site, world.wake)

    service = Balancers(world, door or make_door, prober or make_prober)
    RegionElbv2.service = service
    TargetGroup.region = service
    moto_models.FakeTargetGroup = TargetGroup  # type: ignore[misc]
    moto_models.FakeListener = Listener  # type: ignore[misc]
    moto_models.FakeLoadBalancer = LoadBalancer  # type: ignore[misc]
    elbv2_backends.backend = RegionElbv2
    for account, _, backend in list(elbv2_backends.iter_backends()):
        if not isinstance(backend, RegionElbv2):  # made before us: moto's own, which holds nothing yet
            elbv2_backends.pop(account, None)
    world.add(service)
    return service
