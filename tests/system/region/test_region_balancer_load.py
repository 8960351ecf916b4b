"""Whatever is changed while clients ask: each gets an answer, of a target that it may get it from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bake.home import Home
from tests.system.region.balancer_site import Load, Shop, opened

pytestmark = pytest.mark.system

_A_FEW = 400


@pytest.fixture(scope="module")
def shop(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with opened(home, tmp_path_factory.mktemp("load")) as shop:
        shop.web("blue", shop.blue)
        yield shop


@pytest.fixture(scope="module")
def green(shop: Shop) -> str:
    """A second group with one healthy target, named by the listener with weight 0."""
    green = shop.group("green")
    weigh(shop, (shop.blue, 1), (green, 0))
    shop.web("green", green)
    return green


def weigh(shop: Shop, *weighted: tuple[str, int]) -> None:
    groups: list[dict[str, Any]] = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in weighted]
    shop.elb.modify_listener(
        ListenerArn=shop.listener, DefaultActions=[{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}]
    )


@pytest.fixture(params=[True, False], ids=["keep-alive", "a connection a request"])
def load(shop: Shop, request: pytest.FixtureRequest) -> Iterator[Load]:
    """Clients that ask while the test runs; afterwards none of them was failed."""
    with Load(shop.address, keep_alive=request.param) as load:
        load.more(_A_FEW)
        yield load
        load.more(_A_FEW)
    assert load.errors == []
    assert {status for status, _ in load.answers} == {200}


def test_weights_swapped_hundreds_of_times(shop: Shop, green: str, load: Load) -> None:
    for turn in range(100):
        weigh(shop, (shop.blue, turn % 2), (green, 1 - turn % 2))
        weigh(shop, (shop.blue, 1), (green, 1))
    assert {text for _, text in load.answers} == {"blue", "green"}


def test_a_swap_holds_from_the_next_request(shop: Shop, green: str, load: Load) -> None:
    weigh(shop, (shop.blue, 0), (green, 1))
    assert {shop.get()[1] for _ in range(50)} == {"green"}
    weigh(shop, (shop.blue, 1), (green, 0))
    assert {shop.get()[1] for _ in range(50)} == {"blue"}


def test_rules_made_changed_and_removed(shop: Shop, green: str, load: Load) -> None:
    for number in range(30):
        rule = shop.elb.create_rule(
            ListenerArn=shop.listener,
            Priority=number + 1,
            Conditions=[{"Field": "path-pattern", "Values": ["/*"]}],
            Actions=[{"Type": "forward", "TargetGroupArn": green}],
        )["Rules"][0]["RuleArn"]
        shop.elb.modify_rule(RuleArn=rule, Actions=[{"Type": "forward", "TargetGroupArn": shop.blue}])
        shop.elb.delete_rule(RuleArn=rule)


def test_targets_come_and_go(shop: Shop, load: Load) -> None:
    for number in range(2):
        name = f"{number}-{load._keep}"
        web = shop.web(name, shop.blue)
        load.more(_A_FEW)
        shop.elb.deregister_targets(TargetGroupArn=shop.blue, Targets=[{"Id": web.address}])
        before = load.answers[200, name]
        load.more(_A_FEW)
        assert before > 0
        assert load.answers[200, name] <= before + load._clients  # those that were on their way


def test_listeners_come_and_go(shop: Shop, green: str, load: Load) -> None:
    for number in range(10):
        listener = shop.listen(9000 + number, shop.blue)
        assert shop.get(port=9000 + number)[0] == 200
        shop.elb.delete_listener(ListenerArn=listener)
        load.more(50)
