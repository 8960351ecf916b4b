"""What a request and a launch template say together."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from region.aws import launching
from region.aws.spot import choices, shares

TEMPLATE = {
    "ImageId": "ami-1",
    "InstanceType": "t3.small",
    "KeyName": "ours",
    "SecurityGroupIds": ["sg-1"],
    "MetadataOptions": {"HttpTokens": "required", "InstanceMetadataTags": "enabled"},
    "IamInstanceProfile": {"Name": "web"},
    "BlockDeviceMappings": [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 5, "VolumeType": "gp3"}}],
    "TagSpecifications": [
        {"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "1"}]}
    ],
    "NetworkInterfaces": [{"DeviceIndex": 0, "AssociatePublicIpAddress": True}],
}


@pytest.mark.parametrize(
    ("request_words", "expected"),
    [
        (
            {},
            {"ImageId": "ami-1", "InstanceType": "t3.small", "KeyName": "ours", "IamInstanceProfile": {"Name": "web"}},
        ),
        ({"InstanceType": "t3.large", "KeyName": None}, {"InstanceType": "t3.large", "KeyName": "ours"}),
        ({"SecurityGroups": ["open"]}, {"SecurityGroups": ["open"], "SecurityGroupIds": None}),
        (
            {"MetadataOptions": {"HttpEndpoint": "disabled"}},
            {
                "MetadataOptions": {
                    "HttpTokens": "required",
                    "InstanceMetadataTags": "enabled",
                    "HttpEndpoint": "disabled",
                }
            },
        ),
        (
            {"BlockDeviceMappings": [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 9}}]},
            {"BlockDeviceMappings": [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 9, "VolumeType": "gp3"}}]},
        ),
        (
            {"TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "b", "Value": "2"}]}]},
            {"Tags": {"instance": {"a": "1", "b": "2"}}},
        ),
        (
            {"NetworkInterfaces": [{"DeviceIndex": 0, "SubnetId": "subnet-1"}]},
            {"NetworkInterfaces": [{"DeviceIndex": 0, "AssociatePublicIpAddress": True, "SubnetId": "subnet-1"}]},
        ),
    ],
)
def test_a_request_goes_over_its_template(request_words: dict[str, Any], expected: dict[str, Any]) -> None:
    merged = launching.merge(TEMPLATE, request_words)
    assert {name: merged.get(name) for name in expected} == expected


def test_a_version_made_from_another_says_all_of_it_that_is_not_said_anew() -> None:
    assert launching.inherit({"ImageId": "ami-1", "KeyName": "k"}, {"ImageId": "ami-2", "UserData": None}) == {
        "ImageId": "ami-2",
        "KeyName": "k",
    }


def test_block_devices_have_the_defaults_of_ec2() -> None:
    """EC2 User Guide, "Preserve data when an instance is terminated"."""
    image: list[dict[str, Any]] = [
        {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": "snap-1", "VolumeSize": 8}},
        {"DeviceName": "/dev/sdg"},
    ]
    launch: list[dict[str, Any]] = [
        {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 5}},
        {"DeviceName": "/dev/sdg", "NoDevice": ""},
        {"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"},
    ]
    found = launching.block_devices(image, launch)
    assert [(device["DeviceName"], device["Ebs"]["DeleteOnTermination"]) for device in found] == [
        ("/dev/xvda", True),
        ("/dev/sdf", False),
    ]


def test_a_call_that_is_sent_twice_is_known_by_what_it_says() -> None:
    one = {"ClientToken": "t", "MinCount": 1, "Tags": [{"Key": "a"}], "KeyName": None}
    assert launching.same_request(one, {"ClientToken": "u", "MinCount": 1, "Tags": [{"Key": "a"}], "DryRun": False})
    assert not launching.same_request(one, {**one, "MinCount": 2})
    assert not launching.same_request(one, {**one, "Tags": [{"Key": "b"}]})


def rule(protocol: str, first: int | None, last: int | None, *, cidr: str = "0.0.0.0/0") -> Any:
    ranges = {"CidrIp": cidr} if cidr else {}
    return SimpleNamespace(ip_protocol=protocol, from_port=first, to_port=last, ip_range=ranges)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([], ()),
        ([rule("tcp", 80, 90), rule("tcp", 22, 22, cidr="10.0.0.0/8")], ((22, 22), (80, 90))),
        ([rule("udp", 53, 53)], ()),
        ([rule("-1", None, None)], ((0, 65535),)),
        ([rule("tcp", 80, 80, cidr="")], ()),  # from another security group
        ([rule("tcp", 80, 80), rule("tcp", 80, 80, cidr="10.0.0.0/8")], ((80, 80),)),
    ],
)
def test_the_ports_that_a_security_group_opens(rules: list[Any], expected: tuple[tuple[int, int], ...]) -> None:
    assert launching.open_ports(rules) == expected


@pytest.mark.parametrize(
    ("address", "usable"),
    [("172.31.0.4", True), ("172.31.0.3", False), ("172.31.15.255", False), ("172.31.16.4", False)],
)
def test_addresses_that_an_instance_may_have(address: str, usable: bool) -> None:
    """VPC User Guide, "Subnet CIDR blocks"."""
    assert launching.usable(address, "172.31.0.0/20") is usable


@pytest.mark.parametrize(
    ("word", "version"),
    [(None, "$Default"), ("", "$Default"), ("$Latest", "$Latest"), ("3", 3), (3, 3), ("latest", None), ("0", None)],
)
def test_how_a_version_is_named(word: str | int | None, version: str | int | None) -> None:
    assert launching.version_number(word) == version


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, {"on-demand": 5, "spot": 0}),
        ({"DefaultTargetCapacityType": "spot"}, {"on-demand": 0, "spot": 5}),
        ({"OnDemandTargetCapacity": 2, "SpotTargetCapacity": 3}, {"on-demand": 2, "spot": 3}),
        ({"OnDemandTargetCapacity": 1, "DefaultTargetCapacityType": "spot"}, {"on-demand": 1, "spot": 4}),
    ],
)
def test_how_a_fleet_shares_its_capacity(said: dict[str, Any], expected: dict[str, int]) -> None:
    """TargetCapacitySpecificationRequest."""
    assert shares({"TotalTargetCapacity": 5, **said}) == expected


def test_a_fleet_takes_overrides_by_priority() -> None:
    template = {"LaunchTemplateName": "t"}
    overrides = [{"InstanceType": "a"}, {"InstanceType": "b", "Priority": 2.0}, {"InstanceType": "c", "Priority": 1}]
    found = choices([{"LaunchTemplateSpecification": template, "Overrides": overrides}])
    assert [override["InstanceType"] for _, override in found] == ["c", "b", "a"]
    assert choices([{"LaunchTemplateSpecification": template}]) == [(template, {})]
