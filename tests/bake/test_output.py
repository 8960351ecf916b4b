"""What commands print is what they were given, whatever it looks like."""

from __future__ import annotations

import json

import pytest

from bake.output import console, print_json, print_table, voice

ODD = "[bold]x[/bold] :smile: [/]"


def test_texts_stay_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    console().print(ODD)
    print_table(("A", "B"), [(ODD, "2")])
    assert capsys.readouterr().out == f"{ODD}\nA\tB\n{ODD}\t2\n"


def test_json_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": ["ü", None]})
    assert json.loads(capsys.readouterr().out) == {"a": ["ü", None]}


def test_a_voice_leaves_stdout_to_json(capsys: pytest.CaptureFixture[str]) -> None:
    with voice(stderr=True) as speaker:
        speaker.say("x")
    assert capsys.readouterr() == ("", "  x\n")


def test_a_voice_says_when_a_step_broke_off(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> None:
        with voice(stderr=False) as speaker:
            speaker.step("fetching")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert capsys.readouterr().out.startswith("fetching ... stopped (")
