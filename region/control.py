"""A region's control: what its owner can see and do that AWS's API has no call for, as JSON over HTTP.

It is served below `/_region/` beside the API, on this host's side alone: no machine reaches it. Every request carries
the token from region.json, which root alone can read. `region.client` is the other end.
"""

from __future__ import annotations

import hmac
import json
import re
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

from region.errors import RegionError
from region.faults import Faults, faults_from

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PREFIX = "/_region/"
TOKEN_HEADER = "X-Bakeboot-Token"  # noqa: S105 - a header's name
_LONGEST_BODY = 1 << 20


class Controlled(Protocol):
    """The region, as its control uses it (`region.region.Region`). Each raises RegionError where it can't."""

    def status(self) -> dict[str, Any]: ...
    def interrupt(self, instance: str, notice: float, *, rebalance: bool) -> str: ...
    def kill_machine(self, instance: str) -> str: ...
    def console(self, instance: str) -> str: ...
    def set_metadata_faults(self, instance: str, faults: Faults) -> str: ...
    def add_api_fault(self, plan: Mapping[str, Any]) -> str: ...
    def faults(self) -> list[dict[str, Any]]: ...
    def clear_faults(self, fault: str | None) -> list[str]: ...
    def settings(self, changes: Mapping[str, Any]) -> dict[str, Any]: ...
    def references(self) -> list[str]: ...


@dataclass(frozen=True)
class Call:
    """One request: what stood for the `*` of its path, and its body."""

    name: str
    body: Mapping[str, Any]


Handler = Callable[[Controlled, Call], object]

ROUTES: Mapping[tuple[str, str], Handler] = {
    ("GET", "status"): lambda region, call: region.status(),
    ("GET", "references"): lambda region, call: region.references(),
    ("PUT", "settings"): lambda region, call: region.settings(call.body),
    ("GET", "faults"): lambda region, call: region.faults(),
    ("POST", "faults"): lambda region, call: region.add_api_fault(call.body),
    ("DELETE", "faults"): lambda region, call: region.clear_faults(None),
    ("DELETE", "faults/*"): lambda region, call: region.clear_faults(call.name),
    ("POST", "instances/*/interrupt"): lambda region, call: region.interrupt(
        call.name, _seconds(call.body, "notice"), rebalance=call.body.get("rebalance") is True
    ),
    ("POST", "instances/*/kill"): lambda region, call: region.kill_machine(call.name),
    ("GET", "instances/*/console"): lambda region, call: region.console(call.name),
    ("PUT", "instances/*/metadata"): lambda region, call: region.set_metadata_faults(call.name, faults_from(call.body)),
}
"""What each answers is JSON: those about an instance answer its whole id."""


def _seconds(body: Mapping[str, Any], name: str) -> float:
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise RegionError(f"expected seconds, got {value!r}", where=name)
    return float(value)


class Control:
    """A WSGI application for the requests below `/_region/`."""

    def __init__(self, region: Controlled, token: str, log: Callable[[str], None] = lambda line: None) -> None:
        self._region = region
        self._token = token
        self._log = log

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = str(environ.get("PATH_INFO", "")).removeprefix(PREFIX)
        status, body = self._answer(str(environ["REQUEST_METHOD"]), path, environ)
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response(f"{status.value} {status.phrase}", headers)
        return [body]

    def _answer(self, method: str, path: str, environ: WSGIEnvironment) -> tuple[HTTPStatus, bytes]:
        given = str(environ.get("HTTP_X_BAKEBOOT_TOKEN", ""))
        body = _body(environ)  # read in any case: the connection may carry another request after it
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            return HTTPStatus.FORBIDDEN, _said(what="this takes the token of region.json")
        handler, name = route(method, path)
        if handler is None:
            return HTTPStatus.NOT_FOUND, _said(what=f"no such request: {method} {PREFIX}{path}")
        try:
            read = json.loads(body or b"{}")
            if not isinstance(read, dict):
                raise RegionError("expected a JSON object")
            return HTTPStatus.OK, json.dumps(handler(self._region, Call(name, read))).encode()
        except RegionError as error:
            return HTTPStatus.BAD_REQUEST, _said(what=error.what, where=error.where, hint=error.hint)
        except ValueError as error:
            return HTTPStatus.BAD_REQUEST, _said(what=str(error))
        except Exception:
            self._log(f"{method} {PREFIX}{path} failed:\n{traceback.format_exc()}")
            return HTTPStatus.INTERNAL_SERVER_ERROR, _said(what="a bug in the region: its log has the traceback")


def _said(**words: str) -> bytes:
    return json.dumps(words).encode()


def route(method: str, path: str) -> tuple[Handler | None, str]:
    """The handler of a request, and what stood for the `*`."""
    for (known, pattern), handler in ROUTES.items():
        found = re.fullmatch(re.escape(pattern).replace(r"\*", "([^/]+)"), path)
        if known == method and found:
            return handler, unquote(found[1]) if found.groups() else ""
    return None, ""


def _body(environ: WSGIEnvironment) -> bytes:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    return bytes(environ["wsgi.input"].read(min(length, _LONGEST_BODY))) if length > 0 else b""
