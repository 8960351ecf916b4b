"""The Security Token Service: sessions of roles, each with keys that the API knows until it is down.

moto's, with what "AssumeRole" (STS API reference) has more: it is refused for a role that isn't there or whose trust
policy doesn't name the caller (`region.aws.identity`), its times are the world's, its policies count.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, cast

from moto.core.responses import ActionResult
from moto.iam.models import AccessKey, ManagedPolicy, Role, iam_backends
from moto.sts import urls
from moto.sts.exceptions import STSValidationError
from moto.sts.models import AssumedRole, STSBackend, sts_backends
from moto.sts.responses import TokenResponse

from region.aws.world import World

_CHAINED = 3600  # seconds that a session may last which another session opened


class Session(AssumedRole):
    """One session of a role: an access key with a token, until `expires`. Times are the world's clock's, in seconds.

    `policies` are those that were handed over with AssumeRole: the session may no more than they allow. `tags` are its
    own, above the role's.
    """

    __module__ = "moto.sts.models"  # moto finds the service in it

    def __init__(
        self,
        account: str,
        aws_region: str,
        key: AccessKey,
        role_arn: str,
        name: str,
        issued: float,
        lasts: float,
        policies: tuple[str, ...] = (),
        tags: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(account, aws_region, key, name, role_arn, "", int(lasts), "")
        self.issued, self.expires = issued, issued + lasts
        self.expiration = datetime.fromtimestamp(self.expires, UTC).replace(tzinfo=None)
        self.policies = policies
        self.tags = dict(tags or {})

    @property
    def role_name(self) -> str:
        return self.role_arn.rpartition("/")[2]

    @property
    def role(self) -> Role | None:
        """None once it is deleted: then the session may nothing."""
        roles = iam_backends[self.account_id]["aws"].roles.values()
        return next((role for role in roles if role.arn == self.role_arn), None)


class Sts(STSBackend):
    """Knows each session by its key, for as long as the region is up: an expired one is told so, not taken for new."""

    __module__ = "moto.sts.models"
    world: ClassVar[World]
    """That of the latest install."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.sessions: dict[str, Session] = {}

    def open(
        self,
        role_arn: str,
        name: str,
        lasts: float,
        *,
        policies: tuple[str, ...] = (),
        tags: Mapping[str, str] | None = None,
    ) -> Session:
        """A new session of a role of this account, whether or not the role exists."""
        key = iam_backends[self.account_id][self.partition].create_temp_access_key()
        key.role_arn = role_arn
        now = self.world.clock()
        aws_region = self.world.settings.aws_region
        session = Session(self.account_id, aws_region, key, role_arn, name, now, lasts, policies, tags)
        self.sessions[session.access_key_id] = session
        return session

    def get_assumed_role_from_access_key(self, access_key_id: str) -> AssumedRole | None:
        return self.sessions.get(access_key_id)

    def get_caller_identity(self, access_key_id: str, region: str) -> tuple[str, str, str]:
        iam = iam_backends[self.account_id][self.partition]
        if access_key_id in self.sessions or iam.get_user_from_access_key_id(access_key_id):
            return super().get_caller_identity(access_key_id, region)
        return f"AIDA{self.account_id}ADMIN", admin_arn(self.account_id), self.account_id


class RegionToken(TokenResponse):
    def assume_role(self) -> ActionResult:
        """Raises STSValidationError for what the caller may not ask of the role."""
        said: dict[str, Any] = self._get_params()
        role_arn, name = str(said["RoleArn"]), str(said["RoleSessionName"])
        lasts = int(said.get("DurationSeconds") or 3600)
        account = role_arn.split(":")[4] if role_arn.count(":") >= 5 else self.current_account
        role = next((one for one in iam_backends[account]["aws"].roles.values() if one.arn == role_arn), None)
        longest = int(role.max_session_duration or 3600) if role else 43200
        if not 900 <= lasts <= longest:
            raise STSValidationError("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
        if lasts > _CHAINED and session_of(self.get_access_key()):
            raise STSValidationError(
                "The requested DurationSeconds exceeds the 1 hour session limit for role chaining."
            )
        arns = [str(one["arn"]) for one in said.get("PolicyArns") or []]
        policies = [document(account, arn) for arn in arns] + ([str(said["Policy"])] if said.get("Policy") else [])
        tags = {str(one["Key"]): str(one["Value"]) for one in said.get("Tags") or []}
        session = of(account).open(role_arn, name, lasts, policies=tuple(policies), tags=tags)
        assumed = {"AssumedRoleId": session.user_id, "Arn": session.arn}
        return ActionResult({"Credentials": session, "AssumedRoleUser": assumed, "PackedPolicySize": 6})


def admin_arn(account: str) -> str:
    """Whom a key belongs to that the region did not give out."""
    return f"arn:aws:iam::{account}:user/admin"


def install(world: World) -> None:
    """From now on the sessions of moto's STS are these."""
    Sts.world = world
    sts_backends.backend = Sts
    sts_backends.clear()
    urls.url_paths = dict.fromkeys(urls.url_paths, RegionToken.dispatch)


def of(account: str) -> Sts:
    return cast(Sts, sts_backends[account]["aws"])


def session_of(access_key: str) -> Session | None:
    """The session that this key was given out for, in whatever account."""
    for account in list(sts_backends):
        session = of(account).sessions.get(access_key)
        if session is not None:
            return session
    return None


def document(account: str, arn: str) -> str:
    """A managed policy's text, in the version that holds; one that isn't there allows nothing."""
    policy: ManagedPolicy | None = iam_backends[account]["aws"].managed_policies.get(arn)
    return text_of(policy) if policy else "{}"


def text_of(policy: ManagedPolicy) -> str:
    return next((version.document for version in policy.versions if version.is_default), "{}")
