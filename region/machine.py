"""A machine: systemd as PID 1 in an nspawn container over an overlay of layers, in a control group of its own.

Its life: `start_machine` (or `Site.start`), `wait_booted`, `run` and `read`, `stop` or `kill`, which give back all that
it held on this host, and `discard`, which removes its directory with the upper layer and the log. A machine whose owner
died keeps running until `region.sweep.sweep` ends it.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from region import cgroups, linux, mounts, netns, nspawn, owner
from region.errors import RegionError
from region.notify import Notify, wait_end
from region.nspawn import Bind, MachineSpec
from region.wiring import Wiring

__all__ = ["Bind", "Machine", "MachineSpec", "Wiring", "start_machine"]

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_AGAIN = 0.2  # seconds until it is told again to power off, and looked whether that is still wanted
_POWER_OFF = signal.SIGRTMIN + 4  # systemd(1), "Signals": starts poweroff.target
_CLEAN_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}


def start_machine(spec: MachineSpec, state: Path, runtime: Path, wiring: Wiring | None = None) -> Machine:
    """Starts the machine and returns as soon as its PID 1 runs. Raises RegionError, with nothing left behind.

    `state` holds its layers and log (a file system that overlayfs can write to), `runtime` its secrets (mounted there).
    """
    if not _NAME.fullmatch(spec.name):
        raise RegionError(f"expected a machine's name of a-z, 0-9 and -, 40 characters at most, got {spec.name!r}")
    if (wiring is None) != (spec.network == "host"):
        raise RegionError("a site starts isolated machines, and only those", where=spec.name)

    def record(name: str) -> owner.Record:
        groups = [str(group.path) for group in cgroups.discover(f"bakeboot-{name}")]
        return owner.Record(groups, name if wiring else "")

    machine = Machine(spec, owner.claim(state.absolute() / "machines", spec.name, record), runtime, wiring)
    try:
        machine._start()
    except BaseException as error:
        machine._give_back()
        machine.discard()
        if isinstance(error, OSError):
            raise RegionError(str(error), where=spec.name, hint="bakeboot doctor") from error
        raise
    return machine


class Machine:
    """A started machine. `address` is its IPv4 address in its site, or 127.0.0.1 on the host's network.

    `directory` holds `machine.log` (its console), `upper` (what it wrote) and, while it lives, `root`. `leader` is the
    process id of its PID 1.
    """

    def __init__(self, spec: MachineSpec, owned: owner.Owned, runtime: Path, wiring: Wiring | None) -> None:
        self.spec = spec
        self.directory = owned.directory
        self.name = owned.directory.name
        self.address = wiring.address if wiring else "127.0.0.1"
        self.root = self.directory / "root"
        self.upper = self.directory / "upper"
        self.log = self.directory / "machine.log"
        self.leader = 0
        self._owned = owned
        self._runtime = runtime.absolute()
        self._record = owned.record
        self._wiring = wiring
        self._groups: tuple[cgroups.Group, ...] = ()
        self._process: subprocess.Popen[bytes] | None = None
        self._notify: Notify | None = None
        self._leader_handle = -1
        self._held = True

    # --- start ---------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        secrets = secrets_of(self._runtime, self.name)
        if self.spec.upper is not None:
            self.spec.upper.rename(self.upper)
        mounts.mount_overlay(self.directory, self.spec.layers)
        mounts.mount_secrets(secrets)
        binds = nspawn.stage(self.spec, secrets, self.root, self._wiring.address if self._wiring else "")
        self._groups = cgroups.discover(f"bakeboot-{self.name}")
        cgroups.create(self._groups, memory=self.spec.memory, cpus=self.spec.cpus)
        namespace = self._wire()
        argv = nspawn.command(self.spec, self.name, self.root, namespace, binds)
        self._notify = Notify(self.name)
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                cgroups.joining(self._groups, argv, visiting=False),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                env={**_CLEAN_ENVIRONMENT, "NOTIFY_SOCKET": self._notify.address},
            )
        self.leader = self._notify.wait_leader(self._process, timeout=30) or 0
        if not self.leader:
            raise RegionError(f"systemd-nspawn did not start it:\n{self.last_words()}", where=self.spec.name)
        self._leader_handle = os.pidfd_open(self.leader)
        cgroups.open_inside(self._groups, self.leader)

    def _give_back(self) -> None:
        """After a start that failed: what an earlier machine wrote is not ours to remove."""
        if self.spec.upper is not None and self.upper.exists() and not self.spec.upper.exists():
            self.kill()
            self.upper.rename(self.spec.upper)

    def _wire(self) -> Path | None:
        if self._wiring is None:
            return None
        netns.add(self.name)
        netns.set_kernel(self.name, self._wiring.settings)
        netns.configure(self._wiring.site, [line.format(netns=self.name) for line in self._wiring.in_site])
        netns.configure(self.name, self._wiring.in_machine)
        return netns.path(self.name)

    # --- life ----------------------------------------------------------------------------------------------------

    def wait_booted(self, timeout: float = 60.0) -> None:
        """Until its boot is done: multi-user.target is reached and no job of systemd is left. RegionError otherwise.

        `timeout` in seconds. A unit that fails does not keep a boot from being done: ask `systemctl is-system-running`.
        """
        process, notify = self._running()
        if not notify.wait_ready(process, timeout):
            if self.poll() is not None:
                raise RegionError(f"ended during its boot:\n{self.last_words()}", where=self.spec.name)
            jobs = self.run(["systemctl", "list-jobs", "--no-pager"], timeout=10, check=False).stdout.strip()
            what = f"did not finish its boot in {timeout:g} s; systemd waits for\n{jobs}"
            raise RegionError(what, where=self.spec.name)

    @property
    def booted(self) -> bool:
        """Whether its boot is done, as `wait_booted` waits for."""
        return self._notify is not None and self._notify.ready

    def run(
        self,
        argv: Sequence[str],
        *,
        input: str | bytes | None = None,  # noqa: A002 - as subprocess.run names it
        timeout: float = 60.0,
        check: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command in the machine, as root, in all its namespaces and its control group; no shell is involved.

        Output is decoded as UTF-8. `env` is added to a clean environment. RegionError after `timeout` seconds, when
        the machine is not running, and, where `check`, for an exit code other than 0.
        """
        self._running()
        inside = ["nsenter", f"--target={self.leader}", "--all", "--root", "--wd", "--", *argv]
        process = subprocess.Popen(
            cgroups.joining(self._groups, inside, visiting=True),
            stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**_CLEAN_ENVIRONMENT, **(env or {})},
        )
        try:
            out, err = process.communicate(input.encode() if isinstance(input, str) else input, timeout)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                raise RegionError(f"{argv[0]} did not end in {timeout:g} s", where=self.spec.name) from None
            raise
        done = subprocess.CompletedProcess(list(argv), process.returncode, _text(out), _text(err))
        if check and done.returncode:
            told = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-10:])
            raise RegionError(f"{argv[0]} ended with exit code {done.returncode}: {told}", where=self.spec.name)
        return done

    def read(self, path: str) -> bytes:
        """A file as the machine sees it, /run included. Links stay inside the machine. Raises OSError, RegionError."""
        self._running()
        with os.fdopen(linux.open_in_root(Path(f"/proc/{self.leader}/root"), path), "rb") as file:
            return file.read()

    @contextlib.contextmanager
    def held_still(self) -> Iterator[None]:
        """While it is held none of its processes runs, as far as this host can do that: for a copy of what it wrote."""
        cgroups.freeze(self._groups, frozen=True)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # it was killed meanwhile, and its groups are gone
                cgroups.freeze(self._groups, frozen=False)

    def last_words(self) -> str:
        """The last 15 lines of its console that are not empty; "" where it has no log."""
        with contextlib.suppress(OSError):
            lines = self.log.read_text(errors="replace").splitlines()
            return "\n".join([line for line in lines if line.strip()][-15:])
        return ""

    def poll(self) -> int | None:
        """None while it runs, else nspawn's exit code: 0 after a clean power-off, 133 when it asked to be rebooted."""
        return self._process.poll() if self._process else -1

    @property
    def held(self) -> bool:
        """Whether it still holds something on this host: it runs, or nobody has stopped it since it ended."""
        return self._held

    # --- end -----------------------------------------------------------------------------------------------------

    def stop(self, timeout: float = 30.0, hurry: Callable[[], bool] | None = None) -> None:
        """Powers it off cleanly, kills it where that takes longer than `timeout` seconds, and releases what it held.

        Once `hurry` says so it is killed at once. The directory with the upper layer and the log stays until `discard`.
        Stopping a stopped one is no error.
        """
        if self._held and self._process and self._process.poll() is None:
            deadline = time.monotonic() + timeout
            while not (hurry and hurry()) and (left := deadline - time.monotonic()) > 0:
                # Again and again: a PID 1 that has only just started has no handler yet, and never hears of the first.
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._leader_handle, _POWER_OFF)
                if wait_end(self._process, min(left, _AGAIN)):
                    break
        self.kill()

    def kill(self) -> None:
        """Ends it as a power cut would, and releases what it held. The directory stays until `discard`."""
        if not self._held:
            return
        release(self._record, self.directory, self._runtime)
        if self._process:
            self._process.wait(timeout=10)
        if self._notify:
            self._notify.close()
        if self._leader_handle >= 0:
            os.close(self._leader_handle)
        self._held = False

    def take_upper(self, target: Path) -> None:
        """Moves the upper directory of a stopped machine to `target`, on the same file system. RegionError, OSError."""
        if self._held:
            raise RegionError("its upper directory is in use: stop it first", where=self.spec.name)
        self.upper.rename(target)

    def discard(self) -> None:
        """Ends the machine if it runs, and removes its directory."""
        self.kill()
        self._owned.remove()

    # --- within --------------------------------------------------------------------------------------------------

    def _running(self) -> tuple[subprocess.Popen[bytes], Notify]:
        if self._process is None or self._notify is None or self._process.poll() is not None:
            raise RegionError("is not running", where=self.spec.name)
        return self._process, self._notify


def secrets_of(runtime: Path, name: str) -> Path:
    return runtime.absolute() / "machines" / name


def release(record: owner.Record, directory: Path, runtime: Path) -> None:
    """Gives back all that a machine holds on this host, by what its record says: also that of a dead owner's."""
    # The groups first: from then on nothing more can start, not even a command that was just about to join them.
    cgroups.remove([Path(path) for path in record.cgroups])
    if record.netns:
        netns.delete(record.netns)
    mounts.unmount_below(directory)
    secrets = secrets_of(runtime, directory.name)
    mounts.unmount_below(secrets)
    with contextlib.suppress(FileNotFoundError):
        secrets.rmdir()
    for kind in ("propagate", "unix-export"):  # nspawn leaves these where this host's /run is no tmpfs of its own
        with contextlib.suppress(OSError):
            Path(f"/run/systemd/nspawn/{kind}/{directory.name}").rmdir()


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")
