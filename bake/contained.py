"""Programs that do the work of a run, and that nothing of outlives it, however it ends."""

from __future__ import annotations

from collections.abc import Sequence


def contained(command: Sequence[str]) -> list[str]:
    """``command`` in a process namespace of its own that the kernel ends when the calling thread does.

    setpriv(1) and unshare(1): the signal reaches unshare when its parent dies, and its child then; that
    child is the first process of the namespace, so all others there go with it (pid_namespaces(7)).
    What it mounts is gone too: ``--mount-proc`` gives it a mount namespace of its own.
    """
    die_with_caller = ("setpriv", "--pdeathsig", "KILL")
    return [*die_with_caller, "unshare", "--pid", "--mount-proc", "--fork", "--kill-child=KILL", *command]
