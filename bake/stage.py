"""One stage of a bake: a payload, a machine, Packer on it, and what the machine added.

A bake has two. *system*: apt packages, runtimes, the agent's environment; made once for the same
inputs. *image*: the agent, users, files, repos; of agent and repos only those whose layers are not there yet.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import BuildError
from agent.seal import leftovers, seal
from bake.build_machine import build_machine, wait_for_ssh
from bake.home import Home, Run
from bake.host import HostSettings
from bake.layers import Layer
from bake.packer import PackerRun, Progress, run_packer
from bake.traces import find_traces
from region.forward import Forward

PACKER = Path(__file__).resolve().parent.parent / "packer"
AGENT = Path(__file__).resolve().parent.parent / "agent"


@dataclass(frozen=True)
class Stage:
    """``name`` is system or image; ``payload`` is what the scripts read, as path to text or file."""

    name: str
    scripts: tuple[str, ...]
    payload: Mapping[str, str | Path]
    tidy: bool = True
    """Whether the machine is powered off in order. One that only ran the scripts may just be ended."""


@dataclass(frozen=True)
class StageResult:
    """``upper`` is what the machine added, a folder of the run; ``told`` what it reported."""

    upper: Path
    told: str


@dataclass(frozen=True)
class Workshop:
    """What every stage of one bake shares."""

    home: Home
    run: Run
    settings: HostSettings
    image: str
    log: Path
    hear: Callable[[Progress], None]


def run_stage(workshop: Workshop, stage: Stage, layers: Sequence[Layer]) -> StageResult:
    """Run a stage over ``layers`` (the lowest first); raises BuildError, HostError, RegionError.

    The machine is stopped before its upper folder is taken: databases of dpkg and logs are whole.
    """
    run = workshop.run
    work = run.folder / stage.name
    work.mkdir()
    temporary = run.runtime / stage.name / "packer"  # a short path, however long the home's is
    temporary.mkdir(parents=True, mode=0o700)
    payload = pack(stage.payload, work / "payload.tar")
    roots = tuple(layer.root for layer in layers)
    with (
        build_machine(workshop.home, run, roots, workshop.settings, stage=stage.name) as (machine, access),
        # Packer starts while the machine boots. Refused it would wait for seconds, so its connection is held till then.
        Forward((None, "127.0.0.1", 0), (None, "127.0.0.1", access.port), held=True) as door,
    ):

        def ready() -> None:
            wait_for_ssh(machine, access)
            door.release()

        packed = PackerRun(
            template=PACKER / "machine.pkr.hcl",
            variables={
                "ssh_host": "127.0.0.1",
                "ssh_port": door.port,
                "ssh_private_key_file": str(access.key),
                "payload": str(payload),
                "scripts": [str(PACKER / "scripts" / script) for script in stage.scripts],
                "result": str(work / "result.json"),
                "manifest": str(work / "manifest.json"),
                "build": run.name,
                "image": workshop.image,
                "stage": stage.name,
            },
            work=work,
            temporary=temporary,
            log=workshop.log,
            manifest=work / "manifest.json",
            stage=stage.name,
        )
        run_packer(packed, workshop.hear, ready=ready)
        if stage.tidy:
            machine.stop()
        else:
            machine.kill()
        upper = work / "upper"
        machine.take_upper(upper)
    seal(upper)
    _refuse_leftovers(upper, stage)
    _refuse_traces(upper, workshop, stage)
    return StageResult(upper, (work / "result.json").read_text())


def _refuse_leftovers(upper: Path, stage: Stage) -> None:
    left = leftovers(upper)
    if left:
        listed = "\n  ".join(left[:20])
        raise BuildError(
            f"it left what no sealing puts right:\n  {listed}",
            where=f"stage {stage.name}",
            hint="leave out the apt package or source that brings it, and bake again",
        )


def _refuse_traces(upper: Path, workshop: Workshop, stage: Stage) -> None:
    traces = find_traces(upper, workshop.settings.traces())
    if traces:
        listed = "\n  ".join(traces[:20])
        raise BuildError(
            f"it left what must not be on an image:\n  {listed}",
            where=f"stage {stage.name}",
            hint="have the repo's build remove these files, and bake again",
        )


def pack(payload: Mapping[str, str | Path], output: Path) -> Path:
    """One archive of texts and files; a folder goes in whole, less caches of bytecode."""
    folder = output.with_suffix("")
    for name, content in payload.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            target.write_text(content)
        elif content.is_dir():
            shutil.copytree(content, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        else:
            target.symlink_to(content)
    with tarfile.open(output, "w", dereference=True) as archive:
        archive.add(folder, arcname=".")
    shutil.rmtree(folder)
    return output


def as_json(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"
