"""``agent runtime --node MAJOR``: put a Node of npm's on this machine, for the bake.

Package settings are those of its environment.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from agent.build_cli import LOGS, SCRATCH, TIME_LIMIT
from agent.build_plan import package_settings
from agent.errors import BuildError
from agent.names import BUILD_USER
from agent.runtimes import RUNTIMES, install_node
from agent.steps import Account, Runner, last_lines, scratch_directory


def main(arguments: Sequence[str]) -> int:
    """Install it, unless it is there; exit code 12 and npm's last lines when it is not to be had."""
    parser = argparse.ArgumentParser(prog="agent runtime", description="Install a Node from npm's packages.")
    parser.add_argument("--node", required=True, metavar="MAJOR", help="its major version")
    options = parser.parse_args(arguments)
    settings = package_settings(os.environ)
    account = Account.named(BUILD_USER) if os.geteuid() == 0 else None
    log = Path(LOGS) / f"node-{options.node}.log"
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    RUNTIMES.mkdir(parents=True, exist_ok=True)
    try:
        with scratch_directory(account, Path(SCRATCH)) as scratch:
            deadline = time.monotonic() + TIME_LIMIT
            runner = Runner(f"node-{options.node}", log, scratch, deadline, account, threading.Event())
            install_node(options.node, runtimes=RUNTIMES, runner=runner, settings=settings)
    except BuildError as error:
        sys.stderr.write("\n".join((*last_lines(log), str(error), "")))
        return error.exit_code
    return 0
