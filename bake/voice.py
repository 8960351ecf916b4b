"""How a long command tells how far it is: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.status import Status
from rich.text import Text

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


@dataclass
class _UnderWay:
    """Something that runs now: since when, and at which part of it."""

    since: float
    text: str = ""


class ConsoleVoice:
    """Speaks to a person (or to a log): steps with the seconds they took; the present one live on a terminal."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._status: Status | None = None
        self._step = ""
        self._since = 0.0
        self._under_way: dict[str, _UnderWay] = {}

    def step(self, text: str) -> None:
        self.end()
        self._step, self._since = text, self._clock()
        if self._console.is_terminal:
            self._status = self._console.status(self)
            self._status.start()

    def say(self, text: str) -> None:
        self._print(f"  {text}")

    def hear(self, progress: Progress) -> None:
        now = self._clock()
        match progress.event:
            case "start":
                self._under_way[progress.step] = _UnderWay(now)
            case "step":
                self._under_way.setdefault(progress.step, _UnderWay(now)).text = progress.text
            case "message":
                self.say(f"{progress.step}: {progress.text}")
            case event:
                began = self._under_way.pop(progress.step, _UnderWay(now)).since
                seconds = now - began if progress.seconds is None else progress.seconds
                reason = f": {progress.text}" if progress.text else ""
                self.say(f"{progress.step}: {event} in {seconds:.1f} s{reason}")

    def end(self, *, done: bool = True) -> None:
        """Close the present step."""
        if self._status is not None:
            self._status.stop()
            self._status = None
        if self._step:
            mark = "done" if done else "stopped"
            line = f"{self._step} ... {mark} ({self._clock() - self._since:.1f} s)"
            self._print(line)
        self._step = ""
        self._under_way.clear()

    def _print(self, line: str) -> None:
        """One line as it is: no markup, no emoji, no folding."""
        self._console.print(line, highlight=False, markup=False, emoji=False, soft_wrap=True)

    def __rich__(self) -> Text:
        """The live line: rich asks for it several times a second."""
        now = self._clock()
        parts = [
            f"{name} {one.text} {now - one.since:.0f} s".replace("  ", " ") for name, one in self._under_way.items()
        ]
        return Text(f"{self._step} ({now - self._since:.0f} s){': ' if parts else ''}{', '.join(parts)}")
