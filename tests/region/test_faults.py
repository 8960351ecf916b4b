"""What can be wrong with metadata as JSON: read back as it was, and refused where it says nothing."""

from __future__ import annotations

import json

import pytest

from region.faults import FOREVER, Faults, faults_from, faults_to


@pytest.mark.parametrize(
    ("faults", "told"),
    [
        (Faults(), {}),
        (Faults(slow=0.5, disabled=True), {"slow": 0.5, "disabled": True}),
        (Faults(refused=FOREVER), {"refused": "forever"}),
        (Faults(retry_after=None, unavailable=3.0), {"retry_after": None, "unavailable": 3.0}),
        (Faults(broken_tags=frozenset({"b", "a"}), since="start"), {"broken_tags": ["a", "b"], "since": "start"}),
        (Faults(wrong={"ami-id": "x"}, gone=frozenset({"tags"})), {"wrong": {"ami-id": "x"}, "gone": ["tags"]}),
    ],
)
def test_faults_are_told_and_read_back(faults: Faults, told: dict[str, object]) -> None:
    assert faults_to(faults) == told
    assert faults_from(json.loads(json.dumps(told))) == faults


@pytest.mark.parametrize(
    "told",
    [
        *({"slo": 1}, {"slow": "1"}, {"slow": -1}, {"slow": True}, {"disabled": 1}),
        *({"gone": "tags"}, {"gone": [1]}, {"wrong": {"a": 1}}),
        *({"since": "boot"}, {"retry_after": 1.5}, {"retry_after": True}),
    ],
)
def test_what_is_no_fault_is_refused_by_its_name(told: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(told))):
        faults_from(told)
