"""Network namespaces: making and removing them, and sockets that live inside one while their process stays outside.

A socket belongs to the namespace of the thread that made it, for as long as it lives. So a throwaway thread enters the
namespace, makes the socket, and the rest of the process uses it from where it is.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from region import linux

DIRECTORY = Path("/run/netns")  # where `ip netns` keeps them, so that `ip netns exec NAME` works on ours too

T = TypeVar("T")


def path(name: str) -> Path:
    return DIRECTORY / name


def add(name: str) -> None:
    """Makes a namespace as `ip netns add` does, but by ourselves. Raises OSError.

    A child process could outlive an owner that is killed, and make the namespace after a sweep looked for it.
    """
    DIRECTORY.mkdir(mode=0o755, exist_ok=True)
    path(name).touch(mode=0o444, exist_ok=False)

    def work() -> None:
        linux.unshare(linux.CLONE_NEWNET)
        linux.mount("/proc/thread-self/ns/net", path(name), "none", linux.MS_BIND)

    try:
        linux.in_thread(work)
    except OSError:
        path(name).unlink()
        raise


def delete(name: str) -> None:
    """Removes the namespace's name; with its last process gone its interfaces go too. An absent one is no error."""
    linux.unmount(path(name))
    path(name).unlink(missing_ok=True)


def configure(name: str, commands: Sequence[str]) -> None:
    """Runs `ip` commands (without the word `ip`) inside the namespace, in one process, up to the first error."""
    linux.call(["ip", "-n", name, "-batch", "-"], script="".join(f"{command}\n" for command in commands))


def set_kernel(name: str, settings: Mapping[str, str]) -> None:
    """Writes files below /proc/sys, of which `net` shows the namespace of the thread that opens it. Raises OSError."""

    def work() -> None:
        for file, value in settings.items():
            Path("/proc/sys", file).write_text(value)

    if settings:
        inside(name, work)


def enter(name: str | None) -> None:
    """Moves the calling thread into the namespace for good; None leaves it where it is."""
    if name is None:
        return
    descriptor = os.open(path(name), os.O_RDONLY | os.O_CLOEXEC)
    try:
        linux.set_namespace(descriptor, linux.CLONE_NEWNET)
    finally:
        os.close(descriptor)


def inside(name: str | None, work: Callable[[], T]) -> T:
    """What `work` returns, run in a thread of its own inside the namespace (None: this process's own)."""
    if name is None:
        return work()

    def entered() -> T:
        enter(name)
        return work()

    return linux.in_thread(entered)


def listen(name: str | None, host: str, port: int) -> socket.socket:
    """A listening TCP socket inside the namespace. Port 0 takes a free one. Raises OSError."""

    def work() -> socket.socket:
        return socket.create_server((host, port), backlog=128)

    return inside(name, work)


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that was free on this host a moment ago; whoever binds it must be ready to lose the race."""
    with socket.create_server((host, 0)) as listener:
        return int(listener.getsockname()[1])
