"""The commands about a region: `bakeboot region up, down, status, logs, env, interrupt, fault`.

`bake` is no business of this package, so what these commands need of it, the home and its images and how things are
printed, the front door hands over as a `House`.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import click

from region import detached, status_text
from region.aws.world import Catalog
from region.client import RegionClient
from region.durations import said, seconds_of
from region.errors import RegionError, RootError
from region.faults import FOREVER
from region.purge import forget_images, images_of
from region.region_log import follow, last_lines, news
from region.region_state import DEFAULT_NAME, Place
from region.sweep import sweep

VARIABLES = ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


class Voice(Protocol):
    """Where a command tells how far it is."""

    def step(self, text: str) -> None: ...
    def say(self, text: str) -> None: ...


@dataclass(frozen=True)
class House:
    """What the front door hands over.

    `home` opens the toolkit's home, for its folder and the one for what must reach no disk; it raises where it can't.
    """

    home: Callable[[], tuple[Path, Path]]
    catalog: Callable[[], Catalog]
    voice: Callable[[bool], AbstractContextManager[Voice]]
    table: Callable[[tuple[str, ...], Sequence[tuple[str, ...]]], None]


class Duration(click.ParamType[float]):
    """A length of time, as a person writes it; the value is in seconds. `forever` only where it makes sense."""

    name = "duration"

    def __init__(self, *, forever: bool = False) -> None:
        self._forever = forever

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        if self._forever and value == "forever":
            return FOREVER
        try:
            return seconds_of(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


DURATION = Duration()
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
NAME = click.option(
    "--name", default=DEFAULT_NAME, show_default=True, envvar="BAKEBOOT_REGION", show_envvar=True, help="Which region."
)


def register(program: click.Group, house: House) -> None:
    """Add the group `region` to the front door's program."""
    from region.faults_cli import fault

    @program.group("region", context_settings={"obj": house})
    @click.pass_context
    def region(context: click.Context) -> None:
        """An AWS region on this machine: instances are machines here, load balancers HAProxy."""
        context.obj = house

    for command in (up, down, status, logs, env, interrupt, fault, serve):
        region.add_command(command)


def client_of(house: House, name: str) -> RegionClient:
    return RegionClient.open(house.home()[0], name)


def _prefix(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if not re.fullmatch("[a-z][a-z0-9-]{0,19}", value):
        raise click.BadParameter(f"expected a-z, 0-9 and -, 20 characters at most, got {value!r}")
    return value


@click.command("up")
@NAME
@click.option(
    "--tags-delay", type=DURATION, default=None, help="Later than its launch an instance of a group gets tags."
)
@click.option(
    "--prefix",
    default="bb",
    callback=_prefix,
    show_default=True,
    envvar="BAKEBOOT_REGION_PREFIX",
    show_envvar=True,
    help="Begins the names of its network namespaces.",
)
@JSON
@click.pass_obj
def up(house: House, name: str, tags_delay: float | None, prefix: str, as_json: bool) -> None:
    """Bring the region up, in the background. One that is up stays as it is.

    Images that were made in it before are there again; instances, groups and all else begin anew.
    """
    if os.geteuid() != 0:
        raise RootError("bakeboot region up")
    home, _ = house.home()
    place = Place(home, name)
    began = time.monotonic()
    command = (
        *(sys.executable, "-m", "bakeboot", "region", "serve", "--name", name, "--prefix", prefix),
        *("--tags-delay", str(tags_delay or 0.0), "--tell"),
    )
    with house.voice(as_json) as speaker:
        record, made = detached.start(place, command, speaker.step)
    if not made and tags_delay is not None:
        RegionClient(place, record).settings(tags_delay=tags_delay)
    if as_json:
        _print_json({"name": name, "endpoint": record.endpoint, "already": not made})
        return
    how = f"up at {record.endpoint} ({time.monotonic() - began:.1f} s)" if made else f"already up at {record.endpoint}"
    click.echo(f"region {name} is {how}")
    click.echo(f'  try   eval "$(bakeboot region env{place.option})"')


@click.command("serve", hidden=True)
@NAME
@click.option("--prefix", default="bb")
@click.option("--tags-delay", type=DURATION, default=0.0)
@click.option("--tell", type=int, default=None)
@click.pass_obj
def serve(house: House, name: str, prefix: str, tags_delay: float, tell: int | None) -> None:
    """Be the region's process, until SIGTERM or SIGINT."""
    told = detached.teller(tell) if tell is not None else lambda told: click.echo(str(told))
    told({"step": "loading its services"})
    from region import daemon  # moto, which nothing else here needs

    home, runtime = house.home()
    order = daemon.Order(Place(home, name), home, runtime, prefix, tags_delay)
    raise SystemExit(daemon.serve(order, house.catalog(), told))


@click.command("down")
@NAME
@click.option(
    "--purge", is_flag=True, help="Forget the images that were made in it, too: only says which, unless --yes."
)
@click.option("--yes", is_flag=True, help="Do what --purge says.")
@JSON
@click.pass_obj
def down(house: House, name: str, purge: bool, yes: bool, as_json: bool) -> None:
    """Take the region down, with all its machines. Images stay for the next time.

    One that is not up is no error; what one that was killed left is removed.
    """
    home, runtime = house.home()
    place = Place(home, name)
    images = images_of(place) if purge else []
    if purge and not yes:
        if as_json:
            _print_json({"name": name, "done": False, "images": images})
            return
        for image in images:
            click.echo(f"would forget {image['id']}  {image['name']}  {image['created']}")
        click.echo(f"would take region {name} down and forget {len(images)} images of it")
        click.echo(f"  try   bakeboot region down --purge --yes{place.option}")
        return
    began = time.monotonic()
    was_up = detached.stop(place)
    swept = [] if was_up else sweep(home, runtime)  # it may have been killed
    if purge:
        forget_images(place)
    if as_json:
        _print_json({"name": name, "done": True, "was_up": was_up, "swept": swept, "images": images})
        return
    if was_up:
        click.echo(f"region {name} is down ({time.monotonic() - began:.1f} s)")
    else:
        click.echo(f"region {name} is not up")
        if swept:
            click.echo(f"removed what a dead owner left: {', '.join(swept)}")
    for image in images:
        click.echo(f"forgot {image['id']}  {image['name']}")


@click.command("status")
@NAME
@JSON
@click.pass_obj
def status(house: House, name: str, as_json: bool) -> None:
    """What there is: instances, groups, load balancers with their targets' health, faults, images."""
    told = client_of(house, name).status()
    if as_json:
        _print_json(told)
        return
    since = datetime.fromtimestamp(told["started"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    click.echo(status_text.headline(told, time.time(), since))
    for table in status_text.tables(told):
        click.echo()
        house.table(table.columns, table.rows)


@click.command("logs")
@NAME
@click.option("-f", "--follow", "followed", is_flag=True, help="Go on as more is written, until Ctrl-C.")
@click.option(
    "-n", "--lines", type=click.IntRange(0), default=200, show_default=True, help="So many of the last lines."
)
@click.option("--instance", default=None, metavar="ID", help="What this instance's machine wrote to its console.")
@click.pass_obj
def logs(house: House, name: str, followed: bool, lines: int, instance: str | None) -> None:
    """The region's log, or an instance's console. The log is there when the region is down, too."""
    home, _ = house.home()
    if instance is None:
        place = Place(home, name)
        if not place.log.exists():
            raise RegionError("it was never up, and has no log", where=f"region {name}", hint="bakeboot region up")
        _print_lines(last_lines(place.log, lines))
        if followed:
            _print_lines(follow(place.log))
        return
    client = client_of(house, name)
    text = client.console(instance)
    _print_lines(text.splitlines()[max(0, len(text.splitlines()) - lines) :])
    while followed:
        time.sleep(0.3)
        more = client.console(instance)
        click.echo(news(text, more), nl=False)
        text = more


def _print_lines(lines: Sequence[str] | Iterator[str]) -> None:
    for line in lines:
        click.echo(line)


@click.command("env")
@NAME
@click.option("--unset", is_flag=True, help="Print what takes the variables away again.")
@click.pass_obj
def env(house: House, name: str, unset: bool) -> None:
    """Print lines for a shell, after which any AWS client uses the region.

    eval "$(bakeboot region env)"
    """
    if unset:
        click.echo(f"unset {' '.join(VARIABLES)}")
        return
    for variable, value in client_of(house, name).environment().items():
        click.echo(f"export {variable}={shlex.quote(value)}")
    click.echo("unset AWS_SESSION_TOKEN")  # that of another key would be sent with this one


@click.command("interrupt")
@click.argument("instance")
@NAME
@click.option("--notice", type=DURATION, default=120.0, show_default="120s", help="Between the notice and the end.")
@click.option("--rebalance", is_flag=True, help="Only recommend a rebalance: nothing ends.")
@click.pass_obj
def interrupt(house: House, instance: str, name: str, notice: float, rebalance: bool) -> None:
    """Interrupt a spot INSTANCE as AWS does: a notice in its metadata, and then its end.

    Its id may be cut short where it says which.
    """
    found = client_of(house, name).interrupt(instance, notice, rebalance=rebalance)
    click.echo(f"{found} was recommended a rebalance" if rebalance else f"{found} ends in {said(notice)}")


def _print_json(value: Any) -> None:
    import json

    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
