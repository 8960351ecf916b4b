"""`bakeboot region fault`: what can go wrong on AWS, on demand: in the API, in metadata, with a machine."""

from __future__ import annotations

import json
from typing import Any

import click

from region import status_text
from region.cli import DURATION, JSON, NAME, Duration, House, client_of
from region.faults import Faults

ENDS: dict[str, Any] = {"type": DURATION, "metavar": "DURATION"}
LASTS: dict[str, Any] = {"type": Duration(forever=True), "metavar": "DURATION", "default": 0.0}


@click.group("fault")
def fault() -> None:
    """Make something go wrong: calls of the API, an instance's metadata, a machine."""


@fault.command("api")
@click.argument("call")
@NAME
@click.option("--latency", default=None, help="The answer comes this much later.", **ENDS)
@click.option("--throttle", is_flag=True, help="Refused as one call too many.")
@click.option("--error", metavar="CODE", default=None, help="Refused with this error code.")
@click.option("--status", type=click.IntRange(400, 599), default=None, help="With --error: the HTTP status; else 500.")
@click.option("--message", default=None, help="With --error: what it says.")
@click.option("--lose-answer", is_flag=True, help="It is carried out, and the connection ends without an answer.")
@click.option("--refuse", is_flag=True, help="The connection ends, and nothing is carried out.")
@click.option("--rate", type=click.FloatRange(0, 1), default=None, help="The share of the calls; else all.")
@click.option("--skip", type=click.IntRange(0), default=None, help="So many calls go well first.")
@click.option("--count", type=click.IntRange(1), default=None, help="So many calls, and no more.")
@click.option("--for", "lasts", default=None, help="For so long; else until it is cleared.", **ENDS)
@click.option(
    "--principal", default=None, help="Only calls of this one: an instance's id, a role's name, an ARN, `admin`."
)
@JSON
@click.pass_obj
def api(
    house: House,
    call: str,
    name: str,
    latency: float | None,
    throttle: bool,
    error: str | None,
    status: int | None,
    message: str | None,
    lose_answer: bool,
    refuse: bool,
    rate: float | None,
    skip: int | None,
    count: int | None,
    lasts: float | None,
    principal: str | None,
    as_json: bool,
) -> None:
    """Something goes wrong with CALL: `ec2:RunInstances`, `ssm:*`, `*`.

    One of --latency, --throttle, --error, --lose-answer, --refuse says what; a latency comes on top of the others.
    """
    kinds = {
        "latency": latency is not None,
        "throttle": throttle,
        "error": error is not None,
        "lost": lose_answer,
        "refuse": refuse,
    }
    asked = [kind for kind, given in kinds.items() if given]
    if len(asked) != 1:
        raise click.UsageError("say what goes wrong, one of --latency, --throttle, --error, --lose-answer, --refuse")
    if (status or message) and error is None:
        raise click.UsageError("--status and --message are of an --error")
    plan = {
        **{"seconds": latency, "code": error, "status": status, "message": message},
        **{"rate": rate, "skip": skip, "count": count, "for": lasts, "principal": principal},
    }
    made = client_of(house, name).fault_api(
        call, asked[0], **{key: value for key, value in plan.items() if value is not None}
    )
    _tell(made, f"{made}: {asked[0]} of {call}", name, as_json=as_json)


@fault.command("metadata")
@click.argument("instance")
@NAME
@click.option("--tags-late", help="Its tags are there only then.", **LASTS)
@click.option("--tags-gone", is_flag=True, help="Its tags are not there.")
@click.option("--broken-tag", "broken", multiple=True, metavar="KEY", help="A tag that is listed and can't be read.")
@click.option("--slow", help="Every answer comes this much later.", **LASTS)
@click.option("--hang", help="For so long connections are taken and nothing is answered.", **LASTS)
@click.option("--refused", help="For so long connections are refused.", **LASTS)
@click.option("--unavailable", help="For so long every answer is 503.", **LASTS)
@click.option("--unauthorized", help="For so long every read is 401, its token fresh or not.", **LASTS)
@click.option("--disabled", is_flag=True, help="Every answer is 403, as when the service is turned off.")
@click.option("--gone", multiple=True, metavar="PATH", help="This path below meta-data/ is 404, and all below it.")
@click.option("--wrong", multiple=True, metavar="PATH=VALUE", help="This path below meta-data/ answers that.")
@JSON
@click.pass_obj
def metadata(
    house: House,
    /,
    instance: str,
    name: str,
    broken: tuple[str, ...],
    gone: tuple[str, ...],
    wrong: tuple[str, ...],
    as_json: bool,
    **plain: Any,
) -> None:
    """Something is wrong with the metadata of INSTANCE, from now on; it replaces what was wrong before.

    A DURATION is `200ms`, `2m` or `forever`. Options can be combined.
    """
    pairs = dict(_pair(word) for word in wrong)
    faults = Faults(
        **plain,
        broken_tags=frozenset(broken),
        gone=frozenset(path.strip("/") for path in gone),
        wrong=pairs,
        since="start",
    )
    if faults == Faults(since="start"):
        raise click.UsageError("say what is wrong: bakeboot region fault metadata --help")
    found = client_of(house, name).fault_metadata(instance, faults)
    _tell(found, f"{found}: its metadata is wrong from now on", name, as_json=as_json)


@fault.command("machine")
@click.argument("instance")
@NAME
@click.option("--kill", is_flag=True, required=True, help="End it as a power cut does.")
@click.pass_obj
def machine(house: House, instance: str, name: str, kill: bool) -> None:
    """The machine of INSTANCE dies. The API goes on to call it running, and finds it impaired."""
    click.echo(f"{client_of(house, name).kill_machine(instance)} lost its machine")


@fault.command("list")
@NAME
@JSON
@click.pass_obj
def list_command(house: House, name: str, as_json: bool) -> None:
    """Every fault in force."""
    found = client_of(house, name).faults()
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif found:
        table = status_text.faults_table(found)
        house.table(table.columns, table.rows)
    else:
        click.echo("no fault is in force")


@fault.command("clear")
@click.argument("fault_id", required=False, metavar="[ID]")
@click.option("--all", "every", is_flag=True, help="End every one.")
@NAME
@click.pass_obj
def clear(house: House, fault_id: str | None, every: bool, name: str) -> None:
    """End the fault ID (of an instance's metadata: the instance's id), or with --all every one."""
    if (fault_id is None) != every:
        raise click.UsageError("give the id of one, or --all: bakeboot region fault list")
    cleared = client_of(house, name).clear_faults(fault_id)
    click.echo("\n".join(f"{one} ended" for one in cleared) or "no fault was in force")


def _pair(word: str) -> tuple[str, str]:
    path, mark, value = word.partition("=")
    if not path or not mark:
        raise click.BadParameter(f"expected PATH=VALUE, got {word!r}", param_hint="--wrong")
    return path.strip("/"), value


def _tell(made: str, line: str, name: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"id": made}, indent=2))
        return
    option = "" if name == "local" else f" --name {name}"
    click.echo(line)
    click.echo(f"  try   bakeboot region fault clear {made}{option}    to end it")
