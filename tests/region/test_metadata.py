"""The metadata service as EC2's: routes, tokens, status codes, and what can be wrong with it. No sockets here."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from region.faults import FOREVER, Faults
from region.metadata import InstanceMetadata, MetadataService, Request, Response

HERE, OTHER = "10.77.0.10", "10.77.0.11"
WEB = InstanceMetadata(
    "i-0123456789abcdef0", "ami-0a", {"bakeboot:mode": "review", "Name": "", "t:é": "é"}, b'{"refs": {}}\n'
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Client:
    """One machine's way to a service: what it asks, with or without a token."""

    def __init__(self, instance: InstanceMetadata | None = WEB, faults: Faults | None = None) -> None:
        self.clock = Clock()
        self.service = MetadataService(self.clock)
        self.service.set(HERE, instance)
        self.service.set_faults(HERE, faults or Faults())

    def ask(self, method: str, path: str, source: str = HERE, **headers: str) -> Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.service.answer(Request(method, path, named, source))

    def token(self, ttl: str = "60", source: str = HERE) -> str:
        response = self.ask("PUT", "/latest/api/token", source, x_aws_ec2_metadata_token_ttl_seconds=ttl)
        assert response.status == 200
        return response.body.decode()

    def get(self, path: str, **headers: str) -> Response:
        return self.ask("GET", path, x_aws_ec2_metadata_token=self.token(), **headers)


LISTING = (
    "ami-id ami-launch-index hostname instance-action instance-id instance-life-cycle instance-type local-hostname"
    " local-ipv4 placement/ services/ tags/"
)
FOUND = {
    "/latest/meta-data/": LISTING,
    "/latest/meta-data": LISTING,
    "/latest/": "dynamic meta-data user-data",
    "/2021-03-23/meta-data/instance-id": "i-0123456789abcdef0",
    "/latest/meta-data/ami-id": "ami-0a",
    "/latest/meta-data/local-ipv4": HERE,
    "/latest/meta-data/local-hostname": "ip-10-77-0-10.ec2.internal",
    "/latest/meta-data/instance-life-cycle": "on-demand",
    "/latest/meta-data/placement/": "availability-zone region",
    "/latest/meta-data/placement/region": "us-east-1",
    "/latest/meta-data/tags/": "instance/",
    "/latest/meta-data/tags/instance": "Name bakeboot:mode t:é",
    "/latest/meta-data/tags/instance/": "Name bakeboot:mode t:é",
    "/latest/meta-data/tags/instance/bakeboot:mode": "review",
    "/latest/meta-data/tags/instance/bakeboot%3Amode": "review",
    "/latest/meta-data/tags/instance/t:%C3%A9": "é",
    "/latest/meta-data/tags/instance/Name": "",
    "/latest/user-data": '{"refs": {}}\n',
    "/latest/dynamic/": "instance-identity/",
    "/latest/dynamic/instance-identity/": "document",
}


@pytest.mark.parametrize(("path", "expected"), FOUND.items())
def test_a_path_holds_a_value_or_lists_what_is_below(path: str, expected: str) -> None:
    response = Client().get(path)
    body = response.body.decode()
    lists = path.rstrip("/").endswith(("latest", "meta-data", "placement", "tags", "instance", "dynamic", "identity"))
    assert (response.status, body.replace("\n", " ") if lists else body) == (200, expected)


ABSENT = [
    "/latest/meta-data/nope",
    "/latest/meta-data/instance-id/nope",
    "/latest/meta-data/tags/instance/nope",
    "/latest/meta-data/spot/instance-action",
    "/latest/meta-data/autoscaling/target-lifecycle-state",
    "/latest/meta-data/events/recommendations/rebalance",
    "/latest/meta-data/iam/security-credentials/",
    "/1999-01-01/meta-data/",
    "/latest/nope",
]


@pytest.mark.parametrize("path", ABSENT)
def test_what_is_not_there_is_404(path: str) -> None:
    assert Client().get(path).status == 404


def test_the_root_lists_versions() -> None:
    assert b"latest" in Client().get("/").body.split(b"\n")


def test_the_identity_document_tells_who_and_where() -> None:
    response = Client().get("/latest/dynamic/instance-identity/document")
    document = json.loads(response.body)
    wanted = {"instanceId": WEB.instance_id, "imageId": "ami-0a", "region": "us-east-1", "privateIp": HERE}
    assert wanted.items() <= document.items()


def test_tags_turned_off_are_absent_and_so_is_their_entry_in_the_listing() -> None:
    off = Client(replace(WEB, tags=None))
    assert off.get("/latest/meta-data/tags/instance").status == 404
    assert b"tags/" not in off.get("/latest/meta-data/").body


def test_tags_turned_on_without_a_tag_are_404_but_listed() -> None:
    none = Client(replace(WEB, tags={}))
    assert none.get("/latest/meta-data/tags/instance").status == 404
    assert b"tags/" in none.get("/latest/meta-data/").body.split(b"\n")


def test_without_user_data_it_is_404_and_not_listed() -> None:
    bare = Client(replace(WEB, user_data=None))
    assert bare.get("/latest/user-data").status == 404
    assert bare.get("/latest/").body == b"dynamic\nmeta-data"


def test_values_follow_while_it_runs() -> None:
    client = Client()
    client.service.set(
        HERE,
        replace(
            WEB,
            tags={"a": "b"},
            spot_action=("terminate", "2026-11-23T18:00:00Z"),
            lifecycle_state="Terminated",
            rebalance="2026-11-23T17:58:00Z",
            extra={"iam/security-credentials/web": "{}"},
        ),
    )
    assert client.get("/latest/meta-data/tags/instance").body == b"a"
    assert json.loads(client.get("/latest/meta-data/spot/instance-action").body) == {
        "action": "terminate",
        "time": "2026-11-23T18:00:00Z",
    }
    assert client.get("/latest/meta-data/spot/termination-time").status == 200
    assert client.get("/latest/meta-data/autoscaling/target-lifecycle-state").body == b"Terminated"
    assert client.get("/latest/meta-data/events/recommendations/rebalance").status == 200
    assert client.get("/latest/meta-data/iam/security-credentials/").body == b"web"
    assert b"autoscaling/" in client.get("/latest/meta-data/").body.split(b"\n")


@pytest.mark.parametrize("ttl", ["1", "60", "21600"])
def test_a_token_is_had_for_a_second_to_six_hours(ttl: str) -> None:
    response = Client().ask("PUT", "/latest/api/token", x_aws_ec2_metadata_token_ttl_seconds=ttl)
    assert response.status == 200
    assert ("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", ttl) in response.headers


@pytest.mark.parametrize("ttl", ["0", "21601", "-1", "", "x", "1.5", "²", " 1", "1" * 5000])
def test_any_other_life_of_a_token_is_400(ttl: str) -> None:
    assert Client().ask("PUT", "/latest/api/token", x_aws_ec2_metadata_token_ttl_seconds=ttl).status == 400


def test_a_token_asked_for_without_a_life_is_400_and_through_a_proxy_403() -> None:
    assert Client().ask("PUT", "/latest/api/token").status == 400
    headers = {"x_aws_ec2_metadata_token_ttl_seconds": "60", "x_forwarded_for": "1.2.3.4"}
    assert Client().ask("PUT", "/latest/api/token", **headers).status == 403


def test_nothing_is_told_without_a_token_or_with_a_wrong_one() -> None:
    client = Client()
    assert client.ask("GET", "/latest/meta-data/").status == 401
    assert client.ask("GET", "/latest/meta-data/", x_aws_ec2_metadata_token="x").status == 401
    assert client.ask("GET", "/latest/meta-data/", x_aws_ec2_metadata_token="").status == 401


def test_a_token_ends_with_its_life() -> None:
    client = Client()
    token = client.token("10")
    client.clock.now += 9.5
    assert client.ask("GET", "/", x_aws_ec2_metadata_token=token).status == 200
    client.clock.now += 0.5
    assert client.ask("GET", "/", x_aws_ec2_metadata_token=token).status == 401


def test_a_token_is_of_use_to_nobody_else_and_everybody_hears_of_himself() -> None:
    client = Client()
    client.service.set(OTHER, replace(WEB, instance_id="i-2"))
    token = client.token()
    path = "/latest/meta-data/instance-id"
    assert client.ask("GET", path, OTHER, x_aws_ec2_metadata_token=token).status == 401
    own = client.token(source=OTHER)
    assert client.ask("GET", path, OTHER, x_aws_ec2_metadata_token=own).body == b"i-2"


def test_an_answer_says_how_long_its_token_still_holds() -> None:
    client = Client()
    token = client.token("60")
    client.clock.now += 20
    headers = client.ask("GET", "/", x_aws_ec2_metadata_token=token).headers
    assert headers == (("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "40"),)


METHODS = [
    ("POST", "/latest/meta-data/", 405),
    ("PUT", "/latest/meta-data/", 405),
    ("DELETE", "/latest/user-data", 405),
    ("GET", "/latest/api/token", 405),
    ("HEAD", "/latest/meta-data/", 200),
]


@pytest.mark.parametrize(("method", "path", "status"), METHODS)
def test_methods(method: str, path: str, status: int) -> None:
    client = Client()
    assert client.ask(method, path, x_aws_ec2_metadata_token=client.token()).status == status


def test_turned_off_for_an_instance_or_unknown_is_403() -> None:
    headers = {"x_aws_ec2_metadata_token_ttl_seconds": "60"}
    assert Client(None).ask("PUT", "/latest/api/token", **headers).status == 403
    assert Client().ask("PUT", "/latest/api/token", "10.77.0.99", **headers).status == 403


def test_a_failure_is_told_in_the_same_html_as_ec2s() -> None:
    response = Client().get("/latest/nope")
    assert response.content_type == "text/html"
    assert b"<title>404 - Not Found</title>" in response.body


def test_requests_are_kept_by_machine() -> None:
    client = Client()
    client.get("/latest/meta-data/instance-id")
    client.ask("GET", "/latest/nope")
    assert client.service.requests(HERE) == [
        ("PUT", "/latest/api/token", 200),
        ("GET", "/latest/meta-data/instance-id", 200),
        ("GET", "/latest/nope", 401),
    ]
    assert client.service.requests(OTHER) == []


# (faults, seconds after the first request, path, status)
TAGS = "/latest/meta-data/tags/instance"
PLANS = [
    (Faults(tags_late=3), 0, TAGS, 404),
    (Faults(tags_late=3), 2.9, TAGS + "/bakeboot:mode", 404),
    (Faults(tags_late=3), 0, "/latest/meta-data/instance-id", 200),
    (Faults(tags_late=3), 3, TAGS, 200),
    (Faults(tags_gone=True), 9999, TAGS, 404),
    (Faults(broken_tags=frozenset({"Name"})), 0, TAGS, 200),
    (Faults(broken_tags=frozenset({"Name"})), 0, TAGS + "/Name", 404),
    (Faults(broken_tags=frozenset({"Name"})), 0, TAGS + "/bakeboot:mode", 200),
    (Faults(unauthorized=5), 4, TAGS, 401),
    (Faults(unauthorized=5), 5, TAGS, 200),
    (Faults(unavailable=5), 4, TAGS, 503),
    (Faults(unavailable=5), 5, TAGS, 200),
    (Faults(unavailable=1, unauthorized=5), 2, TAGS, 401),
    (Faults(disabled=True), 0, TAGS, 403),
    (Faults(slow=2), 0, TAGS, 200),
]


@pytest.mark.parametrize(("faults", "after", "path", "status"), PLANS)
def test_faults_last_as_long_as_planned(faults: Faults, after: float, path: str, status: int) -> None:
    client = Client()
    token = client.token("21600")
    client.service.set_faults(HERE, faults)
    client.ask("GET", "/")  # from here their time runs
    client.clock.now += after
    assert client.ask("GET", path, x_aws_ec2_metadata_token=token).status == status


def test_a_burst_of_401_comes_although_tokens_are_given() -> None:
    client = Client(faults=Faults(unauthorized=FOREVER))
    assert client.get("/").status == 401


def test_faults_disabled_refuse_the_token_already() -> None:
    client = Client(faults=Faults(disabled=True))
    assert client.ask("PUT", "/latest/api/token", x_aws_ec2_metadata_token_ttl_seconds="9").status == 403


def test_late_tags_are_listed_as_a_category_from_the_start() -> None:
    assert b"tags/" in Client(faults=Faults(tags_late=3)).get("/latest/meta-data/").body.split(b"\n")


def test_unavailable_says_when_to_come_back() -> None:
    assert ("Retry-After", "7") in Client(faults=Faults(unavailable=5, retry_after=7)).ask("GET", "/").headers
    assert Client(faults=Faults(unavailable=5, retry_after=None)).ask("GET", "/").headers == ()


def test_slow_and_hanging_say_so_for_the_door_to_do() -> None:
    assert Client(faults=Faults(slow=2)).ask("GET", "/").delay == 2
    hanging = Client(faults=Faults(hang=10))
    hanging.ask("GET", "/")
    hanging.clock.now += 4
    response = hanging.ask("GET", "/")
    assert (response.hang, response.delay) == (True, 6)
    assert hanging.service.requests(HERE) == [("GET", "/", 0), ("GET", "/", 0)]


def test_time_can_run_from_the_moment_faults_are_set() -> None:
    client = Client(faults=Faults(unavailable=5, since="start"))
    client.clock.now += 5
    assert client.ask("GET", "/").status == 401


def test_forgotten_addresses_lose_their_tokens_and_their_count() -> None:
    client = Client()
    token = client.token()
    client.service.forget(HERE)
    client.service.set(HERE, WEB)
    assert client.ask("GET", "/", x_aws_ec2_metadata_token=token).status == 401
    assert len(client.service.requests(HERE)) == 1


def test_wrong_paths_answer_another_text_also_where_there_is_none() -> None:
    client = Client(faults=Faults(wrong={"instance-id": "i-other", "iam/info": "{}"}))
    assert client.get("/latest/meta-data/instance-id").body == b"i-other"
    assert client.get("/latest/meta-data/iam/info").body == b"{}"
    assert client.get("/latest/meta-data/ami-id").body == b"ami-0a"


@pytest.mark.parametrize(
    ("gone", "path", "status"),
    [
        ("tags", "meta-data/tags/instance/Name", 404),
        ("tags", "meta-data/tags", 404),
        ("tags", "meta-data/instance-id", 200),
        ("instance", "meta-data/instance-id", 200),
        ("user-data", "user-data", 404),
        ("user-data", "meta-data/ami-id", 200),
    ],
)
def test_gone_paths_answer_404_with_all_below_them(gone: str, path: str, status: int) -> None:
    assert Client(faults=Faults(gone=frozenset({gone}))).get(f"/latest/{path}").status == status
