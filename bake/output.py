"""What commands print: a console, JSON, and the voice of a long command. Plain where it is no terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from bake.voice import ConsoleVoice

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
"""The option of every command that can do so."""


def console(*, stderr: bool = False) -> Console:
    """A console that prints texts as they are: a commit's subject is no markup, and ``:8000:`` no emoji."""
    return Console(stderr=stderr, soft_wrap=True, markup=False, emoji=False, highlight=False)


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """A table on a terminal; elsewhere the same cells separated by tabs, a row a line, headings first."""
    out = console()
    if not out.is_terminal:
        for row in (columns, *rows):
            click.echo("\t".join(row))
        return
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    out.print(table)


@contextmanager
def voice(*, stderr: bool) -> Iterator[ConsoleVoice]:
    """A voice for one command: on stdout, or on ``stderr`` where stdout is for JSON."""
    speaker = ConsoleVoice(console(stderr=stderr))
    try:
        yield speaker
    except BaseException:
        speaker.end(done=False)
        raise
    speaker.end()
