"""The few system calls that Python 3.11 has no function for, and the way in which this package runs a host's tool.

Mounting is done by mount(2) and not by mount(8): one call costs microseconds, needs no escaping of paths, and is the
same on every version of util-linux.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from region.errors import RegionError

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 1, 2, 4, 8, 32, 4096
CLONE_FS = 0x200
CLONE_NEWNS = 0x20000
CLONE_NEWNET = 0x40000000
_MNT_DETACH = 2
_SYS_OPENAT2 = 437  # the same on every architecture, as are all calls since 424
_RESOLVE_IN_ROOT = 0x10

T = TypeVar("T")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _raise(call: str, subject: object) -> None:
    number = ctypes.get_errno()
    raise OSError(number, f"{call}: {os.strerror(number)}", str(subject))


def mount(source: str, target: Path, kind: str, flags: int = 0, options: str = "") -> None:
    """mount(2). `options` longer than a page (4095 bytes) are refused by the kernel. Raises OSError."""
    if _libc().mount(source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), options.encode()):
        _raise("mount", target)


def unmount(target: Path) -> None:
    """Unmounts `target`; where something still holds it, takes it out of the tree at once. Not mounted is no error."""
    libc = _libc()
    if not libc.umount2(os.fsencode(target), 0):
        return
    if libc.umount2(os.fsencode(target), _MNT_DETACH) and os.path.ismount(target):
        _raise("umount", target)


def set_namespace(descriptor: int, kind: int) -> None:
    """setns(2) for the calling thread alone."""
    if _libc().setns(descriptor, kind):
        _raise("setns", descriptor)


def unshare(kind: int) -> None:
    """unshare(2) for the calling thread alone: with CLONE_FS it gets a working directory and a root of its own."""
    if _libc().unshare(kind):
        _raise("unshare", hex(kind))


class _OpenHow(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


def open_in_root(root: Path, path: str) -> int:
    """A read descriptor of `path` as a process with the root directory `root` would see it.

    Symbolic links, absolute ones too, stay inside `root` (openat2(2), RESOLVE_IN_ROOT): a plain open of
    `/proc/PID/root/etc/x` would follow an absolute link out to the host. Raises OSError.
    """
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        how = _OpenHow(os.O_RDONLY | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT)
        descriptor = _libc().syscall(
            _SYS_OPENAT2, directory, os.fsencode(path), ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how))
        )
        if descriptor < 0:
            _raise("open", path)
        return int(descriptor)
    finally:
        os.close(directory)


def in_thread(work: Callable[[], T]) -> T:
    """What `work` returns or raises, run in a thread made for it, which may change its own namespaces and directory."""
    results: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            results.append(work())
        except BaseException as error:  # handed to the caller's thread, whatever it is
            errors.append(error)

    thread = threading.Thread(target=body, name="region-throwaway")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def call(argv: Sequence[str], *, script: str = "") -> str:
    """The standard output of a host's tool, `script` on its standard input; RegionError when it is absent or fails."""
    try:
        done = subprocess.run(argv, input=script, capture_output=True, text=True, timeout=30)
    except FileNotFoundError:
        raise RegionError(f"{argv[0]} is not installed", where="this host", hint="bakeboot doctor") from None
    except subprocess.TimeoutExpired:
        raise RegionError("gave no answer within 30 s", where=" ".join(argv)) from None
    if done.returncode:
        told = (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"
        raise RegionError(told, where=" ".join(argv))
    return done.stdout
