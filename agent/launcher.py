"""Installed as ``/opt/bakeboot/lib/boot.py``, beside the package: what the boot unit and ``agent`` run.

``python3 -S -E -s`` on it finds the package in the script's own directory: no site, no environment, no
console-script wrapper, which together cost more than the boot's own work.
"""

from __future__ import annotations

import sys


def main(arguments: list[str]) -> int:
    if arguments == ["boot"]:
        from agent.boot import main as boot

        return boot()
    from agent.cli import main as cli

    return cli(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
