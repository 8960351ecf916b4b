"""Templates: what they name must be given."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pytest

from agent.errors import ConfigError
from bake.render import TEMPLATES, Renderer


def test_a_variable_that_nobody_gives_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.j2").write_text("a {{ missing }} b\n")
    with pytest.raises(jinja2.UndefinedError, match="missing"):
        Renderer(tmp_path)("x.j2", "/x", {})


def test_values_pass_through_the_filters(tmp_path: Path) -> None:
    (tmp_path / "x.j2").write_text("{{ a | unitword }} {{ b | unitvalue }} {{ c | nginxvalue }}\n")
    rendered = Renderer(tmp_path)("x.j2", "/x", {"a": "$x", "b": "100%", "c": 'a"b'}, executable=True)
    assert (rendered.path, rendered.text, rendered.executable) == ("/x", '"$$x" 100%% "a\\"b"\n', True)
    with pytest.raises(ConfigError):
        Renderer(tmp_path)("x.j2", "/x", {"a": "x\nExecStart=/bin/false", "b": "", "c": ""})


@pytest.mark.parametrize("template", sorted(path.name for path in TEMPLATES.glob("*.service.j2")))
def test_no_unit_is_rendered_without_its_values(template: str) -> None:
    with pytest.raises(jinja2.UndefinedError):
        Renderer()(template, "/x", {})
