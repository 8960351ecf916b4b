"""The front door: the one program that people and CI call. It alone knows every package."""

from __future__ import annotations

import sys
from importlib.metadata import version

import click

from agent.errors import BakebootError
from bake import cli as bake_cli
from region.errors import RegionError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("bakeboot"), prog_name="bakeboot")
def program() -> None:
    """One machine image for a whole company: bake it, boot it by its tags."""


bake_cli.register(program)


def main() -> None:
    """Run the command line; a mistake is told in a few lines and an exit code, never with a traceback."""
    try:
        program.main(standalone_mode=False)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (BakebootError, RegionError) as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.exceptions.Abort):
        click.echo("stopped; nothing is left running", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
