"""What locks and records rely on: conditions, transactions, and items that expire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from region.aws import dynamodb
from region.aws.api_faults import ApiFaults
from region.aws.dynamodb import expired
from region.aws.world import World
from tests.region.aws.fakes import FakeClock

pytestmark = pytest.mark.network

YEAR = 365 * 86400.0


@pytest.fixture
def table(world: World, client: Callable[..., Any]) -> Any:
    """A client, and the table `state` with a key `pk`."""
    dynamodb.install(world)
    made = client("dynamodb")
    made.create_table(
        TableName="state",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return made


def put(table: Any, key: str, **attributes: Any) -> None:
    table.put_item(TableName="state", Item={"pk": {"S": key}, **attributes})


def read(table: Any, key: str) -> Any:
    return table.get_item(TableName="state", Key={"pk": {"S": key}}, ConsistentRead=True).get("Item")


def lock(key: str, owner: str) -> dict[str, Any]:
    """Takes a lock that nobody has."""
    return {
        "TableName": "state",
        "Item": {"pk": {"S": key}, "owner": {"S": owner}},
        "ConditionExpression": "attribute_not_exists(pk)",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


@pytest.mark.aws("https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_PutItem.html")
def test_a_condition_that_does_not_hold_changes_nothing_and_tells_the_item(table: Any) -> None:
    table.put_item(**lock("web", "mira"))
    with pytest.raises(table.exceptions.ConditionalCheckFailedException) as refused:
        table.put_item(**lock("web", "tom"))
    assert refused.value.response["Item"] == {"pk": {"S": "web"}, "owner": {"S": "mira"}}
    assert read(table, "web")["owner"] == {"S": "mira"}


@pytest.mark.parametrize("call", ["update_item", "delete_item"])
def test_only_the_owner_renews_and_frees_its_lock(table: Any, call: str) -> None:
    table.put_item(**lock("web", "mira"))
    asked = {
        "TableName": "state",
        "Key": {"pk": {"S": "web"}},
        "ConditionExpression": "#o = :me",
        "ExpressionAttributeNames": {"#o": "owner"},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    values = {"ExpressionAttributeValues": {":me": {"S": "tom"}}}
    if call == "update_item":
        asked |= {"UpdateExpression": "SET expires = :then", "ReturnValues": "ALL_NEW"}
        values["ExpressionAttributeValues"][":then"] = {"N": "7"}
    with pytest.raises(table.exceptions.ConditionalCheckFailedException) as refused:
        getattr(table, call)(**asked, **values)
    assert refused.value.response["Item"]["owner"] == {"S": "mira"}
    values["ExpressionAttributeValues"][":me"] = {"S": "mira"}
    getattr(table, call)(**asked, **values)
    assert (read(table, "web") or {}).get("expires") == ({"N": "7"} if call == "update_item" else None)


@pytest.mark.aws("https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html")
def test_a_transaction_is_all_or_nothing_and_says_which_item_it_was(table: Any) -> None:
    put(table, "api", owner={"S": "tom"})
    with pytest.raises(table.exceptions.TransactionCanceledException) as refused:
        table.transact_write_items(TransactItems=[{"Put": lock("web", "mira")}, {"Put": lock("api", "mira")}])
    first, second = refused.value.response["CancellationReasons"]
    assert first["Code"] == "None"
    assert (second["Code"], second["Item"]["owner"]) == ("ConditionalCheckFailed", {"S": "tom"})
    assert refused.value.response["Error"]["Message"].endswith("[None, ConditionalCheckFailed]")
    assert read(table, "web") is None


def test_a_transaction_whose_answer_was_lost_may_be_sent_again(table: Any, faults: ApiFaults, clock: FakeClock) -> None:
    asked = {"TransactItems": [{"Put": lock("web", "mira")}], "ClientRequestToken": "token"}
    faults.add({"kind": "lost", "calls": "dynamodb:TransactWriteItems", "count": 1})
    with pytest.raises(ConnectionClosedError):
        table.transact_write_items(**asked)
    table.transact_write_items(**asked)
    with pytest.raises(ClientError, match="IdempotentParameterMismatchException"):
        table.transact_write_items(**{**asked, "TransactItems": [{"Put": lock("web", "tom")}]})
    clock.now += 601
    with pytest.raises(table.exceptions.TransactionCanceledException):
        table.transact_write_items(**asked)


@pytest.mark.parametrize(
    ("until", "now", "delay", "over"),
    [
        (1000.0, 1000.0, 0.0, False),
        (1000.0, 1001.0, 0.0, True),
        (1000.0, 1600.0, 600.0, False),
        (1000.0, 1601.0, 600.0, True),
        (1000.0, 1000.0 + 6 * YEAR, 0.0, False),  # "no more than five years in the past"
    ],
)
def test_an_item_is_deleted_some_time_after_it_expired(until: float, now: float, delay: float, over: bool) -> None:
    assert expired(until, now, delay) is over


@pytest.mark.aws("https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html")
def test_items_end_with_their_time_to_live(table: Any, world: World, clock: FakeClock) -> None:
    soon = str(int(clock.now) + 60)
    for key, until in {
        "a": {"N": soon},
        "b": {"N": str(int(soon) + 10**6)},
        "c": {"S": soon},
        "d": {"N": soon},
    }.items():
        put(table, key, **({"expires": until} if key != "d" else {"other": until}))
    table.update_time_to_live(TableName="state", TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"})
    clock.now += 61
    world.tick()
    assert read(table, "a")  # expired, and still there: who reads it has to look
    clock.now += world.settings.ttl_delay
    world.tick()
    assert [key for key in "abcd" if read(table, key)] == ["b", "c", "d"]


def test_time_to_live_is_turned_on_once(table: Any) -> None:
    asked = {"TimeToLiveSpecification": {"Enabled": True, "AttributeName": "expires"}}
    table.update_time_to_live(TableName="state", **asked)
    with pytest.raises(ClientError, match=r"ValidationException.*TimeToLive is already enabled"):
        table.update_time_to_live(TableName="state", **asked)
    with pytest.raises(table.exceptions.ResourceNotFoundException):
        table.update_time_to_live(TableName="none", **asked)
