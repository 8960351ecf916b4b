"""How the benchmarks measure: wall time and CPU time of everything that a row starts, and how rows are shown.

What a machine's PID 1 reaps never shows up in our `getrusage` while the machine lives. So a benchmark moves itself into
a control group of its own, and a row is the growth of that group's account while it runs. On cgroup v1 a machine's is
made below that of whoever starts it, so `cpuacct.usage` has all of it, ended or not. On pure v2 it is made below the
root (region/cgroups.py): there, busy time of the whole host is taken, which is right only on an idle one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from region import cgroups


@dataclass(frozen=True)
class Spent:
    """Seconds of wall time and of CPU time (user and system)."""

    wall: float
    cpu: float

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.wall - other.wall, self.cpu - other.cpu)

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.wall + other.wall, self.cpu + other.cpu)


@dataclass(frozen=True)
class Meter:
    """`account` is the file with this group's CPU time in ns; None: the busy time of the host."""

    account: Path | None

    @property
    def method(self) -> str:
        if self.account is None:
            return "busy time of the whole host (/proc/stat): right only while nothing else runs"
        return f"the account of the benchmark's own control group ({self.account.name}), its machines' included"

    def now(self) -> Spent:
        if self.account is not None:
            return Spent(time.monotonic(), int(self.account.read_text()) / 1e9)
        user, nice, system, _, _, irq, softirq = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:8])
        return Spent(time.monotonic(), (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK"))


@contextlib.contextmanager
def meter() -> Iterator[Meter]:
    """Move this process into a group of its own for the length of the block (on v1: see above)."""
    groups = cgroups.discover(f"bakeboot-bench-{os.getpid()}")
    account = next((group.path / "cpuacct.usage" for group in groups if "cpuacct" in group.controllers), None)
    if account is None:
        yield Meter(None)
        return
    cgroups.create(groups, memory=None, cpus=None)
    signal.signal(signal.SIGTERM, _end)  # what a benchmark holds is given back then too
    try:
        for group in groups:
            (group.guest / "cgroup.procs").write_text("0")
        yield Meter(account)
    finally:
        for group in groups:
            (group.path.parent / "cgroup.procs").write_text("0")
        cgroups.remove([group.path for group in groups])


def _end(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


@dataclass
class Table:
    """Rows of samples, in the order of their first sample; one sample of each row a round."""

    rows: dict[str, list[Spent]] = field(default_factory=dict)

    def add(self, row: str, spent: Spent) -> None:
        self.rows.setdefault(row, []).append(spent)
        print(f"  {row}: {spent.wall:.2f} s wall, {spent.cpu:.2f} s CPU", flush=True)

    def sum(self, row: str, of: Sequence[str]) -> None:
        """A row whose samples are, round by round, the sums of others."""
        self.rows[row] = [sum(parts[1:], parts[0]) for parts in zip(*(self.rows[name] for name in of), strict=True)]

    def render(self, against: str) -> str:
        """Medians, and each row against one of them: the median, least and most of the ratios of the rounds."""
        lines = [
            f"| medians of rounds | wall s | CPU s | wall as a multiple of {against} (min..max) | CPU likewise |",
            "|---|---|---|---|---|",
        ]
        ours = self.rows[against]
        for name, samples in self.rows.items():
            wall = ratios([spent.wall for spent in samples], [spent.wall for spent in ours])
            cpu = ratios([spent.cpu for spent in samples], [spent.cpu for spent in ours])
            middle = f"{median(s.wall for s in samples):.2f} | {median(s.cpu for s in samples):.2f}"
            lines.append(f"| {name} | {middle} | {wall} | {cpu} |")
        return "\n".join(lines)


def ratios(values: Sequence[float], others: Sequence[float]) -> str:
    """`values` over `others`, pair by pair: "2.5 (2.1..2.9)"; nothing where they aren't pairs."""
    if len(values) != len(others) or not all(others):
        return ""
    found = sorted(value / other for value, other in zip(values, others, strict=True))
    return f"{statistics.median(found):.2f} ({found[0]:.2f}..{found[-1]:.2f})"


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float]) -> str:
    """ "median (min..max)"."""
    if not values:
        return "–"
    return f"{median(values):.0f} ({min(values):.0f}..{max(values):.0f})"


def machine() -> str:
    """This host in one line: what figures of it hold for."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), ""
    )
    memory = int(_lines("/proc/meminfo")[0].split()[1]) / 1024**2
    load = Path("/proc/loadavg").read_text().split()[0]
    system = next(
        line.partition("=")[2].strip('"') for line in _lines("/etc/os-release") if line.startswith("PRETTY_NAME")
    )
    cpus = len(os.sched_getaffinity(0))
    return f"{cpus} x {model}, {memory:.0f} GiB, {system}, Linux {os.uname().release}, load {load} at the start"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
