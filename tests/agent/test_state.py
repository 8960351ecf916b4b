from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from agent import state
from agent.errors import AssignmentError, HostError, MetadataError
from agent.state import Lock, Places, Status


def places(root: Path) -> Places:
    found = Places.under(str(root))
    for folder in (Path(found.etc), Path(found.run), Path(found.srv), Path(found.var).parent):
        folder.mkdir(parents=True)
    return found


def mode(path: str) -> int:
    return stat.S_IMODE(Path(path).stat().st_mode)


def test_a_write_replaces_the_whole_file_and_sets_its_mode(tmp_path: Path) -> None:
    path = str(tmp_path / "x")
    state.write(path, "long text")
    state.write(path, "s")
    assert (state.read(path), mode(path), len(list(tmp_path.iterdir()))) == ("s", 0o600, 1)
    state.write_durably(path, "t")
    assert state.read(path) == "t"


def test_a_write_keeps_line_ends(tmp_path: Path) -> None:
    path = str(tmp_path / "x")
    state.write(path, "a\r\nb\rc\n")
    assert state.read(path) == "a\r\nb\rc\n"


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    assert state.read(str(tmp_path / "x")) is None
    assert state.read_object(str(tmp_path / "x")) == {}


def test_the_modes_of_directories_do_not_hang_on_the_umask(tmp_path: Path) -> None:
    found = places(tmp_path)
    before = os.umask(0o077)
    try:
        Lock(found).release()
        state.prepare(found, "i-0123456789abcdef0")
        state.prepare(found, "i-0123456789abcdef0")
    finally:
        os.umask(before)
    modes = {path: mode(path) for path in (found.run, found.var, found.data(""), f"{found.run}/env")}
    assert list(modes.values()) == [0o711, 0o755, 0o755, 0o700]
    assert mode(found.instance("i-0123456789abcdef0")) == 0o700


@pytest.mark.parametrize("text", ["i-0123456789abcdef0", "i-01234567", "i-" + "f" * 32])
def test_an_instance_id_may_name_a_directory(text: str) -> None:
    assert state.checked_instance_id(text) == text


@pytest.mark.parametrize(
    "text", [None, "", "i-", "i-0123456", "i-" + "f" * 33, "i-../../etc", "i-0123456Z", "x-01234567"]
)
def test_anything_else_may_not(text: str | None) -> None:
    with pytest.raises(MetadataError, match="expected an instance id"):
        state.checked_instance_id(text)


def test_one_holds_the_lock_and_the_other_does_not(tmp_path: Path) -> None:
    found = places(tmp_path)
    first, second = Lock(found), Lock(found)
    assert (first.take(wait=False), second.take(wait=False)) == (True, False)
    first.release()
    assert second.take(wait=False)
    second.release()


def test_who_may_not_take_the_lock_is_told_to_use_sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, bits: int) -> None:
        raise PermissionError(1, "Operation not permitted", path)

    monkeypatch.setattr(os, "chmod", refuse)
    with pytest.raises(HostError, match="only root may boot") as told:
        Lock(places(tmp_path))
    assert "sudo" in told.value.hint


def test_the_status_is_for_everyone_to_read(tmp_path: Path) -> None:
    found = places(tmp_path)
    status = Status(found, lambda: 0.0)
    status.enter("tags", instance_id="i-1")
    facts = json.loads(Path(found.status).read_text())
    assert (facts["phase"], facts["instance_id"], facts["since"]) == ("tags", "i-1", "1970-01-01T00:00:00Z")
    assert mode(found.status) == 0o644


def test_a_failure_is_told_with_where_hint_and_exit_code(tmp_path: Path) -> None:
    found = places(tmp_path)
    Status(found, lambda: 0.0).fail(AssignmentError("expected x", where="tag y", hint="do z"))
    facts = json.loads(Path(found.status).read_text())
    assert [facts[key] for key in ("phase", "reason", "hint", "exit_code")] == [
        "failed",
        "tag y: expected x",
        "do z",
        22,
    ]


def test_a_bug_of_ours_has_exit_code_1(tmp_path: Path) -> None:
    found = places(tmp_path)
    Status(found, lambda: 0.0).fail(KeyError("x"))
    facts = json.loads(Path(found.status).read_text())
    assert (facts["reason"], facts["exit_code"]) == ("KeyError: 'x'", 1)


def test_a_status_that_can_not_be_written_is_no_reason_to_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Status(Places.under(str(tmp_path / "gone")), lambda: 0.0).enter("tags")
    assert "can't be written" in capsys.readouterr().err


def test_a_second_run_in_one_boot_knows_what_the_first_started(tmp_path: Path) -> None:
    found = places(tmp_path)
    Status(found, lambda: 0.0).enter("ready", units=["a"], assignment={"mode": "review"}, reason="old")
    facts = Status(found, lambda: 0.0).facts
    assert (facts["units"], facts["assignment"], facts["reason"]) == (["a"], {"mode": "review"}, "")
