"""What the calls about a group's instances do: standby, detach, attach, terminate, health, protection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from region.aws.autoscaling_errors import ScalingActivityInProgress, ValidationError
from region.aws.autoscaling_group import TAG, Record
from region.scaling.activities import Activity, moment
from region.scaling.words import COMING, COUNTED, GOING, Fault, Member, Process, State

if TYPE_CHECKING:
    from region.aws.autoscaling_backend import AutoScaling


class Members:
    """Those calls, of one backend. All check every instance first: what is refused has changed nothing."""

    def __init__(self, backend: AutoScaling) -> None:
        self._backend = backend
        self._hands = backend.hands

    # --- standby: "Temporarily remove instances from your Auto Scaling group" --------------------------------------

    def enter_standby(self, group: Record, ids: Sequence[str], *, decrement: bool) -> list[Activity]:
        members = self._members(group, ids, (State.IN_SERVICE,), "InService")
        self._shrink(group, len(members) if decrement else 0, "To place into standby {}")
        return [
            self._leave(
                group,
                member,
                State.ENTERING_STANDBY,
                decrement,
                "Standby",
                "Moving EC2 instance to Standby: ",
                "was moved to standby",
            )
            for member in members
        ]

    def exit_standby(self, group: Record, ids: Sequence[str]) -> list[Activity]:
        """They come back without launch hooks: those are for launches."""
        self._may_grow(group)
        members = self._members(group, ids, (State.STANDBY,), "Standby")
        self._grow(group, len(members), "To move out of standby {}")
        found = []
        for member in members:
            how = self._resize(group, +1, f"instance {member.instance_id} was moved out of standby")
            description = f"Moving EC2 instance out of Standby: {member.instance_id}"
            found.append(self._enter(group, replace(member, state=State.PENDING, hooked=False), description, how))
        return found

    # --- attach and detach -----------------------------------------------------------------------------------------

    def attach(self, group: Record, ids: Sequence[str]) -> None:
        """As in "Attach instances": running, in a zone of the group's, and of no group."""
        self._may_grow(group)
        new = []
        for instance_id in ids:
            instance = self._hands.instance(instance_id)
            if instance is None or instance.state != "running":
                raise ValidationError(f"Invalid Instance ID(s): [{instance_id}]. Instance is not in running state.")
            if self._backend.group_of(instance_id) is not None:
                raise ValidationError(f"Instance {instance_id} is already part of an Auto Scaling group.")
            if instance.placement.zone not in group.zones:
                raise ValidationError(
                    f"Instance {instance_id} is in availability zone {instance.placement.zone}, which is not one of "
                    f"AutoScalingGroup {group.name}."
                )
            new.append(instance)
        self._grow(group, len(new), "To attach {} more")
        for instance in new:
            member = Member(
                instance.id,
                str(instance.placement.zone),
                launched=self._backend.now,
                instance_type=instance.instance_type,
                spot=instance.is_spot,
                hooked=False,
                protected=group.protect_new,
            )
            self._backend.ec2_backend.create_tags([instance.id], {TAG: group.name})
            how = self._resize(group, +1, f"instance {instance.id} was attached")
            self._enter(group, member, f"Attaching an existing EC2 instance: {instance.id}", how)

    def detach(self, group: Record, ids: Sequence[str], *, decrement: bool) -> list[Activity]:
        """Standby counts for nothing, so it takes nothing from the desired capacity."""
        members = self._members(group, ids, (State.IN_SERVICE, State.STANDBY), "InService or Standby")
        serving = sum(member.state is State.IN_SERVICE for member in members)
        self._shrink(group, serving if decrement else 0, "To detach {}")
        return [
            self._leave(
                group,
                member,
                State.DETACHING,
                decrement and member.state is State.IN_SERVICE,
                "Detached",
                "Detaching EC2 instance: ",
                "was detached",
            )
            for member in members
        ]

    # --- one instance ----------------------------------------------------------------------------------------------

    def terminate(self, instance_id: str, *, decrement: bool) -> Activity:
        group, member = self._owned(instance_id)
        if member.state in GOING or member.state is State.DETACHING:
            if running := self._hands.activities.get(group.running.get(instance_id)):
                return running
            raise ValidationError(f"Instance {instance_id} is leaving AutoScalingGroup {group.name} already.")
        # "Suspend-resume processes": Terminate keeps what is in service.
        if Process.TERMINATE in group.suspended and member.state not in COMING:
            raise ScalingActivityInProgress(f"The Terminate process of AutoScalingGroup {group.name} is suspended.")
        shrinks = decrement and member.state in COUNTED
        if shrinks and group.desired - 1 < group.minimum:
            raise ValidationError(
                f"Currently, desiredSize equals minSize ({group.minimum}). Terminating instance without replacement "
                "will violate group's min size constraint. Either set shouldDecrementDesiredCapacity flag to false or "
                "lower group's min size."
            )
        cause = self._resize(group, -1 if shrinks else 0, f"instance {instance_id} was taken out of service")
        failure = "the instance was terminated by a user" if member.state in COMING else ""
        return self._hands.retire(group, instance_id, cause, self._backend.now, failure=failure)

    def set_health(self, instance_id: str, status: str, *, respect_grace: bool) -> None:
        """Of "SetInstanceHealth": Unhealthy within the grace period has no effect if it is to be respected."""
        group, member = self._owned(instance_id)
        if status not in ("Healthy", "Unhealthy"):
            raise ValidationError("Valid instance health states are: [Healthy, Unhealthy].")
        begun = member.in_service
        if status == "Healthy":
            group.members[instance_id] = replace(member, fault=None)
        elif not respect_grace or (begun is not None and self._backend.now >= begun + group.grace):
            group.members[instance_id] = replace(member, fault=Fault.TOLD)

    def protect(self, group: Record, ids: Sequence[str], *, protected: bool) -> None:
        states = (*COUNTED, State.ENTERING_STANDBY, State.STANDBY)
        for member in self._members(group, ids, states, "InService or EnteringStandby or Standby"):
            group.members[member.instance_id] = replace(member, protected=protected)

    # --- what they share -------------------------------------------------------------------------------------------

    def _owned(self, instance_id: str) -> tuple[Record, Member]:
        group = self._backend.group_of(instance_id)
        if group is None:
            raise ValidationError(f"Instance Id not found - No managed instance found for instance ID: {instance_id}")
        return group, group.members[instance_id]

    def _members(self, group: Record, ids: Sequence[str], states: Sequence[State], told: str) -> list[Member]:
        for instance_id in ids:
            if instance_id not in group.members:
                raise ValidationError(f"The instance {instance_id} is not part of Auto Scaling group {group.name}.")
            if group.members[instance_id].state not in states:
                raise ValidationError(f"The instance {instance_id} is not in {told}.")
        return [group.members[instance_id] for instance_id in dict.fromkeys(ids)]

    @staticmethod
    def _may_grow(group: Record) -> None:
        """By "Suspend-resume processes": without Launch nothing is attached, and nothing comes back from standby."""
        if Process.LAUNCH in group.suspended:
            raise ValidationError(f"The Launch process of AutoScalingGroup {group.name} is suspended: resume it first.")

    @staticmethod
    def _shrink(group: Record, number: int, what: str) -> None:
        if group.desired - number < group.minimum:
            _refuse(group, number, what)

    @staticmethod
    def _grow(group: Record, number: int, what: str) -> None:
        if group.desired + number > group.maximum:
            _refuse(group, number, what)

    def _resize(self, group: Record, change: int, how: str) -> str:
        """Changes the desired capacity, and says the whole as an activity's cause does."""
        before, group.desired = group.desired, group.desired + change
        by = f", {'shrinking' if change < 0 else 'increasing'} the capacity from {before} to {group.desired}"
        return f"At {moment(self._backend.now)} {how} in response to a user request{by if change else ''}."

    def _leave(
        self, group: Record, member: Member, state: State, decrement: bool, aim: str, description: str, how: str
    ) -> Activity:
        cause = self._resize(group, -1 if decrement else 0, f"instance {member.instance_id} {how}")
        member = replace(member, state=state, in_service=None)
        group.members[member.instance_id] = member
        self._hands.aim([member], aim)
        now = self._backend.now
        return self._hands.begin(group, member, f"{description}{member.instance_id}", cause, now, "InProgress", 50)

    def _enter(self, group: Record, member: Member, description: str, cause: str) -> Activity:
        group.members[member.instance_id] = member
        self._hands.aim([member], "InService")
        return self._hands.begin(group, member, description, cause, self._backend.now, "PreInService", 30)


def _refuse(group: Record, number: int, what: str) -> None:
    instances = f"{number} instance{'s' if number > 1 else ''}"
    raise ValidationError(
        f"{group.sizes()} {what.format(instances)}, please update the AutoScalingGroup sizes appropriately."
    )
