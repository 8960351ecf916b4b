"""What there is in a region, as its control tells it: read from moto's models, under the world's lock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from moto.autoscaling.models import autoscaling_backends
from moto.ec2.models import ec2_backends
from moto.elbv2.models import FakeLoadBalancer, elbv2_backends

from region.aws.autoscaling_backend import AutoScaling
from region.aws.autoscaling_group import Record
from region.aws.elbv2_models import TargetGroup
from region.aws.world import World

Health = Callable[[str, str], str | None]
"""The state of an instance in a target group (`region.balancer`); None where it is not registered."""


def gather(world: World, health: Health) -> dict[str, Any]:
    """Instances, groups, load balancers and AMIs of the account's own, each in the order in which it was made."""
    where = world.settings
    with world.lock:
        ec2 = ec2_backends[where.account][where.aws_region]
        balancers = elbv2_backends[where.account][where.aws_region]
        groups = cast(AutoScaling, autoscaling_backends[where.account][where.aws_region]).groups.values()
        targets = cast(list[TargetGroup], list(balancers.target_groups.values()))
        group_of = {instance: group.name for group in groups for instance in group.members}
        return {
            "instances": [_instance(one, group_of, targets, health) for one in ec2.all_instances()],
            "groups": [_group(group) for group in groups],
            "load_balancers": [_balancer(one, targets, health) for one in balancers.load_balancers.values()],
            "images": [
                {"id": image.id, "name": image.name, "state": image.state, "created": str(image.creation_date)}
                for image in ec2.amis.values()
                if image.owner_id == where.account
            ],
        }


def instance_ids(world: World) -> list[str]:
    """Of all instances that the API still tells of. The caller holds the world's lock."""
    where = world.settings
    return [instance.id for instance in ec2_backends[where.account][where.aws_region].all_instances()]


def _instance(one: Any, group_of: Mapping[str, str], targets: list[TargetGroup], health: Health) -> dict[str, Any]:
    states = {group.name: health(group.arn, one.id) for group in targets}
    machine = getattr(one, "machine", None)
    return {
        "id": one.id,
        "state": one.state,
        "impaired": bool(getattr(one, "impaired", False)),
        "image": one.image_id,
        "type": one.instance_type,
        "lifecycle": "spot" if getattr(one, "is_spot", one.lifecycle == "spot") else "on-demand",
        "private_ip": one.private_ip or "",
        "public_ip": one.public_ip or "",
        "zone": one.placement.zone,
        "launched": str(one.launch_time),
        "machine": machine.name if machine is not None else "",
        "group": group_of.get(one.id, ""),
        "targets": {name: state for name, state in states.items() if state is not None},
        "tags": {tag["key"]: tag["value"] for tag in one.get_tags()},
    }


def _group(group: Record) -> dict[str, Any]:
    states = {member.instance_id: str(member.state) for member in group.members.values()}
    return {
        "name": group.name,
        "min": group.minimum,
        "desired": group.desired,
        "max": group.maximum,
        "in_service": list(states.values()).count("InService"),
        "suspended": sorted(group.suspended),
        "instances": states,
    }


def _balancer(balancer: FakeLoadBalancer, targets: list[TargetGroup], health: Health) -> dict[str, Any]:
    return {
        "name": balancer.name,
        "dns_name": balancer.dns_name,
        "ports": sorted(int(listener.port) for listener in balancer.listeners.values() if listener.port),
        "target_groups": {
            group.name: {one.target_id: health(group.arn, one.target_id) for one in group.registrations.values()}
            for group in targets
            if balancer.arn in group.load_balancer_arns
        },
    }
