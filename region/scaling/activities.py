"""Scaling activities: what a group did, why, and how it ended.

"Verify a scaling activity for an Auto Scaling group" shows them.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

_KEPT = 512
"""How many are remembered in all; AWS remembers six weeks."""


def moment(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Activity:
    """One of `group`, named by its ARN too, since a name can come again. Times in seconds."""

    group: str
    arn: str
    description: str
    cause: str
    started: float
    zone: str = ""
    ended: float | None = None
    status: str = "InProgress"
    message: str = ""
    progress: int = 0
    activity_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def shown(self, *, deleted: bool = False) -> dict[str, object]:
        """As DescribeScalingActivities gives it."""
        found: dict[str, object] = {
            "ActivityId": self.activity_id,
            "AutoScalingGroupName": self.group,
            "AutoScalingGroupARN": self.arn,
            "Description": self.description,
            "Cause": self.cause,
            "StartTime": datetime.fromtimestamp(self.started, UTC),
            "StatusCode": self.status,
            "Progress": self.progress,
            "Details": json.dumps({"Availability Zone": self.zone} if self.zone else {}),
        }
        if self.message:
            found["StatusMessage"] = self.message
        if self.ended is not None:
            found["EndTime"] = datetime.fromtimestamp(self.ended, UTC)
        if deleted:
            found["AutoScalingGroupState"] = "Deleted"
        return found


class Activities:
    """All groups' activities, the newest first."""

    def __init__(self) -> None:
        self._all: dict[str, Activity] = {}

    def __iter__(self) -> Iterator[Activity]:
        return iter(reversed(list(self._all.values())))

    def start(self, activity: Activity) -> Activity:
        self._all[activity.activity_id] = activity
        for old in list(self._all)[:-_KEPT]:
            del self._all[old]
        return activity

    def update(self, activity_id: str | None, status: str, progress: int, now: float, message: str = "") -> None:
        """Successful, Failed and Cancelled end it; an activity that has ended stays as it is."""
        activity = self._all.get(activity_id or "")
        if activity and activity.ended is None:
            ended = now if status in ("Successful", "Failed", "Cancelled") else None
            changes = {"status": status, "progress": progress, "ended": ended, "message": message or activity.message}
            self._all[activity.activity_id] = replace(activity, **changes)  # type: ignore[arg-type]

    def get(self, activity_id: str | None) -> Activity | None:
        return self._all.get(activity_id or "")
