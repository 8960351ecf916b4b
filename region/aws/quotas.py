"""What an account may have at most: the limits that a deploy asks for before it makes anything.

Service Quotas tells those of EC2's instances ("Amazon EC2 instance type quotas": in vCPUs, not in instances), Elastic
Load Balancing its own ("Quotas for your Application Load Balancers", as DescribeAccountLimits names them). They are
told and not enforced: a launch refused for one is a fault that is asked for (`VcpuLimitExceeded`,
`MaxSpotInstanceCountExceeded`).
"""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult
from moto.elb import urls
from moto.elbv2.responses import ELBV2Response
from moto.servicequotas.exceptions import NoSuchResource
from moto.servicequotas.models import ServiceQuotasBackend, servicequotas_backends

from region.aws.world import World

_VCPUS = 256.0  # as of an account that asked for more; a new one has 5
_INSTANCES = {
    "L-1216C47A": "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
    "L-34B43A08": "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests",
}
_BALANCERS = {
    "application-load-balancers": 50,
    "target-groups": 3000,
    "targets-per-application-load-balancer": 1000,
    "listeners-per-application-load-balancer": 50,
    "rules-per-application-load-balancer": 100,
    "certificates-per-application-load-balancer": 25,
    "condition-values-per-alb-rule": 5,
    "condition-wildcards-per-alb-rule": 6,
    "target-groups-per-application-load-balancer": 100,
    "target-groups-per-action-on-application-load-balancer": 5,
}


class RegionQuotas(ServiceQuotasBackend):
    __module__ = "moto.servicequotas.models"  # moto finds the service in it

    def list_aws_default_service_quotas(self, service_code: str) -> list[dict[str, Any]]:
        """Raises NoSuchResource for a service whose quotas aren't known."""
        if service_code != "ec2":
            return super().list_aws_default_service_quotas(service_code)
        return [self._instances(code) for code in _INSTANCES]

    def get_service_quota(self, service_code: str, quota_code: str) -> dict[str, Any]:
        """Raises NoSuchResource for one that isn't known."""
        if service_code != "ec2":
            return super().get_service_quota(service_code, quota_code)
        if quota_code not in _INSTANCES:
            raise NoSuchResource
        return self._instances(quota_code)

    def _instances(self, code: str) -> dict[str, Any]:
        return {
            "ServiceCode": "ec2",
            "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
            "QuotaArn": f"arn:aws:servicequotas:{self.region_name}:{self.account_id}:ec2/{code}",
            "QuotaCode": code,
            "QuotaName": _INSTANCES[code],
            "Value": _VCPUS,
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
        }


class _Balancers(ELBV2Response):
    def describe_account_limits(self) -> ActionResult:
        return ActionResult({"Limits": [{"Name": name, "Max": str(most)} for name, most in _BALANCERS.items()]})


class Quotas:
    """The service. Nothing of it runs by itself."""

    def close(self) -> None:
        """Nothing was started."""


def install(world: World) -> Quotas:
    servicequotas_backends.backend = RegionQuotas
    servicequotas_backends.clear()
    setattr(urls, "ELBV2Response", _Balancers)  # noqa: B010 - both generations of load balancers share its one path
    return Quotas()
