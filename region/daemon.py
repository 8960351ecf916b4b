"""A region's process: everything put together, brought up in order, and taken down in the reverse.

`serve` is the whole life of it. The machines' network comes first, then the AWS services, each of which puts itself
into moto, then the API on both its sockets, and the controllers last: nothing acts before it can be asked.
"""

from __future__ import annotations

import os
import secrets
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from region.addresses import Addresses
from region.aws import autoscaling, cloudwatch, dynamodb, ec2, elbv2, identity, quotas, route53, ssm
from region.aws.api_faults import ApiFaults
from region.aws.server import Api, ApiServer
from region.aws.world import Catalog, Settings, World
from region.control import Control
from region.errors import RegionError
from region.region import Region
from region.region_log import RegionLog
from region.region_state import Place, Record
from region.site import Site
from region.sweep import sweep

DEFAULT_VPC = ("172.31.0.0/16",)
"""Its block ("Default VPC components", Amazon VPC User Guide)."""

Tell = Callable[[Mapping[str, Any]], None]
"""Tells whoever started the process how far it is: `step` (a text), and at last `ready`, `held`, `error` or `bug`."""


@dataclass(frozen=True)
class Order:
    """Which region to bring up, where. `prefix` begins the names of its namespaces; `tags_delay` as in Settings."""

    place: Place
    home: Path
    runtime: Path
    prefix: str
    tags_delay: float


def serve(order: Order, catalog: Catalog, tell: Tell) -> int:
    """Brings the region up, and down again on SIGTERM or SIGINT. Returns the exit code; `tell` says what happened."""
    with order.place.held() as held:
        if not held:
            tell({"held": True})
            return 0
        return _live(order, catalog, tell)


def _live(order: Order, catalog: Catalog, tell: Tell) -> int:
    log = RegionLog(order.place.log, time.time)
    over = _until_told()
    os.chdir("/")  # in nobody's way who unmounts or removes the folder that it was started in
    os.umask(0o022)  # what machines see of what is made for them must not hang on who started it
    order.place.forget()  # of one that was killed
    try:
        with _region(order, catalog, log, tell) as record:
            order.place.write(record)
            log(f"up at {record.endpoint}, process {record.pid}, site {record.site}")
            tell({"ready": record.endpoint})
            over.wait()
            order.place.forget()
            log("going down")
        log("down")
        return 0
    except RegionError as error:
        log(f"could not go on: {error}")
        tell({"error": error.what, "where": error.where, "hint": error.hint})
        return error.exit_code
    except OSError as error:  # this host refuses something, or lacks it: the log has where
        log(f"could not go on:\n{traceback.format_exc()}")
        tell({"error": str(error), "hint": "bakeboot doctor"})
        return RegionError.exit_code
    except Exception:
        log(f"ended by a bug:\n{traceback.format_exc()}")
        tell({"bug": traceback.format_exc()})
        return 1
    finally:
        order.place.forget()


@contextmanager
def _region(order: Order, catalog: Catalog, log: RegionLog, tell: Tell) -> Iterator[Record]:
    """The region, for the length of the block."""
    began = time.time()
    swept = sweep(order.home, order.runtime)
    if swept:
        log(f"removed what a dead owner left: {', '.join(swept)}")
    with ExitStack() as stack:
        tell({"step": "making its network"})
        site = stack.enter_context(Site.open(order.home, order.runtime, prefix=order.prefix, subnets=DEFAULT_VPC))
        addresses = stack.enter_context(Addresses.open(site, prefer=order.place.number))
        order.place.remember(addresses.number)
        settings = Settings(tags_delay=order.tags_delay)
        world = World(
            order.place.name, order.place.directory, site, addresses, catalog=catalog, settings=settings, log=log
        )
        tell({"step": "starting its services"})
        for service in (identity, ssm, dynamodb, quotas):
            stack.callback(service.install(world).close)
        instances = ec2.install(world)
        stack.callback(instances.close)
        balancers = elbv2.install(world)
        stack.callback(balancers.close)
        stack.callback(autoscaling.install(world).close)
        cloudwatch.install(world, balancers.metrics)
        names = route53.install(world)
        stack.callback(names.close)
        stack.enter_context(addresses.resolver(names.zones, log))
        api_faults = ApiFaults()
        token = secrets.token_urlsafe(32)
        region = Region(world, api_faults, instances, balancers.state_of)
        api = Api(world, api_faults, Control(region, token, log))
        outside, inside = addresses.api_sockets()
        for listener, control in ((outside, True), (inside, False)):
            stack.callback(ApiServer(api, [listener], control=control).close)
        stack.callback(world.close)
        world.start()
        yield Record(
            name=world.name,
            pid=os.getpid(),
            endpoint=addresses.endpoint,
            token=token,
            started=began,
            prefix=order.prefix,
            site=site.name,
            aws_region=settings.aws_region,
        )


def _until_told() -> threading.Event:
    """Set by SIGTERM or SIGINT."""
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: over.set())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return over
