"""The annotated example is docs and help at once: so it must be right, and complete."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import bake.stack
from bake.fields import Report
from bake.reader import parse_stack, read_stack

EXAMPLE = Path(bake.stack.__file__).with_name("stack_example.toml")
TEXT = EXAMPLE.read_text()

NAMED = {"repos", "services", "datastores", "stack.apt_sources"}
"""Tables whose keys are names."""


def keys(table: Mapping[str, object], path: str = "") -> Iterator[str]:
    """The path of each key, names as `*`, down to values and to tables of free keys."""
    for key, value in table.items():
        whole = ".".join(part for part in (path, "*" if path in NAMED else key) if part)
        if isinstance(value, Mapping) and not whole.endswith(".env"):
            yield from keys(value, whole)
        else:
            yield whole


def test_it_reads_without_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "stack.toml").write_text(TEXT)
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/pgdg.asc").touch()
    stack = read_stack(tmp_path / "stack.toml")
    assert set(stack.services) == {"storefront", "orders-api", "orders-worker", "nightly", "www"}
    assert {service.kind for service in stack.services.values()} == {"web", "worker", "clock"}


def test_it_mentions_every_key_that_the_reader_knows_and_no_other() -> None:
    report = Report()
    parse_stack(TEXT, Path("/"), report=report)
    assert set(keys(tomllib.loads(TEXT))) == report.known


def test_it_says_every_default_where_the_key_stands_first() -> None:
    required = {"name", "uri", "suite", "url", "kind", "path"}
    first = {match[1]: match[0] for match in reversed(list(re.finditer(r"(?m)^([a-z_]+) = .*$", TEXT)))}
    exempt = required | {"repo", "process", "check", "health"}
    silent = [key for key, line in first.items() if key not in exempt and "default" not in line]
    assert silent == []


def test_its_lines_fit_on_a_screen() -> None:
    assert [line for line in TEXT.splitlines() if len(line) > 120] == []
