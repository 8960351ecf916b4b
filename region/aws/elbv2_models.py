"""moto's load balancer, listener and target group, with targets that have a life of their own.

moto keys targets by instance alone and calls all of them healthy. Here a target is an instance (or address) and a port;
it is checked, drained and forgotten as "Health checks for Application Load Balancer target groups" and "Target groups
for your Application Load Balancers" (deregistration delay) say.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from moto.elbv2.exceptions import ELBClientError
from moto.elbv2.models import FakeHealthStatus, FakeListener, FakeLoadBalancer, FakeTargetGroup

from region.balancer.health import Check, Health, codes

# moto finds a service by the module of its models, so ours say that they are moto's.
_MODULE = "moto.elbv2.models"


@dataclass(frozen=True)
class Look:
    """What there is at one moment, gathered once for many questions.

    `instances` of EC2 by their ids; `named` are the load balancers with a rule that names a target group, by its ARN.
    """

    instances: Mapping[str, Any]
    named: Mapping[str, Sequence[FakeLoadBalancer]]


class Region(Protocol):
    """What a model asks of the service that holds it."""

    def now(self) -> float: ...

    def look(self) -> Look: ...


@dataclass
class Registration:
    """A target of a group. `deregistered` is when its draining began (the world's clock)."""

    target_id: str
    port: int
    health: Health = Health()  # noqa: RUF009 - frozen
    deregistered: float | None = None

    @property
    def key(self) -> str:
        return f"{self.target_id}:{self.port}"


@dataclass(frozen=True)
class Standing:
    """What DescribeTargetHealth says of a target."""

    state: str
    reason: str = ""
    description: str = ""


_NOT_REGISTERED = Standing("unused", "Target.NotRegistered", "Target is not registered to the target group")
_DRAINING = Standing("draining", "Target.DeregistrationInProgress", "Target deregistration is in progress")
_NOT_IN_USE = Standing(
    "unused", "Target.NotInUse", "Target group is not configured to receive traffic from the load balancer"
)
_OTHER_ZONE = Standing(
    "unused",
    "Target.NotInUse",
    "Target is in an Availability Zone that is not enabled for the load balancer",
)
_STOPPED = Standing("unused", "Target.InvalidState", "Target is in the stopped state")


class LoadBalancer(FakeLoadBalancer):
    """It is active when the region says so, not when somebody looks."""

    __module__ = _MODULE

    def activate(self) -> None:
        pass

    @property
    def idle(self) -> int:
        """Seconds."""
        return int(self.attrs.get("idle_timeout.timeout_seconds", 60))


class Listener(FakeListener):
    """Its rules in the order in which they are tried."""

    __module__ = _MODULE

    @property
    def rules(self) -> dict[Any, Any]:
        ordered = sorted(self._non_default_rules.items(), key=lambda item: int(item[1].priority))
        default = self._default_rule[0]
        return {**dict(ordered), default.arn: default}


class TargetGroup(FakeTargetGroup):
    __module__ = _MODULE
    region: ClassVar[Region]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.registrations: dict[tuple[str, int], Registration] = {}
        self.asked: dict[str, Any] = {}  # the settings with which it was made

    @property
    def load_balancer_arns(self) -> list[str]:
        """Of the rules as they are: moto only ever adds to its own list."""
        return [balancer.arn for balancer in self.region.look().named.get(self.arn, ())]

    @load_balancer_arns.setter
    def load_balancer_arns(self, _arns: list[str]) -> None:
        pass

    @property
    def check(self) -> Check:
        port = str(self.health_check_port or "traffic-port")
        return Check(
            path=self.health_check_path or "/",
            port=0 if port == "traffic-port" else int(port),
            interval=float(self.health_check_interval_seconds),
            timeout=float(self.health_check_timeout_seconds),
            healthy_after=int(self.healthy_threshold_count),
            unhealthy_after=int(self.unhealthy_threshold_count),
            codes=codes((self.matcher or {}).get("HttpCode") or "200"),
        )

    @property
    def delay(self) -> float:
        """Seconds for which a target drains."""
        return float(str(self.attributes["deregistration_delay.timeout_seconds"]))

    # --- targets -------------------------------------------------------------------------------------------------

    def register(self, targets: list[dict[str, Any]]) -> None:
        """All or none. AWS, RegisterTargets: InvalidTarget."""
        for target in targets:
            self._refuse_invalid(target["Id"])
        for target in targets:
            port = int(target.get("Port") or self.port)
            known = self.registrations.get((target["Id"], port))
            if known is None or known.deregistered is not None:
                self.registrations[target["Id"], port] = Registration(target["Id"], port)

    def _refuse_invalid(self, target_id: str) -> None:
        if self.target_type == "ip":
            try:
                ipaddress.IPv4Address(target_id)
            except ValueError:
                raise ELBClientError("ValidationError", f"The IP address '{target_id}' is not valid") from None
            return
        instance = self.ec2_backend.get_instance_by_id(target_id)
        if instance is None:
            raise ELBClientError("InvalidTarget", f"The following targets are not valid instances: '{target_id}'")
        if instance.state != "running":
            raise ELBClientError(
                "InvalidTarget",
                f"The following targets are not in a running state and cannot be registered: '{target_id}'",
            )
        if instance.vpc_id != self.vpc_id:
            raise ELBClientError(
                "InvalidTarget",
                f"The following targets are not in the target group VPC '{self.vpc_id}': '{target_id}'",
            )

    def deregister(self, targets: list[dict[str, Any]]) -> None:
        """AWS, DeregisterTargets: one that isn't registered is no error. A group in no rule has nothing to drain."""
        now, in_use = self.region.now(), bool(self.load_balancer_arns)
        for target in targets:
            known = self.registrations.get((target["Id"], int(target.get("Port") or self.port)))
            if known is not None and known.deregistered is None:
                known.deregistered = now
                if not in_use:
                    del self.registrations[known.target_id, known.port]

    def deregister_terminated_instances(self, instance_ids: list[str]) -> None:
        gone = [each for each in self.registrations.values() if each.target_id in instance_ids]
        self.deregister([{"Id": each.target_id, "Port": each.port} for each in gone])

    def forget(self, registration: Registration) -> None:
        self.registrations.pop((registration.target_id, registration.port), None)

    def address_of(self, registration: Registration, look: Look) -> str:
        """The target's address in the site; "" when it has none (any more)."""
        if self.target_type == "ip":
            return registration.target_id
        instance = look.instances.get(registration.target_id)
        return str(instance.private_ip or "") if instance is not None else ""

    def instance_state(self, registration: Registration, look: Look) -> str:
        if self.target_type == "ip":
            return "running"
        instance = look.instances.get(registration.target_id)
        return str(instance.state) if instance is not None else "terminated"

    def standing(self, registration: Registration, look: Look) -> Standing:
        if registration.deregistered is not None:
            return _DRAINING
        balancers = look.named.get(self.arn, ())
        if not balancers:
            return _NOT_IN_USE
        if self.instance_state(registration, look) in ("stopping", "stopped"):
            return _STOPPED
        if self.target_type != "ip":
            instance = look.instances.get(registration.target_id)
            zone = instance._placement.zone if instance is not None else ""
            if all(zone != subnet.availability_zone for balancer in balancers for subnet in balancer.subnets):
                return _OTHER_ZONE
        return Standing(registration.health.state, registration.health.reason, registration.health.description)

    # --- what is told --------------------------------------------------------------------------------------------

    def health_for(self, target: dict[str, Any], ec2_backend: Any = None) -> FakeHealthStatus:
        """Of a target that is asked for by name, registered or not."""
        port = int(target.get("Port") or self.port)
        known = self.registrations.get((target["Id"], port))
        standing = self.standing(known, self.region.look()) if known else _NOT_REGISTERED
        checked = self.check.port or port
        return FakeHealthStatus(
            target["Id"],
            str(port),
            str(checked) if known else None,
            standing.state,
            standing.reason or None,
            standing.description or None,
        )
