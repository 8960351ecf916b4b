"""Every error that bakeboot tells a person, in one family.

    BakebootError                 what is wrong, where, and what to do next
    ├── StackError          10    stack.toml or stack.lock (holds every mistake, not the first)
    ├── SourceError         11    a git repository, ref or commit
    ├── BuildError          12    a repo's build, or Packer, failed
    ├── VerifyError         13    an image was booted and did not answer as it must
    ├── ImageError          14    no such image, or an image.json that can't be read
    ├── MachineError        15    a local machine did not start, or not stop
    ├── HostError           16    this host lacks something (``bakeboot doctor``)
    ├── ExportError         17    an image could not be written to a file
    ├── MetadataError       20    the instance metadata service is out of reach
    ├── MetadataDisabled    21    it answers, and refuses
    ├── AssignmentError     22    the tags don't say what this instance is
    ├── ConfigError         23    a variable is missing or can't be passed on
    ├── UnitError           24    systemd could not start a unit
    ├── ReleaseCommandError 25    a ``release:`` command failed
    └── UnhealthyError      26    a service runs and does not answer its health check

The numbers are exit codes: unique, and documented in ``docs/exit-codes.md``. 0 is success, 1 is a
bug of ours (with a traceback), 2 a command line that can't be read.

This file is on the boot path: it imports nothing.
"""

from __future__ import annotations


class BakebootError(Exception):
    """What is wrong, where, and a line to type next. Printed without a traceback."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  try   {self.hint}" if self.hint else text


class Mistake:
    """One mistake in a file: the path of the value, what was expected, and a line to write instead."""

    __slots__ = ("expected", "hint", "path")

    def __init__(self, path: str, expected: str, hint: str = "") -> None:
        self.path = path
        self.expected = expected
        self.hint = hint

    def __str__(self) -> str:
        line = f"{self.path}: {self.expected}" if self.path else self.expected
        return f"{line}\n  try   {self.hint}" if self.hint else line

    def __repr__(self) -> str:
        return f"Mistake({self.path!r}, {self.expected!r}, {self.hint!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mistake) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


class StackError(BakebootError):
    """Every mistake found in ``stack.toml`` or ``stack.lock``."""

    exit_code = 10

    def __init__(self, mistakes: list[Mistake] | tuple[Mistake, ...], *, where: str = "") -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes), where="")
        self.where = where

    def __str__(self) -> str:
        prefix = f"{self.where}: " if self.where else ""
        return "\n".join(prefix + str(mistake) for mistake in self.mistakes)


class SourceError(BakebootError):
    exit_code = 11


class BuildError(BakebootError):
    exit_code = 12


class VerifyError(BakebootError):
    exit_code = 13


class ImageError(BakebootError):
    exit_code = 14


class MachineError(BakebootError):
    exit_code = 15


class HostError(BakebootError):
    exit_code = 16


class ExportError(BakebootError):
    exit_code = 17


class MetadataError(BakebootError):
    exit_code = 20


class MetadataDisabled(BakebootError):
    exit_code = 21


class AssignmentError(BakebootError):
    exit_code = 22


class ConfigError(BakebootError):
    exit_code = 23


class UnitError(BakebootError):
    exit_code = 24


class ReleaseCommandError(BakebootError):
    exit_code = 25


class UnhealthyError(BakebootError):
    exit_code = 26
