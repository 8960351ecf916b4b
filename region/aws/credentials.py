"""Temporary credentials: the sessions that the region gave out, and what an instance's metadata says of its role.

"Temporary security credentials in IAM" is the page for sessions, "Retrieve security credentials from instance metadata"
(EC2 User Guide) for the form: they come with an expiry, and new ones are there before the old ones end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import ClassVar, cast

from moto.iam.models import AccessKey, InstanceProfile, Role, iam_backends
from moto.sts.models import AssumedRole, STSBackend, sts_backends

from region.aws.world import World

LIFETIME = 6 * 3600.0  # seconds that an instance's credentials hold
RENEWED_BEFORE = 3600.0  # seconds before their end from which on new ones are given out


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
        if access_key_id in self.sessions or _user_of(self, access_key_id):
            return super().get_caller_identity(access_key_id, region)
        return admin_id(self.account_id), admin_arn(self.account_id), self.account_id


def _user_of(sts: Sts, access_key_id: str) -> object:
    return iam_backends[sts.account_id][sts.partition].get_user_from_access_key_id(access_key_id)


def admin_arn(account: str) -> str:
    """Whom a key belongs to that the region did not give out."""
    return f"arn:aws:iam::{account}:user/admin"


def admin_id(account: str) -> str:
    return f"AIDA{account}ADMIN"


def install(world: World) -> None:
    """From now on the sessions of moto's STS are these."""
    Sts.world = world
    sts_backends.backend = Sts
    sts_backends.clear()


def sts(account: str) -> Sts:
    return cast(Sts, sts_backends[account]["aws"])


def session_of(access_key: str) -> Session | None:
    """The session that this key was given out for, in whatever account."""
    for account in list(sts_backends):
        backend = sts_backends[account]["aws"]
        if isinstance(backend, Sts) and access_key in backend.sessions:
            return backend.sessions[access_key]
    return None


def instance_paths(world: World, instance_id: str, profile_arn: str) -> Mapping[str, str]:
    """What the metadata says of an instance's profile, by path below meta-data/.

    Keys of the profile's role, known to the API; asked again it gives the same ones, and new ones when less than an
    hour of theirs is left. A profile that is gone or has no role is told as EC2 tells it, without keys.
    """
    with world.lock:
        now = world.clock()
        profile, role = _profile(profile_arn)
        if profile is None or role is None:
            gone = {"Code": "InstanceProfileNotFound", "Message": f"Instance Profile {profile_arn} cannot be found."}
            return {"iam/info": json.dumps({**gone, "LastUpdated": timestamp(now)}, indent=2)}
        session = _current(world, instance_id, role, now)
    info = {
        "Code": "Success",
        "LastUpdated": timestamp(session.issued),
        "InstanceProfileArn": profile.arn,
        "InstanceProfileId": profile.id,
    }
    keys = {
        "Code": "Success",
        "LastUpdated": timestamp(session.issued),
        "Type": "AWS-HMAC",
        "AccessKeyId": session.access_key_id,
        "SecretAccessKey": session.secret_access_key,
        "Token": session.session_token,
        "Expiration": timestamp(session.expires),
    }
    return {
        "iam/info": json.dumps(info, indent=2),
        f"iam/security-credentials/{role.name}": json.dumps(keys, indent=2),
    }


def _profile(arn: str) -> tuple[InstanceProfile | None, Role | None]:
    account = arn.split(":")[4] if arn.count(":") >= 5 else ""
    profiles = iam_backends[account]["aws"].instance_profiles.values() if account else []
    profile = next((profile for profile in profiles if profile.arn == arn), None)
    return profile, profile.roles[0] if profile is not None and profile.roles else None


def _current(world: World, instance_id: str, role: Role, now: float) -> Session:
    """The session of this instance that holds longest; a new one when none holds long enough."""
    backend = sts(role.account_id)
    own = [one for one in backend.sessions.values() if (one.session_name, one.role_arn) == (instance_id, role.arn)]
    latest = max(own, key=lambda one: one.expires, default=None)
    if latest is not None and latest.expires - now >= RENEWED_BEFORE:
        return latest
    return backend.open(role.arn, instance_id, LIFETIME)


def timestamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
