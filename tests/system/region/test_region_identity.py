"""A machine is its instance profile's role, and calls fail as they do on AWS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from tests.system.region.worlds import Made, RegionWorld

pytestmark = pytest.mark.system

PATH = "/bakeboot/shop/production"
# boto3 as a program in the machine uses it: in the machine's network, with no keys but those of its metadata.
READS = """
import boto3, json, sys
said = {"arn": boto3.client("sts").get_caller_identity()["Arn"]}
ssm = boto3.client("ssm")
for path in sys.argv[1:]:
    try:
        read = ssm.get_parameters_by_path(Path=path, WithDecryption=True)["Parameters"]
        said[path] = {one["Name"]: one["Value"] for one in read}
    except ssm.exceptions.ClientError as error:
        said[path] = error.response["Error"]
print(json.dumps(said))
"""


def told_inside(region: RegionWorld, instance_id: str, *paths: str) -> Any:
    """What a program in the machine is told: who it is, and what is at each path (or the error)."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    region_told = {"AWS_ENDPOINT_URL": region.endpoint, "AWS_DEFAULT_REGION": "us-east-1"}
    done = subprocess.run(
        ["ip", "netns", "exec", region.machine(instance_id), sys.executable, "-c", READS, *paths],
        env={**environment, **region_told, "HOME": "/nonexistent", "NO_PROXY": "*"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def profile(made: Made, service: str) -> str:
    """The name of an instance profile that reads its service's parameters and no others."""
    iam, name = made.region.client("iam"), made.name(service)
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}
    resource = f"arn:aws:ssm:*:*:parameter{PATH}/{service}"
    reads = {"Effect": "Allow", "Action": "ssm:GetParametersByPath", "Resource": [resource, f"{resource}/*"]}
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))
    made.later(lambda: iam.delete_role(RoleName=name))
    iam.put_role_policy(RoleName=name, PolicyName="reads", PolicyDocument=document(reads))
    made.later(lambda: iam.delete_role_policy(RoleName=name, PolicyName="reads"))
    iam.create_instance_profile(InstanceProfileName=name)
    made.later(lambda: iam.delete_instance_profile(InstanceProfileName=name))
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    made.later(lambda: iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=name))
    return name


def document(*statements: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


@pytest.mark.aws("https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html")
def test_a_machine_reads_its_own_parameters_and_no_others(region: RegionWorld, made: Made, web_ami: str) -> None:
    ssm = region.client("ssm")
    for service in ("web", "api"):
        name = f"{PATH}/{service}/COLOUR"
        ssm.put_parameter(Name=name, Value=f"of {service}", Type="SecureString", Overwrite=True)
        made.later(partial(ssm.delete_parameter, Name=name))
    role = profile(made, "web")
    instance = made.instance(web_ami, IamInstanceProfile={"Name": role})
    told = told_inside(region, instance, f"{PATH}/web", f"{PATH}/api", PATH)
    assert told["arn"] == f"arn:aws:sts::123456789012:assumed-role/{role}/{instance}"
    assert told[f"{PATH}/web"] == {f"{PATH}/web/COLOUR": "of web"}
    for path in (f"{PATH}/api", PATH):
        assert told[path]["Code"] == "AccessDeniedException"
        assert told[path]["Message"] == (
            f"User: {told['arn']} is not authorized to perform: ssm:GetParametersByPath on resource:"
            f" arn:aws:ssm:us-east-1:123456789012:parameter{path}"
            " because no identity-based policy allows the ssm:GetParametersByPath action"
        )


@pytest.mark.aws("https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html")
def test_a_launch_whose_answer_was_lost_is_sent_again_and_starts_one_instance(
    region: RegionWorld, made: Made, web_ami: str
) -> None:
    ec2, name = region.client("ec2"), made.name("once")
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": name}]}]
    asked = {"ImageId": web_ami, "MinCount": 1, "MaxCount": 1, "ClientToken": name, "TagSpecifications": tags}
    fault = region.control.fault_api("ec2:RunInstances", "lost")
    with pytest.raises(ConnectionClosedError):
        ec2.run_instances(**asked)
    (told,) = [one for one in region.control.faults() if one["id"] == fault]
    assert (told["seen"], told["struck"]) == (1, 1)
    region.control.clear_faults(fault)
    instance = ec2.run_instances(**asked)["Instances"][0]["InstanceId"]
    made.later(lambda: ec2.terminate_instances(InstanceIds=[instance]))
    found = ec2.describe_instances(Filters=[{"Name": "client-token", "Values": [name]}])["Reservations"]
    assert [one["InstanceId"] for reservation in found for one in reservation["Instances"]] == [instance]


@pytest.mark.aws("https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html")
def test_calls_are_throttled_and_slow_by_order(region: RegionWorld) -> None:
    ec2 = region.client("ec2")
    region.control.fault_api("ec2:DescribeInstances", "throttle", count=2)
    with pytest.raises(ClientError, match="RequestLimitExceeded"):
        ec2.describe_instances()
    patient = region.client("ec2", retries=3)
    assert "Reservations" in patient.describe_instances()  # botocore waits, and asks again
    region.control.fault_api("ec2:DescribeVpcs", "latency", seconds=0.5, count=1)
    began = time.monotonic()
    ec2.describe_vpcs()
    assert time.monotonic() - began >= 0.5
    assert region.control.faults() == []


def test_a_machine_does_not_reach_what_controls_the_region(region: RegionWorld, made: Made, web_ami: str) -> None:
    instance = made.instance(web_ami)
    asks = f"import urllib.request as u; u.urlopen('{region.endpoint}/_region/status', timeout=5)"
    done = subprocess.run(
        ["ip", "netns", "exec", region.machine(instance), sys.executable, "-c", asks],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "HTTP Error 404" in done.stderr
