"""EC2 instance metadata: what an instance is told about itself, and how a request for it is answered.

Pure: `MetadataService` takes its clock as an argument and knows no socket; `region.imds` serves it. It follows the EC2
User Guide: "Use IMDS to access instance metadata" (tokens, status codes), "Instance metadata categories" (paths),
"View tags for your EC2 instances using instance metadata" (tags), "Instance identity documents". Version 2, and version
1 for an instance whose HttpTokens is `optional`.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

from region.faults import Faults

TOKEN_HEADER = "x-aws-ec2-metadata-token"  # noqa: S105 - a header's name
TTL_HEADER = "x-aws-ec2-metadata-token-ttl-seconds"
_LONGEST_TTL = 21600  # six hours
_VERSIONS = ("2021-01-03", "2021-03-23", "2021-07-15", "2022-09-24", "2024-04-11", "latest")
_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}


@dataclass(frozen=True)
class InstanceMetadata:
    """What the service tells one instance.

    `tags` None is InstanceMetadataTags off; `{}` is on and without tags. `local_ipv4` is filled in by the site.
    `spot_action` (an action and an RFC 3339 time), `rebalance` (a time) and `lifecycle_state` answer 404 until set.
    `tokens_required` False: a request without a token is answered too ("Configure the Instance Metadata Service
    options"). `extra`: further paths below meta-data/ and their text, such as those of `iam/security-credentials/`; one
    that has others below it is answered with its text in place of their list, as `public-keys` is.
    """

    instance_id: str
    image_id: str
    tags: Mapping[str, str] | None = None
    user_data: bytes | None = None
    region: str = "us-east-1"
    availability_zone: str = ""
    instance_type: str = "t3.small"
    local_ipv4: str = ""
    life_cycle: str = "on-demand"
    account_id: str = "123456789012"
    launched: str = "2024-01-01T00:00:00Z"
    spot_action: tuple[str, str] | None = None
    rebalance: str | None = None
    lifecycle_state: str | None = None
    tokens_required: bool = True
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def zone(self) -> str:
        return self.availability_zone or f"{self.region}a"

    @property
    def local_hostname(self) -> str:
        domain = "ec2.internal" if self.region == "us-east-1" else f"{self.region}.compute.internal"
        return f"ip-{self.local_ipv4.replace('.', '-')}.{domain}"


@dataclass(frozen=True)
class Request:
    """`headers` with names in lower case; `source` is the sender's address, which says whose metadata it gets."""

    method: str
    path: str
    headers: Mapping[str, str]
    source: str


@dataclass(frozen=True)
class Response:
    """`delay` in seconds comes before it; a response with `hang` is none: the connection closes after the delay."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain"
    headers: tuple[tuple[str, str], ...] = ()
    delay: float = 0.0
    hang: bool = False

    @property
    def reason(self) -> str:
        return _REASONS[self.status]


def failure(status: int, *headers: tuple[str, str]) -> Response:
    title = f"{status} - {_REASONS[status]}"
    body = (
        '<?xml version="1.0" encoding="iso-8859-1"?>\n'
        '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN"\n'
        '\t"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">\n'
        '<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">\n'
        f" <head>\n  <title>{title}</title>\n </head>\n <body>\n  <h1>{title}</h1>\n </body>\n</html>\n"
    )
    return Response(status, body.encode(), "text/html", headers)


def leaves(instance: InstanceMetadata) -> dict[str, str]:
    """Every path below meta-data/ that holds a value, and the value."""
    found = {
        "ami-id": instance.image_id,
        "ami-launch-index": "0",
        "hostname": instance.local_hostname,
        "instance-action": "none",
        "instance-id": instance.instance_id,
        "instance-life-cycle": instance.life_cycle,
        "instance-type": instance.instance_type,
        "local-hostname": instance.local_hostname,
        "local-ipv4": instance.local_ipv4,
        "placement/availability-zone": instance.zone,
        "placement/region": instance.region,
        "services/domain": "amazonaws.com",
        "services/partition": "aws",
    }
    if instance.spot_action is not None:
        action, time = instance.spot_action
        found["spot/instance-action"] = json.dumps({"action": action, "time": time})
        if action == "terminate":
            found["spot/termination-time"] = time
    if instance.rebalance is not None:
        found["events/recommendations/rebalance"] = json.dumps({"noticeTime": instance.rebalance})
    if instance.lifecycle_state is not None:
        found["autoscaling/target-lifecycle-state"] = instance.lifecycle_state
    found.update({f"tags/instance/{key}": value for key, value in (instance.tags or {}).items()})
    return {**found, **instance.extra}


def identity_document(instance: InstanceMetadata) -> str:
    return json.dumps(
        {
            "accountId": instance.account_id,
            "architecture": "x86_64",
            "availabilityZone": instance.zone,
            "billingProducts": None,
            "devpayProductCodes": None,
            "marketplaceProductCodes": None,
            "imageId": instance.image_id,
            "instanceId": instance.instance_id,
            "instanceType": instance.instance_type,
            "kernelId": None,
            "pendingTime": instance.launched,
            "privateIp": instance.local_ipv4,
            "ramdiskId": None,
            "region": instance.region,
            "version": "2017-09-30",
        },
        indent=2,
    )


def find(path: str, instance: InstanceMetadata) -> Response:
    """The answer to an authorised GET: a value, or the list of what is below a directory, a name a line."""
    version, _, rest = path.strip("/").partition("/")
    if not version:
        return Response(200, "\n".join(_VERSIONS).encode())
    if version not in _VERSIONS:
        return failure(404)
    if rest == "user-data":
        data = instance.user_data
        return failure(404) if data is None else Response(200, data, "application/octet-stream")
    tree = {f"meta-data/{name}": value for name, value in leaves(instance).items()}
    tree["dynamic/instance-identity/document"] = identity_document(instance)
    if instance.user_data is not None:
        tree["user-data"] = ""
    if rest in tree:
        return Response(200, tree[rest].encode())
    names = _children(rest, tree)
    if rest == "meta-data" and instance.tags is not None:
        names.add("tags/")  # there although no tag is: how a client tells "off" from "none"
    if rest == "meta-data/tags" and instance.tags is not None:
        names.add("instance/")
    return Response(200, "\n".join(sorted(names)).encode()) if names else failure(404)


def _children(directory: str, tree: Mapping[str, str]) -> set[str]:
    prefix = f"{directory}/" if directory else ""
    below = [name[len(prefix) :].partition("/") for name in tree if name.startswith(prefix)]
    # The directories of a version itself are listed without a slash, all others with one.
    names = {head + (slash if directory else "") for head, slash, _ in below}
    return {name for name in names if f"{name}/" not in names}


@dataclass
class _Known:
    """What the service keeps about one address."""

    instance: InstanceMetadata | None
    faults: Faults
    since: float
    first: float | None = None
    log: list[tuple[str, str, int]] = field(default_factory=list)

    def elapsed(self, now: float) -> float:
        if self.faults.since == "start":
            return now - self.since
        if self.first is None:
            self.first = now
        return now - self.first


class MetadataService:
    """The metadata of a site's machines, by address; values and faults may change at any time, from any thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}
        self._tokens: dict[str, tuple[str, float]] = {}

    def set(self, address: str, instance: InstanceMetadata | None) -> None:
        """From now on the instance at `address` is told this; None: the service is turned off for it."""
        filled = replace(instance, local_ipv4=instance.local_ipv4 or address) if instance else None
        with self._lock:
            known = self._known.setdefault(address, _Known(None, Faults(), self._clock()))
            known.instance = filled

    def set_faults(self, address: str, faults: Faults) -> None:
        """From now on; their time begins anew. `refused` is not ours: a site refuses (`Site.set_faults`)."""
        with self._lock:
            known = self._known.setdefault(address, _Known(None, Faults(), self._clock()))
            known.faults, known.since, known.first = faults, self._clock(), None

    def forget(self, address: str) -> None:
        with self._lock:
            self._known.pop(address, None)
            self._tokens = {token: bound for token, bound in self._tokens.items() if bound[0] != address}

    def requests(self, address: str) -> list[tuple[str, str, int]]:
        """Method, path and status of every request answered to `address`, oldest first (0: not answered)."""
        with self._lock:
            return list(self._known[address].log) if address in self._known else []

    def answer(self, request: Request) -> Response:
        with self._lock:
            known = self._known.get(request.source)
            if known is None:
                return failure(403)
            response = self._faulty(request, known)
            known.log.append((request.method, request.path, 0 if response.hang else response.status))
            return response

    def _faulty(self, request: Request, known: _Known) -> Response:
        faults, elapsed = known.faults, known.elapsed(self._clock())
        match faults.stage(elapsed):
            case "hang":
                return Response(200, hang=True, delay=faults.hang - elapsed)
            case "unavailable":
                after = () if faults.retry_after is None else (("Retry-After", str(faults.retry_after)),)
                return replace(failure(503, *after), delay=faults.slow)
            case "unauthorized" if request.method != "PUT" and not faults.disabled:
                return replace(failure(401), delay=faults.slow)
            case _:
                return replace(self._plain(request, known, elapsed), delay=faults.slow)

    def _plain(self, request: Request, known: _Known, elapsed: float) -> Response:
        if known.instance is None or known.faults.disabled:
            return failure(403)
        path = unquote(request.path.partition("?")[0])
        if path.endswith("/api/token"):
            return self._issue(request) if request.method == "PUT" else failure(405, ("Allow", "OPTIONS, PUT"))
        if request.method not in ("GET", "HEAD"):
            return failure(405, ("Allow", "OPTIONS, GET, HEAD"))
        token = request.headers.get(TOKEN_HEADER)
        left = self._left(token or "", request.source)
        if left is None and (token is not None or known.instance.tokens_required):
            return failure(401)
        instance, faults = known.instance, known.faults
        if instance.tags and faults.tags_hidden(elapsed):
            instance = replace(instance, tags={})
        if faults.wrong:
            instance = replace(instance, extra={**instance.extra, **faults.wrong})
        below = path.strip("/").partition("/")[2].removeprefix("meta-data/")
        broken = path.rpartition("/tags/instance/")[2] in faults.broken_tags or faults.hides(below)
        response = failure(404) if broken else find(path, instance)
        if left is None:
            return response
        return replace(response, headers=(*response.headers, ("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", str(left))))

    def _issue(self, request: Request) -> Response:
        if "x-forwarded-for" in request.headers:
            return failure(403)  # a proxy that was tricked into passing it on
        wanted = request.headers.get(TTL_HEADER, "")
        if not re.fullmatch("[0-9]{1,9}", wanted) or not 1 <= int(wanted) <= _LONGEST_TTL:
            return failure(400)
        token = base64.urlsafe_b64encode(secrets.token_bytes(40)).decode()
        self._tokens[token] = (request.source, self._clock() + int(wanted))
        return Response(200, token.encode(), headers=(("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", wanted),))

    def _left(self, token: str, source: str) -> int | None:
        """Seconds for which the token still holds; None when it is unknown, over, or another instance's."""
        bound, ends = self._tokens.get(token, ("", 0.0))
        left = ends - self._clock()
        return int(left) if bound == source and left > 0 else None
