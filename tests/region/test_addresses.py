"""Which block of addresses a region takes, and who may have them."""

from __future__ import annotations

from region.addresses import candidates


def test_blocks_are_tried_from_the_first_on() -> None:
    assert list(candidates(None, [], set()))[:3] == ["127.77.1", "127.77.2", "127.77.3"]
    assert len(list(candidates(None, [], set()))) == 254


def test_the_preferred_block_comes_first_and_those_after_it_and_each_once() -> None:
    tried = list(candidates(7, [], set()))
    assert tried[:2] == ["127.77.7", "127.77.8"]
    assert len(set(tried)) == len(tried) == 254


def test_a_block_that_anything_still_listens_in_is_passed_over() -> None:
    # A region was killed, and its load balancer has not been swept yet.
    busy = {"127.77.1.20", "127.0.0.1", "0.0.0.0"}
    assert next(candidates(1, [2], busy)) == "127.77.3"


def test_a_preferred_block_that_is_none_is_not_tried() -> None:
    assert next(candidates(999, [], set())) == "127.77.1"
