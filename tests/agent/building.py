"""What the tests of builds share: a repo to build, and a runner to build it with."""

from __future__ import annotations

import time
from pathlib import Path

from agent.build_plan import BuildRequest
from agent.detect import Detected
from agent.runtimes import Base
from agent.steps import Runner

COMMIT = "c" * 40
TREE = "7" * 40
BASE = Base(python="3.11.2", node="18.20.4", abi="debian-12-x86_64", pythons=("3.11",))
PYTHON = Detected(("python",), requirements="requirements.txt", python_inputs={"requirements.txt": "aa"})
NODE = Detected(("node",), node_inputs={"package-lock.json": "bb"})


def request(detected: Detected, **more: object) -> BuildRequest:
    fields = {
        "repo": "web",
        "source": Path("/source"),
        "commit": COMMIT,
        "tree": TREE,
        "root": Path("/srv/bakeboot/web"),
        "detected": detected,
        "base": BASE,
    }
    return BuildRequest(**{**fields, **more})  # type: ignore[arg-type]


def runner(tmp_path: Path, seconds: float = 30.0) -> Runner:
    return Runner("web", tmp_path / "web.log", tmp_path, time.monotonic() + seconds)


def asked_of(folder: Path) -> BuildRequest:
    """A request for a small static repo below ``folder``, to be built below it too."""
    source = folder / "source"
    (source / "public").mkdir(parents=True)
    (source / "public/index.html").write_text("hello\n")
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o777)
    return request(
        Detected(("static",), static="public"),
        source=source,
        root=folder / "srv/web",
        processes={"web": "serve '$PORT' && true"},
    )
