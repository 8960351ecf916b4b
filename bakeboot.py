"""The front door: the one program that people and CI call. It alone knows every package."""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from agent.errors import BakebootError, HostError
from bake import cli as bake_cli
from bake.catalog import LocalCatalog
from bake.home import Home
from bake.output import print_table, voice
from region import cli as region_cli
from region.errors import RegionError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_SEEN_ENOUGH = 128 + signal.SIGPIPE  # whoever read our output has closed it


class Program(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # which click would end with 1
            raise click.exceptions.Exit(_SEEN_ENOUGH) from None


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("bakeboot"), prog_name="bakeboot")
def program() -> None:
    """One machine image for a whole company: bake it, boot it by its tags."""


def _home() -> tuple[Path, Path]:
    home = Home.open()
    return home.root, home.runtime


bake_cli.register(program)
region_cli.register(
    program,
    region_cli.House(
        home=_home,
        catalog=lambda: LocalCatalog(Home.open()),
        voice=lambda quiet: voice(stderr=quiet),
        table=print_table,
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code. A mistake is told in a few lines, a bug with a traceback."""
    signal.signal(signal.SIGTERM, _end_as_ctrl_c_does)
    try:
        returned = program.main(arguments, prog_name="bakeboot", standalone_mode=False)
        sys.stdout.flush()
        return returned if isinstance(returned, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (BakebootError, RegionError) as error:
        return _tell(error)
    except (KeyboardInterrupt, click.exceptions.Abort):
        click.echo("stopped", err=True)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _SEEN_ENOUGH
    except OSError as error:
        lack = lacking(error)
        if lack is None:
            raise
        return _tell(lack)


def lacking(error: OSError) -> HostError | None:
    """What this host lacks, where that is what an operating system's error means; None where it is a bug."""
    if error.errno in NO_ROOM:
        return HostError(str(error.strerror), where=str(error.filename or "a file"), hint="df -h")
    if error.errno == errno.ENOENT and _raised_in(error) == "subprocess":
        return HostError(f"{error.filename} is not installed", where="this host", hint="bakeboot doctor")
    return None


def _raised_in(error: BaseException) -> str:
    """The module that an exception comes from; "" for one that was never raised."""
    frames = list(traceback.walk_tb(error.__traceback__))
    return str(frames[-1][0].f_globals.get("__name__", "")) if frames else ""


def _tell(error: BakebootError | RegionError) -> int:
    click.echo(str(error), err=True)
    return error.exit_code


def _end_as_ctrl_c_does(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
