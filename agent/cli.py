"""``agent``: what an admin types on an instance.

agent status [--json]        mode, service, image, each unit with health and commit; exit code 3 when not ready
agent explain                why it is as it is, and what to do next
agent release retry REPO     let the next boot run a failed release command again, and start that boot
agent boot                   what bakeboot-boot.service runs
agent build …, agent seal …  for the bake and for imaging a machine
agent runtime …              for the bake alone
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time

from agent import envfile, report, state
from agent.checks import Checks
from agent.environment import Checkout
from agent.errors import BakebootError, ReleaseCommandError
from agent.health import Answer
from agent.image import ImageManifest, Service
from agent.instance import read_checkouts
from agent.names import is_name
from agent.releasecmd import DONE, ReleaseRecords
from agent.selfcontained import releases_path
from agent.state import Lock, Places
from agent.systemd import Systemd

BOOT_UNIT = "bakeboot-boot.service"


def main(arguments: list[str]) -> int:
    """Run one command; its exit code. A user's mistake is told without a traceback."""
    try:
        if arguments[:1] == ["build"]:
            from agent.build_cli import main as build

            return build(arguments[1:])
        if arguments[:1] == ["seal"]:
            from agent.seal import main as seal

            return seal(arguments[1:])
        if arguments[:1] == ["runtime"]:
            from agent.runtimes_cli import main as runtime

            return runtime(arguments[1:])
        return _run(_parser().parse_args(arguments), Places())
    except BakebootError as error:
        sys.stderr.write(f"agent: {error}\n")
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agent", description="What this instance is, and what it does for itself.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("boot", help="what bakeboot-boot.service runs")
    status = commands.add_parser("status", help="mode, service, image, each unit; exit code 3 when not ready")
    status.add_argument("--json", action="store_true", help="for programs")
    commands.add_parser("explain", help="why it is as it is, and what to do next")
    release = commands.add_parser("release", help="release commands").add_subparsers(
        dest="verb", required=True, metavar="VERB"
    )
    retry = release.add_parser("retry", help="run a failed one again: starts the boot anew")
    retry.add_argument("repo", metavar="REPO")
    commands.add_parser("build", help="build a repo on this machine", add_help=False)
    commands.add_parser("seal", help="make this machine fit for imaging", add_help=False)
    return parser


def _run(options: argparse.Namespace, places: Places) -> int:
    match options.command:
        case "boot":
            from agent.boot import main as boot

            return boot()
        case "release":
            return retry_release(options.repo, places, Systemd())
        case "status":
            seen = _look(places)
            sys.stdout.write(
                (json.dumps(report.as_json(seen), indent=1) if options.json else report.as_text(seen)) + "\n"
            )
            return seen.exit_code
        case _:
            seen = _look(places)
            sys.stdout.write(report.explained(seen) + "\n")
            return 0


def _look(places: Places) -> report.Report:
    def checkout(repo: str) -> Checkout:
        return read_checkouts(places, [repo])[repo]

    def ask(services: list[Service]) -> dict[str, Answer]:
        """HTTP anybody may ask; a ``check`` line needs the service's user and environment, so root."""
        asked = [service for service in services if service.check is None or os.geteuid() == 0]
        variables = {service.name: _variables(places, service) for service in asked if service.check is not None}
        return Checks(places, variables).ask(asked)

    return report.look(places, Systemd(), ask, checkout)


def _variables(places: Places, service: Service) -> dict[str, str]:
    path = places.env_file(service.name)
    return envfile.parse(state.read(path) or "", where=path)


def retry_release(repo: str, places: Places, systemd: Systemd) -> int:
    """Forget that the release command of ``repo`` failed, and boot again.

    Raises ReleaseCommandError when there is nothing to retry or a boot is under way.
    """
    image = ImageManifest.read(places.image)
    if not is_name(repo) or repo not in image.repos:
        raise ReleaseCommandError(f"no repo {repo!a} on this image", hint=f"one of {', '.join(image.repos)}")
    instance_id = state.read_object(places.status).get("instance_id")
    if not isinstance(instance_id, str):
        raise ReleaseCommandError("this machine has not booted yet", hint=f"systemctl status {BOOT_UNIT}")
    lock = Lock(places)
    if not lock.take(wait=False):
        raise ReleaseCommandError("a boot is under way", hint=f"journalctl -f -u {BOOT_UNIT}")
    try:
        commit = read_checkouts(places, [repo])[repo].commit
        releases = ReleaseRecords(releases_path(places, state.checked_instance_id(instance_id)), time.time)
        record = releases.find(repo, commit)
        if record is None or record["state"] == DONE:
            how = "has not run" if record is None else "has not failed"
            raise ReleaseCommandError(f"the release command of commit {commit[:12]} {how}", where=repo)
        releases.forget(repo, commit)
    finally:
        lock.release()
    systemd.restart(BOOT_UNIT)
    sys.stdout.write(f"{repo}: the release command runs again, in a boot that has just begun\n")
    sys.stdout.write(f"  try   journalctl -f -u {BOOT_UNIT}\n")
    return 0
