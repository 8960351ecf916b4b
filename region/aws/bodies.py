"""What of an instance is real: its machine, and the storage that outlives one machine and serves the next."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from region.aws.lifecycle import Power, power_of
from region.faults import Faults
from region.machine import Machine
from region.metadata import InstanceMetadata

if TYPE_CHECKING:
    from region.aws.instances import Instance

_LONGEST_CONSOLE = 65536  # bytes: GetConsoleOutput, "the most recent 64 KB"


@dataclass(eq=False)
class Body:
    """One instance's. All of it is read and changed under the world's lock; `busy` while a thread works on its machine.

    `directory` is its storage; `layers` its AMI's; `tags_due` is the time from when its tags are in its metadata.
    """

    instance: Instance
    directory: Path
    layers: tuple[Path, ...]
    public_key: str | None
    reservation_id: str
    pending_since: float
    tags_due: float
    machine: Machine | None = None
    busy: bool = False
    launched: bool = False
    """Whether it has run at all: one that never did ends when it can't start."""
    reboot: bool = False
    impaired: bool = False
    faults: Faults = field(default_factory=Faults)
    imaging: list[Callable[[Body], None]] = field(default_factory=list)
    """Images to make of it. Each is called on a thread, when its turn has come."""
    told: InstanceMetadata | None = None
    """What its metadata service tells it, once `told_any`."""
    told_any: bool = False
    exposed: str | None = None
    """The public address that leads to its machine."""
    rests_until: float = 0.0
    open_ports: tuple[tuple[int, int], ...] = ()
    iam: Mapping[str, str] = field(default_factory=dict)
    iam_of: str = ""
    iam_due: float = 0.0
    """What its metadata says of its role, of which instance profile, and when to ask for it again."""
    ends_at: float | None = None
    """When its interruption comes true."""
    spot_action: tuple[str, str] | None = None
    rebalance: str | None = None
    gone_at: float | None = None

    @property
    def power(self) -> Power:
        return power_of(self.machine is not None, self.machine.poll() if self.machine else None)

    # --- storage: called on the thread that works on the machine ---------------------------------------------------

    @property
    def upper(self) -> Path:
        return self.directory / "upper"

    @property
    def console(self) -> Path:
        return self.directory / "console.log"

    def keep(self, machine: Machine) -> None:
        """Takes over what a machine that ended wrote, and removes the machine. Raises RegionError, OSError."""
        self.keep_console(machine)
        self.directory.mkdir(parents=True, exist_ok=True)
        machine.take_upper(self.upper)
        machine.discard()

    def keep_console(self, machine: Machine) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):
            said = (_tail(self.console) + _tail(machine.log))[-_LONGEST_CONSOLE:]
            self.console.write_bytes(said)

    def console_output(self) -> bytes:
        """The last of what its machines wrote to their consoles, the present one's included."""
        now = _tail(self.machine.log) if self.machine else b""
        return (_tail(self.console) + now)[-_LONGEST_CONSOLE:]

    def remove_storage(self) -> None:
        """All but the console's last words."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.upper)


def _tail(log: Path) -> bytes:
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _LONGEST_CONSOLE))
        return file.read()
    return b""
