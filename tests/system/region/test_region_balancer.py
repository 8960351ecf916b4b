"""Load balancers answer as an ALB does: HAProxy in front of targets in a site, told by the API what to do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bake.home import Home
from tests.system.region.balancer_site import Shop, opened

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def shop(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with opened(home, tmp_path_factory.mktemp("balancer")) as shop:
        yield shop


def test_requests_go_to_the_healthy_targets_in_turn(shop: Shop) -> None:
    shop.web("one", shop.blue)
    shop.web("two", shop.blue)
    assert {shop.get()[1] for _ in range(4)} == {"one", "two"}
