"""Targets: who is checked, what is said of them, and who gets requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from region.aws.world import World
from region.balancer.health import Answered, TimedOut
from tests.region.aws.elbv2_world import Site, forward, path
from tests.region.aws.fakes import FakeClock

pytestmark = pytest.mark.network


@pytest.fixture
def site(world: World, client: Callable[..., Any]) -> Site:
    return Site(world, client)


def test_a_new_target_is_initial_gets_its_first_check_at_once_and_is_healthy_after_one_success(site: Site) -> None:
    instance = site.registered(site.blue)
    assert site.health(site.blue)[0]["Reason"] == "Elb.RegistrationInProgress"
    site.look(1)
    assert site.health(site.blue)[0]["Reason"] == "Elb.InitialHealthChecking"
    probe = site.prober.probes[site.key(site.blue, instance)]
    assert (probe.port, probe.path, probe.interval, probe.timeout) == (8080, "/health", 30, 5)
    site.look(1)
    assert site.health(site.blue) == [{"State": "healthy"}]
    assert site.service.state_of(site.blue, instance) == "healthy"


@pytest.mark.parametrize(
    ("outcome", "reason", "description"),
    [
        (Answered(503), "Target.ResponseCodeMismatch", "Health checks failed with these codes: [503]"),
        (TimedOut(), "Target.Timeout", "Request timed out"),
        (None, "Target.FailedHealthChecks", "Health checks failed"),
    ],
)
def test_an_unhealthy_target_says_why_and_gets_no_requests(
    site: Site, outcome: Any, reason: str, description: str
) -> None:
    well, ill = site.registered(site.blue), site.registered(site.blue)
    site.look()
    site.ill(ill, outcome)
    site.look(1)
    assert site.states(site.blue) == ["healthy", "healthy"]  # one failure is no reason yet
    site.look(1)
    assert site.health(site.blue)[1] == {"State": "unhealthy", "Reason": reason, "Description": description}
    assert site.chosen_from(site.blue) == {f"{well}:8080"}


def test_with_no_healthy_target_requests_go_to_all(site: Site) -> None:
    one, two = site.registered(site.blue), site.registered(site.blue)
    site.ill(one)
    site.ill(two)
    site.look(4)
    assert site.states(site.blue) == ["unhealthy", "unhealthy"]
    assert site.chosen_from(site.blue) == {f"{one}:8080", f"{two}:8080"}


def test_a_group_in_no_rule_is_unused_and_one_of_weight_0_is_checked(site: Site) -> None:
    instance = site.registered(site.green)
    site.look()
    assert site.health(site.green)[0]["Reason"] == "Target.NotInUse"
    assert not site.prober.probes
    rule = site.elb.create_rule(
        ListenerArn=site.listener,
        Priority=10,
        Conditions=[path("/x")],
        Actions=[forward((site.blue, 1), (site.green, 0))],
    )["Rules"][0]
    site.look()
    assert site.service.state_of(site.green, instance) == "healthy"
    site.elb.delete_rule(RuleArn=rule["RuleArn"])
    site.look()
    assert site.states(site.green) == ["unused"]


def test_a_deregistered_target_drains_for_the_delay_and_is_then_unknown(site: Site, clock: FakeClock) -> None:
    instance = site.registered(site.blue)
    site.look()
    site.elb.deregister_targets(TargetGroupArn=site.blue, Targets=[{"Id": instance}])
    assert site.chosen_from(site.blue) == set()  # before the call answers
    assert site.health(site.blue)[0]["Reason"] == "Target.DeregistrationInProgress"
    clock.now += 299
    site.look()
    assert site.states(site.blue) == ["draining"]
    assert site.door.cuts == []
    clock.now += 1
    site.look()
    assert site.states(site.blue) == []
    assert len(site.door.cuts) == 1
    assert site.service.state_of(site.blue, instance) is None
    assert site.health(site.blue, Targets=[{"Id": instance}])[0]["Reason"] == "Target.NotRegistered"


def test_a_draining_target_without_a_request_is_drained(site: Site) -> None:
    instance = site.registered(site.blue)
    site.look()
    assert not site.service.drained(site.blue, instance)
    site.door.busy[site.key(site.blue, instance)] = 1
    site.elb.deregister_targets(TargetGroupArn=site.blue, Targets=[{"Id": instance}])
    assert not site.service.drained(site.blue, instance)
    site.door.busy.clear()
    assert site.service.drained(site.blue, instance)
    assert site.states(site.blue) == ["draining"]  # AWS: it is shown so until the delay is over


def test_a_place_that_is_another_groups_target_too_is_not_cut_off(site: Site, clock: FakeClock) -> None:
    instance = site.registered(site.blue)
    site.elb.register_targets(TargetGroupArn=site.green, Targets=[{"Id": instance}])
    site.elb.deregister_targets(TargetGroupArn=site.blue, Targets=[{"Id": instance}])
    clock.now += 300
    site.look()
    assert (site.states(site.blue), site.door.cuts) == ([], [])


def test_a_draining_target_that_is_registered_again_begins_anew(site: Site) -> None:
    instance = site.registered(site.blue)
    site.look()
    site.elb.deregister_targets(TargetGroupArn=site.blue, Targets=[{"Id": instance}])
    site.elb.register_targets(TargetGroupArn=site.blue, Targets=[{"Id": instance}])
    assert site.states(site.blue) == ["initial"]


def test_an_instance_with_two_ports_is_two_targets(site: Site) -> None:
    instance = site.instance()
    site.elb.register_targets(TargetGroupArn=site.blue, Targets=[{"Id": instance}, {"Id": instance, "Port": 9000}])
    site.look()
    assert site.chosen_from(site.blue) == {f"{instance}:8080", f"{instance}:9000"}
    site.elb.deregister_targets(TargetGroupArn=site.blue, Targets=[{"Id": instance, "Port": 9000}])
    assert site.states(site.blue) == ["healthy", "draining"]


def test_a_stopped_instance_is_unused_and_a_terminated_one_vanishes(site: Site, clock: FakeClock) -> None:
    stopped, ended = site.registered(site.blue), site.registered(site.blue)
    site.look()
    site.ec2.stop_instances(InstanceIds=[stopped])
    site.look()
    assert site.health(site.blue)[0] == {
        "State": "unused",
        "Reason": "Target.InvalidState",
        "Description": "Target is in the stopped state",
    }
    assert site.chosen_from(site.blue) == {f"{ended}:8080"}
    site.ec2.terminate_instances(InstanceIds=[ended])
    assert site.chosen_from(site.blue) == set()
    clock.now += 300
    site.look()
    assert site.service.state_of(site.blue, ended) is None


def test_a_target_in_a_zone_without_a_subnet_of_the_load_balancer_is_unused(site: Site) -> None:
    site.registered(site.blue, subnet=3)
    site.look()
    assert site.health(site.blue)[0]["Description"].startswith("Target is in an Availability Zone that is not enabled")


def test_what_is_no_running_instance_of_the_vpc_is_refused_and_nothing_is_registered(site: Site) -> None:
    running, stopped = site.instance(), site.instance()
    site.ec2.stop_instances(InstanceIds=[stopped])
    for wrong in (stopped, "i-0123456789abcdef0"):
        with pytest.raises(ClientError, match="InvalidTarget"):
            site.elb.register_targets(TargetGroupArn=site.blue, Targets=[{"Id": running}, {"Id": wrong}])
    assert site.states(site.blue) == []


def test_an_unknown_target_may_be_deregistered(site: Site) -> None:
    site.elb.deregister_targets(TargetGroupArn=site.blue, Targets=[{"Id": site.instance()}])


def test_hosts_are_counted(site: Site) -> None:
    site.registered(site.blue)
    site.look()
    ill = site.registered(site.blue)
    site.ill(ill)
    site.look(4)
    [healthy] = [each for each in site.service.metrics.series(0, 1e12) if each.metric == "HealthyHostCount"]
    assert dict(healthy.dimensions) == {
        "LoadBalancer": site.arn.partition("loadbalancer/")[2],
        "TargetGroup": site.blue.rpartition(":")[2],
    }
