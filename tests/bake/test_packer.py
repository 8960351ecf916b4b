"""Packer: what its lines say, and a run of it, with a small program in its place."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.errors import BuildError, HostError
from bake.packer import LAST_LINES, PackerRun, Progress, read_progress, run_packer, said

UI = "1763920800,null.machine,ui"


@pytest.mark.parametrize(
    ("line", "texts"),
    [
        ("1763920800,,ui,say,==> null.machine: hello\n", ["==> null.machine: hello"]),
        (f"{UI},message,    null.machine: one%!(PACKER_COMMA) two\n", ["one, two"]),
        (f"{UI},message,    null.machine: one\\n    null.machine: two\n", ["one", "two"]),
        (f"{UI},error,    null.machine: 50%%\\r\\nnext\n", ["50%%", "next"]),
        (f"{UI},message,a,b,c\n", ["a,b,c"]),
        (f"{UI},say,\n", [""]),
        ("1763920800,null.machine,artifact-count,1\n", []),
        ("1763920800,,version,1.6.6\n", []),
        ("panic: runtime error, really, ui, bad, x\n", ["panic: runtime error, really, ui, bad, x"]),
        ("\n", [""]),
    ],
)
def test_what_a_line_says(line: str, texts: list[str]) -> None:
    assert said(line) == texts


@pytest.mark.parametrize(
    ("line", "progress"),
    [
        ('bakeboot-progress {"step":"packages","event":"start"}', Progress("packages", "start")),
        ('    x: bakeboot-progress {"repo":"web","event":"done","seconds":1.5}', Progress("web", "done", 1.5)),
        ('bakeboot-progress {"step":"a","event":"done","seconds":"2"}', Progress("a", "done", 2.0)),
        ("bakeboot-progress {", None),
        ("bakeboot-progress []", None),
        ('bakeboot-progress {"step":"a"}', None),
        ('bakeboot-progress {"step":"a","event":"done","seconds":[]}', None),
        ("npm progress", None),
        ("", None),
    ],
)
def test_what_progress_a_line_tells(line: str, progress: Progress | None) -> None:
    assert read_progress(line) == progress


# --- a run ------------------------------------------------------------------------------------------------------------


def uncontained(command: Sequence[str]) -> list[str]:
    """As it is: a process namespace takes root."""
    return list(command)


def packer(folder: Path, body: str) -> str:
    """A program called packer that does this; the PATH that leads to it."""
    program = folder / "bin" / "packer"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return f"{program.parent}:/usr/bin:/bin"


def a_run(folder: Path) -> PackerRun:
    work, temporary = folder / "work", folder / "temporary"
    work.mkdir()
    temporary.mkdir()
    log, manifest = folder / "bake.log", work / "manifest.json"
    return PackerRun(folder / "machine.pkr.hcl", {"stage": "image"}, work, temporary, log, manifest, "image")


def manifest(uuid: str = "u1", last: str = "u1") -> str:
    build = {"name": "machine", "packer_run_uuid": uuid, "artifact_id": "null", "custom_data": {"stage": "image"}}
    return json.dumps({"builds": [build], "last_run_uuid": last})


def writes(text: str) -> str:
    return f"cat >work/manifest.json <<'EOF'\n{text}\nEOF"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_without_packer_it_says_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    with pytest.raises(HostError, match="not installed") as told:
        run_packer(a_run(tmp_path), lambda progress: None, path=str(tmp_path / "bin"), contain=uncontained)
    assert told.value.hint == "apt-get install packer"


@pytest.mark.subprocess
def test_a_run_tells_its_progress_keeps_its_log_and_returns_the_manifests_entry(tmp_path: Path) -> None:
    body = (
        f"echo '{UI},message,    null.machine: bakeboot-progress "
        '{"repo":"web"%!(PACKER_COMMA)"event":"start"}\'\n'
        f"echo '{UI},error,    null.machine: a warning' >&2\n" + writes(manifest())
    )
    heard: list[Progress] = []
    run = a_run(tmp_path)
    entry = run_packer(run, heard.append, path=packer(tmp_path, body), contain=uncontained)
    assert entry["custom_data"] == {"stage": "image"}
    assert heard == [Progress("web", "start")]
    log = run.log.read_text().splitlines()
    assert log[0].startswith("+ ")
    assert "packer build -machine-readable" in log[0]
    assert log[2] == "a warning"
    assert json.loads((run.work / "variables.pkrvars.json").read_text()) == {"stage": "image"}


@pytest.mark.subprocess
@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("exit 1", "Packer ended with 1; its last lines"),
        (f"{writes(manifest())}; exit 3".replace("\nEOF; ", "\nEOF\n"), "Packer ended with 3;"),
        ("exit 0", "Packer ended with 0 and made nothing"),
        (writes(manifest(last="u2")), "made nothing"),
        (writes("{"), "made nothing"),
        (writes("[]"), "made nothing"),
        ("kill -9 $$", "Packer ended with -9"),
    ],
    ids=["fails", "fails late", "matched nothing", "another run's", "half a manifest", "no manifest", "killed"],
)
def test_a_run_that_made_nothing_is_a_failure_whatever_its_exit_code(tmp_path: Path, body: str, what: str) -> None:
    with pytest.raises(BuildError, match=what) as told:
        run_packer(a_run(tmp_path), lambda progress: None, path=packer(tmp_path, body), contain=uncontained)
    assert told.value.where == "stage image"
    assert str(tmp_path / "bake.log") in told.value.hint


@pytest.mark.subprocess
def test_what_it_waits_for_is_awaited_while_it_starts(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    between = tmp_path / "between"
    os.mkfifo(between)
    body = f"echo started >{between}; cat {between}; " + writes(manifest())

    def ready() -> None:
        assert between.read_text() == "started\n"  # it waits for Packer, and Packer for it
        between.write_text("go on\n")

    run_packer(run, lambda progress: None, ready=ready, path=packer(tmp_path, body), contain=uncontained)
    assert run.log.read_text().endswith("go on\n")


@pytest.mark.subprocess
def test_what_it_waits_for_in_vain_ends_it(tmp_path: Path) -> None:
    def ready() -> None:
        raise HostError("no machine")

    path = packer(tmp_path, "exec sleep infinity")  # which this test would wait for too
    with pytest.raises(HostError, match="no machine"):
        run_packer(a_run(tmp_path), lambda progress: None, ready=ready, path=path, contain=uncontained)


@pytest.mark.subprocess
def test_a_failure_shows_the_last_lines_and_no_progress(tmp_path: Path) -> None:
    body = (
        f'i=0; while [ $i -lt {LAST_LINES + 9} ]; do i=$((i + 1)); echo "{UI},message,line $i"; done\n'
        f'echo \'{UI},message,bakeboot-progress {{"step":"x"%!(PACKER_COMMA)"event":"failed"}}\'; exit 1'
    )
    with pytest.raises(BuildError) as told:
        run_packer(a_run(tmp_path), lambda progress: None, path=packer(tmp_path, body), contain=uncontained)
    lines = told.value.what.splitlines()[1:]
    assert (len(lines), lines[0], lines[-1]) == (LAST_LINES, "line 10", f"line {LAST_LINES + 9}")


@pytest.mark.subprocess
def test_nothing_of_the_callers_environment_gets_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PKR_VAR_image", "PACKER_LOG", "DATABASE_URL"):
        monkeypatch.setenv(name, "secret-value")
    run = a_run(tmp_path)
    body = f"env >{run.work}/env\n" + writes(manifest())
    run_packer(run, lambda progress: None, path=packer(tmp_path, body), contain=uncontained)
    names = {line.partition("=")[0] for line in (run.work / "env").read_text().splitlines()}
    assert "secret-value" not in (run.work / "env").read_text()
    ours = {"PATH", "HOME", "TMPDIR", "PACKER_CACHE_DIR", "PACKER_CONFIG_DIR", "CHECKPOINT_DISABLE", "PACKER_NO_COLOR"}
    assert names - {"PWD", "SHLVL", "_", "OLDPWD"} == ours
    assert f"TMPDIR={run.temporary}\n" in (run.work / "env").read_text()


@pytest.mark.subprocess
def test_an_interrupt_ends_packer(tmp_path: Path) -> None:
    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    body = f'echo \'{UI},message,bakeboot-progress {{"step":"x"%!(PACKER_COMMA)"event":"start"}}\'; exec sleep 60'
    with pytest.raises(KeyboardInterrupt):
        run_packer(a_run(tmp_path), interrupt, path=packer(tmp_path, body), contain=uncontained)
