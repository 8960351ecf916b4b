"""What the boot of an instance costs: `agent boot` beside a bare Python and beside cloud-init, each in a machine here.

    .venv/bin/python tests/benchmarks/bench_boot.py [--rounds 5] [--work FOLDER]

Every round boots one machine of each kind. The image is that of bench_bake.py; where there is none, it is baked first.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bake.home import Home
from bake.images import Image, ImageStore
from region.machine import Machine, MachineSpec
from region.metadata import InstanceMetadata
from region.site import Site
from tests.benchmarks import floor, peer_cloud_init
from tests.benchmarks.bench_bake import Bench
from tests.benchmarks.measure import machine as this_host
from tests.benchmarks.measure import meter, spread

ONE, ALL = "agent, production, one service", "agent, review, six services"
COLUMNS = {
    "queued_cpu": "CPU until the units are queued",
    "queued": "wall, from the start of its process",
    "requests": "requests",
    "service": "userspace to first service",
    "target": "userspace to multi-user.target",
    "from_command": "start of the machine to multi-user.target",
}
"""Milliseconds, but for the requests."""


@dataclass
class Rows:
    """Samples by row and column."""

    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, row: str, **values: float) -> None:
        for column, value in values.items():
            self.samples.setdefault(row, {}).setdefault(column, []).append(value)
        print(f"  {row}: " + ", ".join(f"{column} {value:.0f}" for column, value in values.items()), flush=True)

    def render(self) -> str:
        lines = [f"| ms, median (min..max) | {' | '.join(COLUMNS.values())} |", "|---" * (len(COLUMNS) + 1) + "|"]
        for row, found in self.samples.items():
            lines.append(f"| {row} | {' | '.join(spread(found.get(column, [])) for column in COLUMNS)} |")
        return "\n".join(lines)


class Boots:
    """One run: the site with its metadata service, the image, the rows."""

    def __init__(self, site: Site, image: Image, images: ImageStore, work: Path) -> None:
        self.site = site
        self.image = image
        self.roots = images.roots(image)
        self.work = work
        self.rows = Rows()

    def agent(self, row: str, **tags: str) -> None:
        """A machine of the image, with these tags, up to READY."""
        hexes = f"{time.monotonic_ns():x}"[:8]
        metadata = InstanceMetadata(
            instance_id=f"i-{hexes}",
            image_id="ami-0123456789abcdef0",
            tags={"bakeboot:stack": self.image.stack, **{f"bakeboot:{key}": value for key, value in tags.items()}},
        )
        spec = MachineSpec(name=f"bench-{hexes}", layers=self.roots, metadata=metadata)
        with self._booted(spec) as (machine, began):
            status = json.loads(machine.read("/run/bakeboot/status.json"))
            if status["phase"] != "ready":
                raise SystemExit(f"{row}: {status['phase']}: {status['reason']}")
            timings = status["timings"]
            self.rows.add(
                row,
                queued_cpu=timings["queued_cpu_ms"],
                queued=timings["queued_ms"],
                requests=len(self.site.metadata.requests(machine.address)),
                service=min(_started(machine, status["units"])) - _userspace(machine),
                **_target(machine, began),
            )
            if row == ONE:
                self._interpreters(machine)

    def cloud_init(self, modules: str, layers: tuple[Path, ...]) -> None:
        """A machine of the same base that cloud-init sets up, until its last stage is over."""
        spec = peer_cloud_init.spec("bench-cloud-init", layers, modules, self.work / "cloud-init")
        with self._booted(spec) as (machine, began):
            started = _started(machine, [peer_cloud_init.STARTED])
            if not started[0]:
                told = machine.run(["cat", "/var/log/cloud-init.log"], check=False).stdout[-3000:]
                raise SystemExit(f"cloud-init did not start the service:\n{told}")
            self.rows.add(
                f"cloud-init, {modules}",
                queued_cpu=1000 * sum(map(float, machine.read(peer_cloud_init.SPENT).split())),
                requests=len(self.site.metadata.requests(machine.address)),
                service=started[0] - _userspace(machine),
                **_target(machine, began),
            )

    def bare(self) -> None:
        """systemd-nspawn alone, over the base alone."""
        began = time.monotonic() * 1000
        stamps = floor.boot_and_halt(self.work / "boot", self.roots[:1], stamp=True)
        target, userspace = stamps["target"] / 1000, stamps["userspace"] / 1000
        self.rows.add("the base alone, plain systemd-nspawn", target=target - userspace, from_command=target - began)

    @contextmanager
    def _booted(self, spec: MachineSpec) -> Iterator[tuple[Machine, float]]:
        """The machine once nothing of its boot is left to do, and when (ms) it was asked for."""
        began = time.monotonic() * 1000
        machine = self.site.start(spec)
        try:
            machine.wait_booted(300)
            yield machine, began
        finally:
            machine.stop()
            machine.discard()

    def _interpreters(self, machine: Machine) -> None:
        """Five of each bare Python, in a machine that has just booted: their files are in memory, as at the boot."""
        for options in ("", "-S -E -s "):
            script = f"TIMEFORMAT='%U %S'; for i in 1 2 3 4 5; do time /usr/bin/python3 {options}-c pass; done"
            for line in machine.run(["/bin/bash", "-c", script]).stderr.splitlines():
                self.rows.add(f"`python3 {options}-c pass`", queued_cpu=sum(map(float, line.split())) * 1000)


def _show(machine: Machine, key: str, *units: str) -> list[str]:
    told = machine.run(["systemctl", "show", f"--property={key}", "--value", "--", *units]).stdout
    return [line for line in told.splitlines() if line]


def _started(machine: Machine, units: Sequence[str]) -> list[float]:
    """When the first process of each began, ms of the monotonic clock; 0 where none has."""
    return [int(stamp) / 1000 for stamp in _show(machine, "ExecMainStartTimestampMonotonic", *units)]


def _userspace(machine: Machine) -> float:
    return int(_show(machine, "UserspaceTimestampMonotonic")[0]) / 1000


def _target(machine: Machine, began: float) -> dict[str, float]:
    reached = int(_show(machine, "ActiveEnterTimestampMonotonic", "multi-user.target")[0]) / 1000
    return {"target": reached - _userspace(machine), "from_command": reached - began}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path("/var/tmp/bakeboot-bench"))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    print(this_host())
    with meter() as account:
        bench = Bench(options.work, account)
        if bench.images.newest_verified("six") is None:
            print("no image yet: baking one")
            bench.bake()
    run(bench.home, bench.images, bench.image(), options.work, options.rounds)


def run(home: Home, images: ImageStore, image: Image, work: Path, rounds: int) -> None:
    roots = images.roots(image)[:2]  # base and system: what every image of this stack stands on
    cloud = (*roots, peer_cloud_init.make_layer(home, work / "cloud-init", roots))
    with Site.open(home.root, home.runtime) as site:
        boots = Boots(site, image, images, work)
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}")
            boots.agent(ONE, mode="production", service="web")
            boots.cloud_init(peer_cloud_init.DEFAULT, cloud)
            boots.agent(ALL, mode="review")
            boots.cloud_init(peer_cloud_init.LEAN, cloud)
            boots.bare()
    print("\n" + boots.rows.render())


if __name__ == "__main__":
    if os.geteuid() or shutil.which("systemd-nspawn") is None:
        raise SystemExit("needs root, and what `bakeboot doctor` names")
    main()
