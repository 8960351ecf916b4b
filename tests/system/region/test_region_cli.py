"""`bakeboot region` as a person uses it."""

from __future__ import annotations

import pytest

from tests.system.region.worlds import RegionWorld

pytestmark = pytest.mark.system


def test_a_region_answers_boto3(region: RegionWorld) -> None:
    assert region.client("sts").get_caller_identity()["Account"] == "123456789012"
