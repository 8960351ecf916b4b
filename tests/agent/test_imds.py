from __future__ import annotations

import errno
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from agent.errors import MetadataDisabled, MetadataError
from agent.imds import Imds, connect
from tests.agent.fake_imds import FakeImds, Handler, fail, raw, say, silence

ID = {"meta-data/instance-id": "i-1"}


def test_one_connection_and_one_token_serve_all_requests() -> None:
    fake = FakeImds(ID | {"meta-data/ami-id": "ami-1"})
    client = fake.client()
    assert [client.get("meta-data/instance-id"), client.get("meta-data/ami-id")] == ["i-1", "ami-1"]
    assert fake.log == ["PUT api/token", "GET meta-data/instance-id", "GET meta-data/ami-id"]
    assert (len(fake.connections), client.requests, fake.time.slept) == (1, 3, [])


def test_what_is_not_there_is_none() -> None:
    assert FakeImds().client().get("meta-data/spot/instance-action") is None


def test_an_answer_may_come_in_pieces() -> None:
    fake = FakeImds({"user-data": "x" * 5000})
    fake.piece = 7
    assert fake.client().get("user-data") == "x" * 5000


def test_an_answer_is_utf_8() -> None:
    assert FakeImds({"x": "Grüße 🎁"}).client().get("x") == "Grüße 🎁"
    with pytest.raises(MetadataError, match="not UTF-8"):
        FakeImds(plan=[None, say(200, b"\xff\xfe")]).client().get("x")


def test_refused_connections_are_tried_again_from_20_ms_to_1_s() -> None:
    fake = FakeImds(ID)
    fake.refuse = [ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")] * 14
    assert fake.client(budget=120).get("meta-data/instance-id") == "i-1"
    assert [round(seconds, 3) for seconds in fake.time.slept[:4]] == [0.02, 0.03, 0.045, 0.068]
    assert max(fake.time.slept) == 1.0
    assert "Connection refused" in fake.waited[0]


def test_the_delay_begins_anew_after_an_answer() -> None:
    fake = FakeImds(ID, plan=[say(503)] * 6)
    client = fake.client()
    client.get("meta-data/instance-id")
    fake.plan = [say(503)]
    fake.time.slept.clear()
    client.get("meta-data/instance-id")
    assert fake.time.slept == [0.02]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "Connection refused"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "Network is unreachable"),
        (TimeoutError("timed out"), "no answer to PUT"),
    ],
)
def test_out_of_reach_ends_with_the_budget_and_the_last_trouble(error: OSError, told: str) -> None:
    fake = FakeImds()
    fake.refuse = [error] * 1000
    with pytest.raises(MetadataError) as caught:
        fake.client(budget=30).get("meta-data/instance-id")
    assert fake.time.now - 100 <= 30
    assert told in caught.value.what


def test_a_service_that_never_answers_costs_2_s_a_try_and_no_more_than_the_budget() -> None:
    fake = FakeImds(ID, plan=[silence] * 1000)
    with pytest.raises(MetadataError, match="no answer to PUT"):
        fake.client(budget=30).get("meta-data/instance-id")
    assert 28 <= fake.time.now - 100 <= 30.1
    assert len(fake.connections) == len(fake.log) > 10


def test_a_silent_connection_is_given_up_for_a_new_one() -> None:
    fake = FakeImds(ID, plan=[None, silence])
    assert fake.client().get("meta-data/instance-id") == "i-1"
    assert [connection.closed for connection in fake.connections] == [True, False]


def test_a_kept_connection_that_was_closed_meanwhile_is_replaced() -> None:
    fake = FakeImds(ID)
    client = fake.client()
    client.get("meta-data/instance-id")
    fake.plan = [fail(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")), raw(b"")]
    assert client.get("meta-data/instance-id") == "i-1"
    assert len(fake.connections) == 3


def test_connection_close_is_obeyed() -> None:
    fake = FakeImds(ID, plan=[None, say(200, "i-1", "Connection: close\r\n")])
    client = fake.client()
    client.get("meta-data/instance-id")
    client.get("meta-data/instance-id")
    assert (len(fake.connections), fake.time.slept) == (2, [])


def test_an_ended_token_is_replaced_at_once() -> None:
    fake = FakeImds(ID)
    client = fake.client()
    client.get("meta-data/instance-id")
    fake.token = "second"
    assert client.get("meta-data/instance-id") == "i-1"
    assert fake.log[2:] == ["GET meta-data/instance-id", "PUT api/token", "GET meta-data/instance-id"]
    assert fake.time.slept == []


def test_a_fresh_token_that_is_refused_is_waited_out() -> None:
    fake = FakeImds(ID, plan=[None, say(401), None, say(401)])
    assert fake.client().get("meta-data/instance-id") == "i-1"
    assert fake.log.count("PUT api/token") == 3
    assert "it refuses the token that it has just given" in fake.waited[0]


def test_a_fresh_token_that_stays_refused_has_a_message_of_its_own() -> None:
    fake = FakeImds(ID, plan=[None, say(401)] * 100)
    with pytest.raises(MetadataError, match="it refuses the token that it has just given"):
        fake.client(budget=5).get("meta-data/instance-id")


@pytest.mark.parametrize("plan", [[say(403)], [None, say(403)]], ids=["token", "read"])
def test_403_ends_it_at_once(plan: list[Handler | None]) -> None:
    fake = FakeImds(ID, plan=plan)
    with pytest.raises(MetadataDisabled, match="turned off"):
        fake.client().get("meta-data/instance-id")
    assert fake.time.slept == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_waited_out(status: int) -> None:
    fake = FakeImds(ID, plan=[say(status), None, say(status)])
    assert fake.client().get("meta-data/instance-id") == "i-1"
    assert f"it answers {status}" in fake.waited[0]


@pytest.mark.parametrize(("header", "slept"), [("3", 3.0), ("600", 60.0), ("soon", 0.02), ("-1", 0.02)])
def test_retry_after_is_honoured_up_to_a_minute(header: str, slept: float) -> None:
    fake = FakeImds(ID, plan=[say(503, headers=f"Retry-After: {header}\r\n")])
    fake.client(budget=100).get("meta-data/instance-id")
    assert fake.time.slept == [slept]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 OK\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "in chunks"),
        (b"HTTP/1.1 200 OK\r\n\r\nhi", "does not say how long"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhi", "does not say how long"),
        ("HTTP/1.1 200 OK\r\nContent-Length: ²\r\n\r\nhi".encode("latin-1"), "does not say how long"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\nhi", "an answer of 65536 bytes"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "an answer without end"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://example.com/\r\nContent-Length: 0\r\n\r\n", "answers 302"),
        (b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n", "answers 400"),
    ],
)
def test_somebody_else_on_that_address_is_refused_at_once(data: bytes, told: str) -> None:
    for plan in ([raw(data)], [None, raw(data)]):
        fake = FakeImds(plan=plan)
        with pytest.raises(MetadataError, match=told) as caught:
            fake.client().get("meta-data/instance-id")
        assert fake.time.slept == []
        assert "never does" in caught.value.what


@pytest.mark.parametrize("token", ["", "a b", "a\r\nX: y", "ü", "x" * 5000])
def test_a_token_that_is_none_is_refused(token: str) -> None:
    with pytest.raises(MetadataError, match="a token that is none"):
        FakeImds(plan=[say(200, token)]).client().get("meta-data/instance-id")


def test_an_answer_cut_short_is_asked_for_again() -> None:
    fake = FakeImds(ID, plan=[None, raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\ni-")])
    assert fake.client().get("meta-data/instance-id") == "i-1"


def test_extend_grants_more_time_from_now() -> None:
    fake = FakeImds(ID, plan=[say(503)] * 20)
    client = fake.client(budget=1)
    client.extend(60)
    assert client.get("meta-data/instance-id") == "i-1"


@pytest.mark.network
def test_a_real_socket_does_what_the_fake_one_does() -> None:
    class Service(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            self.reply(b"token")

        def do_GET(self) -> None:
            assert self.headers["X-aws-ec2-metadata-token"] == "token"
            self.reply(b"i-1")

        def reply(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            port = server.server_address[1]
            client = Imds(budget=5, connect=lambda seconds: connect(seconds, ("127.0.0.1", port)))
            assert [client.get("meta-data/instance-id") for _ in range(3)] == ["i-1"] * 3
            client.close()
        finally:
            server.shutdown()
            thread.join()
