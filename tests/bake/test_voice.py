"""What a long command says off a terminal: plain lines, and nothing that moves."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

from rich.console import Console

from bake.packer import Progress
from bake.voice import ConsoleVoice


def speaking(*times: float) -> tuple[ConsoleVoice, Callable[[], list[str]]]:
    """A voice whose clock shows these times, and what it said."""
    out, shown = io.StringIO(), iter(times)
    clock: Iterator[float] = shown
    voice = ConsoleVoice(Console(file=out, force_terminal=False, width=40), clock=lambda: next(clock))
    return voice, lambda: out.getvalue().splitlines()


def test_a_step_is_told_when_it_ended_with_its_seconds() -> None:
    voice, said = speaking(0.0, 2.5, 2.5, 4.0)
    voice.step("reading the stack")
    voice.step("fetching")
    voice.end()
    assert said() == ["reading the stack ... done (2.5 s)", "fetching ... done (1.5 s)"]


def test_a_step_that_was_broken_off_is_not_called_done() -> None:
    voice, said = speaking(0.0, 1.0)
    voice.step("fetching")
    voice.end(done=False)
    voice.end()
    assert said() == ["fetching ... stopped (1.0 s)"]


def test_lines_are_not_folded_coloured_or_read_as_markup() -> None:
    voice, said = speaking()
    line = "[red]x[/red] 127.0.0.1 :smile: " + "long " * 30
    voice.say(line)
    assert said() == [f"  {line}"]


def test_progress_has_its_own_seconds_or_those_that_passed() -> None:
    voice, said = speaking(0.0, 10.0, 13.0, 14.0)
    voice.step("building")
    voice.hear(Progress("web", "start"))
    voice.hear(Progress("web", "done"))
    voice.hear(Progress("api", "failed", 7.25))
    assert said() == ["  web: done in 3.0 s", "  api: failed in 7.2 s"]


def test_the_end_of_what_never_began_took_no_time() -> None:
    voice, said = speaking(5.0)
    voice.hear(Progress("web", "done"))
    assert said() == ["  web: done in 0.0 s"]


def test_messages_and_reasons_are_told_and_the_steps_of_a_build_are_not() -> None:
    voice, said = speaking(*[0.0] * 9)
    voice.hear(Progress("web", "start"))
    voice.hear(Progress("web", "step", text="npm ci"))
    voice.hear(Progress("web", "message", text="Node 18 in place of 18.1"))
    voice.hear(Progress("web", "failed", 1.0, "npm ci ended with 1"))
    assert said() == ["  web: Node 18 in place of 18.1", "  web: failed in 1.0 s: npm ci ended with 1"]


def test_on_a_terminal_the_live_line_says_what_is_under_way() -> None:
    voice, _ = speaking(0.0, 2.0, 2.0, 5.0)
    voice.step("building")
    voice.hear(Progress("web", "start"))
    voice.hear(Progress("web", "step", text="npm ci"))
    assert voice.__rich__().plain == "building (5 s): web npm ci 3 s"
