"""The commands about images: ``bakeboot bake, lock, init, boot, images, export, sweep, docs, doctor``."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import click

from agent.names import MODES
from bake import images_cli
from bake.boot import BootOrder, boot
from bake.git import Git
from bake.home import Home
from bake.images import ImageStore
from bake.lock import lock_stack
from bake.mirrors import Mirrors
from bake.output import JSON, console, print_json, voice
from bake.reader import read_stack
from bake.recipe import BakeOrder, bake
from bake.sweep import sweep

STACK_FILE = click.option(
    "--stack",
    "stack_file",
    type=click.Path(path_type=Path),
    default=Path("stack.toml"),
    show_default=True,
    help="The stack file.",
)


def register(program: click.Group) -> None:
    """Add every command of this package to the front door's program."""
    for command in (
        bake_command,
        lock_command,
        init_command,
        boot_command,
        sweep_command,
        docs_command,
        doctor_command,
    ):
        program.add_command(command)
    program.add_command(images_cli.images)
    program.add_command(images_cli.export_command)


@click.command("bake")
@STACK_FILE
@click.option("--update", multiple=True, metavar="REPO", help="Lock this repo's ref anew first; can be given again.")
@click.option("--update-all", is_flag=True, help="Lock every repo's ref anew first.")
@click.option("--scratch", is_flag=True, help="Make base, packages and every repo anew.")
@JSON
def bake_command(stack_file: Path, update: tuple[str, ...], update_all: bool, scratch: bool, as_json: bool) -> None:
    """Bake one image of the whole stack, and verify it.

    Only repos that changed since an earlier bake are built. An image counts once it was booted, in
    review and as every service of production, and answered; one that did not is kept as failed.
    """
    order = BakeOrder(stack_file, update, update_all, scratch)
    with voice(stderr=as_json) as speaker:
        image = bake(Home.open(), order, speaker, lambda: datetime.datetime.now(datetime.UTC))
    if as_json:
        print_json({"image": image.name, "state": image.state, "digest": image.digest})
    else:
        console().print(f"{image.name} is {image.state}")
        console().print(f"  try   bakeboot boot {image.name} --mode review")


@click.command("lock")
@STACK_FILE
@click.option("--update", "update", is_flag=True, help="Move pins: of the repos named, or of all.")
@click.argument("repos", nargs=-1)
@JSON
def lock_command(stack_file: Path, update: bool, repos: tuple[str, ...], as_json: bool) -> None:
    """Pin every repo's ref to a commit, in stack.lock beside the stack file.

    Pins that are there stay, unless --update says which move: `bakeboot lock --update storefront`.
    """
    if repos and not update:
        raise click.UsageError("name repos together with --update: bakeboot lock --update " + " ".join(repos))
    stack = read_stack(stack_file)
    moving = repos or tuple(stack.repos) if update else ()
    locking = lock_stack(
        stack, stack_file.with_name("stack.lock"), Mirrors(Home.open().mirrors, Git(os.environ)), update=moving
    )
    if as_json:
        print_json({"repos": {n: {"ref": p.ref, "commit": p.commit} for n, p in locking.lock.repos.items()}})
        return
    changes = [str(change) for change in locking.changes if change.verdict != "same"]
    for line in (*(changes or ["every pin stays"]), *locking.notices):
        console().print(line)


@click.command("init")
@click.argument("directories", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), default=Path("stack.toml"), show_default=True)
@click.option("--name", default=None, help="The stack's name; else that of the folder it is written to.")
def init_command(directories: tuple[Path, ...], output: Path, name: str | None) -> None:
    """Write a first stack.toml from repos with a Procfile and app.json."""
    from bake.init import init_stack

    written = init_stack(directories, output, Git(os.environ), name=name)
    services = ", ".join(written.stack.services)
    for line in (f"wrote {written.path}: {services}", *written.notices, "  try   bakeboot lock"):
        console().print(line)


class _WithCommand(click.Command):
    """A command whose arguments after ``--`` are another command: they become ``ctx.obj``, as they are."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        ctx.obj = tuple(args[end + 1 :])
        return super().parse_args(ctx, args[:end])

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- COMMAND...]"]


@click.command("boot", cls=_WithCommand)
@click.argument("image", default="latest")
@click.option("--mode", type=click.Choice(MODES), default="review", show_default=True, help="What it becomes.")
@click.option("--service", default=None, help="The service that a staging or production machine runs.")
@click.option("--stack-name", default=None, help="Of this stack: where a home holds images of several.")
@click.option("--with-review", is_flag=True, help="Start a review machine beside it and use its datastores.")
@click.option(
    "--env",
    "variables",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="Configuration, as SSM would give it; without =VALUE that of your environment, for secrets.",
)
@click.option(
    "--tag",
    "tags",
    multiple=True,
    metavar="KEY=VALUE",
    help="All its tags, bakeboot:stack and bakeboot:mode too.",
)
@click.option("--no-tags", is_flag=True, help="Metadata without any tag, to see what it does.")
@click.option(
    "--tags-late", type=click.FloatRange(min=0), default=0.0, metavar="SECONDS", help="Tags appear only then."
)
@click.option("--shell", is_flag=True, help="Open a root shell inside, ready or not.")
@click.pass_obj
def boot_command(
    command: tuple[str, ...],
    image: str,
    mode: str,
    service: str | None,
    stack_name: str | None,
    with_review: bool,
    variables: tuple[str, ...],
    tags: tuple[str, ...],
    no_tags: bool,
    tags_late: float,
    shell: bool,
) -> None:
    """Boot IMAGE (latest: the newest verified one) as a machine here; it becomes what its tags say.

    Without a COMMAND it runs until Ctrl-C. A COMMAND, after `--`, runs on this host once the machine is
    ready, with the addresses of its services in its environment (STOREFRONT_URL, ...), and its exit code
    is the result.
    """
    if shell and command:
        raise click.UsageError("--shell and a COMMAND: one of the two")
    order = BootOrder(
        mode=mode,
        service=service,
        tags=_pairs(tags, "--tag") if tags else None,
        tags_late=tags_late,
        no_tags=no_tags,
        variables=_pairs(variables, "--env", os.environ),
        with_review=with_review,
        command=command,
        shell=shell,
    )
    home = Home.open()
    sweep(home)
    with voice(stderr=False) as speaker:
        code = boot(home, ImageStore(home).find(image, stack=stack_name), order, speaker)
    raise SystemExit(code)


@click.command("sweep")
@JSON
def sweep_command(as_json: bool) -> None:
    """Remove what bakes and machines that were killed left behind (every bake and boot does so first)."""
    swept = sweep(Home.open())
    if as_json:
        print_json({"swept": swept})
    else:
        console().print("\n".join(f"removed {one}" for one in swept) or "nothing was left behind")


@click.command("docs")
@click.argument("topic", type=click.Choice(["stack"]))
def docs_command(topic: str) -> None:
    """Print documentation: `bakeboot docs stack` is the whole stack file, annotated."""
    click.echo(Path(__file__).with_name(f"{topic}_example.toml").read_text(), nl=False)


@click.command("doctor")
@JSON
def doctor_command(as_json: bool) -> None:
    """Say what this machine lacks to bake and boot, and how to get it."""
    from bake.doctor import doctor

    code = doctor(as_json=as_json)
    if code:
        raise SystemExit(code)


def _pairs(words: tuple[str, ...], option: str, given: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """``NAME=VALUE`` words; a bare ``NAME`` stands for its value in ``given``. No message repeats a value."""
    pairs = {}
    for word in words:
        name, mark, value = word.partition("=")
        if not name or not (mark or name in given):
            raise click.BadParameter(f"expected NAME=VALUE, got {name!r}{mark} alone", param_hint=option)
        pairs[name] = value if mark else given[name]
    return pairs
