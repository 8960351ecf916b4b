"""Who calls the API, and whether they may.

A key that the region did not give out is the account's administrator, whoever has it: the region is one person's, and
its address is on this host alone. An IAM user's key is known as the user's, and may all too. A key of a role's session
may what the role may. Signatures are not checked: a key's id and its token are as good as its secret here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from moto.iam.models import iam_backends

from region.aws import actions, iam, resources, sts
from region.aws.actions import Demand
from region.aws.policy import Context, Policies, Request, trusts
from region.aws.protocol import Call, Failure
from region.aws.sts import Session
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
        session = sts.session_of(call.access_key)
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
            arn = sts.admin_arn(account)
            return Caller("admin", arn, frozenset({"admin", arn}))
        return Caller(user.name, user.arn, frozenset({user.name, user.arn}))

    def refusal(self, call: Call, caller: Caller) -> Failure | None:
        """What the caller is told when they may not; None when they may.

        A role's trust policy is asked for everybody; other policies for the sessions of roles alone.
        """
        assumes = call.service == "sts" and call.action == "AssumeRole"
        if caller.session is None and not assumes:
            return None
        account = caller.session.account_id if caller.session else self._world.settings.account
        place = resources.place(account, call.region)
        for demand in actions.demands(call, place):
            trust = self._trust(demand, caller) if assumes else "asks"
            if trust == "refuses":
                return _denied(
                    call,
                    f"User: {caller.arn} is not authorized to perform: {demand.action} on resource: {demand.resource}",
                )
            if caller.session is None or trust == "allows":
                continue
            request = Request(demand.action, demand.resource, self._context(demand, caller, call))
            refusal = policies_of(caller.session).refusal(request)
            if refusal is not None:
                return _denied(call, refusal.sentence(caller.arn))
        return None

    def _trust(self, demand: Demand, caller: Caller) -> Literal["refuses", "asks", "allows"]:
        """What a role's trust policy says of the caller ("How IAM roles differ from resource-based policies").

        One that names the caller allows by itself; one that names the account leaves it to the caller's own policies.
        Another account's roles are taken to be there, and to trust: the region has no way to be in that account.
        """
        arn = str(demand.resource)
        account = arn.split(":")[4] if arn.count(":") >= 5 else ""
        own = caller.session.account_id if caller.session else self._world.settings.account
        if account != own:
            return "asks"
        role = next((one for one in iam_backends[account]["aws"].roles.values() if one.arn == arn), None)
        if role is None:
            return "refuses"
        request = Request(demand.action, arn, lambda key: demand.keys.get(key))
        document = role.assume_role_policy_document
        if trusts(document, [caller.arn, *([caller.session.role_arn] if caller.session else [])], request):
            return "allows"
        return "asks" if trusts(document, [account, f"arn:aws:iam::{account}:root"], request) else "refuses"

    def _context(self, demand: Demand, caller: Caller, call: Call) -> Context:
        """The condition keys of a request: "AWS global condition context keys", and those of its service."""
        session = caller.session
        assert session is not None
        now = self._world.clock()
        plain: dict[str, str] = {
            "aws:currenttime": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "aws:epochtime": str(int(now)),
            "aws:principalaccount": session.account_id,
            "aws:principalarn": session.role_arn,
            "aws:principaltype": "AssumedRole",
            "aws:requestedregion": call.region,
            "aws:securetransport": "true",  # it stands for a call by HTTPS
            "aws:tokenissuetime": datetime.fromtimestamp(session.issued, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "aws:userid": session.user_id,
            "aws:viaawsservice": "false",
        }
        if session.session_name.startswith("i-"):
            instance = (
                f"arn:aws:ec2:{self._world.settings.aws_region}:{session.account_id}:instance/{session.session_name}"
            )
            plain |= {"ec2:sourceinstancearn": instance}

        def value(key: str) -> Sequence[str] | None:
            if key in plain:
                return [plain[key]]
            kind, _, name = key.partition("/")
            match kind:
                case "aws:principaltag":
                    tags = {**resources.tags_of(session.role_arn), **session.tags}
                case _ if kind.endswith(":resourcetag") and demand.resource not in ("*", None):
                    tags = dict(resources.tags_of(str(demand.resource)))
                case _:
                    return demand.keys.get(key)
            return next(([text] for tag, text in tags.items() if tag.lower() == name), None)

        return value


def policies_of(session: Session) -> Policies:
    """All that has a say about it now: a role's policies count from the moment they are changed."""
    role = session.role
    if role is None:
        return Policies(())
    own = [*role.policies.values(), *(sts.text_of(policy) for policy in role.managed_policies.values())]
    boundary = role.permissions_boundary_arn
    return Policies(
        own,
        boundary=[sts.document(session.account_id, boundary)] if boundary else None,
        session=session.policies or None,
    )


def install(world: World) -> Identity:
    iam.install(world)
    sts.install(world)
    return Identity(world)


def _denied(call: Call, sentence: str) -> Failure:
    """As each protocol's services have it; EC2 says it in its own way ("UnauthorizedOperation")."""
    match call.protocol:
        case "ec2":
            return Failure(
                "UnauthorizedOperation", f"You are not authorized to perform this operation. {sentence}", 403
            )
        case "json" | "cbor" | "rest-json":
            return Failure("AccessDeniedException", sentence, 400 if call.protocol == "json" else 403)
        case _:
            return Failure("AccessDenied", sentence, 403)


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
