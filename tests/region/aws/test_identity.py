"""Who calls, and what the sessions of roles may."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

from region.aws.credentials import instance_paths
from region.aws.world import World
from tests.region.aws.autoscaling_world import LAUNCH, Scaling, scaling
from tests.region.aws.fakes import FakeClock

__all__ = ["scaling"]

pytestmark = pytest.mark.network

ACCOUNT = "123456789012"
INSTANCE = "i-0123456789abcdef0"
TRUST = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}
READS_OWN = {
    "Effect": "Allow",
    "Action": ["ssm:GetParameter", "ssm:GetParameters", "ssm:GetParametersByPath"],
    "Resource": f"arn:aws:ssm:*:{ACCOUNT}:parameter/bakeboot/shop/production/web/*",
}


def document(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


@pytest.fixture
def profile(client: Callable[..., Any]) -> str:
    """The ARN of the instance profile `web`, whose role reads its own parameters."""
    iam = client("iam")
    iam.create_role(RoleName="web", AssumeRolePolicyDocument=document(TRUST))
    iam.put_role_policy(RoleName="web", PolicyName="own", PolicyDocument=document(READS_OWN))
    arn = iam.create_instance_profile(InstanceProfileName="web")["InstanceProfile"]["Arn"]
    iam.add_role_to_instance_profile(InstanceProfileName="web", RoleName="web")
    return str(arn)


def keys_of(world: World, profile: str, instance_id: str = INSTANCE) -> dict[str, str]:
    """The arguments of a client with an instance's credentials."""
    told = json.loads(instance_paths(world, instance_id, profile)["iam/security-credentials/web"])
    return {
        "aws_access_key_id": told["AccessKeyId"],
        "aws_secret_access_key": told["SecretAccessKey"],
        "aws_session_token": told["Token"],
    }


def refused(call: Callable[..., Any], **settings: Any) -> tuple[str, str]:
    """Code and message of the error that it must be."""
    with pytest.raises(ClientError) as error:
        call(**settings)
    said = error.value.response["Error"]
    return said["Code"], said["Message"]


def test_the_metadata_has_credentials_in_ec2s_form(world: World, profile: str, clock: FakeClock) -> None:
    clock.now = 1_800_000_000.0
    told = instance_paths(world, INSTANCE, profile)
    info, keys = json.loads(told["iam/info"]), json.loads(told["iam/security-credentials/web"])
    assert set(told) == {"iam/info", "iam/security-credentials/web"}
    assert (info["Code"], info["InstanceProfileArn"]) == ("Success", profile)
    assert list(keys) == [
        "Code", "LastUpdated", "Type", "AccessKeyId", "SecretAccessKey", "Token", "Expiration",
    ]  # fmt: skip
    assert (keys["Code"], keys["Type"]) == ("Success", "AWS-HMAC")
    assert keys["AccessKeyId"].startswith("ASIA")
    assert (keys["LastUpdated"], keys["Expiration"]) == ("2027-01-15T08:00:00Z", "2027-01-15T14:00:00Z")


def test_credentials_are_the_same_until_an_hour_is_left(world: World, profile: str, clock: FakeClock) -> None:
    first = keys_of(world, profile)
    clock.now += 5 * 3600
    assert keys_of(world, profile) == first
    assert keys_of(world, profile, "i-another") != first
    clock.now += 1
    assert keys_of(world, profile) != first


def test_a_profile_that_is_gone_has_no_credentials(world: World) -> None:
    told = instance_paths(world, INSTANCE, f"arn:aws:iam::{ACCOUNT}:instance-profile/none")
    assert json.loads(told["iam/info"])["Code"] == "InstanceProfileNotFound"
    assert set(told) == {"iam/info"}


def test_an_instance_is_its_role_s_session(client: Callable[..., Any], world: World, profile: str) -> None:
    told = client("sts", **keys_of(world, profile)).get_caller_identity()
    assert told["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/web/{INSTANCE}"
    assert told["UserId"].startswith("AROA")
    assert told["UserId"].endswith(f":{INSTANCE}")
    assert told["Account"] == ACCOUNT


def test_a_key_that_was_not_given_out_is_the_administrator_s(client: Callable[..., Any]) -> None:
    told = client("sts").get_caller_identity()
    assert (told["Arn"], told["Account"]) == (f"arn:aws:iam::{ACCOUNT}:user/admin", ACCOUNT)


def test_parameters_of_another_service_are_refused(client: Callable[..., Any], world: World, profile: str) -> None:
    admin = client("ssm")
    for path in ("web/A", "api/B"):
        admin.put_parameter(Name=f"/bakeboot/shop/production/{path}", Value="x", Type="SecureString")
    ssm = client("ssm", **keys_of(world, profile))
    assert len(ssm.get_parameters_by_path(Path="/bakeboot/shop/production/web/")["Parameters"]) == 1
    assert ssm.get_parameter(Name="/bakeboot/shop/production/web/A", WithDecryption=True)["Parameter"]["Value"] == "x"
    whose = f"User: arn:aws:sts::{ACCOUNT}:assumed-role/web/{INSTANCE} is not authorized to perform:"
    where = f"on resource: arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/bakeboot/shop/production"
    for action, settings, resource in (
        ("GetParameter", {"Name": "/bakeboot/shop/production/api/B"}, "/api/B"),
        ("GetParametersByPath", {"Path": "/bakeboot/shop/production", "Recursive": True}, ""),
    ):
        call = ssm.get_parameter if action == "GetParameter" else ssm.get_parameters_by_path
        because = f"because no identity-based policy allows the ssm:{action} action"
        assert refused(call, **settings) == (
            "AccessDeniedException", f"{whose} ssm:{action} {where}{resource} {because}",
        )  # fmt: skip
    both = ["/bakeboot/shop/production/web/A", "/bakeboot/shop/production/api/B"]
    assert refused(ssm.get_parameters, Names=both)[0] == "AccessDeniedException"


@pytest.mark.parametrize(
    ("service", "call", "settings", "code"),
    [
        ("iam", "list_users", {}, "AccessDenied"),
        ("dynamodb", "list_tables", {}, "AccessDeniedException"),
        ("autoscaling", "describe_auto_scaling_groups", {}, "AccessDenied"),
        ("route53", "list_hosted_zones", {}, "AccessDenied"),
    ],
)
def test_a_refusal_is_in_the_service_s_words(
    client: Callable[..., Any], world: World, profile: str, service: str, call: str, settings: Any, code: str
) -> None:
    assert refused(getattr(client(service, **keys_of(world, profile)), call), **settings)[0] == code


def test_a_policy_counts_from_the_moment_that_it_is_changed(
    client: Callable[..., Any], world: World, profile: str
) -> None:
    iam, sts = client("iam"), client("sts", **keys_of(world, profile))
    assert sts.get_caller_identity()  # needs no permission
    assert refused(client("iam", **keys_of(world, profile)).list_users)[0] == "AccessDenied"
    policy = iam.create_policy(
        PolicyName="all", PolicyDocument=document({"Effect": "Allow", "Action": "*", "Resource": "*"})
    )
    iam.attach_role_policy(RoleName="web", PolicyArn=policy["Policy"]["Arn"])
    mine = client("iam", **keys_of(world, profile))
    assert mine.list_users()["Users"] == []
    iam.put_role_permissions_boundary(RoleName="web", PermissionsBoundary=policy["Policy"]["Arn"])
    assert mine.list_users()["Users"] == []
    iam.put_role_policy(
        RoleName="web", PolicyName="no", PolicyDocument=document({"Effect": "Deny", "Action": "iam:*", "Resource": "*"})
    )
    code, message = refused(mine.list_users)
    assert (code, message.endswith("with an explicit deny in an identity-based policy")) == ("AccessDenied", True)


def test_each_instance_writes_its_own_item_alone(client: Callable[..., Any], world: World, profile: str) -> None:
    """ "Using IAM policy conditions for fine-grained access control" (DynamoDB Developer Guide)."""
    client("dynamodb").create_table(
        TableName="state",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    own = {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["instance#${aws:userid}"]}}
    client("iam").put_role_policy(
        RoleName="web",
        PolicyName="item",
        PolicyDocument=document(
            {
                "Effect": "Allow",
                "Action": "dynamodb:PutItem",
                "Resource": "arn:aws:dynamodb:*:*:table/state",
                "Condition": own,
            }
        ),
    )
    keys = keys_of(world, profile)
    me = client("sts", **keys).get_caller_identity()["UserId"]
    dynamodb = client("dynamodb", **keys)
    dynamodb.put_item(TableName="state", Item={"pk": {"S": f"instance#{me}"}})
    other = {"pk": {"S": f"instance#{me}0"}}
    assert refused(dynamodb.put_item, TableName="state", Item=other)[0] == "AccessDeniedException"
    assert refused(dynamodb.scan, TableName="state")[0] == "AccessDeniedException"


def test_an_agent_completes_the_hooks_of_its_service_s_groups_alone(
    client: Callable[..., Any], world: World, profile: str, scaling: Scaling
) -> None:
    """ "Actions, resources, and condition keys for Amazon EC2 Auto Scaling": the tags of the group decide."""
    hooks = {"Effect": "Allow", "Action": "autoscaling:RecordLifecycleActionHeartbeat", "Resource": "*"}
    own = {"StringEquals": {"aws:ResourceTag/bakeboot:service": "web"}}
    client("iam").put_role_policy(
        RoleName="web", PolicyName="hooks", PolicyDocument=document({**hooks, "Condition": own})
    )
    instances = {}
    for name in ("web", "api"):
        tags = [{"Key": "bakeboot:service", "Value": name}]
        (instances[name],) = scaling.up(name, Tags=tags, LifecycleHookSpecificationList=[LAUNCH])
    beat = client("autoscaling", **keys_of(world, profile)).record_lifecycle_action_heartbeat
    asked = {"LifecycleHookName": "launch", "AutoScalingGroupName": "web"}
    beat(**asked, InstanceId=instances["web"])
    asked["AutoScalingGroupName"] = "api"
    assert refused(beat, **asked, InstanceId=instances["api"])[0] == "AccessDenied"


def test_a_wrong_token_is_no_token(client: Callable[..., Any], world: World, profile: str) -> None:
    keys = {**keys_of(world, profile), "aws_session_token": "wrong"}
    assert refused(client("ssm", **keys).get_parameter, Name="x")[0] == "UnrecognizedClientException"
    assert refused(client("sts", **keys).get_caller_identity)[0] == "InvalidClientTokenId"


def test_credentials_expire(client: Callable[..., Any], world: World, profile: str, clock: FakeClock) -> None:
    keys = keys_of(world, profile)
    clock.now += 6 * 3600
    assert refused(client("ssm", **keys).get_parameter, Name="x")[0] == "ExpiredTokenException"
    assert refused(client("sts", **keys).get_caller_identity)[0] == "ExpiredToken"


def session(told: Mapping[str, Any]) -> dict[str, str]:
    keys = told["Credentials"]
    return {
        "aws_access_key_id": keys["AccessKeyId"],
        "aws_secret_access_key": keys["SecretAccessKey"],
        "aws_session_token": keys["SessionToken"],
    }


@pytest.fixture
def deployer(client: Callable[..., Any]) -> str:
    """The ARN of a role that the account may assume and that may do all."""
    iam, everything = client("iam"), {"Effect": "Allow", "Action": "*", "Resource": "*"}
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}
    role = iam.create_role(RoleName="deployer", AssumeRolePolicyDocument=document(trust), MaxSessionDuration=7200)
    iam.put_role_policy(RoleName="deployer", PolicyName="all", PolicyDocument=document(everything))
    return str(role["Role"]["Arn"])


def test_a_role_is_assumed_and_its_session_may_no_more_than_its_policy(
    client: Callable[..., Any], deployer: str
) -> None:
    assume = client("sts").assume_role
    whole = session(assume(RoleArn=deployer, RoleSessionName="mira", DurationSeconds=7200))
    told = client("sts", **whole).get_caller_identity()
    assert told["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/deployer/mira"
    assert client("iam", **whole).list_users()["Users"] == []
    only = document({"Effect": "Allow", "Action": "ssm:*", "Resource": "*"})
    less = session(assume(RoleArn=deployer, RoleSessionName="mira", Policy=only))
    assert client("ssm", **less).describe_parameters()["Parameters"] == []
    assert refused(client("iam", **less).list_users)[1].endswith(
        "because no session policy allows the iam:ListUsers action"
    )


def test_a_role_that_trusts_nobody_here_is_not_assumed(client: Callable[..., Any], profile: str, deployer: str) -> None:
    assume = client("sts").assume_role
    for role in ("web", "none"):
        code, message = refused(assume, RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{role}", RoleSessionName="ci")
        assert code == "AccessDenied"
        assert message.endswith(f"sts:AssumeRole on resource: arn:aws:iam::{ACCOUNT}:role/{role}")
    code, _ = refused(assume, RoleArn=deployer, RoleSessionName="ci", DurationSeconds=7201)
    assert code == "ValidationError"


def test_an_instance_assumes_a_role_only_with_its_own_policy_too(
    client: Callable[..., Any], world: World, profile: str, deployer: str
) -> None:
    assume = client("sts", **keys_of(world, profile)).assume_role
    assert refused(assume, RoleArn=deployer, RoleSessionName="ci")[0] == "AccessDenied"
    allowed = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": deployer}
    client("iam").put_role_policy(RoleName="web", PolicyName="deploys", PolicyDocument=document(allowed))
    assert assume(RoleArn=deployer, RoleSessionName="ci")["AssumedRoleUser"]["Arn"].endswith("/deployer/ci")
    longer = {"RoleArn": deployer, "RoleSessionName": "ci", "DurationSeconds": 3601}
    assert refused(assume, **longer)[0] == "ValidationError"  # role chaining


def test_a_policy_of_aws_may_be_attached(client: Callable[..., Any], world: World, profile: str) -> None:
    client("iam").attach_role_policy(RoleName="web", PolicyArn="arn:aws:iam::aws:policy/AmazonSSMReadOnlyAccess")
    assert client("ssm", **keys_of(world, profile)).describe_parameters()["Parameters"] == []
