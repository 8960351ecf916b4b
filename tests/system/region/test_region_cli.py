"""`bakeboot region` as a person uses it: every verb on a region that is up, and what it says when it can't."""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from bake.home import Home
from region.region_state import Place
from tests.system.bakery import BAKEBOOT, ROOT
from tests.system.region.worlds import Made, RegionWorld, answers, bakeboot, get

pytestmark = pytest.mark.system

ACCOUNT = "import boto3; print(boto3.client('sts').get_caller_identity()['Account'])"


@pytest.fixture(scope="module")
def instance(region: RegionWorld, web_ami: str) -> Any:
    """One that runs, for all that only look at it."""
    made = Made(region)
    with closing(made):
        yield made.instance(web_ami)


def status(region: RegionWorld, instance_id: str) -> dict[str, Any]:
    told = json.loads(region.run("status", "--json").stdout)
    return next(one for one in told["instances"] if one["id"] == instance_id)


def test_up_says_so_when_it_is_up_already(region: RegionWorld) -> None:
    told = region.run("up").stdout
    assert f"region {region.name} is already up at {region.endpoint}" in told
    assert f'eval "$(bakeboot region env --name {region.name})"' in told
    assert json.loads(region.run("up", "--json").stdout) == {
        "name": region.name,
        "endpoint": region.endpoint,
        "already": True,
    }


def test_up_again_with_another_delay_of_tags_changes_it(region: RegionWorld) -> None:
    region.run("up", "--tags-delay", "1500ms")
    try:
        assert region.control.status()["settings"]["tags_delay"] == 1.5
        region.run("up")
        assert region.control.status()["settings"]["tags_delay"] == 1.5, "not said, it stays"
    finally:
        region.control.settings(tags_delay=0)


def test_what_opens_its_control_is_root_s_alone(region: RegionWorld) -> None:
    assert stat.S_IMODE((region.directory / "region.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((region.directory / "region.log").stat().st_mode) == 0o600
    assert stat.S_IMODE(region.directory.stat().st_mode) == 0o700


def test_after_eval_of_env_any_client_uses_the_region(region: RegionWorld) -> None:
    script = f"""
        export AWS_SESSION_TOKEN=of-another-key AWS_REGION=eu-west-1
        eval "$({shlex.join(BAKEBOOT)} region env --name {region.name})"
        {shlex.join([sys.executable, "-c", ACCOUNT])}
        eval "$({shlex.join(BAKEBOOT)} region env --unset)"
        env | grep -c '^AWS_ENDPOINT_URL\\|^AWS_REGION\\|^AWS_ACCESS' || true
    """
    environment = {**os.environ, "BAKEBOOT_HOME": str(region.home.root)}
    done = subprocess.run(
        ["/bin/sh", "-euc", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["123456789012", "0"]


def test_the_local_images_are_amis_of_the_account_s_own(region: RegionWorld, web_ami: str) -> None:
    images = {one["ImageId"]: one for one in region.client("ec2").describe_images(Owners=["self"])["Images"]}
    tags = {tag["Key"]: tag["Value"] for tag in images[web_ami]["Tags"]}
    assert tags["bakeboot:stack"] == "web"
    assert tags["bakeboot:verified"] == "true"
    assert f"ami-{tags['bakeboot:digest'].removeprefix('sha256:')[:17]}" == web_ami
    assert "bakeboot-base-debian-bookworm" in {one["Name"] for one in images.values()}
    assert {one["State"] for one in images.values()} == {"available"}


def test_status_tells_what_there_is(region: RegionWorld, instance: str, web_ami: str) -> None:
    told = status(region, instance)
    assert (told["state"], told["image"], told["lifecycle"]) == ("running", web_ami, "on-demand")
    assert told["public_ip"].startswith("127.77.")
    shown = region.run("status").stdout
    assert f"region {region.name} is up at {region.endpoint} since 20" in shown
    for word in (instance, told["private_ip"], told["public_ip"], web_ami, "bakeboot-base-debian-bookworm"):
        assert word in shown


def test_status_tells_a_group_its_load_balancer_and_their_health(made: Made, web_ami: str) -> None:
    region, group = made.region, made.web_group(web_ami, 1)
    told = region.control.status()
    (listed,) = [one for one in told["groups"] if one["name"] == group.name]
    assert (listed["desired"], listed["in_service"]) == (1, 1)
    (member,) = listed["instances"]
    target_group = group.target_group.split("/")[-2]
    assert status(region, member)["group"] == group.name
    assert status(region, member)["targets"] == {target_group: "healthy"}
    (balancer,) = [one for one in told["load_balancers"] if f"http://{one['dns_name']}" == group.url]
    assert balancer["ports"] == [80]
    assert balancer["target_groups"] == {target_group: {member: "healthy"}}
    assert get(group.url).json()["instance"] == member
    shown = region.run("status").stdout
    assert "1xhealthy" in shown
    assert group.name in shown


@pytest.mark.aws(
    "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html"
)
def test_the_requests_of_a_load_balancer_are_counted_in_cloudwatch(made: Made, web_ami: str) -> None:
    region, group = made.region, made.web_group(web_ami, 1)
    for _ in range(5):
        get(group.url)

    def counted() -> bool:
        now = datetime.now(UTC)
        points = region.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/ApplicationELB",
            MetricName="RequestCount",
            Dimensions=[{"Name": "LoadBalancer", "Value": group.load_balancer.partition("loadbalancer/")[2]}],
            StartTime=now - timedelta(minutes=5),
            EndTime=now + timedelta(minutes=1),
            Period=60,
            Statistics=["Sum"],
        )["Datapoints"]
        return bool(sum(point["Sum"] for point in points) == 5)

    region.wait("five requests are counted", counted)


def test_logs_are_the_region_s_or_an_instance_s_console(region: RegionWorld, instance: str) -> None:
    region.client("sts").get_caller_identity()
    assert "sts:GetCallerIdentity" in region.run("logs", "--lines", "5").stdout
    assert len(region.run("logs", "--lines", "2").stdout.splitlines()) == 2
    console = region.run("logs", "--instance", instance[:12]).stdout
    assert "Reached target" in console


def test_logs_can_be_followed(region: RegionWorld, tmp_path: Path) -> None:
    command = [*BAKEBOOT, "region", "logs", "--follow", "--lines", "0", "--name", region.name]
    environment = {**os.environ, "BAKEBOOT_HOME": str(region.home.root), "PYTHONUNBUFFERED": "1"}
    heard = tmp_path / "heard"
    with heard.open("w") as output, subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output) as process:
        try:

            def is_heard() -> bool:
                region.client("ec2").describe_vpcs()
                return "ec2:DescribeVpcs admin 200" in heard.read_text()

            region.wait("what is logged is heard", is_heard)
        finally:
            process.terminate()
    assert process.returncode == 130


def test_a_spot_instance_is_interrupted_after_its_notice(made: Made, web_ami: str) -> None:
    region = made.region
    spot = made.instance(web_ami, InstanceMarketOptions={"MarketType": "spot"})
    assert status(region, spot)["lifecycle"] == "spot"
    assert region.run("interrupt", spot, "--notice", "500ms").stdout == f"{spot} ends in 500ms\n"
    region.wait_state(spot, "terminated")


def test_an_instance_that_is_none_is_told_with_what_to_do(region: RegionWorld, instance: str) -> None:
    for arguments in (
        ("interrupt", "i-ffff"),
        ("fault", "machine", "i-ffff", "--kill"),
        ("logs", "--instance", "i-ffff"),
    ):
        told = region.run(*arguments, code=15).stderr
        assert "i-ffff: there is no such instance" in told
        assert "bakeboot region status" in told
    assert "spot" in region.run("interrupt", instance, code=15).stderr, "only a spot instance is interrupted"


def test_a_fault_of_the_api_strikes_until_it_is_cleared(region: RegionWorld) -> None:
    ssm = region.client("ssm")
    told = region.run("fault", "api", "ssm:GetParameter", "--throttle", "--count", "2", "--json").stdout
    fault = json.loads(told)["id"]
    for _ in range(2):
        with pytest.raises(ClientError, match="ThrottlingException"):
            ssm.get_parameter(Name="/none")
    with pytest.raises(ClientError, match="ParameterNotFound"):
        ssm.get_parameter(Name="/none")
    region.run("fault", "api", "ssm:*", "--error", "InternalServerError", "--principal", "admin")
    shown = region.run("fault", "list").stdout
    assert fault not in shown, "it is over"
    assert "code=InternalServerError" in shown
    with pytest.raises(ClientError, match="InternalServerError"):
        ssm.get_parameter(Name="/none")
    region.run("fault", "clear", "--all")
    with pytest.raises(ClientError, match="ParameterNotFound"):
        ssm.get_parameter(Name="/none")
    assert region.run("fault", "list").stdout == "no fault is in force\n"


def test_an_answer_can_be_lost_after_the_call_was_carried_out(region: RegionWorld) -> None:
    ssm = region.client("ssm")
    region.run("fault", "api", "ssm:PutParameter", "--lose-answer", "--count", "1")
    with pytest.raises(ConnectionClosedError):
        ssm.put_parameter(Name="/lost", Value="there", Type="String")
    assert ssm.get_parameter(Name="/lost")["Parameter"]["Value"] == "there"
    ssm.delete_parameter(Name="/lost")


def test_metadata_can_be_wrong_and_is_right_again_once_it_is_cleared(made: Made, web_ami: str) -> None:
    region, one = made.region, made.instance(web_ami)
    url = f"http://{region.instance(one)['PublicIpAddress']}:8080/metadata"
    region.wait("the web service answers", lambda: answers(url))
    assert get(f"{url}/ami-id").body.decode() == web_ami
    region.run("fault", "metadata", one[:12], "--wrong", "ami-id=ami-0", "--gone", "placement")
    assert get(f"{url}/ami-id").body == b"ami-0"
    assert get(f"{url}/placement/region").status == 404
    assert f"{one}\tmetadata\twrong=ami-id:ami-0 gone=placement\n" in region.run("fault", "list").stdout
    region.run("fault", "clear", one)
    assert get(f"{url}/ami-id").body.decode() == web_ami
    assert get(f"{url}/placement/region").body == b"us-east-1"


def test_a_machine_that_is_killed_leaves_its_instance_running_and_impaired(made: Made, web_ami: str) -> None:
    region, one = made.region, made.instance(web_ami)
    assert region.run("fault", "machine", one, "--kill").stdout == f"{one} lost its machine\n"
    region.wait("it is impaired", lambda: status(region, one)["impaired"])
    assert region.state(one) == "running"
    assert "running, impaired" in region.run("status").stdout


@pytest.mark.parametrize("verb", ["status", "env", "fault list", "interrupt i-1"])
def test_a_region_that_is_not_up_says_how_to_get_it_up(home: Home, verb: str) -> None:
    told = bakeboot(home, "region", *verb.split(), "--name", "nowhere", code=15).stderr
    assert told == "region nowhere: is not up\n  try   bakeboot region up --name nowhere\n"


def test_down_of_what_is_not_up_is_no_error(home: Home) -> None:
    assert bakeboot(home, "region", "down", "--name", "nowhere").stdout == "region nowhere is not up\n"
    assert not Place(home.root, "nowhere").directory.exists()


def test_one_that_can_t_come_up_says_why_and_leaves_nothing(home: Home, tmp_path: Path) -> None:
    (tmp_path / "python").symlink_to(sys.executable)
    environment = {**os.environ, "BAKEBOOT_HOME": str(home.root), "PATH": str(tmp_path)}
    done = subprocess.run(
        [*BAKEBOOT, "region", "up", "--name", "broken"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    place = Place(home.root, "broken")
    assert done.returncode == 15
    assert "ip is not installed" in done.stderr
    assert "bakeboot doctor" in done.stderr
    assert not place.is_alive()
    assert "ip is not installed" in bakeboot(home, "region", "logs", "--name", "broken").stdout
    for file in place.directory.iterdir():
        file.unlink()
    place.directory.rmdir()
