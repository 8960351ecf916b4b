"""A region's process from outside: what it tells is heard, whatever becomes of it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from region import detached
from region.errors import RegionError
from region.region_state import Place

pytestmark = pytest.mark.subprocess

REGION = """
import fcntl, json, os, signal, sys
tell = int(sys.argv[-1])
folder = sys.argv[1]
say = lambda **told: os.write(tell, json.dumps(told).encode() + b"\\n")
lock = open(f"{folder}/region.lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX)
"""
READY = """
say(step="one"); say(step="two")
json.dump(dict(name="local", pid=os.getpid(), endpoint="http://127.77.1.1:4566", token="t", started=1.0, prefix="bb",
               site="bb-0", aws_region="us-east-1"), open(f"{folder}/region.json", "w"))
say(ready="http://127.77.1.1:4566")
signal.pause()
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path, "local")
    yield place
    detached.stop(place)


def start(place: Place, *scripts: str, heard: list[str] | None = None) -> tuple[str, bool]:
    said = [] if heard is None else heard
    command = [sys.executable, "-S", "-E", "-c", REGION + "".join(scripts), str(place.directory), "--tell"]
    record, made = detached.start(place, command, said.append)
    return record.endpoint, made


def test_it_is_started_heard_and_ended(place: Place) -> None:
    heard: list[str] = []
    assert start(place, READY, heard=heard) == ("http://127.77.1.1:4566", True)
    assert heard == ["one", "two"]
    assert start(place, "never run") == ("http://127.77.1.1:4566", False), "it is up already"
    assert detached.stop(place)
    assert not place.is_alive()
    assert not detached.stop(place), "it is not up any more"


def test_what_it_says_went_wrong_is_raised_in_its_words(place: Place) -> None:
    with pytest.raises(RegionError, match="no room") as told:
        start(place, 'say(error="no room", where="/disk", hint="df -h")')
    assert (told.value.where, told.value.hint) == ("/disk", "df -h")
    with pytest.raises(RegionError) as told:
        start(place, 'say(error="no room")')
    assert (told.value.where, told.value.hint) == ("region local", "bakeboot region logs")


@pytest.mark.parametrize("end", ['say(bug="Traceback: oh")', 'raise SystemExit("Traceback: oh")'])
def test_a_bug_is_a_bug_also_when_it_could_not_say_so(place: Place, end: str) -> None:
    with pytest.raises(RuntimeError, match="Traceback: oh"):
        start(place, end)


@pytest.mark.parametrize(
    ("end", "why"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "its process was ended by SIGKILL"),
        ('print("stopped", file=sys.stderr); raise SystemExit(130)', "stopped"),
    ],
)
def test_one_that_is_ended_while_it_comes_up_is_no_bug(place: Place, end: str, why: str) -> None:
    with pytest.raises(RegionError, match=why):
        start(place, end)


def test_one_that_comes_second_gets_the_one_that_came_first(place: Place) -> None:
    """Its process finds the lock held, and says so; then it waits until that one is ready."""
    first = threading.Thread(target=start, args=(place, READY))
    with place.held():
        first.start()  # finds it held, as by a process that is coming up
    first.join(30)
    assert start(place, "never run") == ("http://127.77.1.1:4566", False)
