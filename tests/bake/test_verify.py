"""What the parts of a verification share: one log, and one end."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import cast

import pytest

from agent.errors import VerifyError
from bake.home import Run
from bake.images import ImageStore
from bake.verify import Verification, _last_words
from region.errors import RegionError
from region.site import Site
from tests.bake.planning import a_home, an_image
from tests.bake.test_local import FakeMachine, instance


def verification(folder: Path) -> Verification:
    images = ImageStore(a_home(folder))
    image = an_image(images, [], "built")
    run = Run("bake-1", folder, folder)
    site = cast("Site", None)
    log, lock, stopped = folder / "verify.log", threading.Lock(), threading.Event()
    return Verification(run, images, image, site, folder / "image_tests", Mute(), log, lock, stopped)


class Mute:
    """Says nothing."""

    def step(self, text: str) -> None: ...
    def say(self, text: str) -> None: ...
    def hear(self, progress: object) -> None: ...
    def end(self, *, done: bool = True) -> None: ...


def test_no_part_waits_once_the_whole_was_stopped(tmp_path: Path) -> None:
    check = verification(tmp_path)
    check.nap(0.001)
    check.stopped.set()
    with pytest.raises(VerifyError, match="was stopped"):
        check.nap(60)


def test_notes_are_lines_of_one_log(tmp_path: Path) -> None:
    check = verification(tmp_path)
    threads = [threading.Thread(target=check.note, args=(f"part {number}\n\n",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(check.log.read_text().splitlines()) == [f"part {number}" for number in range(8)]


def test_a_machine_that_ended_has_no_journal_and_that_is_no_error(tmp_path: Path) -> None:
    class Ended(FakeMachine):
        def run(self, argv: list[str], *, check: bool = True) -> None:
            raise RegionError("is not running", where=self.name)

    assert _last_words(instance(Ended(tmp_path / "log", {}))) == "(no journal: is not running)"
