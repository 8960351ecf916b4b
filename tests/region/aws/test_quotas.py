"""What a deploy asks for before it makes anything: how much it may have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from region.aws import quotas
from region.aws.world import World
from tests.region.aws.autoscaling_world import Scaling, scaling

__all__ = ["scaling"]
pytestmark = pytest.mark.network


def test_quotas_of_instances_are_in_vcpus_by_their_codes(world: World, client: Callable[..., Any]) -> None:
    quotas.install(world)
    api = client("service-quotas")
    spot = api.get_service_quota(ServiceCode="ec2", QuotaCode="L-34B43A08")["Quota"]
    assert spot["QuotaName"].endswith("Spot Instance Requests")
    assert spot in api.list_aws_default_service_quotas(ServiceCode="ec2")["Quotas"]
    for service, code in (("ec2", "L-00000000"), ("nothing", "L-34B43A08")):
        with pytest.raises(ClientError, match="NoSuchResourceException"):
            api.get_service_quota(ServiceCode=service, QuotaCode=code)


def test_load_balancers_tell_their_limits_by_name(world: World, client: Callable[..., Any]) -> None:
    quotas.install(world)
    limits = {one["Name"]: one["Max"] for one in client("elbv2").describe_account_limits()["Limits"]}
    assert limits["targets-per-application-load-balancer"] == "1000"
    assert limits["target-groups-per-action-on-application-load-balancer"] == "5"


def test_groups_are_counted(scaling: Scaling) -> None:
    scaling.create()
    told = scaling.api.describe_account_limits()
    assert (told["NumberOfAutoScalingGroups"], told["MaxNumberOfAutoScalingGroups"]) == (1, 500)
