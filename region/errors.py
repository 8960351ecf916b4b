"""The errors of this package: something on this host did not do what a machine, a site or a region needs.

`region` imports nothing of the rest of the program, so it has errors of its own. They carry the same three fields as
the others (what is wrong, where, what to do next) and an exit code, so that the front door prints all alike.
"""

from __future__ import annotations


class RegionError(Exception):
    """`what` went wrong, `where` (a machine, a site, a path), and in `hint` a line to paste or to look at next."""

    exit_code = 15

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  try   {self.hint}" if self.hint else text


class RootError(RegionError):
    """It takes root: machines, namespaces and mounts do."""

    exit_code = 16

    def __init__(self, where: str) -> None:
        super().__init__("takes root: machines, namespaces and mounts do", where=where, hint="sudo -i")
