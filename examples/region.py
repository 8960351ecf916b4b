"""The image of the shop as a fleet: an autoscaling group of review machines behind a load balancer.

    eval "$(bakeboot region env)"
    python examples/region.py            # and to take it all away again: python examples/region.py --remove

Plain boto3, by which any account of AWS would do the same. Each machine runs the whole shop, with its own databases:
the group's tags make it a review machine. The load balancer sends requests to whichever is healthy.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import boto3
from botocore.exceptions import ClientError

NAME = "shop-review"
PORT = 8000  # the storefront's
TAGS = {"Name": NAME, "bakeboot:stack": "shop", "bakeboot:mode": "review"}


def newest_image(ec2: Any) -> Any:
    found = ec2.describe_images(
        Owners=["self"],
        Filters=[
            {"Name": "tag:bakeboot:stack", "Values": ["shop"]},
            {"Name": "tag:bakeboot:verified", "Values": ["true"]},
        ],
    )["Images"]
    if not found:
        raise SystemExit("there is no verified image of the shop: bakeboot bake --stack build/demo/shop/stack.toml")
    return max(found, key=lambda image: image["CreationDate"])


def make(size: int) -> None:
    ec2, elb, scaling = (boto3.client(name) for name in ("ec2", "elbv2", "autoscaling"))
    image = newest_image(ec2)
    print(f"image           {image['Name']} ({image['ImageId']})")
    vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
    subnets = [
        one["SubnetId"] for one in ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
    ]

    ec2.create_launch_template(
        LaunchTemplateName=NAME,
        LaunchTemplateData={
            "ImageId": image["ImageId"],
            "InstanceType": "t3.small",
            "MetadataOptions": {"InstanceMetadataTags": "enabled", "HttpTokens": "required"},
        },
    )
    target_group = elb.create_target_group(
        Name=NAME,
        Protocol="HTTP",
        Port=PORT,
        VpcId=vpc,
        HealthCheckPath="/healthz",
        HealthCheckIntervalSeconds=5,
        HealthyThresholdCount=2,
        UnhealthyThresholdCount=2,
    )["TargetGroups"][0]["TargetGroupArn"]
    elb.modify_target_group_attributes(
        TargetGroupArn=target_group, Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "5"}]
    )
    balancer = elb.create_load_balancer(Name=NAME, Subnets=subnets[:2])["LoadBalancers"][0]
    elb.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"],
        Protocol="HTTP",
        Port=80,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": target_group}],
    )
    print(f"load balancer   http://{balancer['DNSName']}")

    began = time.monotonic()
    scaling.create_auto_scaling_group(
        AutoScalingGroupName=NAME,
        LaunchTemplate={"LaunchTemplateName": NAME, "Version": "1"},
        MinSize=0,
        DesiredCapacity=size,
        MaxSize=2 * size,
        VPCZoneIdentifier=",".join(subnets[:2]),
        TargetGroupARNs=[target_group],
        HealthCheckType="ELB",
        HealthCheckGracePeriod=30,
        Tags=[{"Key": key, "Value": value, "PropagateAtLaunch": True} for key, value in TAGS.items()],
    )
    while healthy(elb, target_group) < size:
        time.sleep(0.2)
    print(f"{size} healthy       {time.monotonic() - began:.1f} s after the group was made")


def healthy(elb: Any, target_group: str) -> int:
    told = elb.describe_target_health(TargetGroupArn=target_group)["TargetHealthDescriptions"]
    return sum(one["TargetHealth"]["State"] == "healthy" for one in told)


def remove() -> None:
    ec2, elb, scaling = (boto3.client(name) for name in ("ec2", "elbv2", "autoscaling"))
    scaling.delete_auto_scaling_group(AutoScalingGroupName=NAME, ForceDelete=True)
    while scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[NAME])["AutoScalingGroups"]:
        time.sleep(0.2)
    for balancer in elb.describe_load_balancers(Names=[NAME])["LoadBalancers"]:
        elb.delete_load_balancer(LoadBalancerArn=balancer["LoadBalancerArn"])
    for group in elb.describe_target_groups(Names=[NAME])["TargetGroups"]:
        elb.delete_target_group(TargetGroupArn=group["TargetGroupArn"])
    ec2.delete_launch_template(LaunchTemplateName=NAME)
    print("removed         all of it")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=2, help="how many machines (2)")
    parser.add_argument("--remove", action="store_true", help="take away what an earlier call made")
    options = parser.parse_args()
    try:
        remove() if options.remove else make(options.size)
    except ClientError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
