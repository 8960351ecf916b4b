"""Carries out what a group's plan wants: launches and terminates by EC2, registers by Elastic Load Balancing.

Every step changes the group's record and its activities, so that both tell what is so.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, assert_never, cast

from moto.core.exceptions import ServiceException

from region.aws.autoscaling_group import TAG, Record
from region.aws.instances import Instance
from region.scaling.activities import Activities, Activity, moment
from region.scaling.words import (
    LEAVING,
    Condemn,
    Deregister,
    End,
    Forget,
    Hold,
    Launch,
    Member,
    Move,
    Register,
    Retire,
    Seen,
    State,
    Step,
    Vanish,
    Wait,
)

if TYPE_CHECKING:
    from region.aws.autoscaling_backend import AutoScaling

_SLOWEST_RETRY = 60.0


class Hands:
    """What acts for the groups of one backend. Not for threads: the world's lock is held."""

    def __init__(self, backend: AutoScaling) -> None:
        self._backend = backend
        self.activities = Activities()

    # --- looking ---------------------------------------------------------------------------------------------------

    def look(self, group: Record) -> dict[str, Seen]:
        """What is true of the members' instances; one that EC2 knows no more is left out."""
        reservations = self._backend.ec2_backend.reservations.values()
        instances = {each.id: cast(Instance, each) for reservation in reservations for each in reservation.instances}
        return {
            member.instance_id: self._seen(group, member, instances[member.instance_id])
            for member in group.members.values()
            if member.instance_id in instances
        }

    def _seen(self, group: Record, member: Member, instance: Instance) -> Seen:
        """The target groups are asked where their word counts: of who leaves, and of who serves if the group asks."""
        counts = group.elb_health and not member.fault if member.state is State.IN_SERVICE else member.state in LEAVING
        body, asked = instance.body, group.target_groups if counts else ()
        targets = {arn: state for arn in asked if (state := self._backend.target_state(arn, member.instance_id))}
        return Seen(
            instance.state,
            instance.impaired,
            instance.state_reason.message if instance.state_reason else "",
            at_risk=body is not None and (body.rebalance is not None or body.spot_action is not None),
            targets=targets,
        )

    def instance(self, instance_id: str) -> Instance | None:
        return cast("Instance | None", self._backend.ec2_backend.get_instance_by_id(instance_id))

    # --- stepping --------------------------------------------------------------------------------------------------

    def take(self, group: Record, step: Step, now: float) -> None:
        match step:
            case Launch():
                self._launch(group, step, now)
            case Move():
                self._move(group, step, now)
            case Hold():
                self._hold(group, step, now)
            case Register():
                self._register(group, step)
            case Deregister():
                self._deregister(group, step, now)
            case Condemn():
                self._change(group, step.instance_id, fault=step.fault)
            case Retire():
                self._retire(group, step, now)
            case End():
                self._end(group, step)
            case Forget():
                self._forget(group, step.instance_id, now)
            case Vanish():
                self._backend.vanish(group)
            case _:
                assert_never(step)

    def _change(self, group: Record, instance_id: str, **changes: Any) -> Member:
        member = replace(group.members[instance_id], **changes)
        group.members[instance_id] = member
        return member

    def _launch(self, group: Record, step: Launch, now: float) -> None:
        if now < group.retry_at:
            return  # an earlier launch of this look failed
        grown = f"increasing the capacity from {step.capacity} to {step.capacity + 1}"
        at = moment(now)
        cause = f"{group.why}  At {at} an instance was started in response to a difference between desired and actual "
        cause = f"{cause}capacity, {grown}.".strip()
        if step.extra:
            cause = (
                f"At {at} an instance was launched to balance instances in zone {step.zone} with other zones, {grown}."
            )
        try:
            member = self._run(group, step, self._subnet(group, step.zone), now)
        except ServiceException as error:
            self.activities.start(
                Activity(
                    group.name,
                    group.arn,
                    "Launching a new EC2 instance.",
                    cause,
                    now,
                    step.zone,
                    ended=now,
                    status="Failed",
                    message=f"{error.message.rstrip('.')}. Launching EC2 instance failed.",
                    progress=100,
                )
            )
            self._log(group, f"does not launch: {error.message}")
            self._failed(group, now)
            return
        group.members[member.instance_id] = member
        self.aim([member], "InService")
        description = f"Launching a new EC2 instance: {member.instance_id}"
        self.begin(group, member, description, cause, now, "PreInService", 30)

    def _run(self, group: Record, step: Launch, subnet: str, now: float) -> Member:
        """Asks EC2 for an instance. Raises ServiceException with EC2's reason."""
        override = (group.mixed or {}).get("LaunchTemplate", {}).get("Overrides") or [{}]
        asked = override[0].get("LaunchTemplateSpecification") or group.template
        template = self._backend.ec2_backend.get_launch_template(asked["LaunchTemplateId"])
        version = template.get_version(asked.get("Version") or "$Default")
        tags = {key: value for key, (value, propagate) in group.tags.items() if propagate}
        instance_type = override[0].get("InstanceType") or version.data.get("InstanceType")
        reservation = self._backend.ec2_backend.run_instances(
            version.image_id,
            1,
            None,
            [],
            instance_type=instance_type or "m1.small",
            is_instance_type_default=not instance_type,
            tags={"instance": {**tags, TAG: group.name}},
            placement=step.zone,
            region_name=self._backend.region_name,
            subnet_id=subnet,
            launch_template={"LaunchTemplateId": template.id, "Version": str(version.number)},
            instance_market_options={"MarketType": "spot"} if step.spot else {},
        )
        instance: Any = reservation.instances[0]
        return Member(
            instance.id,
            step.zone,
            launched=now,
            template=(template.id, version.number),
            instance_type=instance.instance_type,
            spot=instance.is_spot,
            protected=group.protect_new,
            extra=step.extra,
        )

    def _subnet(self, group: Record, zone: str) -> str:
        """Of the zone's subnets the one with the fewest of the group's instances."""
        instances = [self.instance(member) for member in group.members]
        taken = Counter(instance.subnet_id for instance in instances if instance is not None)
        return min((subnet for subnet, of in group.subnets if of == zone), key=lambda subnet: taken[subnet])

    def _failed(self, group: Record, now: float) -> None:
        """The next launch waits a second, and twice as long after each further failure, up to a minute."""
        group.failures += 1
        group.retry_at = now + min(_SLOWEST_RETRY, 2.0 ** (group.failures - 1))

    def _move(self, group: Record, step: Move, now: float) -> None:
        if step.state is State.IN_SERVICE:
            self._change(group, step.instance_id, state=step.state, in_service=now, waits=())
            group.failures, group.retry_at = 0, 0.0
            self._finish(group, step.instance_id, now)
        else:
            self._change(group, step.instance_id, state=step.state)
            if step.state is State.STANDBY:
                self._finish(group, step.instance_id, now)

    def _hold(self, group: Record, step: Hold, now: float) -> None:
        waits = tuple(
            Wait(hook.name, str(uuid.uuid4()), hook.heartbeat, hook.default, now + hook.heartbeat, now + hook.limit)
            for hook in step.hooks
        )
        self._change(group, step.instance_id, state=step.state, waits=waits)
        self.activities.update(group.running.get(step.instance_id), "MidLifecycleAction", 60, now)

    def _register(self, group: Record, step: Register) -> None:
        member = group.members[step.instance_id]
        if not step.skip:
            for arn in sorted(step.targets):
                self._try(group, self._backend.elbv2_backend.register_targets, arn, step.instance_id)
        self._change(group, step.instance_id, targets=member.targets | step.targets)

    def _deregister(self, group: Record, step: Deregister, now: float) -> None:
        for arn in sorted(step.targets):
            self._try(group, self._backend.elbv2_backend.deregister_targets, arn, step.instance_id)
        member = group.members[step.instance_id]
        self._change(group, step.instance_id, targets=member.targets - step.targets)
        if member.state is State.TERMINATING:
            self.activities.update(group.running.get(step.instance_id), "WaitingForELBConnectionDraining", 50, now)

    def _try(self, group: Record, call: Callable[[str, list[Any]], None], arn: str, instance_id: str) -> None:
        """A target group may be deleted since it was attached, or be of another VPC: the group goes on without it."""
        try:
            call(arn, [{"Id": instance_id}])
        except ServiceException as error:
            self._log(group, f"{instance_id} and {arn.rpartition(':')[2]}: {error.message}")

    def _log(self, group: Record, what: str) -> None:
        self._backend.world.log(f"group {group.name}: {what}")

    def _retire(self, group: Record, step: Retire, now: float) -> None:
        if step.failure and not step.cancelled:
            self._failed(group, now)
        cause = f"At {moment(now)} an instance was taken out of service in response to {step.why}."
        self.retire(group, step.instance_id, cause, now, failure=step.failure, cancelled=step.cancelled)

    def retire(
        self, group: Record, instance_id: str, cause: str, now: float, *, failure: str = "", cancelled: bool = True
    ) -> Activity:
        """The member is terminating from now on; what was going on with it has failed, or was cancelled."""
        status = "Cancelled" if cancelled else "Failed"
        if failure:
            self._log(group, f"{instance_id} never came into service: {failure}")
        self.activities.update(group.running.pop(instance_id, None), status, 100, now, failure)
        member = self._change(group, instance_id, state=State.TERMINATING, waits=(), forced=group.deleting)
        self.aim([member], "Terminated")
        return self.begin(group, member, f"Terminating EC2 instance: {instance_id}", cause, now, "InProgress", 0)

    def aim(self, members: Sequence[Member], state: str) -> None:
        """What their metadata tells ("Retrieve the target lifecycle state through instance metadata")."""
        for member in members:
            if (instance := self.instance(member.instance_id)) is not None:
                instance.target_lifecycle_state = state

    def _end(self, group: Record, step: End) -> None:
        # EC2's termination protection is against people: a group terminates all the same.
        if (instance := self.instance(step.instance_id)) is not None:
            instance.disable_api_termination = False
        self._backend.ec2_backend.terminate_instances([step.instance_id])

    def _forget(self, group: Record, instance_id: str, now: float) -> None:
        self._finish(group, instance_id, now)
        member = group.members.pop(instance_id)
        if member.state is State.DETACHING and self.instance(instance_id) is not None:
            self._backend.ec2_backend.delete_tags([instance_id], {TAG: group.name})

    # --- activities ------------------------------------------------------------------------------------------------

    def begin(
        self, group: Record, member: Member, description: str, cause: str, now: float, status: str, progress: int
    ) -> Activity:
        activity = self.activities.start(
            Activity(group.name, group.arn, description, cause, now, member.zone, status=status, progress=progress)
        )
        group.running[member.instance_id] = activity.activity_id
        self._log(group, f"{description} ({cause.rpartition('Z ')[2].rstrip('.')})")
        return activity

    def _finish(self, group: Record, instance_id: str, now: float) -> None:
        self.activities.update(group.running.pop(instance_id, None), "Successful", 100, now)
