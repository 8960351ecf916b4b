"""Who calls the API, and whether they may.

A key that the region did not give out is the account's administrator, whoever has it: the region is one person's, and
its address is on this host alone. A key that it gave out belongs to the session of a role, and may what the role may.
Signatures are not checked: a key's id is as good as its secret here.
"""

from __future__ import annotations

from dataclasses import dataclass

from moto.iam.models import iam_backends

from region.aws import credentials
from region.aws.credentials import Session
from region.aws.protocol import Call, Failure
from region.aws.world import World

_UNSIGNED = frozenset({"AssumeRoleWithWebIdentity", "AssumeRoleWithSAML"})


@dataclass(frozen=True)
class Caller:
    """`name` is for the log; `names` are all that faults may know the caller by; `session` None: all is allowed."""

    name: str
    arn: str
    names: frozenset[str]
    session: Session | None = None


class Identity:
    """Reads what moto's IAM and STS hold, each time anew; to be asked under the world's lock."""

    def __init__(self, world: World) -> None:
        self._world = world

    def close(self) -> None:
        """Nothing was started."""

    def caller(self, call: Call) -> Caller | Failure:
        """Who it is, by access key and token."""
        if not call.access_key and call.action not in _UNSIGNED:
            return Failure("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
        session = credentials.session_of(call.access_key)
        if session is None:
            return self._holder(call.access_key)
        if call.token != session.session_token:
            return _invalid(call)
        if self._world.clock() >= session.expires:
            return _expired(call)
        names = frozenset({session.session_name, session.role_name, session.role_arn, session.arn})
        return Caller(f"{session.role_name}/{session.session_name}", session.arn, names, session)

    def _holder(self, access_key: str) -> Caller:
        account = self._world.settings.account
        user = iam_backends[account]["aws"].get_user_from_access_key_id(access_key) if access_key else None
        if user is None:
            arn = credentials.admin_arn(account)
            return Caller("admin", arn, frozenset({"admin", arn}))
        return Caller(user.name, user.arn, frozenset({user.name, user.arn}))

    def refusal(self, call: Call, caller: Caller) -> Failure | None:
        """What the caller is told when they may not; None when they may."""
        return None


def install(world: World) -> Identity:
    credentials.install(world)
    return Identity(world)


def _invalid(call: Call) -> Failure:
    """As "Common Errors" of each API reference has it, and "Error codes for the Amazon EC2 API"."""
    message = "The security token included in the request is invalid."
    match call.protocol:
        case "ec2":
            return Failure("AuthFailure", "AWS was not able to validate the provided access credentials", 401)
        case "json" | "cbor" | "rest-json":
            return Failure("UnrecognizedClientException", message)
        case _ if call.service == "s3":
            return Failure("InvalidToken", "The provided token is malformed or otherwise invalid.")
        case _:
            return Failure("InvalidClientTokenId", message, 403)


def _expired(call: Call) -> Failure:
    message = "The security token included in the request is expired"
    match call.protocol:
        case "ec2":
            return Failure("RequestExpired", "Request has expired.")
        case "json" | "cbor" | "rest-json":
            return Failure("ExpiredTokenException", message)
        case _ if call.service == "s3":
            return Failure("ExpiredToken", "The provided token has expired.")
        case _:
            return Failure("ExpiredToken", message, 403)
