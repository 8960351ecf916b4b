"""What a bake costs after a commit to one repo of six: ours, its floor, and mkosi on the same content, in one run.

    .venv/bin/python tests/benchmarks/bench_bake.py [--rounds 3] [--work FOLDER] [--without-mkosi]

Every round makes one commit to `web` that changes code alone, and then takes each row in turn, backwards in every other
round. The work folder keeps bases, layers and caches for the next run; the first one takes some minutes more.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bake.home import Home
from bake.images import Image, ImageStore
from tests.benchmarks import floor, six_repos
from tests.benchmarks.measure import Meter, Spent, Table, machine, median, meter
from tests.benchmarks.peer_mkosi import CACHED, EVERY, Peer, mkosi_version

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD, WHOLE = "the build", "`bakeboot bake` from command to `verified`, the build included"
SCRIPT, PACKER = "a shell script of the same work", "`packer build` over SSH with nothing to do"
BOOT, FLOOR = "a plain machine boots and halts", "the floor: these three"
PACKAGES = "installing"
STEP = re.compile(r"(\S.*) \.\.\. done \(([\d.]+) s\)")


class Bench:
    """One run: the company, our home, the table. Steps go by the first word of what the bake says."""

    def __init__(self, work: Path, meter: Meter) -> None:
        self.work = work
        self.company = work / "company"
        self.stack = six_repos.make(self.company)
        self.home = Home.open(work / "home")
        self.images = ImageStore(self.home)
        self.meter = meter
        self.table = Table()
        self.steps: dict[str, list[float]] = {}

    def bake(self, *options: str) -> tuple[Spent, Spent, dict[str, float]]:
        """One `bakeboot bake`: what it cost until the image was built and until it was verified, and its steps."""
        command = [str(ROOT / ".venv/bin/bakeboot"), "bake", "--stack", str(self.stack), *options]
        environment = {**os.environ, "BAKEBOOT_HOME": str(self.home.root)}
        before, built, steps, said = self.meter.now(), None, {}, []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            for line in process.stdout:
                said.append(line)
                if " is built: " in line:
                    built = self.meter.now() - before
                if found := STEP.match(line):
                    steps[found[1].partition(" ")[0]] = float(found[2])
        whole = self.meter.now() - before
        if process.returncode or built is None:
            raise SystemExit(f"the bake failed:\n{''.join(said)}")
        return built, whole, steps

    def ours(self) -> None:
        built, whole, steps = self.bake("--update", "web")
        if PACKAGES in steps:
            # Somebody edited the toolkit's scripts under the benchmark: that bake was of more than one repo.
            print("  (the packages' layer had to be made anew, so this bake is not counted: once more)", flush=True)
            six_repos.change(self.company)
            built, whole, steps = self.bake("--update", "web")
        self.table.add(BUILD, built)
        self.table.add(WHOLE, whole)
        for step, seconds in steps.items():
            self.steps.setdefault(step, []).append(seconds)

    def row(self, name: str, work: Callable[[], object]) -> Callable[[], None]:
        def take() -> None:
            before = self.meter.now()
            work()
            self.table.add(name, self.meter.now() - before)

        return take

    def image(self) -> Image:
        found = self.images.newest_verified("six")
        assert found is not None
        return found

    def prune(self) -> None:
        """Forget earlier runs' images, so that each run starts from the same."""
        command = [str(ROOT / ".venv/bin/bakeboot"), "images", "prune", "--keep", "1", "--yes"]
        environment = {**os.environ, "BAKEBOOT_HOME": str(self.home.root)}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("/var/tmp/bakeboot-bench"))
    parser.add_argument("--without-mkosi", action="store_true")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    print(machine())
    with meter() as account:
        print(f"CPU: {account.method}")
        run(Bench(options.work, account), options.rounds, with_mkosi=not options.without_mkosi)


def run(bench: Bench, rounds: int, *, with_mkosi: bool) -> None:
    _, whole, steps = bench.bake()
    taken = ", ".join(f"{step} {seconds:.0f}" for step, seconds in steps.items())
    print(f"a first bake, not compared: {whole.wall:.0f} s, {whole.cpu:.0f} s CPU ({taken})", flush=True)
    bench.prune()
    peers = _peers(bench) if with_mkosi else []
    with ExitStack() as stack:
        parts = floor.parts_of(bench.images, bench.image(), "web")
        access = stack.enter_context(floor.sshd_machine(bench.home, parts.layers[:2]))
        url = bench.company / "repos/web"
        rows: list[Callable[[], None]] = [
            bench.ours,
            bench.row(SCRIPT, lambda: floor.yardstick(bench.work / "yardstick", url, parts)),
            bench.row(PACKER, lambda: floor.packer_null(bench.work / "packer", access)),
            bench.row(BOOT, lambda: floor.boot_and_halt(bench.work / "boot", parts.layers[:1])),
            *(bench.row(peer.name, peer.build) for peer in peers),
        ]
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}: a commit to web")
            six_repos.change(bench.company)
            for row in rows if number % 2 == 0 else reversed(rows):
                row()
    bench.table.sum(FLOOR, (SCRIPT, PACKER, BOOT))
    print(f"\n{rounds} rounds")
    print(bench.table.render(BUILD))
    print("\nWhere ours goes, s wall, medians: " + ", ".join(f"{s} {median(v):.1f}" for s, v in bench.steps.items()))


def _peers(bench: Bench) -> list[Peer]:
    version = mkosi_version()
    if not version:
        print("no mkosi here, so no rows of it:  apt-get install mkosi", file=sys.stderr)
        return []
    peers = [Peer(name, bench.work, bench.company) for name in (EVERY, CACHED)]
    for peer in peers:
        before = bench.meter.now()
        peer.prepare()
        spent = bench.meter.now() - before
        print(f"{version}, {peer.name}: prepared in {spent.wall:.0f} s, {spent.cpu:.0f} s CPU")
    return peers


if __name__ == "__main__":
    if os.geteuid() or shutil.which("packer") is None:
        raise SystemExit("needs root, and what `bakeboot doctor` names")
    main()
