"""agent/build_cli.py: the build plan's JSON, what is told, and how a failure reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent import build_cli, checkout
from agent.build_plan import BuildRequest
from agent.errors import BuildError
from tests.agent.building import BASE, COMMIT, TREE, asked_of


@pytest.fixture
def asked(tmp_path: Path) -> BuildRequest:
    return asked_of(tmp_path)


def plan_of(asked: BuildRequest, **more: object) -> dict[str, object]:
    repo = {
        "name": asked.repo, "source": str(asked.source), "commit": asked.commit, "tree": asked.tree,
        "processes": dict(asked.processes), "detected": asked.detected.to_json(),
    }  # fmt: skip
    return {"destination": str(asked.root.parent), "user": None, "repos": [{**repo, **more}]}


@pytest.mark.subprocess
def test_the_command_builds_switches_and_tells(
    asked: BuildRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(plan_of(asked, detected=None, static="public")))
    arguments = ["--plan", str(file), "--logs", str(tmp_path / "logs")]
    assert build_cli.main(arguments) == 0
    assert checkout.current(asked.root) == COMMIT
    told = [json.loads(line.removeprefix("bakeboot-progress ")) for line in capsys.readouterr().out.splitlines()]
    assert [(line["repo"], line["event"]) for line in told] == [("web", "start"), ("web", "step"), ("web", "done")]
    assert build_cli.main(arguments) == 0
    assert '"event": "kept"' in capsys.readouterr().out


@pytest.mark.subprocess
def test_the_command_shows_the_end_of_a_failed_build_and_how_to_repeat_it(
    asked: BuildRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(plan_of(asked, detected={"parts": ["command"]}, build="seq 100; exit 7")))
    assert build_cli.main(["--plan", str(file), "--logs", str(tmp_path / "logs")]) == 12
    captured = capsys.readouterr()
    assert '"event": "failed"' in captured.out
    shown = captured.err.splitlines()
    assert shown[0] == "web | 71"
    assert shown[-3:] == [
        "web | 100",
        "web: build failed (exit code 7)",
        f"  again agent build --plan {file} --repo web",
    ]
    assert checkout.current(asked.root) is None


def test_a_plan_that_can_not_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(b"\xff")
    for name, why in (("none", "No such file or directory"), ("odd", "it is not UTF-8"), (".", "Is a directory")):
        with pytest.raises(BuildError, match=f"can't be read: {why}"):
            build_cli.main(["--plan", str(tmp_path / name)])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "build plan: version: expected 1"),
        ({"environment": {"LD_PRELOAD": "x"}}, "environment.LD_PRELOAD: expected a setting"),
        ({"environment": {"PIP_X": 1}}, "environment.PIP_X: expected a string"),
        ({"repos": [{"name": "../x"}]}, "repos[0]: name: expected a-z"),
        ({"repos": ["x"]}, "repos[0]: expected an object"),
        ({"repos": [{"name": "web", "commit": "main", "tree": TREE}]}, "commit: expected 40 hex digits"),
        ({"repos": [{"name": "web", "commit": COMMIT}]}, "repos[0]: tree: expected a string"),
        (
            {"repos": [{"name": "web", "commit": COMMIT, "tree": TREE, "processes": {"../x": "y"}}]},
            "expected a process name, got '../x'",
        ),
        (
            {"repos": [{"name": "web", "commit": COMMIT, "tree": TREE, "source": "/", "subdirectory": "nosuch"}]},
            "no directory 'nosuch'",
        ),
        ({"repos": [{"name": "web", "commit": COMMIT, "tree": TREE, "source": "/nosuch.tar"}]}, "needs"),
        ({"time_limit": "long"}, "time_limit: expected a number"),
    ],
    ids=str,
)
def test_a_wrong_plan_is_told_by_path(change: dict[str, object], words: str) -> None:
    with pytest.raises(BuildError) as caught:
        build_cli.read_plan(json.dumps({"repos": [], **change}), BASE)
    assert words in str(caught.value)


def test_a_subdirectory_stays_inside_its_repo(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    repo = {"name": "web", "commit": COMMIT, "tree": TREE, "source": str(tmp_path / "repo"), "subdirectory": ".."}
    with pytest.raises(BuildError, match="subdirectory"):
        build_cli.read_plan(json.dumps({"repos": [repo]}), BASE)
