"""Packer, as a door: run one template, hear what it says while it runs, read what it made.

What ``-machine-readable`` prints is a line of ``timestamp,target,type,data...`` (Packer documentation,
"Commands", machine-readable output); commas inside a value are ``%!(PACKER_COMMA)``, newlines ``\\n``.
A provisioner's stderr arrives as ``ui,error``: it is no verdict. The verdict is the exit code and the
manifest, since a build that matched nothing also exits with 0.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import BuildError, HostError
from bake.contained import contained

PROGRESS = "bakeboot-progress "
"""What a provisioning script writes before a JSON object that tells how far it is."""

LAST_LINES = 30


@dataclass(frozen=True)
class Progress:
    """One step's news: ``event`` is start, step, message, done, kept or failed.

    ``seconds`` since its start; ``text`` is a step's title, a message, or the reason of a failure.
    """

    step: str
    event: str
    seconds: float | None = None
    text: str = ""


@dataclass(frozen=True)
class PackerRun:
    """One run of Packer: the template's file or folder, its variables, where logs and manifest go.

    ``temporary`` is where its parts meet, by sockets named ``packer-plugin`` and a number of ten digits:
    its path has at most 80 characters, since a socket's has 107 (unix(7), sun_path).
    """

    template: Path
    variables: Mapping[str, Any]
    work: Path
    temporary: Path
    log: Path
    manifest: Path
    stage: str


def run_packer(
    run: PackerRun,
    hear: Callable[[Progress], None],
    *,
    ready: Callable[[], None] = lambda: None,
    path: str | None = None,
    contain: Callable[[Sequence[str]], list[str]] = contained,
) -> Mapping[str, Any]:
    """Run it to its end; returns the build's entry in the manifest (``artifact_id``, ``custom_data``).

    ``ready`` is called when Packer has been started, which takes it a while; what it raises ends Packer. Packer is
    looked for in ``path`` (None: this process's), and is ``contained``. Raises HostError without Packer, BuildError
    with the last lines of the step that failed and how to repeat it.
    """
    path = path or os.environ.get("PATH", os.defpath)
    packer = shutil.which("packer", path=path)
    if packer is None:
        raise HostError("Packer is not installed", where="packer", hint="apt-get install packer")
    variables = run.work / "variables.pkrvars.json"
    variables.write_text(json.dumps(dict(run.variables), indent=1))
    command = [packer, "build", "-machine-readable", f"-var-file={variables}", str(run.template)]
    code, last = _follow(contain(command), shlex.join(command), _environment(run, path), run.log, hear, ready)
    entry = _manifest_entry(run.manifest)
    if code or entry is None:
        raise BuildError(
            f"Packer ended with {code}{'' if code else ' and made nothing'}; its last lines:\n" + "\n".join(last),
            where=f"stage {run.stage}",
            hint=f"less {run.log}    is the whole log; then again: bakeboot bake",
        )
    return entry


def _follow(
    command: Sequence[str],
    called: str,
    environment: Mapping[str, str],
    log: Path,
    hear: Callable[[Progress], None],
    ready: Callable[[], None],
) -> tuple[int, Sequence[str]]:
    """Run ``command``, keep all that it says, pass its progress on; its exit code and last lines."""
    last: deque[str] = deque(maxlen=LAST_LINES)
    with (
        log.open("a") as kept,
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        kept.write(f"+ {called}\n")
        try:
            assert process.stdout is not None
            ready()
            for line in process.stdout:
                for spoken in said(line):
                    kept.write(spoken + "\n")
                    progress = read_progress(spoken)
                    if progress is not None:
                        hear(progress)
                    elif spoken.strip():
                        last.append(spoken)
            return process.wait(), last
        except BaseException:
            process.kill()
            raise


def said(line: str) -> list[str]:
    """The lines of text in one line of Packer's; none where a machine-readable one is about something else.

    What is no machine-readable line is text as it stands: a panic, or the shell that did not find it.
    """
    parts = line.rstrip("\n").split(",", 4)
    if len(parts) < 3 or not parts[0].isdigit():
        return [line.rstrip("\n")]
    if len(parts) < 5 or parts[2] != "ui":
        return []
    text = parts[4].replace("%!(PACKER_COMMA)", ",").replace("\\r", "").replace("\\n", "\n")
    return [spoken.removeprefix("    null.machine: ") for spoken in text.split("\n")]


def read_progress(line: str) -> Progress | None:
    """The progress that a line tells, or None where it tells none."""
    _, mark, rest = line.partition(PROGRESS)
    if not mark:
        return None
    try:
        told = json.loads(rest)
        seconds = told.get("seconds")
        step, event = str(told.get("step") or told["repo"]), str(told["event"])
        text = str(told.get("title") or told.get("text") or told.get("reason") or "")
        return Progress(step, event, None if seconds is None else float(seconds), text)
    except (ValueError, KeyError, AttributeError, TypeError):
        return None


def _environment(run: PackerRun, path: str) -> dict[str, str]:
    """Packer's surroundings: its own folders are the run's, and it calls nobody."""
    return {
        "PATH": path,
        "HOME": str(run.work),
        "TMPDIR": str(run.temporary),
        "PACKER_CACHE_DIR": str(run.work / "packer_cache"),
        "PACKER_CONFIG_DIR": str(run.work),
        "CHECKPOINT_DISABLE": "1",
        "PACKER_NO_COLOR": "1",
    }


def _manifest_entry(path: Path) -> Mapping[str, Any] | None:
    try:
        manifest = json.loads(path.read_text())
        last = manifest["last_run_uuid"]
        return next((entry for entry in manifest["builds"] if entry["packer_run_uuid"] == last), None)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
