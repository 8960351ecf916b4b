"""The API's door, as AWS clients see it."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from moto.ssm.models import Parameter, SimpleSystemManagerBackend

from region.aws.api_faults import ApiFaults
from region.aws.server import Api, ApiServer
from region.aws.world import World

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

pytestmark = pytest.mark.network

NAME = "/bakeboot/shop/production/_all/COLOUR"


def put(ssm: Any) -> None:
    ssm.put_parameter(Name=NAME, Value="red", Type="String")


def test_a_parameter_that_was_put_is_read_back(client: Callable[..., Any]) -> None:
    ssm = client("ssm")
    ssm.put_parameter(Name=NAME, Value="red", Type="SecureString")
    answer = ssm.get_parameter(Name=NAME, WithDecryption=True)
    assert answer["Parameter"]["Value"] == "red"


def test_a_value_that_looks_like_a_query_names_no_other_parameter(client: Callable[..., Any]) -> None:
    """ "PutParameter" has its parameters in the body, as JSON, and a value may be any text."""
    value = "postgres://db/shop?a=1&Name=/other&Value=x"
    ssm = client("ssm")
    ssm.put_parameter(Name="/bakeboot/shop/DATABASE_URL", Value=value, Type="String")
    ssm.meta.events.register("before-call.ssm", lambda params, **more: params["headers"].update(Name="/other"))
    found = ssm.get_parameter(Name="/bakeboot/shop/DATABASE_URL")["Parameter"]
    assert (found["Name"], found["Value"]) == ("/bakeboot/shop/DATABASE_URL", value)


def test_each_call_is_a_line_in_the_log(client: Callable[..., Any], lines: list[str]) -> None:
    ssm = client("ssm")
    put(ssm)
    with pytest.raises(ssm.exceptions.ParameterNotFound):
        ssm.get_parameter(Name="/none")
    assert [line.rpartition(" ")[0].rpartition(" ")[0] for line in lines] == [
        "ssm:PutParameter admin 200",
        "ssm:GetParameter admin 400",
    ]


@pytest.mark.parametrize(
    ("service", "call", "settings"),
    [
        ("sts", "get_web_identity_token", {"Audience": ["a"], "SigningAlgorithm": "RS256"}),
        ("ssm", "get_ops_summary", {}),
        ("route53", "get_checker_ip_ranges", {}),
        ("account", "list_regions", {}),
        ("cloudtrail", "list_imports", {}),
    ],
)
def test_what_moto_does_not_have_is_an_error_of_aws(
    client: Callable[..., Any], service: str, call: str, settings: dict[str, Any]
) -> None:
    with pytest.raises(ClientError) as refused:
        getattr(client(service), call)(**settings)
    error = refused.value.response
    assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == ("UnsupportedOperation", 400)
    assert "is not implemented by this region" in error["Error"]["Message"]


def test_a_service_that_moto_does_not_have_is_said_so(client: Callable[..., Any]) -> None:
    with pytest.raises(ClientError, match=r"UnsupportedOperation.*there is no such service in it"):
        client("gamelift").list_fleets()


def test_moto_keeps_no_list_of_what_is_gone(client: Callable[..., Any]) -> None:
    before = len(Parameter.instances_tracked)  # type: ignore[attr-defined]
    put(client("ssm"))
    assert len(Parameter.instances_tracked) == before  # type: ignore[attr-defined]


def test_what_has_no_body_is_no_page(client: Callable[..., Any]) -> None:
    s3 = client("s3")
    s3.create_bucket(Bucket="bucket")
    with pytest.raises(ClientError) as refused:
        s3.head_object(Bucket="bucket", Key="none")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    s3.put_object(Bucket="bucket", Key="one", Body=b"x" * 100_000)
    assert len(s3.get_object(Bucket="bucket", Key="one")["Body"].read()) == 100_000


def test_a_bug_is_an_internal_failure_and_in_the_log(
    client: Callable[..., Any], lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **settings: object) -> None:
        raise ZeroDivisionError("by no means")

    monkeypatch.setattr(SimpleSystemManagerBackend, "get_parameter", broken)
    with pytest.raises(ClientError) as refused:
        client("ssm").get_parameter(Name=NAME)
    error = refused.value.response
    assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == ("InternalFailure", 500)
    assert lines[0].startswith("ssm:GetParameter failed:\nTraceback")
    assert lines[0].endswith("ZeroDivisionError: by no means")


def plain(endpoint: str, path: str) -> tuple[int, str]:
    address = urlsplit(endpoint)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/moto-api/data.json", "/moto-api/reset", "/latest/meta-data/", "/_region/status"])
def test_what_is_no_api_of_aws_is_not_there(client: Callable[..., Any], path: str) -> None:
    status, said = plain(client("ssm").meta.endpoint_url, path)
    assert status == 404
    assert "no part of AWS's API" in said


def test_a_call_that_is_not_signed_is_refused(client: Callable[..., Any]) -> None:
    status, said = plain(client("ssm").meta.endpoint_url, "/?Action=DescribeInstances")
    assert status == 403
    assert "MissingAuthenticationToken" in said


def control(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    if environ["PATH_INFO"] == "/_region/bug":
        raise ZeroDivisionError
    start_response("200 OK", [])
    return [b"in control"]


@pytest.fixture
def sides(world: World) -> Iterator[tuple[str, str]]:
    """The endpoints of the host's own socket and of the machines'."""
    api = Api(world, ApiFaults(), control)
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    servers = [ApiServer(api, [listener], control=own) for listener, own in zip(listeners, (True, False), strict=True)]
    outside, inside = (f"http://127.0.0.1:{listener.getsockname()[1]}" for listener in listeners)
    yield outside, inside
    for server in servers:
        server.close()
    for listener in listeners:
        listener.close()


def test_only_the_host_reaches_the_control_and_the_lock_is_not_asked_for(sides: tuple[str, str], world: World) -> None:
    outside, inside = sides
    with world.lock:
        assert plain(outside, "/_region/status") == (200, "in control")
        assert plain(inside, "/_region/status")[0] == 404


def test_a_bug_of_the_control_is_an_answer_too(sides: tuple[str, str], lines: list[str]) -> None:
    assert plain(sides[0], "/_region/bug")[0] == 500
    assert "ZeroDivisionError" in lines[0]


def test_a_throttled_call_is_not_applied(client: Callable[..., Any], faults: ApiFaults) -> None:
    ssm = client("ssm")
    faults.add({"kind": "throttle", "calls": "ssm:PutParameter", "count": 1})
    with pytest.raises(ClientError, match="ThrottlingException"):
        put(ssm)
    put(ssm)
    assert ssm.get_parameter(Name=NAME)["Parameter"]["Version"] == 1


def test_a_call_whose_answer_is_lost_was_applied(client: Callable[..., Any], faults: ApiFaults) -> None:
    ssm = client("ssm")
    faults.add({"kind": "lost", "calls": "ssm:PutParameter", "count": 1})
    with pytest.raises(ConnectionClosedError):
        put(ssm)
    assert ssm.get_parameter(Name=NAME)["Parameter"]["Version"] == 1


def test_a_call_that_is_cut_off_was_not_applied(client: Callable[..., Any], faults: ApiFaults) -> None:
    ssm = client("ssm")
    faults.add({"kind": "refuse", "calls": "ssm:*", "count": 1})
    with pytest.raises(ConnectionClosedError):
        put(ssm)
    with pytest.raises(ssm.exceptions.ParameterNotFound):
        ssm.get_parameter(Name=NAME)


def test_an_ordered_error_has_its_code(client: Callable[..., Any], faults: ApiFaults) -> None:
    faults.add({"kind": "error", "calls": "sts:*", "code": "ServiceUnavailable", "status": 503})
    with pytest.raises(ClientError) as refused:
        client("sts").get_caller_identity()
    error = refused.value.response
    assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == ("ServiceUnavailable", 503)


def test_a_delayed_call_holds_up_no_other(client: Callable[..., Any], faults: ApiFaults) -> None:
    ssm, sts = client("ssm"), client("sts")
    faults.add({"kind": "latency", "calls": "ssm:*", "seconds": 0.2})
    delayed = threading.Thread(target=put, args=(ssm,))
    delayed.start()
    while not faults.list()[0]["struck"]:
        pass
    sts.get_caller_identity()
    assert delayed.is_alive()
    delayed.join()
