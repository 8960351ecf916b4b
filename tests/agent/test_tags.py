from __future__ import annotations

import pytest

from agent.assignment import lacking
from agent.errors import MetadataDisabled, MetadataError
from agent.tags import read_tags
from tests.agent.fake_imds import FakeImds, instance, say, silence

REVIEW = {"bakeboot:stack": "shop", "bakeboot:mode": "review"}


def read(fake: FakeImds, wait: float = 60.0, budget: float = 120.0) -> dict[str, str]:
    return read_tags(
        fake.client(budget),
        lacking=lacking,
        wait=wait,
        monotonic=fake.time.monotonic,
        sleep=fake.time.sleep,
        waiting=fake.waited.append,
    )


def test_our_tags_alone_are_asked_for() -> None:
    fake = FakeImds(instance(REVIEW | {"Name": "box", "aws:autoscaling:groupName": "g", "bakeboot:box": "b"}))
    assert read(fake) == REVIEW
    assert len(fake.log) == 4


def test_tags_that_come_late_are_waited_for() -> None:
    fake = FakeImds(instance({}))
    late = iter([{}, {"bakeboot:stack": "shop"}, {**REVIEW, "bakeboot:mode": "production"}, {}])
    final = {"bakeboot:stack": "shop", "bakeboot:mode": "production", "bakeboot:service": "web"}

    def sleep(seconds: float) -> None:
        fake.time.sleep(seconds)
        fake.values.clear()
        fake.values.update(instance(next(late, final)))

    tags = read_tags(fake.client(), lacking=lacking, wait=60, monotonic=fake.time.monotonic, sleep=sleep)
    assert tags == final
    assert len(fake.time.slept) == 5


def test_the_wait_has_an_end_and_says_what_it_waits_for() -> None:
    fake = FakeImds(instance({"bakeboot:stack": "shop"}))
    assert read(fake, wait=20) == {"bakeboot:stack": "shop"}
    assert fake.time.now - 100 == pytest.approx(20)
    assert fake.waited[0] == "waiting for the tag bakeboot:mode, 20 s more"


def test_no_tags_at_all_are_waited_for_too() -> None:
    fake = FakeImds(instance({}))
    assert read(fake, wait=20) == {}
    assert fake.time.now - 100 == pytest.approx(20)


def test_with_the_option_off_it_ends_after_a_short_doubt() -> None:
    fake = FakeImds(instance(None))
    with pytest.raises(MetadataDisabled, match="InstanceMetadataTags is off"):
        read(fake)
    assert 5 <= fake.time.now - 100 < 8


def test_a_listing_that_lacks_tags_for_a_moment_is_no_verdict() -> None:
    fake = FakeImds(instance(REVIEW))
    fake.plan = [None, say(404), say(200, "ami-id\ninstance-id")]
    assert read(fake) == REVIEW


def test_a_tag_that_goes_between_list_and_read_is_looked_for_again() -> None:
    fake = FakeImds(instance(REVIEW), plan=[None, None, say(404)])
    assert read(fake) == REVIEW
    assert fake.log.count("GET meta-data/tags/instance") == 2


def test_an_optional_tag_that_goes_between_list_and_read_is_absent() -> None:
    fake = FakeImds(instance(REVIEW | {"bakeboot:release": "v7"}))
    del fake.values["meta-data/tags/instance/bakeboot:release"]
    assert read(fake) == REVIEW


def test_metadata_that_falls_silent_meanwhile_ends_it_too() -> None:
    fake = FakeImds(instance({}), plan=[None, None, None, *[silence] * 1000])
    with pytest.raises(MetadataError):
        read(fake, wait=20, budget=5)
    assert fake.time.now - 100 <= 21
