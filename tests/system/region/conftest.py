"""One region that all tests of this folder share, brought up by `bakeboot region up`, and an image to start in it.

A test that takes its region down, or kills it, brings up one of its own (`worlds.region_up`).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from bake.home import Home
from bake.images import Image
from tests.system.region.web_image import ami_of, remove_web_image, web_image
from tests.system.region.worlds import Made, RegionWorld, region_up


@pytest.fixture(scope="session")
def web(home: Home, base_root: Path) -> Iterator[Image]:
    """An image of the home that holds `web.service` (tests/system/region/web)."""
    image = web_image(home, base_root)
    yield image
    remove_web_image(home, image)


@pytest.fixture(scope="session")
def web_ami(web: Image) -> str:
    """Its AMI in every region of the home."""
    return ami_of(web)


@pytest.fixture(scope="session")
def region(home: Home, web: Image) -> Iterator[RegionWorld]:
    """The region that the tests share."""
    with region_up(home, f"tests-{secrets.token_hex(3)}") as world:
        yield world


@pytest.fixture
def made(region: RegionWorld) -> Iterator[Made]:
    """Makes resources in the shared region, and removes them when the test is over."""
    made = Made(region)
    yield made
    made.close()
