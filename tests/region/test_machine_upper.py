"""What an earlier machine wrote is not lost when the next one can't start."""

from __future__ import annotations

from pathlib import Path

import pytest

from region.errors import RegionError
from region.machine import MachineSpec, start_machine


def test_a_start_that_fails_gives_back_what_it_was_given(tmp_path: Path) -> None:
    upper = tmp_path / "instances" / "i-1" / "upper"
    (upper / "root").mkdir(parents=True)
    (upper / "root" / "kept").write_text("x")
    spec = MachineSpec("i-1", (tmp_path / "gone",), network="host", upper=upper)
    with pytest.raises(RegionError, match="gone is not a directory"):
        start_machine(spec, tmp_path / "state", tmp_path / "run")
    assert (upper / "root" / "kept").read_text() == "x"
    assert list((tmp_path / "state" / "machines").glob("i-1-*")) == []
