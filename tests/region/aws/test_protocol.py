"""What a request asks for, in each protocol, and errors that botocore reads."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
from botocore.parsers import create_parser
from botocore.session import Session

from region.aws import protocol
from region.aws.protocol import Call, Failure, Protocol

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

FORM = "application/x-www-form-urlencoded; charset=utf-8"


def environ(
    service: str, *, method: str = "POST", path: str = "/", query: str = "", body: bytes = b"", **more: str
) -> WSGIEnvironment:
    signature = f"AWS4-HMAC-SHA256 Credential=AKIA1/20261124/eu-west-1/{service}/aws4_request, SignedHeaders=host"
    return {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "HTTP_AUTHORIZATION": signature,
        "wsgi.input": io.BytesIO(body),
        **more,
    }


@pytest.mark.parametrize(
    ("asked", "name", "spoken"),
    [
        (environ("ec2", body=b"Action=RunInstances&X=1", CONTENT_TYPE=FORM), "ec2:RunInstances", "ec2"),
        (environ("sts", body=b"X=1&Action=AssumeRole", CONTENT_TYPE=FORM), "sts:AssumeRole", "query"),
        (environ("sts", method="GET", query="Action=GetCallerIdentity"), "sts:GetCallerIdentity", "query"),
        (environ("ssm", body=b"{}", HTTP_X_AMZ_TARGET="AmazonSSM.GetParameter"), "ssm:GetParameter", "json"),
        (
            environ("dynamodb", body=b"{}", HTTP_X_AMZ_TARGET="DynamoDB_20120810.PutItem"),
            "dynamodb:PutItem",
            "json",
        ),
        (
            environ("monitoring", path="/service/GraniteServiceVersion20100801/operation/PutMetricData"),
            "cloudwatch:PutMetricData",
            "cbor",
        ),
        (environ("monitoring", body=b"Action=PutMetricData", CONTENT_TYPE=FORM), "cloudwatch:PutMetricData", "query"),
        (environ("s3", method="PUT", path="/bucket"), "s3:CreateBucket", "rest-xml"),
        (environ("nonsuch", method="GET", path="/x"), "nonsuch:GET /x", "rest-json"),
        (environ("ec2", body=b"nothing", CONTENT_TYPE=FORM), "ec2:?", "ec2"),
    ],
)
def test_a_request_is_read(asked: WSGIEnvironment, name: str, spoken: Protocol) -> None:
    call = protocol.read(asked)
    assert (call.name, call.protocol) == (name, spoken)
    assert (call.access_key, call.region) == ("AKIA1", "eu-west-1")
    assert asked["wsgi.input"].read() == call.body


def test_of_a_parameter_that_is_there_twice_the_first_counts() -> None:
    """As for moto, which carries it out: what is judged must be what is done."""
    call = protocol.read(environ("sts", body=b"Action=A&Action=B&RoleArn=one&RoleArn=two", CONTENT_TYPE=FORM))
    assert (call.action, call.parameters["RoleArn"]) == ("A", "one")


def test_a_presigned_url_is_signed_too() -> None:
    credential = "AKIA1/20261124/eu-west-1/s3/aws4_request"
    query = urlencode({"X-Amz-Credential": credential, "X-Amz-Security-Token": "t", "x-id": "GetObject"})
    call = protocol.read({**environ("", method="GET", path="/b/k", query=query), "HTTP_AUTHORIZATION": ""})
    assert (call.name, call.access_key, call.token) == ("s3:GetObject", "AKIA1", "t")


def test_what_is_not_signed_has_no_key() -> None:
    assert protocol.read({**environ("ssm"), "HTTP_AUTHORIZATION": "Basic x"}).access_key == ""


@pytest.mark.parametrize(
    ("call", "parameters"),
    [
        (Call("ssm", "X", "json", body=b'{"Name": ["a"]}'), {"Name": ["a"]}),
        (Call("ssm", "X", "json", body=b""), {}),
        (Call("ssm", "X", "json", body=b"[1]"), {}),
        (Call("ssm", "X", "json", body=b"{"), {}),
        (Call("ec2", "X", "ec2", body=b"Action=X&A.1=b%20c&E="), {"Action": "X", "A.1": "b c", "E": ""}),
        (Call("ec2", "X", "ec2", query="Action=X"), {"Action": "X"}),
        (Call("sts", "X", "query", body=b"\xff\xfe"), {}),
    ],
)
def test_its_parameters_are_read(call: Call, parameters: dict[str, object]) -> None:
    assert call.parameters == parameters


def test_a_list_is_in_its_order() -> None:
    body = urlencode({**{f"A.member.{n}": str(n) for n in (10, 2, 1)}, "A.member.1.x": "", "AB.1": ""})
    assert Call("sts", "X", "query", body=body.encode()).members("A") == ["1", "2", "10"]


@pytest.mark.parametrize(
    ("service", "spoken", "parser"),
    [
        ("ec2", "ec2", "ec2"),
        ("sts", "query", "query"),
        ("ssm", "json", "json"),
        ("route53", "rest-xml", "rest-xml"),
        ("s3", "rest-xml", "rest-xml"),
        ("lambda", "rest-json", "rest-json"),
        ("cloudwatch", "cbor", "smithy-rpc-v2-cbor"),
    ],
)
def test_botocore_reads_an_error(service: str, spoken: Protocol, parser: str) -> None:
    failure = Failure("ThatFailed", 'It <is> so & "so".', 418)
    answer = protocol.answer(Call(service, "X", spoken), failure)
    told = {"status_code": answer.status, "headers": dict(answer.headers), "body": answer.body}
    shape = next(iter(Session().get_service_model("sts").operation_names))
    read = create_parser(parser).parse(told, Session().get_service_model("sts").operation_model(shape).output_shape)
    assert (read["Error"]["Code"], read["Error"]["Message"]) == ("ThatFailed", 'It <is> so & "so".')
    assert read["ResponseMetadata"]["HTTPStatusCode"] == 418
