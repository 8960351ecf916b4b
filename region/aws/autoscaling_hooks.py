"""Lifecycle hooks and the actions that they make members wait for ("Amazon EC2 Auto Scaling lifecycle hooks")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from region.aws.autoscaling_errors import ValidationError
from region.aws.autoscaling_group import Record
from region.scaling.words import Hook, Member, Result, State, Transition, Wait

_MOST_HOOKS = 50
"""A group's, by "Quotas for Auto Scaling resources and groups"."""
_WAITING = {State.PENDING_WAIT: Transition.LAUNCHING, State.TERMINATING_WAIT: Transition.TERMINATING}

Words = Mapping[str, Any]


def hook_of(asked: Words, before: Hook | None = None) -> Hook:
    """The hook asked for; what is not said stays as it was. Raises ValidationError."""
    words = {
        "transition": asked.get("LifecycleTransition"),
        "heartbeat": asked.get("HeartbeatTimeout"),
        "default": asked.get("DefaultResult"),
        "role": asked.get("RoleARN"),
        "target": asked.get("NotificationTargetARN"),
        "metadata": asked.get("NotificationMetadata"),
    }
    said = {name: value for name, value in words.items() if value is not None}
    if before is None and "transition" not in said:
        raise ValidationError("You must specify a LifecycleTransition for a new lifecycle hook.")
    try:
        if "transition" in said:
            said["transition"] = Transition(said["transition"])
        if "default" in said:
            said["default"] = Result(said["default"])
    except ValueError as error:
        raise ValidationError(f"A lifecycle hook's transition or default result is not valid: {error}") from error
    if not 30 <= said.get("heartbeat", 30) <= 7200:
        raise ValidationError("HeartbeatTimeout must be between 30 and 7200 seconds.")
    return replace(before, **said) if before else Hook(asked["LifecycleHookName"], **said)


def put(group: Record, asked: Words) -> None:
    """A new hook, or a changed one; it holds members that come to it from now on."""
    name = asked["LifecycleHookName"]
    if name not in group.hooks and len(group.hooks) >= _MOST_HOOKS:
        raise ValidationError(f"A group has at most {_MOST_HOOKS} lifecycle hooks.")
    group.hooks[name] = hook_of(asked, group.hooks.get(name))


def delete(group: Record, name: str, now: float) -> None:
    """API Reference, "DeleteLifecycleHook".

    "If there are any outstanding lifecycle actions, they are completed first (ABANDON for launching instances, CONTINUE
    for terminating instances)."
    """
    if name not in group.hooks:
        raise ValidationError(f"No Lifecycle Hook found with name {name} for AutoScalingGroup {group.name}")
    for member in group.members.values():
        launching = _WAITING.get(member.state) is Transition.LAUNCHING
        for wait in _active(member, now):
            if wait.hook == name:
                _set(group, member, wait, result=Result.ABANDON if launching else Result.CONTINUE)
                break
    del group.hooks[name]


def complete(group: Record, asked: Words, now: float) -> None:
    """CompleteLifecycleAction. Raises ValidationError when there is no such action, or it timed out."""
    try:
        result = Result(asked["LifecycleActionResult"])
    except ValueError as error:
        raise ValidationError("LifecycleActionResult must be CONTINUE or ABANDON.") from error
    member, wait = _find(group, asked, now)
    _set(group, member, wait, result=result)


def heartbeat(group: Record, asked: Words, now: float) -> None:
    """RecordLifecycleActionHeartbeat: the time-out begins anew, up to the hook's limit."""
    member, wait = _find(group, asked, now)
    _set(group, member, wait, deadline=min(now + wait.heartbeat, wait.end))


def _active(member: Member, now: float) -> list[Wait]:
    return [wait for wait in member.waits if member.state in _WAITING and wait.outcome(now) is None]


def _find(group: Record, asked: Words, now: float) -> tuple[Member, Wait]:
    token, instance_id = asked.get("LifecycleActionToken"), asked.get("InstanceId")
    if not token and not instance_id:
        raise ValidationError("Either LifecycleActionToken or InstanceId must be specified.")
    for member in group.members.values():
        for wait in _active(member, now):
            if wait.hook == asked["LifecycleHookName"] and (
                wait.token == token if token else member.instance_id == instance_id
            ):
                return member, wait
    what = f"token {token}" if token else f"instance ID {instance_id}"
    raise ValidationError(f"No active Lifecycle Action found with {what}")


def _set(group: Record, member: Member, wait: Wait, **changes: Any) -> None:
    waits = tuple(replace(each, **changes) if each is wait else each for each in member.waits)
    group.members[member.instance_id] = replace(member, waits=waits)
