"""The example's image as a fleet in a region, by examples/region.py: each machine becomes what its group's tags say."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from bake.images import Image
from tests.system.bakery import ROOT
from tests.system.region.web_image import ami_of
from tests.system.region.worlds import RegionWorld, get

pytestmark = pytest.mark.system


def example(region: RegionWorld, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples/region.py"), *arguments],
        env={**os.environ, **region.control.environment()},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_shop_s_image_is_a_fleet_behind_a_load_balancer(region: RegionWorld, shop: Image) -> None:
    region.wait("its image is an AMI", lambda: region.client("ec2").describe_images(ImageIds=[ami_of(shop)])["Images"])
    told = example(region)
    try:
        assert f"{shop.name} ({ami_of(shop)})" in told
        assert "2 healthy" in told
        url = next(word for word in told.split() if word.startswith("http://"))
        products = json.loads(get(url).body)["products"]
        assert "teapot" in {product["name"] for product in products}
        assert len(region.wait_in_service("shop-review", 2)) == 2
    finally:
        assert "all of it" in example(region, "--remove")
    assert region.group("shop-review") is None
    assert "shop-review" not in {one["name"] for one in region.control.status()["load_balancers"]}
