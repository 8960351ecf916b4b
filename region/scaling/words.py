"""Auto Scaling's words: a group and its members as `plan` sees them, and the steps that it may want.

All are values. Times are seconds of the world's clock. States and their order are those of "Amazon EC2 Auto Scaling
instance lifecycle" in the Amazon EC2 Auto Scaling User Guide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class State(StrEnum):
    """A member's lifecycle state. One that is terminated or detached is no member any more."""

    PENDING = "Pending"
    PENDING_WAIT = "Pending:Wait"
    PENDING_PROCEED = "Pending:Proceed"
    IN_SERVICE = "InService"
    ENTERING_STANDBY = "EnteringStandby"
    STANDBY = "Standby"
    DETACHING = "Detaching"
    TERMINATING = "Terminating"
    TERMINATING_WAIT = "Terminating:Wait"
    TERMINATING_PROCEED = "Terminating:Proceed"


COMING = frozenset({State.PENDING, State.PENDING_WAIT, State.PENDING_PROCEED})
GOING = frozenset({State.TERMINATING, State.TERMINATING_WAIT, State.TERMINATING_PROCEED})
LEAVING = GOING | {State.ENTERING_STANDBY, State.DETACHING}
COUNTED = COMING | {State.IN_SERVICE}
"""What counts against the desired capacity: standby and leaving members do not."""


class Process(StrEnum):
    """What can be suspended ("Suspend and resume Amazon EC2 Auto Scaling processes")."""

    LAUNCH = "Launch"
    TERMINATE = "Terminate"
    ADD_TO_LOAD_BALANCER = "AddToLoadBalancer"
    ALARM_NOTIFICATION = "AlarmNotification"
    AZ_REBALANCE = "AZRebalance"
    HEALTH_CHECK = "HealthCheck"
    INSTANCE_REFRESH = "InstanceRefresh"
    REPLACE_UNHEALTHY = "ReplaceUnhealthy"
    SCHEDULED_ACTIONS = "ScheduledActions"


class Result(StrEnum):
    """How a lifecycle action ends."""

    CONTINUE = "CONTINUE"
    ABANDON = "ABANDON"


class Transition(StrEnum):
    LAUNCHING = "autoscaling:EC2_INSTANCE_LAUNCHING"
    TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"


class Fault(StrEnum):
    """Why a member is unhealthy, in the words of an activity's cause."""

    GONE = "an EC2 health check indicating it has been terminated or stopped"
    IMPAIRED = "an EC2 instance status checks failure"
    TARGET = "an ELB system health check failure"
    TOLD = "a user health-check"


LONGEST_WAIT = 172800.0
"""48 hours. A wait lasts that long at most, or 100 times the heartbeat ("Amazon EC2 Auto Scaling lifecycle hooks")."""


@dataclass(frozen=True)
class Hook:
    name: str
    transition: Transition
    heartbeat: float = 3600.0
    default: Result = Result.ABANDON
    role: str = ""
    target: str = ""
    metadata: str = ""

    @property
    def limit(self) -> float:
        return min(LONGEST_WAIT, 100 * self.heartbeat)


@dataclass(frozen=True)
class Wait:
    """A lifecycle action of one member: it is active until it has a result or `deadline` is reached.

    `end` is the latest that heartbeats can move the deadline to. What a hook is changed to later has no effect on it.
    """

    hook: str
    token: str
    heartbeat: float
    default: Result
    deadline: float
    end: float
    result: Result | None = None

    def outcome(self, now: float) -> Result | None:
        """The result, told or by time-out; None while it is active. What was told in time counts, however late seen."""
        if self.result is None and now >= self.deadline:
            return self.default
        return self.result


@dataclass(frozen=True)
class Member:
    """An instance of a group.

    `launched` and `in_service` (since when, None before) are times. `template` is the launch template's id and the
    version really used. `hooked`: launch hooks hold it, which is so for what the group launched, not for what was
    attached or comes back from standby. `targets`: the target groups that the group put it into, or passed over for
    good while AddToLoadBalancer was suspended. `forced`: it goes without hooks and without draining. `extra`: launched
    to even out the zones, it is one more than desired until it serves.
    """

    instance_id: str
    zone: str = "us-east-1a"
    state: State = State.PENDING
    launched: float = 0.0
    in_service: float | None = None
    template: tuple[str, int] = ("", 0)
    instance_type: str = ""
    spot: bool = False
    hooked: bool = True
    fault: Fault | None = None
    protected: bool = False
    waits: tuple[Wait, ...] = ()
    targets: frozenset[str] = frozenset()
    forced: bool = False
    extra: bool = False


@dataclass(frozen=True)
class Distribution:
    """On-demand and spot ("Auto Scaling groups with multiple instance types and purchase options")."""

    base: int = 0
    percentage: int = 100

    def on_demand(self, capacity: int) -> int:
        """How many of `capacity` are on-demand; a fraction is rounded up, in favour of on-demand."""
        above = max(0, capacity - self.base)
        return min(capacity, self.base) + -(-above * self.percentage // 100)


@dataclass(frozen=True)
class Group:
    """What `plan` knows of a group. `retry_at`: after launches that failed, none before this time."""

    name: str
    minimum: int = 0
    maximum: int = 1
    desired: int = 0
    zones: tuple[str, ...] = ("us-east-1a",)
    members: tuple[Member, ...] = ()
    hooks: tuple[Hook, ...] = ()
    target_groups: tuple[str, ...] = ()
    elb_health: bool = False
    grace: float = 0.0
    suspended: frozenset[Process] = frozenset()
    policies: tuple[str, ...] = ("Default",)
    template: str = ""
    distribution: Distribution = Distribution()
    rebalance_capacity: bool = False
    deleting: bool = False
    retry_at: float = 0.0

    def hooks_of(self, transition: Transition) -> tuple[Hook, ...]:
        return tuple(hook for hook in self.hooks if hook.transition is transition)


@dataclass(frozen=True)
class Seen:
    """What is true of a member's instance: EC2's state of it, and its health in the group's target groups.

    `targets` holds no target group that knows nothing of the instance, and none that it has drained from. `at_risk`:
    EC2 recommends to rebalance, or will interrupt it.
    """

    ec2: str = "running"
    impaired: bool = False
    reason: str = ""
    at_risk: bool = False
    targets: Mapping[str, str] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        return self.ec2 in ("pending", "running")

    @property
    def runs(self) -> bool:
        return self.ec2 == "running" and not self.impaired


# --- steps ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Launch:
    """A new instance in this zone. `capacity` is how many count before it; `extra` as a member's."""

    zone: str
    spot: bool
    capacity: int
    extra: bool = False


@dataclass(frozen=True)
class Move:
    """The member changes its state."""

    instance_id: str
    state: State


@dataclass(frozen=True)
class Hold:
    """The member waits: a lifecycle action for each of these hooks."""

    instance_id: str
    state: State
    hooks: tuple[Hook, ...]


@dataclass(frozen=True)
class Register:
    """Into these target groups; `skip`: the member counts as put there, and is not."""

    instance_id: str
    targets: frozenset[str]
    skip: bool = False


@dataclass(frozen=True)
class Deregister:
    instance_id: str
    targets: frozenset[str]


@dataclass(frozen=True)
class Condemn:
    """The member is unhealthy from now on."""

    instance_id: str
    fault: Fault


@dataclass(frozen=True)
class Retire:
    """The member leaves, to be terminated; `why` completes "an instance was taken out of service in response to".

    `failure`, for one that never came into service: what ended its launch. `cancelled`: nothing was wrong with it.
    """

    instance_id: str
    why: str
    failure: str = ""
    cancelled: bool = False


@dataclass(frozen=True)
class End:
    """EC2 is told to terminate the instance."""

    instance_id: str


@dataclass(frozen=True)
class Forget:
    """The member is none any more: its instance is terminated, or detached."""

    instance_id: str


@dataclass(frozen=True)
class Vanish:
    """A group that was deleted by force is empty: it goes."""


Step = Launch | Move | Hold | Register | Deregister | Condemn | Retire | End | Forget | Vanish
