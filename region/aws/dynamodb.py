"""DynamoDB: moto's, whose items end with their time to live, and whose transactions may be sent again.

"Using time to live (TTL) in DynamoDB" (Developer Guide) for the first: an expired item stays readable until it is
deleted, some time later. "TransactWriteItems" (API reference) for the second: a ClientRequestToken, which botocore
sends by itself, makes a retry after a lost answer the same call, for ten minutes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

from moto.core.responses import ActionResult
from moto.dynamodb import urls
from moto.dynamodb.exceptions import DynamodbException, MockValidationException, ResourceNotFoundException
from moto.dynamodb.models import DynamoDBBackend, dynamodb_backends
from moto.dynamodb.models.table import Table
from moto.dynamodb.responses import DynamoHandler

from region.aws.world import World

_OLDEST = 5 * 365 * 86400.0  # seconds: what expired before that is never deleted
_TOKEN_HOLDS = 600.0  # seconds
_ERROR = "com.amazonaws.dynamodb.v20120810#"


class DynamoDB:
    """Deletes what has expired, `Settings.ttl_delay` later."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._next = 0.0

    def tick(self, now: float) -> None:
        """Looks through the tables now and then: at least twice within the delay, at most once a second."""
        delay = self._world.settings.ttl_delay
        if now < self._next:
            return
        self._next = now + max(1.0, delay / 2)
        for table in _tables():
            attribute = table.ttl.get("AttributeName") if table.ttl["TimeToLiveStatus"] == "ENABLED" else None
            if not attribute:
                continue
            for item in table.all_items():
                value = item.attrs.get(attribute)
                if value is not None and value.type == "N" and expired(float(value.value), now, delay):
                    table.delete_item(item.hash_key, item.range_key)

    def close(self) -> None:
        """Nothing was started."""


def expired(until: float, now: float, delay: float) -> bool:
    """Whether an item that lives until then is to be deleted by now. All in seconds since 1970, as TTL wants them."""
    return until + delay < now and now - until < _OLDEST


def _tables() -> Iterator[Table]:
    for _, _, backend in list(dynamodb_backends.iter_backends()):
        yield from cast(DynamoDBBackend, backend).tables.values()


class RegionDynamoDB(DynamoDBBackend):
    __module__ = "moto.dynamodb.models"  # moto finds the service in it

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.transactions: dict[str, tuple[str, float]] = {}
        """What was asked with a token, and when that stops to count."""

    def update_time_to_live(self, table_name: str, ttl_spec: dict[str, Any]) -> None:
        """Raises what AWS does for a table that isn't there, or is so already."""
        if table_name.rpartition("/")[2] not in self.tables:
            raise ResourceNotFoundException(table_name=table_name)
        status = self.get_table(table_name).ttl["TimeToLiveStatus"]
        if (status == "ENABLED") is bool(ttl_spec["Enabled"]):
            raise MockValidationException(f"TimeToLive is already {status.lower()}")
        super().update_time_to_live(table_name, ttl_spec)


def install(world: World) -> DynamoDB:
    class Handler(DynamoHandler):
        def transact_write_items(self) -> ActionResult:
            backend, token = cast(RegionDynamoDB, self.dynamodb_backend), self.body.get("ClientRequestToken")
            asked = json.dumps(self.body["TransactItems"], sort_keys=True, default=str)
            done, until = backend.transactions.get(str(token), ("", 0.0))
            now = world.clock()
            if token and now < until:
                if asked != done:
                    what = "Request parameters do not match those of an earlier request with this token."
                    raise DynamodbException(f"{_ERROR}IdempotentParameterMismatchException", what)
                return ActionResult({})
            answer = super().transact_write_items()
            if token:
                kept = {one: known for one, known in backend.transactions.items() if now < known[1]}
                backend.transactions = {**kept, str(token): (asked, now + _TOKEN_HOLDS)}
            return answer

    dynamodb_backends.backend = RegionDynamoDB
    dynamodb_backends.clear()
    urls.url_paths = dict.fromkeys(urls.url_paths, Handler.dispatch)
    service = DynamoDB(world)
    world.add(service)
    return service
