"""Auto Scaling: groups that keep their desired capacity, with all that AWS's lifecycle of an instance has.

moto keeps the API's shape; groups, members and activities are our own records (`autoscaling_group`), since moto's
groups act at once and tell what isn't so. A call changes a record and returns (`autoscaling_backend`,
`autoscaling_members`). What follows from it is decided by a pure function (`region.scaling.plan`) and carried out here,
look by look.
"""

from __future__ import annotations

from moto.autoscaling import models, responses, urls
from moto.autoscaling.models import autoscaling_backends

from region.aws.autoscaling_backend import AutoScaling
from region.aws.autoscaling_group import Record
from region.aws.autoscaling_responses import AutoScalingResponse
from region.aws.world import World
from region.scaling.plan import plan

_STEPS = 12
"""As many times a group is looked at again within one look, while it still finds something to do."""


class Autoscaling:
    """The service, and its controller."""

    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def backend(self) -> AutoScaling:
        settings = self._world.settings
        backend = autoscaling_backends[settings.account][settings.aws_region]
        assert isinstance(backend, AutoScaling)
        return backend

    def tick(self, now: float) -> None:
        """One look at every group. Raises ExceptionGroup: what goes wrong with one keeps no other from its look."""
        errors = []
        for group in list(self.backend.groups.values()):
            try:
                self.backend.run_schedule(group, now)
                self._advance(group, now)
            except Exception as error:
                error.add_note(f"group {group.name}")
                errors.append(error)
        if errors:
            raise ExceptionGroup("groups could not be looked at", errors)

    def _advance(self, group: Record, now: float) -> None:
        hands = self.backend.hands
        for _ in range(_STEPS):
            steps = plan(group.snapshot(), hands.look(group), now)
            for step in steps:
                hands.take(group, step, now)
            if not steps or group.name not in self.backend.groups:
                return

    def close(self) -> None:
        """Nothing of its own runs: the instances are EC2's."""


def install(world: World) -> Autoscaling:
    """Puts the region's Auto Scaling in the place of moto's, without any group, and adds its controller."""
    named = {"__module__": models.__name__, "world": world}  # moto finds the service's URLs by the class's module
    autoscaling_backends.clear()
    autoscaling_backends.backend = type("AutoScalingBackend", (AutoScaling,), named)
    responses.AutoScalingResponse = AutoScalingResponse  # type: ignore[misc]
    urls.url_paths = {"{0}/$": AutoScalingResponse.dispatch}
    service = Autoscaling(world)
    world.add(service)
    return service
