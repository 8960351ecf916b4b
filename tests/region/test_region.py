"""A region that is up, as its control uses it: whom a short id means, faults that are kept in mind, settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from region.aws.api_faults import ApiFaults
from region.aws.world import Settings, World
from region.errors import RegionError
from region.faults import Faults
from region.region import Region, find

IDS = ["i-0123", "i-0145", "i-9"]


class FakeInstances:
    """The EC2 service, which only notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def interrupt(self, instance_id: str, notice: float, *, rebalance: bool = False) -> None:
        self.told.append((instance_id, notice, rebalance))

    def kill_machine(self, instance_id: str) -> None:
        self.told.append((instance_id, "killed"))

    def console(self, instance_id: str) -> bytes:
        return b"Welcome \xff"

    def set_metadata_faults(self, instance_id: str, faults: Faults) -> None:
        self.told.append((instance_id, faults))

    def references(self) -> list[Path]:
        return [Path("/layers/a")]


class Up(Region):
    """With the instances of IDS, and none in moto."""

    def __init__(self, directory: Path) -> None:
        self.instances = FakeInstances()
        self.lines: list[str] = []
        no: Any = None
        self.world = World("local", directory, no, no, log=self.lines.append)
        super().__init__(
            self.world, ApiFaults(), self.instances, lambda group, target: None, ids=lambda world: self.ids
        )
        self.ids = list(IDS)


@pytest.fixture
def up(tmp_path: Path) -> Up:
    return Up(tmp_path)


@pytest.mark.parametrize(("word", "whole"), [("i-9", "i-9"), ("9", "i-9"), ("i-012", "i-0123"), ("0145", "i-0145")])
def test_the_beginning_of_an_id_is_enough_where_it_says_which(word: str, whole: str) -> None:
    assert find(word, IDS) == whole


@pytest.mark.parametrize(
    ("word", "what"), [("i-01", "several"), ("i-", "several"), ("i-8", "no such"), ("", "several")]
)
def test_one_that_says_not_which_is_refused(word: str, what: str) -> None:
    with pytest.raises(RegionError, match=what):
        find(word, IDS)


def test_a_whole_id_is_never_taken_for_the_beginning_of_another() -> None:
    assert find("i-1", ["i-12", "i-1"]) == "i-1"


def test_what_is_done_to_an_instance_is_done_and_logged(up: Up) -> None:
    assert up.interrupt("9", 5.0, rebalance=False) == "i-9"
    assert up.kill_machine("0123") == "i-0123"
    assert up.instances.told == [("i-9", 5.0, False), ("i-0123", "killed")]
    assert up.lines == ["i-9 ends in 5 s, as its owner said", "i-0123 loses its machine, as its owner said"]


def test_a_console_is_text_whatever_was_written_to_it(up: Up) -> None:
    assert up.console("9") == "Welcome \ufffd"


def test_faults_of_api_and_metadata_are_told_and_cleared_alike(up: Up) -> None:
    fault = up.add_api_fault({"kind": "throttle", "calls": "ec2:*"})
    up.set_metadata_faults("i-9", Faults(slow=1.0))
    assert [(one["of"], one["id"]) for one in up.faults()] == [("api", fault), ("metadata", "i-9")]
    assert up.clear_faults("i-9") == ["i-9"]
    assert up.instances.told[-1] == ("i-9", Faults())
    assert up.clear_faults(None) == [fault]
    assert up.faults() == []
    with pytest.raises(RegionError, match="no fault 'i-9' is in force"):
        up.clear_faults("i-9")


def test_faults_of_an_instance_that_is_no_more_are_forgotten(up: Up) -> None:
    up.set_metadata_faults("i-9", Faults(slow=1.0))
    up.ids.remove("i-9")
    assert up.faults() == []


def test_a_fault_that_makes_no_sense_is_refused(up: Up) -> None:
    with pytest.raises(RegionError, match="no kind"):
        up.add_api_fault({"calls": "*"})


def test_settings_change_and_the_rest_stays(up: Up) -> None:
    assert up.settings({"tags_delay": 5})["tags_delay"] == 5.0
    assert up.world.settings == Settings(tags_delay=5.0)


@pytest.mark.parametrize("changes", [{"account": "1"}, {"nope": 1}, {"tags_delay": -1}, {"tags_delay": "5"}])
def test_a_setting_that_is_none_changes_nothing(up: Up, changes: dict[str, Any]) -> None:
    with pytest.raises(RegionError):
        up.settings(changes)
    assert up.world.settings == Settings()
