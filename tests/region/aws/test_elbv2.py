"""Load balancers, listeners and rules by the API: what a call changes is shown before it answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from region.aws.world import World
from region.balancer.words import Fixed, Forward, Rule
from tests.region.aws.elbv2_world import Site, forward, path

pytestmark = pytest.mark.network


@pytest.fixture
def site(world: World, client: Callable[..., Any]) -> Site:
    return Site(world, client)


def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def key(arn: str) -> str:
    return arn.rpartition(":")[2]


# --- load balancers --------------------------------------------------------------------------------------------------


def test_a_load_balancers_name_in_dns_is_its_address_and_it_is_active_after_a_look(site: Site) -> None:
    assert site.balancer["DNSName"] in site.world.network.held  # type: ignore[attr-defined]
    assert site.balancer["State"]["Code"] == "provisioning"
    site.look(1)
    assert site.elb.describe_load_balancers(Names=["shop"])["LoadBalancers"][0]["State"]["Code"] == "active"


def test_one_that_is_deleted_gives_everything_back(site: Site) -> None:
    protection = {"Key": "deletion_protection.enabled", "Value": "true"}
    site.elb.modify_load_balancer_attributes(LoadBalancerArn=site.arn, Attributes=[protection])
    with pytest.raises(ClientError, match="deletion protection is enabled"):
        site.elb.delete_load_balancer(LoadBalancerArn=site.arn)
    site.elb.modify_load_balancer_attributes(LoadBalancerArn=site.arn, Attributes=[protection | {"Value": "false"}])
    site.elb.delete_load_balancer(LoadBalancerArn=site.arn)
    site.elb.delete_load_balancer(LoadBalancerArn=site.arn)  # AWS: the call succeeds
    assert site.door.plan.listeners == ()
    assert site.world.network.held == set()  # type: ignore[attr-defined]
    site.elb.delete_target_group(TargetGroupArn=site.blue)


def test_with_the_same_settings_there_is_one_and_with_others_an_error(site: Site) -> None:
    again = site.elb.create_load_balancer(Name="shop", Subnets=site.subnets[:2])["LoadBalancers"][0]
    assert again["LoadBalancerArn"] == site.arn
    with pytest.raises(ClientError) as error:
        site.elb.create_load_balancer(Name="shop", Subnets=site.subnets[:2], Scheme="internal")
    assert code_of(error) == "DuplicateLoadBalancerName"


def test_what_a_load_balancer_can_not_be(site: Site) -> None:
    for settings, message in (
        ({"Name": "internal-shop"}, "cannot begin with 'internal-'"),
        ({"Subnets": site.subnets[:1]}, "two different Availability Zones"),
        ({"Type": "network"}, "does not rehearse load balancers of type network"),
    ):
        with pytest.raises(ClientError, match=message):
            site.elb.create_load_balancer(**{"Name": "other", "Subnets": site.subnets[:2], **settings})
    attribute = {"Key": "routing.http.preserve_host_header.enabled", "Value": "true"}
    with pytest.raises(ClientError, match="does not rehearse"):
        site.elb.modify_load_balancer_attributes(LoadBalancerArn=site.arn, Attributes=[attribute])


# --- listeners -------------------------------------------------------------------------------------------------------


def test_a_listener_is_shown_with_the_idle_timeout_of_its_load_balancer(site: Site) -> None:
    attribute = {"Key": "idle_timeout.timeout_seconds", "Value": "5"}
    site.elb.modify_load_balancer_attributes(LoadBalancerArn=site.arn, Attributes=[attribute])
    [listener] = site.door.plan.listeners
    assert (listener.address, listener.port, listener.idle) == (site.balancer["DNSName"], 80, 5)
    assert listener.rules == (Rule(Forward(((key(site.blue), 1),))),)


def test_a_listener_that_can_not_be_leaves_no_trace(site: Site) -> None:
    site.door.taken.add(8443)
    nothing = {"Type": "forward", "TargetGroupArn": site.blue[:-1]}
    certificate = {"CertificateArn": "arn:aws:acm:us-east-1:123456789012:certificate/none"}
    for settings, code in (
        ({"Port": 80}, "DuplicateListener"),
        ({"Protocol": "TCP"}, "ValidationError"),
        ({"Protocol": "HTTPS"}, "ValidationError"),
        ({"Protocol": "HTTPS", "Certificates": [certificate]}, "CertificateNotFound"),
        ({"Port": 8443}, "InvalidConfigurationRequest"),  # somebody has it
        ({"DefaultActions": [nothing]}, "TargetGroupNotFound"),
    ):
        asked = {"Protocol": "HTTP", "Port": 81, "DefaultActions": [forward((site.green, 1))], **settings}
        with pytest.raises(ClientError) as error:
            site.elb.create_listener(LoadBalancerArn=site.arn, **asked)
        assert code_of(error) == code
    assert len(site.elb.describe_listeners(LoadBalancerArn=site.arn)["Listeners"]) == 1


def test_a_modified_listener_moves_and_answers_otherwise(site: Site) -> None:
    site.elb.modify_listener(
        ListenerArn=site.listener,
        Port=8080,
        DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}],
    )
    [listener] = site.door.plan.listeners
    assert (listener.port, listener.rules) == (8080, (Rule(Fixed(404)),))
    assert site.elb.describe_target_groups(TargetGroupArns=[site.blue])["TargetGroups"][0]["LoadBalancerArns"] == []
    site.elb.delete_listener(ListenerArn=site.listener)
    assert site.door.plan.listeners == ()


# --- rules -----------------------------------------------------------------------------------------------------------


def rule(site: Site, priority: int, **settings: Any) -> str:
    asked = {"Conditions": [path("/a*")], "Actions": [forward((site.green, 1))], **settings}
    answer = site.elb.create_rule(ListenerArn=site.listener, Priority=priority, **asked)
    return str(answer["Rules"][0]["RuleArn"])


def shown(site: Site) -> list[Rule]:
    return list(site.door.plan.listeners[0].rules)


def test_rules_are_tried_by_priority_and_the_default_one_last(site: Site) -> None:
    second = rule(site, 20, Conditions=[path("/second")])
    first = rule(site, 3, Conditions=[path("/first")])
    assert [each.conditions[0].values if each.conditions else () for each in shown(site)] == [
        ("/first",),
        ("/second",),
        (),
    ]
    site.elb.set_rule_priorities(
        RulePriorities=[{"RuleArn": first, "Priority": 20}, {"RuleArn": second, "Priority": 3}]
    )
    rules = site.elb.describe_rules(ListenerArn=site.listener)["Rules"]
    assert [(each["RuleArn"], each["Priority"]) for each in rules[:2]] == [(second, "3"), (first, "20")]
    assert shown(site)[0].conditions[0].values == ("/second",)


def test_one_modify_rule_swaps_weights_at_once(site: Site) -> None:
    arn = rule(site, 1, Actions=[forward((site.blue, 1), (site.green, 0))])
    before = len(site.door.plans)
    answer = site.elb.modify_rule(RuleArn=arn, Actions=[forward((site.blue, 0), (site.green, 1))])
    assert len(site.door.plans) == before + 1
    assert shown(site)[0].action == Forward(((key(site.blue), 0), (key(site.green), 1)))
    assert [each["Weight"] for each in answer["Rules"][0]["Actions"][0]["ForwardConfig"]["TargetGroups"]] == [0, 1]
    assert answer["Rules"][0]["Conditions"][0]["Values"] == ["/a*"]


def test_a_forward_is_told_in_both_ways_and_a_host_too(site: Site) -> None:
    arn = rule(
        site,
        1,
        Conditions=[{"Field": "host-header", "Values": ["shop.example.com"]}],
        Actions=[{"Type": "forward", "TargetGroupArn": site.green}],
    )
    told = site.elb.describe_rules(RuleArns=[arn])["Rules"][0]
    assert told["Actions"][0] == {
        "Type": "forward",
        "TargetGroupArn": site.green,
        "ForwardConfig": {
            "TargetGroups": [{"TargetGroupArn": site.green, "Weight": 1}],
            "TargetGroupStickinessConfig": {"Enabled": False},
        },
    }
    assert told["Conditions"][0]["HostHeaderConfig"] == {"Values": ["shop.example.com"]}


def test_what_a_rule_can_not_be_leaves_no_trace(site: Site) -> None:
    rule(site, 5)
    for settings, code in (
        ({"Priority": 5}, "PriorityInUse"),
        ({"Actions": [forward((site.green, 1000))]}, "ValidationError"),
        ({"Actions": [forward((site.green[:-1], 1))]}, "TargetGroupNotFound"),
        ({"Conditions": [path("/a"), path("/b")]}, "ValidationError"),
    ):
        asked = {"Priority": 6, "Conditions": [path("/b")], "Actions": [forward((site.green, 1))], **settings}
        with pytest.raises(ClientError) as error:
            site.elb.create_rule(ListenerArn=site.listener, **asked)
        assert code_of(error) == code
    assert len(shown(site)) == 2


def test_the_default_rule_is_its_listeners(site: Site) -> None:
    default = site.elb.describe_rules(ListenerArn=site.listener)["Rules"][-1]
    assert default["IsDefault"]
    arn = default["RuleArn"]
    calls: list[tuple[Callable[..., Any], dict[str, Any]]] = [
        (site.elb.delete_rule, {"RuleArn": arn}),
        (site.elb.modify_rule, {"RuleArn": arn, "Actions": [forward((site.green, 1))]}),
        (site.elb.set_rule_priorities, {"RulePriorities": [{"RuleArn": arn, "Priority": 1}]}),
    ]
    for call, asked in calls:
        with pytest.raises(ClientError) as error:
            call(**asked)
        assert code_of(error) == "OperationNotPermitted"


def test_a_group_is_one_load_balancers(site: Site) -> None:
    other = site.elb.create_load_balancer(Name="other", Subnets=site.subnets[:2])["LoadBalancers"][0]
    asked = {"LoadBalancerArn": other["LoadBalancerArn"], "Protocol": "HTTP", "Port": 80}
    with pytest.raises(ClientError) as error:
        site.elb.create_listener(**asked, DefaultActions=[forward((site.blue, 1))])
    assert code_of(error) == "TargetGroupAssociationLimit"
    with pytest.raises(ClientError) as error:
        site.elb.delete_target_group(TargetGroupArn=site.blue)
    assert code_of(error) == "ResourceInUse"


# --- target groups ---------------------------------------------------------------------------------------------------


def test_what_a_target_group_can_not_be(site: Site) -> None:
    for settings, message in (
        ({"HealthCheckIntervalSeconds": 301}, "interval must be between 5 and 300"),
        ({"HealthCheckIntervalSeconds": 5, "HealthCheckTimeoutSeconds": 5}, "must be smaller than the interval"),
        ({"Protocol": "TCP"}, "does not rehearse"),
    ):
        with pytest.raises(ClientError, match=message):
            site.group("other", **settings)
    attribute = {"Key": "stickiness.enabled", "Value": "true"}
    with pytest.raises(ClientError, match="does not rehearse"):
        site.elb.modify_target_group_attributes(TargetGroupArn=site.blue, Attributes=[attribute])


def test_a_group_that_is_made_twice_is_one_where_it_is_the_same(site: Site) -> None:
    assert site.group("blue") == site.blue
    with pytest.raises(ClientError) as error:
        site.group("blue", Port=9000)
    assert code_of(error) == "DuplicateTargetGroupName"


def test_a_modified_check_is_the_next_one(site: Site) -> None:
    instance = site.registered(site.blue)
    site.look()
    site.elb.modify_target_group(
        TargetGroupArn=site.blue,
        HealthCheckPath="/ready",
        HealthCheckPort="9000",
        HealthCheckIntervalSeconds=10,
        HealthCheckTimeoutSeconds=3,
        Matcher={"HttpCode": "204"},
    )
    site.look()
    probe = site.prober.probes[site.key(site.blue, instance)]
    assert (probe.path, probe.port, probe.interval, probe.timeout) == ("/ready", 9000, 10, 3)
    assert site.states(site.blue) == ["unhealthy"]  # it still says 200
    with pytest.raises(ClientError, match="must be smaller than the interval"):
        site.elb.modify_target_group(TargetGroupArn=site.blue, HealthCheckTimeoutSeconds=10)
