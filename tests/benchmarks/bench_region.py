"""What a region costs: up and down, machines, targets, rules, API calls; each beside what it stands on, in one run.

    .venv/bin/python tests/benchmarks/bench_region.py [--rounds 5] [--work FOLDER]

Every round brings a region up, does everything in it once, and takes it down.
"""

from __future__ import annotations

import argparse
import os
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from bake.base import make_base
from bake.home import Home
from bake.images import Image, ImageStore
from tests.benchmarks import region_floor
from tests.benchmarks.measure import machine as this_host
from tests.benchmarks.measure import median
from tests.system.region.web_image import ami_of, remove_web_image, web_image
from tests.system.region.worlds import WEB_PORT, Made, RegionWorld, answers, bakeboot, get

EIGHT = 8
CALLS = 200
KEYS = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "bakeboot", "region_name": "us-east-1"}


@dataclass
class Rows:
    """Samples by row, in the order of the first."""

    samples: dict[str, list[float]] = field(default_factory=dict)

    def add(self, row: str, value: float) -> None:
        self.samples.setdefault(row, []).append(value)
        print(f"  {row}: {value:.3g}", flush=True)

    def timed(self, row: str, work: Callable[[], object]) -> None:
        began = time.monotonic()
        work()
        self.add(row, time.monotonic() - began)

    def render(self) -> str:
        lines = ["| | median | min..max |", "|---|---|---|"]
        for row, values in self.samples.items():
            lines.append(f"| {row} | {median(values):.3g} | {min(values):.3g}..{max(values):.3g} |")
        return "\n".join(lines)


class Bench:
    """One run: the home with the image, and the rows."""

    def __init__(self, home: Home, image: Image, work: Path) -> None:
        self.home, self.image, self.work = home, image, work
        self.ami = ami_of(image)
        self.layers = ImageStore(home).roots(image)
        self.rows = Rows()

    def round(self) -> None:
        self.rows.add("floor: import moto, make a namespace (s)", region_floor.empty_region())
        self.rows.timed("`bakeboot region up` (s)", lambda: bakeboot(self.home, "region", "up", "--name", "bench"))
        try:
            region = RegionWorld(self.home, "bench")
            self.memory(region, "the region's process, nothing in it (MiB)")
            self.machines(region)
            self.calls("ours", region.endpoint)
            self.balancers(region)
        finally:
            self.rows.timed(
                "`bakeboot region down`, with 8 machines (s)",
                lambda: bakeboot(self.home, "region", "down", "--name", "bench"),
            )
        with region_floor.moto_server() as endpoint:
            ec2 = boto3.client("ec2", endpoint_url=endpoint, **KEYS)
            image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
            ec2.run_instances(ImageId=image, MinCount=EIGHT, MaxCount=EIGHT)  # as many as ours has then
            self.calls("moto_server", endpoint)

    def machines(self, region: RegionWorld) -> None:
        """One from the call on, then eight at once; the same by hand. The eight stay."""
        self.rows.add(
            "floor: overlay, namespace, systemd-nspawn to the web port (s)",
            region_floor.bare_machines(self.work, self.layers, 1, WEB_PORT),
        )
        with closing(Made(region)) as made:
            self.launch(made, 1)
            self.sshd(made)
        self.rows.add(
            "floor: eight at once, to the web port of the last (s)",
            region_floor.bare_machines(self.work, self.layers, EIGHT, WEB_PORT),
        )
        self.launch(Made(region), EIGHT)
        self.memory(region, "the region's process, eight machines (MiB)")
        started = region_floor.descendants(region.control.record.pid)
        self.rows.add("a machine of the eight, all its processes (MiB)", region_floor.memory(*started) / EIGHT)

    def launch(self, made: Made, count: int) -> None:
        region, what = made.region, "one machine" if count == 1 else "eight at once"
        region.open_to_all  # noqa: B018 - made before the clock runs
        began = time.monotonic()
        ids = made.instances(self.ami, count, wait=False)
        self.rows.add(f"RunInstances answers, {what} (s)", time.monotonic() - began)
        waiting = set(ids)
        while waiting:
            told = region.client("ec2").describe_instances(InstanceIds=ids)["Reservations"]
            waiting -= {one["InstanceId"] for r in told for one in r["Instances"] if one["State"]["Name"] == "running"}
            time.sleep(region_floor.POLL)
        self.rows.add(f"… running, {what} (s)", time.monotonic() - began)
        for one in ids:
            region_floor.wait_port((region.instance(one)["PrivateIpAddress"], WEB_PORT), region.site)
        self.rows.add(f"… its web port answers, {what} (s)", time.monotonic() - began)

    def sshd(self, made: Made) -> None:
        """With a key pair, from the call to the banner, by its public address."""
        ec2, name = made.region.client("ec2"), made.name("key")
        ec2.create_key_pair(KeyName=name)
        began = time.monotonic()
        one = made.instance(self.ami, KeyName=name, wait=False)
        while not (address := made.region.instance(one).get("PublicIpAddress")):
            time.sleep(region_floor.POLL)
        region_floor.wait_port((address, 22))
        self.rows.add("… its sshd answers at the public address, one machine (s)", time.monotonic() - began)
        ec2.delete_key_pair(KeyName=name)

    def balancers(self, region: RegionWorld) -> None:
        """Two target groups behind one listener: until a target is healthy, and until a rule's change is seen."""
        elb = region.client("elbv2")
        with closing(Made(region)) as made:
            ids = made.instances(self.ami, 2)
            groups = [made.target_group() for _ in ids]
            load_balancer, address = made.load_balancer()
            listener = made.listener(load_balancer, groups[0])
            for one, group in zip(ids, groups, strict=True):
                elb.register_targets(TargetGroupArn=group, Targets=[{"Id": one}])
            made.region.client("elbv2").create_rule(
                ListenerArn=listener,
                Priority=1,
                Conditions=[{"Field": "path-pattern", "Values": ["/*"]}],
                Actions=[forward(groups, (1, 0))],
            )
            began = time.monotonic()
            region.wait_healthy(groups[0], 1)
            self.rows.add(
                "RegisterTargets to healthy; the check's interval is 5 s, its threshold 2 (s)", time.monotonic() - began
            )
            region.wait_healthy(groups[1], 1)
            region.wait("the load balancer answers", lambda: answers(f"http://{address}/"))
            self.shift(region, f"http://{address}/", listener, groups, ids)

    def shift(self, region: RegionWorld, url: str, listener: str, groups: list[str], ids: list[str]) -> None:
        elb = region.client("elbv2")
        rules = elb.describe_rules(ListenerArn=listener)["Rules"]
        rule = next(one["RuleArn"] for one in rules if one["Priority"] == "1")
        began = time.monotonic()
        elb.modify_rule(RuleArn=rule, Actions=[forward(groups, (0, 1))])
        self.rows.add("ModifyRule answers (ms)", 1000 * (time.monotonic() - began))
        began = time.monotonic()
        while get(url).json()["instance"] != ids[1]:
            pass
        self.rows.add(
            "… to the first request that the other group answers, the request included (ms)",
            1000 * (time.monotonic() - began),
        )

    def calls(self, whose: str, endpoint: str) -> None:
        """Calls a second of four clients at once."""

        def client(service: str) -> Any:
            config = Config(retries={"total_max_attempts": 1})
            return boto3.client(service, endpoint_url=endpoint, config=config, **KEYS)

        ssm = client("ssm")
        ssm.put_parameter(Name="/bench", Value="x", Type="String", Overwrite=True)
        for call, service, work in (
            ("ec2:DescribeInstances", "ec2", lambda one: one.describe_instances(MaxResults=5)),
            ("ssm:GetParameter", "ssm", lambda one: one.get_parameter(Name="/bench")),
            ("sts:GetCallerIdentity", "sts", lambda one: one.get_caller_identity()),
        ):
            clients = [client(service) for _ in range(4)]

            def many(one: Any, work: Callable[[Any], object] = work) -> None:
                for _ in range(CALLS // 4):
                    work(one)

            threads = [threading.Thread(target=many, args=(one,)) for one in clients]
            began = time.monotonic()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.rows.add(f"{call}, {whose} (calls/s)", CALLS / (time.monotonic() - began))

    def memory(self, region: RegionWorld, row: str) -> None:
        self.rows.add(row, region_floor.memory(region.control.record.pid))


def forward(groups: list[str], weights: tuple[int, int]) -> dict[str, Any]:
    shares = [{"TargetGroupArn": group, "Weight": weight} for group, weight in zip(groups, weights, strict=True)]
    return {"Type": "forward", "ForwardConfig": {"TargetGroups": shares}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path("/var/tmp/bakeboot-bench"))
    options = parser.parse_args()
    home = Home.open(options.work / "home")
    print(this_host())
    with home.run("bench") as run:
        made = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        folders = {"work": run.folder, "private": run.runtime}
        log = home.root / "base.log"
        base = make_base(home, "debian:bookworm", made=made, scratch=False, log=log, say=print, **folders)
        image = web_image(home, base.root)
        try:
            bench = Bench(home, image, run.folder)
            for number in range(options.rounds):
                print(f"round {number + 1} of {options.rounds}")
                bench.round()
        finally:
            remove_web_image(home, image)
    print("\n" + bench.rows.render())


if __name__ == "__main__":
    if os.geteuid() or shutil.which("systemd-nspawn") is None or shutil.which("haproxy") is None:
        raise SystemExit("needs root, and what `bakeboot doctor` names")
    main()
