"""How an AWS API is spoken over HTTP: what a request asks for, and how a refusal is said so that any client reads it.

The protocols are those of the Smithy specification ("AWS JSON", "AWS query", "AWS EC2 query", "AWS restXml", "AWS
restJson1", "Smithy RPC v2 CBOR"); where the service stands is in the Signature Version 4 of "Signing AWS API requests".
Services are named as IAM names them ("Service Authorization Reference"): one word for logs, faults and policies.
"""

from __future__ import annotations

import io
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

Protocol = Literal["query", "ec2", "json", "cbor", "rest-xml", "rest-json"]

# Services whose signature has another name than their IAM actions.
_PREFIXES = {"monitoring": "cloudwatch", "tagging": "tag"}
_REST_XML = frozenset({"s3", "route53", "cloudfront"})
_CREDENTIAL = re.compile(r"Credential=([^/,\s]*)/[0-9]*/([^/,\s]*)/([^/,\s]*)/aws4_request")
_RPC = re.compile(r"/service/[^/]+/operation/([A-Za-z0-9]+)")


@dataclass(frozen=True)
class Answer:
    """What goes back: headers by name, and the whole body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True)
class Failure:
    """An error as a service says it. `sender` is whose fault it is."""

    code: str
    message: str
    status: int = 400

    @property
    def sender(self) -> bool:
        return self.status < 500


@dataclass(frozen=True)
class Call:
    """One request. `service` is IAM's word (`cloudwatch`), `signed` the signature's (`monitoring`); "" is not said.

    `access_key` is "" for one that is not signed, `token` for one without a session's.
    """

    service: str
    action: str
    protocol: Protocol
    access_key: str = ""
    token: str = ""
    region: str = "us-east-1"
    signed: str = ""
    method: str = "POST"
    path: str = "/"
    query: str = ""
    body: bytes = b""
    content_type: str = ""

    @property
    def name(self) -> str:
        return f"{self.service or '?'}:{self.action or '?'}"

    @cached_property
    def parameters(self) -> Mapping[str, Any]:
        """What it asks with: a JSON object, or for the query protocols `Name.member.1`-like names and their text.

        Those of a REST call are its query's; a body that can't be read has none: moto will say what is wrong with it.
        """
        try:
            if self.protocol == "json":
                found = json.loads(self.body or b"{}")
                return found if isinstance(found, dict) else {}
            if self.protocol in ("query", "ec2") and self.body:
                return _firsts(self.body.decode())
        except ValueError:
            return {}
        return _firsts(self.query)

    def members(self, name: str) -> Sequence[str]:
        """The texts of a list parameter of the query protocols: `Name.1`, or `Name.member.1`, and so on; in order."""
        pattern = re.compile(rf"{re.escape(name)}\.(?:member\.)?([0-9]+)")
        found = [
            (int(match[1]), str(text)) for key, text in self.parameters.items() if (match := pattern.fullmatch(key))
        ]
        return [text for _, text in sorted(found)]


def _firsts(text: str) -> dict[str, str]:
    """The parameters of a query; of one that is there twice the first counts, as it does for moto."""
    found: dict[str, str] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        found.setdefault(name, value)
    return found


def read(environ: WSGIEnvironment) -> Call:
    """The call that a request is. Its body is read, and put back for whoever reads it next."""
    body = environ["wsgi.input"].read()
    environ["wsgi.input"] = io.BytesIO(body)
    query = environ.get("QUERY_STRING", "")
    content_type = environ.get("CONTENT_TYPE", "")
    access_key, region, signed, token = _signature(environ, query)
    service = _PREFIXES.get(signed, signed)
    protocol, action = _protocol(environ, service, query, body, content_type)
    return Call(
        service=service,
        action=action,
        protocol=protocol,
        access_key=access_key,
        token=token,
        region=region,
        signed=signed,
        method=environ["REQUEST_METHOD"],
        path=environ.get("PATH_INFO", "/"),
        query=query,
        body=body,
        content_type=content_type,
    )


def _signature(environ: WSGIEnvironment, query: str) -> tuple[str, str, str, str]:
    """Access key, region, service, session token: of the header, or of a presigned URL."""
    found = _CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
    token = environ.get("HTTP_X_AMZ_SECURITY_TOKEN", "")
    if found is None and "X-Amz-Credential=" in query:
        presigned = dict(parse_qsl(query))
        found = _CREDENTIAL.search(f"Credential={presigned.get('X-Amz-Credential', '')}")
        token = presigned.get("X-Amz-Security-Token", "")
    if found is None:
        return "", "us-east-1", "", ""
    return found[1], found[2], found[3].lower(), token


def _protocol(
    environ: WSGIEnvironment, service: str, query: str, body: bytes, content_type: str
) -> tuple[Protocol, str]:
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        return "json", target.rpartition(".")[2]
    if found := _RPC.fullmatch(environ.get("PATH_INFO", "")):
        return "cbor", found[1]
    form = body.decode("latin-1") if content_type.startswith("application/x-www-form-urlencoded") else ""
    for text in (form, query):
        if "Action=" in text and (action := _firsts(text).get("Action")):
            return ("ec2" if service == "ec2" else "query"), action
    if form:
        return ("ec2" if service == "ec2" else "query"), ""
    return ("rest-xml" if service in _REST_XML else "rest-json"), _rest_action(environ, service)


def _rest_action(environ: WSGIEnvironment, service: str) -> str:
    """What a REST call's method and path mean; both where nothing is known of them."""
    from moto.core.request import Request
    from moto.core.routing import get_service_router

    plain = f"{environ['REQUEST_METHOD']} {environ.get('PATH_INFO', '/')}"
    try:
        operation, _ = get_service_router(service).match(Request(dict(environ)))
    except Exception:  # a service without a model, a path that no operation has
        return plain
    return str(operation.name)


def answer(call: Call, failure: Failure) -> Answer:
    """The failure as the call's service says it: every AWS client makes it an error with this code."""
    request_id = secrets.token_hex(8)
    code, message = escape(failure.code), escape(failure.message)
    kind = "Sender" if failure.sender else "Receiver"
    match call.protocol:
        case "json" | "rest-json":
            body = json.dumps({"__type": failure.code, "message": failure.message, "Message": failure.message})
            content_type = call.content_type if "json" in call.content_type else "application/json"
        case "cbor":
            return _cbor(failure, request_id)
        case "ec2":
            content_type = "text/xml;charset=UTF-8"
            body = (
                f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
                f"<RequestID>{request_id}</RequestID></Response>"
            )
        case "rest-xml" if call.service == "s3":
            content_type = "application/xml"
            body = f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>{request_id}</RequestId></Error>"
        case "query" | "rest-xml":
            content_type = "text/xml"
            body = (
                f"<ErrorResponse><Error><Type>{kind}</Type><Code>{code}</Code><Message>{message}</Message></Error>"
                f"<RequestId>{request_id}</RequestId></ErrorResponse>"
            )
    text = body if body.startswith("{") else f'<?xml version="1.0" encoding="UTF-8"?>\n{body}'
    headers = (
        ("Content-Type", content_type),
        ("x-amzn-RequestId", request_id),
        ("x-amzn-ErrorType", failure.code),
    )
    return Answer(failure.status, headers, text.encode())


def _cbor(failure: Failure, request_id: str) -> Answer:
    def text(value: str) -> bytes:
        data = value.encode()
        return b"\x79" + len(data).to_bytes(2, "big") + data  # a text string with a length of two bytes (RFC 8949)

    body = b"\xa2" + text("__type") + text(failure.code) + text("message") + text(failure.message)
    headers = (
        ("Content-Type", "application/cbor"),
        ("smithy-protocol", "rpc-v2-cbor"),
        ("x-amzn-RequestId", request_id),
    )
    return Answer(failure.status, headers, body)
