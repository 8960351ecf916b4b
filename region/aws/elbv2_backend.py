"""moto's ELBv2 with consequences: each call that changes something is shown by the door before it answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

from moto.elbv2.exceptions import (
    ELBClientError,
    ListenerNotFoundError,
    LoadBalancerNotFoundError,
    PriorityInUseError,
    RuleNotFoundError,
    TargetGroupNotFoundError,
)
from moto.elbv2.models import ELBv2Backend, FakeHealthStatus, FakeListener, FakeLoadBalancer, FakeTargetGroup

from region.aws import elbv2_groups as groups
from region.aws import elbv2_rules as rules
from region.aws.elbv2_models import TargetGroup
from region.errors import RegionError

_RULES_PER_BALANCER = 100


class Service(Protocol):
    """What the backend asks of the region's service."""

    def allocate(self) -> str:
        """An address for a load balancer. Raises RegionError."""

    def free(self, address: str) -> None: ...

    def bind(self, address: str, port: int) -> None:
        """Raises RegionError where the address is taken."""

    def apply(self) -> None:
        """Shows what now is."""


class RegionElbv2(ELBv2Backend):
    __module__ = "moto.elbv2.models"
    service: ClassVar[Service]

    # --- load balancers ------------------------------------------------------------------------------------------

    def create_load_balancer(self, name: str, *args: Any, **kwargs: Any) -> FakeLoadBalancer:
        groups.check_balancer_name(name)
        if kwargs.get("loadbalancer_type") not in (None, "application"):
            raise rules.not_rehearsed(f"load balancers of type {kwargs['loadbalancer_type']}")
        if kwargs.get("scheme") not in (None, "internet-facing", "internal"):
            raise rules.invalid(f"Scheme '{kwargs['scheme']}' must be internet-facing or internal")
        kwargs["scheme"] = kwargs.get("scheme") or "internet-facing"
        balancer = super().create_load_balancer(name, *args, **kwargs)
        del self.load_balancers[balancer.arn]
        if len({subnet.availability_zone for subnet in balancer.subnets}) < 2:
            raise rules.invalid("At least two subnets in two different Availability Zones must be specified")
        for other in self.load_balancers.values():
            if other.name == name:
                return self._same(other, balancer)
        try:
            balancer.dns_name = self.service.allocate()
        except RegionError as error:
            raise ELBClientError("TooManyLoadBalancers", error.what) from error
        self.load_balancers[balancer.arn] = balancer
        return balancer

    def _same(self, existing: FakeLoadBalancer, wanted: FakeLoadBalancer) -> FakeLoadBalancer:
        """AWS, CreateLoadBalancer: with the same settings each call succeeds, with others it is an error."""

        def settings(balancer: FakeLoadBalancer) -> tuple[Any, ...]:
            subnets = sorted(subnet.id for subnet in balancer.subnets)
            return balancer.scheme, balancer.type, subnets, sorted(balancer.security_groups or [])

        if settings(existing) != settings(wanted):
            raise ELBClientError(
                "DuplicateLoadBalancerName",
                f"A load balancer with the same name '{existing.name}' exists, but with different settings",
            )
        return existing

    def delete_load_balancer(self, arn: str) -> None:
        balancer = self.load_balancers.get(arn)
        if balancer is None:
            return  # AWS: the call succeeds
        if str(balancer.attrs.get("deletion_protection.enabled")).lower() == "true":
            raise ELBClientError(
                "OperationNotPermitted",
                f"Load balancer '{arn}' cannot be deleted because deletion protection is enabled",
            )
        super().delete_load_balancer(arn)
        self.service.apply()
        self.service.free(balancer.dns_name)

    def describe_load_balancers(self, arns: list[str] | None, names: list[str] | None) -> list[FakeLoadBalancer]:
        if not arns and not names:
            return list(self.load_balancers.values())
        found = [
            each for each in self.load_balancers.values() if each.arn in (arns or []) or each.name in (names or [])
        ]
        if {each.arn for each in found} < set(arns or []) or {each.name for each in found} < set(names or []):
            raise LoadBalancerNotFoundError()
        return found

    def modify_load_balancer_attributes(self, arn: str, attrs: dict[str, Any]) -> dict[str, Any]:
        groups.check_attributes(attrs)
        changed = super().modify_load_balancer_attributes(arn, attrs)
        self.service.apply()
        return changed

    # --- listeners -----------------------------------------------------------------------------------------------

    def create_listener(
        self,
        load_balancer_arn: str,
        protocol: str,
        port: Any,
        ssl_policy: str,
        certificate: str | None,
        actions: list[dict[str, Any]],
        alpn_policy: list[str] | None = None,
        tags: list[dict[str, str]] | None = None,
    ) -> FakeListener:
        balancer = self.load_balancers.get(load_balancer_arn)
        if balancer is None:
            raise LoadBalancerNotFoundError()
        told = self._checked_actions(actions, load_balancer_arn)
        self._validate_port_and_protocol(balancer.type, port, protocol)
        self._check_certificate(protocol, certificate)
        self._bind(balancer, int(port))
        listener = super().create_listener(
            load_balancer_arn, protocol, str(port), ssl_policy, certificate, told, alpn_policy, tags
        )
        self.service.apply()
        return listener

    def _bind(self, balancer: FakeLoadBalancer, port: int) -> None:
        if not 1 <= port <= 65535:
            raise rules.invalid("Port must be between 1 and 65535")
        if any(int(other.port) == port for other in balancer.listeners.values()):
            raise ELBClientError(
                "DuplicateListener",
                f"A listener already exists on port '{port}' for the load balancer '{balancer.arn}'",
            )
        try:
            self.service.bind(balancer.dns_name, port)
        except RegionError as error:
            raise ELBClientError("InvalidConfigurationRequest", f"{error.where}: {error.what}") from error

    def _check_certificate(self, protocol: str | None, certificate: str | None) -> None:
        if protocol == "HTTPS" and not certificate:
            raise rules.invalid("A certificate must be specified for HTTPS listeners")
        if certificate and not self._certificate_exists(certificate):
            raise ELBClientError("CertificateNotFound", f"Certificate '{certificate}' not found")

    def modify_listener(
        self,
        arn: str,
        port: Any = None,
        protocol: str | None = None,
        ssl_policy: str | None = None,
        certificates: list[dict[str, Any]] | None = None,
        actions: list[dict[str, Any]] | None = None,
    ) -> FakeListener:
        listener = self._listener(arn)
        told = self._checked_actions(actions or [], listener.load_balancer_arn)
        if protocol not in (None, "HTTP", "HTTPS"):
            raise rules.invalid(f"Listener protocol '{protocol}' must be one of 'HTTP, HTTPS'")
        if port is not None and int(port) != int(listener.port):
            self._bind(self.load_balancers[listener.load_balancer_arn], int(port))
        changed = super().modify_listener(arn, port and str(port), protocol, ssl_policy, certificates or [], told)
        self.service.apply()
        return changed

    def delete_listener(self, listener_arn: str) -> FakeListener:
        listener = super().delete_listener(listener_arn)
        self.service.apply()
        return listener

    def _listener(self, arn: str) -> FakeListener:
        for balancer in self.load_balancers.values():
            if arn in balancer.listeners:
                return balancer.listeners[arn]
        raise ListenerNotFoundError()

    # --- rules ---------------------------------------------------------------------------------------------------

    def _checked_actions(self, actions: Sequence[dict[str, Any]], balancer_arn: str) -> list[dict[str, Any]]:
        told = rules.checked_actions(actions)
        for arn, _ in rules.groups_of(told):
            group = self.target_groups.get(arn)
            if group is None:
                raise ELBClientError("TargetGroupNotFound", f"Target groups '{arn}' not found")
            if [other for other in group.load_balancer_arns if other != balancer_arn]:
                raise ELBClientError(
                    "TargetGroupAssociationLimit",
                    "The following target groups cannot be associated with more than one load balancer: " + arn,
                )
            if group.vpc_id != self.load_balancers[balancer_arn].vpc_id:
                raise ELBClientError(
                    "InvalidConfigurationRequest", f"The target group '{arn}' is not in the load balancer's VPC"
                )
        return told

    def create_rule(
        self,
        listener_arn: str,
        conditions: list[dict[str, Any]],
        priority: Any,
        actions: list[dict[str, Any]],
        tags: list[dict[str, str]] | None = None,
    ) -> Any:
        listener = self._listener(listener_arn)
        balancer = self.load_balancers[listener.load_balancer_arn]
        self._check_conditions(conditions)
        told = self._checked_actions(actions, balancer.arn)
        if sum(len(each._non_default_rules) for each in balancer.listeners.values()) >= _RULES_PER_BALANCER:
            raise ELBClientError("TooManyRules", "You've reached the limit on the number of rules per load balancer")
        rule = super().create_rule(listener_arn, conditions, rules.checked_priority(priority), told, tags)
        rule.conditions = rules.told_conditions(conditions)
        self.service.apply()
        return rule

    def _check_conditions(self, conditions: Sequence[dict[str, Any]]) -> None:
        self._validate_conditions(list(conditions))
        rules.check_conditions(conditions)

    def modify_rule(self, rule_arn: str, conditions: list[dict[str, Any]], actions: list[dict[str, Any]]) -> Any:
        rule = self._rule(rule_arn)
        if rule.is_default:
            raise ELBClientError("OperationNotPermitted", f"Default rule '{rule_arn}' cannot be modified")
        self._check_conditions(conditions)
        told = self._checked_actions(actions, self._listener(rule.listener_arn).load_balancer_arn)
        super().modify_rule(rule_arn, conditions, told)
        if conditions:
            rule.conditions = rules.told_conditions(conditions)
        self.service.apply()
        return rule

    def delete_rule(self, arn: str) -> None:
        rule = self._rule(arn)
        if rule.is_default:
            raise ELBClientError("OperationNotPermitted", f"Default rule '{arn}' cannot be deleted")
        super().delete_rule(arn)
        self.service.apply()

    def set_rule_priorities(self, rule_priorities: list[dict[str, Any]]) -> list[Any]:
        """All at once: two rules may take each other's place."""
        wanted = {each["RuleArn"]: rules.checked_priority(each["Priority"]) for each in rule_priorities}
        if len(set(wanted.values())) < len(rule_priorities):
            raise rules.invalid("A priority was provided multiple times")
        moved = [self._rule(arn) for arn in wanted]
        for rule in moved:
            if rule.is_default:
                raise ELBClientError("OperationNotPermitted", f"The priority of '{rule.arn}' cannot be changed")
            for other in self._listener(rule.listener_arn).rules.values():
                if other.arn not in wanted and str(other.priority) == str(wanted[rule.arn]):
                    raise PriorityInUseError()
        for rule in moved:
            rule.priority = wanted[rule.arn]
        self.service.apply()
        return moved

    def _rule(self, arn: str) -> Any:
        for balancer in self.load_balancers.values():
            for listener in balancer.listeners.values():
                for rule in listener.rules.values():
                    if rule.arn == arn:
                        return rule
        raise RuleNotFoundError("One or more rules not found")

    # --- target groups -------------------------------------------------------------------------------------------

    def create_target_group(self, name: str, **kwargs: Any) -> FakeTargetGroup:
        """AWS, CreateTargetGroup: with the same settings each call succeeds."""
        groups.check_group(kwargs)
        asked = {key: value for key, value in kwargs.items() if key != "tags"}
        for existing in self.target_groups.values():
            if existing.name == name and isinstance(existing, TargetGroup) and existing.asked == asked:
                return existing
        group = super().create_target_group(name, **kwargs)
        assert isinstance(group, TargetGroup)
        group.asked = asked
        return group

    def modify_target_group(
        self,
        arn: str,
        health_check_proto: str | None = None,
        health_check_port: str | None = None,
        health_check_path: str | None = None,
        health_check_interval: Any = None,
        health_check_timeout: Any = None,
        healthy_threshold_count: Any = None,
        unhealthy_threshold_count: Any = None,
        http_codes: str | None = None,
        health_check_enabled: bool | None = None,
    ) -> FakeTargetGroup:
        group = self._group(arn)
        settings = {
            "healthcheck_protocol": health_check_proto,
            "healthcheck_port": health_check_port,
            "healthcheck_path": health_check_path,
            "healthcheck_interval_seconds": health_check_interval,
            "healthcheck_timeout_seconds": health_check_timeout,
            "healthy_threshold_count": healthy_threshold_count,
            "unhealthy_threshold_count": unhealthy_threshold_count,
            "matcher": {"HttpCode": http_codes},
        }
        groups.check_group(settings)
        interval = health_check_interval or group.health_check_interval_seconds
        timeout = health_check_timeout or group.health_check_timeout_seconds
        if int(timeout) >= int(interval):
            raise rules.invalid(f"Health check timeout '{timeout}' must be smaller than the interval '{interval}'")
        changed = super().modify_target_group(
            arn,
            health_check_proto,
            health_check_port,
            health_check_path,
            health_check_interval,
            health_check_timeout,
            healthy_threshold_count,
            unhealthy_threshold_count,
            http_codes,
            health_check_enabled,
        )
        self.service.apply()
        return changed

    def modify_target_group_attributes(self, target_group_arn: str, attributes: dict[str, Any]) -> None:
        self._group(target_group_arn)
        groups.check_attributes(attributes)
        super().modify_target_group_attributes(target_group_arn, attributes)
        self.service.apply()

    def _group(self, arn: str) -> TargetGroup:
        group = self.target_groups.get(arn)
        if group is None:
            raise TargetGroupNotFoundError()
        assert isinstance(group, TargetGroup)
        return group

    # --- targets -------------------------------------------------------------------------------------------------

    def register_targets(self, target_group_arn: str, instances: list[Any]) -> None:
        self._group(target_group_arn).register(instances)
        self.service.apply()

    def deregister_targets(self, target_group_arn: str, instances: list[dict[str, Any]]) -> None:
        self._group(target_group_arn).deregister(instances)
        self.service.apply()

    def describe_target_health(self, target_group_arn: str, targets: list[dict[str, Any]]) -> list[FakeHealthStatus]:
        self.service.apply()  # what is told holds: an instance that stopped a moment ago gets no more requests
        group = self._group(target_group_arn)
        wanted = targets or [{"Id": each.target_id, "Port": each.port} for each in group.registrations.values()]
        return [group.health_for(target) for target in wanted]

    def notify_terminate_instances(self, instance_ids: list[str]) -> None:
        super().notify_terminate_instances(instance_ids)
        self.service.apply()
