"""The rules of the house, each a test: what a tool can hold us to, no reviewer has to."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.errors import BakebootError
from region.errors import RegionError, RootError

pytestmark = pytest.mark.house

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 400  # lines of a Python file

ROOMS = {"region": set(), "agent": set(), "bake": {"agent", "region"}, "deploy": {"agent"}}
"""Which of our packages each of them may import: region ← bake → agent ← deploy. The front door may import all."""

AGENT_LIBRARIES = sys.stdlib_module_names | {"systemd"}
"""What the agent finds on an image: the standard library, and its own small environment."""

NO_WORDS = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
"""Names of modules that say nothing."""

REGISTRIES = tuple(
    ".".join(words)
    for words in (
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("registry", "yarnpkg", "com"),
        ("deb", "debian", "org"),
        ("security", "debian", "org"),
        ("snapshot", "debian", "org"),
        ("crates", "io"),
        ("rubygems", "org"),
        ("proxy", "golang", "org"),
    )
)
"""Hosts that no file may name, in pieces, so as not to: where packages come from is a setting of the machine."""


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)


def files(pattern: str = "*") -> list[Path]:
    """The files of the repository, new ones included, ignored ones not."""
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", pattern)
    assert listed.returncode == 0, listed.stderr
    paths = sorted(ROOT / name for name in listed.stdout.split("\0") if name)
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def told(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


@pytest.mark.parametrize(
    "tool",
    [
        ("ruff", "check", "--output-format=concise", "."),
        ("ruff", "format", "--check", "."),
        ("mypy", "agent", "bake", "region", "bakeboot.py", "tests", "examples"),
    ],
    ids=lambda tool: " ".join(tool[:2]),
)
def test_the_tools_find_nothing(tool: tuple[str, ...]) -> None:
    result = run(sys.executable, "-m", *tool)
    assert result.returncode == 0, result.stdout + result.stderr


# --- who may import whom ----------------------------------------------------------------------------------------------


def imports(source: str) -> Iterator[tuple[int, str]]:
    """The line and top name of every import, wherever it stands; ``.`` for a relative one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." if node.level else str(node.module).partition(".")[0]


def breaches(root: Path) -> list[str]:
    """Imports below ``root`` that go from one room into another without a door, as ``path:line: a imports b``."""
    found = []
    for room, doors in ROOMS.items():
        for path in sorted((root / room).rglob("*.py")):
            for line, name in imports(path.read_text()):
                closed = (set(ROOMS) | {"bakeboot", "tests", "examples"}) - doors - {room}
                foreign = room == "agent" and name not in AGENT_LIBRARIES | set(ROOMS)
                if name in closed or name == "." or foreign:
                    found.append(f"{path.relative_to(root)}:{line}: {room} imports {name}")
    return found


def test_the_rooms_import_only_through_their_doors() -> None:
    assert breaches(ROOT) == []


def test_a_wrong_import_is_found_wherever_it_stands(tmp_path: Path) -> None:
    for room in ("agent", "bake", "region", "deploy"):
        (tmp_path / room).mkdir()
    (tmp_path / "agent" / "a.py").write_text("import json\nimport systemd.daemon\nimport jinja2\nimport region.x\n")
    (tmp_path / "bake" / "b.py").write_text("from agent.errors import X\nfrom region import y\nimport deploy.run\n")
    (tmp_path / "region" / "r.py").write_text("def f():\n    if True:\n        from agent.words import z\n")
    (tmp_path / "deploy" / "d.py").write_text("import agent\nfrom bake.plan import p\nfrom . import q\n")
    assert breaches(tmp_path) == [
        "region/r.py:3: region imports agent",
        "agent/a.py:3: agent imports jinja2",
        "agent/a.py:4: agent imports region",
        "bake/b.py:3: bake imports deploy",
        "deploy/d.py:2: deploy imports bake",
        "deploy/d.py:3: deploy imports .",
    ]


# --- what files look like ---------------------------------------------------------------------------------------------


def test_a_python_file_fits_in_a_head() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in files("*.py")}
    assert {str(path.relative_to(ROOT)): length for path, length in lengths.items() if length > LONGEST} == {}


def test_packages_have_empty_inits() -> None:
    assert told([path for path in files("*__init__.py") if path.read_text()]) == []


def test_modules_say_what_they_are_for() -> None:
    modules = [path for room in ("agent", "bake", "region") for path in files(f"{room}/*.py")]
    silent = [
        path for path in modules if path.name != "__init__.py" and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert told(silent) == []
    assert told([path for path in modules if path.stem in NO_WORDS]) == []


def test_nothing_is_put_off_in_a_comment() -> None:
    later = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "for " + "now")) + r")\b")
    assert told([path for path in files("*.py") if later.search(path.read_text())]) == []


def test_no_test_patches_the_code_that_it_tests() -> None:
    mock = re.compile(
        r"(?m)^\s*(from unittest(\.mock)? import .*\bmock|from unittest\.mock|import unittest\.mock|import mock)"
    )
    assert told([path for path in files("*.py") if mock.search(path.read_text())]) == []


REGISTRY = re.compile("|".join(map(re.escape, REGISTRIES)))


def test_no_file_names_a_package_registry() -> None:
    assert told([path for path in files() if REGISTRY.search(path.read_text(errors="replace"))]) == []


def test_the_pattern_of_registries_finds_one_and_takes_a_dot_for_a_dot() -> None:
    assert REGISTRY.search("resolved https://registry." + "npmjs" + ".org/leaf/-/leaf-1.0.0.tgz")
    assert not REGISTRY.search("resolved https://registry." + "npmjs" + "-org/leaf/-/leaf-1.0.0.tgz")


def test_locks_hold_a_version_and_hashes_for_everything() -> None:
    for path in files("*.lock"):
        if path.name.startswith("requirements"):
            for entry in re.split(r"\n(?=\S)", re.sub(r"(?m)^\s*(#.*)?\n", "", path.read_text()).strip()):
                assert re.match(r"[\w.-]+==[\w.!+]+ \\\n    --hash=sha256:[0-9a-f]{64}\b", entry), (
                    f"{path.name}: {entry:.60}"
                )


# --- exit codes -------------------------------------------------------------------------------------------------------


def family(error: type[BakebootError]) -> Iterator[type[BakebootError]]:
    yield error
    for child in error.__subclasses__():
        yield from family(child)


def documented() -> dict[int, str]:
    """Code to error, from the table in docs/exit-codes.md."""
    rows = re.findall(r"(?m)^\| (\d+) \| (?:`(\w+)`)?", (ROOT / "docs" / "exit-codes.md").read_text())
    assert len(rows) == len({code for code, _ in rows}), "a code is documented twice"
    return {int(code): name for code, name in rows}


def test_every_error_has_an_exit_code_of_its_own_and_all_are_documented() -> None:
    ours = {error.__name__: error.exit_code for error in family(BakebootError) if error.__module__ == "agent.errors"}
    ours.pop("BakebootError")
    assert len(set(ours.values())) == len(ours)
    assert {code: name for code, name in documented().items() if name} == {code: name for name, code in ours.items()}
    assert {0, 1, 2} <= set(documented())


def test_a_region_error_ends_like_a_machine_error() -> None:
    assert documented()[RegionError.exit_code] == "MachineError"
    assert documented()[RootError.exit_code] == "HostError"
