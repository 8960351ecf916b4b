"""How a long command tells how far it is: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from rich.console import Console
from rich.status import Status

from bake.packer import Progress


class Voice(Protocol):
    """Where a bake or a boot tells how far it is."""

    def step(self, text: str) -> None:
        """A new part begins; what came before is done."""

    def say(self, text: str) -> None:
        """One line to keep."""

    def hear(self, progress: Progress) -> None:
        """News from inside a build machine."""

    def end(self, *, done: bool = True) -> None:
        """The present part ends, and nothing begins."""


class ConsoleVoice:
    """Speaks to a person (or to a log): steps with the seconds they took, the present one live."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._status: Status | None = None
        self._step = ""
        self._since = 0.0
        self._under_way: dict[str, float] = {}

    def step(self, text: str) -> None:
        self.end()
        self._step, self._since = text, self._clock()
        if self._console.is_terminal:
            self._status = self._console.status(text)
            self._status.start()

    def say(self, text: str) -> None:
        self._console.print(f"  {text}", highlight=False, markup=False, soft_wrap=True)

    def hear(self, progress: Progress) -> None:
        if progress.event == "start":
            self._under_way[progress.step] = self._clock()
        else:
            since = self._under_way.pop(progress.step, self._clock())
            seconds = progress.seconds if progress.seconds is not None else self._clock() - since
            self.say(f"{progress.step}: {progress.event} in {seconds:.1f} s")
        if self._status is not None:
            under_way = ", ".join(self._under_way)
            self._status.update(f"{self._step}{': ' if under_way else ''}{under_way}")

    def end(self, *, done: bool = True) -> None:
        """Close the present step."""
        if self._status is not None:
            self._status.stop()
            self._status = None
        if self._step:
            mark = "done" if done else "stopped"
            line = f"{self._step} ... {mark} ({self._clock() - self._since:.1f} s)"
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)
        self._step = ""
        self._under_way.clear()
