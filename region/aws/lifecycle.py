"""What becomes of an instance next: its state as EC2 tells it, its machine as it is, and the one step between. Pure.

EC2 User Guide, "Amazon EC2 instance state changes": pending, running, stopping, stopped, shutting-down, terminated.
"Change instance initiated shutdown behavior": a machine that powers itself off stops its instance, or terminates it.
A machine that dies without being asked leaves its instance `running` and its status checks `impaired`, as a lost host
does ("Status checks for Amazon EC2 instances").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["pending", "running", "shutting-down", "terminated", "stopping", "stopped"]
Power = Literal["none", "up", "off", "rebooting", "dead"]
"""`off`: it powered itself off; `rebooting`: it asked for one; `dead`: it ended otherwise; `none`: there is none."""
Step = Literal["wait", "start", "run", "restart", "power-off", "impair", "image", "stop", "end"]

CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
"""EC2 API Reference, "InstanceState"."""
_REBOOTING = 133  # systemd-nspawn(1), "Exit status" of a container that asks for a reboot


@dataclass(frozen=True)
class Look:
    """What there is to see of one instance.

    `due`: it has been pending for as long as the region is set to. `reboot`: someone asked for one. `imaging`: an image
    of it is to be made.
    """

    state: State
    power: Power
    due: bool = True
    reboot: bool = False
    imaging: bool = False
    impaired: bool = False


def power_of(exists: bool, exit_code: int | None) -> Power:
    """What a machine does, from `Machine.poll`."""
    if not exists:
        return "none"
    if exit_code is None:
        return "up"
    if exit_code == 0:
        return "off"
    return "rebooting" if exit_code == _REBOOTING else "dead"


def next_step(look: Look) -> Step:
    """What to do now. Images come before what ends a machine: who asked for one and then for the end gets both.

    - `start`: a machine for a pending instance, `run`: it is running from now on
    - `restart`: the machine ends cleanly and starts again with what it wrote
    - `power-off`: the instance goes the way that its shutdown behaviour says
    - `impair`: its status checks fail from now on, and what the dead machine held is given back
    - `image`, `stop`, `end`: what the words say
    """
    match look.state:
        case "terminated":
            return "wait"
        case "pending" if look.power == "none":
            return "start"
        case "pending":
            return "run" if look.due else "wait"
        case _ if look.imaging:
            return "image"
        case "stopped":
            return "wait"
        case "stopping":
            return "stop"
        case "shutting-down":
            return "end"
        case "running":
            return _running(look)


def _running(look: Look) -> Step:
    if look.reboot or look.power == "rebooting":
        return "restart"
    match look.power:
        case "off":
            return "power-off"
        case "dead":
            return "impair"
        case _:
            return "wait"
