"""A group's instances in target groups: in when they come into service, out before they leave, and judged by them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from region.aws.world import World
from tests.region.aws.autoscaling_world import TERMINATE, Scaling, scaling
from tests.region.aws.elbv2_world import Site

__all__ = ["scaling"]
pytestmark = pytest.mark.network


@pytest.fixture
def site(world: World, client: Callable[..., Any], scaling: Scaling) -> Site:
    """Behind the load balancer is `blue`."""
    return Site(world, client)


def registered(site: Site) -> dict[str, str]:
    told = site.elb.describe_target_health(TargetGroupArn=site.blue)["TargetHealthDescriptions"]
    return {each["Target"]["Id"]: each["TargetHealth"]["State"] for each in told}


def test_instances_are_registered_when_they_come_into_service(site: Site, scaling: Scaling) -> None:
    (instance,) = scaling.up(TargetGroupARNs=[site.blue], HealthCheckType="ELB")
    assert registered(site) == {instance: "healthy"}
    (told,) = scaling.api.describe_load_balancer_target_groups(AutoScalingGroupName="web")["LoadBalancerTargetGroups"]
    assert told == {"LoadBalancerTargetGroupARN": site.blue, "State": "InService"}


def test_an_instance_that_leaves_is_drained_before_its_hooks_hold_it(site: Site, scaling: Scaling) -> None:
    """Amazon EC2 Auto Scaling User Guide, "How lifecycle hooks work in Auto Scaling groups"."""
    (instance,) = scaling.up(TargetGroupARNs=[site.blue], LifecycleHookSpecificationList=[TERMINATE])
    site.door.busy = {site.key(site.blue, instance): 1}
    scaling.api.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=0)
    scaling.settle()
    assert (registered(site), scaling.states()) == ({instance: "draining"}, {instance: "Terminating"})
    assert scaling.activities()[0] == ("WaitingForELBConnectionDraining", "Terminating EC2 instance")
    site.door.busy = {}
    scaling.settle()
    assert scaling.states() == {instance: "Terminating:Wait"}, "no request is left, though the delay is not over"
    scaling.settle(60)
    assert scaling.ec2_state(instance) == "terminated"


def test_draining_ends_with_the_deregistration_delay(site: Site, scaling: Scaling) -> None:
    (instance,) = scaling.up(TargetGroupARNs=[site.blue])
    site.door.busy = {site.key(site.blue, instance): 1}
    scaling.api.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=0)
    scaling.settle(299)
    assert scaling.states() == {instance: "Terminating"}
    scaling.settle(301)
    assert scaling.ec2_state(instance) == "terminated"


def test_the_unhealthy_are_replaced_one_at_a_time_after_the_grace_period(site: Site, scaling: Scaling) -> None:
    first, second = scaling.up(
        DesiredCapacity=2, TargetGroupARNs=[site.blue], HealthCheckType="ELB", HealthCheckGracePeriod=30
    )
    for instance in (first, second):
        site.ill(instance)
    scaling.settle()
    assert set(registered(site).values()) == {"unhealthy"}
    assert scaling.ids() == [first, second]
    scaling.clock.now += 30
    scaling.world.tick()
    assert sorted(scaling.states().values()) == ["InService", "Pending", "Terminating"]
    scaling.settle()
    assert not {first, second} & set(scaling.ids())
    assert set(registered(site).values()) == {"healthy"}
    activities = scaling.api.describe_scaling_activities(AutoScalingGroupName="web")["Activities"]
    causes = [each["Cause"] for each in activities if each["Description"].startswith("Terminating")]
    assert [cause.partition("response to ")[2] for cause in causes] == ["an ELB system health check failure."] * 2


def test_a_group_that_does_not_ask_keeps_what_its_target_group_finds_unhealthy(site: Site, scaling: Scaling) -> None:
    (instance,) = scaling.up(TargetGroupARNs=[site.blue])
    site.ill(instance)
    scaling.settle()
    assert registered(site) == {instance: "unhealthy"}
    assert scaling.states() == {instance: "InService"}


def test_standby_is_out_of_the_target_group_and_back(site: Site, scaling: Scaling) -> None:
    (instance,) = scaling.up(TargetGroupARNs=[site.blue])
    words = {"AutoScalingGroupName": "web", "InstanceIds": [instance]}
    site.door.busy = {site.key(site.blue, instance): 1}
    scaling.api.enter_standby(**words, ShouldDecrementDesiredCapacity=True)
    scaling.settle()
    assert (scaling.states(), registered(site)) == ({instance: "EnteringStandby"}, {instance: "draining"})
    site.door.busy = {}
    scaling.settle()
    assert scaling.states() == {instance: "Standby"}
    scaling.api.exit_standby(**words)
    scaling.settle()
    assert (scaling.states(), registered(site)) == ({instance: "InService"}, {instance: "healthy"})


def test_a_target_group_can_come_and_go_while_the_group_serves(site: Site, scaling: Scaling) -> None:
    (instance,) = scaling.up()
    words = {"AutoScalingGroupName": "web", "TargetGroupARNs": [site.blue]}
    scaling.api.attach_load_balancer_target_groups(**words)
    scaling.settle()
    assert registered(site) == {instance: "healthy"}
    scaling.api.detach_load_balancer_target_groups(**words)
    scaling.settle()
    assert registered(site) == {instance: "draining"}
    assert scaling.states() == {instance: "InService"}
    refused = scaling.refused(scaling.api.detach_load_balancer_target_groups, **words)
    assert "not part of the group" in refused


def test_what_is_launched_while_adding_is_suspended_is_never_added(site: Site, scaling: Scaling) -> None:
    """Suspended AddToLoadBalancer: "you must register those instances manually" ("Suspend-resume processes")."""
    words = {"AutoScalingGroupName": "web", "ScalingProcesses": ["AddToLoadBalancer"]}
    scaling.create(TargetGroupARNs=[site.blue])
    scaling.api.suspend_processes(**words)
    scaling.settle()
    assert list(scaling.states().values()) == ["InService"]
    scaling.api.resume_processes(**words)
    scaling.settle()
    assert registered(site) == {}


def test_a_target_group_that_was_deleted_is_no_hindrance(site: Site, scaling: Scaling) -> None:
    scaling.up(TargetGroupARNs=[site.green])
    site.elb.delete_target_group(TargetGroupArn=site.green)
    scaling.api.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=2)
    scaling.settle()
    assert list(scaling.states().values()) == ["InService", "InService"]
    scaling.api.delete_auto_scaling_group(AutoScalingGroupName="web", ForceDelete=True)
    scaling.settle()
    assert scaling.group() is None
