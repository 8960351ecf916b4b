"""What one boot is about, and everything outside of the program that it touches: handed from step to step.

On the boot path: imports nothing outside of the agent.
"""

from __future__ import annotations

from agent.word import Word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.assignment import Assignment
    from agent.image import ImageManifest
    from agent.imds import Connection
    from agent.state import Places, Status
    from agent.systemd import Systemd


class Doors(Word):
    """Everything outside of this program that a boot touches."""

    places: Places
    systemd: Systemd
    status: Status
    connect: Callable[[float], Connection]
    monotonic: Callable[[], float]
    clock: Callable[[], float]
    since_boot: Callable[[], float]
    sleep: Callable[[float], None]


class Decided(Word):
    """What this boot is about, once the tags have said it."""

    image: ImageManifest
    instance_id: str
    assignment: Assignment
