"""HAProxy's configuration: one frontend a listener, one backend for all targets. Pure.

What changes often (rules, weights, targets) is not in it: routes.lua decides by a table that is swapped while HAProxy
runs, names the address to connect to, and the one server of the one backend connects there. So only a listener that
comes, goes or gets another certificate or idle timeout needs a new process, and no target needs a slot.

All sockets are made by the region's process and inherited (`fd@`), the log is a pipe: a new process takes over without
a moment in which nobody listens, and binds nothing itself. It runs in the site, where the targets are: its own
`namespace` would do for one process, but one that is to end forgets it, and fails the requests that it still has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from region.balancer.words import Listener

ROUTES = Path(__file__).with_name("routes.lua")
_PAGE = "HTTP/1.1 {status}\r\nServer: awselb/2.0\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n{body}"


@dataclass(frozen=True)
class Frontend:
    """A listener as HAProxy sees it: the descriptors of its sockets, and the path of its certificate ("" is HTTP)."""

    name: str
    port: int
    idle: int
    descriptors: tuple[int, ...]
    certificate: str = ""


@dataclass(frozen=True)
class Inherited:
    """Descriptors of the log's pipe and of the admin socket, and the path of the first table."""

    log: int
    admin: int
    table: str


def frontend_of(listener: Listener, descriptors: Sequence[int], certificate: str) -> Frontend:
    return Frontend(listener.name, listener.port, listener.idle, tuple(descriptors), certificate)


# Fields that access.py reads: the listener, status, whether the target answered, what was done, group, target, the two
# letters of how it ended, milliseconds until connected and until the answer began, bytes to the client.
LOG_FORMAT = "%f %ST %[var(txn.answered)] %[var(txn.kind)] %[var(txn.group)] %[var(txn.target)] %ts %Tc %Tr %B"


# The ten seconds of "timeout connect" are an ALB's 504, every other way of not connecting is its 502.
_BACKEND = """\
backend targets
    http-request set-var(txn.since) date(0,ms)
    http-request set-dst var(txn.ip)
    http-request set-dst-port var(txn.port)
    timeout server 60s
    timeout tunnel 60s
    http-request set-timeout server var(txn.idle)
    http-request set-timeout tunnel var(txn.idle)
    http-response set-var(txn.answered) int(1)
    acl answered var(txn.answered) -m found
    acl waited_for_connection date(0,ms),sub(txn.since) ge 9900
    http-after-response set-status 504 if { status 503 } !answered waited_for_connection
    http-after-response set-status 502 if { status 503 } !answered
    server any 0.0.0.0:0

backend outstanding
    stick-table type string len 200 size 100k expire 1h store conn_cur
"""


def config_of(frontends: Sequence[Frontend], inherited: Inherited, pages: Path) -> str:
    """The text. `pages` is where `error_pages` were written."""
    return "\n".join([_head(inherited, pages), *(_frontend(each) for each in frontends), _BACKEND])


def error_pages() -> dict[str, str]:
    """File names to contents. HAProxy's own 503 (it couldn't connect) is an ALB's 502: its file says so."""
    texts = {"400": "400 Bad Request", "408": "408 Request Timeout", "502": "502 Bad Gateway"}
    texts |= {"503": texts["502"], "504": "504 Gateway Time-out"}
    pages = {}
    for name, status in texts.items():
        body = (
            f"<html>\r\n<head><title>{status}</title></head>\r\n<body>\r\n<center><h1>{status}</h1></center>\r\n"
            "</body>\r\n</html>\r\n"
        )
        pages[f"{name}.http"] = _PAGE.format(status=status, length=len(body), body=body)
    return pages


def _head(inherited: Inherited, pages: Path) -> str:
    errors = "\n".join(f'    errorfile {code} "{pages}/{code}.http"' for code in (400, 408, 502, 503, 504))
    return f"""\
global
    nbthread 1
    # Others hold a listening socket too, so that closing it takes it out of no epoll: a process on its way out would
    # be told for ever what happens to it, and take it for the connection that has its number now.
    noepoll
    fd-hard-limit 20000
    # AWS ("HTTP 400"): 64K for all headers of a request.
    tune.bufsize 65536
    log fd@{inherited.log} format raw local0 info
    stats socket fd@{inherited.admin} level admin
    stats timeout 24d
    setenv BAKEBOOT_ROUTES "{inherited.table}"
    lua-load "{ROUTES}"

defaults
    mode http
    log global
    log-format "{LOG_FORMAT}"
    option dontlognull
    # A connection that waits for its next request when this process is to end gets an answer to it first.
    option idle-close-on-response
    retries 0
    timeout connect 10s
{errors}
"""


def _frontend(frontend: Frontend) -> str:
    protocol = "https" if frontend.certificate else "http"
    tls = f' ssl crt "{frontend.certificate}" alpn h2,http/1.1' if frontend.certificate else ""
    binds = "\n".join(f"    bind fd@{descriptor}{tls}" for descriptor in frontend.descriptors)
    return f"""\
frontend {frontend.name}
{binds}
    timeout client {frontend.idle}s
    timeout http-request {frontend.idle}s
    timeout http-keep-alive {frontend.idle}s
    http-request lua.choose
    http-request track-sc0 var(txn.target) table outstanding
    acl forwarded req.fhdr_cnt(X-Forwarded-For) gt 0
    http-request set-header X-Forwarded-For "%[req.fhdr(X-Forwarded-For)], %[src]" if forwarded
    http-request set-header X-Forwarded-For %[src] unless forwarded
    http-request set-header X-Forwarded-Proto {protocol}
    http-request set-header X-Forwarded-Port {frontend.port}
    default_backend targets
"""
