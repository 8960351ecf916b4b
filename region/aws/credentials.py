"""The credentials of a machine: what its metadata says of its instance profile, and the session behind it.

"Retrieve security credentials from instance metadata" (EC2 User Guide) has the form: they come with an expiry, and new
ones are there before the old ones end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from moto.iam.models import InstanceProfile, Role, iam_backends

from region.aws import sts
from region.aws.sts import Session
from region.aws.world import World

LIFETIME = 6 * 3600.0  # seconds that an instance's credentials hold
RENEWED_BEFORE = 3600.0  # seconds before their end from which on new ones are given out


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
    backend = sts.of(role.account_id)
    own = [one for one in backend.sessions.values() if (one.session_name, one.role_arn) == (instance_id, role.arn)]
    latest = max(own, key=lambda one: one.expires, default=None)
    if latest is not None and latest.expires - now >= RENEWED_BEFORE:
        return latest
    return backend.open(role.arn, instance_id, LIFETIME)


def timestamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
