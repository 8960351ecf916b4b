"""Templates to files: what the bake puts on an image besides code. Pure but for reading the templates.

A variable that a template names and nobody gives is an error (``StrictUndefined``). Values from a stack
file pass through the filters of ``agent.unitfile``, which refuse what a directive can't carry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from agent.unitfile import nginxvalue, unitvalue, unitword

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"


@dataclass(frozen=True)
class RenderedFile:
    """One file of the image: its path from ``/``, its text, whether it is a program."""

    path: str
    text: str
    executable: bool = False


class Renderer:
    """The templates of one folder."""

    def __init__(self, folder: Path = TEMPLATES) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(folder),
            undefined=StrictUndefined,
            autoescape=False,  # noqa: S701  # what is rendered are units and shell, never HTML
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self._environment.filters.update(unitword=unitword, unitvalue=unitvalue, nginxvalue=nginxvalue)

    def __call__(
        self, template: str, path: str, values: Mapping[str, Any], *, executable: bool = False
    ) -> RenderedFile:
        return RenderedFile(path, self._environment.get_template(template).render(values), executable)
