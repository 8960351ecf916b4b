"""What a run starts ends with it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bake.contained import contained

ROOT = Path(__file__).resolve().parents[2]


def test_the_command_stays_as_it_is_at_the_end() -> None:
    command = ["packer", "build", "-var=a b", "--"]
    assert contained(command)[-4:] == command


def test_the_kernel_ends_it_with_its_caller() -> None:
    line = " ".join(contained(["true"]))
    assert line.startswith("setpriv --pdeathsig KILL unshare ")
    assert "--kill-child=KILL" in line
    assert "--pid" in line


@pytest.mark.subprocess
@pytest.mark.skipif(os.geteuid() != 0, reason="a process namespace takes root")
def test_nothing_of_it_outlives_a_caller_that_is_killed() -> None:
    """Its grandchild holds a pipe open: the pipe ends when all of it is gone."""
    program = "import subprocess, sys; from bake.contained import contained; subprocess.run(contained(sys.argv[1:]))"
    inner = ["sh", "-c", "(trap '' TERM; echo up; sleep 60) & wait"]
    with subprocess.Popen(
        [sys.executable, "-c", program, *inner], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as caller:
        assert caller.stdout is not None
        assert caller.stdout.readline() == "up\n"
        caller.kill()
        began = time.monotonic()
        assert caller.stdout.read() == ""
    assert time.monotonic() - began < 10
