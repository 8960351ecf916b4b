"""The doctor on the machine that these tests run on, which is ready by now: what it tries really works."""

from __future__ import annotations

import json

import pytest

from bake.doctor import diagnose, doctor, gather, lacking
from bake.home import Home
from tests.system.conftest import mount_points


def test_a_machine_that_make_has_prepared_is_ready_and_the_try_leaves_nothing(home: Home) -> None:
    before = sorted(home.root.iterdir())
    assert lacking(diagnose(gather(home.root))) == []
    assert sorted(home.root.iterdir()) == before
    assert [point for point in mount_points() if ".doctor-" in point] == []


def test_the_command_ends_with_0_where_nothing_lacks(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(home.root, as_json=True) == 0
    assert {"verdict": "ok", "what": "root", "why": "", "get": "", "package": ""} in json.loads(capsys.readouterr().out)
