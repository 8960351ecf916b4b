"""The API's door: every call is read once, judged, carried out by moto under the world's lock, and logged.

    read ─▶ who is it ─▶ faults ─▶ may they ─▶ moto (the lock) ─▶ log ─▶ answer

Only moto's work holds the lock: what waits (a fault's latency) waits outside of it.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from moto.backends import list_of_moto_modules
from moto.core.common_models import BaseModel
from moto.core.responses import BaseResponse
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from region.aws import api_faults, protocol
from region.aws.api_faults import ApiFaults
from region.aws.identity import Caller, Identity
from region.aws.listener import CLOSING, CONTROL, ApiServer, CutConnection
from region.aws.protocol import Answer, Call, Failure
from region.aws.world import World

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from flask import Flask

__all__ = ["Api", "ApiServer"]

# What moto has beside AWS's API: it would change the region behind everybody's back, or answer for the metadata.
_MOTO_ONLY = ("/moto-api", "/latest/meta-data", "/latest/api", "/latest/user-data", "/favicon.ico")
_ACCOUNT = "HTTP_X_MOTO_ACCOUNT_ID"  # a header with which moto lets anyone be in any account
_OURS = "/_region/"
_READS = ("Describe", "Get", "List", "Head", "BatchGet", "Query", "Scan", "PutMetricData")  # nobody looks for those


class Api:
    """The region's API as a WSGI application.

    `control` gets the paths below `/_region/`, without the lock, and only by sockets that are the host's own
    (`ApiServer(..., control=True)`): a machine must not reach what controls the region.
    """

    def __init__(self, world: World, faults: ApiFaults | None = None, control: WSGIApplication | None = None) -> None:
        self._world = world
        self._faults = faults or ApiFaults()
        self._control = control
        self._identity = Identity(world)
        self._moto: WSGIApplication = Moto(create_backend_app)
        setattr(BaseModel, "__new__", _made)  # noqa: B010 - mypy lets nobody assign a method
        setattr(BaseResponse, "querystring", property(_asked, _keep_asked))  # noqa: B010

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "/")
        if path.startswith(_OURS) and self._control is not None and environ.get(CONTROL):
            return self._controlled(self._control, environ, start_response)
        if path.startswith((*_MOTO_ONLY, _OURS)):
            return _say(
                start_response, _plain(404, f"{path} is no part of AWS's API, and this region has no such door.")
            )
        environ.pop(_ACCOUNT, None)
        call, began = protocol.read(environ), time.monotonic()
        caller, answer = None, None
        try:
            with self._world.lock:
                caller = self._identity.caller(call)
            answer = self._answer(call, caller, environ)
        except CutConnection:
            raise
        except Exception:
            self._world.log(f"{call.name} failed:\n{traceback.format_exc().rstrip()}")
            message = "An internal error has occurred: the region's log has it (bakeboot region logs)."
            answer = protocol.answer(call, Failure("InternalFailure", message, 500))
        finally:
            who = caller.name if isinstance(caller, Caller) else "nobody"
            status = str(answer.status) if answer else "cut"
            self._world.log(f"{call.name} {who} {status} {1000 * (time.monotonic() - began):.0f} ms")
        return _say(start_response, answer)

    def _controlled(
        self, control: WSGIApplication, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        try:
            return control(environ, start_response)
        except Exception:
            self._world.log(f"control {environ.get('PATH_INFO')} failed:\n{traceback.format_exc().rstrip()}")
            return _say(start_response, _plain(500, "An internal error has occurred: the region's log has it."))

    def _answer(self, call: Call, caller: Caller | Failure, environ: WSGIEnvironment) -> Answer:
        """Raises CutConnection, and whatever moto raises."""
        names = caller.names if isinstance(caller, Caller) else frozenset()
        verdict = self._faults.decide(call.name, names)
        if verdict.delay:
            closing: threading.Event = environ.get(CLOSING) or self._world.closing
            closing.wait(verdict.delay)
        match verdict.fault:
            case None:
                return self._carried_out(call, caller, environ)
            case fault if fault.kind == "refuse":
                raise CutConnection
            case fault if fault.kind == "lost":
                self._carried_out(call, caller, environ)
                raise CutConnection
            case fault:
                return protocol.answer(call, api_faults.failure_of(fault, call))

    def _carried_out(self, call: Call, caller: Caller | Failure, environ: WSGIEnvironment) -> Answer:
        if isinstance(caller, Failure):
            return protocol.answer(call, caller)
        with self._world.lock:
            refusal = self._identity.refusal(call, caller)
            if refusal is not None:
                return protocol.answer(call, refusal)
            try:
                answer = _called(self._moto, environ)
            except NotImplementedError as error:
                return protocol.answer(call, _unsupported(call, str(error)))
        if not call.action.startswith(_READS):
            self._world.wake()
        page = call.method != "HEAD" and _is_page(answer)
        return protocol.answer(call, _unsupported(call)) if page else answer


class Moto(DomainDispatcherApplication):
    """moto's dispatcher, which looks up a host once: the search through all services takes as long as the call."""

    def __init__(self, create_app: Callable[..., Flask]) -> None:
        super().__init__(create_app)
        self._known: dict[str, str] = {}

    def get_backend_for_host(self, host: str | None) -> str | None:
        """Raises NotImplementedError for a service that moto hasn't."""
        if host is None:
            return None
        if host not in self._known:
            names = (name for name, pattern in self.backend_url_patterns if pattern.match(f"http://{host}"))
            found = host if host in list_of_moto_modules() else next(names, None)
            if found is None:
                raise NotImplementedError("there is no such service in it")
            self._known[host] = found
        return self._known[host]


def _made(cls: type[BaseModel], *args: object, **settings: object) -> BaseModel:
    """A new object of moto's, of which nobody keeps a list: moto does for its dashboard, for ever."""
    return object.__new__(cls)


def _asked(self: BaseResponse) -> dict[str, Any]:
    """What moto takes parameters from before all else: of a call in JSON nothing, since that asks with its body alone.

    moto would read the query, the headers, or the body's text as if it were a query: a value with `&Name=` in it named
    another parameter, and one that the caller may not read was read.
    """
    found: dict[str, Any] = vars(self)["querystring"]
    return {} if "x-amz-target" in self.normalized_request.headers else found


def _keep_asked(self: BaseResponse, found: dict[str, Any]) -> None:
    vars(self)["querystring"] = found


def _called(app: WSGIApplication, environ: WSGIEnvironment) -> Answer:
    said: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None, /) -> object:
        said[:] = [(status, headers)]
        return lambda data: None

    body = b"".join(app(environ, start_response))  # type: ignore[arg-type]
    status, headers = said[0]
    return Answer(int(status.split()[0]), tuple(headers), body)


def _is_page(answer: Answer) -> bool:
    """Whether it is a page for people, or nothing at all, where an AWS client wants to read an error."""
    content_type = next((value for name, value in answer.headers if name.lower() == "content-type"), "")
    page = content_type.startswith("text/html") and answer.body.lstrip()[:9].lower() == b"<!doctype"
    return answer.status in (404, 405) and (page or not answer.body)


def _unsupported(call: Call, why: str = "") -> Failure:
    because = f" ({why})" if why else ""
    return Failure("UnsupportedOperation", f"{call.name} is not implemented by this region{because}.")


def _plain(status: int, text: str) -> Answer:
    return Answer(status, (("Content-Type", "text/plain; charset=utf-8"),), f"{text}\n".encode())


def _say(start_response: StartResponse, answer: Answer) -> Iterable[bytes]:
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = "Unknown"
    start_response(f"{answer.status} {phrase}", list(answer.headers))
    return [answer.body]
