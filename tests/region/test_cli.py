"""`bakeboot region` up to its region's door: what each command asks for, and what it prints of the answer."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from region import cli
from region.aws.world import NoImages
from region.errors import RegionError
from region.faults import FOREVER, Faults
from tests.region.fake_region import ID, STATUS, FakeRegion, serving


class Terminal:
    """Runs commands with the home in a folder, and keeps the tables that they show."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.tables: list[tuple[tuple[str, ...], Sequence[tuple[str, ...]]]] = []
        self.program = click.Group("bakeboot")
        house = cli.House(
            home=lambda: (home, home / "run"),
            catalog=NoImages,
            voice=lambda quiet: nullcontext(click),  # type: ignore[arg-type]
            table=lambda columns, rows: self.tables.append((columns, rows)),
        )
        cli.register(self.program, house)

    def run(self, line: str, *, code: int = 0, **environment: str) -> Result:
        result = CliRunner(env=environment).invoke(self.program, ["region", *shlex.split(line)])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path)


@pytest.fixture
def region(tmp_path: Path) -> Iterator[FakeRegion]:
    region = FakeRegion()
    with serving(tmp_path, region):
        yield region


@pytest.mark.network
@pytest.mark.parametrize(
    ("line", "plan"),
    [
        ("--throttle", {"kind": "throttle"}),
        ("--latency 200ms", {"kind": "latency", "seconds": 0.2}),
        ("--lose-answer --count 3 --skip 2", {"kind": "lost", "count": 3, "skip": 2}),
        ("--refuse --rate 0.5 --for 1m", {"kind": "refuse", "rate": 0.5, "for": 60.0}),
        ("--error Boom --status 503", {"kind": "error", "code": "Boom", "status": 503}),
        (
            "--error Boom --message no --principal web",
            {"kind": "error", "code": "Boom", "message": "no", "principal": "web"},
        ),
    ],
)
def test_a_fault_of_the_api_is_asked_for_as_it_was_said(
    terminal: Terminal, region: FakeRegion, line: str, plan: dict[str, Any]
) -> None:
    told = terminal.run(f"fault api ec2:RunInstances {line}").output
    assert region.asked == [("fault", {"calls": "ec2:RunInstances", **plan})]
    assert "bakeboot region fault clear fault-1 " in told


@pytest.mark.network
@pytest.mark.parametrize(
    ("line", "faults"),
    [
        ("--tags-late 5s", Faults(tags_late=5.0)),
        ("--tags-gone", Faults(tags_gone=True)),
        ("--slow 200ms --unavailable forever", Faults(slow=0.2, unavailable=FOREVER)),
        (
            "--hang 2m --refused 1s --unauthorized 3s --disabled",
            Faults(hang=120, refused=1, unauthorized=3, disabled=True),
        ),
        ("--gone tags --gone /placement/", Faults(gone=frozenset({"tags", "placement"}))),
        ("--wrong ami-id=a=b --broken-tag Name", Faults(wrong={"ami-id": "a=b"}, broken_tags=frozenset({"Name"}))),
    ],
)
def test_faults_of_metadata_are_asked_for_as_they_were_said(
    terminal: Terminal, region: FakeRegion, line: str, faults: Faults
) -> None:
    terminal.run(f"fault metadata {ID} {line}")
    (asked,) = region.asked
    assert asked == ("metadata", ID, Faults(**{**vars(faults), "since": "start"}))


@pytest.mark.network
@pytest.mark.parametrize(
    ("line", "asked", "told"),
    [
        (f"interrupt {ID}", ("interrupt", ID, 120.0, False), "ends in 2m00s"),
        (f"interrupt {ID} --notice 0s", ("interrupt", ID, 0.0, False), "ends in 0s"),
        (f"interrupt {ID} --rebalance", ("interrupt", ID, 120.0, True), "recommended a rebalance"),
        (f"fault machine {ID} --kill", ("kill", ID), "lost its machine"),
        ("fault clear --all", ("clear", None), "fault-1 ended"),
        ("fault clear fault-1", ("clear", "fault-1"), "fault-1 ended"),
    ],
)
def test_a_command_asks_for_what_it_says(
    terminal: Terminal, region: FakeRegion, line: str, asked: tuple[Any, ...], told: str
) -> None:
    assert told in terminal.run(line).output
    assert region.asked == [asked]


@pytest.mark.network
def test_what_env_prints_means_the_same_to_a_shell(terminal: Terminal, region: FakeRegion) -> None:
    words = [shlex.split(line) for line in terminal.run("env").output.splitlines()]
    variables = dict(word.split("=", 1) for verb, word in words if verb == "export")
    assert set(variables) == set(cli.VARIABLES)
    assert variables["AWS_SECRET_ACCESS_KEY"] == "it's $5"
    assert ["unset", "AWS_SESSION_TOKEN"] in words
    assert terminal.run("env --unset").output.split() == ["unset", *cli.VARIABLES]


@pytest.mark.network
def test_status_is_tables_or_all_there_is(terminal: Terminal, region: FakeRegion) -> None:
    assert json.loads(terminal.run("status --json").output) == STATUS
    assert "region local is up at http://127.77.1.1:4566 since 1970-01-01T00:00:00Z" in terminal.run("status").output
    assert [rows for _, rows in terminal.tables] == [[("ami-1", "shop-2026-11-24.1", "available")]]


@pytest.mark.network
def test_the_environment_can_say_which_region(tmp_path: Path, terminal: Terminal) -> None:
    with serving(tmp_path, FakeRegion(), "two"):
        terminal.run("status", BAKEBOOT_REGION="two")
        with pytest.raises(RegionError, match="region local: is not up"):
            terminal.run("status")


@pytest.mark.network
def test_a_console_s_last_lines_are_shown(terminal: Terminal, region: FakeRegion) -> None:
    assert terminal.run(f"logs --instance {ID}").output == "Welcome\n"
    assert terminal.run(f"logs --instance {ID} --lines 0").output == ""


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("fault api ec2:*", "one of --latency"),
        ("fault api ec2:* --throttle --latency 1s", "one of --latency"),
        ("fault api ec2:* --throttle --status 503", "are of an --error"),
        ("fault api ec2:* --latency forever", "such as 200ms"),
        ("fault api ec2:* --throttle --rate 2", "--rate"),
        ("fault metadata i-1", "say what is wrong"),
        ("fault metadata i-1 --wrong ami-id", "expected PATH=VALUE"),
        ("fault machine i-1", "--kill"),
        ("fault clear", "--all"),
        ("fault clear fault-1 --all", "--all"),
        ("interrupt i-1 --notice soon", "such as 200ms"),
        ("up --prefix A/b", "expected a-z"),
        ("up --tags-delay -1s", "such as 200ms"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anybody_is_asked(terminal: Terminal, line: str, what: str) -> None:
    assert what in terminal.run(line, code=2).output


def test_a_region_that_never_was_has_no_log_and_is_not_up(terminal: Terminal) -> None:
    with pytest.raises(RegionError, match="has no log"):
        terminal.run("logs")
    with pytest.raises(RegionError, match="is not up"):
        terminal.run("env")
    assert terminal.run("down").output == "region local is not up\n"


def test_purge_of_nothing_says_so(terminal: Terminal) -> None:
    assert "forget 0 images" in terminal.run("down --purge").output
    assert json.loads(terminal.run("down --purge --json").output) == {"name": "local", "done": False, "images": []}
